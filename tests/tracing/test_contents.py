"""What is shown of a message: all but secrets."""

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.tracing import contents
from calltrack.tracking.model import LadderStep
from tests.exploring import explored
from tests.tracing.test_segments import MS, message

INVITE = (
    b"INVITE sip:office@192.0.2.7 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
    b"CSeq: 7 INVITE\r\n"
    b'Authorization: Digest username="shop", realm="x", nonce="n1", uri="sip:x", response="0123456789abcdef", qop=auth\r\n'
    b"Content-Type: application/sdp\r\n\r\n"
    b"v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\na=ice-pwd:hush\r\n"
)


class MaskTests(SynchronousTestCase):
    def test_digest_and_media_keys_are_hidden_and_the_rest_is_shown(self):
        text = "\n".join(contents.lines(message(data=INVITE)))
        for secret in ("0123456789abcdef", "c2VjcmV0", "hush"):
            self.assertNotIn(secret, text)
        for shown in ('username="shop"', 'nonce="n1"', 'response="(hidden)"', "qop=auth", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 (hidden)"):
            self.assertIn(shown, text)

    def test_other_spellings_of_credentials_are_hidden_too(self):
        for line in (
            b"PROXY-AUTHORIZATION : digest response = deadbeef",
            b'Authorization: Digest a="b",\r\n response="deadbeef"',
            b"authorization:Digest response='deadbeef',x=y",
            b'Authorization: Digest response="dead\\"deadbeef"',
            b'Authorization: Digest response="deadbeef',
            b"Authorization: Basic deadbeef",
            b"Authorization: Bearer deadbeef",
        ):
            text = b"OPTIONS sip:x SIP/2.0\r\n" + line + b"\r\nTo: <sip:x>\r\n\r\n"
            self.assertNotIn(b"deadbeef", contents.masked(text), line)
            self.assertIn(b"To: <sip:x>", contents.masked(text))

    def test_nothing_in_a_message_steers_a_terminal(self):
        [first, second] = contents.lines(message(data=b"OPTIONS \x1b]0;evil\x07 SIP/2.0\r\nSubject: \xe2\x80\xae\xff\n2\r\n"))
        self.assertEqual(first, "OPTIONS ?]0;evil? SIP/2.0")
        self.assertTrue(all(char.isprintable() for char in second))

    @explored(200)
    @given(st.binary(max_size=200))
    def test_any_message_is_shown(self, data):
        for line in contents.lines(message(data=data)):
            self.assertTrue(all(char.isprintable() or char == "\t" for char in line))


class StepTests(SynchronousTestCase):
    def test_messages_make_the_ladder_that_the_engine_keeps(self):
        ringing = b"SIP/2.0 180 Ringing\r\nCSeq: 7 INVITE\r\n\r\n"
        steps = [contents.step(message(data=INVITE), MS), contents.step(message(data=ringing, at_ms=MS + 9, side="target-1", sent=True), MS)]
        self.assertEqual(
            steps, [LadderStep(0, "caller", False, "INVITE", True), LadderStep(9, "target-1", True, "180 Ringing (INVITE)", False)]
        )
