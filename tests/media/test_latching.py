"""Whose packets are trusted, and when a source that nobody named is learned."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from calltrack.media.latching import ADDRESS, ELSEWHERE, LEARNING, NAMED, STRANGER, Latch


def latch(named: str, signalling: str) -> Latch:
    made = Latch()
    made.describe((named, 4000), signalling)
    return made


class TrustTests(SynchronousTestCase):
    def test_nobody_is_trusted_before_there_is_a_description(self) -> None:
        self.assertEqual(Latch().trust(("192.0.2.1", 4000)), STRANGER)

    def test_named_source_is_trusted_most_then_its_address(self) -> None:
        public = latch("8.8.8.8", "8.8.4.4")
        self.assertEqual(public.trust(("8.8.8.8", 4000)), NAMED)
        self.assertEqual(public.trust(("8.8.8.8", 4002)), ADDRESS)

    def test_public_address_admits_nobody_else(self) -> None:  # edge case 32, CVE-2017-14099
        public = latch("8.8.8.8", "8.8.4.4")
        self.assertEqual(public.trust(("8.8.4.4", 4000)), STRANGER)
        self.assertEqual(public.trust(("1.1.1.1", 4000)), STRANGER)

    def test_private_address_behind_nat_admits_the_signalling_host_then_others(self) -> None:
        for private in ("192.168.1.5", "10.0.0.5", "100.64.0.5", "169.254.1.1", "fd00::5", "fe80::1"):
            behind_nat = latch(private, "8.8.4.4")
            self.assertEqual(behind_nat.trust((private, 4000)), NAMED)
            self.assertEqual(behind_nat.trust(("8.8.4.4", 31337)), ADDRESS)
            self.assertEqual(behind_nat.trust(("1.1.1.1", 4000)), ELSEWHERE)
            self.assertEqual(behind_nat.trust(("10.9.9.9", 4000)), STRANGER)  # a NAT would have hidden it

    def test_private_address_without_nat_admits_nobody_else(self) -> None:  # edge case 32
        self.assertEqual(latch("192.168.1.5", "192.168.1.5").trust(("192.168.1.6", 4000)), STRANGER)


class LearningTests(SynchronousTestCase):
    PHONE, OTHER = ("1.1.1.1", 4000), ("1.0.0.1", 666)

    def test_source_alone_for_a_window_is_learned(self) -> None:
        learning = latch("192.168.1.5", "8.8.4.4")
        times = [n * 0.02 for n in range(int(LEARNING / 0.02) + 2)]
        self.assertEqual([learning.learned(self.PHONE, now) for now in times[:-2]], [False] * (len(times) - 2))
        self.assertTrue(learning.learned(self.PHONE, times[-1]))

    def test_two_sources_at_once_are_neither_learned(self) -> None:
        learning = latch("192.168.1.5", "8.8.4.4")
        for n in range(100):
            self.assertFalse(learning.learned(self.PHONE, n * 0.02))
            self.assertFalse(learning.learned(self.OTHER, n * 0.02 + 0.01))

    def test_a_pause_begins_the_window_again(self) -> None:
        learning = latch("192.168.1.5", "8.8.4.4")
        for now in (0.0, 5.0, 10.0):
            self.assertFalse(learning.learned(self.PHONE, now))

    def test_a_new_description_begins_the_window_again(self) -> None:
        learning = latch("192.168.1.5", "8.8.4.4")
        learning.learned(self.PHONE, 0.0)
        learning.learned(self.PHONE, 0.09)
        learning.describe(("192.168.1.5", 5000), "8.8.4.4")
        self.assertFalse(learning.learned(self.PHONE, LEARNING))
