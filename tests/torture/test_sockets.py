"""The messages of RFC 4475 once more, over real sockets (EDGE-CASES 45). Nobody is called here: what would be a call is 404."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import msgspec
from twisted.internet import defer, reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import DatagramProtocol, Protocol
from twisted.trial.unittest import TestCase

from calltrack.registrar.settings import RegistrarSettings
from calltrack.sip.framing import Framer
from calltrack.sip.message import Response, parse
from calltrack.testing.engine import TRUNK, TestEngine
from tests.torture.messages import CALL, CLOSED, MESSAGES, SILENCE

HERE = "127.0.0.1"
OPTIONS = (
    b"OPTIONS sip:e@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bKmark%d\r\n"
    b"From: <sip:w@provider.example>;tag=w\r\nTo: <sip:e@127.0.0.1>\r\nCall-ID: mark\r\nCSeq: %d OPTIONS\r\n\r\n"
)


class _Machine:
    """What `TestEngine` wants to know of a network, for this machine."""

    clock = reactor

    def reactor(self, host: str) -> Any:
        return reactor


class _Heard:
    """Responses until one with Call-ID `mark` and a given CSeq."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self._marks: dict[int, defer.Deferred] = {}

    def until(self, mark: int) -> defer.Deferred:
        """Fires with the statuses that came before it, or with SILENCE if there was none."""
        self._marks[mark] = defer.Deferred()
        return self._marks[mark]

    def heard(self, response: Response) -> None:
        if response.get(b"call-id") == b"mark":
            statuses, self.statuses = self.statuses, []
            self._marks.pop(response.cseq[0]).callback(statuses or [SILENCE])
        elif response.status != 100:
            self.statuses.append(response.status)


class _Datagrams(DatagramProtocol):
    def __init__(self) -> None:
        self.heard = _Heard()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.heard.heard(parse(datagram))


class _Stream(Protocol):
    def __init__(self) -> None:
        self.statuses: list = []
        self.framer = Framer()
        self.change: defer.Deferred = defer.Deferred()  # fires at each response, and at the end

    def dataReceived(self, data: bytes) -> None:
        for message in self.framer.feed(data)[0]:
            response = parse(message)
            if response.status != 100:
                self.statuses.append(response.status)
        self._changed()

    def connectionLost(self, reason: Any) -> None:
        self.statuses.append(CLOSED)
        self._changed()

    def _changed(self) -> None:
        change, self.change = self.change, defer.Deferred()
        change.callback(None)


class SocketTests(TestCase):
    timeout = 20

    def setUp(self):
        self.engine = None

    def tearDown(self):
        self.assertEqual(self.flushLoggedErrors(), [])
        return self._stop()

    def _start(self):
        """A new engine: messages of the RFC share branches, and would be taken for each other sent again."""
        trunk = msgspec.structs.replace(TRUNK, sources=(ip_network("127.0.0.0/8"),))
        registrar = RegistrarSettings(domains=("example.com",))
        self.engine = TestEngine(_Machine(), trunks=[trunk], place=(HERE, 0), registrar=registrar)
        return {place.transport: place.port for place in self.engine.transports.listening()}

    def _stop(self):
        engine, self.engine = self.engine, None
        if engine is None:
            return None
        engine.registrar.stop()
        engine.timers.stop()
        return engine.transports.stop()

    async def test_datagrams(self):
        peer = _Datagrams()
        port = reactor.listenUDP(0, peer, interface=HERE)
        self.addCleanup(port.stopListening)
        for number, message in enumerate(MESSAGES):
            if message.rfc != 4475:
                continue
            engine = HERE, self._start()["udp"]
            heard = []
            for mark, data in ((2 * number, message.data), (2 * number + 1, b"\r\n")):  # new INVITEs wait for others
                answered = peer.heard.until(mark)
                port.write(data, engine)
                port.write(OPTIONS % (mark, mark), engine)
                heard += [status for status in await answered if status != SILENCE]
            self.assertEqual(heard or [SILENCE], [_uncalled(message.udp)], message.name)
            await self._stop()

    async def test_streams(self):
        """What closes a stream at once is waited for; what closes it after a time is not."""
        for message in MESSAGES:
            wanted = [_uncalled(outcome) for outcome in message.tcp if outcome is not SILENCE]
            if message.rfc != 4475 or not wanted:
                continue
            if CLOSED in wanted and message.name not in ("ncl", "mcl01"):
                wanted.remove(CLOSED)
            stream = await connectProtocol(TCP4ClientEndpoint(reactor, HERE, self._start()["tcp"]), _Stream())
            stream.transport.write(message.data)
            while len(stream.statuses) < len(wanted):
                await stream.change
            self.assertEqual(stream.statuses, wanted, message.name)
            if CLOSED not in wanted:
                stream.transport.loseConnection()
                await stream.change
            await self._stop()


def _uncalled(outcome: Any) -> Any:
    return 404 if outcome == CALL else outcome
