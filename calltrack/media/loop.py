"""Move packets: one private epoll for all lanes of a relay, which is itself one reader of the reactor.

While packets are rare the reactor wakes us for each. When they come faster than `_DENSE` apart the loop stops asking
to be woken and looks by itself after each rest, as a network card's driver does: waking up costs more than relaying.
A look takes what comes while it lasts, too. Those packets hardly wait, so that the others may wait longer.

Knows the reactor, the epoll and the plain path of a packet; everything else is the lane's.
"""

from __future__ import annotations

from collections.abc import Callable
from select import EPOLLIN, EPOLLONESHOT, epoll
from struct import Struct
from time import monotonic

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from calltrack.media.alarm import Alarm
from calltrack.media.lanes import SPACED, Lane

_BATCH = 256  # packets at most at once; after as many a look leaves the reactor's other business its turn
_DENSE = 0.001  # seconds between two packets, or less: then the loop rests
_FEW = 3  # packets, or less, that came while others were relayed: the sockets are as good as empty
_REST = 0.0014  # seconds until the next look when they are: half of it is most of the delay at the median
_BREATH = 0.0002  # seconds for the reactor's other business when they are not
_ROOM = 65536  # bytes, more than any datagram has
_COMMON = 2048  # sizes below this find their view ready-made

_NUMBER = Struct(">2xH")  # sequence number (RFC 3550 section 5.1)

_log = Logger()


@implementer(IReadDescriptor)
class PacketLoop:
    """`watch`, `place` and `forget` lanes; between `start` and `stop` what arrives on them is relayed."""

    def __init__(self, reactor) -> None:
        self._reactor = reactor
        self._lanes: dict[int, Lane] = {}
        self._waiting: dict[int, Callable[[float], None]] = {}
        self._plain: list[Lane | None] = [None] * 1024  # by descriptor: locked RTP lanes
        self._buffer = bytearray(_ROOM)
        self._view = memoryview(self._buffer)
        self._views = [self._view[:size] for size in range(_COMMON)]
        self._last_read = 0.0

    def start(self) -> None:
        self._epoll = epoll()
        self.alarm = Alarm(self._look)
        self._reactor.addReader(self)
        self._reactor.addReader(self.alarm)

    def stop(self) -> None:
        for reader in (self, self.alarm):
            self._reactor.removeReader(reader)
        self.alarm.close()
        self._epoll.close()

    def watch(self, lane: Lane) -> None:
        """Read `lane` from now on, through `lane.read`."""
        fd = lane.fd
        if fd >= len(self._plain):
            self._plain.extend([None] * fd)
        self._lanes[fd] = lane
        self._epoll.register(fd, EPOLLIN)

    def place(self, lane: Lane, plain: bool) -> None:
        """Whether packets of a watched lane need nothing but to be counted and sent on."""
        if lane.fd in self._lanes:
            self._plain[lane.fd] = lane if plain else None

    def forget(self, lane: Lane) -> None:
        """Read `lane` no longer. To be called before its socket is closed."""
        if self._lanes.pop(lane.fd, None) is not None:
            self._plain[lane.fd] = None
            self._epoll.unregister(lane.fd)

    def watch_once(self, fd: int, arrived: Callable[[float], None]) -> None:
        """Call `arrived` when something waits in `fd`, once; then again after each `watch_again`. Nothing is read."""
        if fd >= len(self._plain):
            self._plain.extend([None] * fd)
        self._waiting[fd] = arrived
        self._epoll.register(fd, EPOLLIN | EPOLLONESHOT)

    def watch_again(self, fd: int) -> None:
        self._epoll.modify(fd, EPOLLIN | EPOLLONESHOT)

    def watch_no_more(self, fd: int) -> None:
        """To be called before `fd` is closed."""
        if self._waiting.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # IReadDescriptor

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "media"

    def connectionLost(self, reason) -> None:
        """The reactor stops; the relay is stopped by its owner."""

    def doRead(self) -> None:
        now = monotonic()
        self.relay(now)
        if now - self._last_read < _DENSE:
            self._reactor.removeReader(self)
            self.alarm.set(_REST)
        self._last_read = now

    def _look(self) -> None:
        taken = more = self.relay(monotonic())
        while more > _FEW and taken < _BATCH:
            more = self.relay(monotonic())
            taken += more
        if taken:
            self.alarm.set(_REST if more <= _FEW else _BREATH)
        else:
            self.alarm.hush()
            self._reactor.addReader(self)

    def relay(self, now: float) -> int:
        """Take one packet from each lane that has one. Every line here is paid for by every packet."""
        plain = self._plain
        buffer = self._buffer
        views = self._views
        number = _NUMBER.unpack_from
        ready = self._epoll.poll(0, _BATCH)
        for fd, _ in ready:
            lane = plain[fd]
            if lane is None:
                self._read_slowly(fd, now)
                continue
            receive, send = lane.receive, lane.peer.send  # CPython looks slots up fast, but not those it calls
            try:
                size = receive(buffer)
            except OSError:
                continue  # ICMP about what we sent: reading it has taken it out
            lane.packets += 1
            lane.bytes += size
            (sequence,) = number(buffer)
            if sequence != lane.next_sequence:
                lane.resync(buffer, size, now)
            else:
                lane.next_sequence = sequence + 1
                phase = sequence % SPACED
                if phase < 3:
                    lane.measure(buffer, phase, now)
            try:
                send(views[size])
            except OSError:
                continue  # lost on the way out, as packets may be
            except IndexError:
                send(self._view[:size])
        return len(ready)

    def _read_slowly(self, fd: int, now: float) -> None:
        arrived = self._waiting.get(fd)
        if arrived is not None:
            arrived(now)
            return
        lane = self._lanes[fd]
        try:
            lane.read(now)
        except Exception:
            # A bug of ours with one lane must not silence the others: the reactor drops a reader that raises.
            _log.failure("a media lane failed and is no longer read")
            self.forget(lane)
