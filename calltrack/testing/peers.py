"""SIP peers that say exactly what a test tells them, message by message, so that a test reads like a ladder:

    trunk.invite("11231234567")
    invite = office.expect("INVITE")
    office.respond(invite, 180)
    trunk.expect(180)
    office.respond(invite, 200, sdp=ANSWER)
    office.expect("ACK")
    trunk.expect(200)
    trunk.ack()

A peer has no transactions and no timers: what it does not send is not sent, and every message that comes is to be
expected, in order. Knows messages and the in-memory network; nothing of the engine.
"""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol

from calltrack.sip.framing import Framer
from calltrack.sip.message import Request, Response, parse
from calltrack.sip.uri import host_port, parse_name_addr
from calltrack.testing.network import MemoryNetwork, Place

ENGINE: Place = ("192.0.2.1", 5060)
PATIENCE = 1.0  # seconds on the network's clock that `expect` waits


def sdp(host: str = "198.51.100.7", port: int = 4000, direction: str = "sendrecv", version: int = 1) -> bytes:
    """A description of one PCMA stream with telephone-event."""
    lines = (
        "v=0",
        f"o=- 1 {version} IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 8 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        f"a={direction}",
        "",
    )
    return "\r\n".join(lines).encode()


class PeerDialog:
    """A dialog as the peer sees it. Change anything to have the peer say something else."""

    def __init__(self, call_id: bytes, local: bytes, remote: bytes, target: bytes, cseq: int) -> None:
        self.call_id = call_id
        self.local = local  # From of what the peer sends, with its tag
        self.remote = remote  # To of what the peer sends
        self.target = target  # Request-URI of what the peer sends
        self.routes: list[bytes] = []  # Route values of what the peer sends
        self.cseq = cseq  # of the peer's last request
        self.invite_cseq = cseq  # of its last INVITE
        self.branch = b""  # of its last INVITE
        self.invite = b""  # its last INVITE, as sent


class Peer:
    """A SIP element at `host`:`port` of the network that speaks with the engine at `engine`.

    `shown`: the address its messages name, when that is not its own, as behind a NAT. `inbox`: what has come and
    was not expected yet; `heard`: everything, as (seconds, message). `dialog`: the last one begun here.
    """

    def __init__(
        self,
        network: MemoryNetwork,
        host: str,
        port: int = 5060,
        *,
        engine: Place = ENGINE,
        transport: str = "udp",
        shown: Place | None = None,
    ) -> None:
        self.network = network
        self.place = host, port
        self.engine = engine
        self.transport = transport
        self.shown = host_port(*(shown or self.place)).encode()
        self.inbox: list[Request | Response] = []
        self.heard: list[tuple[float, Request | Response]] = []
        self.dialog: PeerDialog | None = None
        self.connections: list[_PeerConnection] = []
        self._dialogs: dict[bytes, PeerDialog] = {}
        self._count = 0
        reactor = network.reactor(host)
        self._reactor = reactor
        self.udp = reactor.listenUDP(port, _PeerSocket(self._received), interface=host)
        factory = Factory.forProtocol(lambda: _PeerConnection(self))
        factory.noisy = False
        self.tcp = reactor.listenTCP(port, factory, interface=host) if transport == "tcp" else None

    # Raw bytes

    def send(self, data: bytes) -> None:
        """Send bytes as they are: a datagram, or into the newest connection, making one when there is none."""
        if self.transport == "udp":
            self.udp.write(data, self.engine)
            return
        if not self.connections:
            self.connect()
            assert self.network.run(PATIENCE, lambda: self.connections), "the engine takes no connection"
        self.connections[-1].transport.write(data)

    def connect(self) -> None:
        """Open one more TCP connection to the engine; it is in `connections` when it has been made."""
        factory = ClientFactory.forProtocol(lambda: _PeerConnection(self))
        factory.noisy = False
        self._reactor.connectTCP(*self.engine, factory)

    def _received(self, data: bytes) -> None:
        message = parse(data)
        self.inbox.append(message)
        self.heard.append((self.network.clock.seconds(), message))
        dialog = self._dialogs.get(message.get(b"call-id"))
        if dialog is not None and isinstance(message, Response) and message.cseq[1] == b"INVITE":
            self._learn(dialog, message)

    def _learn(self, dialog: PeerDialog, response: Response) -> None:
        if response.to.tag and response.status < 300:
            dialog.remote = response.get(b"to")
            dialog.routes = list(reversed(response.items(b"record-route")))
            if response.contact:
                dialog.target = response.contact

    # What comes

    def expect(self, what: str | int, method: str = "", within: float = PATIENCE) -> Any:
        """The next message, which must be the request with method `what` or the response with status `what` (to
        `method`, when given); waits for it on the network's clock. 100 is passed over unless it is asked for."""
        def there() -> bool:
            if what != 100:
                self.inbox[:] = [one for one in self.inbox if not (isinstance(one, Response) and one.status == 100)]
            return bool(self.inbox)

        if not self.network.run(within, there):
            raise AssertionError(f"{self.place[0]} expected {what} {method} and nothing came in {within} s")
        message = self.inbox.pop(0)
        said = message.method.decode() if isinstance(message, Request) else message.status
        answers = message.cseq[1].decode()
        if said != what or (method and answers != method):
            raise AssertionError(f"{self.place[0]} expected {what} {method} and got {message.summary}")
        return message

    def expect_nothing(self, seconds: float = PATIENCE) -> None:
        """Fails when anything comes within this time, or has come unexpected."""
        self.network.run(seconds)
        if self.inbox:
            raise AssertionError(f"{self.place[0]} got {[message.summary for message in self.inbox]}")

    def count(self, what: str | int) -> int:
        """How many messages with this method or status have come at all."""
        return len(self.times(what))

    def times(self, what: str | int) -> list[float]:
        """When each of them came."""
        return [
            at
            for at, message in self.heard
            if (message.method.decode() if isinstance(message, Request) else message.status) == what
        ]

    # Requests

    def invite(
        self,
        number: str = "11231234567",
        *,
        body: bytes | None = None,
        lines: tuple[bytes, ...] = (),
        from_: bytes = b"<sip:+14155550100@provider.example>",
        uri: bytes = b"",
        to: bytes = b"",
        contact: bytes | None = None,
    ) -> PeerDialog:
        """Begin a call. `body`: a description; b"" for none."""
        self._count += 1
        uri = uri or b"sip:%b@%b" % (number.encode(), host_port(*self.engine).encode())
        name = b"%b.%d" % (self.place[0].encode(), self._count)
        dialog = PeerDialog(b"call-" + name, b"%b;tag=from-%b" % (from_, name), to or b"<%b>" % uri, uri, 0)
        self.dialog = self._dialogs[dialog.call_id] = dialog
        self._invite(dialog, body, lines, contact)
        return dialog

    def reinvite(self, body: bytes | None = None, dialog: PeerDialog | None = None, *lines: bytes) -> None:
        self._invite(dialog or self.dialog, body, lines, None)

    def _invite(
        self, dialog: PeerDialog, body: bytes | None, lines: tuple[bytes, ...], contact: bytes | None
    ) -> None:
        body = sdp(self.place[0]) if body is None else body
        dialog.invite = self.request("INVITE", dialog, *lines, body=body, contact=contact)
        dialog.invite_cseq = dialog.cseq
        dialog.branch = parse(dialog.invite).via.branch

    def request(
        self,
        method: str,
        dialog: PeerDialog | None = None,
        *lines: bytes,
        body: bytes = b"",
        branch: bytes = b"",
        cseq: int | None = None,
        contact: bytes | None = None,
        sent_by: bytes = b"",
    ) -> bytes:
        """Send a request within a dialog; returns it. `lines`: header lines besides the usual ones."""
        dialog = dialog or self.dialog
        if cseq is None:
            dialog.cseq += 1
            cseq = dialog.cseq
        self._count += 1
        branch = branch or b"z9hG4bK-%b-%d" % (self.place[0].encode(), self._count)
        head = [
            b"%b %b SIP/2.0" % (method.encode(), dialog.target),
            b"Via: SIP/2.0/%b %b;branch=%b;rport" % (self._protocol, sent_by or self.shown, branch),
            *(b"Route: " + route for route in dialog.routes),
            b"From: " + dialog.local,
            b"To: " + dialog.remote,
            b"Call-ID: " + dialog.call_id,
            b"CSeq: %d %b" % (cseq, method.encode()),
            b"Max-Forwards: 70",
        ]
        if method in ("INVITE", "UPDATE"):
            head.append(b"Contact: " + (self.contact if contact is None else contact))
        data = _joined([*head, *lines], body)
        self.send(data)
        return data

    def ack(self, body: bytes = b"", dialog: PeerDialog | None = None, cseq: int | None = None) -> bytes:
        """ACK the 2xx to the last INVITE."""
        dialog = dialog or self.dialog
        return self.request("ACK", dialog, body=body, cseq=dialog.invite_cseq if cseq is None else cseq)

    def ack_failure(self, response: Response, dialog: PeerDialog | None = None) -> bytes:
        """ACK a failure of the last INVITE: on its branch, with the To of the response."""
        return self._on_the_invite("ACK", dialog or self.dialog, to=response.get(b"to"))

    def cancel(self, *lines: bytes, dialog: PeerDialog | None = None, sent_by: bytes = b"") -> bytes:
        """CANCEL the last INVITE: on its branch."""
        return self._on_the_invite("CANCEL", dialog or self.dialog, *lines, sent_by=sent_by)

    def _on_the_invite(
        self, method: str, dialog: PeerDialog, *lines: bytes, to: bytes | None = None, sent_by: bytes = b""
    ) -> bytes:
        invite = parse(dialog.invite)
        via = b"Via: SIP/2.0/%b %b;branch=%b;rport" % (self._protocol, sent_by or self.shown, dialog.branch)
        head = [
            b"%b %b SIP/2.0" % (method.encode(), invite.uri),
            via,
            b"From: " + invite.get(b"from"),
            b"To: " + (to or invite.get(b"to")),
            b"Call-ID: " + invite.call_id,
            b"CSeq: %d %b" % (dialog.invite_cseq, method.encode()),
            b"Max-Forwards: 70",
        ]
        data = _joined([*head, *lines], b"")
        self.send(data)
        return data

    def bye(self, dialog: PeerDialog | None = None, *lines: bytes) -> bytes:
        return self.request("BYE", dialog, *lines)

    # Responses

    def respond(
        self,
        request: Request,
        status: int,
        *lines: bytes,
        sdp: bytes = b"",
        tag: bytes = b"callee",
        contact: bytes | None = None,
        reason: bytes = b"Reason",
    ) -> bytes:
        """Answer a request, over the way it came; returns the answer. Provisional and 2xx responses to INVITE make
        the peer's `dialog`."""
        to = request.get(b"to")
        if not request.to.tag and status > 100 and tag:
            to += b";tag=" + tag
        head = [
            b"SIP/2.0 %d %b" % (status, reason),
            *(b"Via: " + via for via in request.all(b"via")),
            b"From: " + request.get(b"from"),
            b"To: " + to,
            b"Call-ID: " + request.call_id,
            b"CSeq: " + request.get(b"cseq"),
        ]
        if request.method in (b"INVITE", b"UPDATE") and 100 < status < 300:
            head += [b"Record-Route: " + route for route in request.all(b"record-route")]
            if contact != b"":
                head.append(b"Contact: " + (contact or self.contact))
            if request.method == b"INVITE" and not request.to.tag:
                self.dialog = PeerDialog(request.call_id, to, request.get(b"from"), request.contact, 0)
                self.dialog.routes = request.items(b"record-route")
                self._dialogs[request.call_id] = self.dialog
        data = _joined([*head, *lines], sdp)
        self.send(data)
        return data

    @property
    def contact(self) -> bytes:
        return b"<sip:%b%b>" % (self.shown, b";transport=tcp" if self.transport == "tcp" else b"")

    @property
    def _protocol(self) -> bytes:
        return self.transport.upper().encode()


def _joined(lines: list[bytes], body: bytes) -> bytes:
    if body:
        lines.append(b"Content-Type: application/sdp")
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def uri_of(value: bytes) -> bytes:
    """The URI of a name-addr value."""
    return parse_name_addr(value).uri


class _PeerSocket(DatagramProtocol):
    noisy = False

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._received(datagram)


class _PeerConnection(Protocol):
    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._framer = Framer()
        self.pongs = 0

    def connectionMade(self) -> None:
        self._peer.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        if data == b"\r\n":
            self.pongs += 1
            return
        for message in self._framer.feed(data)[0]:
            self._peer._received(message)

    def connectionLost(self, reason: Any) -> None:
        self._peer.connections.remove(self)
