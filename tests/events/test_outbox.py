"""Deliveries in simulated time: order, patience, what is written down, what a restart repeats."""

import base64
import hashlib
import hmac
import json

from msgspec.structs import replace
from twisted.internet import defer

from calltrack.errors import StoreUnavailable
from calltrack.events import line
from calltrack.events.line import AT_ONCE, DOWN_AFTER, LAST_PROBE, WINDOW
from calltrack.events.outbox import Outbox
from calltrack.events.posting import Answer, PostFailed
from calltrack.events.webhooks import Webhook, new_secret
from calltrack.testing.store_contract import call_record
from tests.events.case import BEGAN_MS, EventTestCase

HOUR = 3600.0
SECRET = new_secret()


class Posts:
    """What is posted, and how it is answered: `answers` in their order, then `always`. An answer is a status, an
    exception, or None for a Deferred that the test fires (`waiting`)."""

    def __init__(self):
        self.requests = []
        self.answers = []
        self.always = 200
        self.waiting = []
        self.under_way = self.most_under_way = 0

    def __call__(self, url, headers, body):
        self.requests.append((url, dict(headers), body))
        answer = self.answers.pop(0) if self.answers else self.always
        if callable(answer):
            answer = answer(dict(headers)["webhook-id"])
        if isinstance(answer, Exception):
            return defer.fail(answer)
        if answer is not None:
            return defer.succeed(Answer(answer, b"said"))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        posted = defer.Deferred()
        self.waiting.append((dict(headers)["webhook-id"], posted))
        return posted.addBoth(self._ended)

    def _ended(self, result):
        self.under_way -= 1
        return result

    def answer(self, event_id, status=200):
        [number] = [n for n, (waiting, _) in enumerate(self.waiting) if waiting == event_id]
        self.waiting.pop(number)[1].callback(Answer(status, b""))

    @property
    def ids(self):
        return [headers["webhook-id"] for _, headers, _ in self.requests]


class OutboxTestCase(EventTestCase):
    def setUp(self):
        super().setUp()
        self.posts = Posts()
        self.patch(line.random, "uniform", lambda low, high: 1.0)
        self.outbox = self.open()
        self.hook = self.add()

    def open(self, posts=None):
        outbox = Outbox(self.stores.webhooks, self.timers, self.wall_ms, posts or self.posts, 72 * HOUR)
        self.events.observers.append(outbox.wake)
        return outbox

    def add(self, **fields):
        webhook = Webhook(**{"id": 0, "project": 1, "url": "http://a/", "secret": SECRET, **fields})
        return self.successResultOf(self.stores.webhooks.add(webhook))

    def start(self):
        self.outbox.start()
        self.addCleanup(lambda: self.successResultOf(defer.Deferred.fromCoroutine(self.outbox.stop())))

    def calls(self, *names, **fields):
        """Calls that ended at once."""
        records = [call_record(name, self.wall_ms(), status="BUSY", ended=self.wall_ms(), **fields) for name in names]
        self.successResultOf(self.stores.records.write(records))

    def log(self, **filters):
        return [attempt for _, attempt in self.successResultOf(self.stores.webhooks.attempts(**filters))][::-1]

    def standing(self, hook=None):
        return self.successResultOf(self.stores.webhooks.standings())[(hook or self.hook).id]


class DeliveryTests(OutboxTestCase):
    def test_event_is_posted_signed_and_logged(self):
        self.start()
        self.calls("a", caller="12025550143")
        self.run_for(0.5)
        self.assertEqual(self.posts.ids, ["a.started", "a.ended"])
        url, headers, body = self.posts.requests[1]
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        signed = f"a.ended.{headers['webhook-timestamp']}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        self.assertEqual((url, headers["webhook-signature"]), ("http://a/", expected))
        self.assertEqual(int(headers["webhook-timestamp"]), self.log()[1].at // 1000)
        fields = json.loads(body)
        self.assertEqual((fields["id"], fields["caller"], fields["status"]), ("a", "12025550143", "BUSY"))
        attempt = self.log()[1]
        self.assertEqual((attempt.event, attempt.number, attempt.status, attempt.error), ("a.ended", 1, 200, ""))
        self.assertEqual((attempt.request, attempt.response), (body.decode(), "said"))
        self.assertEqual((self.standing().pending, self.standing().dead), (0, 0))

    def test_webhook_gets_its_projects_events_of_its_choice_from_when_it_was_added(self):
        self.calls("before")
        late = self.add(url="http://late/", events=("call.missed",))
        self.start()
        self.calls("a")
        self.calls("b", project=2)
        self.run_for(0.5)
        self.assertEqual([id for (url, *_), id in zip(self.posts.requests, self.posts.ids) if url == late.url], ["a.missed"])
        self.assertEqual(self.posts.ids[:2], ["before.started", "before.ended"])
        self.assertNotIn("b.ended", self.posts.ids)

    def test_failed_delivery_is_repeated_with_the_same_id_later_and_later(self):
        self.posts.answers = [PostFailed("no route"), 500, 503]
        self.start()
        self.successResultOf(self.stores.records.write([call_record("a", BEGAN_MS)]))
        self.run_for(20)
        self.assertEqual(self.posts.ids, ["a.started"] * 4)
        times = [attempt.at - BEGAN_MS for attempt in self.log()]
        gaps = [round((b - a) / 1000) for a, b in zip(times, times[1:])]
        self.assertEqual(gaps, [2, 4, 8])
        self.assertEqual([attempt.error for attempt in self.log()], ["no route", "answered 500", "answered 503", ""])
        self.assertEqual([attempt.number for attempt in self.log()], [1, 2, 3, 4])

    def test_retry_after_is_kept_to(self):
        self.posts.answers = [lambda _: 429]
        post = self.posts.__call__
        self.outbox.post = lambda *a: post(*a).addCallback(
            lambda answer: Answer(429, b"", "60") if answer.status == 429 else answer
        )
        self.start()
        self.successResultOf(self.stores.records.write([call_record("a", BEGAN_MS)]))
        self.run_for(59)
        self.assertEqual(len(self.posts.ids), 1)
        self.run_for(3)
        self.assertEqual(len(self.posts.ids), 2)

    def test_redirect_counts_as_failed_and_says_what_to_do(self):
        self.posts.answers = [302]
        self.start()
        self.calls("a")
        self.run_for(0.5)
        self.assertIn("redirects are not followed", self.log()[0].error)

    def test_event_waits_while_an_earlier_one_of_its_call_is_not_taken_and_other_calls_go_on(self):
        self.posts.always = lambda event_id: 500 if event_id == "a.started" and self.clock.seconds() < 5 else 200
        self.start()
        self.calls("a", "b", "c")
        self.run_for(1)
        self.assertEqual(self.posts.ids, ["a.started", "b.started", "b.ended", "c.started", "c.ended"])
        self.run_for(20)
        self.assertEqual(self.posts.ids[5:], ["a.started", "a.started", "a.ended"])

    def test_requests_at_once_are_bounded_and_one_call_has_one(self):
        self.posts.always = None
        self.start()
        self.calls(*(str(number) for number in range(AT_ONCE + 5)))
        self.run_for(0.5)
        self.assertEqual(self.posts.ids, [f"{number}.started" for number in range(AT_ONCE)])
        self.posts.answer("3.started")
        self.assertEqual(self.posts.ids[AT_ONCE:], ["3.ended"])
        self.assertEqual(self.posts.most_under_way, AT_ONCE)

    def test_endpoint_that_is_down_delays_no_other(self):
        self.add(url="http://dead/")
        post = self.posts.__call__
        self.outbox.post = lambda url, *rest: defer.Deferred() if "dead" in url else post(url, *rest)
        self.start()
        for number in range(20):
            self.calls(str(number))
            self.run_for(0.2)
        self.assertEqual(len(self.posts.ids), 40)
        self.assertLess(max(attempt.at - BEGAN_MS for attempt in self.log()), 4_000)

    def test_bug_in_one_delivery_is_logged_and_holds_up_no_other_call(self):
        self.posts.always = lambda event_id: ZeroDivisionError("bug") if event_id == "a.started" else 200
        self.start()
        self.calls("a", "b")
        self.run_for(1)
        self.assertEqual(self.posts.ids, ["a.started", "b.started", "b.ended"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class DownTests(OutboxTestCase):
    def test_endpoint_that_is_down_is_asked_with_one_delivery_at_a_time_and_gets_all_when_it_is_back(self):
        self.posts.always = PostFailed("refused")
        self.start()
        self.calls(*map(str, range(30)))
        self.run_for(HOUR, step=1)
        tries = len(self.posts.ids)
        self.assertLess(tries, 2 * AT_ONCE + DOWN_AFTER + 2 * HOUR / LAST_PROBE)
        self.assertTrue(self.outbox.lines[self.hook.id].down)
        self.posts.always = 200
        self.run_for(LAST_PROBE * 1.1, step=1)
        self.assertEqual(set(self.posts.ids[tries:]), {f"{n}.{what}" for n in range(30) for what in ("started", "ended")})
        self.assertEqual(self.standing().pending, 0)

    def test_events_are_dead_letters_after_their_time_and_can_be_replayed(self):
        self.posts.always = PostFailed("refused")
        self.start()
        self.calls("a", "b")
        self.run_for(73 * HOUR, step=20)
        self.assertEqual((self.standing().pending, self.standing().dead), (0, 4))
        self.posts.always = 200
        before = len(self.posts.ids)
        self.calls("c")
        self.run_for(400, step=1)
        self.assertEqual(self.posts.ids[before:], ["c.started", "c.ended"])
        self.assertEqual(self.successResultOf(self.stores.webhooks.replay(self.hook.id, dead=True)), 4)
        self.run_for(3)
        self.assertEqual(sorted(self.posts.ids[before + 2 :]), ["a.ended", "a.started", "b.ended", "b.started"])
        self.assertEqual(self.standing().dead, 0)

    def test_backlog_of_a_dead_endpoint_stays_in_the_store_and_ages_there(self):
        self.posts.always = PostFailed("refused")
        self.start()
        for _ in range(5):
            self.calls(*(f"{self.clock.seconds()}-{number}" for number in range(WINDOW)))
            self.run_for(10, step=1)
            self.assertLessEqual(len(self.outbox.lines[self.hook.id].held), WINDOW)
        self.run_for(80 * HOUR, step=60)
        self.assertEqual((self.standing().pending, self.standing().dead), (0, 10 * WINDOW))


class DeadForADay:
    """The store of a webhook whose endpoint is dead for a day at 50 calls a second, 100 events: nothing is kept but
    what is asked for, so what grows is the outbox's."""

    def __init__(self, wall_ms, hook):
        self.wall_ms, self.hook = wall_ms, hook
        self.settled = {}
        self.done = 0  # every seq up to this one is over

    def version(self):
        return defer.succeed(1)

    def snapshot(self):
        return defer.succeed((1, [self.hook]))

    def refill(self, webhook, after, room, too_old):
        from calltrack.events.derived import of_call
        from calltrack.events.model import Logged
        from calltrack.events.webhooks import Delivery

        last = (self.wall_ms() - BEGAN_MS) // 10  # 100 events a second
        found = []
        for seq in range(max(after, self.done) + 1, min(max(after, self.done) + room, last) + 1):
            at = BEGAN_MS + (seq // 2) * 20
            event = of_call(call_record(f"call{seq // 2}", at, status="BUSY", ended=at))[seq % 2]
            attempts, due = self.settled.get(seq, (0, 0))
            found.append(Delivery(Logged(seq, event), attempts, due))
        return defer.succeed(found)

    def settle(self, outcomes):
        for one in outcomes:
            if one.due is None:
                self.settled.pop(one.seq, None)
                self.done = max(self.done, one.seq)
            else:
                self.settled[one.seq] = (one.attempts, one.due)
        return defer.succeed(None)


class MemoryTests(EventTestCase):
    def test_endpoint_dead_for_a_day_at_50_calls_a_second_costs_no_more_memory_than_its_window(self):
        import gc
        import tracemalloc

        posts = Posts()
        posts.always = PostFailed("refused")
        outcomes = []

        def post(url, headers, body):
            outcomes.append(1)
            return defer.fail(PostFailed("refused"))

        hook = Webhook(id=1, project=1, url="http://a/", secret=SECRET)
        store = DeadForADay(self.wall_ms, hook)
        outbox = Outbox(store, self.timers, self.wall_ms, post, 72 * HOUR)
        outbox.start()
        self.addCleanup(lambda: self.successResultOf(defer.Deferred.fromCoroutine(outbox.stop())))
        self.run_for(HOUR, step=1)
        tracemalloc.start()
        before = tracemalloc.take_snapshot()
        for _ in range(23 * 3600 // 5):
            outbox.wake()
            self.clock.advance(5)
        gc.collect()  # how long garbage waits depends on what other tests have left
        grown = sum(one.size_diff for one in tracemalloc.take_snapshot().compare_to(before, "filename"))
        tracemalloc.stop()
        held = outbox.lines[1].held
        self.assertEqual(len(held), WINDOW)
        self.assertLessEqual(len(outbox._outcomes), 1)  # of the one delivery that is tried: it may be gathering yet
        self.assertLess(grown, 500_000)
        self.assertLess(len(outcomes), 24 * HOUR / LAST_PROBE * 2 + 100)


class RestartTests(OutboxTestCase):
    def test_what_was_taken_but_not_written_down_comes_again_with_the_same_id(self):
        """A process that dies takes its memory with it: here the outbox is dropped, not stopped."""
        self.outbox.start()
        self.calls("a")
        self.clock.advance(0.01)
        self.assertEqual(self.posts.ids, ["a.started", "a.ended"])
        self.timers.stop()
        self.events.observers.clear()
        self.posts = Posts()
        self.outbox = self.open(self.posts)
        self.start()
        self.run_for(0.5)
        self.assertEqual(self.posts.ids, ["a.started", "a.ended"])
        self.run_for(5)
        self.assertEqual(self.posts.ids, ["a.started", "a.ended"])

    def test_waiting_time_and_attempts_survive_a_restart(self):
        self.posts.always = 500
        self.outbox.start()
        self.successResultOf(self.stores.records.write([call_record("a", BEGAN_MS)]))
        self.run_for(15)  # tried at 0, 2, 6, 14 seconds; next at 30
        self.successResultOf(defer.Deferred.fromCoroutine(self.outbox.stop()))
        self.outbox = self.open()
        self.start()
        tried = len(self.posts.ids)
        self.run_for(10)
        self.assertEqual(len(self.posts.ids), tried)
        self.run_for(10)
        self.assertEqual([attempt.number for attempt in self.log()], [1, 2, 3, 4, 5])

    def test_stopping_gives_up_what_is_under_way_and_logs_no_failure(self):
        self.posts.always = None
        self.outbox.start()
        self.calls("a")
        self.run_for(0.5)
        self.successResultOf(defer.Deferred.fromCoroutine(self.outbox.stop()))
        self.assertEqual(self.log(), [])
        self.assertEqual(self.standing().pending, 2)

    def test_store_that_is_away_holds_outcomes_back_and_loses_none(self):
        self.start()
        settle = self.stores.webhooks.settle
        self.patch(self.stores.webhooks, "settle", lambda outcomes: defer.fail(StoreUnavailable("locked")))
        self.calls("a")
        self.run_for(3)
        self.assertEqual(self.posts.ids, ["a.started", "a.ended"])
        self.patch(self.stores.webhooks, "settle", settle)
        self.run_for(3)
        self.assertEqual(self.posts.ids, ["a.started", "a.ended"])
        self.assertEqual(len(self.log()), 2)


class ChangeTests(OutboxTestCase):
    def test_webhook_that_is_added_or_removed_while_it_runs_counts_within_a_second(self):
        self.start()
        self.run_for(0.5)
        other = self.add(url="http://b/")
        self.calls("a")
        self.run_for(1.2)
        self.assertEqual(sorted(url for url, *_ in self.posts.requests), ["http://a/"] * 2 + ["http://b/"] * 2)
        self.successResultOf(self.stores.webhooks.remove(other.id))
        self.run_for(1.2)
        self.calls("b")
        self.run_for(1.2)
        self.assertEqual(len(self.posts.requests), 6)

    def test_replay_by_event_call_and_time(self):
        self.start()
        self.calls("a")
        self.run_for(60, step=1)
        self.calls("b")
        self.run_for(1)
        hooks, minute = self.stores.webhooks, BEGAN_MS + 30_000
        for choice, expected in (
            ({"event": "a.ended"}, ["a.ended"]),
            ({"call": "b"}, ["b.started", "b.ended"]),
            ({"since": minute}, ["b.started", "b.ended"]),
            ({"until": minute}, ["a.started", "a.ended"]),
            ({"since": minute, "until": minute}, []),
            ({"dead": True}, []),
        ):
            del self.posts.requests[:]
            self.assertEqual(self.successResultOf(hooks.replay(self.hook.id, **choice)), len(expected), choice)
            self.run_for(2)
            self.assertEqual(self.posts.ids, expected, choice)

    def test_replay_of_one_webhook_is_no_other_webhooks(self):
        other = self.add(url="http://b/")
        self.start()
        self.calls("a")
        self.run_for(1)
        del self.posts.requests[:]
        self.successResultOf(self.stores.webhooks.replay(other.id, call="a"))
        self.run_for(2)
        self.assertEqual({url for url, *_ in self.posts.requests}, {"http://b/"})

    def test_visit_fields_go_into_the_body_and_a_slow_visit_holds_nothing_up(self):
        async def fields(project, visit):
            if visit == 1:
                return {"landing_page": "https://shop.example/x", "utm_source": "ads"}
            return await defer.Deferred()

        self.outbox.visit_fields = fields
        self.start()
        attributed = [replace(call_record(n, self.wall_ms()).attribution, visit=v) for n, v in (("a", 1), ("b", 2))]
        self.calls("a", attribution=attributed[0])
        self.calls("b", attribution=attributed[1])
        self.run_for(6)
        bodies = {h["webhook-id"]: json.loads(b) for _, h, b in self.posts.requests}
        first, second = bodies["a.ended"], bodies["b.ended"]
        self.assertEqual((first["landing_page"], first["domain"], first["utm_source"]), ("https://shop.example/x", "shop.example", "ads"))
        self.assertEqual((second["visit_id"], second["landing_page"]), ("2", None))

    def test_event_that_its_format_cannot_say_is_a_dead_letter_with_the_reason(self):
        self.add(url="http://ga/", format="ga4", events=("call.ended",), measurement_id="G-ABC123", api_secret="s")

        async def fields(project, visit):
            return {"google_client_id": 17}

        self.outbox.visit_fields = fields
        self.start()
        self.calls("a", attribution=replace(call_record("x").attribution, visit=1))
        self.run_for(0.5)
        [attempt] = [one for one in self.log() if one.url == "http://ga/"]
        self.assertIn("not sent: ga4: client_id", attempt.error)
