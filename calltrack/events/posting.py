"""Posts bodies to addresses that strangers may have chosen: resolved, judged, then connected to at that very address.

An address that is not of the public internet is refused unless allowed, after the name has been resolved, so that no
DNS answer leads into the private network (SSRF). Redirects are not followed. Knows HTTP and TLS; no events.
"""

from __future__ import annotations

import ipaddress
from io import BytesIO
from typing import Any, Callable, Iterable

import msgspec
from twisted.internet import defer, error
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, FileBodyProducer, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from calltrack.errors import CalltrackError

CONNECTIONS = 4  # kept open to one host
IDLE = 4.0  # seconds that an unused connection is kept: less than common servers do
READ = 64 << 10  # bytes of an answer that are waited for
KEPT = 2048  # bytes of it that the delivery log keeps
MOST_ADDRESSES = 4  # of one name that are tried

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: what stands before an IPv4 address
# Special (IANA's registries), whatever the ipaddress module of this Python knows of them.
_SPECIAL = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "3fff::/20", "5f00::/16"))
)

# (host name) -> Deferred of address literals
Resolve = Callable[[str], "defer.Deferred[list[str]]"]


class PostFailed(CalltrackError):
    """No whole answer came; says why, for the one who entered the address."""


class Answer(msgspec.Struct, frozen=True):
    """What an endpoint said. `body`: its beginning."""

    status: int
    body: bytes
    retry_after: str = ""


def is_public(address: str) -> bool:
    """Whether an address literal is one of the public internet, and not a way to one that is not."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if int(found) >> 32 & 0xFFFFFFFF in _ISATAP and not is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))):
            return False
        tunnelled = found.sixtofour or (found.teredo and found.teredo[1])
        if tunnelled and not is_public(str(tunnelled)):
            return False
    if any(found in network for network in _SPECIAL):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


class Poster:
    """`resolve`: finds the addresses of a name. `timeout`: seconds for everything, from the name to the last byte."""

    def __init__(self, reactor: Any, resolve: Resolve, *, allow_private: bool = False, timeout: float = 10.0) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = CONNECTIONS
        self._pool.cachedConnectionTimeout = IDLE
        self._pool.retryAutomatically = False
        endpoints = _Endpoints(reactor, resolve, allow_private, timeout)
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)

    def post(self, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> defer.Deferred[Answer]:
        """Fires with the Answer, whatever its status; fails with PostFailed."""
        posted = defer.Deferred.fromCoroutine(self._post(url, headers, body))
        return posted.addTimeout(self._timeout, self._reactor, self._late).addErrback(_in_words)

    def close(self) -> defer.Deferred[None]:
        """Fires when no connection is left."""
        return self._pool.closeCachedConnections()

    async def _post(self, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> Answer:
        fields = Headers()
        for name, value in headers:
            fields.addRawHeader(name.encode("ascii"), value.encode("ascii"))
        producer = FileBodyProducer(BytesIO(body))
        response = await self._agent.request(b"POST", url.encode("ascii"), fields, producer)
        beginning = _Beginning()
        response.deliverBody(beginning)
        try:
            read = await beginning.whole
        except defer.CancelledError:
            beginning.cut()
            raise
        retry_after = response.headers.getRawHeaders(b"retry-after", [b""])[0]
        return Answer(response.code, read[:KEPT], retry_after.decode("ascii", "replace"))

    def _late(self, result: Any, seconds: float) -> Any:
        raise PostFailed(f"no whole answer within {seconds:g} s")


@implementer(IProtocol)
class _Beginning(Protocol):
    """Reads an answer to its end, or as far as anybody wants to know."""

    def __init__(self) -> None:
        self.whole: defer.Deferred[bytes] = defer.Deferred()
        self._read = b""

    def dataReceived(self, data: bytes) -> None:
        self._read += data
        if len(self._read) > READ and not self.whole.called:
            self.whole.callback(self._read)
            self.cut()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(self._read)
        else:
            self.whole.errback(PostFailed("the connection was lost in the middle of the answer"))

    def cut(self) -> None:
        if self.transport is not None:
            abort = getattr(self.transport, "abortConnection", None) or self.transport.loseConnection
            abort()


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, resolve: Resolve, allow_private: bool, timeout: float) -> None:
        self._reactor = reactor
        self._resolve = resolve
        self._allow_private = allow_private
        self._timeout = timeout
        self._tls = BrowserLikePolicyForHTTPS()

    def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii").removeprefix("[").removesuffix("]")
        endpoint = _Judged(self._reactor, host, uri.port, self._resolve, self._allow_private, self._timeout)
        if uri.scheme == b"https":
            return wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        return endpoint


@implementer(IStreamClientEndpoint)
class _Judged:
    """Connects to addresses of a name, each judged just before."""

    def __init__(
        self, reactor: Any, host: str, port: int, resolve: Resolve, allow_private: bool, timeout: float
    ) -> None:
        self._reactor, self._host, self._port = reactor, host, port
        self._resolve, self._allow_private, self._timeout = resolve, allow_private, timeout

    def connect(self, factory: Any) -> defer.Deferred[Any]:
        return defer.Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: Any) -> Any:
        try:
            addresses = [str(ipaddress.ip_address(self._host))]
        except ValueError:
            addresses = await self._resolve(self._host)
        if not addresses:
            raise PostFailed(f"{self._host} has no address")
        allowed = [one for one in addresses if self._allow_private or is_public(one)]
        if not allowed:
            raise PostFailed(
                f"{self._host} leads to {addresses[0]}, which is no address of the public internet; "
                "[webhooks] allow_private = true lets webhooks reach it"
            )
        for number, address in enumerate(allowed[:MOST_ADDRESSES], 1):
            kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            try:
                return await kind(self._reactor, address, self._port, self._timeout).connect(factory)
            except error.ConnectError as problem:
                if number == len(allowed[:MOST_ADDRESSES]):
                    raise PostFailed(f"no connection to {address} port {self._port}: {_words(problem)}") from problem
        raise AssertionError("unreachable")


def _in_words(failure: Failure) -> Any:
    """Whatever goes wrong between two HTTP peers, as PostFailed."""
    if failure.check(PostFailed, defer.CancelledError):
        return failure
    problem = failure.value
    reasons = getattr(problem, "reasons", None)  # of ResponseNeverReceived and its like
    while reasons:
        problem = reasons[-1].value
        reasons = getattr(problem, "reasons", None)
    if isinstance(problem, (PostFailed, defer.CancelledError)):
        raise problem
    if isinstance(problem, error.ConnectingCancelledError):
        raise defer.CancelledError()
    if isinstance(problem, (error.ConnectionDone, error.ConnectionLost)):
        raise PostFailed("the connection was lost before a whole answer came") from failure.value
    raise PostFailed(_words(problem)) from failure.value


def _words(problem: BaseException) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    return "".join(char if char.isprintable() else "?" for char in text)[:200]
