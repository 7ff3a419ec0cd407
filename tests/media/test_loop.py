"""The packet loop and its lanes, driven by hand: no reactor runs here."""

from __future__ import annotations

import errno
import select
import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.media import lanes, latching, loop
from calltrack.media.lanes import SPACED, Lane
from calltrack.media.loop import PacketLoop
from calltrack.testing.media_peers import rtp

HOST = "127.0.0.1"


class Reactor(Clock):
    """Remembers its readers; the test reads."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set = set()

    def addReader(self, reader) -> None:
        self.readers.add(reader)

    def removeReader(self, reader) -> None:
        self.readers.discard(reader)


class LoopCase(SynchronousTestCase):
    """Two joined lanes, one phone at each, and a clock that stands still unless told."""

    def setUp(self) -> None:
        self.now = 100.0
        self.patch(loop, "monotonic", lambda: self.now)
        self.reactor = Reactor()
        self.loop = PacketLoop(self.reactor)
        self.loop.start()
        self.addCleanup(self.loop.stop)
        self.phones = [self.udp() for _ in range(2)]
        self.lanes = [Lane(self.udp(explicit=True), self.loop) for _ in range(2)]
        for lane, phone in zip(self.lanes, self.phones, strict=True):
            lane.describe(phone.getsockname(), HOST, True, 8000)
            self.addCleanup(lane.close)
        self.lanes[0].join(self.lanes[1])

    def udp(self, explicit: bool = False, host: str = HOST) -> socket.socket:
        """A socket; `explicit`: its port is named in bind(), as a relay's is, so that it survives disconnecting."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        if explicit:
            port = sock.getsockname()[1]
            sock.close()
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((host, port))
        sock.setblocking(False)
        self.addCleanup(sock.close)
        return sock

    def send(self, packet: bytes, sender: socket.socket | None = None) -> None:
        """To the first lane, from its phone unless told."""
        (sender or self.phones[0]).sendto(packet, self.lanes[0]._sock.getsockname())

    def read(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.doRead()
            self.now += 1

    def relayed(self) -> list[bytes]:
        """What the second phone has received."""
        packets = []
        while True:
            try:
                packets.append(self.phones[1].recv(65535))
            except BlockingIOError:
                return packets


class JitterAndLossTests(LoopCase):
    def receive(self, sequence: int, at: float, **fields) -> None:
        self.now = 100 + at
        self.send(rtp(sequence, **fields))
        self.loop.doRead()

    def three(self, first: int, late: float, **fields) -> None:
        """Three packets from `first` on, 20 ms apart, the last of them `late` (seconds)."""
        for sequence in range(first, first + 3):
            self.receive(sequence, sequence * 0.02 + (late if sequence == first + 2 else 0), **fields)

    def test_regular_packets_have_no_jitter(self) -> None:
        for n in range(50):
            self.receive(n, n * 0.02)
        self.assertAlmostEqual(self.lanes[0].jitter, 0, places=6)

    def test_jitter_is_the_difference_of_what_two_packets_took(self) -> None:  # RFC 3550 A.8
        self.three(0, late=0.01)
        self.assertAlmostEqual(self.lanes[0].jitter, 80)
        self.three(0, late=-0.01)
        self.assertAlmostEqual(self.lanes[0].jitter, 80)

    def test_jitter_is_averaged_over_sixteen_pairs(self) -> None:
        for first in range(0, 40 * SPACED, SPACED):
            for n in range(first, first + SPACED):
                self.receive(n, n * 0.02 + (0.01 if n == first + 2 else 0))
        self.assertAlmostEqual(self.lanes[0].jitter, 80)
        for n in range(40 * SPACED, 41 * SPACED):
            self.receive(n, n * 0.02)
        self.assertAlmostEqual(self.lanes[0].jitter, 80 * 15 / 16)

    def test_jitter_of_a_stream_that_somebody_listens_to_is_the_same(self) -> None:
        self.lanes[0].observe(lambda packet, now: None)
        self.test_jitter_is_averaged_over_sixteen_pairs()

    def test_jitter_is_found_whatever_rhythm_the_packets_come_in(self) -> None:
        for together in (2, 3, 4, 5, 8):  # packets that a phone sends at once
            self.setUp()
            for n in range(600):
                self.receive(n, (n // together + 1) * together * 0.02)
            # All but one are 20 ms early, and that one late by as much as those are early together.
            every = 2 * (together - 1) / together * 160  # the mean over all pairs
            self.assertLess(abs(self.lanes[0].jitter - every), every / 3)

    def test_jitter_is_not_measured_across_a_gap(self) -> None:
        for n in (0, 2, 3, 11, 12, 14, 22, 24):
            self.receive(n, n * n)
        self.assertEqual(self.lanes[0].jitter, 0)

    def test_packets_that_share_a_timestamp_are_no_jitter(self) -> None:  # RFC 4733 events
        for start in range(12):
            self.setUp()
            for n in range(100):
                digit = (n - start) // 12 * 12 + start  # as long as twelve packets, with the timestamp of the first
                self.receive(n, n * 0.02, timestamp=1000 + max(digit, 0) * 160)
            self.assertAlmostEqual(self.lanes[0].jitter, 0, places=6)

    def test_timestamps_wrap_without_jitter(self) -> None:
        for n in range(50):
            self.receive(n, n * 0.02, timestamp=(2**32 - 10 * 160 + n * 160) % 2**32)
        self.assertAlmostEqual(self.lanes[0].jitter, 0, places=6)

    def test_a_sender_that_sets_its_clock_is_no_jitter(self) -> None:
        for n in range(100):
            self.receive(n, n * 0.02, timestamp=n * 160 + (10**6 if n > 45 else 0))
        self.assertAlmostEqual(self.lanes[0].jitter, 0, places=6)

    def test_another_source_that_goes_on_where_the_last_one_ended_is_no_jitter(self) -> None:
        self.lanes[0].observe(lambda packet, now: None)
        self.receive(0, 0)
        self.receive(1, 0.02)
        self.receive(2, 0.5, ssrc=0x999)
        self.assertEqual(self.lanes[0].jitter, 0)

    def test_sequence_numbers_wrap_without_loss(self) -> None:
        for n in range(65530, 65545):
            self.receive(n, (n - 65530) * 0.02)
        self.assertEqual(self.lanes[0].lost, 0)
        self.assertEqual(self.lanes[0].packets, 15)

    def test_duplicates_and_late_packets_count_as_received(self) -> None:  # RFC 3550 A.3
        for sequence in (1, 2, 5, 3, 4, 6):
            self.receive(sequence, 0)
        self.assertEqual(self.lanes[0].lost, 0)
        self.receive(6, 0)
        self.assertEqual(self.lanes[0].lost, 0)

    def test_packets_that_are_no_rtp_are_relayed_and_not_measured(self) -> None:
        self.receive(1, 0)
        others = [b"", b"\r\n\r\n", b"\x00\x01" + bytes(18), b"\x16" + bytes(50), b"\x80\xc8" + bytes(26)]
        for packet in others:
            self.send(packet)
            self.read()
        self.receive(2, 0)
        self.assertEqual(self.lanes[0].lost, 0)
        self.assertEqual(self.relayed(), [rtp(1), *others, rtp(2)])


class LaneTests(LoopCase):
    def test_what_strangers_queued_before_the_phone_does_not_get_through(self) -> None:  # edge case 32
        stranger = self.udp(host="127.0.0.9")
        self.send(rtp(1))
        self.send(rtp(666), stranger)
        self.send(rtp(2))
        self.read()
        self.assertEqual(self.relayed(), [rtp(1), rtp(2)])
        self.assertEqual(self.lanes[0].count_strangers(), 1)

    def test_every_stranger_is_counted_when_the_queue_overflows(self) -> None:
        self.send(rtp(1))
        self.read()
        stranger = self.udp(host="127.0.0.9")
        for n in range(3000):
            self.send(rtp(n), stranger)
        self.assertEqual(self.lanes[0].count_strangers(), 3000)
        self.lanes[0].reopen()
        self.assertEqual(self.lanes[0].count_strangers(), 3000)

    def test_without_files_for_a_door_strangers_are_kept_out_all_the_same(self) -> None:
        def no_files(*arguments, **options):
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(lanes, "bind", no_files)
        self.send(rtp(1))
        self.read()
        self.send(rtp(666), self.udp(host="127.0.0.9"))
        self.send(rtp(2))
        self.read(3)
        self.assertFalse(self.lanes[0].check())
        self.assertEqual(self.relayed(), [rtp(1), rtp(2)])

    def test_source_without_a_route_leaves_the_lane_open(self) -> None:
        sock = self.udp(host="127.0.0.9")
        self.lanes[0].describe(("127.0.0.9", sock.getsockname()[1]), HOST, True, 8000)

        class Unreachable:
            def __init__(self, real):
                self._real = real

            def connect(self, address):
                raise OSError(errno.ENETUNREACH, "Network is unreachable")

            def __getattr__(self, name):
                return getattr(self._real, name)

        real = self.lanes[0]._sock
        self.lanes[0]._sock = Unreachable(real)
        self.send(rtp(1), sock)
        self.read()
        self.lanes[0]._sock = real
        self.send(rtp(2), sock)
        self.read()
        self.assertEqual(self.relayed(), [rtp(2)])

    def test_phone_behind_nat_is_learned_alone_and_yields_to_the_named_source(self) -> None:  # edge case 32
        self.patch(latching, "is_public", lambda host: host in ("8.8.8.8", "127.0.0.7"))
        lane, elsewhere = self.lanes[0], self.udp(host="127.0.0.7")
        lane.describe(self.phones[0].getsockname(), "8.8.8.8", True, 8000)  # signals from elsewhere: behind a NAT
        for n in range(30):
            self.send(rtp(n), elsewhere)
            self.loop.doRead()
            self.now += 0.02
        relayed = self.relayed()
        self.assertEqual(relayed[-1], rtp(29))
        self.assertLess(len(relayed), 25)
        self.send(rtp(100))
        self.assertTrue(lane.check())
        self.send(rtp(101))
        self.send(rtp(102), elsewhere)
        self.read(2)
        self.assertEqual(self.relayed(), [rtp(101)])

    def test_phone_that_signals_from_another_network_is_learned_anew(self) -> None:
        lane, before, after = self.lanes[0], self.udp(host="127.0.0.7"), self.udp(host="127.0.0.8")
        for phone in (before, after):
            lane.describe(("192.168.1.5", 4000), phone.getsockname()[0], True, 8000)
            self.send(rtp(1), phone)
            self.read()
            self.send(rtp(2), before if phone is after else after)
            self.read()
        self.assertEqual(self.relayed(), [rtp(1), rtp(1)])

    def test_rtcp_of_a_phone_behind_nat_is_taken_from_where_its_rtp_comes(self) -> None:
        control = Lane(self.udp(explicit=True), self.loop, leader=self.lanes[0])
        other = Lane(self.udp(explicit=True), self.loop, leader=self.lanes[1])
        for lane in (control, other):
            self.addCleanup(lane.close)
            lane.describe(("192.168.1.5", 4001), "8.8.8.8", False, 8000)
        other.describe(self.phones[1].getsockname(), HOST, False, 8000)
        control.join(other)
        self.send(rtp(1))
        self.read()
        for host in ("127.0.0.9", HOST):
            self.udp(host=host).sendto(b"\x80\xc8 from " + host.encode(), control._sock.getsockname())
            self.read()
        self.assertEqual(self.relayed(), [rtp(1), b"\x80\xc8 from 127.0.0.1"])

    def test_a_lane_that_fails_is_no_longer_read_and_others_are(self) -> None:
        class Broken(Lane):
            def read(self, now):
                raise ZeroDivisionError("a bug")

        bad = Broken(self.udp(explicit=True), self.loop)
        self.loop.watch(bad)
        self.phones[0].sendto(b"x", bad._sock.getsockname())
        self.send(rtp(1))
        self.read(2)
        self.assertEqual(self.relayed(), [rtp(1)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RestTests(LoopCase):
    def wake(self) -> None:
        """Wait for the alarm, as the reactor would."""
        ready, _, _ = select.select([self.loop.alarm], [], [], 5)
        self.assertEqual(ready, [self.loop.alarm])
        self.loop.alarm.doRead()

    def test_rare_packets_wake_the_loop_each(self) -> None:
        for n in range(5):
            self.send(rtp(n))
            self.read()
        self.assertEqual(self.reactor.readers, {self.loop, self.loop.alarm})
        self.assertEqual(select.select([self.loop.alarm], [], [], 0)[0], [])

    def test_dense_packets_are_looked_for_between_rests_until_there_are_none(self) -> None:
        for n in range(2):
            self.send(rtp(n))
            self.loop.doRead()
        self.assertEqual(self.reactor.readers, {self.loop.alarm})
        self.send(rtp(2))
        self.wake()
        self.assertEqual(self.relayed(), [rtp(0), rtp(1), rtp(2)])
        self.assertEqual(self.reactor.readers, {self.loop.alarm})
        self.wake()
        self.assertEqual(self.reactor.readers, {self.loop, self.loop.alarm})
        self.assertEqual(select.select([self.loop.alarm], [], [], 0)[0], [])

    def look(self, *rounds: int) -> tuple[float, int]:
        """The rest after a look that finds so many packets each time it asks; and how often it asked."""
        found, rests = iter(rounds), []
        self.patch(self.loop.alarm, "set", rests.append)
        self.patch(self.loop, "relay", lambda now: next(found))
        self.loop.alarm.doRead()
        [rest] = rests
        return rest, len(rounds) - len(list(found))

    def test_what_comes_while_others_are_relayed_is_taken_at_once(self) -> None:
        few = loop._FEW
        self.assertEqual(self.look(few, 1), (loop._REST, 1))
        self.assertEqual(self.look(50, few + 1, few, 1), (loop._REST, 3))
        self.assertEqual(self.look(50, 0, 1), (loop._REST, 2))

    def test_sockets_that_do_not_become_empty_leave_the_reactor_a_breath(self) -> None:
        batch = loop._BATCH
        self.assertEqual(self.look(batch, 50), (loop._BREATH, 1))
        self.assertEqual(self.look(batch // 2, batch // 2, 50), (loop._BREATH, 2))
        self.assertEqual(self.look(batch // 2, batch, 50), (loop._BREATH, 2))

    def test_stopping_in_a_rest_leaves_nothing_behind(self) -> None:
        before = set(self.reactor.readers)
        resting = PacketLoop(self.reactor)
        resting.start()
        resting.doRead()
        resting.doRead()
        resting.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.reactor.readers, before)
