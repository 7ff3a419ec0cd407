"""Calls from trunk to target and back, over the in-memory network: set up, refused, ended, recorded."""

from calltrack.calls.settings import CallsSettings
from calltrack.errors import MediaUnavailable, StoreUnavailable, UnusableSDP
from calltrack.sip.message import parse
from calltrack.testing.engine import TRUNK, sip_target
from calltrack.testing.peers import Peer, sdp
from calltrack.tracking.model import Target
from msgspec.structs import replace
from twisted.logger import formatEvent, globalLogPublisher

from tests.calls.case import ANSWER, OFFER, OFFICE, CallTestCase


class StaticCallTests(CallTestCase):
    """PRODUCT section 2: a call from trunk to record."""

    def test_call_is_forwarded_answered_and_ended_with_one_record(self):
        """RFC 3261 sections 13 and 15."""
        self.start()
        self.trunk.invite(self.engine.number, body=OFFER)
        self.trunk.expect(100)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.network.run(3)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        answer = self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(40)
        self.hang_up()
        self.assertIn(b"c=IN IP4 192.0.2.1", invite.sdp)
        self.assertIn(b"c=IN IP4 192.0.2.1", answer.sdp)
        record = self.record
        self.assertEqual((record.status, record.hangup, record.sip_code), ("ANSWER", "caller", 200))
        self.assertEqual((record.caller, record.callee, record.trunk), ("14155550100", "11231234567", "provider"))
        self.assertEqual(record.target, f"sip:office@{OFFICE}")
        self.assertApproximates(record.waiting_time, 3, 0.1)
        self.assertApproximates(record.answer_duration, 40, 0.1)
        self.assertTrue(record.target_call)

    def test_record_has_the_ladder_of_both_dialogs(self):
        """PRODUCT section 8: `call show`."""
        self.start()
        self.talk()
        self.hang_up()
        self.network.run(1)
        ladder = [(step.side, step.sent, step.text) for step in self.record.ladder]
        for step in (
            ("caller", False, "INVITE"),
            ("caller", True, "100 Trying (INVITE)"),
            ("target-1", True, "INVITE"),
            ("target-1", True, "ACK"),
            ("caller", True, "200 OK (INVITE)"),
            ("caller", False, "ACK"),
            ("caller", False, "BYE"),
            ("caller", True, "200 OK (BYE)"),
            ("target-1", True, "BYE"),
        ):
            self.assertIn(step, ladder)

    def test_target_hangs_up(self):
        """RFC 3261 section 15.1.2."""
        self.start()
        self.talk()
        self.office.bye()
        self.office.expect(200, "BYE")
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.assertEqual((self.record.status, self.record.hangup), ("ANSWER", "target"))

    def test_both_hang_up_at_once_and_both_get_200(self):
        """EDGE-CASES 20."""
        self.start()
        self.talk()
        self.trunk.bye()
        self.office.bye()
        self.office.respond(self.office.expect("BYE"), 200)
        self.office.expect(200, "BYE")
        self.trunk.expect(200, "BYE")
        self.trunk.expect_nothing()
        self.assertEqual(self.record.hangup, "caller")

    def test_an_established_call_is_acknowledged_once(self):
        """RFC 3261 section 13.2.2.4: an ACK for each 2xx that comes, and no more."""
        self.start()
        self.talk()
        self.hang_up()
        self.office.expect_nothing()
        self.assertEqual(self.office.count("ACK"), 1)

    def test_early_media_then_180_are_both_passed_on(self):
        """EDGE-CASES 24: 183 with SDP, then 180."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 183, sdp=ANSWER)
        early = self.trunk.expect(183)
        self.assertIn(b"c=IN IP4 192.0.2.1", early.sdp)
        self.office.respond(invite, 180)
        self.assertEqual(self.trunk.expect(180).sdp, b"")
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.assertEqual(self.trunk.expect(200).sdp, early.sdp)
        self.trunk.ack()
        self.hang_up()

    def test_180_with_a_description_is_early_media(self):
        """EDGE-CASES 24."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180, sdp=ANSWER)
        self.assertIn(b"c=IN IP4 192.0.2.1", self.trunk.expect(180).sdp)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.hang_up()

    def test_late_offer_goes_end_to_end(self):
        """EDGE-CASES 23: the INVITE has no SDP, the 200 offers, the ACK answers."""
        self.start()
        self.trunk.invite(body=b"")
        invite = self.office.expect("INVITE")
        self.assertEqual(invite.body, b"")
        self.office.respond(invite, 200, sdp=sdp(OFFICE, 6000))
        offer = self.trunk.expect(200)
        self.assertIn(b"c=IN IP4 192.0.2.1", offer.sdp)
        self.assertEqual(self.office.count("ACK"), 0)
        self.trunk.ack(body=OFFER)
        answer = self.office.expect("ACK")
        self.assertIn(b"c=IN IP4 192.0.2.1", answer.sdp)
        self.hang_up()
        said = [step[:3] for step in self.engine.relay.sessions[0].said]
        self.assertIn(("offer", "target-1", "caller"), said)
        self.assertIn(("answer", "caller", "target-1"), said)

    def test_late_offer_that_the_caller_does_not_answer_is_acknowledged_all_the_same(self):
        """RFC 3261 section 13.2.2.4: a 2xx is acknowledged whatever comes of it."""
        self.start()
        self.trunk.invite(body=b"")
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 200, sdp=ANSWER)
        self.trunk.expect(200)
        self.trunk.ack()
        self.office.expect("ACK")
        self.hang_up()

    def test_dtmf_by_info_passes_through_both_ways(self):
        """EDGE-CASES 29, RFC 6086."""
        self.start()
        self.talk()
        for sender, receiver in ((self.trunk, self.office), (self.office, self.trunk)):
            sender.request("INFO", None, b"Info-Package: dtmf", body=b"Signal=5\r\nDuration=160\r\n")
            info = receiver.expect("INFO")
            self.assertEqual(info.body, b"Signal=5\r\nDuration=160\r\n")
            self.assertEqual(info.get(b"info-package"), b"dtmf")
            receiver.respond(info, 200)
            sender.expect(200, "INFO")
        self.hang_up()

    def test_refused_info_is_refused_to_its_sender(self):
        """RFC 6086 section 4.2.2: 469 is the peer's word."""
        self.start()
        self.talk()
        self.trunk.request("INFO", body=b"x")
        self.office.respond(self.office.expect("INFO"), 415)
        self.trunk.expect(415, "INFO")
        self.hang_up()

    def test_refer_is_refused_and_the_call_stays(self):
        """EDGE-CASES 28."""
        self.start()
        self.talk()
        self.office.request("REFER", None, b"Refer-To: <sip:attacker@203.0.113.66>")
        self.office.expect(603, "REFER")
        self.assertEqual(len(self.engine.calls.calls), 1)
        self.hang_up()

    def test_max_forwards_counts_down(self):
        """RFC 3261 section 16.6 step 3, as of a proxy: loops through two of us end."""
        self.start()
        self.talk()
        self.hang_up()
        (_, invite), *_ = self.office.heard
        self.assertEqual(invite.max_forwards, 69)


class OverTCPTests(CallTestCase):
    def test_call_comes_and_goes_over_tcp(self):
        """RFC 3261 section 18: each side keeps its connection."""
        self.trunk = Peer(self.network, "198.51.100.8", transport="tcp")
        self.office = Peer(self.network, "203.0.113.30", transport="tcp")
        self.start(Target(kind="sip", address="sip:office@203.0.113.30;transport=tcp"))
        self.talk()
        invite = self.office.heard[0][1]
        self.assertTrue(invite.get(b"via").startswith(b"SIP/2.0/TCP "))
        self.assertIn(b";transport=tcp", invite.contact)
        self.hang_up()
        self.assertEqual((len(self.trunk.connections), len(self.office.connections)), (1, 1))

    def test_peer_that_reconnected_gets_its_bye_over_the_new_connection(self):
        """EDGE-CASES 42; RFC 3261 section 18.2.2."""
        self.trunk = Peer(self.network, "198.51.100.8", transport="tcp")
        self.start()
        self.talk()
        self.trunk.connections[0].transport.abortConnection()
        self.network.run(0.1)
        self.office.bye()
        self.office.expect(200, "BYE")
        bye = self.trunk.expect("BYE")
        self.trunk.respond(bye, 200)


class RefusalTests(CallTestCase):
    """What no target ever hears of."""

    def refused(self, status, **options):
        self.trunk.invite(**options)
        response = self.trunk.expect(status)
        self.trunk.ack_failure(response)
        self.office.expect_nothing()
        return response

    def test_unknown_number_is_404_with_a_record(self):
        """PRODUCT section 2: CHANUNAVAIL, unknown-number."""
        self.start()
        self.refused(404, number="19998887766")
        record = self.record
        self.assertEqual((record.status, record.reason, record.sip_code), ("CHANUNAVAIL", "unknown-number", 404))
        self.assertEqual((record.callee, record.project, record.q850), ("19998887766", None, 1))

    def test_number_without_targets_is_404_with_a_record(self):
        """PRODUCT section 2."""
        self.start()
        self.engine.scenarios.routes[self.engine.number] = replace(self.engine.route, targets=())
        self.refused(404)
        self.assertEqual((self.record.status, self.record.reason, self.record.project), ("CHANUNAVAIL", "no-target", 1))

    def test_full_relay_is_503_with_retry_after(self):
        """ROBUSTNESS promise 11."""
        self.start()
        self.engine.relay.full = MediaUnavailable("no free port")
        response = self.refused(503)
        self.assertIsNotNone(response.get(b"retry-after"))
        self.assertEqual((self.record.status, self.record.sip_code), ("CONGESTION", 503))
        self.assertIn("no free port", self.record.reason)

    def test_offer_that_cannot_be_relayed_is_488(self):
        """RFC 3261 section 21.4.26; no usable codec or address."""
        self.start()
        self.refused(488, body=b"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nt=0 0\r\n")
        self.assertEqual((self.record.status, self.record.sip_code), ("CHANUNAVAIL", 488))

    def test_engine_limit_is_503_with_retry_after(self):
        """PRODUCT section 2: limits answer with a record that says which."""
        self.expected_records = 2
        self.start(calls=CallsSettings(max_calls=1))
        self.talk()
        first = self.trunk.dialog
        response = self.refused(503)
        self.assertIsNotNone(response.get(b"retry-after"))
        self.assertEqual((self.record.status, self.record.reason), ("CONGESTION", "limit:engine"))
        self.trunk.dialog = first
        self.hang_up()

    def test_trunk_limit_is_503_and_frees_again(self):
        """PRODUCT section 2."""
        self.expected_records = 3
        self.start(trunks=[replace(TRUNK, max_calls=1)])
        self.talk()
        first = self.trunk.dialog
        self.refused(503)
        self.assertEqual(self.record.reason, "limit:trunk:provider")
        self.trunk.dialog = first
        self.hang_up()
        self.talk()
        self.hang_up()

    def test_project_limit_is_486(self):
        """PRODUCT section 2."""
        self.expected_records = 2
        self.start(project_max_calls=1)
        self.talk()
        first = self.trunk.dialog
        self.refused(486)
        self.assertEqual((self.record.status, self.record.reason), ("BUSY", "limit:project:1"))
        self.trunk.dialog = first
        self.hang_up()

    def test_target_limit_moves_on_to_the_next_target(self):
        """PRODUCT section 2: a target's default is 15 at once."""
        self.expected_records = 2
        second = Peer(self.network, "203.0.113.21")
        self.start(sip_target(OFFICE, max_calls=1), sip_target("203.0.113.21"))
        self.talk()
        first = self.trunk.dialog
        self.trunk.invite()
        invite = second.expect("INVITE")
        second.respond(invite, 486)
        second.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))
        self.office.expect_nothing()
        self.trunk.dialog = first
        self.hang_up()

    def test_full_single_target_is_486_and_the_record_says_which(self):
        """PRODUCT section 2."""
        self.expected_records = 2
        self.start(sip_target(OFFICE, max_calls=1))
        self.talk()
        first = self.trunk.dialog
        self.refused(486)
        self.assertEqual(self.record.reason, f"limit:target:sip:office@{OFFICE}")
        self.trunk.dialog = first
        self.hang_up()

    def test_phone_target_without_an_outbound_trunk_is_480(self):
        """PRODUCT section 5; the record says what is missing."""
        self.start(Target(kind="phone", address="+74951234567"))
        self.refused(480)
        self.assertEqual(self.record.status, "CHANUNAVAIL")
        self.assertIn("no trunk has `outbound`", self.record.reason)


class NoRecordTests(CallTestCase):
    """INVITEs that never become a call."""

    expected_records = 0

    def test_stranger_gets_403_and_no_record(self):
        """PRODUCT section 2.1: there is no way to make calltrack an open relay."""
        self.start()
        stranger = Peer(self.network, "203.0.113.66")
        stranger.invite(lines=(b"Route: <sip:203.0.113.20;lr>",))
        stranger.expect(403)
        self.office.expect_nothing()
        self.assertEqual(self.engine.agent.layer.servers, {})

    def test_refusal_of_a_stranger_is_logged_as_text(self):
        logged = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        self.start()
        Peer(self.network, "203.0.113.66").invite()
        self.network.run(1)
        (line,) = [line for line in map(formatEvent, logged) if "203.0.113.66" in line]
        self.assertIn("(it dialled 'sip:", line)

    def test_invite_without_usable_contact_is_400(self):
        """RFC 3261 section 8.1.1.8."""
        self.start()
        for contact in (b"<tel:+14155550100>", b"<http://203.0.113.66>", b"*", b'"unclosed <sip:a@b>'):
            self.trunk.invite(contact=contact)
            self.trunk.ack_failure(self.trunk.expect(400))
        self.office.expect_nothing()

    def test_record_route_that_is_none_is_400(self):
        """RFC 3261 section 12.1.1: a dialog whose route set cannot be used is not begun."""
        self.start()
        for route in (b"rubbish", b"<http://198.51.100.7>", b"<sip:[::1;lr>"):
            self.trunk.invite(lines=(b"Record-Route: " + route,))
            self.trunk.ack_failure(self.trunk.expect(400))
        self.office.expect_nothing()

    def test_trunk_that_puts_rubbish_where_the_number_belongs_gets_400(self):
        """PRODUCT section 2.2."""
        self.start(trunks=[replace(TRUNK, number_from="diversion")])
        self.trunk.invite(lines=(b'Diversion: "x',))
        self.trunk.ack_failure(self.trunk.expect(400))


class TooLateTests(CallTestCase):
    def test_media_timeout_ends_the_call_on_both_sides(self):
        """EDGE-CASES 35: no media for a time ends the call, the record says so."""
        self.start()
        self.talk()
        self.engine.relay.sessions[0].time_out()
        for peer in (self.trunk, self.office):
            bye = peer.expect("BYE")
            self.assertIn(b"Q.850", bye.get(b"reason"))
            peer.respond(bye, 200)
        self.assertEqual((self.record.status, self.record.hangup, self.record.reason), ("ANSWER", "engine", "media-timeout"))

    def test_unusable_answer_is_488_to_the_caller_and_ack_and_bye_to_the_target(self):
        """RFC 3261 section 13.2.2.4."""
        self.start()
        self.engine.relay.failures["answer"].append(UnusableSDP("no codec left"))
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.office.respond(self.office.expect("BYE"), 200)
        self.trunk.ack_failure(self.trunk.expect(488))
        self.assertEqual((self.record.status, self.record.sip_code), ("CHANUNAVAIL", 488))

    def test_relay_that_breaks_ends_the_call_on_both_sides(self):
        """interfaces: any other failure is a bug of the plugin and is logged; the call must not hang."""
        self.start()
        self.engine.relay.failures["answer"].append(ZeroDivisionError("a bug"))
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.office.respond(self.office.expect("BYE"), 200)
        self.trunk.ack_failure(self.trunk.expect(500))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_relay_that_breaks_on_an_offer_fails_the_target(self):
        """As above, before the target hears anything."""
        self.start()
        self.engine.relay.failures["offer"].append(ZeroDivisionError("a bug"))
        self.trunk.invite()
        self.trunk.ack_failure(self.trunk.expect(500))
        self.office.expect_nothing()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_caller_gone_before_a_slow_answer_is_rewritten_leaves_nothing(self):
        """EDGE-CASES 3, with a relay that takes its time."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.engine.relay.delay = 0.5
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.office.respond(self.office.expect("BYE"), 200)
        self.network.run(0.5)  # the relay takes as long to say its last figures
        self.assertEqual((self.record.status, self.record.hangup), ("CANCEL", "caller"))

    def test_caller_gone_before_a_slow_offer_is_rewritten_dials_nobody(self):
        """EDGE-CASES 6, with a relay that takes its time."""
        self.start()
        self.engine.relay.delay = 0.5
        self.trunk.invite()
        self.trunk.expect(100)
        self.trunk.cancel()
        self.trunk.expect(200, "CANCEL")
        self.trunk.ack_failure(self.trunk.expect(487))
        self.office.expect_nothing()


class LastFiguresTests(CallTestCase):
    """A relay elsewhere has to be asked what it counted."""

    def test_the_record_waits_for_the_figures_and_is_written_once(self):
        self.start()
        self.talk()
        self.engine.relay.delay = 0.5
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.office.respond(self.office.expect("BYE"), 200)
        self.assertEqual(self.engine.ledger.finals, [])
        self.network.run(0.5)
        self.assertEqual((self.record.status, self.record.hangup), ("ANSWER", "caller"))

    def test_a_relay_that_fails_on_a_bug_costs_the_figures_and_not_the_record(self):
        self.start()
        self.talk()
        session = self.engine.relay.sessions[0]
        close = session.close
        self.patch(session, "close", lambda: close() and 1 / 0)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.office.respond(self.office.expect("BYE"), 200)
        self.assertEqual((self.record.status, self.record.media.verdict), ("ANSWER", "none"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class StoppingTests(CallTestCase):
    """Issue 2, deliver 1: a clean stop ends calls with BYE and writes their records."""

    def test_stop_ends_a_conversation_with_bye_on_both_sides(self):
        self.start()
        self.talk()
        self.engine.calls.stop()
        for peer in (self.trunk, self.office):
            peer.respond(peer.expect("BYE"), 200)
        self.assertEqual((self.record.status, self.record.hangup, self.record.reason), ("ANSWER", "engine", "engine-stop"))

    def test_stop_refuses_a_ringing_call_and_cancels_its_target(self):
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.engine.calls.stop()
        self.trunk.ack_failure(self.trunk.expect(503))
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        self.assertEqual((self.record.status, self.record.hangup), ("CONGESTION", "engine"))

    def test_stop_during_the_lookup_refuses_the_call(self):
        self.start()
        self.engine.scenarios.delay = 0.1
        self.trunk.invite()
        self.trunk.expect(100)
        self.engine.calls.stop()
        self.trunk.ack_failure(self.trunk.expect(503))
        self.office.expect_nothing()
        self.assertEqual(self.engine.scenarios.cancelled, 1)

    def test_new_calls_are_refused_with_503_after_stop(self):
        self.expected_records = 0
        self.start()
        self.engine.calls.stop()
        self.trunk.invite()
        response = self.trunk.expect(503)
        self.assertIsNotNone(response.get(b"retry-after"))


class LookupTests(CallTestCase):
    """PRODUCT section 2.3: telephony fails open."""

    def forwarded(self):
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))
        return invite

    def test_late_lookup_rings_by_the_last_known_route_without_attribution(self):
        """The budget is 200 ms."""
        self.start()
        self.engine.scenarios.delay = 5
        invite = self.forwarded()
        self.assertEqual(invite.get(b"x-roistat-phone"), b"11231234567")
        self.assertIsNone(invite.get(b"x-roistat-marker"))
        self.assertIsNone(invite.get(b"x-roistat"))
        self.assertEqual(self.record.attribution.reason, "lookup timeout")
        self.assertEqual(self.engine.scenarios.cancelled, 1)
        self.assertTrue(0.2 <= self.office.times("INVITE")[0] < 0.25)

    def test_failed_lookup_rings_by_the_last_known_route(self):
        self.start()
        self.engine.scenarios.failure = StoreUnavailable("locked")
        self.forwarded()
        self.assertEqual(self.record.attribution.reason, "lookup failed")

    def test_known_number_carries_marker_and_channel(self):
        """PRODUCT section 2.5: of static call tracking, the channel's marker twice."""
        self.start()
        invite = self.forwarded()
        self.assertEqual(invite.get(b"x-roistat-marker"), b"direct_search_1234567_buy glasses")
        self.assertEqual(invite.get(b"x-roistat"), b"direct_search_1234567_buy glasses")

    def test_headers_of_the_caller_do_not_reach_the_target(self):
        """ROBUSTNESS 2.5: inbound x-roistat-* in any spelling is stripped."""
        self.start()
        self.trunk.invite(lines=(b"X-ROISTAT-Visit: 666", b"x-roistat: 666", b"X-Roistat-Phone: 666"))
        invite = self.office.expect("INVITE")
        self.assertEqual(invite.all(b"x-roistat-phone"), [b"11231234567"])
        self.assertNotIn(b"x-roistat-visit", invite.names())
        self.assertEqual(invite.all(b"x-roistat"), [b"direct_search_1234567_buy glasses"])
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))


class ResponseTests(CallTestCase):
    def test_every_response_but_100_has_a_to_tag_and_the_cancel_has_the_invites(self):
        """RFC 3261 sections 8.2.6.2 and 9.2."""
        self.start()
        self.trunk.invite()
        self.assertEqual(self.trunk.expect(100).to.tag, b"")
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        tags = [self.trunk.expect(180).to.tag]
        self.trunk.cancel()
        tags.append(self.trunk.expect(200, "CANCEL").to.tag)
        refused = self.trunk.expect(487)
        tags.append(refused.to.tag)
        self.trunk.ack_failure(refused)
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        self.assertEqual(len(set(tags)), 1)
        self.assertTrue(tags[0])

    def test_timestamp_is_copied_into_100(self):
        """RFC 3261 section 8.2.6.1."""
        self.start()
        self.trunk.invite(lines=(b"Timestamp: 54.21",))
        self.assertEqual(self.trunk.expect(100).get(b"timestamp"), b"54.21")
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))

    def test_display_name_that_looks_like_a_tag_is_none(self):
        """RFC 3261 section 19.3: the tag is a parameter."""
        self.start()
        self.trunk.invite(to=b'"tag=x" <sip:11231234567@192.0.2.1>')
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.assertTrue(self.trunk.expect(180).to.tag)
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))

    def test_forwarded_invite_is_well_formed(self):
        """RFC 3261 section 8.1.1."""
        self.start()
        self.talk()
        _, invite = self.office.heard[0]
        parse(self.network.trace[0][3]).validate()
        invite.validate()
        self.assertEqual(invite.to.tag, b"")
        self.assertTrue(invite.from_.tag)
        self.hang_up()
