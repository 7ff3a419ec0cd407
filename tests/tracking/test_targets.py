from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import InvalidField
from calltrack.tracking.model import Target
from calltrack.tracking.targets import parse_sip_address, parse_target


class ParseTargetTests(SynchronousTestCase):
    def test_sip_addresses_become_their_canonical_uri(self):
        for text, uri in {
            "office@domain.com": "sip:office@domain.com",
            "SIP:office@Domain.COM": "sip:office@domain.com",
            "sip:office@192.0.2.7:5062;transport=tcp": "sip:office@192.0.2.7:5062;transport=tcp",
            "office@domain.com:5080;TRANSPORT=TCP": "sip:office@domain.com:5080;transport=tcp",
            "office@[2001:DB8:0::1]": "sip:office@[2001:db8::1]",
            "sip:office@[2001:db8::1]:5062;transport=udp": "sip:office@[2001:db8::1]:5062;transport=udp",
            "sip:office@pbx": "sip:office@pbx",
            "sip:office@pbx.example.": "sip:office@pbx.example.",
            "a-b_c.!~*'()&=+$,/%20@domain.com": "sip:a-b_c.!~*'()&=+$,/%20@domain.com",
            "sip:+74951234567@domain.com": "sip:+74951234567@domain.com",
            "sip:a;b?c@domain.com": "sip:a;b?c@domain.com",
            "  office@domain.com\t": "sip:office@domain.com",
        }.items():
            self.assertEqual(parse_target(text), Target(kind="sip", address=uri), text)

    def test_phone_numbers_become_plus_and_digits(self):
        for text in ("phone:+74951234567", "phone:+7 (495) 123-45-67", "PHONE:+7.495.123.45.67"):
            self.assertEqual(parse_target(text), Target(kind="phone", address="+74951234567"))

    def test_account_is_the_projects_own(self):
        self.assertEqual(parse_target("account"), Target(kind="account", address=""))

    def test_settings_go_into_the_target(self):
        self.assertEqual(parse_target("account", ring_time=5.0).ring_time, 5.0)

    def refused(self, text, *words):
        error = self.assertRaises(InvalidField, parse_target, text, "forward")
        self.assertEqual(error.field, "forward")
        self.assertTrue(error.message.isprintable())
        for word in words:
            self.assertIn(word, error.message, text)

    def test_everything_else_is_refused_in_words(self):
        for text, word in {
            "": "names no host",
            "office": "names no user",
            "sip:": "names no host",
            "sip:domain.com": "names no user",
            "@domain.com": "nothing before the @",
            "office@": "names no host",
            "office:secret@domain.com": "password",
            "mailto:office@domain.com": "scheme",
            "sips:office@domain.com": "sips",
            "office@domain.com?Subject=x": "header fields",
            "office@domain.com;lr": "parameter",
            "office@domain.com;transport=sctp": "udp, tcp, tls",
            "office@domain.com;transport=tcp;transport=tcp": "only one",
            "office@dom ain.com": "space",
            "office@domain..com": "no host name",
            "office@-domain.com": "no host name",
            "office@" + "a" * 64 + ".com": "no host name",
            "office@" + "a." * 127 + "com": "no host name",
            "office@under_score.com": "no host name",
            "office@bücher.example": "xn--",
            "office@300.1.2.3": "no IPv4 address",
            "office@1.2.3": "no IPv4 address",
            "office@[::1": "does not end well",
            "office@[::1]x": "does not end well",
            "office@[fe80::1%eth0]": "zone",
            "office@[1.2.3.4]": "no IPv6 address",
            "office@::1": "brackets",
            "öffice@domain.com": "%HH",
            "a@b@domain.com": "%HH",
            "<office>@domain.com": "%HH",
            "of%zzice@domain.com": "%HH",
            "of%0d%0aice@domain.com": "control character",
            "phone:": "E.164",
            "phone:84951234567": "write +",
            "phone:+7495CALLNOW": "E.164",
            "phone:+1234567890123456": "E.164",
            "tel:+74951234567": "write phone:",
        }.items():
            self.refused(text, word)

    def test_ports_are_1_to_65535_in_plain_digits(self):
        for port in ("0", "65536", "-31", "+5", "1_0", "٣", "", "99999999999"):
            self.refused(f"office@domain.com:{port}", "1 to 65535")

    def test_line_breaks_and_controls_are_refused_and_not_shown(self):
        for text in (
            "office@domain.com\r\nX: y",
            "of\x00fice@domain.com",
            "office@domain.com\u2028",
            "office@domain.com\x85",
        ):
            self.refused(text, "control character")

    def test_refused_text_is_shown_shortened(self):
        self.assertLess(len(str(self.assertRaises(InvalidField, parse_target, "x" * 10_000))), 300)

    @given(st.text(max_size=60))
    def test_any_text_is_read_or_refused(self, text):
        try:
            target = parse_target(text)
        except InvalidField:
            return
        again = "account" if target.kind == "account" else target.label
        self.assertEqual(parse_target(again), target)


class ParseSIPAddressTests(SynchronousTestCase):
    def test_parts(self):
        address = parse_sip_address("sip:a@[::1]:5070;transport=tcp", "outbound")
        self.assertEqual((address.user, address.host, address.port, address.transport), ("a", "::1", 5070, "tcp"))

    def test_user_may_be_missing(self):
        self.assertEqual(str(parse_sip_address("198.51.100.10", "outbound")), "sip:198.51.100.10")
