"""SIP URIs and name-addr (RFC 3261 sections 19.1, 20.10)."""

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MalformedMessage
from calltrack.sip.uri import (
    escape_user,
    host_port,
    is_literal,
    parse_host_port,
    parse_name_addr,
    parse_uri,
    percent_decode,
)


class URITests(SynchronousTestCase):
    def test_parts_of_a_sip_uri(self):
        uri = parse_uri(b"SIP:alice:secret@Atlanta.COM:5061;Transport=TCP;lr?subject=x")
        self.assertEqual(uri[:4], (b"sip", b"alice", b"atlanta.com", 5061))
        self.assertEqual(uri.params, {b"transport": b"TCP", b"lr": None})
        self.assertEqual(uri.transport, b"tcp")

    def test_user_is_percent_decoded(self):
        """Section 19.1.2."""
        self.assertEqual(parse_uri(b"sip:%2b1%3B2@h").user, b"+1;2")
        self.assertEqual(parse_uri(b"sip:50%@h").user, b"50%")

    def test_user_may_hold_semicolons_and_question_marks(self):
        """Section 25.1: user-unreserved."""
        self.assertEqual(parse_uri(b"sip:+1;npdi?x=1@h").user, b"+1;npdi?x=1")

    def test_ipv6_reference(self):
        self.assertEqual(parse_uri(b"sip:[2001:db8::1]:5070")[2:4], (b"2001:db8::1", 5070))

    def test_tel_uri_is_its_number(self):
        """RFC 3966."""
        self.assertEqual(parse_uri(b"tel:+1-212;ext=5")[:3], (b"tel", b"+1-212", b""))

    def test_unusable_uris_are_malformed(self):
        for text in (
            b"", b"sip", b"sip:", b"sip:a@", b"mailto:a@b", b"sip:a@b c", b"sip:a@b:0", b"sip:a@b:65536", b"sip:a@b:-31",
            b"sip:a@b:", b"sip:a@b:5_0", b"sip:a@[::1", b"sip:a@[1.2.3.4]", b"sip:a@[::1]x", b"sip:a@b>c", b'sip:"a@b',
            b"sip:a@b\x0b", b"sip:a@b\r\nc", b"sip:a@b\0", b"tel:", b"sip:a@b;=x", "sip:a@bé".encode(),
        ):  # fmt: skip
            self.assertRaises(MalformedMessage, parse_uri, text)

    @given(strategies.binary(max_size=60))
    def test_any_bytes_are_a_uri_or_malformed(self, text):
        for scheme in (b"", b"sip:", b"sips:a@", b"tel:"):
            try:
                uri = parse_uri(scheme + text)
            except MalformedMessage:
                continue
            uri.host.decode("ascii")
            self.assertTrue(uri.port is None or 0 < uri.port < 65536)

    @given(strategies.binary(max_size=40))
    def test_escaped_user_comes_back(self, user):
        escaped = escape_user(user)
        self.assertEqual(parse_uri(b"sip:" + escaped + b"@h").user, user)
        self.assertEqual(percent_decode(escaped), user)


class HostTests(SynchronousTestCase):
    def test_host_and_port(self):
        self.assertEqual(parse_host_port(b"A.example:5060"), (b"a.example", 5060))
        self.assertEqual(parse_host_port(b"[::1]"), (b"::1", None))

    def test_address_literals(self):
        for host in ("192.0.2.1", "::1", "2001:db8::1"):
            self.assertTrue(is_literal(host))
        for host in ("", "localhost", "192.0.2", "[::1]", "192.0.2.1:5060", "1.2.3.4\n", "٣.1.1.1"):
            self.assertFalse(is_literal(host))

    def test_ipv6_is_shown_in_brackets(self):
        self.assertEqual(host_port("::1", 5060), "[::1]:5060")
        self.assertEqual(host_port("192.0.2.1"), "192.0.2.1")


class NameAddrTests(SynchronousTestCase):
    def test_quoted_display_name_may_hold_anything(self):
        """EDGE-CASES 18."""
        value = parse_name_addr(b'"<sip:x@y>;tag=\\"1, \\\\" <sip:a@b;p=1>;tag=2')
        self.assertEqual((value.display, value.uri, value.tag), (b'<sip:x@y>;tag="1, \\', b"sip:a@b;p=1", b"2"))

    def test_parameters_without_brackets_belong_to_the_header(self):
        """Section 20.10."""
        value = parse_name_addr(b"sip:a@b;tag=1")
        self.assertEqual((value.uri, value.tag), (b"sip:a@b", b"1"))

    def test_display_name_of_tokens(self):
        self.assertEqual(parse_name_addr(b"Ann Bell <sip:a@b>").display, b"Ann Bell")

    def test_unreadable_values_are_malformed(self):
        for value in (b"", b"<>", b"<>;tag=1", b"<sip:a\tb>", b"<sip:a@b", b'"open <sip:a@b>', b'"name" sip:a@b', b"<sip:a@b> tag=1", b"a b", b"< sip:a@b>"):
            self.assertRaises(MalformedMessage, parse_name_addr, value)

    @given(strategies.text("<>;=tag@:\" \t%x", max_size=20), strategies.sampled_from(["", "<sip:a@b>", "<sip:a@b>;tag="]))
    def test_one_more_parameter_changes_nothing_else(self, text, start):
        """The short way of plain values and the long way of others must agree."""

        def read(value):
            try:
                return parse_name_addr(value)
            except MalformedMessage:
                return None

        value = (start + text).encode()
        plain, longer = read(value), read(value + b";zz")
        if plain is not None and longer is not None:
            self.assertEqual(longer._replace(params={k: v for k, v in longer.params.items() if k != b"zz"}), plain)

    @given(strategies.binary(max_size=80))
    def test_any_bytes_are_a_name_addr_or_malformed(self, value):
        try:
            self.assertTrue(parse_name_addr(value).uri)
        except MalformedMessage:
            pass
