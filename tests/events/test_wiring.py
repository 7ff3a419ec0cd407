"""The parts of events put together: news of all kinds, what is forgotten, where recordings are."""

from msgspec.structs import replace
from twisted.internet import defer
from twisted.logger import formatEvent, globalLogPublisher

from calltrack.calls.standing import PeerEvent
from calltrack.config import defaults
from calltrack.events import wiring
from calltrack.events.derived import of_call
from calltrack.events.model import TrunkUp
from calltrack.events.settings import EventsSettings, SinkSettings
from calltrack.events.wiring import PRUNE_INTERVAL, Events, recording_links, visit_fields
from calltrack.testing.store_contract import call_record
from calltrack.tracking.model import PoolExhausted, Recording, Visit
from tests.events.case import BEGAN_MS, EventTestCase, Remembering

DAY = 86_400_000


class EventsTests(EventTestCase):
    def start(self, settings=defaults()):
        self.patch(wiring, "resolve_by", lambda reactor: None)
        self.all = Events(
            settings, self.events, self.stores.webhooks, self.clock, self.timers, self.wall_ms, self.stores.visits
        )
        self.all.start()
        self.addCleanup(lambda: self.successResultOf(defer.Deferred.fromCoroutine(self.all.stop())))

    def types(self):
        return [one.event.type for one in self.successResultOf(self.events.read(0))[1]]

    def test_news_of_trunks_and_pools_are_in_the_log(self):
        self.start()
        self.all.peer_news(PeerEvent(type="trunk.down", at=2, name="provider", reason="silent"))
        self.all.pool_news(PoolExhausted(project=1, scenario=2, visit=3, at=4, numbers=5))
        self.all.pool_news("what is not of its sort")
        self.assertEqual(self.types(), ["trunk.down", "pool.exhausted"])

    def test_old_events_are_forgotten_bit_by_bit(self):
        old = [call_record(str(n), BEGAN_MS - 31 * DAY, status="BUSY", ended=BEGAN_MS - 31 * DAY) for n in range(4)]
        new = call_record("new", BEGAN_MS, status="BUSY", ended=BEGAN_MS)
        self.successResultOf(self.stores.records.write([*old, new]))
        self.start()
        self.run_for(PRUNE_INTERVAL + 3, step=1)
        left = [one.event.call for one in self.successResultOf(self.events.read(0))[1]]
        self.assertEqual(set(left), {"new"})

    def failing_sink(self, keep_undelivered):
        """A sink that takes nothing, of a log that keeps for a day what was taken."""
        self.said = []
        hear = lambda event: self.said.append(event) if event["log_namespace"] == "calltrack.events.feed" else None
        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        self.sink = Remembering(*(OSError("no room") for _ in range(100_000)))
        self.patch(wiring, "make_sink", lambda kind, options: self.sink)
        events = EventsSettings(keep=1.0, keep_undelivered=keep_undelivered)
        self.start(replace(defaults(), events=events, sinks=(SinkSettings(name="a", kind="x"),)))
        (feed,) = self.all.feeds
        return feed

    def happen(self, *names):
        events = [TrunkUp(id=name, at=self.wall_ms(), trunk=name) for name in names]
        self.successResultOf(self.events.append(events))

    def levels(self):
        said, self.said = self.said, []
        return [event["log_level"].name for event in said]

    def test_sink_that_is_away_for_long_is_warned_of_once_and_then_loses_the_oldest(self):
        feed = self.failing_sink(4.0)
        self.happen("a", "b")
        self.run_for(86_400, step=60)
        self.happen("c")
        self.assertEqual((self.levels(), feed.oldest), (["error"], BEGAN_MS))
        self.run_for(86_400 * 2.9, step=60)
        (warning,) = self.said
        self.assertEqual((self.levels(), feed.lost, len(self.types())), (["warn"], 0, 3))
        self.assertIn("no room", formatEvent(warning))
        self.run_for(86_400 / 5, step=60)
        (loss,) = self.said
        self.assertIn("sink:a has lost 2 events of 2026-11-23T18:03:20.000Z to", formatEvent(loss))
        self.assertEqual((self.levels(), feed.lost, len(self.types())), (["error"], 2, 1))
        self.run_for(3600, step=60)
        self.assertEqual(feed.oldest, BEGAN_MS + DAY)
        self.sink.answers.clear()
        self.run_for(3600, step=60)
        self.assertEqual((self.sink.taken, feed.oldest, feed.lost), (["c"], None, 2))
        self.assertEqual(self.levels(), ["info"])

    def test_sink_that_falls_behind_once_more_is_warned_of_once_more(self):
        self.failing_sink(4.0)
        for name in ("a", "b"):
            self.sink.answers[:] = [OSError("no room") for _ in range(100_000)]
            self.happen(name)
            self.run_for(86_400 * 2.5, step=60)
            self.sink.answers.clear()
            self.run_for(3600, step=60)
            self.assertEqual(self.levels(), ["error", "warn", "info"])
        self.assertEqual(self.sink.taken, ["a", "b"])

    def test_events_wait_without_end_when_that_is_wanted(self):
        feed = self.failing_sink(0.0)
        self.happen("a")
        self.run_for(86_400 * 9, step=600)
        self.assertEqual((self.levels(), feed.lost, len(self.types())), (["error"], 0, 1))

    def test_undelivered_events_are_kept_no_shorter_than_others(self):
        feed = self.failing_sink(0.25)
        self.happen("a")
        self.run_for(86_400 * 0.9, step=60)
        self.assertEqual((feed.lost, len(self.types())), (0, 1))
        self.run_for(86_400 * 0.2, step=60)
        self.assertEqual((feed.lost, len(self.types())), (1, 0))

    def test_visit_is_looked_up_and_one_that_is_gone_tells_nothing(self):
        visit = Visit(project=1, number=7, secret="s", started=1, marker="m", landing_page="https://shop.example/")
        self.successResultOf(self.stores.visits.write([visit], [], [], []))
        fields = visit_fields(self.stores.visits)
        found = self.successResultOf(defer.Deferred.fromCoroutine(fields(1, 7)))
        self.assertEqual(found["landing_page"], "https://shop.example/")
        self.assertEqual(self.successResultOf(defer.Deferred.fromCoroutine(fields(1, 8))), {})

    def test_link_leads_to_the_recording_on_the_page(self):
        recorded = call_record("a", status="ANSWER", recording=Recording(name="2026/a.wav", state="complete"))
        link = recording_links("https://calls.example/")
        started, ended, _ = of_call(recorded)
        self.assertEqual(link(ended), "https://calls.example/projects/1/calls/a/recording")
        self.assertEqual(link(started), "")
        self.assertEqual(link(of_call(replace(recorded, recording=None))[1]), "")
        self.assertEqual(recording_links("")(ended), "")
