"""The parts of events put together: news of all kinds, what is forgotten, where recordings are."""

from msgspec.structs import replace
from twisted.internet import defer

from calltrack.calls.standing import PeerEvent
from calltrack.config import defaults
from calltrack.events import wiring
from calltrack.events.derived import of_call
from calltrack.events.wiring import PRUNE_INTERVAL, Events, recording_links, visit_fields
from calltrack.testing.store_contract import call_record
from calltrack.tracking.model import PoolExhausted, Recording, Visit
from tests.events.case import BEGAN_MS, EventTestCase

DAY = 86_400_000


class EventsTests(EventTestCase):
    def start(self):
        self.patch(wiring, "resolve_by", lambda reactor: None)
        self.all = Events(
            defaults(), self.events, self.stores.webhooks, self.clock, self.timers, self.wall_ms, self.stores.visits
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
