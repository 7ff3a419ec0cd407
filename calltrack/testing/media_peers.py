"""Media endpoints for tests, which send RTP, wait for packets and describe themselves in SDP, and calls of two of them.

Knows Twisted's UDP, the layout of RTP packets, and relays by their interface.
"""

from __future__ import annotations

from struct import pack

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from calltrack.interfaces import IMediaRelay, IMediaSession
from calltrack.tracking.model import MediaFigures

HOST = "127.0.0.1"
STRANGER_HOST = "127.0.0.9"


def rtp(sequence: int, timestamp: int | None = None, ssrc: int = 0x1234, payload: bytes = b"\xd5" * 160) -> bytes:
    """An RTP packet of 20 ms of PCMA (RFC 3550 section 5.1)."""
    if timestamp is None:
        timestamp = sequence * 160
    return pack(">BBHII", 0x80, 8, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def receiver_report(ssrc: int = 0x1234, lost: int = 0, jitter: int = 0, sender: int = 0x99) -> bytes:
    """An RTCP receiver report of `sender` about the source `ssrc` (RFC 3550 section 6.4.2)."""
    return pack(">BBHIIIIIQ", 0x81, 201, 7, sender, ssrc, lost & 0xFFFFFF, 0, jitter, 0)


class MediaPeer(DatagramProtocol):
    """A UDP endpoint. `received`: (packet, source) in order of arrival."""

    def __init__(self, relay: str) -> None:
        self.relay = relay
        self.received: list[tuple[bytes, tuple[str, int]]] = []
        self._waiting: Deferred | None = None

    @classmethod
    def listen(cls, case, reactor, host: str, port: int, relay: str) -> MediaPeer:
        """A peer that sends to the host `relay`, and stops listening when the test `case` is over."""
        peer = cls(relay)
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
        """Send to a port of the relay, unless another host is told."""
        self.transport.write(packet, (host or self.relay, port))

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


def describe(
    host: str, port: int, version: int = 1, media: str = "audio {port} RTP/AVP 8 101", extra: tuple[str, ...] = ()
) -> bytes:
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


class Call:
    """A caller and one target with a session between them; `to_caller` and `to_target` are the relay's ports."""

    def __init__(self, case: RelayCase, session: IMediaSession, caller: MediaPeer, target: MediaPeer) -> None:
        self.session, self.caller, self.target = session, caller, target
        self._settled, self._latched = case.settled, case.latched
        self.timeouts: list[float] = []
        self.to_caller = self.to_target = 0

    @property
    def _hosts(self) -> tuple[str, str]:
        return self.caller.address[0], self.target.address[0]

    async def offer(self, **changes) -> bytes:
        """The caller's offer as the target gets it."""
        offered = await self.session.offer("caller", "target-1", self.caller.sdp(**changes), *self._hosts)
        self.to_target = ports_in(offered)[0]
        return offered

    async def answer(self, **changes) -> bytes:
        """The target's answer as the caller gets it."""
        answered = await self.session.answer("target-1", "caller", self.target.sdp(**changes), *self._hosts[::-1])
        self.to_caller = ports_in(answered)[0]
        return answered

    async def connect(self, party: str) -> None:
        self.session.connect(party)
        await self._settled()

    async def drop(self, party: str) -> None:
        self.session.drop(party)
        await self._settled()

    async def figures(self) -> MediaFigures:
        return await maybeDeferred(self.session.figures)

    async def close(self) -> MediaFigures:
        return await maybeDeferred(self.session.close)

    async def exchange(self) -> None:
        """One packet each way, so that both sides are latched."""
        for peer, port, other in (
            (self.caller, self.to_caller, self.target),
            (self.target, self.to_target, self.caller),
        ):
            before = len(other.received)
            peer.send(rtp(before), port)
            await other.hears(before + 1)
        self._latched()


class RelayCase:
    """What a contract of relays needs from the test case: `udp`, `make_relay` and `pass_time`."""

    udp: IReactorUDP  # the reactor that trial runs

    timeout = 20  # seconds; trial's, for packets that never come
    flood = 500  # packets of a stranger that the relay is to count, sent all at once

    host, stranger_host, host6 = HOST, STRANGER_HOST, "::1"  # where peers are, as the relay sees them
    relay_host, relay_host6 = HOST, "::1"  # where the relay is, as peers see it

    async def make_relay(self, timeout: float) -> IMediaRelay:
        raise NotImplementedError("a running relay that listens on relay_host and relay_host6, stopped by a cleanup")

    def pass_time(self, seconds: float) -> Deferred | None:
        raise NotImplementedError("let so many seconds pass for the relay's timers; at once, or when a Deferred fires")

    async def passes(self, seconds: float) -> None:
        await maybeDeferred(self.pass_time, seconds)

    async def settled(self) -> None:
        """What the relay was told, without being asked for an answer, has been done. A relay that asks somebody else
        has something to wait for here."""

    async def arrived(self) -> None:
        """What peers have sent so far has been read, where the relay is another program, which reads when it likes."""

    def latched(self) -> None:
        """Both sides of a call have been heard: bring the relay to where it carries calls that go on."""

    def peer(self, host: str = "", port: int = 0) -> MediaPeer:
        """A peer on `host`, or on the host of calls."""
        host = host or self.host
        return MediaPeer.listen(self, self.udp, host, port, self.relay_host6 if ":" in host else self.relay_host)

    async def open_call(self, timeout: float = 60, connect: bool = True) -> Call:
        relay = await self.make_relay(timeout)
        expired: list[int] = []
        call = Call(self, relay.open("a-call", lambda: expired.append(1)), self.peer(), self.peer())
        call.timeouts = expired
        await call.offer()
        await call.answer()
        if connect:
            await call.connect("target-1")
        return call
