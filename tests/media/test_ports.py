"""Port pairs: order, quarantine, and what happens when there are none."""

from __future__ import annotations

import errno
import socket

from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MediaUnavailable
from calltrack.media import ports as module
from calltrack.media.ports import PortPool
from tests.media.test_relay import free_range

HOST = "127.0.0.1"


class PortPoolTests(SynchronousTestCase):
    QUARANTINE = 10.0

    def pool(self, pairs: int) -> PortPool:
        low, high = free_range(pairs)
        pool = PortPool(low, high, self.QUARANTINE)
        self.addCleanup(pool.close)
        return pool

    def take(self, pool: PortPool):
        pair = pool.take(HOST)
        self.addCleanup(pair.close)
        return pair

    def send(self, pair, data: bytes = b"x") -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(data, (HOST, pair.port))

    def test_pairs_are_even_and_odd_bound_and_non_blocking(self) -> None:
        pair = self.take(self.pool(4))
        self.assertEqual([sock.getsockname() for sock in pair.sockets], [(HOST, pair.port), (HOST, pair.port + 1)])
        self.assertEqual(pair.port % 2, 0)
        self.assertEqual([sock.getblocking() for sock in pair.sockets], [False, False])

    def test_an_odd_first_port_is_left_out(self) -> None:
        low, high = free_range(3)
        pool = PortPool(low + 1, high, 1)
        self.assertEqual({self.take(pool).port for _ in range(2)}, {low + 2, low + 4})
        self.assertRaises(MediaUnavailable, pool.take, HOST)

    def test_unused_pair_goes_to_the_end_of_the_queue_at_once(self) -> None:
        pool = self.pool(3)
        first = self.take(pool)
        pool.give_back(first, carried=False, now=0.0)
        others = [self.take(pool).port for _ in range(2)]
        self.assertNotIn(first.port, others)
        self.assertEqual(self.take(pool).port, first.port)

    def test_idle_pairs_stay_bound_and_are_used_again_once_others_have_rested_longer(self) -> None:
        self.patch(module, "_RESTING", 2)
        pool = self.pool(8)
        pairs = [self.take(pool) for _ in range(3)]
        for pair in pairs:
            pool.give_back(pair, carried=False, now=0.0)
        self.assertIs(self.take(pool), pairs[0])
        self.assertNotIn(self.take(pool), pairs)

    def test_no_more_pairs_stay_bound_than_are_worth_it(self) -> None:
        self.patch(module, "_KEPT", 2)
        pool = self.pool(3)
        pairs = [self.take(pool) for _ in range(3)]
        for pair in pairs:
            pool.give_back(pair, carried=False, now=0.0)
        self.assertEqual([pair.rtp.fileno() == -1 for pair in pairs], [True, False, False])
        self.assertTrue(pool.has_room(3))

    def test_pair_that_was_sent_to_while_it_was_idle_is_held(self) -> None:  # edge case 33
        pool = self.pool(1)
        pair = self.take(pool)
        pool.give_back(pair, carried=False, now=0.0)
        self.send(pair)
        self.assertRaises(MediaUnavailable, pool.take, HOST)
        self.send(pair)
        pool.sweep(1.0)
        self.assertRaises(MediaUnavailable, pool.take, HOST)
        pool.sweep(1.0 + self.QUARANTINE)
        self.assertEqual(self.take(pool).port, pair.port)

    def test_kept_pairs_serve_when_no_files_are_left(self) -> None:
        pool = self.pool(2)
        pair = self.take(pool)
        pool.give_back(pair, carried=False, now=0.0)

        def no_files(address, port):
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(module, "bind", no_files)
        self.assertIs(self.take(pool), pair)

    def test_pair_that_carried_media_is_back_after_quarantine(self) -> None:  # edge case 33
        pool = self.pool(1)
        pair = self.take(pool)
        pool.give_back(pair, carried=True, now=0.0)
        pool.sweep(self.QUARANTINE - 0.1)
        self.assertRaises(MediaUnavailable, pool.take, HOST)
        pool.sweep(self.QUARANTINE)
        self.assertEqual(self.take(pool).port, pair.port)

    def test_quarantine_lasts_as_long_as_somebody_sends(self) -> None:  # edge case 33
        pool = self.pool(1)
        pair = self.take(pool)
        pool.give_back(pair, carried=True, now=0.0)
        for period in (1, 2):
            self.send(pair)
            pool.sweep(self.QUARANTINE * period)
            self.assertRaises(MediaUnavailable, pool.take, HOST)
        pool.sweep(self.QUARANTINE * 3)
        self.assertEqual(self.take(pool).port, pair.port)

    def test_pair_that_was_sent_to_unasked_is_held_too(self) -> None:  # edge case 33
        pool = self.pool(1)
        pair = self.take(pool)
        self.send(pair)
        pool.give_back(pair, carried=False, now=0.0)
        self.assertRaises(MediaUnavailable, pool.take, HOST)

    def test_held_pair_hears_those_who_were_kept_out_before(self) -> None:
        pool = self.pool(1)
        pair = self.take(pool)
        pair.rtp.connect((HOST, 9))
        pool.give_back(pair, carried=True, now=0.0)
        self.send(pair)
        pool.sweep(self.QUARANTINE)
        self.assertRaises(MediaUnavailable, pool.take, HOST)

    def test_ports_of_other_programs_are_passed_over(self) -> None:
        low, high = free_range(2)
        for occupied in (low, low + 1):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind((HOST, occupied))
                pool = PortPool(low, high, 1)
                self.assertEqual(self.take(pool).port, low + 2)
                self.assertRaises(MediaUnavailable, pool.take, HOST)
            self.doCleanups()

    def test_each_address_has_the_whole_range(self) -> None:
        pool = self.pool(1)
        ports = {self.take(pool).port}
        pair = pool.take("127.0.0.2")
        self.addCleanup(pair.close)
        self.assertEqual(ports, {pair.port})

    def test_room_is_what_is_left_on_the_tightest_address(self) -> None:
        pool = self.pool(2)
        self.assertTrue(pool.has_room(2))
        self.take(pool)
        self.assertTrue(pool.has_room(1))
        self.assertFalse(pool.has_room(2))

    def test_no_files_left_is_unavailable_and_loses_no_port(self) -> None:
        pool = self.pool(1)

        def no_files(address, port):
            raise OSError(errno.EMFILE, "Too many open files")

        bind = self.patch(module, "bind", no_files)
        self.assertIn("Too many open files", str(self.assertRaises(MediaUnavailable, pool.take, HOST)))
        bind.restore()
        self.take(pool)

    def test_an_address_that_is_not_ours_is_unavailable(self) -> None:
        self.assertRaises(MediaUnavailable, self.pool(1).take, "192.0.2.1")
