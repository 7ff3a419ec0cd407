"""TLS: a certificate is judged before anything listens, renewed ones are taken up, and SIP is spoken over it."""

import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import defer, endpoints, protocol, reactor, ssl
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from calltrack.errors import ConfigErrors, TransportFailure
from calltrack.sip.locating import NextHop
from calltrack.sip.tls import ServerCertificate
from calltrack.sip.transports import Transports
from calltrack.timers import Timers

OPTIONS = (
    b"OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK1;rport\r\n"
    b"Call-ID: 1\r\nContent-Length: 0\r\n\r\n"
)


def write_certificate(folder, name, days=2, key=None):
    """Write NAME.pem and NAME.key; the key."""
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

    async def test_no_connection_is_made_by_us(self):
        await self.listen()
        await self.assertFailure(self.transports.flow_to(NextHop("tls", "127.0.0.1", 5061)), TransportFailure)
