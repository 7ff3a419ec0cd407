"""rtpengine nodes in memory, honest ones and liars, under a reactor whose time the test turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from calltrack.media.ng_bencode import decode, encode
from calltrack.media.sdp import Document


class FakeNode:
    """Answers commands as rtpengine does. `lie(name, fields)`: what it says instead: a reply, bytes as they are, or None for
    nothing; `ports` count up."""

    def __init__(self, host: str = "198.51.100.9") -> None:
        self.host = host
        self.lie: Callable[[str, dict[str, Any]], Any] | None = None
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.calls: set[bytes] = set()
        self.figures: dict[str, Any] = {}
        self._port = 30000
        self._ports: dict[tuple[bytes, bytes, int], int] = {}
        self._remembered: dict[bytes, bytes] = {}

    def names(self) -> list[str]:
        """The commands up to now, in order, without pings."""
        return [name for name, _ in self.asked if name != "ping"]

    def hear(self, packet: bytes) -> bytes | None:
        cookie, _, body = packet.partition(b" ")
        if cookie not in self._remembered:
            fields = decode(body)
            name = fields.pop("command").decode()
            self.asked.append((name, fields))
            answer = self.lie(name, fields) if self.lie is not None else self.answer(name, fields)
            if answer is None:
                return None
            self._remembered[cookie] = answer if isinstance(answer, bytes) else encode(answer)
        return cookie + b" " + self._remembered[cookie]

    def answer(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        if name == "ping":
            return {"result": "pong"}
        call = fields["call-id"]
        if name == "offer":
            self.calls.add(call)
        elif call not in self.calls:
            return {"result": "error", "error-reason": "Unknown call-id"}
        if name in ("offer", "answer"):
            return {"result": "ok", "sdp": self._rewritten(call, name, fields)}
        if name == "delete" and "to-tag" not in fields:
            self.calls.discard(call)
        return {"result": "ok", **(self.figures if name in ("query", "delete") else {})}

    def _rewritten(self, call: bytes, name: str, fields: dict[str, Any]) -> bytes:
        towards = fields["to-tag" if name == "offer" else "from-tag"]
        lines = [f"v=0\r\no=- 1 1 IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"]
        for index, section in enumerate(Document(fields["sdp"]).sections):
            port = 0
            if section.port:
                if (call, towards, index) not in self._ports:
                    self._port += 2
                    self._ports[call, towards, index] = self._port
                port = self._ports[call, towards, index]
            lines.append(f"m=audio {port} RTP/AVP 8\r\n")
        return "".join(lines).encode()


class FakeReactor(Clock):
    """`nodes`: by port. Datagrams arrive with the next turn."""

    def __init__(self, **nodes: FakeNode) -> None:
        super().__init__()
        self.nodes: dict[int, FakeNode] = {int(name.removeprefix("at_")): node for name, node in nodes.items()}

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> Any:
        protocol.transport = _Transport(self, protocol)
        return protocol.transport


class _Transport:
    def __init__(self, reactor: FakeReactor, protocol: Any) -> None:
        self._reactor, self._protocol = reactor, protocol

    def write(self, packet: bytes, peer: tuple[str, int]) -> None:
        self._reactor.callLater(0, self._arrive, packet, peer)

    def _arrive(self, packet: bytes, peer: tuple[str, int]) -> None:
        reply = self._reactor.nodes[peer[1]].hear(packet)
        if reply is not None:
            self._reactor.callLater(0, self._protocol.datagramReceived, reply, peer)

    def stopListening(self) -> None:
        pass
