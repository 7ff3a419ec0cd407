"""Media endpoints for tests: UDP sockets that send RTP, wait for packets, and describe themselves in SDP.

Knows Twisted's UDP and the layout of RTP packets; knows no relay.
"""

from __future__ import annotations

from struct import pack

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol


def rtp(sequence: int, timestamp: int | None = None, ssrc: int = 0x1234, payload: bytes = b"\xd5" * 160) -> bytes:
    """An RTP packet of 20 ms of PCMA (RFC 3550 section 5.1)."""
    if timestamp is None:
        timestamp = sequence * 160
    return pack(">BBHII", 0x80, 8, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


class MediaPeer(DatagramProtocol):
    """A UDP endpoint. `received`: (packet, source) in order of arrival."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, tuple[str, int]]] = []
        self._waiting: Deferred | None = None

    @classmethod
    def listen(cls, case, reactor, host: str = "127.0.0.1", port: int = 0) -> MediaPeer:
        """A peer that stops listening when the test `case` is over."""
        peer = cls()
        listening = reactor.listenUDP(port, peer, interface=host, maxPacketSize=65535)
        case.addCleanup(listening.stopListening)
        return peer

    @property
    def address(self) -> tuple[str, int]:
        host = self.transport.getHost()
        return host.host, host.port

    @property
    def packets(self) -> list[bytes]:
        return [packet for packet, _ in self.received]

    def send(self, packet: bytes, port: int, host: str = "") -> None:
        """Send to a port of the relay, on the peer's own host unless told."""
        self.transport.write(packet, (host or self.address[0], port))

    async def hears(self, count: int) -> list[bytes]:
        """All packets so far, as soon as there are `count`; a test that waits in vain ends in trial's time-out."""
        while len(self.received) < count:
            await self._arrival()
        return self.packets

    async def hears_at_last(self, packet: bytes) -> None:
        """Wait for this very packet."""
        while packet not in self.packets:
            await self._arrival()

    def _arrival(self) -> Deferred:
        self._waiting = Deferred()
        return self._waiting

    def datagramReceived(self, packet: bytes, source: tuple[str, int]) -> None:
        self.received.append((packet, source[:2]))
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    def sdp(self, version: int = 1, **changes) -> bytes:
        """The peer's own description; `changes` as of `describe`."""
        host, port = self.address
        return describe(host, changes.pop("port", port), version=version, **changes)


def describe(host: str, port: int, version: int = 1, media: str = "audio {port} RTP/AVP 8 101", extra: tuple = ()) -> bytes:
    """A description with one m-line and attribute lines `extra` after it."""
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=peer 77 {version} IN {family} {host}",
        "s=-",
        f"c=IN {family} {host}",
        "t=0 0",
        "m=" + media.format(port=port),
        "a=rtpmap:101 telephone-event/8000",
        *extra,
        "",
    ]
    return "\r\n".join(lines).encode()


def ports_in(sdp: bytes) -> list[int]:
    """The port of each m-line."""
    return [int(line.split(b" ")[1]) for line in sdp.split(b"\r\n") if line.startswith(b"m=")]


def host_in(sdp: bytes) -> str:
    """The address of the first c= line."""
    return next(line for line in sdp.split(b"\r\n") if line.startswith(b"c=")).split(b" ")[2].decode()


def version_in(sdp: bytes) -> int:
    """The version in the o= line."""
    return int(next(line for line in sdp.split(b"\r\n") if line.startswith(b"o=")).split(b" ")[2])
