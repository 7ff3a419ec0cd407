import socket
from pathlib import Path

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from calltrack import config
from calltrack.cli import check, probe
from calltrack.config.sections import StorageSettings
from calltrack.errors import TransportFailure, Unresolvable
from calltrack.sip.tls import ServerCertificate, Trust
from calltrack.storage.spool import Spool
from calltrack.storage.url import open_stores
from calltrack.testing.store_contract import call_record
from calltrack.tracking.catalog import Catalog
from tests.sip.test_tls import write_certificate

OK = b"SIP/2.0 200 OK\r\nVia: %s\r\nContent-Length: 0\r\n\r\n"


def via(request):
    (line,) = (line for line in request.split(b"\r\n") if line.startswith(b"Via: "))
    return line[5:]


class DatagramPeer(DatagramProtocol):
    """Answers every OPTIONS, or none."""

    def __init__(self, answer=OK):
        self.answer, self.requests = answer, []

    def datagramReceived(self, data, address):
        self.requests.append(data)
        if self.answer:
            self.transport.write(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=another\r\n\r\n", address)
            self.transport.write(self.answer % via(data), address)


class StreamPeer(Protocol):
    def dataReceived(self, data):
        answer = OK % via(data)
        self.transport.write(answer[:10])
        self.transport.write(answer[10:])


class ProbeTests(TestCase):
    def peer(self, protocol):
        port = reactor.listenUDP(0, protocol, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return port.getHost().port

    async def test_any_answer_over_udp_says_that_the_peer_is_there(self):
        peer = DatagramPeer(b"SIP/2.0 403 Forbidden\r\nVia: %s\r\n\r\n")
        self.assertEqual(await probe.ask_options(reactor, "udp", "127.0.0.1", self.peer(peer)), "403 Forbidden")

    async def test_question_is_a_whole_options_request(self):
        peer = DatagramPeer()
        port = self.peer(peer)
        await probe.ask_options(reactor, "udp", "127.0.0.1", port)
        lines = peer.requests[0].split(b"\r\n")
        self.assertEqual(lines[0], b"OPTIONS sip:127.0.0.1:%d;transport=udp SIP/2.0" % port)
        names = {line.partition(b":")[0] for line in lines[1:-2]}
        self.assertLessEqual({b"Via", b"Max-Forwards", b"To", b"From", b"Call-ID", b"CSeq"}, names)
        self.assertEqual(lines[-2:], [b"", b""])

    async def test_answer_over_tcp_may_come_in_pieces(self):
        port = reactor.listenTCP(0, Factory.forProtocol(StreamPeer), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.assertEqual(await probe.ask_options(reactor, "tcp", "127.0.0.1", port.getHost().port), "200 OK")

    async def test_peer_by_tls_must_be_who_it_should_be(self):
        folder = self.mktemp()
        Path(folder).mkdir()
        write_certificate(folder, "pbx.example")
        certificate = ServerCertificate(f"{folder}/pbx.example.pem", f"{folder}/pbx.example.key")
        port = reactor.listenSSL(0, Factory.forProtocol(StreamPeer), certificate, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        hop = "tls", "127.0.0.1", port.getHost().port
        trust = Trust(f"{folder}/pbx.example.pem")
        self.assertEqual(await probe.ask_options(reactor, *hop, "pbx.example", trust), "200 OK")
        for name, trusted, words in (("other.example", trust, "not for other.example"), ("pbx.example", Trust(), "no authority")):
            question = _deferred(probe.ask_options(reactor, *hop, name, trusted))
            self.assertIn(words, str(await self.assertFailure(question, TransportFailure)))

    async def test_silence_fails_in_words(self):
        self.patch(probe, "PATIENCE", 0.05)
        port = self.peer(DatagramPeer(answer=None))
        error = await self.assertFailure(
            _deferred(probe.ask_options(reactor, "udp", "127.0.0.1", port)), TransportFailure
        )
        self.assertIn("no answer to OPTIONS", str(error))

    async def test_refused_connection_fails_in_words(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            error = await self.assertFailure(
                _deferred(probe.ask_options(reactor, "tcp", "127.0.0.1", port)), TransportFailure
            )
        self.assertIn("no connection", str(error))


def _deferred(coroutine):
    return Deferred.fromCoroutine(coroutine)


class DatabaseVerdictTests(TestCase):
    def settings(self, path):
        return replace(config.defaults(), storage=StorageSettings(url=f"sqlite:{path}"))

    async def test_file_that_is_not_there_yet_is_good_and_is_not_made(self):
        path = self.mktemp()
        (verdict,), hosts, newest = await check.on_database(self.settings(path), reactor)
        self.assertTrue(verdict.good)
        self.assertEqual((hosts, newest, Path(path).exists()), ([], None, False))

    async def test_directory_that_is_not_there_is_not(self):
        (verdict,), *_ = await check.on_database(self.settings("/nonexistent/calltrack.db"), reactor)
        self.assertFalse(verdict.good)
        self.assertIn("/nonexistent", verdict.words)

    async def test_file_of_another_kind_is_not(self):
        path = self.mktemp()
        Path(path).write_text("a letter to my aunt, which is no database " * 50)
        (verdict,), *_ = await check.on_database(self.settings(path), reactor)
        self.assertFalse(verdict.good)
        self.assertIn("no SQLite database", verdict.words)

    async def test_targets_and_newest_call_are_found(self):
        path = self.mktemp()
        stores = open_stores(f"sqlite:{path}", reactor)
        self.addCleanup(stores.close)
        await stores.migrate()
        catalog = Catalog(stores.catalog)
        await catalog.add_project("Shop")
        await catalog.add_scenario("Ads", 1, "ad", ["office@example.com", "phone:+74951234567", "account"])
        await stores.records.write(records=[call_record("a", 5000)])
        (verdict,), targets, newest = await check.on_database(self.settings(path), reactor)
        self.assertTrue(verdict.good)
        self.assertEqual((targets, newest), (["sip:office@example.com"], 5.0))


class PortVerdictTests(SynchronousTestCase):
    def setUp(self):
        self.taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.taken.close)
        self.taken.bind(("127.0.0.1", 0))
        self.port = self.taken.getsockname()[1]
        self.database = self.mktemp()
        self.settings = config.load(
            f'[sip]\nlisten = ["udp:127.0.0.1:{self.port}", "tcp:127.0.0.1:0"]\n[web]\nlisten = "127.0.0.1:0"\n'
            f'[media]\nlisten = "127.0.0.1"\nports = [42000, 42009]\n[storage]\nurl = "sqlite:{self.database}"'
        )

    def test_port_in_use_is_named(self):
        verdicts = check.on_ports(self.settings)
        self.assertEqual([verdict.good for verdict in verdicts[:3]], [False, True, True])
        self.assertIn(f"udp:127.0.0.1:{self.port}", verdicts[0].words)

    def test_port_in_use_by_the_running_engine_is_good(self):
        spool = Spool(self.database + "-spool")
        spool.open()
        self.addCleanup(spool.close)
        (verdict, *_) = check.on_ports(self.settings)
        self.assertTrue(verdict.good)
        self.assertIn("calltrack is running", verdict.words)

    def test_media_ports_are_counted(self):
        verdict = check.on_ports(self.settings)[-1]
        self.assertRegex(verdict.words, "[0-9]+ of 10 ports from 42000 to 42009")


class NameVerdictTests(SynchronousTestCase):
    def verdicts(self, targets, resolve):
        return self.successResultOf(_deferred(check.on_names(targets, resolve)))

    def test_name_that_leads_somewhere(self):
        (verdict,) = self.verdicts(
            ["sip:a@b.example"], lambda *_: succeed([("udp", "192.0.2.1", 5060), ("tcp", "::1", 5060)])
        )
        self.assertEqual(verdict, check.Verdict("DNS", True, "sip:a@b.example -> udp:192.0.2.1:5060 and 1 more"))

    def test_name_that_leads_nowhere(self):
        (verdict,) = self.verdicts(["sip:a@b.example"], lambda *_: fail(Unresolvable("there is no such name")))
        self.assertEqual(verdict, check.Verdict("DNS", False, "sip:a@b.example: there is no such name"))

    def test_nothing_to_look_up_is_good(self):
        self.assertTrue(self.verdicts([], None)[0].good)


class ClockVerdictTests(SynchronousTestCase):
    def test_clock_behind_the_newest_call_or_this_release_is_wrong(self):
        now = 1_795_457_000.0
        self.assertTrue(check.on_clock(now, None).good)
        self.assertTrue(check.on_clock(now, now + 1).good)
        self.assertFalse(check.on_clock(now, now + 3600).good)
        self.assertFalse(check.on_clock(0.0, None).good)


class TrunkVerdictTests(TestCase):
    async def test_each_trunk_has_a_verdict(self):
        peer = reactor.listenUDP(0, DatagramPeer(), interface="127.0.0.1")
        self.addCleanup(peer.stopListening)
        trunks = config.load(
            "[[trunk]]\nname = 'in'\nsources = ['192.0.2.0/24']\n"
            f"[[trunk]]\nname = 'out'\noutbound = 'sip:127.0.0.1:{peer.getHost().port}'\n"
            "[[trunk]]\nname = 'gone'\noutbound = 'sip:nosuch.invalid'\nregister = true\nusername = 'u'\npassword = 'p'\n"
            "[[trunk]]\nname = 'roaming'\ninbound_username = 'their'\ninbound_password = 'p'\n"
        ).trunks

        def resolve(host, port, transport):
            return (
                succeed([("udp", host, port)]) if host == "127.0.0.1" else fail(Unresolvable("there is no such name"))
            )

        verdicts = await check.on_trunks(trunks, resolve, reactor)
        self.assertEqual([verdict.good for verdict in verdicts], [True, True, False, True])
        for verdict, words in zip(verdicts, ("192.0.2.0/24", "answers 200 OK", "no such name", "prove to be their")):
            self.assertIn(words, verdict.words)
        self.assertIn("registers as u;", verdicts[2].words)
