"""TLS: a certificate is judged before anything listens, renewed ones are taken up, and SIP is spoken over it."""

import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import defer, endpoints, protocol, reactor, ssl
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from calltrack.errors import ConfigErrors, TransportFailure
from calltrack.sip.dialling import HANDSHAKE_TIME
from calltrack.sip.locating import NextHop
from calltrack.sip.tls import ServerCertificate, Trust
from calltrack.sip.transports import Transports
from calltrack.timers import Timers

OPTIONS = (
    b"OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK1;rport\r\n"
    b"Call-ID: 1\r\nContent-Length: 0\r\n\r\n"
)


def alternative(name):
    """A host name or address as a certificate names it."""
    return x509.IPAddress(ipaddress.ip_address(name)) if name[-1].isdigit() else x509.DNSName(name)


def write_certificate(folder, name, days=2, key=None, names=()):
    """Write NAME.pem and NAME.key, for `names` (host names and addresses); the key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative(one) for one in names or (name,)]), False)
        .sign(key, hashes.SHA256())
    )
    with open(os.path.join(folder, name + ".pem"), "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(os.path.join(folder, name + ".key"), "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return key


class FolderTestCase:
    def setUp(self):
        self.folder = self.mktemp()
        os.makedirs(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def certificate(self, certificate="own.pem", key="own.key"):
        return ServerCertificate(self.path(certificate), self.path(key))


class CertificateTests(FolderTestCase, SynchronousTestCase):
    def refused(self, certificate, *words):
        (error,) = self.assertRaises(ConfigErrors, certificate.load).errors
        for word in words:
            self.assertIn(word, error)

    def test_file_that_is_missing_is_named_with_its_key(self):
        write_certificate(self.folder, "own")
        self.refused(self.certificate("none.pem"), "[tls] certificate: ", "none.pem", "No such file")
        self.refused(self.certificate(key="none.key"), "[tls] key: ", "none.key")

    def test_file_that_is_no_certificate(self):
        write_certificate(self.folder, "own")
        with open(self.path("text.pem"), "w") as file:
            file.write("hello")
        self.refused(self.certificate("text.pem"), "[tls] certificate: ")
        self.refused(self.certificate(key="text.pem"), "[tls] key: ")

    def test_key_of_another_certificate(self):
        write_certificate(self.folder, "own")
        write_certificate(self.folder, "other")
        self.refused(self.certificate(key="other.key"), "[tls] key: ", "does not belong")

    def test_end_of_a_certificate_is_told(self):
        write_certificate(self.folder, "own", days=2)
        certificate = self.certificate()
        certificate.load()
        ends = datetime.datetime.fromtimestamp(certificate.expires(), datetime.timezone.utc)
        left = ends - datetime.datetime.now(datetime.timezone.utc)
        self.assertEqual(round(left.total_seconds() / 86400), 2)

    def test_context_is_kept_until_the_files_change(self):
        write_certificate(self.folder, "own")
        certificate = self.certificate()
        first = certificate.load()
        self.assertIs(certificate.load(), first)
        write_certificate(self.folder, "own")
        self.assertIsNot(certificate.load(), first)

    def test_files_that_become_unusable_leave_the_last_context_in_use(self):
        write_certificate(self.folder, "own")
        certificate = self.certificate()
        first = certificate.load()
        os.remove(self.path("own.key"))
        self.assertIs(certificate.load(), first)
        with open(self.path("own.key"), "w") as file:
            file.write("half a key")
        self.assertIs(certificate.load(), first)
        write_certificate(self.folder, "own")
        self.assertIsNot(certificate.load(), first)


class Client(protocol.Protocol):
    def __init__(self):
        self.received = b""
        self.lost = defer.Deferred()

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, reason):
        self.lost.callback(None)


class SpeakingTests(FolderTestCase, TestCase):
    async def listen(self):
        write_certificate(self.folder, "own")
        self.transports = Transports(reactor, Timers(Clock()), [("tls", "127.0.0.1", 0)], "", self.certificate())
        self.transports.start()
        self.addCleanup(self.transports.stop)
        (place,) = self.transports.listening()
        self.assertEqual(place.transport, "tls")
        return place

    async def connect(self, place):
        options = ssl.CertificateOptions(verify=False)
        endpoint = endpoints.SSL4ClientEndpoint(reactor, place.host, place.port, options)
        return await endpoints.connectProtocol(endpoint, Client())

    async def test_message_comes_with_its_flow_and_the_answer_goes_back_over_it(self):
        place = await self.listen()
        delivered = defer.Deferred()
        self.transports.deliver = lambda data, flow: delivered.callback((data, flow))
        client = await self.connect(place)
        client.transport.write(OPTIONS)
        data, flow = await delivered
        self.assertEqual((data, flow.transport, flow.reliable, flow.open), (OPTIONS, "tls", True, True))
        self.assertEqual(self.transports.shown_address(flow), ("127.0.0.1", place.port))
        closed = defer.Deferred()
        self.transports.closed = closed.callback
        found = await self.transports.flow_to(NextHop("tls", *flow.remote))
        self.assertIs(found, flow)
        client.transport.abortConnection()
        self.assertIs(await closed, flow)
        self.assertFalse(flow.open)
        self.assertRaises(TransportFailure, flow.send, b"x")


class DiallingTests(FolderTestCase, TestCase):
    """Connections that we make (RFC 5922): the peer proves to be the host of its SIP address, or there is none."""

    def setUp(self):
        super().setUp()
        write_certificate(self.folder, "own", names=("pbx.example", "127.0.0.1"))
        write_certificate(self.folder, "stranger", names=("pbx.example",))
        self.received = []
        self.clock = Clock()

    def engine(self, places, authorities="own.pem", verify=True):
        trust = Trust(self.path(authorities) if authorities else "", verify)
        transports = Transports(reactor, Timers(self.clock), places, "", self.certificate(), trust)
        transports.start()
        self.addCleanup(transports.stop)
        return transports

    def peer(self):
        """A listening engine as the other end; its place."""
        peer = self.other = self.engine([("tls", "127.0.0.1", 0)])
        peer.deliver = lambda data, flow: (self.received.append(flow), flow.send(b"SIP/2.0 200 OK\r\nCall-ID: 1\r\n\r\n"))
        return peer.listening()[0].port

    async def fails(self, transports, hop):
        failure = await self.assertFailure(transports.flow_to(hop), TransportFailure)
        return str(failure)

    async def test_message_goes_over_a_connection_to_who_proves_the_name(self):
        port, ours = self.peer(), self.engine([])
        answered = defer.Deferred()
        ours.deliver = lambda data, flow: answered.callback(data)
        hop = NextHop("tls", "127.0.0.1", port, "pbx.example")
        flow = await ours.flow_to(hop)
        self.assertEqual((flow.transport, flow.verified, flow.remote), ("tls", "pbx.example", ("127.0.0.1", port)))
        flow.send(OPTIONS)
        self.assertTrue((await answered).startswith(b"SIP/2.0 200"))
        self.assertIs(await ours.flow_to(hop), flow)

    async def test_connection_to_one_name_is_not_taken_for_another(self):
        """RFC 5923 section 8.2: the same address may serve both, only one has been proved."""
        port, ours = self.peer(), self.engine([])
        flow = await ours.flow_to(NextHop("tls", "127.0.0.1", port, "pbx.example"))
        self.assertIn("not for other.example", await self.fails(ours, NextHop("tls", "127.0.0.1", port, "other.example")))
        by_address = await ours.flow_to(NextHop("tls", "127.0.0.1", port))
        self.assertIsNot(by_address, flow)
        self.assertEqual(by_address.verified, "127.0.0.1")

    async def test_certificate_of_no_trusted_authority_is_refused_and_nothing_is_sent(self):
        port, ours = self.peer(), self.engine([], authorities="stranger.pem")
        words = await self.fails(ours, NextHop("tls", "127.0.0.1", port, "pbx.example"))
        self.assertIn("no authority that is trusted here", words)
        self.assertEqual(self.received, [])
        self.assertEqual(ours._connecting, {})

    async def test_unless_certificates_are_verified_whoever_answers_is_the_peer(self):
        port, ours = self.peer(), self.engine([], authorities="", verify=False)
        for name in ("any.example", "127.0.0.1"):
            flow = await ours.flow_to(NextHop("tls", "127.0.0.1", port, name))
            self.assertTrue(flow.open)

    async def test_peer_that_does_not_speak_tls_fails_with_words(self):
        class Plain(protocol.Protocol):
            def connectionMade(self):
                self.transport.write(b"220 mail.example\r\n")

        listening = reactor.listenTCP(0, protocol.Factory.forProtocol(Plain), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        ours = self.engine([])
        hop = NextHop("tls", "127.0.0.1", listening.getHost().port, "pbx.example")
        waiting = [ours.flow_to(hop), ours.flow_to(hop)]
        for one in waiting:
            failure = await self.assertFailure(one, TransportFailure)
            self.assertIn("tls to 127.0.0.1:", str(failure))
        self.assertEqual(ours._connecting, {})

    async def test_handshake_that_does_not_end_is_given_up(self):
        reached = defer.Deferred()

        class Mute(protocol.Protocol):
            def dataReceived(self, data):
                reached.callback(None)

        listening = reactor.listenTCP(0, protocol.Factory.forProtocol(Mute), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        ours = self.engine([])
        waiting = ours.flow_to(NextHop("tls", "127.0.0.1", listening.getHost().port, "pbx.example"))
        await reached
        self.clock.advance(HANDSHAKE_TIME + 0.1)
        await self.assertFailure(waiting, TransportFailure)

    async def test_whoever_watches_a_flow_is_told_when_it_closes(self):
        port, ours = self.peer(), self.engine([])
        flow = await ours.flow_to(NextHop("tls", "127.0.0.1", port, "pbx.example"))
        closed = defer.Deferred()
        flow.watch(closed.callback)
        flow.watch(self.fail)
        flow.unwatch(self.fail)
        flow.close()
        self.assertIs(await closed, flow)


class TrustTests(FolderTestCase, SynchronousTestCase):
    def test_file_that_cannot_be_used_is_named(self):
        write_certificate(self.folder, "own")
        for name in ("none.pem", "own.key"):
            (error,) = self.assertRaises(ConfigErrors, Trust(self.path(name)).load).errors
            self.assertIn("[tls] authorities: ", error)
            self.assertIn(name, error)

    def test_several_authorities_may_stand_in_one_file(self):
        for name in ("one", "two"):
            write_certificate(self.folder, name)
        with open(self.path("both.pem"), "wb") as both:
            for name in ("one.pem", "two.pem"):
                with open(self.path(name), "rb") as file:
                    both.write(b"# " + name.encode() + b"\n" + file.read())
        Trust(self.path("both.pem")).load()
