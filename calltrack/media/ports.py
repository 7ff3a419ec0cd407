"""Hand out pairs of UDP ports, even for RTP and odd for RTCP, and take them back (RFC 3550 section 11).

The pair that has been idle longest goes out first. A pair that has carried media is kept bound, in quarantine,
until nobody has sent to it for a while, so that a new call never hears an old one. A few of those that have carried
none are kept bound too, to be used again: opening and closing sockets is the dearest part of a call without media.
Time comes in as `now`, in seconds. Knows no parties and no latching.
"""

from __future__ import annotations

import errno
import random
from collections import defaultdict, deque
from math import inf
from socket import SO_RCVBUF, SOL_SOCKET, socket

from calltrack.errors import MediaUnavailable
from calltrack.media.sockets import bind, disconnect, drain

_TRIES = 4096  # pairs tried when other programs sit in our range: bounds what one call may cost, to about 20 ms
_KEPT = 256  # idle pairs on one address that stay bound, at most
_RESTING = 64  # of these none is used again before so many others are idle


class PortPair:
    """Two bound, non-blocking sockets: `rtp` on `port`, `rtcp` on the next."""

    __slots__ = ("address", "port", "rtcp", "rtp")

    def __init__(self, address: str, port: int) -> None:
        """Raises OSError when either port cannot be bound."""
        self.address = address
        self.port = port
        self.rtp = bind(address, port)
        try:
            self.rtcp = bind(address, port + 1)
        except OSError:
            self.rtp.close()
            raise

    @property
    def sockets(self) -> tuple[socket, socket]:
        return self.rtp, self.rtcp

    def heard(self) -> bool:
        """Whether anything has arrived since the last time this was asked; empties both sockets."""
        return bool(drain(self.rtp)) | bool(drain(self.rtcp))

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()


class PortPool:
    """All port pairs of a range, on any number of local addresses."""

    def __init__(self, low: int, high: int, quarantine: float) -> None:
        self._evens = range(low + low % 2, high, 2)
        self._quarantine = quarantine
        self._idle: dict[str, deque[int]] = {}  # by local address, longest idle first
        self._kept: defaultdict[str, deque[PortPair]] = defaultdict(deque)  # idle ones still bound, longest idle first
        self._held: deque[tuple[float, PortPair]] = deque()  # in order of when to look again
        self.reserved: set[int] = set()  # ports, even or odd, whose pairs are not given out

    def take(self, address: str) -> PortPair:
        """The pair on `address` that has been idle longest. Raises MediaUnavailable when all are taken, in
        quarantine or other programs', when the process may open no more files, or the address is not ours."""
        kept = self._kept[address]
        pair = self._unheard(kept) if len(kept) > _RESTING else None
        if pair is None:
            try:
                pair = self._open(address)
            except MediaUnavailable:
                pair = self._unheard(kept)
                if pair is None:
                    raise
        return pair

    def has_room(self, pairs: int) -> bool:
        """Whether so many pairs are left on each address in use."""
        return all(len(idle) + len(self._kept[address]) >= pairs for address, idle in self._idle.items())

    def occupancy(self) -> dict[str, dict[str, int]]:
        """By local address: how many pairs are free, in quarantine, and in use (by us or another program)."""
        found = {}
        for address, idle in self._idle.items():
            free = len(idle) + len(self._kept[address])
            resting = sum(pair.address == address for _, pair in self._held)
            found[address] = {"free": free, "quarantine": resting, "used": len(self._evens) - free - resting}
        return found

    def give_back(self, pair: PortPair, carried: bool, now: float) -> None:
        """Take a pair back; at once when it has not `carried` media (then its sockets must not be connected) and
        nothing has come for it unasked."""
        if carried:
            for sock in pair.sockets:
                disconnect(sock)  # whoever still sends shall be heard
        if not pair.heard() and not carried:
            kept = self._kept[pair.address]
            kept.append(pair)
            if len(kept) > _KEPT:
                self._release(kept.popleft())
            return
        for sock in pair.sockets:
            sock.setsockopt(SOL_SOCKET, SO_RCVBUF, 1)  # one packet is enough to know; the kernel sees to its minimum
        self._held.append((now + self._quarantine, pair))

    def sweep(self, now: float) -> None:
        """Release the pairs whose quarantine is over; those that were sent to begin it again."""
        while self._held and self._held[0][0] <= now:
            pair = self._held.popleft()[1]
            if pair.heard():
                self._held.append((now + self._quarantine, pair))
            else:
                self._release(pair)

    def close(self) -> None:
        """Close what is idle or in quarantine. Pairs still out are for their holders to close."""
        while self._held:
            self._held.popleft()[1].close()
        for kept in self._kept.values():
            while kept:
                kept.popleft().close()

    def _unheard(self, kept: deque[PortPair]) -> PortPair | None:
        """The first of `kept` that nobody has sent to meanwhile; the others go the way of those in quarantine."""
        while kept:
            pair = kept.popleft()
            if not pair.heard():
                return pair
            self._held.appendleft((-inf, pair))
        return None

    def _open(self, address: str) -> PortPair:
        idle = self._idle_on(address)
        for _ in range(min(len(idle), _TRIES)):
            port = idle.popleft()
            if self.reserved and (port in self.reserved or port + 1 in self.reserved):
                idle.append(port)
                continue
            try:
                return PortPair(address, port)
            except OSError as error:
                idle.append(port)
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise MediaUnavailable(f"cannot open an RTP port on {address}: {error.strerror}") from error
        raise MediaUnavailable(f"no RTP port is free on {address}")

    def _release(self, pair: PortPair) -> None:
        pair.close()
        self._idle[pair.address].append(pair.port)

    def _idle_on(self, address: str) -> deque[int]:
        idle = self._idle.get(address)
        if idle is None:
            idle = self._idle[address] = deque(self._evens)
            # After a restart the peers of the calls that were cut still send to where we began last time.
            idle.rotate(random.randrange(len(idle)))
        return idle
