"""The pure parts of a call: hunting, limits, outcomes, the look-up, the ladder."""

from hypothesis import given, strategies
from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from calltrack.calls.events import Failed
from calltrack.calls.hunting import Hunt
from calltrack.calls.ladder import MAX_STEPS, Ladder
from calltrack.calls.limits import Limit, Limits
from calltrack.calls.lookup import Lookup
from calltrack.calls.outcomes import Outcome, best, outcome_of, q850_of
from calltrack.errors import StoreUnavailable
from calltrack.testing.fakes import FixedScenarios
from calltrack.timers import Timers
from calltrack.tracking.model import Attribution, Route, Target

BUSY = Outcome("BUSY", 486, "busy")
SILENT = Outcome("NOANSWER", 480, "no answer")
BROKEN = Outcome("CONGESTION", 500, "500")
GONE = Outcome("CHANUNAVAIL", 404, "404")


class HuntTests(SynchronousTestCase):
    """PRODUCT section 2.4."""

    def test_in_order_rings_one_after_another(self):
        hunt = Hunt(3, all_at_once=False)
        self.assertEqual(hunt.start(), [0])
        self.assertEqual(hunt.failed(0, SILENT), [1])
        self.assertEqual(hunt.failed(1, BROKEN), [2])
        self.assertFalse(hunt.exhausted)
        self.assertEqual(hunt.failed(2, GONE), [])
        self.assertTrue(hunt.exhausted)

    def test_busy_stops_hunting_in_order(self):
        hunt = Hunt(3, all_at_once=False)
        hunt.start()
        self.assertEqual(hunt.failed(0, BUSY), [])
        self.assertTrue(hunt.exhausted)
        self.assertEqual(hunt.outcome, BUSY)

    def test_all_at_once_rings_everybody_and_waits_for_the_last(self):
        hunt = Hunt(3, all_at_once=True)
        self.assertEqual(hunt.start(), [0, 1, 2])
        hunt.failed(1, BUSY)
        self.assertFalse(hunt.exhausted)
        hunt.failed(0, SILENT)
        hunt.failed(2, GONE)
        self.assertTrue(hunt.exhausted)
        self.assertEqual(hunt.outcome, BUSY)

    def test_failure_of_a_target_that_does_not_ring_is_no_news(self):
        hunt = Hunt(2, all_at_once=False)
        hunt.start()
        self.assertEqual(hunt.failed(1, BUSY), [])
        hunt.failed(0, SILENT)
        self.assertEqual(hunt.failed(0, SILENT), [])
        self.assertFalse(hunt.exhausted)

    def test_no_targets_are_exhausted_at_once(self):
        hunt = Hunt(0, all_at_once=True)
        self.assertEqual(hunt.start(), [])
        self.assertTrue(hunt.exhausted)
        self.assertEqual(hunt.outcome.sip_code, 404)

    @given(strategies.integers(0, 6), strategies.booleans(), strategies.lists(strategies.tuples(strategies.integers(0, 6), strategies.sampled_from([BUSY, SILENT, BROKEN, GONE]))))
    def test_nobody_is_rung_twice_and_hunting_ends(self, count, everybody, failures):
        hunt = Hunt(count, everybody)
        rung = hunt.start()
        for target, outcome in failures:
            rung += hunt.failed(target, outcome)
        self.assertEqual(len(rung), len(set(rung)))
        for target in range(count):
            rung += hunt.failed(target, SILENT)
        self.assertTrue(hunt.exhausted)
        self.assertLessEqual(set(rung), set(range(count)))


class OutcomeTests(SynchronousTestCase):
    """PRODUCT section 2: statuses of a call; RFC 3398 for Q.850."""

    def status(self, code):
        return outcome_of(Failed(code, "words")).status

    def test_busy_is_486_600_603(self):
        self.assertEqual({self.status(code) for code in (486, 600, 603)}, {"BUSY"})

    def test_no_answer_is_408_480_487(self):
        self.assertEqual({self.status(code) for code in (408, 480, 487)}, {"NOANSWER"})

    def test_5xx_is_congestion_and_503_does_not_reach_the_caller(self):
        """RFC 3261 section 16.7."""
        self.assertEqual({self.status(code) for code in (500, 502, 503, 504)}, {"CONGESTION"})
        self.assertEqual(outcome_of(Failed(503, "")).sip_code, 500)

    def test_everything_else_is_unavailable(self):
        self.assertEqual({self.status(code) for code in (0, 302, 401, 403, 404, 407, 488, 604)}, {"CHANUNAVAIL"})

    def test_challenges_and_redirections_are_not_passed_to_the_caller(self):
        self.assertEqual({outcome_of(Failed(code, "")).sip_code for code in (301, 302, 401, 407, 481, 491)}, {480})

    def test_cause_of_the_peer_counts_more_than_the_table(self):
        self.assertEqual(outcome_of(Failed(486, "", 21)).q850, 21)
        self.assertEqual(outcome_of(Failed(486, "")).q850, 17)

    def test_every_final_status_has_a_cause(self):
        for code in range(300, 700):
            self.assertTrue(1 <= q850_of(code) <= 127)

    def test_caller_hears_the_best_of_several(self):
        self.assertEqual(best([GONE, BROKEN, SILENT, BUSY]), BUSY)
        self.assertEqual(best([GONE, BROKEN, SILENT]), SILENT)


class LimitsTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.limits = Limits(self.clock.seconds)

    def test_calls_at_once_are_counted_and_given_back(self):
        limit = (Limit("target:a", 2),)
        self.assertEqual([self.limits.take(limit) for _ in range(3)], ["", "", "target:a"])
        self.limits.give_back(limit)
        self.assertEqual(self.limits.take(limit), "")
        self.assertEqual(self.limits.calls("target:a"), 2)

    def test_calls_a_second_are_a_bucket_of_one_seconds_worth(self):
        limit = (Limit("trunk:a", 0, 2.0),)
        self.assertEqual([self.limits.take(limit) for _ in range(3)], ["", "", "trunk:a"])
        self.clock.advance(0.5)
        self.assertEqual([self.limits.take(limit) for _ in range(2)], ["", "trunk:a"])

    def test_rate_below_one_lets_a_call_in_every_so_often(self):
        limit = (Limit("trunk:a", 0, 0.1),)
        self.assertEqual([self.limits.take(limit) for _ in range(2)], ["", "trunk:a"])
        self.clock.advance(10)
        self.assertEqual(self.limits.take(limit), "")

    def test_call_counts_under_all_its_limits_or_none(self):
        wide, narrow = Limit("engine", 10), Limit("trunk:a", 1)
        self.limits.take((wide, narrow))
        self.assertEqual(self.limits.take((wide, narrow)), "trunk:a")
        self.assertEqual(self.limits.calls("engine"), 1)

    def test_limit_that_came_while_a_call_went_on_does_not_count_it(self):
        """Limits change with the configuration: what was not counted is not given back."""
        before, after = (Limit("project:1"),), (Limit("project:1", 1),)
        self.assertEqual(self.limits.take(before), "")
        self.assertEqual(self.limits.take(after), "")
        self.limits.give_back(before)
        self.assertEqual(self.limits.take(after), "project:1")

    def test_name_without_calls_is_forgotten(self):
        """ROBUSTNESS promise 11."""
        for number in range(10_000):
            limit = (Limit(f"target:{number}", 15, 5.0), Limit(f"project:{number}", 15))
            self.limits.take(limit)
            self.limits.give_back(limit)
            self.clock.advance(0.01)
        self.assertLess(len(self.limits._uses), 300)

    @given(strategies.lists(strategies.tuples(strategies.booleans(), strategies.integers(0, 2)), max_size=60))
    def test_never_more_at_once_than_allowed(self, steps):
        limits, held = Limits(Clock().seconds), []
        for take, which in steps:
            names = (Limit("engine", 4), Limit(f"trunk:{which}", 2))
            if take:
                if not limits.take(names):
                    held.append(names)
            elif held:
                limits.give_back(held.pop())
            self.assertLessEqual(limits.calls("engine"), 4)
            self.assertEqual(limits.calls("engine"), len(held))


class LookupTests(SynchronousTestCase):
    """PRODUCT section 2.3: a time budget, and telephony fails open."""

    route = Route(dialled="1", project=1, targets=(Target(kind="sip", address="sip:a@b"),), attribution=Attribution(visit=7, marker="m"))

    def setUp(self):
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.source = FixedScenarios(self.clock, [self.route])
        self.lookup = Lookup(self.source, self.timers, 0.2)
        self.found = []

    def ask(self, dialled="1"):
        return self.lookup.ask(dialled, "2", 100.0, self.found.append)

    def tearDown(self):
        self.clock.advance(10)
        self.assertEqual((self.timers.pending(), self.source.pending), (0, 0))

    def test_answer_at_once_is_told_at_once(self):
        self.ask()
        self.assertEqual(self.found, [self.route])
        self.assertEqual(self.source.asked, [("1", "2", 100.0)])

    def test_answer_in_time_is_told_once(self):
        self.source.delay = 0.1
        self.ask()
        self.clock.advance(0.1)
        self.clock.advance(1)
        self.assertEqual(self.found, [self.route])

    def test_late_answer_is_overruled_by_the_last_known_route_and_cancelled(self):
        self.source.delay = 1
        self.ask()
        self.clock.advance(0.2)
        (route,) = self.found
        self.assertEqual(route.targets, self.route.targets)
        self.assertEqual((route.attribution.visit, route.attribution.marker), (None, ""))
        self.assertEqual(route.attribution.reason, "lookup timeout")
        self.assertEqual(self.source.cancelled, 1)

    def test_failure_is_overruled_too(self):
        self.source.failure = StoreUnavailable("locked")
        self.ask()
        self.assertEqual(self.found[0].attribution.reason, "lookup failed")

    def test_bug_of_a_source_is_logged_and_overruled(self):
        self.source.failure = ZeroDivisionError("a bug")
        self.ask()
        self.assertEqual(self.found[0].attribution.reason, "lookup failed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_source_that_raises_is_overruled(self):
        self.source.lookup = lambda *args: 1 / 0
        self.ask()
        self.assertEqual(self.found[0].attribution.reason, "lookup failed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bug_in_placing_the_call_is_logged_with_its_id(self):
        with capturedLogs() as logged:
            self.lookup.ask("1", "2", 100.0, lambda route: 1 / 0, "a-call")
        self.assertEqual([event["call_id"] for event in logged if "log_failure" in event], ["a-call"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_answer_without_deferred_will_do(self):
        self.source.lookup = lambda *args: self.route
        self.ask()
        self.assertEqual(self.found, [self.route])

    def test_unknown_number_is_none(self):
        self.ask("9")
        self.assertEqual(self.found, [None])

    def test_late_answer_without_last_known_route_is_none(self):
        self.source.delay, self.source.known = 1, {}
        self.ask()
        self.clock.advance(0.2)
        self.assertEqual(self.found, [None])

    def test_given_up_question_is_cancelled_and_tells_nothing(self):
        """EDGE-CASES 6."""
        self.source.delay = 0.1
        self.ask()()
        self.clock.advance(1)
        self.assertEqual((self.found, self.source.cancelled), ([], 1))

    def test_source_that_answers_its_own_cancellation_is_not_heard(self):
        self.source.lookup = lambda *args: defer.Deferred(lambda answer: answer.callback(None))
        self.ask()
        self.clock.advance(0.2)
        self.assertEqual(len(self.found), 1)
        self.assertIsNotNone(self.found[0])


class LadderTests(SynchronousTestCase):
    def test_call_that_sends_info_all_day_does_not_fill_the_memory(self):
        ladder = Ladder(0.0)
        for number in range(MAX_STEPS + 50):
            ladder.add(number, "caller", False, b"INFO sip:a SIP/2.0", b"INFO", True)
        self.assertEqual(len(ladder.steps()), MAX_STEPS)
        self.assertEqual(ladder.omitted, 50)

    def test_steps_of_all_calls_share_what_is_not_their_own(self):
        ladders = [Ladder(0.0), Ladder(5.0)]
        for ladder in ladders:
            ladder.add(7.5, "caller", True, b"SIP/2.0 200 OK", b"INVITE", True)
        self.assertIs(*(ladder._what[0] for ladder in ladders))
        self.assertEqual([ladder.steps()[0].at_ms for ladder in ladders], [7500, 2500])

    def test_hostile_start_line_is_cut_and_readable(self):
        ladder = Ladder(0.0)
        ladder.add(0.0123, "caller", False, b"SIP/2.0 200 " + b"\xff" * 500, b"INVITE", False)
        (step,) = ladder.steps()
        self.assertEqual(step.at_ms, 12)
        self.assertLess(len(step.text), 100)
