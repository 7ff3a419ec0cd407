"""Listening ports of our own on Twisted's reactors: IPv6 ports that leave IPv4 to others, and a UDP port that reads at its
user's pace. Knows sockets; no SIP.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from fcntl import ioctl
from struct import Struct
from typing import Any, Callable

from twisted.internet import tcp, udp
from twisted.internet.interfaces import IReactorFDSet
from twisted.protocols.tls import TLSMemoryBIOFactory

_SIOCGSTAMPNS = 0x8907  # asm-generic/sockios.h; socket(7): when the datagram that was read last had arrived
_STAMP = Struct("@ll")  # seconds and nanoseconds since the Unix epoch

RECEIVE_BUFFER = 4 * 1024 * 1024  # bytes; the kernel gives what it allows
SOON = 0.02  # seconds; what is told more exactly costs asking the kernel
LARGEST = 65535  # bytes of a datagram; Twisted's default of 8192 truncates silently


def _ours_alone(sock: socket.socket) -> socket.socket:
    """Of IPv6: take no IPv4 packets, so that a socket of the same port can (RFC 3493 section 5.3)."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


class StreamPort(tcp.Port):
    """As Twisted's, but that one of IPv6 takes IPv6 alone."""

    def createInternetSocket(self) -> socket.socket:
        return _ours_alone(super().createInternetSocket())


class DatagramPort(udp.Port):
    """As Twisted's, but for reading: `ready()` is called when datagrams have arrived, and `read` or `read_for` gives them
    to the protocol. `now()`: monotonic seconds."""

    def __init__(self, port: int, protocol: Any, host: str, reactor: Any, now: Callable[[], float]) -> None:
        super().__init__(port, protocol, host, LARGEST, reactor)
        self.ready: Callable[[], None] = lambda: self.read_for(SOON)
        self._now = now
        self._emptied = now()  # when nothing was left to read

    def createInternetSocket(self) -> socket.socket:
        sock = _ours_alone(super().createInternetSocket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        with suppress(FileNotFoundError):  # nothing has arrived; the kernel takes down times once it has been asked
            ioctl(sock, _SIOCGSTAMPNS, bytes(_STAMP.size))
        return sock

    def doRead(self) -> None:
        self.ready()

    def read_for(self, seconds: float) -> bool:
        """As `read`, until so many seconds have passed."""
        return self.read(self._now() + seconds)

    def read(self, until: float) -> bool:
        """Hand over what has arrived, one datagram after another: all of it, or at least one and as much as can be done
        until an instant. Whether there may be more."""
        receive, received, now = self.socket.recvfrom, self.protocol.datagramReceived, self._now
        while self.connected:
            try:
                data, address = receive(LARGEST)
            except (BlockingIOError, InterruptedError):
                self._emptied = now()
                return False
            except ConnectionRefusedError:  # of something sent before; it is no answer to anything
                continue
            received(data, address[:2])
            if now() >= until:
                return True
        return False

    def waited(self) -> float:
        """Seconds that the datagram which was read last has waited for that, at least; at most SOON more. The kernel tells
        it by a clock that may be set; but none has waited longer than since the socket was empty."""
        longest = self._now() - self._emptied
        if longest < SOON:
            return 0.0
        seconds, nanoseconds = _STAMP.unpack(ioctl(self.socket, _SIOCGSTAMPNS, bytes(_STAMP.size)))
        return min(max(time.time() - seconds - nanoseconds / 1e9, 0.0), longest)


def listen_udp(reactor: Any, port: int, protocol: Any, host: str, now: Callable[[], float]) -> Any:
    """A port for datagrams: a DatagramPort, or what a reactor without descriptors (that of tests) has.
    Raises CannotListenError."""
    if not IReactorFDSet.providedBy(reactor):
        return reactor.listenUDP(port, protocol, interface=host, maxPacketSize=LARGEST)
    listening = DatagramPort(port, protocol, host, reactor, now)
    listening.startListening()
    return listening


def listen_stream(reactor: Any, port: int, factory: Any, host: str, backlog: int, tls: Any = None) -> Any:
    """A port for connections, with TLS where `tls` (a context factory) is given. Raises CannotListenError."""
    if tls is not None:
        factory = TLSMemoryBIOFactory(tls, False, factory)
    if not IReactorFDSet.providedBy(reactor):
        return reactor.listenTCP(port, factory, backlog=backlog, interface=host)
    listening = StreamPort(port, factory, backlog, host, reactor)
    listening.startListening()
    return listening
