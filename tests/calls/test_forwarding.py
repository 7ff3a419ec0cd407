"""What a forwarded INVITE says (PRODUCT sections 2.5, 4, 5; EDGE-CASES 43)."""

from hypothesis import given, strategies
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from calltrack.calls.admission import Admission
from calltrack.calls.forwarding import Destinations, NoDestination, caller_id, forwarded, with_user, written
from calltrack.sip.message import parse, serialise
from calltrack.testing.engine import TRUNK, sip_target
from calltrack.tracking.model import Addressing, Attribution, Route, Target

SENT_BY = b"192.0.2.1:5060"


class ForwardingTestCase(SynchronousTestCase):
    trunks = ()

    def message(self, target=None, caller="14155550100", name=b"", trunk=None, **route):
        """The forwarded INVITE, as its receiver reads it."""
        target = target or sip_target("203.0.113.20")
        route = Route(**{"dialled": "11231234567", "project": 1, "targets": (target,), **route})
        rounds = self.successResultOf(Destinations(self.trunks).of(target, route))
        who = caller_id(Admission(TRUNK, "11231234567", caller, name), trunk)
        said = forwarded(b"call", target, rounds[0][0], route, who, 69)
        from_, to, lines = said.lines(SENT_BY)
        head = [
            b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
            b"From: %b;tag=x" % from_,
            b"To: " + to,
            b"Call-ID: c",
            b"CSeq: 1 INVITE",
            *lines,
        ]
        message = parse(serialise(b"INVITE %b SIP/2.0" % rounds[0][0].uri, head))
        message.validate()
        return message


class TrackingHeaderTests(ForwardingTestCase):
    def test_static_channel_carries_its_marker_twice(self):
        message = self.message(attribution=Attribution(marker="direct_search_1234567_buy glasses"))
        self.assertEqual(message.get(b"x-roistat-phone"), b"11231234567")
        self.assertEqual(message.get(b"x-roistat-marker"), b"direct_search_1234567_buy glasses")
        self.assertEqual(message.get(b"x-roistat"), b"direct_search_1234567_buy glasses")

    def test_visit_carries_its_number(self):
        message = self.message(attribution=Attribution(visit=48213, marker="google_cpc"))
        self.assertEqual(message.get(b"x-roistat"), b"48213")
        self.assertEqual(message.get(b"x-roistat-marker"), b"google_cpc")

    def test_unattributed_call_carries_the_phone_alone(self):
        message = self.message()
        self.assertEqual(message.get(b"x-roistat-phone"), b"11231234567")
        self.assertNotIn(b"x-roistat", message.names())
        self.assertNotIn(b"x-roistat-marker", message.names())

    def test_prefix_can_be_set(self):
        message = self.message(header_prefix="X-Shop", attribution=Attribution(marker="m"))
        self.assertEqual([message.get(key) for key in (b"x-shop-phone", b"x-shop-marker", b"x-shop")], [b"11231234567", b"m", b"m"])

    def test_hostile_markers_stay_in_their_header(self):
        """EDGE-CASES 43: CR, LF, NUL, quotes, 10 kB, emoji, right-to-left text."""
        names = set(self.message(attribution=Attribution(marker="m")).names())
        hostile = {
            "a\r\nEvil: 1": "aEvil: 1",
            "a\nEvil: 1": "aEvil: 1",
            "a\r\n\r\nbody": "abody",
            "a\0b": "ab",
            'a"b\\': 'a"b\\',
            "x" * 10_000: "x" * 255,
            "купить очки 👓": "купить очки 👓",
            "a\u202egpj.exe": "agpj.exe",
            "a\u2028Evil: 1\x85\x0b\x1cb": "aEvil: 1b",
            "👓" * 100: "👓" * 63,
            "  spaces  ": "spaces",
        }
        for marker, expected in hostile.items():
            message = self.message(attribution=Attribution(marker=marker))
            self.assertEqual(message.get(b"x-roistat-marker").decode(), expected)
            self.assertEqual(set(message.names()), names)
            self.assertEqual(message.body, b"")

    @given(strategies.text(max_size=400), strategies.text(max_size=40))
    def test_no_marker_or_caller_breaks_the_message(self, marker, caller):
        """EDGE-CASES 43."""
        message = self.message(caller=caller, name=caller.encode("utf-8", "replace"), attribution=Attribution(marker=marker))
        allowed = {
            b"via", b"from", b"to", b"call-id", b"cseq", b"max-forwards", b"content-length", b"privacy",
            b"x-roistat", b"x-roistat-phone", b"x-roistat-marker",
        }  # fmt: skip
        self.assertLessEqual(set(message.names()), allowed)
        self.assertEqual(message.defect, "")


class AddressingTests(ForwardingTestCase):
    """PRODUCT section 2.5: a target's addressing profile."""

    def target(self, **addressing):
        return sip_target("203.0.113.20", addressing=Addressing(**addressing))

    def test_address_itself_is_the_request_uri_by_default(self):
        message = self.message()
        self.assertEqual(message.uri, b"sip:office@203.0.113.20")
        self.assertEqual(message.to.uri, b"sip:office@203.0.113.20")

    def test_dialled_number_as_request_user(self):
        self.assertEqual(self.message(self.target(request_user="dialled")).uri, b"sip:11231234567@203.0.113.20")

    def test_port_and_transport_of_the_address_are_kept_in_the_request_uri_only(self):
        """RFC 3261 section 8.1.1.2: no port or transport in To."""
        target = Target(kind="sip", address="sip:office@pbx.example:5080;transport=tcp", addressing=Addressing(request_user="dialled"))
        message = self.message(target)
        self.assertEqual(message.uri, b"sip:11231234567@pbx.example:5080;transport=tcp")
        self.assertNotIn(b"transport", message.to.uri)

    def test_dialled_number_in_to_diversion_and_p_called_party_id(self):
        """RFC 5806, RFC 7315."""
        message = self.message(self.target(dialled_in=("to", "diversion", "p-called-party-id")))
        self.assertEqual(message.to.uri, b"sip:11231234567@203.0.113.20")
        self.assertEqual(message.get(b"diversion"), b"<sip:11231234567@192.0.2.1:5060>;reason=unconditional")
        self.assertEqual(message.get(b"p-called-party-id"), b"<sip:11231234567@192.0.2.1:5060>")

    def test_nothing_of_it_by_default(self):
        names = self.message().names()
        for key in (b"diversion", b"p-called-party-id", b"p-asserted-identity", b"remote-party-id"):
            self.assertNotIn(key, names)


class CallerIDTests(ForwardingTestCase):
    def test_from_is_the_original_caller_at_our_address(self):
        message = self.message(name=b'Ann "A" Bell')
        self.assertEqual(message.from_.uri, b"sip:14155550100@192.0.2.1:5060")
        self.assertEqual(message.from_.display, b'Ann "A" Bell')

    def test_withheld_caller_is_anonymous_with_privacy(self):
        """RFC 3323 section 4.1.1.3, RFC 3325 section 9.3."""
        target = sip_target("203.0.113.20", addressing=Addressing(caller_id=("p-asserted-identity", "remote-party-id")))
        message = self.message(target, caller="")
        self.assertEqual(message.from_.uri, b"sip:anonymous@anonymous.invalid")
        self.assertEqual(message.get(b"privacy"), b"id")
        self.assertNotIn(b"p-asserted-identity", message.names())
        self.assertNotIn(b"remote-party-id", message.names())

    def test_identity_headers_where_the_target_asks_for_them(self):
        """RFC 3325; Remote-Party-ID as Asterisk's sendrpid."""
        target = sip_target("203.0.113.20", addressing=Addressing(caller_id=("p-asserted-identity", "remote-party-id")))
        message = self.message(target, name=b"Ann")
        self.assertEqual(message.get(b"p-asserted-identity"), b'"Ann" <sip:14155550100@192.0.2.1:5060>')
        self.assertTrue(message.get(b"remote-party-id").startswith(b'"Ann" <sip:14155550100@192.0.2.1:5060>;party=calling'))

    def test_caller_that_is_no_number_is_escaped(self):
        """RFC 3261 section 25.1: user-unreserved."""
        message = self.message(caller='b@b<"\r\n>;é')
        self.assertEqual(message.from_.uri, b"sip:b%40b%3C%22%0D%0A%3E%3B%C3%A9@192.0.2.1:5060")

    def test_outbound_trunks_policy_decides_what_is_shown(self):
        """PRODUCT section 5."""
        admission = Admission(TRUNK, "11231234567", "14155550100", b"Ann")
        shown = {policy: caller_id(admission, replace(TRUNK, caller_id=policy)).user for policy in ("caller", "withheld", "+19995550000")}
        self.assertEqual(shown, {"caller": "+14155550100", "withheld": "", "+19995550000": "+19995550000"})


class NumberFormatTests(SynchronousTestCase):
    """PRODUCT section 5: how a trunk wants numbers."""

    def test_plus_digits_and_national(self):
        self.assertEqual(written("+442079460000", "plus", "GB"), "+442079460000")
        self.assertEqual(written("442079460000", "digits", "GB"), "442079460000")
        self.assertEqual(written("+442079460000", "national", "GB"), "02079460000")

    def test_foreign_number_is_never_written_nationally(self):
        self.assertEqual(written("+14155550100", "national", "GB"), "+14155550100")

    def test_user_of_a_uri_is_replaced_and_escaped(self):
        self.assertEqual(with_user(b"sip:a@h:1;transport=tcp", "+1"), b"sip:+1@h:1;transport=tcp")
        self.assertEqual(with_user(b"sip:h", "a b@"), b"sip:a%20b%40@h")


class DestinationTests(SynchronousTestCase):
    route = Route(dialled="11231234567", project=1)
    phone = Target(kind="phone", address="+74951234567")

    def test_trunks_with_outbound_are_tried_in_order(self):
        """PRODUCT section 5."""
        one = replace(TRUNK, name="one", outbound="sip:203.0.113.1")
        two = replace(TRUNK, name="two", outbound="sip:203.0.113.2:5070;transport=tcp", number_format="digits", username="u", password="p")
        rounds = self.successResultOf(Destinations([TRUNK, one, two]).of(self.phone, self.route))
        self.assertEqual([[destination.trunk for destination in each] for each in rounds], [["one"], ["two"]])
        first, second = rounds[0][0], rounds[1][0]
        self.assertEqual((first.uri, first.next_hop, first.credentials), (b"sip:+74951234567@203.0.113.1", b"sip:203.0.113.1", None))
        self.assertEqual(second.uri, b"sip:74951234567@203.0.113.2:5070;transport=tcp")
        self.assertIsNotNone(second.credentials)

    def test_phone_without_outbound_trunk_has_no_destination(self):
        self.failureResultOf(Destinations([TRUNK]).of(self.phone, self.route), NoDestination)

    def test_account_without_registrar_has_no_destination(self):
        self.failureResultOf(Destinations([]).of(Target(kind="account", address=""), self.route), NoDestination)
