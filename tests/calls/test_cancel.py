"""The caller gives up: in each state, and crossing an answer (RFC 3261 section 9, EDGE-CASES 1 to 6)."""

from calltrack.testing.engine import sip_target
from calltrack.testing.peers import Peer
from calltrack.tracking.model import Target

from tests.calls.case import ANSWER, OFFICE, CallTestCase


class CancelTests(CallTestCase):
    def cancelled(self):
        """The caller's side of a CANCEL that counts."""
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))

    def taken_back(self, invite):
        """The target's side of it."""
        cancel = self.office.expect("CANCEL")
        self.office.respond(cancel, 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        return cancel

    def check_record(self):
        record = self.record
        self.assertEqual((record.status, record.hangup, record.sip_code), ("CANCEL", "caller", 487))
        self.assertEqual(record.answer_duration, 0)

    def test_cancel_while_ringing_reaches_the_target(self):
        """RFC 3261 section 9.2; the CANCEL has the branch, Request-URI and CSeq number of its INVITE (9.1)."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.cancelled()
        cancel = self.taken_back(invite)
        self.assertEqual((cancel.via.branch, cancel.uri), (invite.via.branch, invite.uri))
        self.assertEqual((cancel.cseq[0], cancel.get(b"to")), (invite.cseq[0], invite.get(b"to")))
        self.check_record()

    def test_cancel_before_any_answer_is_held_until_the_first_provisional(self):
        """EDGE-CASES 2, RFC 3261 section 9.1."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.cancelled()
        self.office.expect_nothing(0.4)
        self.office.respond(invite, 100)
        self.taken_back(invite)
        self.check_record()

    def test_held_cancel_is_dropped_when_the_target_refuses_first(self):
        """EDGE-CASES 2."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.cancelled()
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.office.expect_nothing()
        self.check_record()

    def test_cancel_to_a_target_that_never_answers_ends_with_timer_b(self):
        """RFC 3261 section 9.1: nothing to cancel, nothing sent."""
        self.start()
        self.trunk.invite()
        self.cancelled()
        self.network.run(33)
        self.assertEqual(self.office.count("INVITE"), 7)
        self.assertEqual(self.office.count("CANCEL"), 0)
        self.office.inbox.clear()
        self.check_record()

    def test_cancel_that_crosses_the_answer_gets_487_and_the_target_ack_and_bye(self):
        """EDGE-CASES 3."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.trunk.cancel()
        self.network.run(0.0015)  # it has arrived, ours to the target has not
        self.office.respond(invite, 200, sdp=ANSWER)
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        cancel = self.office.expect("CANCEL")
        self.office.respond(cancel, 200)
        self.office.expect("ACK")
        bye = self.office.expect("BYE")
        self.office.respond(bye, 200)
        self.check_record()

    def test_cancel_after_our_200_changes_nothing(self):
        """EDGE-CASES 4."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200, "INVITE")
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack()
        self.office.expect_nothing()
        self.hang_up()
        self.assertEqual(self.record.status, "ANSWER")

    def test_cancel_with_a_sent_by_that_a_nat_rewrote_is_matched_by_branch_and_source(self):
        """EDGE-CASES 5."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.trunk.cancel(sent_by=b"10.0.0.9:31337")
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.taken_back(invite)

    def test_cancel_from_somewhere_else_with_another_sent_by_matches_nothing(self):
        """EDGE-CASES 5: a branch that somebody has seen is not enough to end a call."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        stranger = Peer(self.network, "203.0.113.66")
        stranger.dialog = self.trunk.dialog
        stranger.cancel()
        stranger.expect(481, "CANCEL")
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))

    def test_cancel_of_nothing_is_481(self):
        """RFC 3261 section 9.2."""
        self.expected_records = 0
        self.start()
        self.trunk.invite(uri=b"mailto:nobody")
        self.trunk.expect(416)
        self.trunk.cancel()
        self.trunk.expect(481, "CANCEL")

    def test_cancel_during_the_lookup_dials_nobody(self):
        """EDGE-CASES 6."""
        self.start()
        self.engine.scenarios.delay = 0.1
        self.trunk.invite()
        self.trunk.expect(100)
        self.cancelled()
        self.assertEqual(self.engine.scenarios.cancelled, 1)
        self.office.expect_nothing()
        self.check_record()

    def test_cancel_while_a_connection_is_made_dials_nobody(self):
        """RFC 3261 section 9.1: nothing was sent, nothing is cancelled."""
        office = Peer(self.network, "203.0.113.30", transport="tcp")
        self.start(Target(kind="sip", address="sip:office@203.0.113.30;transport=tcp"))
        self.trunk.invite()
        self.network.run(0.0015)
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        office.expect_nothing()

    def test_cancel_reaches_every_phone_that_rings(self):
        """PRODUCT section 2.4."""
        second = Peer(self.network, "203.0.113.21")
        self.start(sip_target(OFFICE), sip_target("203.0.113.21"), ring="all")
        self.trunk.invite()
        invites = [(peer, peer.expect("INVITE")) for peer in (self.office, second)]
        for peer, invite in invites:
            peer.respond(invite, 180)
        self.trunk.expect(180)
        self.cancelled()
        for peer, invite in invites:
            peer.respond(peer.expect("CANCEL"), 200)
            peer.respond(invite, 487)
            peer.expect("ACK")

    def test_reason_of_the_cancel_is_recorded(self):
        """RFC 3326."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.trunk.cancel(b"Reason: Q.850;cause=16")
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.taken_back(invite)
        self.assertIn("Q.850;cause=16", self.record.reason)

    def test_target_that_ignores_the_cancel_is_forgotten_after_64_t1(self):
        """RFC 3261 section 9.1."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.cancelled()
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.check_record()

    def test_bye_in_the_early_dialog_gives_up_too(self):
        """RFC 3261 section 15: the caller may send BYE instead of CANCEL."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.taken_back(invite)
        self.check_record()


class RepeatedInviteTests(CallTestCase):
    """EDGE-CASES 1."""

    def test_repeated_invite_resends_the_last_response_and_makes_no_second_dialog(self):
        """RFC 3261 section 17.2.1."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        for _ in range(3):
            self.trunk.send(self.trunk.dialog.invite)
            self.trunk.expect(180)
        self.office.expect_nothing(0.2)
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        refused = self.trunk.expect(486)
        self.trunk.send(self.trunk.dialog.invite)
        self.trunk.expect(486)
        self.trunk.ack_failure(refused)

    def test_repeated_invite_after_the_answer_is_absorbed(self):
        """RFC 6026 section 7.1: the usage resends the 200, the transaction does not."""
        self.start()
        self.talk()
        self.trunk.send(self.trunk.dialog.invite)
        self.trunk.expect_nothing()
        self.hang_up()
        self.assertEqual(self.office.count("INVITE"), 1)

    def test_second_invite_with_another_branch_is_merged_and_refused(self):
        """RFC 3261 section 8.2.2.2: the same INVITE by another way is 482."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.trunk.send(self.trunk.dialog.invite.replace(self.trunk.dialog.branch, b"z9hG4bKotherway"))
        self.trunk.expect(482)
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))
        self.assertEqual(self.office.count("INVITE"), 1)
