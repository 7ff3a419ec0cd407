"""A network in memory, on a `task.Clock`: hosts with UDP and TCP ports, and links that lose, delay, repeat and
cut up what they carry. Knows Twisted's reactor interfaces as far as SIP transports use them; no SIP.

    network = MemoryNetwork(Clock(), seed=1)
    network.link("192.0.2.1", "198.51.100.7", Link(delay=0.02, loss=0.2))
    transports = Transports(network.reactor("192.0.2.1"), timers, [("udp", "192.0.2.1", 5060)])

Nothing here sleeps and nothing touches a socket; the same seed gives the same losses.
"""

from __future__ import annotations

import random
import socket
from collections import deque
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Callable

from twisted.internet import defer, error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IListeningPort, IReactorTCP, IReactorTime, IReactorUDP
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

Place = tuple[str, int]  # host and port

HIGH_WATER = 64 * 1024  # bytes on their way in one direction of a TCP connection before its writer is paused


@dataclass(frozen=True)
class Link:
    """What happens to bytes on their way from one host to another."""

    delay: float = 0.001  # seconds
    jitter: float = 0.0  # seconds that a datagram may take longer, by chance: datagrams overtake each other
    loss: float = 0.0  # share of datagrams that never arrive; 1.0 also swallows TCP connections
    duplication: float = 0.0  # share of datagrams that arrive twice
    segment: int = 0  # largest TCP segment in bytes: messages arrive in pieces; 0 = as written
    gather: float = 0.0  # seconds that TCP waits for more to send along: messages arrive together


class MemoryNetwork:
    """Hosts, their ports, and the links between them. `trace`: every datagram as (seconds, source, destination,
    bytes), sent ones, whether they arrive or not."""

    def __init__(self, clock: Clock, seed: int = 0, link: Link = Link()) -> None:
        self.clock = clock
        self.trace: list[tuple[float, Place, Place, bytes]] = []
        self._chance = random.Random(seed)
        self._default = link
        self._links: dict[tuple[str, str], Link] = {}
        self._udp: dict[Place, MemoryUDPPort] = {}
        self._tcp: dict[Place, MemoryTCPPort] = {}
        self._next_port = 40_000

    def reactor(self, host: str) -> MemoryReactor:
        """The reactor of a program that runs on `host` (an address literal)."""
        return MemoryReactor(self, host)

    def link(self, one: str, other: str, link: Link) -> None:
        """Set the link between two hosts, in both directions."""
        self._links[one, other] = self._links[other, one] = link

    def between(self, source: str, destination: str) -> Link:
        return self._links.get((source, destination), self._default)

    def run(self, seconds: float, until: Callable[[], Any] = lambda: False) -> bool:
        """Turn the clock from event to event, for `seconds` or until `until()` is true. Whether it was."""
        end = self.clock.seconds() + seconds
        while not until():
            due = min((call.getTime() for call in self.clock.getDelayedCalls()), default=end)
            if due > end or self.clock.seconds() >= end:
                self.clock.advance(max(0.0, end - self.clock.seconds()))
                return bool(until())
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        return True

    def free_port(self) -> int:
        self._next_port += 1
        return self._next_port

    # UDP

    def bind_udp(self, place: Place, port: MemoryUDPPort) -> None:
        if place in self._udp:
            raise error.CannotListenError(*place, OSError(98, "Address already in use"))
        self._udp[place] = port

    def unbind_udp(self, place: Place) -> None:
        self._udp.pop(place, None)

    def carry(self, data: bytes, source: Place, destination: Place) -> None:
        """Take a datagram; raises what a kernel raises for an address that is none."""
        host, port = destination
        if not 0 <= port < 65536:
            raise OverflowError("sendto(): port must be 0-65535.")
        if port == 0:
            raise OSError(22, "Invalid argument")
        try:
            destination = str(ip_address(host)), port
        except ValueError:
            raise socket.gaierror(-2, "Name or service not known") from None
        self.trace.append((self.clock.seconds(), source, destination, data))
        link = self.between(source[0], host)
        copies = 2 if self._chance.random() < link.duplication else 1
        for _ in range(copies):
            if self._chance.random() >= link.loss:
                delay = link.delay + self._chance.random() * link.jitter
                self.clock.callLater(delay, self._arrive, data, source, destination)

    def _arrive(self, data: bytes, source: Place, destination: Place) -> None:
        port = self._udp.get(destination)
        if port is not None:
            port.protocol.datagramReceived(data, source)

    # TCP

    def bind_tcp(self, place: Place, port: MemoryTCPPort) -> None:
        if place in self._tcp:
            raise error.CannotListenError(*place, OSError(98, "Address already in use"))
        self._tcp[place] = port

    def unbind_tcp(self, place: Place) -> None:
        self._tcp.pop(place, None)

    def listener(self, place: Place) -> MemoryTCPPort | None:
        return self._tcp.get(place)


@implementer(IReactorTime, IReactorUDP, IReactorTCP)
class MemoryReactor:
    """The reactor of one host: time from the network's clock, ports on the network."""

    def __init__(self, network: MemoryNetwork, host: str) -> None:
        self.network = network
        self.host = host
        self.seconds = network.clock.seconds
        self.callLater = network.clock.callLater
        self.getDelayedCalls = network.clock.getDelayedCalls

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> MemoryUDPPort:
        return MemoryUDPPort(self.network, (self._bound(interface), port or self.network.free_port()), protocol)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> MemoryTCPPort:
        return MemoryTCPPort(self.network, (self._bound(interface), port or self.network.free_port()), factory)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> MemoryConnector:
        if not 0 < port < 65536:
            raise OverflowError("connect(): port must be 0-65535.")
        to = str(ip_address(host)), port  # as a kernel would spell it
        return MemoryConnector(self.network, (self.host, self.network.free_port()), to, factory, timeout)

    def _bound(self, interface: str) -> str:
        if interface not in ("", "0.0.0.0", "::", self.host):
            raise error.CannotListenError(interface, 0, OSError(99, "Cannot assign requested address"))
        return self.host


def address(kind: str, place: Place) -> IPv4Address | IPv6Address:
    """`place` as Twisted's address."""
    return (IPv6Address if ":" in place[0] else IPv4Address)(kind, *place)


@implementer(IListeningPort)
class MemoryUDPPort:
    """A bound UDP port, which is also its protocol's transport."""

    def __init__(self, network: MemoryNetwork, place: Place, protocol: Any) -> None:
        self._network = network
        self.place = place
        self.protocol = protocol
        self.startListening()

    def startListening(self) -> None:
        self._network.bind_udp(self.place, self)
        self.protocol.makeConnection(self)

    def stopListening(self) -> defer.Deferred[None]:
        self._network.unbind_udp(self.place)
        self.protocol.doStop()
        return defer.succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        return address("UDP", self.place)

    def write(self, data: bytes, to: Place) -> None:
        self._network.carry(data, self.place, (to[0], to[1]))


@implementer(IListeningPort)
class MemoryTCPPort:
    """A listening TCP port."""

    def __init__(self, network: MemoryNetwork, place: Place, factory: Any) -> None:
        self._network = network
        self.place = place
        self.factory = factory
        self.startListening()

    def startListening(self) -> None:
        self._network.bind_tcp(self.place, self)
        self.factory.doStart()

    def stopListening(self) -> defer.Deferred[None]:
        self._network.unbind_tcp(self.place)
        self.factory.doStop()
        return defer.succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        return address("TCP", self.place)


class MemoryConnector:
    """One attempt to connect: made, refused where nobody listens, timed out over a link that loses everything."""

    def __init__(self, network: MemoryNetwork, source: Place, to: Place, factory: Any, timeout: float) -> None:
        self._network = network
        self._source = source
        self._to = to
        self._factory = factory
        factory.doStart()
        factory.startedConnecting(self)
        link = network.between(source[0], to[0])
        if link.loss >= 1.0:
            network.clock.callLater(timeout, self._fail, error.TimeoutError())
        else:
            network.clock.callLater(2 * link.delay, self._connect)

    def getDestination(self) -> IPv4Address | IPv6Address:
        return address("TCP", self._to)

    def _fail(self, reason: Exception) -> None:
        self._factory.clientConnectionFailed(self, Failure(reason))
        self._factory.doStop()

    def _connect(self) -> None:
        listening = self._network.listener(self._to)
        there = listening and listening.factory.buildProtocol(address("TCP", self._source))
        if not there:
            self._fail(error.ConnectionRefusedError())
            return
        here = self._factory.buildProtocol(address("TCP", self._to))
        ours = MemoryConnection(self._network, self._source, self._to, here, self._lost)
        theirs = MemoryConnection(self._network, self._to, self._source, there, lambda reason: None)
        ours.join(theirs)
        there.makeConnection(theirs)
        here.makeConnection(ours)

    def _lost(self, reason: Failure) -> None:
        self._factory.clientConnectionLost(self, reason)
        self._factory.doStop()


class MemoryConnection:
    """One end of a TCP connection: its protocol's transport. Bytes arrive in order, in segments of the link's
    making; a reader that pauses makes its peer's writer pause."""

    disconnecting = False

    def __init__(
        self, network: MemoryNetwork, here: Place, there: Place, protocol: Any, lost: Callable[[Failure], None]
    ) -> None:
        self._network = network
        self._here = here
        self._there = there
        self._protocol = protocol
        self._lost = lost
        self._peer: MemoryConnection | None = None
        self._producer: Any = None
        self._producer_paused = False
        self._reading = True
        self._arriving: deque[bytes] = deque()  # towards our protocol, in order
        self._under_way = 0  # bytes of ours that the peer has not read
        self._gathered = b""
        self._end: Failure | None = None  # what connectionLost gets after all that is arriving
        self.connected = True

    def join(self, other: MemoryConnection) -> None:
        self._peer, other._peer = other, self

    # ITransport, ITCPTransport, IConsumer

    def getHost(self) -> IPv4Address | IPv6Address:
        return address("TCP", self._here)

    def getPeer(self) -> IPv4Address | IPv6Address:
        return address("TCP", self._there)

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        if not self.connected or not data:
            return
        link = self._network.between(self._here[0], self._there[0])
        self._under_way += len(data)
        if self._under_way > HIGH_WATER and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()
        if not self._gathered:
            self._network.clock.callLater(link.gather, self._transmit, link)
        self._gathered += data

    def writeSequence(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        """Close when everything written has left."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._network.clock.callLater(self._delay, self._close, error.ConnectionDone())

    def abortConnection(self) -> None:
        """Close at once; the peer gets a reset."""
        self._network.clock.callLater(0, self._close, error.ConnectionAborted())

    def pauseProducing(self) -> None:
        self._reading = False

    def resumeProducing(self) -> None:
        self._reading = True
        self._network.clock.callLater(0, self._deliver)

    # Between the two ends

    @property
    def _delay(self) -> float:
        link = self._network.between(self._here[0], self._there[0])
        return link.gather + link.delay

    def _transmit(self, link: Link) -> None:
        data, self._gathered = self._gathered, b""
        size = link.segment or len(data)
        for start in range(0, len(data), size):
            self._network.clock.callLater(link.delay, self._peer._arrived, data[start : start + size])

    def _arrived(self, data: bytes) -> None:
        self._arriving.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self._arriving and self._reading and self.connected:
            data = self._arriving.popleft()
            self._peer._taken(len(data))
            self._protocol.dataReceived(data)
        if self._end is not None and self.connected and not self._arriving:
            self._disconnect(self._end)

    def _taken(self, size: int) -> None:
        self._under_way -= size
        if self._producer_paused and self._under_way <= HIGH_WATER // 2:
            self._producer_paused = False
            if self.connected and self._producer is not None:
                self._producer.resumeProducing()

    def _close(self, why: Exception) -> None:
        if not self.connected:
            return
        done = isinstance(why, error.ConnectionDone)
        self._disconnect(Failure(why))
        other = Failure(error.ConnectionDone() if done else error.ConnectionLost("reset by peer"))
        self._network.clock.callLater(self._delay, self._peer._closed, other, done)

    def _closed(self, reason: Failure, after_data: bool) -> None:
        self._end = reason
        if not after_data:
            self._arriving.clear()
        self._deliver()

    def _disconnect(self, reason: Failure) -> None:
        self.connected = False
        self._protocol.connectionLost(reason)
        self._lost(reason)
