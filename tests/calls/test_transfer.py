"""Transfers by REFER (RFC 3515, RFC 5589 section 6): refused with 603 unless the project allows them, and then only to its
own targets; NOTIFY tells the referrer what became of it, and an INVITE that replaces a call stays refused (EDGE-CASES 28).
"""

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from calltrack.calls.limits import shared_limit
from calltrack.calls.transfer import talking, wanted
from calltrack.errors import MalformedMessage, MediaUnavailable
from calltrack.sip.message import Request, parse
from calltrack.testing.engine import sip_target
from calltrack.testing.peers import Peer, sdp
from calltrack.tracking.model import Target
from tests.calls.case import ANSWER, OFFER, OFFICE, SECOND, CallTestCase

SALES = b"sip:office@203.0.113.21"
THEIRS = sdp(SECOND, 7000)


class TransferTestCase(CallTestCase):
    def setUp(self):
        super().setUp()
        self.sales = Peer(self.network, SECOND)

    def tearDown(self):
        super().tearDown()
        self.assertEqual([message.summary for message in self.sales.inbox], [])

    def begin(self, **options):
        """A call that the office has answered, in a project that allows transfers."""
        self.start(sip_target(OFFICE), transfers=(sip_target(OFFICE), sip_target(SECOND, ring_time=20)), **options)
        self.talk()

    def refer(self, to=b"<%b>" % SALES, *lines):
        self.office.request("REFER", None, b"Refer-To: " + to, *lines)

    def accepted(self, **options):
        """REFER, its 202 and the first NOTIFY; the INVITE to the new target."""
        self.begin(**options)
        self.refer()
        answer = self.office.expect(202, "REFER")
        self.assertTrue(answer.contact)
        self.notified(100)
        return self.sales.expect("INVITE")

    def notified(self, status, answer=200):
        """The next NOTIFY tells this status."""
        notify = self.office.expect("NOTIFY")
        self.assertTrue(notify.body.startswith(b"SIP/2.0 %d " % status), notify.body)
        state = notify.get(b"subscription-state")
        if status < 200:
            self.assertTrue(state.startswith(b"active;expires="), state)
        else:
            self.assertEqual(state, b"terminated;reason=noresource")
        self.assertEqual(notify.content_type, b"message/sipfrag")
        self.assertTrue(notify.get(b"event").startswith(b"refer;id="))
        self.office.respond(notify, answer)
        return notify

    def moves(self, invite):
        """The new target answers and the caller takes the change; the caller's re-INVITE."""
        self.sales.respond(invite, 200, sdp=THEIRS)
        self.sales.expect("ACK")
        change = self.trunk.expect("INVITE")
        self.trunk.respond(change, 200, sdp=OFFER)
        self.trunk.expect("ACK")
        return change

    def referrer_gets_bye(self):
        self.office.respond(self.office.expect("BYE", within=3), 200)

    def caller_hangs_up(self):
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.sales.respond(self.sales.expect("BYE"), 200)


class AllowedTests(TransferTestCase):
    def test_caller_talks_with_the_new_target_and_the_referrer_gets_bye(self):
        invite = self.accepted()
        self.assertEqual(invite.uri, SALES)
        self.assertEqual(invite.get(b"x-roistat-phone"), b"11231234567")
        self.assertIn(b"sip:14155550100@", invite.from_.uri)
        self.sales.respond(invite, 180)
        self.notified(180)
        change = self.moves(invite)
        self.assertIn(b"c=IN IP4 192.0.2.1", change.body)
        self.notified(200)
        self.referrer_gets_bye()
        self.network.run(5)
        self.caller_hangs_up()
        self.assertEqual((self.record.status, self.record.target, self.record.hangup), ("ANSWER", "sip:office@203.0.113.21", "caller"))
        self.assertEqual(self.engine.ledger.begun[self.record.id].target, "sip:office@203.0.113.21")

    def test_invite_to_a_target_of_such_a_project_allows_refer(self):
        self.start(sip_target(OFFICE), transfers=(sip_target(SECOND),))
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.assertIn(b"refer", invite.tokens(b"allow"))
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))

    def test_notify_carries_the_cseq_of_its_refer(self):
        """RFC 3515 section 2.4.6."""
        self.begin()
        self.refer()
        self.office.expect(202)
        number = self.office.dialog.cseq
        notify = self.notified(100)
        self.assertEqual(notify.get(b"event"), b"refer;id=%d" % number)
        invite = self.sales.expect("INVITE")
        self.sales.respond(invite, 486)
        self.sales.expect("ACK")
        self.notified(486)
        self.hang_up()

    def test_target_that_does_not_take_it_leaves_the_call_as_it_was(self):
        for status in (486, 480, 500, 603):
            self.setUp()
            invite = self.accepted()
            self.sales.respond(invite, status)
            self.sales.expect("ACK")
            self.notified(486 if status == 603 else status)
            self.network.run(1)
            self.hang_up()
            self.assertEqual((self.record.status, self.record.target), ("ANSWER", f"sip:office@{OFFICE}"))
            self.assertEqual(self.engine.settle(), [])

    def test_target_that_does_not_answer_in_its_ring_time(self):
        invite = self.accepted()
        self.sales.respond(invite, 180)
        self.notified(180)
        self.network.run(20.1)
        self.sales.respond(self.sales.expect("CANCEL"), 200)
        self.sales.respond(invite, 487)
        self.sales.expect("ACK")
        self.notified(480)
        self.hang_up()

    def test_referrer_that_hangs_up_at_once_hears_the_rest_and_the_call_moves(self):
        """A blind transfer as most phones do it. RFC 5057 section 3: the subscription outlives the INVITE usage."""
        invite = self.accepted()
        self.office.bye()
        self.office.expect(200, "BYE")
        self.sales.respond(invite, 180)
        self.notified(180)
        self.network.run(1)
        self.assertEqual(self.trunk.inbox, [])
        self.moves(invite)
        self.notified(200)
        self.office.expect_nothing(3)
        self.caller_hangs_up()
        self.assertEqual(self.record.hangup, "caller")

    def test_referrer_that_has_hung_up_and_a_target_that_fails_end_the_call(self):
        invite = self.accepted()
        self.office.bye()
        self.office.expect(200, "BYE")
        self.sales.respond(invite, 486)
        self.sales.expect("ACK")
        self.notified(486, answer=481)
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.assertEqual((self.record.status, self.record.hangup), ("ANSWER", "target"))
        self.assertIn("transfer failed", self.record.reason)

    def test_caller_that_hangs_up_ends_it_all(self):
        invite = self.accepted()
        self.sales.respond(invite, 180)
        self.notified(180)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.sales.respond(self.sales.expect("CANCEL"), 200)
        self.sales.respond(invite, 487)
        self.sales.expect("ACK")
        inbox = {self.office.expect("NOTIFY"), self.office.expect("BYE")}
        for request in inbox:
            self.office.respond(request, 200)
        self.assertEqual(self.record.hangup, "caller")

    def test_caller_that_hangs_up_as_the_target_answers_leaves_nobody(self):
        """Both orders."""
        for first in ("bye", "answer"):
            self.setUp()
            invite = self.accepted()
            if first == "bye":
                self.trunk.bye()
                self.sales.respond(invite, 200, sdp=THEIRS)
            else:
                self.sales.respond(invite, 200, sdp=THEIRS)
                self.trunk.bye()
            for _ in range(20):
                self.network.run(0.1)
                for peer in (self.trunk, self.office, self.sales):
                    for request in [m for m in peer.inbox if isinstance(m, Request) and m.method != b"ACK"]:
                        peer.respond(request, 200 if request.method != b"INVITE" else 487)
                    peer.inbox.clear()
            self.assertEqual((self.sales.count("BYE"), self.office.count("BYE"), self.sales.count("ACK")), (1, 1, 1))
            self.assertEqual(self.engine.settle(), [])
            self.assertEqual(self.record.hangup, "caller")
            self.trunk.inbox.clear()

    def test_caller_that_refuses_the_change_stays_with_the_referrer(self):
        invite = self.accepted()
        self.sales.respond(invite, 200, sdp=THEIRS)
        self.sales.expect("ACK")
        self.trunk.respond(self.trunk.expect("INVITE"), 488)
        self.trunk.expect("ACK")
        self.sales.respond(self.sales.expect("BYE"), 200)
        self.notified(488)
        self.hang_up()
        self.assertEqual(self.record.target, f"sip:office@{OFFICE}")

    def test_caller_that_is_busy_with_a_change_is_asked_again(self):
        """RFC 3261 section 14.1."""
        invite = self.accepted()
        self.sales.respond(invite, 200, sdp=THEIRS)
        self.sales.expect("ACK")
        self.trunk.respond(self.trunk.expect("INVITE"), 491)
        self.trunk.expect("ACK")
        change = self.trunk.expect("INVITE", within=3)
        self.trunk.respond(change, 200, sdp=OFFER)
        self.trunk.expect("ACK")
        self.notified(200)
        self.referrer_gets_bye()
        self.caller_hangs_up()

    def test_new_target_is_offered_a_talking_caller_when_the_referrer_has_it_on_hold(self):
        self.begin()
        self.office.reinvite(sdp(OFFICE, 6000, "sendonly", 2))
        change = self.trunk.expect("INVITE")
        self.trunk.respond(change, 200, sdp=sdp("198.51.100.7", 4000, "recvonly", 2))
        self.trunk.expect("ACK")
        self.office.expect(200, "INVITE")
        self.office.ack()
        self.network.run(0.1)
        self.refer()
        self.office.expect(202)
        self.notified(100)
        invite = self.sales.expect("INVITE")
        self.assertNotIn(b"recvonly", invite.body)
        self.assertIn(b"m=audio ", invite.body)
        self.moves(invite)
        self.notified(200)
        self.referrer_gets_bye()
        self.caller_hangs_up()

    def test_caller_and_new_target_change_the_session_between_themselves(self):
        self.moves(self.accepted())
        self.notified(200)
        self.referrer_gets_bye()
        self.sales.reinvite(sdp(SECOND, 7000, "sendonly", 2))
        change = self.trunk.expect("INVITE")
        self.trunk.respond(change, 200, sdp=sdp("198.51.100.7", 4000, "recvonly", 3))
        self.trunk.expect("ACK")
        self.sales.expect(200, "INVITE")
        self.sales.ack()
        self.network.run(0.1)
        self.caller_hangs_up()

    def test_new_target_may_transfer_back(self):
        self.moves(self.accepted())
        self.notified(200)
        self.referrer_gets_bye()
        self.sales.request("REFER", None, b"Refer-To: <sip:office@%b>" % OFFICE.encode())
        self.sales.expect(202)
        self.sales.respond(self.sales.expect("NOTIFY"), 200)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.respond(self.trunk.expect("INVITE"), 200, sdp=OFFER)
        self.trunk.expect("ACK")
        self.sales.respond(self.sales.expect("NOTIFY"), 200)
        self.sales.respond(self.sales.expect("BYE", within=3), 200)
        self.hang_up()
        self.assertEqual(self.record.target, f"sip:office@{OFFICE}")

    def test_referrer_that_does_not_answer_notify_gets_its_bye_soon(self):
        invite = self.accepted()
        self.moves(invite)
        before = self.clock.seconds()
        notify = self.office.expect("NOTIFY")
        self.network.run(3)
        self.assertLess(self.office.times("BYE")[0] - before, 3)
        self.office.respond(self.office.inbox[-1], 200)
        self.office.respond(notify, 200)
        self.network.run(0.1)
        self.office.inbox.clear()
        self.caller_hangs_up()

    def test_limits_of_a_target_hold_for_transfers_too(self):
        self.start(sip_target(OFFICE), transfers=(sip_target(SECOND, max_calls=1),))
        self.talk()
        limits = self.engine.calls.limits
        held = (shared_limit(f"target:sip:office@{SECOND}", 1, 0.0),)
        self.assertFalse(limits.take(held))
        self.refer()
        self.office.expect(202)
        self.notified(100)
        self.notified(486)
        limits.give_back(held)
        self.sales.expect_nothing(1)
        self.hang_up()


class RefusedTests(TransferTestCase):
    def refused(self, status, *arguments):
        self.refer(*arguments)
        self.office.expect(status, "REFER")

    def test_refer_without_permission_is_603(self):
        self.start()
        self.talk()
        self.refused(603)
        self.hang_up()

    def test_refer_to_anybody_else_is_603_and_nobody_is_called(self):
        """There is no way to make calltrack an open relay."""
        self.begin()
        for to in (
            b"<sip:office@203.0.113.66>",
            b"<sip:+19005550100@203.0.113.21>",
            b"<sip:other@203.0.113.21>",
            b"<sip:office@203.0.113.21:5099>",
            b"<tel:+19005550100>",
            b"<sip:office@203.0.113.21;method=BYE>",
            b"<%b?Replaces=a%%3Bto-tag%%3Db%%3Bfrom-tag%%3Dc>" % SALES,
            b"<%b?Route=x>" % SALES,
        ):
            self.refused(603, to)
        self.sales.expect_nothing(1)
        self.hang_up()

    def test_refer_without_exactly_one_address_is_400(self):
        """RFC 3515 section 2.4.2."""
        self.begin()
        self.office.request("REFER")
        self.office.expect(400)
        self.refused(400, b"<%b>" % SALES, b"Refer-To: <%b>" % SALES)
        self.refused(400, b"<mailto:a@b>")
        self.hang_up()

    def test_callers_refer_is_603(self):
        self.begin()
        self.trunk.request("REFER", None, b"Refer-To: <%b>" % SALES)
        self.trunk.expect(603, "REFER")
        self.hang_up()

    def test_second_refer_while_one_is_under_way_is_603(self):
        invite = self.accepted()
        self.refused(603)
        self.sales.respond(invite, 486)
        self.sales.expect("ACK")
        self.notified(486)
        self.refer()
        self.office.expect(202)
        self.notified(100)
        again = self.sales.expect("INVITE")
        self.sales.respond(again, 486)
        self.sales.expect("ACK")
        self.notified(486)
        self.hang_up()

    def test_relay_without_room_is_503(self):
        self.begin()
        self.engine.relay.full = MediaUnavailable("no port")
        with capturedLogs() as logged:
            self.refused(503)
        (call,) = self.engine.calls.calls
        self.assertEqual([event["call_id"] for event in logged if "refused" in event["log_format"]], [call])
        self.hang_up()


class WantedTests(SynchronousTestCase):
    targets = (
        sip_target("pbx.example"),
        Target(kind="phone", address="+74951234567"),
        Target(kind="account", address=""),
    )

    def wanted(self, refer_to):
        data = b"REFER sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nRefer-To: %b\r\n\r\n" % refer_to
        found = wanted(parse(data), self.targets, [b"calltrack.example", b"192.0.2.1"])
        return found and found.label

    def test_target_is_named_by_its_own_address_or_by_its_user_or_number_at_ours(self):
        office = "sip:office@pbx.example"
        for to, label in (
            (b"<sip:office@pbx.example>", office),
            (b"sip:office@PBX.example:5060;transport=tcp", office),
            (b"<sip:office@192.0.2.1:5060>", office),
            (b"<sip:+74951234567@calltrack.example>", "phone:+74951234567"),
            (b"<sip:74951234567@192.0.2.1>", "phone:+74951234567"),
            (b"<tel:+74951234567>", "phone:+74951234567"),
            (b"<sip:account@calltrack.example>", "account"),
            (b"<sip:74951234567@elsewhere.example>", None),
            (b"<sip:account@pbx.example>", None),
            (b"<sip:@pbx.example>", None),
        ):
            self.assertEqual(self.wanted(to), label, to)

    def test_what_is_no_address_is_malformed(self):
        for to in (b"", b"office", b"<>", b'"open'):
            self.assertRaises(MalformedMessage, self.wanted, to)

    def test_hold_is_taken_out_of_a_description(self):
        self.assertEqual(talking(sdp("198.51.100.7", 4000, "inactive")).count(b"\r\n"), sdp().count(b"\r\n") - 1)
        self.assertEqual(talking(OFFER), OFFER)
