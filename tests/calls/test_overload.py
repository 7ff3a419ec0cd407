"""When the engine is too busy, it refuses some new calls so that it can serve the others."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.calls.overload import INTERVAL, LEAST, Overload, occupied_seconds
from calltrack.timers import Timers


class OverloadTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.used = 0.0
        self.overload = Overload(Timers(self.clock), lambda: self.used, chance=lambda: 0.5)
        self.overload.start()
        self.addCleanup(self.overload.stop)

    def spend(self, share, looks):
        """`looks` intervals in which the thread is busy for `share` of the time."""
        for _ in range(looks):
            self.used += share * INTERVAL
            self.clock.advance(INTERVAL)

    def test_everything_is_let_in_while_there_is_time(self):
        self.spend(0.85, 50)
        self.assertEqual(self.overload.share, 1.0)
        self.assertTrue(self.overload.admits())
        self.assertEqual(self.overload.refused, 0)

    def test_fewer_are_let_in_the_longer_it_is_too_busy(self):
        shares = []
        for _ in range(5):
            self.spend(1.0, 2)
            shares.append(self.overload.share)
        self.assertEqual(shares, sorted(shares, reverse=True))
        self.assertLess(shares[-1], 0.5)
        self.assertFalse(self.overload.admits())
        self.assertEqual(self.overload.refused, 1)
        self.flushWarnings()

    def test_some_are_always_let_in(self):
        self.spend(1.0, 1000)
        self.assertAlmostEqual(self.overload.share, LEAST)

    def test_it_ends_within_seconds(self):
        self.spend(1.0, 1000)
        self.spend(0.3, 20)
        self.assertEqual(self.overload.share, 1.0)

    def test_time_that_the_thread_has_run_or_waited_is_told(self):
        before = occupied_seconds()
        for _ in range(1000):  # the kernel tells it a few hundred times a second
            if occupied_seconds() > before:
                break
            sum(range(100_000))
        self.assertGreater(occupied_seconds(), before)

    def test_stopped_it_waits_for_nothing(self):
        self.overload.stop()
        self.clock.advance(INTERVAL)
        self.assertEqual(self.clock.getDelayedCalls(), [])
