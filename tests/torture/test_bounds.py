"""What keeps the cost of a datagram down (ROBUSTNESS 4), and what the torture messages needed."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MalformedMessage, UnusableSDP
from calltrack.media.sdp import MAX_LINES, Document
from calltrack.sip.framing import Framer
from calltrack.sip.grammar import MAX_PARAMS, parse_params, split_list
from calltrack.sip.message import Request, VersionNotSupported, parse, respond

OPTIONS = (
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\n"
    b"CSeq: 1 OPTIONS\r\n"
)


class BoundTests(SynchronousTestCase):
    def test_more_parameters_than_anybody_means_are_malformed(self):
        for one in (b";a=b", b';a="b"'):
            self.assertEqual(parse_params(one * MAX_PARAMS), {b"a": b"b"})
            self.assertRaises(MalformedMessage, parse_params, one * (MAX_PARAMS + 1))

    def test_more_lines_than_any_session_has_are_unusable(self):
        head = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n"
        self.assertTrue(Document(head + b"a=x\r\n" * (MAX_LINES - 4)).usable)
        self.assertRaises(UnusableSDP, Document, head + b"a=x\r\n" * MAX_LINES)

    @given(st.lists(st.sampled_from((b",", b" ", b"a", b";", b"\t", b"b=c")), max_size=12))
    def test_plain_lists_are_split_as_lists_with_quotes_are(self, pieces):
        value = b"".join(pieces) + b","
        self.assertEqual([*split_list(value), b'"q"'], split_list(value + b'"q"'))


class ReadingTests(SynchronousTestCase):
    def test_head_that_ends_without_an_empty_line_can_be_answered(self):
        """RFC 4475 section 3.1.2.15, as that RFC's archive has it."""
        message = parse(OPTIONS)
        self.assertIsInstance(message, Request)
        self.assertRaises(MalformedMessage, message.validate)
        self.assertIn(b"Call-ID: x\r\n", respond(message, 400))

    def test_spaces_after_the_version_can_be_answered(self):
        """RFC 4475 section 3.1.2.10."""
        message = parse(OPTIONS.replace(b"SIP/2.0\r\n", b"SIP/2.0  \r\n", 1) + b"\r\n")
        self.assertEqual(message.version, b"SIP/2.0")
        self.assertRaises(MalformedMessage, message.validate)

    def test_request_of_another_version_is_told_so(self):
        """RFC 4475 section 3.1.2.16."""
        message = parse(OPTIONS.replace(b"SIP/2.0", b"SIP/7.0") + b"\r\n")
        self.assertEqual(message.via.branch, b"z9hG4bKx")
        self.assertRaises(VersionNotSupported, message.validate)

    def test_every_value_of_a_via_list_is_a_via(self):
        """RFC 4475 section 3.1.2.1."""
        message = parse(OPTIONS.replace(b";branch", b";,;branch", 1) + b"\r\n")
        self.assertRaises(MalformedMessage, message.validate)

    def test_sender_gets_its_quoted_nul_back(self):
        """RFC 4475 section 3.1.1.2: a quoted pair may hold NUL."""
        message = parse(OPTIONS.replace(b"To: ", b'To: "NUL:\\\0" ') + b"\r\n")
        self.assertIn(b'To: "NUL:\\\0" <sip:c@d>;tag=t\r\n', respond(message, 400, to_tag=b"t"))

    def test_stream_with_two_lengths_is_broken(self):
        """RFC 4475 section 3.3.9: nothing says where the next message begins."""
        framer = Framer()
        self.assertEqual(framer.feed(OPTIONS + b"Content-Length: 2\r\nl: 2\r\n\r\nab"), ([], False))
        self.assertTrue(framer.broken)

    def test_folded_length_counts(self):
        """RFC 3261 section 7.3.1."""
        data = OPTIONS + b"Content-Length:\r\n 2\r\n\r\nab"
        self.assertEqual(Framer().feed(data + data), ([data, data], False))
