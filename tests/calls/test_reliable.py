"""Provisional responses that are acknowledged (EDGE-CASES 25, RFC 3262), each side of the call for itself."""

from calltrack.testing.engine import sip_target
from calltrack.testing.peers import sdp

from tests.calls.case import ANSWER, OFFER, OFFICE, SECOND, CallTestCase

REQUIRED = b"Require: 100rel"
OTHER_ANSWER = sdp(SECOND, 6100)


class CallerTests(CallTestCase):
    """The caller requires reliable provisional responses: ours have an RSeq and wait for PRACK (section 3)."""

    def call(self, *targets, lines=(REQUIRED,), body=OFFER, **options):
        self.start(*targets, **options)
        self.trunk.invite(body=body, lines=lines)
        return self.office.expect("INVITE")

    def prack(self, response, *lines, body=b"", to=None):
        """Acknowledge a reliable response in the early dialog that it belongs to."""
        rack = b"RAck: %b %b" % (response.get(b"rseq"), response.get(b"cseq"))
        if to is not None:
            self.trunk.dialog.remote = to
        self.trunk.request("PRACK", None, rack, *lines, body=body)

    def acknowledge(self, status):
        """Expect a reliable response and acknowledge it."""
        response = self.trunk.expect(status)
        self.prack(response)
        self.trunk.expect(200, "PRACK")
        return response

    def finish(self, invite, answer=ANSWER):
        self.office.respond(invite, 200, sdp=answer)
        self.office.expect("ACK")
        accepted = self.trunk.expect(200, "INVITE")
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()
        return accepted

    def test_required_reliability_gives_every_ringing_an_rseq_that_counts_up(self):
        """EDGE-CASES 25: its own RSeq, whatever the target's side does."""
        invite = self.call()
        self.office.respond(invite, 180)
        first = self.acknowledge(180)
        self.office.respond(invite, 183, sdp=ANSWER)
        second = self.acknowledge(183)
        self.assertEqual(first.tokens(b"require"), [b"100rel"])
        self.assertEqual(int(second.get(b"rseq")), int(first.get(b"rseq")) + 1)
        self.assertTrue(0 < int(first.get(b"rseq")) < 2**31)
        self.finish(invite)

    def test_answer_that_was_acknowledged_is_not_repeated_in_the_200(self):
        """Section 5: one answer in a dialog."""
        invite = self.call()
        self.office.respond(invite, 183, sdp=ANSWER)
        self.assertIn(b"c=IN IP4 192.0.2.1", self.acknowledge(183).sdp)
        self.assertEqual(self.finish(invite).body, b"")

    def test_200_waits_for_the_prack_of_an_answer(self):
        """EDGE-CASES 25, section 3: the final 2xx must not overtake an answer."""
        invite = self.call()
        self.office.respond(invite, 183, sdp=ANSWER)
        ringing = self.trunk.expect(183)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.network.run(0.3)
        self.assertEqual(self.trunk.inbox, [])
        self.prack(ringing)
        self.trunk.expect(200, "PRACK")
        self.trunk.expect(200, "INVITE")
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_200_does_not_wait_for_a_prack_without_description_and_that_is_still_answered(self):
        """Section 3: the UAS stops resending, but must be prepared for the PRACK."""
        invite = self.call()
        self.office.respond(invite, 180)
        ringing = self.trunk.expect(180)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.assertTrue(self.trunk.expect(200, "INVITE").sdp)
        self.trunk.ack()
        self.prack(ringing)
        self.trunk.expect(200, "PRACK")
        self.network.run(40)
        self.assertEqual(self.trunk.count(180), 1)
        self.hang_up()

    def test_unacknowledged_response_is_resent_twice_as_late_each_time(self):
        """Section 3: T1, doubled without a bound."""
        invite = self.call()
        self.office.respond(invite, 180)
        self.network.run(8)
        times = self.trunk.times(180)
        gaps = [round(later - earlier, 1) for earlier, later in zip(times, times[1:])]
        self.assertEqual(gaps, [0.5, 1.0, 2.0, 4.0])
        numbers = {one.get(b"rseq") for one in self.trunk.inbox if one.status == 180}
        self.assertEqual(len(numbers), 1)
        self.prack(self.trunk.inbox[-1])
        self.trunk.inbox.clear()
        self.trunk.expect(200, "PRACK")
        self.finish(invite)

    def test_response_without_prack_for_64_t1_ends_the_call_with_504(self):
        """Section 3: the request is rejected with a 5xx."""
        invite = self.call(sip_target(OFFICE, ring_time=60.0))
        self.office.respond(invite, 180)
        self.network.run(32.2)
        self.trunk.inbox[:] = [one for one in self.trunk.inbox if one.status >= 200]
        self.trunk.ack_failure(self.trunk.expect(504))
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        record = self.record
        self.assertEqual((record.status, record.hangup, record.sip_code), ("CANCEL", "caller", 504))
        self.assertEqual(record.reason, "no PRACK to our provisional response")

    def test_second_response_waits_for_the_prack_of_the_first(self):
        """Section 3: not before the first has been acknowledged."""
        invite = self.call()
        self.office.respond(invite, 180)
        ringing = self.trunk.expect(180)
        self.office.respond(invite, 183, sdp=ANSWER)
        self.network.run(0.3)
        self.assertEqual(self.trunk.inbox, [])
        self.prack(ringing)
        self.trunk.expect(200, "PRACK")
        self.acknowledge(183)
        self.finish(invite)

    def test_prack_for_another_response_is_481(self):
        """Section 3: RSeq, CSeq number and method must all agree."""
        invite = self.call()
        self.office.respond(invite, 180)
        ringing = self.trunk.expect(180)
        number = int(ringing.get(b"rseq"))
        for rack in (b"%d 1 INVITE" % (number + 1), b"%d 2 INVITE" % number, b"%d 1 UPDATE" % number):
            self.trunk.request("PRACK", None, b"RAck: " + rack)
            self.trunk.expect(481, "PRACK")
        for rack in (b"", b"1 INVITE", b"x 1 INVITE", b"+1 1 INVITE"):
            self.trunk.request("PRACK", None, b"RAck: " + rack)
            self.trunk.expect(400, "PRACK")
        self.prack(ringing)
        self.trunk.expect(200, "PRACK")
        self.prack(ringing)
        self.trunk.expect(481, "PRACK")
        self.finish(invite)

    def test_second_offer_in_a_prack_is_488_and_the_response_counts_as_acknowledged(self):
        """Section 5 allows an offer there; nothing changes before the call is answered."""
        invite = self.call()
        self.office.respond(invite, 183, sdp=ANSWER)
        self.prack(self.trunk.expect(183), body=OFFER)
        self.trunk.expect(488, "PRACK")
        self.network.run(10)
        self.assertEqual(self.trunk.count(183), 1)
        self.finish(invite)

    def test_caller_that_only_supports_it_gets_plain_responses(self):
        """Section 3: the UAS may; what is not needed is left out."""
        invite = self.call(lines=(b"Supported: 100rel",))
        self.office.respond(invite, 183, sdp=ANSWER)
        ringing = self.trunk.expect(183)
        self.assertEqual((ringing.get(b"rseq"), ringing.get(b"require")), (None, None))
        self.finish(invite)

    def test_prack_without_any_reliable_response_is_481(self):
        invite = self.call(lines=())
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.trunk.request("PRACK", None, b"RAck: 1 1 INVITE")
        self.trunk.expect(481, "PRACK")
        self.finish(invite)

    def test_call_without_an_offer_hears_no_ringing_it_would_have_to_answer(self):
        """Section 5, RFC 3261 section 13.2.1: the first reliable response would have to bring our offer."""
        invite = self.call(body=b"")
        self.assertEqual(invite.tokens(b"supported"), [b"timer"])
        self.office.respond(invite, 180)
        self.network.run(1)
        self.assertEqual({one.status for one in self.trunk.inbox}, {100})
        self.office.respond(invite, 200, sdp=ANSWER)
        self.assertIn(b"c=IN IP4 192.0.2.1", self.trunk.expect(200).sdp)
        self.trunk.ack(body=OFFER)
        self.assertIn(b"c=IN IP4 192.0.2.1", self.office.expect("ACK").sdp)
        self.hang_up()

    def test_another_targets_answer_comes_in_a_dialog_of_its_own(self):
        """RFC 3261 section 12.1: as from another fork, for the first answer holds in its dialog."""
        invite = self.call(sip_target(OFFICE), sip_target(SECOND))
        second = type(self.office)(self.network, SECOND)
        self.office.respond(invite, 183, sdp=ANSWER)
        first = self.acknowledge(183)
        self.office.respond(invite, 480)
        self.office.expect("ACK")
        invite = second.expect("INVITE")
        second.respond(invite, 183, sdp=OTHER_ANSWER)
        other = self.acknowledge(183)
        self.assertNotEqual(other.to.tag, first.to.tag)
        second.respond(invite, 200, sdp=OTHER_ANSWER)
        second.expect("ACK")
        accepted = self.trunk.expect(200, "INVITE")
        self.assertEqual((accepted.to.tag, accepted.body), (other.to.tag, b""))
        self.trunk.ack()
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        second.respond(second.expect("BYE"), 200)

    def test_winners_different_answer_comes_in_the_200_of_a_dialog_of_its_own(self):
        """RFC 3261 section 13.2.2.4."""
        invite = self.call()
        self.office.respond(invite, 183, sdp=ANSWER)
        first = self.acknowledge(183)
        accepted = self.finish(invite, sdp(OFFICE, 6000, "sendonly"))
        self.assertNotEqual(accepted.to.tag, first.to.tag)
        self.assertTrue(accepted.sdp)

    def test_cancel_while_a_prack_is_awaited_ends_everything(self):
        invite = self.call()
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        self.network.run(40)
        self.assertEqual(self.trunk.count(180), 1)
        self.assertEqual(self.record.status, "CANCEL")

    def test_cancel_while_the_200_waits_ends_the_call_on_both_sides(self):
        """The target has answered already: it gets BYE, the caller 487."""
        invite = self.call()
        self.office.respond(invite, 183, sdp=ANSWER)
        self.trunk.expect(183)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.office.respond(self.office.expect("BYE"), 200)

    def test_prack_that_never_comes_while_the_200_waits_ends_the_call_on_both_sides(self):
        """Section 3: 504 to the caller; the target has answered and gets BYE."""
        invite = self.call()
        self.office.respond(invite, 183, sdp=ANSWER)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.network.run(33, lambda: self.office.inbox)
        self.office.respond(self.office.expect("BYE"), 200)
        self.trunk.inbox[:] = [one for one in self.trunk.inbox if one.status >= 200]
        self.trunk.ack_failure(self.trunk.expect(504))
        self.assertEqual(self.record.reason, "no PRACK to our provisional response")

    def test_targets_bye_while_the_200_waits_refuses_the_caller(self):
        invite = self.call()
        self.office.respond(invite, 183, sdp=ANSWER)
        self.trunk.expect(183)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.office.bye()
        self.office.expect(200, "BYE")
        self.trunk.ack_failure(self.trunk.expect(480))

    def test_targets_change_while_the_200_waits_is_491(self):
        """RFC 3261 section 14.1: the first INVITE is still under way."""
        invite = self.call()
        self.office.respond(invite, 183, sdp=ANSWER)
        ringing = self.trunk.expect(183)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.office.reinvite(ANSWER)
        self.office.ack_failure(self.office.expect(491))
        self.prack(ringing)
        self.trunk.expect(200, "PRACK")
        self.trunk.expect(200, "INVITE")
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()


class TargetTests(CallTestCase):
    """The target answers reliably: each response is acknowledged by PRACK, in order (section 4)."""

    def call(self, **options):
        self.start(**options)
        self.trunk.invite()
        return self.office.expect("INVITE")

    def ring(self, invite, number, status=180, answer=b"", tag=b"callee"):
        self.office.respond(invite, status, REQUIRED, b"RSeq: %d" % number, sdp=answer, tag=tag)

    def finish(self, invite, answer=ANSWER):
        self.office.respond(invite, 200, sdp=answer)
        self.office.expect("ACK")
        self.trunk.expect(200, "INVITE")
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_our_invite_with_an_offer_supports_it(self):
        invite = self.call()
        self.assertIn(b"100rel", invite.tokens(b"supported"))
        self.assertIn(b"PRACK", invite.items(b"allow"))
        self.finish(invite)

    def test_reliable_response_is_acknowledged_in_its_early_dialog(self):
        """EDGE-CASES 25; section 7.2: RAck names RSeq, CSeq number and method."""
        invite = self.call()
        self.ring(invite, 7, 183, ANSWER)
        prack = self.office.expect("PRACK")
        self.assertEqual(prack.get(b"rack"), b"7 1 INVITE")
        self.assertEqual((prack.to.tag, prack.cseq), (b"callee", (2, b"PRACK")))
        self.assertEqual(prack.uri, b"sip:203.0.113.20:5060")
        self.office.respond(prack, 200)
        ringing = self.trunk.expect(183)
        self.assertEqual((bool(ringing.sdp), ringing.get(b"rseq")), (True, None))
        self.finish(invite)

    def test_reliable_response_without_contact_is_acknowledged_where_the_invite_went(self):
        """RFC 3261 section 12.1.1 demands a Contact; unacknowledged, the target would give the call up."""
        invite = self.call()
        self.office.respond(invite, 180, REQUIRED, b"RSeq: 7", contact=b"")
        prack = self.office.expect("PRACK")
        self.assertEqual((prack.uri, prack.to.tag), (invite.uri, b"callee"))
        self.office.respond(prack, 200)
        self.trunk.expect(180)
        self.finish(invite)

    def test_answer_that_came_reliably_holds_when_the_200_has_none(self):
        """Section 5: the 200 need not repeat it."""
        invite = self.call()
        self.ring(invite, 1, 183, ANSWER)
        self.office.respond(self.office.expect("PRACK"), 200)
        self.trunk.expect(183)
        self.office.respond(invite, 200)
        self.assertEqual(self.office.expect("ACK").body, b"")
        self.assertIn(b"c=IN IP4 192.0.2.1", self.trunk.expect(200, "INVITE").sdp)
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_repeated_response_is_not_acknowledged_again(self):
        """Section 4: the PRACK itself is resent until it is answered."""
        invite = self.call()
        self.ring(invite, 1)
        self.ring(invite, 1)
        self.network.run(0.2)
        self.assertEqual(self.office.count("PRACK"), 1)
        self.office.respond(self.office.expect("PRACK"), 200)
        self.trunk.expect(180)
        self.assertEqual(self.trunk.inbox, [])
        self.finish(invite)

    def test_response_that_overtook_another_is_not_looked_at_until_its_turn(self):
        """Section 4: RSeq must be one higher than the last."""
        invite = self.call()
        self.ring(invite, 1)
        self.office.respond(self.office.expect("PRACK"), 200)
        self.trunk.expect(180)
        self.ring(invite, 3, 183, ANSWER)
        self.office.expect_nothing(0.5)
        for number, status, answer in ((2, 182, b""), (3, 183, ANSWER)):
            self.ring(invite, number, status, answer)
            prack = self.office.expect("PRACK")
            self.assertEqual(prack.get(b"rack"), b"%d 1 INVITE" % number)
            self.office.respond(prack, 200)
            self.trunk.expect(status)
        self.finish(invite)

    def test_every_fork_has_its_own_rseq(self):
        """Section 4: numbers count within one early dialog."""
        invite = self.call()
        self.ring(invite, 10, tag=b"one")
        first = self.office.expect("PRACK")
        self.office.respond(first, 200)
        self.ring(invite, 10, tag=b"callee")
        second = self.office.expect("PRACK")
        self.office.respond(second, 200)
        self.assertEqual((first.to.tag, second.to.tag), (b"one", b"callee"))
        self.trunk.expect(180)
        self.finish(invite)

    def test_response_without_an_rseq_that_can_be_read_is_passed_over(self):
        """Section 4: it cannot be acknowledged, so it must not be processed."""
        invite = self.call()
        for number in (b"RSeq: x", b"RSeq: -1", b"RSeq: 99999999999"):
            self.office.respond(invite, 180, REQUIRED, number)
        self.office.expect_nothing(0.5)
        self.assertEqual({one.status for one in self.trunk.inbox}, {100})
        self.finish(invite)

    def test_rseq_without_require_is_a_plain_response(self):
        invite = self.call()
        self.office.respond(invite, 180, b"RSeq: 5")
        self.trunk.expect(180)
        self.assertEqual(self.office.count("PRACK"), 0)
        self.finish(invite)

    def test_refused_prack_does_not_end_the_call(self):
        """A PRACK may come after what it is for is over."""
        for status in (481, 408, 500):
            invite = self.call() if self.engine is None else self.again()
            self.ring(invite, 1)
            self.office.respond(self.office.expect("PRACK"), status)
            self.trunk.expect(180)
            self.finish(invite)
        self.expected_records = 3

    def again(self):
        self.trunk.invite()
        return self.office.expect("INVITE")

    def test_prack_that_is_never_answered_does_not_end_the_call(self):
        invite = self.call()
        self.ring(invite, 1)
        self.office.expect("PRACK")
        self.trunk.expect(180)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.trunk.expect(200, "INVITE")
        self.trunk.ack()
        self.network.run(40)
        self.assertEqual({one.method for one in self.office.inbox}, {b"PRACK", b"ACK"})
        self.office.inbox.clear()
        self.hang_up()

    def test_reliable_ringing_while_we_cancel_is_acknowledged_and_the_caller_hears_nothing(self):
        """CANCEL crosses a reliable 183 (section 4; EDGE-CASES 2)."""
        invite = self.call()
        self.office.respond(invite, 100)
        self.network.run(0.1)
        self.trunk.cancel()
        self.ring(invite, 1, 183, ANSWER)
        self.network.run(0.1)
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.office.inbox[:] = [one for one in self.office.inbox if one.method != b"PRACK"]
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        self.network.run(40)
        self.office.inbox[:] = [one for one in self.office.inbox if one.method != b"PRACK"]


class BothSidesTests(CallTestCase):
    def test_each_side_is_acknowledged_for_itself(self):
        """EDGE-CASES 25: a PRACK of the caller is not the target's, nor the other way round."""
        self.start()
        self.trunk.invite(lines=(REQUIRED,))
        invite = self.office.expect("INVITE")
        self.assertEqual(invite.get(b"require"), None)
        self.office.respond(invite, 183, REQUIRED, b"RSeq: 4711", sdp=ANSWER)
        prack = self.office.expect("PRACK")
        self.office.respond(prack, 200)
        ringing = self.trunk.expect(183)
        self.assertNotEqual(ringing.get(b"rseq"), b"4711")
        self.office.respond(invite, 200)
        self.office.expect("ACK")
        self.network.run(0.1)
        self.assertEqual(self.trunk.inbox, [])
        self.trunk.request("PRACK", None, b"RAck: %b 1 INVITE" % ringing.get(b"rseq"))
        self.trunk.expect(200, "PRACK")
        self.trunk.expect(200, "INVITE")
        self.trunk.ack()
        self.network.run(0.1)
        self.assertEqual(self.office.count("PRACK"), 1)
        self.hang_up()
