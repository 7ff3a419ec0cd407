"""Messages: bytes to values and back (RFC 3261 section 7; EDGE-CASES 18, 43)."""

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MalformedMessage, SIPError
from calltrack.sip.message import (
    MAX_HEAD,
    MAX_HEADERS,
    Request,
    Response,
    UnsafeHeader,
    VersionNotSupported,
    parse,
    parse_via,
    serialise,
)

INVITE = (
    b"INVITE sip:bob@biloxi.example SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds\r\n"
    b"Max-Forwards: 70\r\n"
    b"To: Bob <sip:bob@biloxi.example>\r\n"
    b"From: Alice <sip:alice@atlanta.example>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:alice@pc33.atlanta.example>\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: 4\r\n"
    b"\r\n"
    b"v=0\n"
)


def with_lines(*lines, body=b""):
    head = INVITE.split(b"\r\n\r\n")[0].replace(b"\r\nContent-Length: 4", b"")
    return b"\r\n".join((head, *lines)) + b"\r\n\r\n" + body


class ParsingTests(SynchronousTestCase):
    def test_request(self):
        message = parse(INVITE)
        self.assertIsInstance(message, Request)
        self.assertEqual((message.method, message.uri), (b"INVITE", b"sip:bob@biloxi.example"))
        self.assertEqual((message.via.host, message.via.branch), (b"pc33.atlanta.example", b"z9hG4bK776asdhds"))
        self.assertEqual((message.from_.tag, message.to.tag), (b"1928301774", b""))
        self.assertEqual((message.call_id, message.cseq, message.max_forwards), (b"a84b4c76e66710", (314159, b"INVITE"), 70))
        self.assertEqual((message.contact, message.sdp), (b"sip:alice@pc33.atlanta.example", b"v=0\n"))
        message.validate()

    def test_response(self):
        message = parse(INVITE.replace(b"INVITE sip:bob@biloxi.example SIP/2.0", b"SIP/2.0 180 Ring ring", 1))
        self.assertIsInstance(message, Response)
        self.assertEqual((message.status, message.reason), (180, b"Ring ring"))
        message.validate()
        self.assertEqual(message.summary, "180 Ring ring (INVITE)")

    def test_response_without_reason_phrase(self):
        """Section 7.2: the reason phrase may be empty."""
        self.assertEqual(parse(b"SIP/2.0 200 \r\n\r\n").reason, b"")

    def test_header_names_any_case_and_compact(self):
        """EDGE-CASES 18."""
        message = parse(
            b"OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nF: <sip:a@b>;tag=1\r\nT:<sip:a@b>\r\n"
            b"i:x\r\ncSEQ : 1   OPTIONS\r\nm: <sip:c@d>\r\nl:  0\r\n\r\n"
        )
        message.validate()
        self.assertEqual((message.call_id, message.cseq, message.contact), (b"x", (1, b"OPTIONS"), b"sip:c@d"))

    def test_folded_lines_are_one(self):
        """Section 7.3.1."""
        message = parse(with_lines(b"Subject: a", b"   b", b"\tc", b"X-Y:", b" z"))
        self.assertEqual(message.get(b"subject"), b"a b c")
        self.assertEqual(message.get(b"x-y"), b"z")
        message.validate()

    def test_repeated_headers_keep_their_order_and_comma_lists_are_the_same(self):
        """Section 7.3.1."""
        message = parse(with_lines(b"Route: <sip:a;lr>, <sip:b;lr>", b"Route: <sip:c;lr>"))
        self.assertEqual(message.items(b"route"), [b"<sip:a;lr>", b"<sip:b;lr>", b"<sip:c;lr>"])
        self.assertEqual(message.all(b"route"), [b"<sip:a;lr>, <sip:b;lr>", b"<sip:c;lr>"])

    def test_absent_header(self):
        message = parse(INVITE)
        self.assertIsNone(message.get(b"route"))
        self.assertEqual((message.all(b"route"), message.items(b"route")), ([], []))

    def test_body_is_cut_to_content_length(self):
        """Section 18.3: what follows in a datagram is thrown away."""
        self.assertEqual(parse(INVITE + b"rubbish").body, b"v=0\n")

    def test_body_without_content_length_goes_to_the_end(self):
        """Section 18.3, over UDP."""
        self.assertEqual(parse(with_lines(body=b"v=0\nmore")).body, b"v=0\nmore")

    def test_short_body_is_a_defect(self):
        """Section 18.3."""
        message = parse(INVITE[:-1])
        self.assertRaises(MalformedMessage, message.validate)

    def test_unknown_method_and_scheme_are_read(self):
        """EDGE-CASES 18, RFC 4475 section 3.1.1.7."""
        message = parse(b"NEWMETHOD weird:thing SIP/2.0\r\n\r\n")
        self.assertEqual((message.method, message.uri), (b"NEWMETHOD", b"weird:thing"))

    def test_lines_end_at_crlf_only(self):
        """ROBUSTNESS 2.3: CVE-2020-28361."""
        for end in (b"\n", b"\r", b"\x0b", b"\x0c", b"\x1c", b"\x85", "\u2028".encode()):
            message = parse(with_lines(b"Subject: a" + end + b"Route: <sip:evil>"))
            self.assertEqual(message.all(b"route"), [])

    def test_stray_cr_lf_or_nul_is_a_defect(self):
        for char in (b"\n", b"\r", b"\0"):
            message = parse(with_lines(b"Subject: a" + char + b"b"))
            self.assertRaises(MalformedMessage, message.validate)

    def test_bytes_without_a_start_line_are_no_message(self):
        for data in (
            b"", b"\r\n\r\n", b"hello", b"INVITE sip:a SIP/2.0\r\n", b"GET / HTTP/1.1\r\n\r\n", b"SIP/2.0 20 OK\r\n\r\n",
            b"SIP/2.0 099 No\r\n\r\n", b"SIP/2.0 700 No\r\n\r\n", b"SIP/2.0 +20 OK\r\n\r\n", b"IN(VITE sip:a SIP/2.0\r\n\r\n",
            b"\xff\xfe\0\0\r\n\r\n", b"INVITE\r\n\r\n",
        ):  # fmt: skip
            self.assertRaises(MalformedMessage, parse, data)

    def test_head_over_its_limit_is_a_defect_and_can_be_answered(self):
        """ROBUSTNESS 2.13."""
        message = parse(with_lines(b"X: " + b"x" * MAX_HEAD))
        self.assertEqual(message.via.branch, b"z9hG4bK776asdhds")
        self.assertRaises(MalformedMessage, message.validate)

    def test_too_many_header_lines_are_a_defect(self):
        message = parse(with_lines(*[b"A: b"] * MAX_HEADERS))
        self.assertRaises(MalformedMessage, message.validate)

    def test_broken_request_can_still_be_answered(self):
        """RFC 4475 section 3.1.2: what has a Via and a start line gets a 400."""
        message = parse(with_lines(b"this is no header", b"Content-Length: many"))
        self.assertEqual(message.via.branch, b"z9hG4bK776asdhds")
        self.assertRaises(MalformedMessage, message.validate)

    @given(strategies.binary(max_size=300))
    def test_any_bytes_are_a_message_or_malformed(self, data):
        self.survives(data)

    @given(strategies.data())
    def test_any_change_of_a_good_message_is_a_message_or_malformed(self, data):
        """ROBUSTNESS promise 4."""
        start = data.draw(strategies.integers(0, len(INVITE)))
        end = data.draw(strategies.integers(start, min(len(INVITE), start + 20)))
        self.survives(INVITE[:start] + data.draw(strategies.binary(max_size=20)) + INVITE[end:])

    def survives(self, data):
        """Nothing but MalformedMessage comes out of parsing, and nothing but SIPError of asking."""
        try:
            message = parse(data)
        except MalformedMessage:
            return
        for ask in (
            message.validate,
            lambda: message.via,
            lambda: message.contact,
            lambda: message.sdp,
            lambda: message.summary,
            lambda: message.items(b"route"),
            lambda: getattr(message, "max_forwards", 0),
        ):
            try:
                ask()
            except SIPError:
                pass


class ValidationTests(SynchronousTestCase):
    def refused(self, data):
        return self.assertRaises(SIPError, parse(data).validate)

    def test_mandatory_headers(self):
        """Section 8.1.1."""
        for name in (b"Via", b"To", b"From", b"Call-ID", b"CSeq"):
            lines = [line for line in INVITE.split(b"\r\n") if not line.startswith(name + b":")]
            self.assertIsInstance(self.refused(b"\r\n".join(lines)), MalformedMessage)

    def test_headers_that_stand_once_are_refused_twice(self):
        """RFC 4475 section 3.3.8."""
        for line in (b"To: <sip:x@y>", b"f: <sip:x@y>;tag=1", b"i: other", b"CSeq: 1 INVITE"):
            self.refused(with_lines(line))

    def test_cseq_method_must_be_the_methods(self):
        """RFC 4475 section 3.1.2.17."""
        self.refused(INVITE.replace(b"314159 INVITE", b"314159 BYE"))

    def test_cseq_over_31_bits(self):
        """RFC 4475 section 3.1.2.4; section 8.1.1.5."""
        self.refused(INVITE.replace(b"314159", b"2147483648"))
        parse(INVITE.replace(b"314159", b"2147483647")).validate()

    def test_unknown_version_is_505(self):
        """RFC 4475 section 3.1.2.16."""
        error = self.refused(INVITE.replace(b"example SIP/2.0\r\n", b"example SIP/7.0\r\n", 1))
        self.assertIsInstance(error, VersionNotSupported)
        self.assertEqual(error.status, 505)

    def test_request_line_with_too_many_words(self):
        """RFC 4475 sections 3.1.2.8, 3.1.2.9."""
        self.refused(INVITE.replace(b"INVITE sip:bob", b"INVITE  sip:bob", 1))
        self.refused(INVITE.replace(b"biloxi.example SIP", b"biloxi.example; x SIP", 1))

    def test_max_forwards_over_255(self):
        self.assertRaises(MalformedMessage, lambda: parse(INVITE.replace(b": 70", b": 256")).max_forwards)


class ViaTests(SynchronousTestCase):
    def test_white_space_around_slashes_and_colon(self):
        """RFC 4475 section 3.1.1.1."""
        via = parse_via(b"SIP  / 2.0\t/ udp  host.example : 5060 ;branch = z9hG4bK1; rport")
        self.assertEqual((via.transport, via.host, via.port, via.branch), (b"UDP", b"host.example", 5060, b"z9hG4bK1"))

    def test_ipv6_sent_by(self):
        """RFC 5118 section 4.5."""
        self.assertEqual(parse_via(b"SIP/2.0/TCP [2001:db8::9]:6050;branch=x")[1:3], (b"2001:db8::9", 6050))

    def test_hostile_sent_by_is_malformed(self):
        """ROBUSTNESS 2.2: `Via: SIP/2.0/UDP host:-31` hung Sippy for good."""
        for value in (
            b"SIP/2.0/UDP host:-31", b"SIP/2.0/UDP host:0", b"SIP/2.0/UDP host:65536", b"SIP/2.0/UDP host:", b"SIP/2.0/UDP",
            b"SIP/2.0/ host", b"SIP/3.0/UDP host", b"SIP/2.0/UDP h\0st", b"", b"SIP", b"SIP/2.0/UDP [::1;branch=x",
        ):  # fmt: skip
            self.assertRaises(MalformedMessage, parse_via, value)

    @given(strategies.binary(max_size=60))
    def test_any_bytes_are_a_via_or_malformed(self, value):
        for start in (b"", b"SIP/2.0/UDP ", b"SIP / 2.0 / UDP "):
            try:
                via = parse_via(start + value)
            except MalformedMessage:
                continue
            self.assertTrue(via.port is None or 0 < via.port < 65536)


class SerialisingTests(SynchronousTestCase):
    def test_content_length_is_added(self):
        self.assertEqual(serialise(b"SIP/2.0 200 OK", [b"A: b"], b"xy"), b"SIP/2.0 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nxy")

    def test_cr_lf_or_nul_anywhere_is_refused(self):
        """EDGE-CASES 43, ROBUSTNESS 2.5."""
        for bad in (b"\r", b"\n", b"\0", b"\r\n", b"\r\nEvil: 1", b"\n\r"):
            self.assertRaises(UnsafeHeader, serialise, b"SIP/2.0 200 OK", [b"A: b" + bad])
            self.assertRaises(UnsafeHeader, serialise, b"SIP/2.0 200 O" + bad + b"K", [b"A: b"])

    @given(strategies.lists(strategies.binary(max_size=20), min_size=1, max_size=5), strategies.binary(max_size=20))
    def test_what_is_serialised_reads_back_line_by_line(self, values, body):
        lines = [b"X-Value: " + value for value in values]
        unsafe = any(char in value for value in values for char in (b"\r", b"\n", b"\0"))
        if unsafe:
            self.assertRaises(UnsafeHeader, serialise, b"OPTIONS sip:a SIP/2.0", lines, body)
            return
        message = parse(serialise(b"OPTIONS sip:a SIP/2.0", lines, body))
        self.assertEqual(message.all(b"x-value"), [value.strip(b" \t") for value in values])
        self.assertEqual(message.body, body)

    @given(strategies.binary(max_size=20), strategies.sampled_from([b"\r", b"\n", b"\0"]), strategies.binary(max_size=20))
    def test_value_with_a_line_end_never_leaves(self, before, char, after):
        self.assertRaises(UnsafeHeader, serialise, b"OPTIONS sip:a SIP/2.0", [b"X: " + before + char + after])
