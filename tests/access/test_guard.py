"""Guessing of passwords is slowed down, and memory stays bounded."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.access import guard
from calltrack.access.guard import FORGOTTEN, FREE, LONGEST_WAIT, LogInGuard
from calltrack.access.passwords import broken_rules


class LogInGuardTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.guard = LogInGuard(self.clock.seconds)

    def fail(self, times, *whoever):
        for _ in range(times):
            self.guard.failed(*whoever)

    def test_first_failures_cost_nothing_and_each_further_one_doubles_the_wait(self):
        self.fail(FREE - 1, "a")
        self.assertEqual(self.guard.wait("a"), 0)
        waits = []
        for _ in range(4):
            self.guard.failed("a")
            waits.append(self.guard.wait("a"))
        self.assertEqual(waits, [2, 4, 8, 16])

    def test_wait_is_bounded_and_passes(self):
        self.fail(100, "a")
        self.assertEqual(self.guard.wait("a"), LONGEST_WAIT)
        self.clock.advance(LONGEST_WAIT)
        self.assertEqual(self.guard.wait("a"), 0)

    def test_worst_of_address_and_name_counts_and_others_are_untouched(self):
        self.fail(FREE, "address 192.0.2.7", "name maria")
        self.assertEqual(self.guard.wait("address 203.0.113.1", "name maria"), 2)
        self.assertEqual(self.guard.wait("address 203.0.113.1", "name ivan"), 0)

    def test_success_and_time_forget_failures(self):
        self.fail(FREE, "a", "b")
        self.guard.succeeded("a")
        self.assertEqual(self.guard.wait("a"), 0)
        self.clock.advance(FORGOTTEN + 1)
        self.guard.failed("b")
        self.assertEqual(self.guard.wait("b"), 0)

    def test_flood_of_names_pushes_out_the_oldest(self):
        self.patch(guard, "KEPT", 10)
        self.fail(FREE, "first")
        for number in range(10):
            self.guard.failed(f"name {number}")
        self.assertEqual(self.guard.wait("first"), 0)
        self.assertEqual(len(self.guard._failures), 10)


class PasswordRuleTests(SynchronousTestCase):
    def test_sentences_pass_and_weak_ones_are_told_every_rule(self):
        self.assertEqual(broken_rules("a sentence nobody guesses", "maria"), [])
        self.assertEqual(len(broken_rules("aaa", "maria")), 2)
        self.assertIn("holds the name", broken_rules("maria likes long ones", "maria"))
        self.assertIn("is among the first that are tried", broken_rules("Password number 17"))
        self.assertIn("has a control character or line break", broken_rules("a sentence\nin two lines"))
