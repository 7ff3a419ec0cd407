"""REGISTERs that no device would send: nothing breaks, nothing half is kept, the next good one is served."""

from hypothesis import given
from hypothesis import strategies as st

from calltrack.errors import SIPError
from calltrack.registrar.registration import read
from calltrack.registrar.settings import RegistrarSettings
from calltrack.sip.message import parse
from tests.exploring import explored
from tests.registrar.case import RegistrarTestCase

PIECES = st.sampled_from(
    [b"<", b">", b'"', b"\\", b";", b",", b"=", b"*", b"sip:", b"sips:", b"tel:", b"a@b", b"[::1]", b":5060", b"%00", b"%41"]
    + [b"expires=", b"q=", b"reg-id=", b"+sip.instance=", b"0", b"1", b"4294967296", b"-1", b"\xff", b"\x00", b"\t", b" ", b"?x=y"]
)
TEXTS = st.lists(PIECES | st.binary(max_size=3), max_size=12).map(b"".join).map(lambda text: text.replace(b"\n", b""))
REGISTER = (
    b"REGISTER sip:calltrack.example SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n%bContent-Length: 0\r\n\r\n"
)


class HostileTests(RegistrarTestCase):
    @explored(200)
    @given(st.dictionaries(st.sampled_from([b"Contact", b"Expires", b"Path", b"Supported", b"User-Agent", b"m"]), TEXTS))
    def test_any_headers_are_read_or_refused(self, headers):
        lines = b"".join(b"%b: %b\r\n" % item for item in headers.items())
        try:
            registration = read(parse(REGISTER % lines), RegistrarSettings())
        except SIPError:
            return
        for contact in registration.contacts:
            self.assertRegex(contact.uri.lower(), r"\Asips?:")
            self.assertTrue(0 <= contact.expires <= 3600 and 0 <= contact.q <= 1000)
            self.assertTrue(contact.uri.isprintable() and contact.instance.isprintable())
        self.assertTrue(registration.device.isprintable())

    @explored(200)
    @given(st.lists(st.tuples(st.sampled_from([b"Contact", b"Expires", b"Path", b"Require", b"Supported"]), TEXTS), max_size=4))
    def test_headers_of_a_device_that_knows_the_password(self, headers):
        # What lets the message through is the device's; every other header is anything.
        if self.engine is None:
            self.start()
            self.device = self.phone()
            self.registered(self.device, 60)
        self.device.send_register(None, contacts=(), lines=tuple(b"%b: %b" % header for header in headers))
        self.network.run(0.01)
        for answer in self.device.inbox:
            self.assertIn(answer.status, (200, 400, 401, 403, 420, 423, 500))
        self.device.inbox.clear()
        self.held()

    @explored(200)
    @given(st.sampled_from([b"To", b"From", b"Authorization", b"CSeq", b"Call-ID", b"Via", b"Max-Forwards"]), TEXTS)
    def test_headers_of_a_stranger(self, name, text):
        if self.engine is None:
            self.start()
            self.device = self.phone()
        good = self.device.send_register(credentials=[])
        lines = [line for line in good.split(b"\r\n") if not line.startswith(name + b":")]
        lines.insert(1, name + b": " + text)
        self.device.send(b"\r\n".join(lines))
        self.network.run(0.01)
        self.device.inbox.clear()
        self.assertEqual(self.held(), [])

    def test_good_device_is_served_after_all_that(self):
        self.start()
        phone = self.phone()
        for junk in (b"REGISTER\r\n\r\n", b"REGISTER sip: SIP/2.0\r\n\r\n", b"\x00\x01" * 200, b"REGISTER sip:x SIP/2.0\r\nTo:\r\n\r\n"):
            phone.send(junk)
        self.registered(phone)
