"""Ask a SIP peer for its OPTIONS once, outside any engine. Knows just enough SIP for that one question."""

from __future__ import annotations

import re
import secrets
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from calltrack.errors import TransportFailure
from calltrack.sip.dialling import lost_why
from calltrack.sip.tls import Trust

PATIENCE = 2.0  # seconds to an answer
_REPEATS = (0.0, 0.5, 1.0)  # seconds at which a datagram is sent, RFC 3261 section 17.1.2.2
_STATUS = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2} [^\r\n]{0,80})")


async def ask_options(
    reactor: Any, transport: str, host: str, port: int, name: str = "", trust: Trust | None = None
) -> str:
    """The status of the answer, as ``200 OK``: any answer says that the peer is there. By TLS it must be `name`, and
    `trust` tells whose word counts for that. Raises TransportFailure when none comes within 2 s."""
    probe = _Probe(transport, host, port, name or host)
    answer = probe.answer.addTimeout(PATIENCE, reactor, _silence)
    if transport == "udp":
        try:
            listener = reactor.listenUDP(0, _Datagrams(probe, reactor), interface="::" if ":" in host else "0.0.0.0")
        except OSError as error:
            _forget(answer)
            raise TransportFailure(f"cannot send: {error.strerror}") from error
        close = listener.stopListening
    else:
        endpoint = (TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint)(reactor, host, port, timeout=PATIENCE)
        if transport == "tls":
            endpoint = wrapClientTLS((trust or Trust()).creator(name or host), endpoint)
        try:
            stream = await connectProtocol(endpoint, _Stream(probe))
        except ConnectError as error:
            _forget(answer)
            raise TransportFailure(f"no connection: {error}") from error
        close = stream.transport.abortConnection
    try:
        return await answer
    finally:
        await _done(close())


class _Probe:
    """The request, and the answer to come."""

    def __init__(self, transport: str, host: str, port: int, name: str) -> None:
        self.transport, self.host, self.port, self.name = transport, host, port, name
        self.answer: Deferred[str] = Deferred()
        self._branch = "z9hG4bK" + secrets.token_hex(8)

    def request(self, local_host: str, local_port: int) -> bytes:
        there = f"[{self.host}]" if ":" in self.host else self.host
        here = f"[{local_host}]" if ":" in local_host else local_host
        lines = (
            f"OPTIONS sip:{there}:{self.port};transport={self.transport} SIP/2.0",
            f"Via: SIP/2.0/{self.transport.upper()} {here}:{local_port};branch={self._branch};rport",
            "Max-Forwards: 70",
            f"To: <sip:{there}>",
            f"From: <sip:check@{here}>;tag={self._branch[7:]}",
            f"Call-ID: {self._branch[7:]}@{here}",
            "CSeq: 1 OPTIONS",
            f"Contact: <sip:check@{here}:{local_port};transport={self.transport}>",
            "Accept: application/sdp",
            "Content-Length: 0",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def received(self, data: bytes) -> None:
        status = _STATUS.match(data)
        if status and self._branch.encode() in data and not self.answer.called:
            self.answer.callback(status[1].decode("utf-8", "replace"))

    def failed(self, why: str) -> None:
        if not self.answer.called:
            self.answer.errback(TransportFailure(why))


class _Datagrams(DatagramProtocol):
    def __init__(self, probe: _Probe, reactor: Any) -> None:
        self._probe = probe
        self._reactor = reactor
        self._repeats: list[Any] = []

    def startProtocol(self) -> None:
        self.transport.connect(self._probe.host, self._probe.port)
        here = self.transport.socket.getsockname()
        request = self._probe.request(here[0], here[1])
        self._repeats = [self._reactor.callLater(at, self._send, request) for at in _REPEATS]

    def _send(self, request: bytes) -> None:
        try:
            self.transport.write(request)
        except OSError as error:
            self._probe.failed(f"cannot send: {error.strerror}")

    def datagramReceived(self, data: bytes, address: Any) -> None:
        self._probe.received(data)

    def connectionRefused(self) -> None:
        self._probe.failed("nobody listens there")

    def stopProtocol(self) -> None:
        for repeat in self._repeats:
            if repeat.active():
                repeat.cancel()


class _Stream(Protocol):
    def __init__(self, probe: _Probe) -> None:
        self._probe = probe
        self._received = b""

    def connectionMade(self) -> None:
        here = self.transport.getHost()
        self.transport.write(self._probe.request(here.host, here.port))

    def dataReceived(self, data: bytes) -> None:
        self._received = (self._received + data)[:65536]
        if b"\r\n\r\n" in self._received:
            self._probe.received(self._received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        clean = reason.check(ConnectionDone)
        self._probe.failed("the connection was closed without an answer" if clean else lost_why(reason, self._probe.name))


def _silence(_: Any, patience: float) -> None:
    raise TransportFailure(f"no answer to OPTIONS within {patience:g} s")


def _forget(answer: Deferred[str]) -> None:
    answer.addErrback(lambda _: None)
    answer.cancel()


async def _done(result: Any) -> None:
    if isinstance(result, Deferred):
        await result
