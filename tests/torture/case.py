"""A trunk that torments an engine, and checks after each message that nothing has come of it: the engine answers,
carries a call, and holds on to nothing."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import msgspec
from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MalformedMessage, UnusableSDP
from calltrack.media.sdp import Document, Origin
from calltrack.registrar.settings import RegistrarSettings
from calltrack.sip.message import Request, parse
from calltrack.sip.uri import host_port
from calltrack.testing.engine import NUMBER, TRUNK, TestEngine, sip_target
from calltrack.testing.fakes import FakeMediaSession, FakeRelay
from calltrack.testing.network import MemoryNetwork
from calltrack.testing.peers import Peer, PeerDialog, sdp
from tests.torture.messages import CALL, CLOSED, SILENCE, Message

IPV4 = ("192.0.2.1", "198.51.100.7", "203.0.113.20")  # engine, trunk, office
IPV6 = ("2001:db8::10", "2001:db8::9:1", "2001:db8::20")
IN_VAIN = 11.0  # seconds after which a stream without a whole message is closed


class Tormentor(Peer):
    """A peer that does not mind to get its own nonsense back."""

    def _received(self, data: bytes) -> None:
        try:
            super()._received(data)
        except MalformedMessage:
            self.inbox.pop()
            self.heard.pop()


class ReadingRelay(FakeRelay):
    """A relay that relays nothing and reads descriptions as the real one does."""

    def open(self, call_id: str, on_timeout: Any) -> ReadingSession:
        self.sessions.append(ReadingSession(self, call_id, on_timeout))
        return self.sessions[-1]


class ReadingSession(FakeMediaSession):
    def _rewrite(self, what: str, target: str, sdp: bytes) -> defer.Deferred[bytes]:
        try:
            document = Document(sdp)
            ports = [(port, port + 1) for port in range(20_000, 20_000 + 2 * len(document.sections), 2)]
            return defer.succeed(document.render(Origin(1), self._relay.host, ports))
        except UnusableSDP:
            return defer.fail()


class Torment:
    """An engine between a trunk and an office. Whatever user is dialled, the office is rung; `example.com` is a
    domain of its registrar."""

    def __init__(self, places: tuple[str, str, str] = IPV4, transport: str = "udp", port: int = 5060) -> None:
        here, trunk, office = places
        at = (here, 5060)
        self.network = MemoryNetwork(Clock())
        self.trunk = Tormentor(self.network, trunk, port, engine=at, transport=transport)
        self.office = Tormentor(self.network, office, engine=at)
        self.engine = TestEngine(
            self.network,
            [sip_target(f"[{office}]" if ":" in office else office, ring_time=20)],
            place=at,
            trunks=[msgspec.structs.replace(TRUNK, sources=(ip_network(trunk),))],
            registrar=RegistrarSettings(domains=("example.com",)),
        )
        self.engine.relay = self.engine.calls.relay = ReadingRelay(self.network.clock, here)
        self.engine.scenarios.routes[""] = self.engine.route

    def outcomes(self, data: bytes) -> list:
        """Send it; what comes of it, in order."""
        trunk, network = self.trunk, self.network
        trunk.send(data)
        network.run(0.2)
        if self.office.inbox:
            self._take_the_call(parse(data))
            return [CALL]
        found: list = [message.status for message in trunk.inbox]
        trunk.inbox.clear()
        if trunk.transport == "tcp":
            network.run(IN_VAIN, lambda: not trunk.connections)
            found += [CLOSED] if not trunk.connections else []
        return found or [SILENCE]

    def _take_the_call(self, invite: Request) -> None:
        """The office answers, the caller hears it and hangs up."""
        trunk, office = self.trunk, self.office
        office.respond(office.expect("INVITE"), 200, sdp=sdp(office.place[0], 6000))
        office.expect("ACK")
        answer = trunk.expect(200, "INVITE")
        dialog = PeerDialog(
            invite.call_id, invite.get(b"from"), answer.get(b"to"), answer.contact, invite.cseq[0]
        )
        dialog.invite_cseq = invite.cseq[0]
        trunk.ack(dialog=dialog)
        trunk.bye(dialog)
        trunk.expect(200, "BYE")
        office.respond(office.expect("BYE"), 200)

    def still_answers(self) -> None:
        """Fails unless the next good OPTIONS is answered."""
        uri = b"sip:" + host_port(*self.trunk.engine).encode()
        nobody = PeerDialog(b"options", b"<sip:somebody@provider.example>;tag=o", b"<%b>" % uri, uri, 0)
        self.trunk.request("OPTIONS", nobody)
        self.trunk.expect(200, "OPTIONS")

    def still_calls(self) -> None:
        """Fails unless a good call passes."""
        trunk, office = self.trunk, self.office
        trunk.invite(NUMBER)
        office.respond(office.expect("INVITE"), 200, sdp=sdp(office.place[0], 6000))
        office.expect("ACK")
        trunk.expect(200, "INVITE")
        trunk.ack()
        trunk.bye()
        trunk.expect(200, "BYE")
        office.respond(office.expect("BYE"), 200)

    def left(self) -> list[str]:
        """What the engine still holds when every timer has run out."""
        self.engine.registrar.stop()
        for connection in list(self.trunk.connections):
            connection.transport.loseConnection()
        return self.engine.settle()


class TortureTestCase(SynchronousTestCase):
    def torment(self, message: Message, transport: str) -> Torment:
        """The engine for a message, with a trunk that sends from where the message's Via says, if it can."""
        if message.rfc == 4475:
            return Torment(IPV4, transport)
        via = parse(message.data).via
        at_via = transport == "udp" and via.host.decode() == IPV6[1]
        return Torment(IPV6, transport, (via.port or 5060) if at_via else 5060)

    def finish(self, torment: Torment, note: str) -> None:
        torment.still_answers()
        torment.still_calls()
        self.assertEqual(torment.left(), [], note)
        self.assertEqual(self.flushLoggedErrors(), [], note)
