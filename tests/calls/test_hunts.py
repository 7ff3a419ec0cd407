"""Which target rings when, and what moves a call on (PRODUCT sections 2.4, 4 and 5), over the network."""

from twisted.internet import defer

from calltrack.calls.destinations import Destination
from calltrack.sip.locating import NextHop
from calltrack.testing.engine import TRUNK, sip_target
from calltrack.testing.network import Link
from calltrack.testing.peers import Peer
from calltrack.tracking.model import Target
from msgspec.structs import replace

from tests.calls.case import ANSWER, OFFER, OFFICE, SECOND, CallTestCase

PROVIDER = "203.0.113.50"


class HuntTestCase(CallTestCase):
    def setUp(self):
        super().setUp()
        self.second = Peer(self.network, SECOND)

    def refuse(self, peer, status, *lines):
        invite = peer.expect("INVITE")
        peer.respond(invite, status, *lines)
        peer.expect("ACK")
        return invite

    def answer(self, peer):
        """`peer` takes the call, and the caller ends it."""
        invite = peer.expect("INVITE")
        peer.respond(invite, 200, sdp=ANSWER)
        peer.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        peer.respond(peer.expect("BYE"), 200)
        return invite

    def refused(self, status):
        response = self.trunk.expect(status)
        self.trunk.ack_failure(response)
        return response


class InOrderTests(HuntTestCase):
    def setUp(self):
        super().setUp()
        self.start(sip_target(OFFICE, ring_time=10), sip_target(SECOND, ring_time=10))
        self.trunk.invite()

    def test_target_that_fails_is_followed_by_the_next(self):
        """Time-out, 408, 480, 5xx and transport failure try the next target."""
        self.refuse(self.office, 503)
        self.answer(self.second)
        self.assertEqual((self.record.status, self.record.target), ("ANSWER", f"sip:office@{SECOND}"))

    def test_each_target_has_its_own_call_id(self):
        one = self.refuse(self.office, 480)
        two = self.answer(self.second)
        self.assertNotEqual(one.call_id, two.call_id)

    def test_busy_stops_hunting(self):
        """486, 600 and 603: somebody is there and says no."""
        self.refuse(self.office, 486)
        response = self.refused(486)
        self.assertIn(b"Q.850;cause=17", response.get(b"reason"))
        self.second.expect_nothing()
        self.assertEqual((self.record.status, self.record.sip_code), ("BUSY", 486))

    def test_decline_is_busy(self):
        self.refuse(self.office, 603)
        self.refused(486)
        self.second.expect_nothing()

    def test_target_that_rings_too_long_is_cancelled_and_the_next_one_rings(self):
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.network.run(9)
        self.assertEqual(self.second.heard, [])
        self.office.respond(self.office.expect("CANCEL", within=2), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        self.answer(self.second)

    def test_answer_that_crosses_the_end_of_the_ring_time_gets_bye(self):
        """EDGE-CASES 3, seen from the target."""
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.network.run(9.9)
        cancel = self.office.expect("CANCEL")
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.respond(cancel, 200)
        self.office.expect("ACK")
        self.office.respond(self.office.expect("BYE"), 200)
        self.answer(self.second)

    def test_nobody_answers(self):
        for peer in (self.office, self.second):
            invite = peer.expect("INVITE")
            peer.respond(invite, 180)
            peer.respond(peer.expect("CANCEL", within=11), 200)
            peer.respond(invite, 487)
            peer.expect("ACK")
        self.trunk.expect(180)
        self.refused(480)
        self.assertEqual((self.record.status, self.record.q850), ("NOANSWER", 19))
        self.assertApproximates(self.record.duration, 20, 0.3)

    def test_caller_hears_the_best_of_what_the_targets_said(self):
        """RFC 3261 section 16.7, as far as it is ours."""
        self.refuse(self.office, 480)
        self.refuse(self.second, 404)
        self.refused(480)
        self.assertEqual(self.record.status, "NOANSWER")

    def test_silent_target_is_left_after_its_ring_time(self):
        """No answer at all, not even 100: nothing to cancel; Timer B ends it."""
        self.office.udp.stopListening()
        self.answer_after(10.5)

    def answer_after(self, seconds):
        self.network.run(seconds)
        self.answer(self.second)

    def test_redirection_is_not_followed(self):
        """ARCHITECTURE: outbound only to configured destinations, never by a 3xx Contact."""
        stranger = Peer(self.network, "203.0.113.66")
        self.refuse(self.office, 302, b"Contact: <sip:203.0.113.66>")
        self.answer(self.second)
        stranger.expect_nothing()

    def test_exchange_that_asks_for_a_password_is_left_and_the_record_says_it(self):
        """PRODUCT section 4."""
        self.refuse(self.office, 401, b'WWW-Authenticate: Digest realm="pbx", nonce="n"')
        self.refuse(self.second, 407, b'Proxy-Authenticate: Digest realm="pbx", nonce="n"')
        self.refused(480)
        self.assertIn("must accept calls from this address without one", self.record.reason)


class AllAtOnceTests(HuntTestCase):
    def setUp(self):
        super().setUp()
        self.start(sip_target(OFFICE), sip_target(SECOND), ring="all")
        self.trunk.invite()

    def test_first_answer_wins_and_the_others_are_cancelled_with_a_reason(self):
        """PRODUCT section 2.4: Call completed elsewhere."""
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.answer(self.second)
        cancel = self.office.expect("CANCEL")
        self.assertEqual(cancel.get(b"reason"), b'SIP;cause=200;text="Call completed elsewhere"')
        self.office.respond(cancel, 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        self.assertEqual(self.record.target, f"sip:office@{SECOND}")

    def test_two_answers_at_once_leave_one_call(self):
        """EDGE-CASES 9, of two targets."""
        invites = self.office.expect("INVITE"), self.second.expect("INVITE")
        self.office.respond(invites[0], 200, sdp=ANSWER)
        self.second.respond(invites[1], 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.second.expect("ACK")
        self.second.respond(self.second.expect("BYE"), 200)
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_one_busy_phone_does_not_silence_the_others(self):
        self.refuse(self.office, 486)
        self.network.run(5)
        self.second.inbox[1:] = []
        self.answer(self.second)

    def test_every_phone_busy_is_busy(self):
        self.refuse(self.office, 486)
        self.refuse(self.second, 600)
        self.refused(486)
        self.assertEqual(self.record.status, "BUSY")

    def test_early_media_of_each_phone_has_ports_of_its_own(self):
        """ARCHITECTURE section 5."""
        offers = [peer.expect("INVITE") for peer in (self.office, self.second)]
        ports = {line for offer in offers for line in offer.sdp.split(b"\r\n") if line.startswith(b"m=")}
        self.assertEqual(len(ports), 2)
        for peer, invite in zip((self.office, self.second), offers):
            peer.respond(invite, 486)
            peer.expect("ACK")
        self.refused(486)


class NextHopTests(HuntTestCase):
    """RFC 3263: one address, several servers."""

    def setUp(self):
        super().setUp()
        self.start(sip_target("pbx.example"))
        hops = [NextHop("udp", OFFICE, 5060), NextHop("udp", SECOND, 5060)]
        self.engine.resolver.names["pbx.example"] = hops

    def test_503_moves_on_to_the_next_server(self):
        """RFC 3263 section 4.3; a new branch and From tag, since it is a new request."""
        self.trunk.invite()
        one = self.refuse(self.office, 503)
        two = self.answer(self.second)
        self.assertNotEqual((one.via.branch, one.from_.tag), (two.via.branch, two.from_.tag))
        self.assertEqual(two.uri, b"sip:office@pbx.example")

    def test_other_failures_do_not(self):
        self.trunk.invite()
        self.refuse(self.office, 500)
        self.refused(500)
        self.second.expect_nothing()

    def test_silence_moves_on_after_timer_b(self):
        """RFC 3263 section 4.3, RFC 3261 section 17.1.1.2."""
        self.office.udp.stopListening()
        self.engine.scenarios.routes[self.engine.number] = replace(
            self.engine.route, targets=(sip_target("pbx.example", ring_time=60),)
        )
        self.trunk.invite()
        self.network.run(32.1)
        self.answer(self.second)

    def test_name_that_does_not_exist_is_in_the_record(self):
        self.engine.resolver.names.clear()
        self.trunk.invite()
        self.refused(503)
        self.assertEqual(self.record.status, "CHANUNAVAIL")
        self.assertIn("there is no such name", self.record.reason)

    def test_refused_connection_moves_on_at_once(self):
        """RFC 3261 section 18.4: a transport failure counts as 503."""
        self.engine.resolver.names["pbx.example"] = [NextHop("tcp", OFFICE, 5060), NextHop("udp", SECOND, 5060)]
        self.trunk.invite()
        self.answer(self.second)
        self.assertEqual(self.record.status, "ANSWER")

    def test_connection_that_is_never_made_moves_on_after_4_s(self):
        self.network.link("192.0.2.1", OFFICE, Link(loss=1.0))
        self.engine.resolver.names["pbx.example"] = [NextHop("tcp", OFFICE, 5060), NextHop("udp", SECOND, 5060)]
        self.trunk.invite()
        self.network.run(4)
        self.answer(self.second)


class LargeRequestTests(CallTestCase):
    """EDGE-CASES 16, RFC 3261 section 18.1.1: requests over 1300 bytes go over TCP where the peer has it."""

    large = OFFER + b"a=candidate:1 1 UDP 1 198.51.100.7 4000 typ host\r\n" * 30

    def test_large_invite_goes_over_tcp_and_the_rest_of_the_dialog_as_the_contact_says(self):
        office = Peer(self.network, "203.0.113.30", transport="tcp")
        self.office = Peer(self.network, "203.0.113.31")
        self.start(sip_target("203.0.113.30"))
        self.trunk.invite(body=self.large)
        invite = office.expect("INVITE")
        self.assertTrue(invite.get(b"via").startswith(b"SIP/2.0/TCP"))
        office.respond(invite, 200, sdp=ANSWER, contact=b"<sip:203.0.113.31:5060>")
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.office.dialog = office.dialog
        self.hang_up()

    def test_large_invite_to_a_peer_without_tcp_goes_over_udp(self):
        self.start()
        self.trunk.invite(body=self.large)
        invite = self.office.expect("INVITE")
        self.assertTrue(invite.get(b"via").startswith(b"SIP/2.0/UDP"))
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))


class OutboundTrunkTests(HuntTestCase):
    """PRODUCT section 5: phone numbers over a trunk."""

    target = Target(kind="phone", address="+74951234567")

    def setUp(self):
        super().setUp()
        self.provider = Peer(self.network, PROVIDER)

    def out(self, **fields):
        return replace(TRUNK, **{"name": "out", "sources": (), "outbound": f"sip:{PROVIDER}", **fields})

    def test_number_leaves_by_the_trunk(self):
        self.start(self.target, trunks=[TRUNK, self.out()])
        self.trunk.invite()
        invite = self.answer(self.provider)
        self.assertEqual(invite.uri, b"sip:+74951234567@203.0.113.50")
        self.assertEqual(self.record.target, "phone:+74951234567")

    def test_challenge_is_answered_and_the_ack_and_bye_carry_credentials(self):
        """EDGE-CASES 37; RFC 3261 sections 22.1, 22.3: the ACK repeats the INVITE's."""
        self.start(self.target, trunks=[TRUNK, self.out(username="shop", password="secret")])
        self.trunk.invite()
        one = self.refuse(self.provider, 407, b'Proxy-Authenticate: Digest realm="p", nonce="n1", qop="auth"')
        two = self.provider.expect("INVITE")
        self.assertIn(b'username="shop"', two.get(b"proxy-authorization"))
        self.assertEqual((two.call_id, two.from_.tag, two.cseq[0]), (one.call_id, one.from_.tag, one.cseq[0] + 1))
        self.provider.respond(two, 200, sdp=ANSWER)
        ack = self.provider.expect("ACK")
        self.assertEqual(ack.get(b"proxy-authorization"), two.get(b"proxy-authorization"))
        self.assertEqual(ack.cseq[0], two.cseq[0])
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        bye = self.provider.expect("BYE")
        self.assertIn(b"nc=00000002", bye.get(b"proxy-authorization"))
        self.provider.respond(bye, 200)

    def test_challenged_bye_is_answered_with_credentials(self):
        """EDGE-CASES 27."""
        self.start(self.target, trunks=[TRUNK, self.out(username="shop", password="secret")])
        self.trunk.invite()
        invite = self.provider.expect("INVITE")
        self.provider.respond(invite, 200, sdp=ANSWER)
        self.provider.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        bye = self.provider.expect("BYE")
        self.provider.respond(bye, 401, b'WWW-Authenticate: Digest realm="p", nonce="n1", qop="auth"')
        again = self.provider.expect("BYE")
        self.assertIn(b'username="shop"', again.get(b"authorization"))
        self.assertEqual(again.cseq[0], bye.cseq[0] + 1)
        self.provider.respond(again, 200)

    def test_wrong_password_is_not_tried_for_ever_and_the_record_says_it(self):
        """EDGE-CASES 37: the same nonce again means stop."""
        self.start(self.target, trunks=[TRUNK, self.out(username="shop", password="wrong")])
        self.trunk.invite()
        challenge = b'Proxy-Authenticate: Digest realm="p", nonce="n1", qop="auth"'
        self.refuse(self.provider, 407, challenge)
        self.refuse(self.provider, 407, challenge)
        self.refused(480)
        self.provider.expect_nothing()
        self.assertIn("user name or password of trunk out is refused", self.record.reason)

    def test_next_trunk_is_tried_when_the_first_reaches_nobody(self):
        self.start(self.target, trunks=[TRUNK, self.out(), self.out(name="other", outbound=f"sip:{SECOND}")])
        self.trunk.invite()
        self.refuse(self.provider, 503)
        self.answer(self.second)

    def test_next_trunk_is_not_tried_when_somebody_was_reached(self):
        self.start(self.target, trunks=[TRUNK, self.out(), self.out(name="other", outbound=f"sip:{SECOND}")])
        self.trunk.invite()
        self.refuse(self.provider, 486)
        self.refused(486)
        self.second.expect_nothing()

    def test_full_trunk_is_passed_over(self):
        """PRODUCT section 2: limits per trunk."""
        self.start(self.target, trunks=[TRUNK, self.out(max_rate=0.001), self.out(name="other", outbound=f"sip:{SECOND}")])
        self.expected_records = 2
        self.trunk.invite()
        self.answer(self.provider)
        self.trunk.invite()
        self.answer(self.second)

    def test_withheld_caller_stays_withheld(self):
        """RFC 3323."""
        self.start(self.target, trunks=[TRUNK, self.out()])
        self.trunk.invite(lines=(b"Privacy: id",))
        invite = self.answer(self.provider)
        self.assertEqual(invite.from_.uri, b"sip:anonymous@anonymous.invalid")
        self.assertNotIn(b"14155550100", invite.contact)
        self.assertEqual(self.record.caller, "")


class SlowAccountTests(HuntTestCase):
    """Targets whose destinations take time to find, as a plugin's location store may."""

    def setUp(self):
        super().setUp()
        self.start(Target(kind="account", address=""), sip_target(SECOND))
        self.found = defer.Deferred()
        self.engine.calls.destinations._account = lambda target, route: self.found

    def destinations(self, *hosts):
        return [[Destination(b"sip:office@" + host.encode(), b"sip:office@" + host.encode()) for host in hosts]]

    def test_account_rings_on_every_contact_at_once(self):
        """PRODUCT section 2.4."""
        self.trunk.invite()
        self.network.run(0.5)
        self.found.callback(self.destinations(OFFICE, SECOND))
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.answer(self.second)
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")

    def test_contacts_found_after_the_caller_gave_up_are_not_rung(self):
        """EDGE-CASES 6."""
        self.trunk.invite()
        self.trunk.expect(100)
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.refused(487)
        before = self.engine.timers.pending()
        self.found.callback(self.destinations(OFFICE))
        self.assertEqual(self.engine.timers.pending(), before)
        self.office.expect_nothing()

    def test_store_that_fails_moves_on_to_the_next_target(self):
        """interfaces: any other failure is a bug, is logged, and the call goes on."""
        self.trunk.invite()
        self.found.errback(ZeroDivisionError("a bug"))
        self.answer(self.second)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_store_that_never_answers_is_left_after_the_ring_time(self):
        self.trunk.invite()
        self.network.run(20.5)
        self.answer(self.second)
