"""RFC 3261 section 25, as far as everything else is read with it."""

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MalformedMessage
from calltrack.sip import grammar

# What Python takes for white space or digits and SIP does not (ROBUSTNESS 2.3, 2.4).
NOT_SPACE = (b"\x0b", b"\x0c", b"\x1c", b"\x85", "\u2028".encode())


class TokenTests(SynchronousTestCase):
    def test_token_characters_are_those_of_section_25_1(self):
        self.assertTrue(grammar.is_token(b"abcXYZ019-.!%*_+`'~"))
        for char in b'()<>@,;:\\"/[]?={} \t\x7f\x00\x80\xff':
            self.assertFalse(grammar.is_token(b"a" + bytes((char,))))

    def test_empty_text_is_no_token(self):
        self.assertFalse(grammar.is_token(b""))


class HeaderNameTests(SynchronousTestCase):
    def test_compact_forms_are_their_full_names(self):
        """RFC 3261 section 7.3.3 and the extensions that define more."""
        pairs = {
            b"i": b"call-id", b"m": b"contact", b"e": b"content-encoding", b"l": b"content-length", b"c": b"content-type",
            b"f": b"from", b"s": b"subject", b"k": b"supported", b"t": b"to", b"v": b"via", b"r": b"refer-to",
            b"b": b"referred-by", b"x": b"session-expires", b"o": b"event", b"u": b"allow-events",
        }  # fmt: skip
        for compact, full in pairs.items():
            self.assertEqual(grammar.header_key(compact), full)
            self.assertEqual(grammar.header_key(compact.upper()), full)

    def test_names_are_compared_without_case(self):
        for name in (b"Call-ID", b"call-id", b"CALL-ID", b"cAlL-iD"):
            self.assertEqual(grammar.header_key(name), b"call-id")

    def test_white_space_before_the_colon_is_no_part_of_the_name(self):
        """HCOLON, section 25.1."""
        self.assertEqual(grammar.header_key(b"Subject \t"), b"subject")

    def test_name_that_is_no_token_is_none(self):
        for name in (b"", b" From", b"Fr om", b"From\x0b", b"From\x85", b"X:Y"):
            self.assertEqual(grammar.header_key(name), b"")

    def test_unknown_name_is_spelled_as_usual(self):
        self.assertEqual(grammar.header_name(b"x-roistat-phone"), b"X-Roistat-Phone")
        self.assertEqual(grammar.header_name(b"cseq"), b"CSeq")
        self.assertEqual(grammar.header_name(b"www-authenticate"), b"WWW-Authenticate")


class NumberTests(SynchronousTestCase):
    def test_one_to_ten_ascii_digits_are_a_number(self):
        """ROBUSTNESS 2.4."""
        self.assertEqual(grammar.parse_uint(b"0", "x"), 0)
        self.assertEqual(grammar.parse_uint(b"0000000070", "x"), 70)
        self.assertEqual(grammar.parse_uint(b"4294967295", "x"), 4294967295)

    def test_what_int_would_take_besides_is_none(self):
        for text in (b"", b"+5", b"-1", b"1_0", b" 5", b"5 ", "٣".encode(), b"0x10", b"1.0", b"00000000001"):
            self.assertRaises(MalformedMessage, grammar.parse_uint, text, "x")

    def test_limit_is_enforced_and_named(self):
        error = self.assertRaises(MalformedMessage, grammar.parse_uint, b"256", "Max-Forwards", 255)
        self.assertEqual(error.detail, "Max-Forwards is over 255")


class ListTests(SynchronousTestCase):
    def test_commas_part_values_but_not_in_quotes_or_brackets(self):
        """Section 7.3.1."""
        self.assertEqual(
            grammar.split_list(b'"A, \\"B\\", C" <sip:a,b@c>;q=1 , <sip:d@e>,,sip:f@g'),
            [b'"A, \\"B\\", C" <sip:a,b@c>;q=1', b"<sip:d@e>", b"sip:f@g"],
        )

    def test_single_value_is_itself(self):
        self.assertEqual(grammar.split_list(b"100rel"), [b"100rel"])

    def test_only_space_and_tab_are_stripped(self):
        for char in NOT_SPACE:
            self.assertEqual(grammar.split_list(b"a ,\t" + char + b"b"), [b"a", char + b"b"])

    @given(strategies.binary(max_size=80))
    def test_any_bytes_are_parted_without_loss(self, value):
        parts = grammar.split_list(value)
        self.assertLessEqual(sum(map(len, parts)), len(value))


class ParamTests(SynchronousTestCase):
    def test_values_flags_and_quoted_values(self):
        self.assertEqual(
            grammar.parse_params(b';branch=z9hG4bK1 ; rport;x="a;b,\\"c";TAG=T'),
            {b"branch": b"z9hG4bK1", b"rport": None, b"x": b'a;b,"c', b"tag": b"T"},
        )

    def test_first_of_a_repeated_name_counts(self):
        self.assertEqual(grammar.parse_params(b";tag=1;tag=2")[b"tag"], b"1")

    def test_name_that_is_no_token_is_malformed(self):
        for text in (b";=x", b";a b=c", b";\x0btag=1", b';@;x="y"', b';x="y'):
            self.assertRaises(MalformedMessage, grammar.parse_params, text)

    @given(strategies.binary(max_size=80))
    def test_any_bytes_parse_or_are_malformed(self, text):
        try:
            params = grammar.parse_params(text)
        except MalformedMessage:
            return
        self.assertTrue(all(grammar.is_token(name) for name in params))


class QuotingTests(SynchronousTestCase):
    @given(strategies.binary(max_size=60))
    def test_quoted_text_comes_back_but_for_control_characters(self, text):
        quoted = grammar.quote(text)
        self.assertNotIn(b"\r", quoted)
        self.assertNotIn(b"\n", quoted)
        self.assertNotIn(b"\0", quoted)
        self.assertEqual(grammar.end_of_quoted(quoted, 0), len(quoted))
        self.assertEqual(grammar.unquote(quoted), bytes(c for c in text if c >= 0x20 and c != 0x7F))

    def test_text_without_quotes_is_itself(self):
        for text in (b"", b'"', b"a", b'"a', b'a"'):
            self.assertEqual(grammar.unquote(text), text)
