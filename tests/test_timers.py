"""The timer wheel (docs/architecture.md section 2)."""

from hypothesis import given, strategies
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.testing.network import MemoryNetwork
from calltrack.timers import SLOTS_PER_SECOND, Timers

SLOT = 1 / SLOTS_PER_SECOND


class TimersTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.fired = []

    def test_timer_fires_once_with_its_argument(self):
        self.timers.after(0.5, self.fired.append, "a")
        self.clock.advance(0.49)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.01)
        self.clock.advance(10)
        self.assertEqual(self.fired, ["a"])

    @given(strategies.lists(strategies.floats(0, 40), min_size=1, max_size=30), strategies.floats(0, 1000))
    def test_never_early_and_at_most_one_slot_late(self, delays, start):
        clock, due = Clock(), []
        clock.advance(start)
        timers = Timers(clock)
        for delay in delays:
            timers.after(delay, lambda at: due.append(clock.seconds() - at), clock.seconds() + delay)
        MemoryNetwork(clock).run(42)
        self.assertEqual(len(due), len(delays))
        for late in due:
            self.assertTrue(-0.0001 <= late <= SLOT + 0.0001, late)

    def test_timers_of_one_slot_fire_in_the_order_they_were_armed(self):
        for name in "abc":
            self.timers.after(0.1, self.fired.append, name)
        self.clock.advance(0.1)
        self.assertEqual(self.fired, ["a", "b", "c"])

    def test_cancelled_timer_does_not_fire_and_can_be_cancelled_again(self):
        timer = self.timers.after(0.1, self.fired.append)
        self.assertTrue(timer.active)
        timer.cancel()
        timer.cancel()
        self.assertFalse(timer.active)
        self.clock.advance(1)
        self.assertEqual(self.fired, [])

    def test_timer_is_not_active_while_it_fires_and_cancelling_it_is_harmless(self):
        timer = self.timers.after(0.1, lambda _: self.fired.append(timer.active) or timer.cancel())
        self.clock.advance(0.1)
        self.assertEqual(self.fired, [False])

    def test_timer_that_cancels_the_next_one_of_its_slot(self):
        self.timers.after(0.1, lambda _: second.cancel())
        second = self.timers.after(0.1, self.fired.append)
        self.clock.advance(0.1)
        self.assertEqual(self.fired, [])

    def test_earlier_timer_armed_later_fires_first(self):
        self.timers.after(5, self.fired.append, "late")
        self.timers.after(1, self.fired.append, "early")
        self.clock.advance(1)
        self.assertEqual(self.fired, ["early"])
        self.clock.advance(4)
        self.assertEqual(self.fired, ["early", "late"])

    def test_timer_armed_by_a_timer_fires_in_its_own_time(self):
        self.timers.after(0.1, lambda _: self.timers.after(0.1, self.fired.append))
        self.clock.advance(0.1)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.12)
        self.assertEqual(self.fired, [None])

    def test_timer_of_no_delay_fires_in_the_next_turn_and_not_at_once(self):
        self.timers.after(0, self.fired.append)
        self.assertEqual(self.fired, [])
        self.clock.advance(SLOT)
        self.assertEqual(self.fired, [None])

    def test_broken_timer_takes_no_other_with_it(self):
        self.timers.after(0.1, lambda _: 1 / 0)
        self.timers.after(0.1, self.fired.append, "a")
        self.timers.after(0.2, self.fired.append, "b")
        self.clock.advance(0.1)
        self.clock.advance(0.1)
        self.assertEqual(self.fired, ["a", "b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_delayed_call_serves_all_timers(self):
        for number in range(100):
            self.timers.after(number / 10, self.fired.append)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_pending_counts_what_is_armed(self):
        timers = [self.timers.after(number, self.fired.append) for number in range(3)]
        timers[1].cancel()
        self.assertEqual(self.timers.pending(), 2)

    def test_jump_of_the_clock_fires_everything_that_is_due_once(self):
        for delay in (0.5, 1, 30):
            self.timers.after(delay, self.fired.append, delay)
        self.clock.advance(3600)
        self.assertEqual(self.fired, [0.5, 1, 30])
