"""Bounds of HTTP connections: how long a request may take to arrive, how much of it there may be, how many there are.

Knows HTTP/1.1 by Twisted; not what is asked for.
"""

from __future__ import annotations

import resource
from typing import Any, Callable

import msgspec
from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

CONNECTIONS = 3000  # at once, and never more than a quarter of the files that the process may have open
KEPT = 75.0  # seconds that a connection is kept after an answer; reverse proxies keep theirs for 60
LAST_WORDS = 15.0  # seconds that an answer which was sent may take to be read before the connection is cut
LENGTH_DIGITS = 10  # of Content-Length


class BoundedRequest(Request):
    """A request that is refused with 413 as soon as its body is longer than the site takes for its path."""

    _longest = _room = 0

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        self._longest = self._room = self.channel.site.longest_body(self.channel._path)
        if length is not None and length > self._longest:
            self.channel.refuse_body(self._longest)

    def handleContentChunk(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            self.channel.refuse_body(self._longest)
        else:
            super().handleContentChunk(data)


class BoundedChannel(HTTPChannel):
    """A connection on which each request, body included, arrives within the site's patience. Twisted's own time-out
    begins anew with every byte, so that a byte now and then would keep a connection for ever."""

    busy = False  # a whole request is here and has no answer yet
    _answered = False
    _refused = False
    _leaving = False
    _between = False  # answered, and nothing of another request is here

    def setTimeout(self, period: float | None) -> float | None:
        return super().setTimeout(KEPT if period and self._between else period)

    def resetTimeout(self) -> None:
        """Bytes are no reason to wait longer: the time runs from the first one of a request, or from the connection."""

    def timeoutConnection(self) -> None:
        if self._leaving or not self._answered:
            self.transport.abortConnection()
            return
        self._leaving, self._between = True, False
        self.setTimeout(LAST_WORDS)
        self.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._refused:
            return
        if self._between:
            self._begin()
        super().dataReceived(data)
        if self._between and self._buffer:  # the beginning of another request came with this one
            self._begin()

    def _begin(self) -> None:
        self._between = False
        self.setTimeout(self.site.timeOut)  # ours is what runs now

    def lineReceived(self, line: bytes) -> None:
        if not self._refused:
            super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        if name.strip(b" \t").lower() == b"content-length" and len(value.strip(b" \t")) > LENGTH_DIGITS:
            self.refuse_body(self.site.longest_body(self._path))
            return False
        return super().headerReceived(line)

    def allContentReceived(self) -> None:
        if not self._refused:
            self.busy = True
            super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        self.busy = False
        self._answered = self._between = True
        super().requestDone(request)

    def refuse_body(self, longest: int) -> None:
        """Answer 413 and read no more of what this client says."""
        if self._refused:
            return
        self._refused = self._answered = True
        self._between = False
        body = msgspec.json.encode({"error": f"body: is longer than {longest} bytes", "field": "body"})
        head = b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff"
        length = b"\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + length + body)
        self.setTimeout(LAST_WORDS)
        self.loseConnection()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.site.left(self)


class BoundedSite(Site):
    """A site that takes a bounded number of connections. When there are too many, the oldest on which nobody waits
    for an answer makes room: who floods it with idle connections loses them."""

    protocol = BoundedChannel
    noisy = False

    def __init__(self, root: IResource, patience: float, longest_body: Callable[[bytes], int]) -> None:
        """`longest_body(path)`: bytes that a request for `path` (as it stands in the request line) may bring."""
        super().__init__(root, requestFactory=BoundedRequest, timeout=patience)
        self.longest_body = longest_body
        self.most = min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._open: dict[BoundedChannel, None] = {}  # oldest first

    def buildProtocol(self, addr: IAddress | None) -> BoundedChannel | None:
        if len(self._open) >= self.most:
            idle = next((channel for channel in self._open if not channel.busy), None)
            if idle is None:
                return None
            del self._open[idle]
            idle.transport.abortConnection()
        channel = super().buildProtocol(addr)
        self._open[channel] = None
        return channel

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def left(self, channel: BoundedChannel) -> None:
        self._open.pop(channel, None)
