"""Who may call, and what number was dialled (PRODUCT sections 2.1, 2.2)."""

from ipaddress import ip_network

from hypothesis import given, strategies
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from calltrack.calls.admission import Sources, admit
from calltrack.errors import MalformedMessage
from calltrack.sip.message import parse
from calltrack.sip.scanners import SCANNERS, is_scanner
from calltrack.testing.engine import TRUNK


def invite(*lines, uri=b"sip:11231234567@192.0.2.1", from_=b"<sip:+14155550100@provider.example>;tag=a"):
    head = (
        b"INVITE %b SIP/2.0" % uri,
        b"Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1",
        b"From: " + from_,
        b"To: <sip:+1 (123) 123-4567@192.0.2.1>".replace(b" (123) 123-", b"123123"),
        b"Call-ID: c",
        b"CSeq: 1 INVITE",
    )
    return parse(b"\r\n".join((*head, *lines)) + b"\r\n\r\n")


class SourceTests(SynchronousTestCase):
    def setUp(self):
        networks = {"one": "198.51.100.0/24", "two": "198.51.0.0/16", "six": "2001:db8::/32"}
        self.sources = Sources(
            replace(TRUNK, name=name, sources=(ip_network(network),)) for name, network in networks.items()
        )

    def trunk(self, host):
        trunk = self.sources.trunk_of(host)
        return trunk and trunk.name

    def test_trunk_is_the_first_that_lists_the_source(self):
        self.assertEqual(self.trunk("198.51.100.7"), "one")
        self.assertEqual(self.trunk("198.51.101.7"), "two")

    def test_source_outside_every_list_is_a_stranger(self):
        self.assertIsNone(self.trunk("203.0.113.66"))

    def test_ipv6_source_is_known_by_its_network(self):
        self.assertEqual(self.trunk("2001:db8::1"), "six")
        self.assertIsNone(self.trunk("2001:db9::1"))

    def test_ipv4_source_that_came_through_an_ipv6_socket_is_the_same(self):
        self.assertEqual(self.trunk("::ffff:198.51.100.7"), "one")

    def test_text_that_is_no_address_is_a_stranger(self):
        for host in ("", "localhost", "198.51.100.7.", "198.51.100"):
            self.assertIsNone(self.trunk(host))


class DialledTests(SynchronousTestCase):
    def dialled(self, *lines, number_from="request-uri", country="US", **options):
        return admit(invite(*lines, **options), replace(TRUNK, number_from=number_from, country=country)).dialled

    def test_request_uri_is_the_default_place(self):
        self.assertEqual(self.dialled(), "11231234567")

    def test_to_header_when_the_trunk_puts_it_there(self):
        self.assertEqual(self.dialled(uri=b"sip:trunk@192.0.2.1", number_from="to"), "11231234567")

    def test_p_called_party_id_when_the_trunk_puts_it_there(self):
        """RFC 7315 section 4.2."""
        line = b"P-Called-Party-ID: <sip:+11231234567@192.0.2.1>"
        self.assertEqual(self.dialled(line, uri=b"sip:x@192.0.2.1", number_from="p-called-party-id"), "11231234567")

    def test_first_diversion_when_the_trunk_puts_it_there(self):
        """RFC 5806 section 6."""
        line = b"Diversion: <sip:+11231234567@a>;reason=unconditional,<sip:+19999999999@b>"
        self.assertEqual(self.dialled(line, uri=b"sip:x@192.0.2.1", number_from="diversion"), "11231234567")

    def test_missing_header_falls_back_to_the_request_uri(self):
        self.assertEqual(self.dialled(number_from="diversion"), "11231234567")

    def test_tel_uri_names_a_number(self):
        """RFC 3966."""
        self.assertEqual(self.dialled(uri=b"tel:+1-123-123-4567"), "11231234567")

    def test_escaped_user_is_decoded(self):
        """RFC 3261 section 19.1.4."""
        self.assertEqual(self.dialled(uri=b"sip:%2B11231234567;phone-context=x@192.0.2.1"), "11231234567")

    def test_national_number_becomes_e164_by_the_trunks_country(self):
        self.assertEqual(self.dialled(uri=b"sip:02079460000@192.0.2.1", country="GB"), "442079460000")

    def test_user_that_is_no_number_dials_nothing(self):
        for user in (b"office", b"123abc", b"%D9%A3%D9%A3%D9%A3", b"+5%0d%0a", b""):
            self.assertEqual(self.dialled(uri=b"sip:%b@192.0.2.1" % user), "")

    def test_place_that_cannot_be_read_is_malformed(self):
        for value in (b'"open', b"<sip:1@", b"<mailto:a@b>", b"<>"):
            self.assertRaises(MalformedMessage, self.dialled, b"Diversion: " + value, number_from="diversion")


class CallerTests(SynchronousTestCase):
    def caller(self, *lines, **options):
        admission = admit(invite(*lines, **options), TRUNK)
        return admission.caller, admission.caller_name

    def test_caller_is_from_with_its_display_name(self):
        self.assertEqual(self.caller(from_=b'"Ann \\"A\\" Bell" <sip:+14155550100@p>;tag=a'), ("14155550100", b'Ann "A" Bell'))

    def test_what_the_trunk_asserts_counts_more(self):
        """RFC 3325 section 9.1."""
        self.assertEqual(self.caller(b"P-Asserted-Identity: <sip:+14155550199@p>, <tel:+1>"), ("14155550199", b""))

    def test_asked_privacy_withholds_the_caller(self):
        """RFC 3325 section 9.3, RFC 3323 section 4.2."""
        asserted = b"P-Asserted-Identity: <sip:+14155550199@p>"
        for privacy in (b"id", b"ID", b"user;id", b"header, id;critical"):
            self.assertEqual(self.caller(asserted, b"Privacy: " + privacy), ("", b""))
        self.assertEqual(self.caller(b"Privacy: none")[0], "14155550100")

    def test_anonymous_callers_have_no_number(self):
        """RFC 3323 section 4.1.1.3."""
        for from_ in (
            b'"Anonymous" <sip:anonymous@anonymous.invalid>;tag=a',
            b"<sip:Anonymous@p>;tag=a",
            b"<sip:unknown@p>;tag=a",
            b"<sip:p>;tag=a",
        ):
            self.assertEqual(self.caller(from_=from_)[0], "")

    def test_caller_that_is_no_number_is_kept_as_it_came_but_short(self):
        self.assertEqual(self.caller(from_=b"<sip:bob@p>;tag=a")[0], "bob")
        self.assertEqual(len(self.caller(from_=b"<sip:%b@p>;tag=a" % (b"b" * 5000))[0]), 64)

    def test_control_characters_of_a_caller_do_not_get_in(self):
        """ROBUSTNESS 2.16: they would steer a terminal, a log or a table."""
        self.assertEqual(self.caller(from_=b"<sip:bo%0d%0ab%1b%5b2J@p>;tag=a")[0], "bob[2J")

    def test_endless_display_name_is_cut_between_characters(self):
        """EDGE-CASES 43: a name of 10 kB must not make the forwarded INVITE unsendable."""
        name = self.caller(from_=b'"%b" <sip:1@p>;tag=a' % ("é".encode() * 5000))[1]
        self.assertEqual(name.decode(), "é" * 127)

    def test_unreadable_assertion_withholds_the_caller(self):
        self.assertEqual(self.caller(b"P-Asserted-Identity: <mailto:a>"), ("", b""))

    @given(strategies.binary(max_size=60))
    def test_any_user_at_all_raises_only_what_is_answered(self, user):
        clean = user.translate(None, b"\r\n\0<>@ \t\"")
        try:
            self.caller(uri=b"sip:%b@192.0.2.1" % clean, from_=b"<sip:%b@p>;tag=a" % clean)
        except MalformedMessage:
            pass


class ScannerTests(SynchronousTestCase):
    def test_scanners_are_known_by_the_name_they_give(self):
        """EDGE-CASES 44."""
        for product in SCANNERS:
            self.assertTrue(is_scanner(invite(b"User-Agent: X " + product.upper() + b"/1.0")))
        self.assertFalse(is_scanner(invite(b"User-Agent: Asterisk PBX 20")))
        self.assertFalse(is_scanner(invite()))
