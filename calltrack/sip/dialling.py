"""Make connections to next hops, over TCP and TLS (RFC 3261 sections 18.1.1, 26.3.1, RFC 5922). Knows one attempt and
what its peer's certificate must say; which connections there are, `transports` knows.
"""

from __future__ import annotations

from typing import Any, Protocol

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from calltrack.sip.flows import Connection, StreamOwner
from calltrack.sip.locating import NextHop
from calltrack.sip.tls import Trust, in_words
from calltrack.timers import Timer, Timers

CONNECT_TIME = 4.0  # seconds a connection may take to be made
HANDSHAKE_TIME = 4.0  # seconds that TLS may take after that


class Dialler(Protocol):
    """Who wants the connection: `Transports`."""

    def connect_failed(self, hop: NextHop, why: str) -> None:
        """Nobody answers at a next hop, or not as who it should be."""


def dial(reactor: Any, owner: Any, timers: Timers, trust: Trust, hop: NextHop, local: str = "") -> None:
    """Connect to `hop`, an address that can be sent to, from the address `local` or, where that is "", the one that the
    kernel chooses. What comes of it is told to `owner`, a StreamOwner and Dialler, within 8 s."""
    factory: Any = _Dialling(owner, timers, hop)
    if hop.transport == "tls":
        factory = TLSMemoryBIOFactory(trust.creator(hop.name), True, factory)
    place = (local, 0) if local else None
    reactor.connectTCP(hop.host, hop.port, factory, timeout=CONNECT_TIME, bindAddress=place)


class _Dialling(ClientFactory):
    """One attempt."""

    noisy = False

    def __init__(self, owner: Any, timers: Timers, hop: NextHop) -> None:
        self._owner = owner
        self._timers = timers
        self._hop = hop

    def buildProtocol(self, addr: Any) -> Connection:
        kind = SecuredConnection if self._hop.transport == "tls" else Connection
        return kind(self._owner, self._timers, self._hop.transport, self._hop)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._owner.connect_failed(self._hop, reason.getErrorMessage())


@implementer(IHandshakeListener)
class SecuredConnection(Connection):
    """A TLS connection that we make. It is there for others when its peer has proved who it is, not before."""

    def __init__(self, owner: StreamOwner, timers: Timers, name: str, dialled: NextHop) -> None:
        super().__init__(owner, timers, name, dialled)
        self._handshake: Timer | None = None

    def connectionMade(self) -> None:
        self._handshake = self._timers.after(HANDSHAKE_TIME, self._too_slow)

    def handshakeCompleted(self) -> None:
        self._end_handshake()
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._handshake is not None:
            self._end_handshake()
            self._owner.connect_failed(self.dialled, lost_why(reason, self.dialled.name))
        super().connectionLost(reason)

    def _too_slow(self, _: None) -> None:
        self.transport.abortConnection()

    def _end_handshake(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
            self._handshake = None


def lost_why(reason: Failure, name: str) -> str:
    """Why a connection to `name` was lost before it was one, for whoever has to mend it."""
    problem = reason.value
    if isinstance(problem, VerificationError):
        return f"its certificate is not for {name}"
    if isinstance(problem, SSL.Error):
        words = in_words(problem)
        return "no authority that is trusted here has signed its certificate" if "verify failed" in words else words
    return f"the connection was lost: {reason.getErrorMessage()}"
