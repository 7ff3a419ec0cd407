"""Flows and the thin Twisted protocols under them: UDP sockets and TCP connections (RFC 3261 section 18,
RFC 5626). Knows bytes, addresses and framing; no transactions.

A flow is where messages came from and where answers go. Sending either hands the bytes to the kernel or
raises TransportFailure; nothing else comes out of it, whatever the address.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Any, Callable, NamedTuple

from twisted.internet import error, protocol
from twisted.logger import Logger

from calltrack.errors import TransportFailure
from calltrack.sip.framing import PONG, Framer
from calltrack.sip.locating import NextHop
from calltrack.sip.ports import DatagramPort
from calltrack.sip.stun import BINDING_REQUEST, binding_response
from calltrack.sip.uri import is_literal
from calltrack.timers import Timers

log = Logger()

FIRST_MESSAGE_TIME = 10.0  # seconds a TCP peer has to finish each message it has begun, and its first
MAX_UNSENT = 256 * 1024  # bytes a TCP peer may leave unread before it is cut off
ROUND = 0.005  # seconds of reading before the reactor, with the media of calls, has its turn again
MAX_FLOWS = 4096  # UDP flows that are remembered for a socket


class Address(NamedTuple):
    """A transport address. `host` is an address literal without brackets."""

    host: str
    port: int


def check_address(host: str, port: int) -> Address:
    """The address, spelled as the kernel does, when a message can be sent to it; raises TransportFailure."""
    if not isinstance(port, int) or not 0 < port < 65536:
        raise TransportFailure(f"port {port} is outside 1 to 65535")
    return Address(_spelled(host), port)


@lru_cache(maxsize=4096)
def _spelled(host: str) -> str:
    if not is_literal(host):
        raise TransportFailure(f"{host!r} is not an address literal")
    if "%" in host:  # a scope, which the kernel's spelling has no place for
        return host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    packed = socket.inet_pton(family, host)
    if not any(packed):
        raise TransportFailure(f"{host} is nobody's address")
    return socket.inet_ntop(family, packed)


class Flow:
    """One way to a peer. `transport`: "udp", "tcp" or "tls"; `remote` and `local`: Address."""

    __slots__ = ("_write", "local", "remote", "reliable", "sent_by", "transport")

    def __init__(self, transport: str, local: Address, remote: Address, write: Callable[[bytes, Any], None]):
        self.transport = transport
        self.reliable = transport != "udp"
        self.local = local
        self.remote = remote
        self.sent_by = b""  # `host:port` that the peer reaches us at, once `Transports` has worked it out
        self._write = write

    def send(self, data: bytes) -> None:
        """Send one message. Raises TransportFailure."""
        self._write(data, self.remote)

    @property
    def open(self) -> bool:
        return True

    @property
    def verified(self) -> str:
        """The host name that its certificate has been verified for, of a TLS connection that we made; else ""."""
        return ""

    def watch(self, closed: Callable[[Flow], None]) -> None:
        """Have `closed(flow)` called once when the flow is gone for good: a connection is, a datagram never."""

    def unwatch(self, closed: Callable[[Flow], None]) -> None:
        """Take `watch` back."""

    def close(self) -> None:
        """Give a connection up that leads nowhere any more; whoever watches it is told."""

    def to_port(self, port: int) -> Flow:
        """A flow to another port of the same peer."""
        return Flow(self.transport, self.local, Address(self.remote.host, port), self._write)

    def __repr__(self) -> str:
        return f"<{self.transport} flow to {self.remote.host} port {self.remote.port}>"


class UDPSocket(protocol.DatagramProtocol):
    """A bound UDP socket. `received(data, flow, socket)` gets each datagram; `turn(socket, unread)` comes after one or
    several, `unread` when there may be more.

    Reading is its port's (`ports.DatagramPort`), a moment at a time; writing goes straight to the socket, since every
    address has been checked before it gets here.
    """

    noisy = False

    def __init__(
        self, received: Callable[[bytes, Flow, UDPSocket], None], turn: Callable[[UDPSocket, bool], None]
    ) -> None:
        self._received = received
        self._turn = turn
        self._reading = False
        self.waited: Callable[[], float] = lambda: 0.0  # seconds that the datagram which came last has lain unread
        self.local = Address("", 0)
        self.dropped = 0  # datagrams the kernel did not take
        self._flows: dict[tuple[str, int], Flow] = {}  # by remote address: a trunk's messages share one

    def startProtocol(self) -> None:
        host = self.transport.getHost()
        self.local = Address(host.host, host.port)
        handle = getattr(self.transport, "getHandle", None)
        self._sendto = handle().sendto if handle is not None else self.transport.write
        if isinstance(self.transport, DatagramPort):
            self.waited = self.transport.waited
            self.transport.ready = self._read

    def _read(self) -> None:
        self._reading = True
        unread = self.transport.read_for(ROUND)
        self._reading = False
        self._turn(self, unread)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if len(datagram) < 8:  # CRLF keep-alives
            return
        if datagram[:2] == BINDING_REQUEST:
            self._keep_alive(datagram, addr)
            return
        try:
            self._received(datagram, self._flows.get(addr) or self.flow(Address(addr[0], addr[1])), self)
        except Exception:  # a bug of ours must cost one message, not the socket
            log.failure("could not process a datagram from {addr}", addr=addr)
        if not self._reading:
            self._turn(self, False)

    def _keep_alive(self, datagram: bytes, addr: Any) -> None:
        answer = binding_response(datagram, addr[0], addr[1])
        try:
            if answer is not None:
                self.write(answer, Address(addr[0], addr[1]))
        except TransportFailure as problem:
            log.debug("could not answer STUN: {problem}", problem=problem)

    def flow(self, remote: Address) -> Flow:
        """The flow to an address that `check_address` has let pass."""
        flow = self._flows.get(remote)
        if flow is None:
            if len(self._flows) >= MAX_FLOWS:
                self._flows.clear()  # they are only shared, not needed: whoever has one keeps it
            flow = self._flows[remote] = Flow("udp", self.local, remote, self.write)
        return flow

    def write(self, data: bytes, remote: Address) -> None:
        try:
            self._sendto(data, remote)
        except (BlockingIOError, InterruptedError):
            self.dropped += 1  # as if the network had lost it; retransmission makes good
        except (OSError, OverflowError, ValueError, error.MessageLengthError) as problem:
            raise TransportFailure(f"{remote.host}:{remote.port}: {problem}") from problem


class StreamFlow(Flow):
    """A TCP or TLS connection."""

    __slots__ = ("_watching", "connection")

    def __init__(self, connection: Connection, local: Address, remote: Address) -> None:
        super().__init__(connection.name, local, remote, connection.write)
        self.connection = connection
        self._watching: dict[Callable[[Flow], None], None] = {}

    @property
    def open(self) -> bool:
        return self.connection.flow is self

    @property
    def verified(self) -> str:
        return self.connection.dialled.name if self.connection.dialled is not None else ""

    def watch(self, closed: Callable[[Flow], None]) -> None:
        self._watching[closed] = None

    def unwatch(self, closed: Callable[[Flow], None]) -> None:
        self._watching.pop(closed, None)

    def close(self) -> None:
        if self.open:
            self.connection.transport.abortConnection()

    def closed(self) -> None:
        """The connection is gone: tell whoever watches."""
        watching, self._watching = self._watching, {}
        for told in watching:
            try:
                told(self)
            except Exception:  # a bug of one must not keep it from the others
                log.failure("telling {told} that {flow} is closed failed", told=told, flow=self)


class Connection(protocol.Protocol):
    """A connection that carries SIP. `name`: its transport, "tcp" or "tls"; `dialled`: the next hop that we made it
    to, None of one that was accepted.

    Closed when the peer breaks the framing, does not finish a message in 10 s, or leaves too much unread.
    """

    def __init__(
        self, owner: StreamOwner, timers: Timers, name: str = "tcp", dialled: NextHop | None = None
    ) -> None:
        self.name = name
        self.dialled = dialled
        self._owner = owner
        self._timers = timers
        self._framer = Framer()
        self._deadline: Any = None
        self._unsent = 0
        self._congested = False
        self.flow: StreamFlow | None = None  # while connected

    def connectionMade(self) -> None:
        here, there = self.transport.getHost(), self.transport.getPeer()
        self.flow = StreamFlow(self, Address(here.host, here.port), Address(there.host, there.port))
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        if self._owner.connected(self):
            self._deadline = self._timers.after(FIRST_MESSAGE_TIME, self._late)
        else:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._framer.broken:
            return  # it is being closed
        messages, ping = self._framer.feed(data)
        if ping:
            self.transport.write(PONG)
        if messages:
            self._stop_deadline()
        if self._framer.partial and self._deadline is None:
            self._deadline = self._timers.after(FIRST_MESSAGE_TIME, self._late)
        for message in messages:
            flow = self.flow
            if flow is None:
                return
            try:
                self._owner.received(message, flow)
            except Exception:
                log.failure("could not process a message over {flow}", flow=flow)
        if self._framer.broken and self.flow is not None:
            self._close(self._framer.broken)

    def _close(self, problem: str) -> None:
        """End a stream that cannot be read any more, when what has been answered before has left."""
        log.info("closing {flow}: {problem}", flow=self.flow, problem=problem)
        self._owner.malformed(self)
        self._stop_deadline()
        self._deadline = self._timers.after(FIRST_MESSAGE_TIME, self._late)  # for a peer that does not read
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = protocol.connectionDone) -> None:
        self._stop_deadline()
        flow, self.flow = self.flow, None
        if flow is not None:
            self._owner.disconnected(self, flow)
            flow.closed()

    def write(self, data: bytes, remote: Address) -> None:
        if self.flow is None:
            raise TransportFailure(f"the connection to {remote.host}:{remote.port} is closed")
        if self._congested:
            self._unsent += len(data)
            if self._unsent > MAX_UNSENT:
                self.transport.abortConnection()
                raise TransportFailure(f"{remote.host}:{remote.port} does not read what it is sent")
        self.transport.write(data)

    def _late(self, _: None) -> None:
        self._deadline = None
        log.info("closing {flow}: no whole message in {time} s", flow=self.flow, time=FIRST_MESSAGE_TIME)
        self.transport.abortConnection()

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # IPushProducer: the transport tells us when the peer stops and starts reading. A peer that does
    # not read its answers is not read either.
    def pauseProducing(self) -> None:
        self._congested, self._unsent = True, 0
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._congested = False
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        self._congested = False


class StreamOwner:
    """What a `Connection` tells its owner (implemented by `transports.Transports`)."""

    def connected(self, connection: Connection) -> bool:
        """Whether the connection may stay."""
        raise NotImplementedError

    def received(self, data: bytes, flow: Flow) -> None:
        raise NotImplementedError

    def malformed(self, connection: Connection) -> None:
        raise NotImplementedError

    def disconnected(self, connection: Connection, flow: StreamFlow) -> None:
        raise NotImplementedError


def route_to(host: str) -> str:
    """The local address that the kernel would send from to reach `host` (no packet is sent).
    Raises TransportFailure when there is no route."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return probe.getsockname()[0]
    except OSError as problem:
        raise TransportFailure(f"no route to {host}: {problem}") from problem
