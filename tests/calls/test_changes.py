"""Changes of an established call: hold, re-INVITE, UPDATE, glare, and what ends it in the middle of one
(EDGE-CASES 13, 15, 19 to 23, 30; RFC 3261 section 14, RFC 3311)."""

from calltrack.errors import UnusableSDP
from calltrack.testing.peers import sdp

from tests.calls.case import ANSWER, OFFER, OFFICE, CallTestCase

HOLD = sdp("198.51.100.7", direction="sendonly", version=2)
HELD = sdp(OFFICE, 6000, direction="recvonly", version=2)


class ReinviteTests(CallTestCase):
    def setUp(self):
        super().setUp()
        self.start()
        self.talk()

    def change(self, offer=HOLD, answer=HELD, ours=None, theirs=None):
        """One side's re-INVITE that the other accepts; returns what each was told."""
        ours, theirs = ours or self.trunk, theirs or self.office
        ours.reinvite(offer)
        invite = theirs.expect("INVITE")
        theirs.respond(invite, 200, sdp=answer)
        theirs.expect("ACK")
        response = ours.expect(200)
        ours.ack()
        self.network.run(0.1)
        return invite, response

    def test_hold_and_unhold_pass_from_caller_to_target(self):
        """EDGE-CASES 22: sendonly is answered recvonly, then both ways again."""
        invite, response = self.change()
        self.assertIn(b"a=sendonly", invite.sdp)
        self.assertIn(b"a=recvonly", response.sdp)
        self.assertIn(b"c=IN IP4 192.0.2.1", invite.sdp)
        invite, response = self.change(OFFER, ANSWER)
        self.assertIn(b"a=sendrecv", invite.sdp)
        self.assertIn(b"a=sendrecv", response.sdp)
        self.hang_up()

    def test_hold_and_unhold_pass_from_target_to_caller(self):
        """EDGE-CASES 22."""
        invite, response = self.change(sdp(OFFICE, 6000, "inactive"), sdp(direction="inactive"), self.office, self.trunk)
        self.assertIn(b"a=inactive", invite.sdp)
        self.assertIn(b"a=inactive", response.sdp)
        self.change(ANSWER, OFFER, self.office, self.trunk)
        self.hang_up()

    def test_hold_by_a_zero_address_passes(self):
        """EDGE-CASES 22: c=0.0.0.0, as RFC 2543 had it."""
        invite, _ = self.change(sdp("0.0.0.0"), HELD)
        self.assertIn(b"c=IN IP4 0.0.0.0", invite.sdp)
        self.hang_up()

    def test_reinvite_goes_in_the_dialog_with_the_next_cseq(self):
        """EDGE-CASES 30, RFC 3261 section 12.2.1.1."""
        (_, first), *_ = self.office.heard
        invite, _ = self.change()
        self.assertEqual(invite.call_id, first.call_id)
        self.assertEqual((invite.from_.tag, invite.to.tag), (first.from_.tag, b"callee"))
        self.assertEqual(invite.cseq[0], first.cseq[0] + 1)
        self.assertEqual(invite.uri, b"sip:203.0.113.20:5060")
        self.hang_up()

    def test_refused_change_is_refused_and_the_old_session_goes_on(self):
        """EDGE-CASES 21."""
        self.trunk.reinvite(HOLD)
        self.office.respond(self.office.expect("INVITE"), 488)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(488))
        self.assertEqual(len(self.engine.calls.calls), 1)
        self.change()
        self.hang_up()

    def test_change_that_the_relay_refuses_is_488_and_the_target_hears_nothing(self):
        """EDGE-CASES 21."""
        self.engine.relay.failures["offer"].append(UnusableSDP("no address"))
        self.trunk.reinvite(HOLD)
        self.trunk.ack_failure(self.trunk.expect(488))
        self.office.expect_nothing()
        self.hang_up()

    def test_answer_that_the_relay_refuses_is_488_and_acknowledged(self):
        """RFC 3261 section 14.1: the old session goes on as far as the caller knows."""
        self.engine.relay.failures["answer"].append(UnusableSDP("no address"))
        self.trunk.reinvite(HOLD)
        self.office.respond(self.office.expect("INVITE"), 200, sdp=HELD)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(488))
        self.hang_up()

    def test_481_or_408_to_a_change_ends_the_call_on_both_sides(self):
        """EDGE-CASES 21, RFC 3261 section 12.2.1.2."""
        self.trunk.reinvite(HOLD)
        self.office.respond(self.office.expect("INVITE"), 481)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(481))
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.office.respond(self.office.expect("BYE"), 481)
        self.assertEqual((self.record.status, self.record.hangup), ("ANSWER", "target"))

    def test_change_that_is_never_answered_ends_the_call(self):
        """RFC 3261 section 12.2.1.2: a time-out counts as 408."""
        self.trunk.reinvite(HOLD)
        self.office.expect("INVITE")
        self.network.run(32.2)
        self.office.respond(self.office.inbox.pop(), 200)  # the BYE
        self.assertEqual({one.method for one in self.office.inbox}, {b"INVITE"})
        self.office.inbox.clear()
        self.trunk.ack_failure(self.trunk.expect(408))
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.network.run(0.1)
        self.assertEqual(self.trunk.inbox, [])

    def test_503_to_a_change_is_not_the_callers_503(self):
        """RFC 3261 section 16.7 step 6: the caller must not shun us for another element."""
        self.trunk.reinvite(HOLD)
        self.office.respond(self.office.expect("INVITE"), 503)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(500))
        self.hang_up()

    def test_challenged_change_that_we_cannot_answer_is_488(self):
        """EDGE-CASES 27: answered where we have credentials; the caller is not asked for the target's."""
        self.trunk.reinvite(HOLD)
        challenge = b'WWW-Authenticate: Digest realm="pbx", nonce="n"'
        self.office.respond(self.office.expect("INVITE"), 401, challenge)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(488))
        self.hang_up()

    def test_change_without_sdp_offers_in_the_200_and_answers_in_the_ack(self):
        """EDGE-CASES 23, RFC 3261 section 14.1."""
        self.trunk.reinvite(b"")
        invite = self.office.expect("INVITE")
        self.assertEqual(invite.body, b"")
        self.office.respond(invite, 200, sdp=ANSWER)
        offer = self.trunk.expect(200)
        self.assertIn(b"c=IN IP4 192.0.2.1", offer.sdp)
        self.assertEqual(self.office.count("ACK"), 1)
        self.trunk.ack(body=OFFER)
        self.assertIn(b"c=IN IP4 192.0.2.1", self.office.expect("ACK").sdp)
        self.hang_up()

    def test_change_without_sdp_whose_ack_never_comes_ends_acknowledged_and_with_bye(self):
        """RFC 3261 section 13.3.1.4 holds for re-INVITEs too."""
        self.trunk.reinvite(b"")
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.trunk.expect(200)
        self.network.run(32.2)
        self.trunk.inbox[:] = [one for one in self.trunk.inbox if one.summary == "BYE"]
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.office.expect("ACK")
        self.office.respond(self.office.expect("BYE"), 200)

    def test_contact_of_a_change_is_where_later_requests_go(self):
        """RFC 3261 section 12.2.2: a re-INVITE refreshes the remote target."""
        self.office.reinvite(ANSWER)
        self.office.request("OPTIONS")
        self.trunk.respond(self.trunk.expect("INVITE"), 200, sdp=OFFER, contact=b"<sip:moved@198.51.100.7:5070>")
        self.office.expect(200, "OPTIONS")
        self.office.expect(200, "INVITE")
        self.office.ack()
        self.network.run(0.1)
        acks = [data for _, _, to, data in self.network.trace if to == ("198.51.100.7", 5070)]
        self.assertTrue(acks[0].startswith(b"ACK sip:moved@198.51.100.7:5070 SIP/2.0\r\n"))
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.office.respond(self.office.expect("BYE"), 200)


class GlareTests(CallTestCase):
    """EDGE-CASES 15, 19: one INVITE at a time (RFC 3261 sections 14.1, 14.2)."""

    def setUp(self):
        super().setUp()
        self.start()
        self.talk()

    def test_changes_that_cross_are_both_491_and_the_retry_succeeds(self):
        self.trunk.reinvite(HOLD)
        self.office.reinvite(ANSWER)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 491)
        refused = [self.office.expect(491), self.trunk.expect(491)]
        self.office.expect("ACK")
        self.office.ack_failure(refused[0])
        self.trunk.ack_failure(refused[1])
        self.network.run(1)
        self.office.reinvite(ANSWER)
        self.trunk.respond(self.trunk.expect("INVITE"), 200, sdp=OFFER)
        self.trunk.expect("ACK")
        self.office.expect(200)
        self.office.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_second_change_before_the_first_is_answered_is_500_with_retry_after(self):
        """EDGE-CASES 15, RFC 3261 section 14.2."""
        self.trunk.reinvite(HOLD)
        invite = self.office.expect("INVITE")
        pending = self.trunk.dialog.branch, self.trunk.dialog.invite_cseq
        self.trunk.reinvite(OFFER)
        refused = self.trunk.expect(500)
        self.assertTrue(0 <= int(refused.get(b"retry-after")) <= 10)
        self.trunk.ack_failure(refused)
        self.office.respond(invite, 200, sdp=HELD)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.dialog.branch, self.trunk.dialog.invite_cseq = pending
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_targets_change_before_the_callers_ack_is_491(self):
        """RFC 3261 section 14.1: no INVITE while one is not acknowledged."""
        self.hang_up()
        self.expected_records = 2
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.office.reinvite(ANSWER)
        self.office.ack_failure(self.office.expect(491))
        self.trunk.ack()
        self.network.run(0.1)
        self.office.reinvite(ANSWER)
        self.trunk.respond(self.trunk.expect("INVITE"), 200, sdp=OFFER)
        self.trunk.expect("ACK")
        self.office.expect(200)
        self.office.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_request_with_an_old_cseq_is_500(self):
        """RFC 3261 section 12.2.2."""
        self.trunk.request("INFO", cseq=1)
        self.trunk.expect(500, "INFO")
        self.hang_up()

    def test_bye_wins_over_the_senders_own_pending_change(self):
        """EDGE-CASES 20, RFC 3261 section 15.1.2: the INVITE gets 487."""
        self.trunk.reinvite(HOLD)
        invite = self.office.expect("INVITE")
        self.trunk.bye()
        responses = {self.trunk.expect(487).cseq[1], self.trunk.expect(200).cseq[1]}
        self.assertEqual(responses, {b"INVITE", b"BYE"})
        self.trunk.request("ACK", branch=self.trunk.dialog.branch, cseq=self.trunk.dialog.invite_cseq)
        self.office.respond(self.office.expect("BYE"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")

    def test_bye_of_the_other_side_ends_a_pending_change_too(self):
        """EDGE-CASES 20."""
        self.trunk.reinvite(HOLD)
        invite = self.office.expect("INVITE")
        self.office.bye()
        self.office.expect(200, "BYE")
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        bye = self.trunk.expect("BYE")
        self.trunk.respond(bye, 200)
        self.trunk.ack_failure(self.trunk.expect(487))

    def test_change_that_is_accepted_after_the_call_has_ended_is_acknowledged(self):
        """RFC 3261 section 13.2.2.4."""
        self.trunk.reinvite(HOLD)
        invite = self.office.expect("INVITE")
        self.trunk.bye()
        self.trunk.expect(487)
        self.trunk.expect(200, "BYE")
        self.trunk.request("ACK", branch=self.trunk.dialog.branch, cseq=self.trunk.dialog.invite_cseq)
        self.office.respond(invite, 200, sdp=HELD)
        self.office.respond(self.office.expect("BYE"), 200)
        self.office.expect("ACK")

    def test_change_that_the_target_leaves_pending_for_ever_is_forgotten_when_the_call_ends(self):
        """ROBUSTNESS promise 4: memory stays flat whatever a peer does not do."""
        self.trunk.reinvite(HOLD)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 100)
        self.network.run(60)
        self.trunk.bye()
        self.trunk.expect(487)
        self.trunk.expect(200, "BYE")
        self.trunk.request("ACK", branch=self.trunk.dialog.branch, cseq=self.trunk.dialog.invite_cseq)
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(self.office.expect("BYE"), 200)

    def test_cancelled_change_is_cancelled_at_the_other_side(self):
        """RFC 3261 section 9: re-INVITEs can be cancelled."""
        self.trunk.reinvite(HOLD)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.network.run(0.1)
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        self.hang_up()

    def test_cancelled_change_that_was_accepted_meanwhile_does_not_end_the_call(self):
        """RFC 3261 section 9.2; the 200 of the other side comes after the 487."""
        self.trunk.reinvite(HOLD)
        invite = self.office.expect("INVITE")
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.office.respond(invite, 200, sdp=HELD)
        self.office.expect("ACK")
        self.network.run(40)
        self.assertEqual(len(self.engine.calls.calls), 1)
        self.hang_up()


class UpdateTests(CallTestCase):
    """RFC 3311."""

    def setUp(self):
        super().setUp()
        self.start()
        self.talk()

    def test_update_with_an_offer_passes(self):
        self.trunk.request("UPDATE", body=HOLD)
        update = self.office.expect("UPDATE")
        self.assertIn(b"a=sendonly", update.sdp)
        self.office.respond(update, 200, sdp=HELD)
        self.assertIn(b"a=recvonly", self.trunk.expect(200, "UPDATE").sdp)
        self.hang_up()

    def test_update_without_sdp_is_answered_here(self):
        """A session refresh or a new Contact."""
        self.trunk.request("UPDATE")
        self.assertEqual(self.trunk.expect(200, "UPDATE").body, b"")
        self.office.expect_nothing()
        self.hang_up()

    def test_updates_that_cross_are_both_491(self):
        """RFC 3311 section 5.2."""
        self.trunk.request("UPDATE", body=HOLD)
        self.office.request("UPDATE", body=ANSWER)
        self.office.respond(self.office.expect("UPDATE"), 491)
        self.office.expect(491, "UPDATE")
        self.trunk.expect(491, "UPDATE")
        self.hang_up()

    def test_update_before_the_callers_first_offer_is_answered_is_500_with_retry_after(self):
        """EDGE-CASES 15, RFC 3311 section 5.2."""
        self.hang_up()
        self.expected_records = 2
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.trunk.request("UPDATE", body=HOLD)
        self.assertTrue(0 <= int(self.trunk.expect(500, "UPDATE").get(b"retry-after")) <= 10)
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))

    def test_update_of_a_target_that_has_not_answered_is_491(self):
        """RFC 3311 section 5.2: our offer to it is still open."""
        self.hang_up()
        self.expected_records = 2
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 183, sdp=ANSWER)
        self.trunk.expect(183)
        self.office.request("UPDATE", body=ANSWER)
        self.office.expect(491, "UPDATE")
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()


class InDialogTests(CallTestCase):
    """EDGE-CASES 13."""

    def setUp(self):
        super().setUp()
        self.start()
        self.talk()

    def test_unknown_method_is_405_with_allow(self):
        self.trunk.request("PUBLISH")
        self.assertIn(b"INVITE", self.trunk.expect(405, "PUBLISH").items(b"allow"))
        self.hang_up()

    def test_options_is_answered(self):
        """RFC 3261 section 11.2."""
        self.trunk.request("OPTIONS")
        self.assertIn(b"UPDATE", self.trunk.expect(200, "OPTIONS").items(b"allow"))
        self.hang_up()

    def test_wrong_tags_are_481(self):
        """ROBUSTNESS 2.11: Call-ID and both tags must match."""
        dialog = self.trunk.dialog
        local, remote = dialog.local, dialog.remote
        dialog.local = local + b"x"
        self.trunk.bye()
        self.trunk.expect(481, "BYE")
        dialog.local, dialog.remote = local, remote + b"x"
        self.trunk.bye()
        self.trunk.expect(481, "BYE")
        dialog.remote = remote
        self.hang_up()

    def test_required_extension_in_a_change_is_420(self):
        """RFC 3261 section 8.2.2.3."""
        self.trunk.reinvite(None, None, b"Require: teleport")
        refused = self.trunk.expect(420)
        self.assertEqual(refused.items(b"unsupported"), [b"teleport"])
        self.trunk.ack_failure(refused)
        self.hang_up()

    def test_bye_that_is_never_answered_ends_the_call_all_the_same(self):
        """RFC 3261 section 15.1.1."""
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.network.run(40)
        self.assertEqual(self.office.count("BYE"), 11)
        self.office.inbox.clear()
        self.assertEqual(self.record.status, "ANSWER")

    def test_info_that_is_never_answered_is_408_and_outlives_the_call(self):
        """RFC 3261 section 17.1.2.2; every request gets an answer, also when the call is over meanwhile."""
        self.trunk.request("INFO", body=b"Signal=1\r\n")
        self.office.expect("INFO")
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.network.run(0.1)
        self.office.respond(self.office.expect("BYE"), 200)
        self.trunk.expect(408, "INFO", within=33)
        self.office.inbox.clear()

    def test_481_to_info_ends_the_call(self):
        """EDGE-CASES 21."""
        self.trunk.request("INFO", body=b"Signal=1\r\n")
        self.office.respond(self.office.expect("INFO"), 481)
        self.trunk.expect(481, "INFO")
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.office.respond(self.office.expect("BYE"), 481)
