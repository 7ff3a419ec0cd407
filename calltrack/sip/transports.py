"""The transport layer: listeners, connections, and which of them a message leaves by (RFC 3261 section 18).

Knows sockets through a reactor; no transactions. What arrives goes to `deliver(data, flow)`, in the order of `arrivals`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Iterable, NamedTuple

from twisted.internet import defer
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from calltrack.errors import TransportFailure
from calltrack.sip.arrivals import Arrivals
from calltrack.sip.dialling import dial
from calltrack.sip.flows import (
    Address,
    Connection,
    Flow,
    StreamFlow,
    StreamOwner,
    UDPSocket,
    check_address,
    route_to,
)
from calltrack.sip.locating import NextHop
from calltrack.sip.ports import listen_stream, listen_udp
from calltrack.sip.tls import ServerCertificate, Trust
from calltrack.sip.uri import host_port
from calltrack.timers import Timers

log = Logger()

WILDCARDS = ("0.0.0.0", "::")
MAX_CONNECTIONS = 10_000
MAX_CONNECTIONS_PER_HOST = 200
BACKLOG = 512  # connections that may wait to be accepted


class Listen(NamedTuple):
    """A place to listen: transport "udp", "tcp" or "tls", address literal, port (0 = any free one)."""

    transport: str
    host: str
    port: int


class Transports(StreamOwner):
    """All sockets of one SIP engine. `certificate`: what TLS listens with; `trust`: whom it connects to."""

    def __init__(
        self,
        reactor: Any,
        timers: Timers,
        listen: Iterable[tuple[str, str, int]],
        advertise: str = "",
        certificate: ServerCertificate | None = None,
        trust: Trust | None = None,
    ) -> None:
        self.deliver: Callable[[bytes, Flow], None] = lambda data, flow: None
        self.refuse: Callable[[list[tuple[bytes, Flow]]], None] = lambda invites: None  # those that are too many
        self.arrivals = Arrivals(timers.clock, self)
        self.closed: Callable[[Flow], None] = lambda flow: None  # told of each connection that is gone
        self.counters = {"malformed_streams": 0, "refused_connections": 0, "connections": 0}
        self._reactor = reactor
        self._timers = timers
        self._listen = [Listen(*place) for place in listen]
        self._advertise = advertise
        self._certificate = certificate
        self._trust = trust or Trust()
        self._ports: list[Any] = []
        self._udp: list[UDPSocket] = []
        self._stream_listeners: list[Listen] = []
        self._connections: dict[Address, Connection] = {}
        self._per_host: dict[str, int] = {}
        self._connecting: dict[NextHop, list[defer.Deferred]] = {}
        self._sockets_to: dict[str, UDPSocket] = {}

    # Life

    def start(self) -> None:
        """Listen everywhere that is configured. Raises CannotListenError, and ConfigErrors for a certificate that
        cannot be used, after closing what was opened."""
        try:
            for transport, host, port in self._listen:
                if transport == "udp":
                    protocol = UDPSocket(self.arrivals.arrived, self.arrivals.turn)
                    opened = listen_udp(self._reactor, port, protocol, host, self._timers.now)
                    self._udp.append(protocol)
                else:
                    factory = ServerFactory.forProtocol(partial(Connection, self, self._timers, transport))
                    factory.noisy = False
                    opened = self._listen_stream(transport, host, port, factory)
                    at = opened.getHost()
                    self._stream_listeners.append(Listen(transport, at.host, at.port))
                self._ports.append(opened)
        except Exception:
            self.stop()
            raise

    def _listen_stream(self, transport: str, host: str, port: int, factory: ServerFactory) -> Any:
        if transport != "tls":
            return listen_stream(self._reactor, port, factory, host, BACKLOG)
        self._certificate.load()
        return listen_stream(self._reactor, port, factory, host, BACKLOG, self._certificate)

    def stop(self) -> defer.Deferred[Any]:
        """Close everything. Fires with None when all ports are closed."""
        ports, self._ports = self._ports, []
        self._udp, self._stream_listeners = [], []
        self._sockets_to.clear()
        self.arrivals.stop()
        for connection in list(self._connections.values()):
            connection.transport.abortConnection()
        done = defer.DeferredList([defer.maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)
        return done.addCallback(lambda _: None)

    def listening(self) -> list[Listen]:
        """Where this engine really listens, ports filled in."""
        return [Listen("udp", *udp.local) for udp in self._udp] + self._stream_listeners

    # Out

    def flow_now(self, hop: NextHop) -> Flow | None:
        """The flow to `hop` when there is one without waiting: by UDP. None else."""
        if hop.transport != "udp":
            return None
        try:
            return self._socket_to(hop.host).flow(check_address(hop.host, hop.port))
        except TransportFailure:
            return None

    def flow_to(self, hop: NextHop) -> defer.Deferred[Flow]:
        """Fires with a flow to `hop`: at once for UDP and over a connection that is there, else when
        connected. By TLS its peer has proved to be `hop.name` then. Fails with TransportFailure, within 8 s."""
        try:
            remote = check_address(hop.host, hop.port)
            if hop.transport == "udp":
                return defer.succeed(self._socket_to(remote.host).flow(remote))
            if hop.transport not in ("tcp", "tls"):
                raise TransportFailure(f"{hop.transport} is not spoken, only udp, tcp and tls")
        except TransportFailure:
            return defer.fail()
        hop = NextHop(hop.transport, *remote, (hop.name or remote.host) if hop.transport == "tls" else "")
        connection = self._connections.get(remote)
        if connection is not None and connection.flow is not None and connection.name == hop.transport:
            if connection.dialled in (None, hop):
                return defer.succeed(connection.flow)
        result: defer.Deferred[Flow] = defer.Deferred()
        waiting = self._connecting.get(hop)
        if waiting is not None:
            waiting.append(result)
        else:
            self._connecting[hop] = [result]
            dial(self._reactor, self, self._timers, self._trust, hop, self._address_towards(hop.host))
        return result

    def _address_towards(self, host: str) -> str:
        """The local address of a connection to `host`: one that we listen at, since that is what peers know us by;
        "" when we listen at all of them, or at none of that family."""
        ours = [at.host for at in self.listening() if (":" in at.host) == (":" in host)]
        if not ours or any(one in WILDCARDS for one in ours):
            return ""
        try:
            chosen = route_to(host) if len(set(ours)) > 1 else ours[0]
        except TransportFailure:
            return ours[0]
        return chosen if chosen in ours else ours[0]

    def udp_flow(self, local: Address, remote: Address) -> Flow:
        """The UDP flow between two addresses, `local` being the socket that `remote` sends to and hears from. When
        it is not open any more, as after a restart with another setting, the socket to reach `remote` by.
        Raises TransportFailure."""
        check_address(*remote)
        for udp in self._udp:
            if udp.local == local:
                return udp.flow(remote)
        return self._socket_to(remote.host).flow(remote)

    def _socket_to(self, host: str) -> UDPSocket:
        """The UDP socket to reach `host` by: the right family, bound to the right address if there is a choice."""
        chosen = self._sockets_to.get(host)
        if chosen is None:
            family = [udp for udp in self._udp if (":" in udp.local.host) == (":" in host)]
            if not family:
                kind = "IPv6" if ":" in host else "IPv4"
                raise TransportFailure(f"no {kind} UDP socket to reach {host}: add one to [sip] listen")
            if len(family) > 1:
                local = route_to(host)
                family.sort(key=lambda udp: (udp.local.host != local, udp.local.host not in WILDCARDS))
            chosen = family[0]
            if len(self._sockets_to) > 10_000:
                self._sockets_to.clear()
            self._sockets_to[host] = chosen
        return chosen

    def shown_address(self, flow: Flow) -> tuple[str, int]:
        """Host and port that the peer at the end of `flow` can reach us at: for Via and Contact."""
        local, port = flow.local
        if flow.transport != "udp":  # a connection we made has a port of its own; peers call back to a listener
            listeners = [
                at
                for at in self._stream_listeners
                if at.transport == flow.transport and (":" in at.host) == (":" in local)
            ]
            listeners.sort(key=lambda at: (at.host != local, at.host not in WILDCARDS))
            if listeners:
                port = listeners[0].port
                local = local if listeners[0].host in WILDCARDS else listeners[0].host
        if self._advertise and (":" in self._advertise) == (":" in local):
            return self._advertise, port
        if local in WILDCARDS:
            local = route_to(flow.remote.host)
        return local, port

    def sent_by(self, flow: Flow) -> bytes:
        """`host:port` for Via, Contact and the like."""
        if not flow.sent_by:
            flow.sent_by = host_port(*self.shown_address(flow)).encode("ascii")
        return flow.sent_by

    # In

    def received(self, data: bytes, flow: Flow) -> None:
        self.arrivals.arrived(data, flow)
        self.arrivals.turn()

    def connected(self, connection: Connection) -> bool:
        assert connection.flow is not None
        remote = connection.flow.remote
        count = self._per_host.get(remote.host, 0)
        if count >= MAX_CONNECTIONS_PER_HOST or len(self._connections) >= MAX_CONNECTIONS:
            self.counters["refused_connections"] += 1
            connection.flow = None  # never counted, so `disconnected` must not count it off
            if connection.dialled is not None:
                self.connect_failed(connection.dialled, "too many connections")
            return False
        self._per_host[remote.host] = count + 1
        self._connections[remote] = connection
        self.counters["connections"] += 1
        for waiting in self._connecting.pop(connection.dialled, ()) if connection.dialled is not None else ():
            waiting.callback(connection.flow)
        return True

    def malformed(self, connection: Connection) -> None:
        self.counters["malformed_streams"] += 1

    def disconnected(self, connection: Connection, flow: StreamFlow) -> None:
        remote = flow.remote
        if self._connections.get(remote) is connection:
            del self._connections[remote]
        left = self._per_host.get(remote.host, 1) - 1
        if left:
            self._per_host[remote.host] = left
        else:
            self._per_host.pop(remote.host, None)
        self.closed(flow)

    def connect_failed(self, hop: NextHop, why: str) -> None:
        for waiting in self._connecting.pop(hop, ()):
            waiting.errback(TransportFailure(f"{hop.transport} to {host_port(hop.host, hop.port)}: {why}"))
