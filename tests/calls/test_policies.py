"""What a trunk's word counts for, what goes on to the target and what stays here: identity, privacy, earlier forwardings,
transfer, replacement, INFO packages (RFC 3323, 3325, 5806, 7044, 3515, 3891, 6086)."""

from ipaddress import ip_network

from msgspec.structs import replace

from calltrack.calls.admission import MAX_DIVERSION, MAX_DIVERSIONS
from calltrack.calls.settings import TrunkSettings
from calltrack.testing.engine import TRUNK, sip_target
from calltrack.tracking.model import Addressing, Target

from tests.calls.case import ANSWER, OFFICE, CallTestCase

ASSERTED = b'P-Asserted-Identity: "Ann" <sip:+14155550199@provider.example>'
DIVERSIONS = (
    b"Diversion: <sip:+14155550111@provider.example>;reason=user-busy;counter=1",
    b"Diversion: <sip:+14155550122@provider.example>;reason=no-answer",
    b"History-Info: <sip:+14155550111@provider.example>;index=1",
)


class PolicyTestCase(CallTestCase):
    def forwarded(self, *lines, trunk=TRUNK, targets=(), trunks=(), **options):
        """The INVITE that the target gets for one of the caller with these lines. It is refused."""
        self.start(*targets, trunks=(trunk, *trunks))
        self.trunk.invite(lines=lines, **options)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))
        return invite


class IdentityTests(PolicyTestCase):
    def test_trusted_trunks_asserted_identity_is_the_caller(self):
        invite = self.forwarded(ASSERTED)
        self.assertEqual(invite.from_.display, b"Ann")
        self.assertIn(b"sip:14155550199@", invite.from_.uri)
        self.assertEqual(self.record.caller, "14155550199")

    def test_untrusted_trunks_asserted_identity_counts_for_nothing(self):
        """RFC 3325 section 5: it is removed."""
        invite = self.forwarded(ASSERTED, trunk=replace(TRUNK, trust_identity=False))
        self.assertIn(b"sip:14155550100@", invite.from_.uri)
        self.assertIsNone(invite.get(b"p-asserted-identity"))
        self.assertEqual(self.record.caller, "14155550100")

    def test_asserted_identity_goes_on_only_where_the_target_asks_for_it(self):
        addressing = Addressing(caller_id=("p-asserted-identity",))
        invite = self.forwarded(ASSERTED, targets=[sip_target(OFFICE, addressing=addressing)])
        self.assertIn(b"sip:14155550199@", invite.get(b"p-asserted-identity"))


class PrivacyTests(PolicyTestCase):
    def assert_withheld(self, invite):
        """RFC 3323 section 4.1.1.3: nothing in the message tells who calls."""
        self.assertEqual(invite.from_.uri, b"sip:anonymous@anonymous.invalid")
        self.assertEqual(invite.get(b"privacy"), b"id")
        self.assertEqual(invite.get(b"p-asserted-identity"), None)
        everything = b"".join(value for key in invite.names() for value in invite.all(key))
        for told in (b"4155550100", b"4155550199", b"Ann"):
            self.assertNotIn(told, everything)
        self.assertEqual(self.record.caller, "")

    def test_caller_that_asks_for_privacy_is_withheld_and_the_wish_goes_on(self):
        addressing = Addressing(caller_id=("p-asserted-identity", "remote-party-id"))
        for wish in (b"id", b"user;id", b"ID", b"header", b"user ; critical"):
            self.setUp()
            invite = self.forwarded(ASSERTED, b"Privacy: " + wish, targets=[sip_target(OFFICE, addressing=addressing)])
            self.assert_withheld(invite)

    def test_privacy_that_hides_no_caller_changes_nothing(self):
        for wish in (b"none", b"none;id", b"session", b"critical", b"history", b"identity-theft"):
            self.setUp()
            invite = self.forwarded(ASSERTED, b"Privacy: " + wish)
            self.assertIn(b"sip:14155550199@", invite.from_.uri)
            self.assertIsNone(invite.get(b"privacy"))

    def test_anonymous_from_is_withheld_without_a_privacy_header(self):
        invite = self.forwarded(from_=b'"Anonymous" <sip:anonymous@anonymous.invalid>')
        self.assert_withheld(invite)

    def test_privacy_is_honoured_of_an_untrusted_trunk_too(self):
        self.assert_withheld(self.forwarded(b"Privacy: id", trunk=replace(TRUNK, trust_identity=False)))

    def test_withheld_caller_stays_so_over_an_outbound_trunk(self):
        out = TrunkSettings(name="out", outbound=f"sip:{OFFICE}", sources=(ip_network("203.0.113.99"),))
        invite = self.forwarded(ASSERTED, b"Privacy: id", trunks=[out], targets=[Target(kind="phone", address="+74951234567")])
        self.assert_withheld(invite)


class DiversionTests(PolicyTestCase):
    passing = replace(TRUNK, pass_diversion=True)

    def test_earlier_forwardings_stay_here_unless_the_trunk_passes_them(self):
        invite = self.forwarded(*DIVERSIONS)
        self.assertEqual((invite.get(b"diversion"), invite.get(b"history-info")), (None, None))

    def test_earlier_forwardings_go_on_as_they_came(self):
        invite = self.forwarded(*DIVERSIONS, trunk=self.passing)
        self.assertEqual([b"Diversion: " + value for value in invite.all(b"diversion")], list(DIVERSIONS[:2]))
        self.assertEqual(b"History-Info: " + invite.get(b"history-info"), DIVERSIONS[2])

    def test_history_that_is_private_stays_here(self):
        """RFC 7044 section 10.1.2."""
        for wish, kept in ((b"history", 0), (b"id;header", 0), (b"session", 0), (b"id", 2)):
            self.setUp()
            invite = self.forwarded(*DIVERSIONS, b"Privacy: " + wish, trunk=self.passing)
            self.assertEqual(len(invite.all(b"diversion")), kept)
            self.assertEqual(len(invite.all(b"history-info")), 1 if kept else 0)

    def test_our_own_diversion_stands_above_the_earlier_ones(self):
        """RFC 5806 section 4: the most recent first."""
        target = sip_target(OFFICE, addressing=Addressing(dialled_in=("diversion",)))
        invite = self.forwarded(*DIVERSIONS, trunk=self.passing, targets=[target])
        first, *others = invite.all(b"diversion")
        self.assertIn(b"sip:11231234567@", first)
        self.assertEqual(len(others), 2)

    def test_forwardings_without_measure_are_left_out(self):
        long = b"Diversion: <sip:%b@x>" % (b"1" * MAX_DIVERSION)
        many = [b"History-Info: <sip:%d@x>;index=1" % number for number in range(MAX_DIVERSIONS + 5)]
        invite = self.forwarded(long, *many, trunk=self.passing)
        self.assertEqual(invite.get(b"diversion"), None)
        self.assertEqual(len(invite.all(b"history-info")), MAX_DIVERSIONS)

    def test_folded_forwarding_is_one_line(self):
        invite = self.forwarded(b"Diversion: <sip:1@x>;\r\n reason=unknown\r\n\t;counter=1", trunk=self.passing)
        self.assertEqual(invite.get(b"diversion"), b"<sip:1@x>; reason=unknown ;counter=1")


class TransferTests(CallTestCase):
    """Who wants to move a call elsewhere is refused: calls go where they are configured to go."""

    def test_refer_is_603_on_both_sides_and_the_call_stays(self):
        """EDGE-CASES 28, RFC 3515."""
        self.start()
        self.talk()
        for asking, other in ((self.trunk, self.office), (self.office, self.trunk)):
            asking.request("REFER", None, b"Refer-To: <sip:mallory@203.0.113.66>")
            asking.expect(603, "REFER")
            asking.request("REFER", None, b"Refer-To: <sip:a@b?Replaces=x>", b"Require: replaces")
            asking.expect(603, "REFER")
            other.expect_nothing()
        self.hang_up()

    def test_refer_outside_a_dialog_is_481(self):
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 486)
        self.office.expect("ACK")
        refused = self.trunk.expect(486)
        self.trunk.ack_failure(refused)
        self.trunk.dialog.remote = b"<sip:11231234567@192.0.2.1>"
        self.trunk.request("REFER", None, b"Refer-To: <sip:mallory@203.0.113.66>")
        self.trunk.expect(481, "REFER")

    def test_invite_that_replaces_a_call_is_481_and_the_call_stays(self):
        """RFC 3891 section 3: no dialog may be replaced, not even the right one."""
        self.start()
        self.talk()
        talking = self.trunk.dialog
        local, remote = talking.local.partition(b";tag=")[2], talking.remote.partition(b";tag=")[2]
        replaces = b"Replaces: %b;to-tag=%b;from-tag=%b" % (talking.call_id, remote, local)
        self.trunk.invite(lines=(replaces,))
        self.trunk.ack_failure(self.trunk.expect(481))
        self.trunk.invite(lines=(replaces, b"Require: replaces"))
        refused = self.trunk.expect(420)
        self.assertEqual(refused.items(b"unsupported"), [b"replaces"])
        self.trunk.ack_failure(refused)
        self.assertEqual(self.office.inbox, [])
        self.trunk.dialog = talking
        self.hang_up()


class InfoTests(CallTestCase):
    """INFO goes through, and so does what the other end says to it (RFC 6086)."""

    def setUp(self):
        super().setUp()
        self.start()
        self.talk()

    def test_package_and_how_its_body_is_meant_go_through_both_ways(self):
        """EDGE-CASES 29."""
        for sender, receiver in ((self.trunk, self.office), (self.office, self.trunk)):
            lines = (b"Info-Package: dtmf", b"Content-Disposition: Info-Package")
            sender.request("INFO", None, *lines, body=b"Signal=5")
            info = receiver.expect("INFO")
            self.assertEqual((info.get(b"info-package"), info.body), (b"dtmf", b"Signal=5"))
            self.assertEqual(info.get(b"content-disposition"), b"Info-Package")
            receiver.respond(info, 200)
            sender.expect(200, "INFO")
        self.hang_up()

    def test_package_that_the_other_end_does_not_take_is_469_with_those_it_takes(self):
        """RFC 6086 section 4.2.2."""
        self.trunk.request("INFO", None, b"Info-Package: poker", body=b"x")
        self.office.respond(self.office.expect("INFO"), 469, b"Recv-Info: dtmf, chess")
        refused = self.trunk.expect(469, "INFO")
        self.assertEqual(refused.items(b"recv-info"), [b"dtmf", b"chess"])
        self.assertEqual(refused.reason, b"Bad Info Package")
        self.hang_up()

    def test_body_that_the_other_end_does_not_take_is_415_with_what_it_takes(self):
        self.trunk.request("INFO", body=b"x")
        self.office.respond(self.office.expect("INFO"), 415, b"Accept: application/dtmf-relay")
        self.assertEqual(self.trunk.expect(415, "INFO").all(b"accept"), [b"application/dtmf-relay"])
        self.hang_up()


class FaxTests(CallTestCase):
    """EDGE-CASES 35: a fax machine turns the call to T.38 (RFC 3362) by a re-INVITE."""

    FAX = ANSWER.partition(b"m=")[0] + b"m=image 6100 udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"

    def setUp(self):
        super().setUp()
        self.start()
        self.talk()

    def test_t38_is_relayed_where_the_other_end_takes_it(self):
        self.office.reinvite(self.FAX)
        offer = self.trunk.expect("INVITE")
        self.assertIn(b"c=IN IP4 192.0.2.1", offer.sdp)
        self.assertRegex(offer.sdp, rb"m=image 2[0-9]{4} udptl t38\r\n")
        self.assertIn(b"a=T38FaxUdpEC:t38UDPRedundancy", offer.sdp)
        self.trunk.respond(offer, 200, sdp=self.FAX)
        self.trunk.expect("ACK")
        self.assertRegex(self.office.expect(200).sdp, rb"m=image 2[0-9]{4} udptl t38\r\n")
        self.office.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_t38_that_the_other_end_refuses_leaves_the_audio_and_the_call(self):
        said = len(self.engine.relay.sessions[0].said)
        for status in (488, 415, 606):
            self.office.reinvite(self.FAX)
            self.trunk.respond(self.trunk.expect("INVITE"), status)
            self.trunk.expect("ACK")
            self.office.ack_failure(self.office.expect(status))
        after = self.engine.relay.sessions[0].said[said:]
        self.assertEqual(after, [("offer", "target-1", "caller")] * 3)  # and no answer: what flowed goes on flowing
        self.assertEqual(len(self.engine.calls.calls), 1)
        self.hang_up()
