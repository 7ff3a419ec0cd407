"""Answers that come twice, from two, or too late, and ACKs that never come (EDGE-CASES 7 to 12, 20)."""

from calltrack.testing.peers import Peer, sdp

from tests.calls.case import ANSWER, OFFER, CallTestCase


class SuccessTests(CallTestCase):
    def test_repeated_2xx_is_acknowledged_each_time(self):
        """EDGE-CASES 7, RFC 3261 section 13.2.2.4."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        answer = self.office.respond(invite, 200, sdp=ANSWER)
        first = self.office.expect("ACK")
        for _ in range(3):
            self.office.send(answer)
            again = self.office.expect("ACK")
            self.assertEqual(again.cseq, first.cseq)
        self.trunk.expect(200)
        self.trunk.ack()
        self.hang_up()

    def test_repeated_2xx_during_a_late_offer_is_acknowledged_once_the_caller_has(self):
        """EDGE-CASES 23: the ACK carries the answer, so it waits for it."""
        self.start()
        self.trunk.invite(body=b"")
        answer = self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.trunk.expect(200)
        self.office.send(answer)
        self.office.expect_nothing(0.2)
        self.trunk.ack(body=OFFER)
        self.assertTrue(self.office.expect("ACK").sdp)
        self.office.send(answer)
        self.assertTrue(self.office.expect("ACK").sdp)
        self.hang_up()

    def test_ack_and_bye_go_along_the_route_set(self):
        """EDGE-CASES 30, RFC 3261 section 12.2.1.1: Record-Route in reverse, the Contact as Request-URI."""
        self.start()
        proxy = Peer(self.network, "203.0.113.9")
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        routes = b"Record-Route: <sip:203.0.113.8;lr>,<sip:203.0.113.9;lr>"
        self.office.respond(invite, 200, routes, sdp=ANSWER, contact=b"<sip:desk@203.0.113.20:5070>")
        ack = proxy.expect("ACK")
        self.assertEqual(ack.uri, b"sip:desk@203.0.113.20:5070")
        self.assertEqual(ack.items(b"route"), [b"<sip:203.0.113.9;lr>", b"<sip:203.0.113.8;lr>"])
        self.trunk.expect(200)
        self.trunk.ack()
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        bye = proxy.expect("BYE")
        self.assertEqual((bye.uri, bye.items(b"route")), (ack.uri, ack.items(b"route")))
        proxy.respond(bye, 200)

    def test_strict_router_gets_its_own_uri_as_request_uri(self):
        """EDGE-CASES 30, RFC 3261 section 12.2.1.1."""
        self.start()
        proxy = Peer(self.network, "203.0.113.9")
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(
            invite, 200, b"Record-Route: <sip:203.0.113.9>", sdp=ANSWER, contact=b"<sip:desk@203.0.113.20>"
        )
        ack = proxy.expect("ACK")
        self.assertEqual(ack.uri, b"sip:203.0.113.9")
        self.assertEqual(ack.items(b"route"), [b"<sip:desk@203.0.113.20>"])
        self.trunk.expect(200)
        self.trunk.ack()
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        proxy.respond(proxy.expect("BYE"), 200)

    def test_bye_to_the_caller_follows_its_record_route(self):
        """RFC 3261 section 12.1.1: the UAS keeps the order of Record-Route."""
        self.start()
        proxy = Peer(self.network, "198.51.100.9")
        self.trunk.invite(lines=(b"Record-Route: <sip:198.51.100.9;lr>", b"Record-Route: <sip:198.51.100.10;lr>"))
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        answer = self.trunk.expect(200)
        self.assertEqual(answer.items(b"record-route"), [b"<sip:198.51.100.9;lr>", b"<sip:198.51.100.10;lr>"])
        self.trunk.ack()
        self.office.bye()
        self.office.expect(200, "BYE")
        bye = proxy.expect("BYE")
        self.assertEqual(bye.items(b"route"), [b"<sip:198.51.100.9;lr>", b"<sip:198.51.100.10;lr>"])
        self.assertEqual(bye.uri, b"sip:198.51.100.7:5060")
        proxy.respond(bye, 200)

    def test_2xx_of_ours_that_is_never_acknowledged_ends_in_bye_on_both_sides(self):
        """EDGE-CASES 8, RFC 3261 section 13.3.1.4: resent from T1 up to T2 until 64*T1."""
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        first = self.trunk.expect(200)
        self.network.run(31.8)
        times = self.trunk.times(200)
        gaps = [round(later - earlier, 1) for earlier, later in zip(times, times[1:])]
        self.assertEqual(gaps, [0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0])
        self.trunk.inbox.clear()
        self.office.respond(self.office.expect("BYE", within=3), 200)
        bye = self.trunk.expect("BYE")
        self.trunk.respond(bye, 200)
        self.assertEqual(bye.from_.tag, first.to.tag)
        self.assertEqual((self.record.status, self.record.reason), ("ANSWER", "no ACK to our 200"))

    def test_bye_before_the_ack_is_accepted(self):
        """EDGE-CASES 20."""
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.office.respond(self.office.expect("BYE"), 200)
        self.trunk.expect_nothing()
        self.assertEqual(self.record.status, "ANSWER")

    def test_targets_bye_before_the_callers_ack_waits_for_it(self):
        """RFC 3261 section 15: a callee sends no BYE before the ACK of its 2xx."""
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.office.bye()
        self.office.expect(200, "BYE")
        self.trunk.expect_nothing(0.3)
        self.trunk.ack()
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.assertEqual(self.record.hangup, "target")

    def test_bye_with_cseq_0_from_the_target_is_accepted(self):
        """RFC 3261 section 12.1.2: the remote sequence number of the caller's dialog starts empty."""
        self.start()
        self.talk()
        self.office.dialog.cseq = -1
        self.office.bye()
        self.office.expect(200, "BYE")
        self.trunk.respond(self.trunk.expect("BYE"), 200)

    def test_tag_of_the_200_names_the_dialog(self):
        """EDGE-CASES 10: the To tag differs between 180 and 200."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180, tag=b"desk")
        self.trunk.expect(180)
        self.office.respond(invite, 200, sdp=ANSWER, tag=b"mobile")
        self.assertEqual(self.office.expect("ACK").to.tag, b"mobile")
        self.trunk.expect(200)
        self.trunk.ack()
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        bye = self.office.expect("BYE")
        self.assertEqual(bye.to.tag, b"mobile")
        self.office.respond(bye, 200)

    def test_second_fork_that_answers_gets_ack_and_bye(self):
        """EDGE-CASES 9, RFC 3261 section 13.2.2.4."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180, tag=b"one")
        self.office.respond(invite, 180, tag=b"two")
        self.trunk.expect(180)
        self.office.respond(invite, 200, sdp=ANSWER, tag=b"one")
        self.assertEqual(self.office.expect("ACK").to.tag, b"one")
        self.trunk.expect(200)
        self.trunk.ack()
        second = self.office.respond(invite, 200, sdp=ANSWER, tag=b"two")
        self.assertEqual(self.office.expect("ACK").to.tag, b"two")
        bye = self.office.expect("BYE")
        self.assertEqual(bye.to.tag, b"two")
        self.assertIn(b"cause=200", bye.get(b"reason"))
        self.office.send(second)
        self.assertEqual(self.office.expect("ACK").to.tag, b"two")
        self.office.respond(bye, 200)
        self.trunk.expect_nothing()
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        bye = self.office.expect("BYE")
        self.assertEqual(bye.to.tag, b"one")
        self.office.respond(bye, 200)

    def test_fork_that_answers_after_the_call_is_over_gets_ack_and_bye(self):
        """EDGE-CASES 9, RFC 6026: Timer M."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 200, sdp=ANSWER, tag=b"one")
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()
        self.office.respond(invite, 200, sdp=ANSWER, tag=b"two")
        self.assertEqual(self.office.expect("ACK").to.tag, b"two")
        self.office.respond(self.office.expect("BYE"), 200)

    def test_2xx_without_to_tag_makes_a_dialog_without_one(self):
        """RFC 3261 section 12.1.2: a peer of RFC 2543 has no tag, and we MUST be prepared for it."""
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER, tag=b"")
        self.assertEqual(self.office.expect("ACK").to.tag, b"")
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.office.bye()
        self.office.expect(200, "BYE")
        self.trunk.respond(self.trunk.expect("BYE"), 200)

    def test_2xx_that_makes_no_dialog_fails_the_target(self):
        """RFC 3261 section 12.1.2: without a Contact there is nothing to send an ACK to."""
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER, contact=b"")
        self.trunk.ack_failure(self.trunk.expect(502))
        self.assertIn("no usable Contact", self.record.reason)

    def test_route_set_that_cannot_be_followed_fails_the_target(self):
        """RFC 3261 section 12.1.2."""
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, b"Record-Route: <sip:[::1;lr>", sdp=ANSWER)
        self.trunk.ack_failure(self.trunk.expect(502))

    def test_2xx_with_a_route_set_other_than_the_180s_counts(self):
        """RFC 3261 section 13.2.2.4: the route set is computed again from the 2xx."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180, b"Record-Route: <sip:203.0.113.9;lr>")
        self.trunk.expect(180)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.assertEqual(self.office.expect("ACK").items(b"route"), [])
        self.trunk.expect(200)
        self.trunk.ack()
        self.hang_up()


class AckTests(CallTestCase):
    def test_late_ack_after_a_new_reinvite_is_matched_by_cseq(self):
        """EDGE-CASES 11: the first ACK was lost; the one for the re-INVITE is not it."""
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        first = self.trunk.dialog.cseq
        self.trunk.reinvite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.6)
        self.assertEqual(self.trunk.expect(200).cseq[0], first)
        self.trunk.ack(cseq=first)
        self.trunk.expect_nothing(3)
        self.hang_up()

    def test_ack_to_a_failure_is_absorbed(self):
        """EDGE-CASES 12."""
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 486)
        self.office.expect("ACK")
        refused = self.trunk.expect(486)
        for _ in range(3):
            self.trunk.ack_failure(refused)
        self.trunk.expect_nothing()
        self.assertEqual(self.trunk.count(486), 1)

    def test_ack_out_of_nowhere_is_ignored(self):
        """RFC 3261 section 13.3.1.4."""
        self.start()
        self.talk()
        stray = Peer(self.network, "203.0.113.66")
        stray.dialog = self.trunk.dialog
        stray.request("ACK", cseq=99, body=sdp("203.0.113.66"))
        stray.expect_nothing()
        self.office.expect_nothing()
        self.hang_up()

    def test_failure_without_ack_is_resent_until_64_t1(self):
        """RFC 3261 section 17.2.1, Timers G and H."""
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 486)
        self.office.expect("ACK")
        self.network.run(40)
        self.assertEqual(self.trunk.count(486), 11)
        self.trunk.inbox.clear()
