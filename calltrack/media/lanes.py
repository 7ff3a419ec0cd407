"""One UDP socket towards one party: whom it hears, where it sends, what it counts.

A lane is open (anybody may be the first, `latching` says who) or locked: then the socket is connected, the kernel keeps
everybody else out, and a second socket on the same port, the door, collects those who knock. Nothing is read from the
door but once in a while: its queue and the kernel's count of what overflowed say how many strangers there were, and a
phone that has changed its port is found there when its lane has gone silent.

Knows sockets and RTP headers; knows no calls, and the epoll only as what it reports to.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from struct import Struct
from typing import TYPE_CHECKING, Protocol

from calltrack.media import rtcp
from calltrack.media.latching import ADDRESS, ELSEWHERE, NAMED, STRANGER, Address, Latch
from calltrack.media.sockets import MOST_QUEUED, bind, disconnect, drain, overflowed, share, waits

if TYPE_CHECKING:
    from calltrack.media.loop import PacketLoop

    Buffer = bytes | bytearray

    class Bypass(Protocol):
        """What carries a stream's packets in the place of its two lanes."""

        def end(self) -> None:
            """Let the packets come to the lanes again: tell both what has been carried, and that it is over."""

        def look(self) -> None:
            """Tell the lanes what has been carried up to now."""

_HEADER = Struct(">2xH4xI")  # sequence number, SSRC (RFC 3550 section 5.1)
_TIMESTAMP = Struct(">4xI")
SPACED = 11  # packets from one whose way is timed to the next; a prime, so that no rhythm of the sender's fits it
_SMOOTH = 16  # pairs, over which jitter is averaged (RFC 3550 A.8)
_LARGEST = 65535  # bytes of a datagram, rounded up
_MAX_DROPOUT = 3000  # RFC 3550 A.1: a jump ahead that is still loss
_MAX_MISORDER = 100  # RFC 3550 A.1: a jump back that is still reordering
_SILENT_CHECKS = 2  # checks without a packet after which a neighbour of the source may replace it


def is_rtp(packet: Buffer, size: int) -> bool:
    """Whether the first `size` bytes are RTP; what else comes to such a port is RTCP (RFC 5761), STUN and DTLS."""
    return size >= _HEADER.size and packet[0] >> 6 == 2 and not 192 <= packet[1] <= 223


class Lane:
    """RTP or RTCP of one stream, towards one party.

    Figures: `packets` and `bytes` received and accepted, `strangers` refused (by us, or by the kernel while the lane is
    locked and has a door), `lost` by sequence numbers (RFC 3550 A.3), `jitter` in units of `rate` (A.8, of one pair of
    packets in `SPACED`; a packet arrives when it is read, up to a millisecond late while the loop rests). Of what a bypass
    carries, both are those that the far end's RTCP reports.
    """

    __slots__ = (
        "barred", "bypass", "bytes", "fd", "jitter", "lost", "next_sequence", "packets", "peer", "rate", "receive", "rtp",
        "send", "source", "strangers", "tap", "_arrived", "_before", "_door", "_expected", "_latch", "_latched", "_leader",
        "_loop", "_noted", "_rings", "_seen", "_silent", "_sock", "_ssrc", "_steady", "_timestamp", "_trust",
    )  # fmt: skip

    def __init__(
        self, sock: socket, loop: PacketLoop, leader: Lane | None = None, latched: Callable[[], None] | None = None
    ) -> None:
        """`leader`: of an RTCP lane, the RTP lane beside it, whose source says where RTCP may come from. `latched` is called
        when this lane and its peer are both locked."""
        self._sock = sock
        self.fd = sock.fileno()
        self._loop = loop
        self._leader = leader
        self._latched = latched
        self._latch = Latch()
        self._trust = STRANGER
        self._door: socket | None = None
        self._seen = self._silent = 0
        self.source: tuple | None = None  # whom the lane is locked to
        self.peer: Lane | None = None  # where to send what arrives here; None: this lane is not read
        self.receive: Callable[[bytearray], int] | None = None  # while it is locked
        self.send = self._send_to_named
        self.tap: Callable[[bytes, float], None] | None = None  # told of each packet that is RTP, see `observe`
        self.bypass: Bypass | None = None  # what carries the packets in our place, see `let_pass`
        self.barred = False  # found unfit for a bypass
        self._rings = False
        self._noted = self._steady = 0
        self._expected = -1
        self._before = 0  # packets lost before the bypass
        self.rtp = False
        self.rate = 8000  # Hz
        self.packets = self.bytes = self.strangers = self.lost = 0
        self.jitter = 0.0
        self.next_sequence = -1  # none is like it: the first packet begins a source
        self._timestamp = self._ssrc = 0
        self._arrived: float | None = None  # seconds; when the first packet with `_timestamp` was read, if that is known

    # What the session says

    def describe(self, named: Address, signalling: str, rtp: bool, rate: int) -> bool:
        """The party wants packets at `named`; its signalling goes to the host `signalling`. A change that takes away
        trust from the source opens the lane once more; the same again changes nothing. Whether it was opened."""
        moved = rtp != self.rtp or named != self._latch.named
        self.rtp = rtp
        self.rate = rate
        self._latch.describe(named, signalling)
        if moved or (self.source and not self._leader and self._latch.trust(self.source[:2]) < self._trust):
            self.reopen()
            return True
        return False

    def join(self, peer: Lane) -> None:
        """From now on what arrives here goes out there, and the other way round."""
        if self.peer is peer:
            return
        self.part()
        peer.part()
        for lane, other in ((self, peer), (peer, self)):
            drain(lane._sock)  # came before anybody could hear it
            lane.peer = other
            lane._loop.watch(lane)
            lane._loop.place(lane, lane._plain)

    def part(self) -> None:
        """Undo `join`: neither lane is read any longer."""
        peer = self.peer
        if peer is not None:
            self.take_back()
            for lane in (self, peer):
                lane.peer = None
                lane._loop.forget(lane)

    def reopen(self) -> None:
        """Learn the source anew. What waits was sent under the old description."""
        if self.source is None:
            return
        self.take_back()
        self.barred = False
        self._close_door()
        disconnect(self._sock)
        drain(self._sock)
        self.source = None
        self._trust = STRANGER
        self.send = self._send_to_named
        self._loop.place(self, False)

    def observe(self, tap: Callable[[bytes, float], None] | None) -> None:
        """Tell `tap` of each RTP packet from now on. A lane with a tap is off the plain path."""
        if tap is not self.tap:
            self.take_back()
            self.tap = tap
            self._loop.place(self, self._plain)

    def close(self) -> None:
        """Stop for good; the socket is its owner's to close."""
        self.part()
        self.take_back()
        self._close_door()
        self.tap = self._latched = None
        self.send = None  # a method of our own: a closed lane is freed without the garbage collector

    def count_strangers(self) -> int:
        """`strangers` up to now, those who still wait at the door included."""
        if self._door is None:
            return self.strangers
        self.strangers += len(drain(self._door))
        return self.strangers + overflowed(self._door)

    # What carries it in our place

    def steady(self) -> int:
        """Called once a tick: how many ticks in a row packets have come."""
        self._steady = self._steady + 1 if self.packets != self._noted else 0
        self._noted = self.packets
        return self._steady

    @property
    def ends(self) -> tuple[Address, Address]:
        """Of a locked lane: whom it hears, and our own address."""
        return self.source[:2], self._sock.getsockname()[:2]

    @property
    def waiting(self) -> bool:
        """Whether something has arrived that has not been read."""
        return waits(self._sock)

    def let_pass(self, bypass: Bypass, knocked: Callable[[Lane], None]) -> None:
        """From now on `bypass` carries what comes from the source, until `take_back`. `knocked` is called when somebody
        else has sent, once for each `hush`."""
        self.bypass = bypass
        self._before = self.lost
        self._steady = 0
        if self._door is not None:
            self._rings = True
            self._loop.watch_once(self._door.fileno(), lambda now: knocked(self))

    def hush(self) -> None:
        """Tell of the next knock."""
        if self._rings:
            self._loop.watch_again(self._door.fileno())

    def take_back(self) -> None:
        """End the bypass, if there is one, before something changes that it must not outlive."""
        if self.bypass is not None:
            self.bypass.end()

    def bypass_ended(self) -> None:
        """The packets come here again."""
        self.bypass = None
        if self._rings:
            self._rings = False
            self._loop.watch_no_more(self._door.fileno())

    def count(self, packets: int, size: int) -> None:
        """The bypass has carried so many `packets` of `size` bytes in all. Their losses show when packets come here again."""
        self.packets += packets
        self.bytes += size
        if packets and self.next_sequence >= 0:
            self._expected = self.next_sequence
            self.next_sequence = -1
        if self._expected >= 0:
            self._expected = self._expected + packets & 0xFFFF

    def heed(self, packet: bytes) -> None:
        """RTCP of the far end that hears what comes here: while a bypass carries it, nobody else knows how it arrives."""
        if self.bypass is not None:
            for report in rtcp.reports(packet):
                if report.ssrc == self._ssrc:
                    self.lost = max(self.lost, report.lost)
                    self.jitter = report.jitter

    # What the epoll says

    def read(self, now: float) -> None:
        """Something has arrived, and it is not the plain case: the lane is open, or carries no RTP."""
        try:
            packet, source = self._sock.recvfrom(_LARGEST)
        except OSError:
            return  # ICMP about what we sent, or a wrong checksum: there is no packet
        if self.source is not None:
            self._carry(packet, now)
            return
        trust = self._trust_in(source, now)
        if trust != STRANGER and self._lock(source, trust):
            self._carry(packet, now)
            self._sift(now)
        else:
            self.strangers += 1

    def resync(self, packet, size: int, now: float) -> None:
        """A packet of a locked RTP lane is not the one expected next: count what is lost (RFC 3550 A.1, A.3), or
        begin anew with a new source. What is no RTP is left out."""
        if not is_rtp(packet, size):
            return
        sequence, ssrc = _HEADER.unpack_from(packet)
        if self._expected >= 0:  # a bypass has ended: there is a gap in what we know, not in the stream
            ahead = (sequence - self._expected) & 0xFFFF
            self._expected = -1
            if ssrc == self._ssrc and ahead < _MAX_DROPOUT:
                self.lost = max(self.lost, self._before + ahead)
        ahead = (sequence - self.next_sequence) & 0xFFFF
        phase = sequence % SPACED if not ahead else 0  # jitter is measured where nothing is missing
        if ssrc != self._ssrc or self.next_sequence < 0 or _MAX_DROPOUT <= ahead < 0x10000 - _MAX_MISORDER:
            self._ssrc = ssrc
            phase = 0
        elif ahead >= _MAX_DROPOUT:  # late or twice: A.3 counts it as received
            self.lost = max(0, self.lost - 1)
            return
        else:
            self.lost += ahead
        self.next_sequence = sequence + 1
        if phase < 3:
            self.measure(packet, phase, now)

    def measure(self, packet, phase: int, now: float) -> None:
        """One of three packets in sequence. `phase` 0: its timestamp is noted; 1: when its timestamp is another, its arrival
        as well, as that of the first of those that share it (a frame, a DTMF digit); 2: when it is another again, the
        difference between what the two took on their way goes into the jitter (RFC 3550 A.8)."""
        (timestamp,) = _TIMESTAMP.unpack_from(packet)
        step = (timestamp - self._timestamp) & 0xFFFFFFFF
        if phase == 2 and step and self._arrived is not None:
            late = abs((now - self._arrived) * self.rate - step)
            if late < self.rate:  # else the far end has set its clock
                self.jitter += (late - self.jitter) / min(_SMOOTH, 1 + self.packets // SPACED)
        self._arrived = now if phase == 1 and step else None
        self._timestamp = timestamp

    # What the clock says

    def check(self) -> bool:
        """Called a few times a second: find the phone that has changed its port on its own address, or a source more
        trusted than the one that came first. True when the lane has been locked to another."""
        if self._door is None:
            return False
        if self.packets != self._seen:
            self._seen = self.packets
            self._silent = 0
            if self._trust == NAMED:
                return False
        else:
            self._silent += 1
        knocking = drain(self._door)
        self.strangers += len(knocking)
        # The first look at a lane gone silent finds the strangers of the whole call: only later ones speak now.
        silent = self._silent >= _SILENT_CHECKS
        for source in knocking:
            trust = self._latch.trust(source[:2])
            neighbour = source[0] == self.source[0] and trust != STRANGER
            if trust > self._trust or (silent and neighbour):
                self.reopen()
                locked = self._lock(source, trust)
                drain(self._sock)  # anybody's, from the instant in which the lane was open
                return locked
        return False

    # Inside

    @property
    def _plain(self) -> bool:
        return self.rtp and self.source is not None and self.tap is None

    def _trust_in(self, source: tuple, now: float) -> int:
        """How far `source` is trusted to be the first on an open lane."""
        trust = self._latch.trust(source[:2])
        if self._leader is not None:
            led = self._leader.source
            if led is not None and led[0] == source[0]:
                return max(trust, ADDRESS)
            return trust if trust != ELSEWHERE else STRANGER
        if trust == ELSEWHERE and not self._latch.learned(source[:2], now):
            return STRANGER
        return trust

    def _lock(self, source: tuple, trust: int) -> bool:
        """Hear only `source` and send to it. False when the kernel has no route to it."""
        if self._leader is None:
            self._open_door()
        try:
            self._sock.connect(source)
        except OSError:
            self._close_door()
            return False
        self.source = source
        self._trust = trust
        self._silent = 0
        self.receive = self._sock.recv_into
        self.send = self._sock.send
        self._loop.place(self, self._plain)
        if self._latched is not None and self.peer is not None and self.peer.source is not None:
            self._latched()
        return True

    def _sift(self, now: float) -> None:
        """Of what was queued before connect(), only the source's gets through."""
        for _ in range(MOST_QUEUED):
            try:
                packet, source = self._sock.recvfrom(_LARGEST)
            except OSError:
                return
            if source == self.source:
                self._carry(packet, now)
            else:
                self.strangers += 1

    def _carry(self, packet: bytes, now: float) -> None:
        self.packets += 1
        self.bytes += len(packet)
        if self.rtp:
            self.resync(packet, len(packet), now)
        if self.tap is not None and is_rtp(packet, len(packet)):
            self.tap(packet, now)
        if self._leader is not None:
            self.peer._leader.heed(packet)
        try:
            self.peer.send(packet)
        except OSError:
            return  # lost on the way out, as packets may be: no route, or the far end's ICMP to an earlier one

    def _send_to_named(self, packet) -> None:
        if self._latch.named is not None:
            self._sock.sendto(packet, self._latch.named)

    def _open_door(self) -> None:
        # The door must be there before connect(): only then does the kernel know that the two sockets of the port are
        # to be told apart by their peers. Without files left there is no door: strangers are kept out, not counted.
        share(self._sock)
        try:
            self._door = bind(*self._sock.getsockname()[:2], shared=True)
        except OSError:
            self._door = None

    def _close_door(self) -> None:
        if self._door is not None:
            self.strangers = self.count_strangers()
            self._door.close()
            self._door = None
