"""Sessions that must be refreshed (EDGE-CASES 26, RFC 4028), each side of the call for itself."""

from calltrack.sip.session_timer import SessionSettings
from calltrack.testing.peers import sdp

from tests.calls.case import ANSWER, OFFER, OFFICE, CallTestCase

TIMER = b"Supported: timer"
UPDATES = b"Allow: INVITE, ACK, CANCEL, BYE, UPDATE"
NO_UPDATES = b"Allow: INVITE, ACK, CANCEL, BYE"


def expires(message):
    """Session-Expires as (seconds, refresher), None when there is none."""
    value = message.get(b"session-expires")
    if value is None:
        return None
    seconds, _, refresher = value.partition(b";refresher=")
    return int(seconds), refresher.decode()


class SessionTestCase(CallTestCase):
    def call(self, *lines, answer=(), offer=OFFER, **options):
        """A call that was answered: header `lines` of the caller's INVITE, `answer` those of the target's 200.
        Returns the INVITE that the target got and the 200 that the caller got."""
        if self.engine is None:
            self.start(**options)
        self.trunk.invite(body=offer, lines=lines)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 200, *answer, sdp=ANSWER)
        self.office.expect("ACK")
        accepted = self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        return invite, accepted


class CallerTests(SessionTestCase):
    """The caller's side: we are the UAS (section 9, table 2)."""

    def test_caller_without_timer_is_told_nothing_and_runs_no_timer(self):
        _, accepted = self.call()
        self.assertEqual((expires(accepted), accepted.get(b"require")), (None, None))
        self.network.run(100)
        self.assertEqual(self.engine.timers.pending(), 0)
        self.hang_up()

    def test_caller_that_asks_for_an_interval_becomes_the_refresher(self):
        _, accepted = self.call(TIMER, b"Session-Expires: 600")
        self.assertEqual(expires(accepted), (600, "uac"))
        self.assertEqual(accepted.tokens(b"require"), [b"timer"])
        self.hang_up()

    def test_refresher_that_the_caller_names_is_kept(self):
        """Section 9: the UAS must not change it."""
        _, accepted = self.call(TIMER, b"Session-Expires: 600;refresher=uas")
        self.assertEqual(expires(accepted), (600, "uas"))
        self.assertEqual(accepted.get(b"require"), None)
        self.hang_up()

    def test_compact_form_is_read(self):
        _, accepted = self.call(b"k: timer", b"x: 600;refresher=uac")
        self.assertEqual(expires(accepted), (600, "uac"))
        self.hang_up()

    def test_caller_that_only_supports_timers_is_asked_and_we_refresh(self):
        _, accepted = self.call(TIMER)
        self.assertEqual(expires(accepted), (1800, "uas"))
        self.hang_up()

    def test_caller_that_only_supports_timers_is_not_asked_when_that_is_off(self):
        _, accepted = self.call(TIMER, sessions=SessionSettings(expires=0))
        self.assertEqual(expires(accepted), None)
        self.hang_up()

    def test_interval_longer_than_ours_is_shortened_but_not_below_the_callers_min_se(self):
        """Section 9."""
        _, accepted = self.call(TIMER, b"Session-Expires: 7200")
        self.assertEqual(expires(accepted), (1800, "uac"))
        self.hang_up()
        _, accepted = self.call(TIMER, b"Session-Expires: 7200", b"Min-SE: 3600")
        self.assertEqual(expires(accepted), (3600, "uac"))
        self.hang_up()
        self.expected_records = 2

    def test_proxys_interval_is_refreshed_by_us_when_the_caller_has_no_timer(self):
        """Table 2: without `Supported: timer` the refresher is the UAS, and nothing is required."""
        _, accepted = self.call(b"Session-Expires: 600", UPDATES)
        self.assertEqual((expires(accepted), accepted.get(b"require")), ((600, "uas"), None))
        self.network.run(300)
        self.trunk.respond(self.trunk.expect("UPDATE"), 200, b"Session-Expires: 600;refresher=uac")
        self.hang_up()

    def test_interval_that_cannot_be_read_counts_as_none(self):
        for value in (b"soon", b"-5", b"", b"600;refresher=\"", b"1" * 11):
            with_timer = self.call(b"Session-Expires: " + value)
            self.assertEqual(expires(with_timer[1]), None)
            self.hang_up()
        self.expected_records = 5

    def test_interval_under_min_se_is_422_with_ours_and_no_call(self):
        """EDGE-CASES 26, section 9."""
        self.start(sessions=SessionSettings(least=120))
        self.trunk.invite(lines=(TIMER, b"Session-Expires: 100"))
        refused = self.trunk.expect(422)
        self.trunk.ack_failure(refused)
        self.assertEqual(refused.get(b"min-se"), b"120")
        self.assertEqual(self.office.heard, [])
        self.expected_records = 0

    def test_short_interval_of_a_caller_without_timer_is_not_refused(self):
        """Section 9: it would not understand 422, so that a longer one is kept by us."""
        _, accepted = self.call(b"Session-Expires: 30")
        self.assertEqual(expires(accepted), (90, "uas"))
        self.hang_up()

    def test_refresher_that_never_refreshes_gets_bye_and_so_does_the_target(self):
        """EDGE-CASES 26, section 10: a third of the interval, at most 32 s, before its end."""
        self.call(TIMER, b"Session-Expires: 600")
        self.network.run(600 - 32 - 1)
        self.assertEqual((self.trunk.inbox, self.office.inbox), ([], []))
        self.trunk.respond(self.trunk.expect("BYE", within=2), 200)
        self.office.respond(self.office.expect("BYE"), 200)
        self.assertEqual((self.record.status, self.record.hangup), ("ANSWER", "caller"))
        self.assertEqual(self.record.reason, "session timer: not refreshed within 600 s")

    def test_refresh_by_update_is_answered_and_goes_no_further(self):
        self.call(TIMER, b"Session-Expires: 600")
        for _ in range(3):
            self.network.run(300)
            self.trunk.request("UPDATE", None, TIMER, b"Session-Expires: 600;refresher=uac")
            self.assertEqual(expires(self.trunk.expect(200, "UPDATE")), (600, "uac"))
        self.network.run(500)
        self.assertEqual(self.office.inbox, [])
        self.hang_up()

    def test_update_before_the_answer_is_answered_at_once(self):
        """RFC 3311 section 5.2: without an offer it changes nothing but the Contact."""
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.trunk.request("UPDATE")
        self.trunk.expect(200, "UPDATE")
        self.office.request("UPDATE")
        self.office.expect(200, "UPDATE")
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200, "INVITE")
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_refresh_by_reinvite_is_answered_and_goes_no_further(self):
        """RFC 3264 section 8: the same description again changes nothing. So both sides may refresh at once."""
        _, accepted = self.call(TIMER, b"Session-Expires: 600", answer=(b"Session-Expires: 600;refresher=uas",))
        for _ in range(3):
            self.network.run(300)
            self.trunk.reinvite(OFFER, None, TIMER, b"Session-Expires: 600;refresher=uac")
            self.office.reinvite(ANSWER, None, TIMER, b"Session-Expires: 600;refresher=uac")
            for peer in (self.trunk, self.office):
                answer = peer.expect(200, "INVITE")
                self.assertEqual(expires(answer), (600, "uac"))
                peer.ack()
            self.network.run(0.1)
        self.assertEqual(answer.sdp, next(one for _, one in self.office.heard if one.sdp).sdp)
        self.hang_up()

    def test_refresh_by_reinvite_with_a_change_is_put_to_the_target(self):
        self.call(TIMER, b"Session-Expires: 600")
        self.network.run(300)
        self.trunk.reinvite(sdp(version=2, direction="sendonly"), None, TIMER, b"Session-Expires: 600;refresher=uac")
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.assertEqual(expires(self.trunk.expect(200)), (600, "uac"))
        self.trunk.ack()
        self.network.run(500)
        self.assertEqual(self.trunk.inbox, [])
        self.hang_up()

    def test_refresh_under_min_se_is_422_and_the_session_goes_on(self):
        self.call(TIMER, b"Session-Expires: 600")
        self.trunk.request("UPDATE", None, TIMER, b"Session-Expires: 10")
        self.assertEqual(self.trunk.expect(422).get(b"min-se"), b"90")
        self.trunk.reinvite(OFFER, None, TIMER, b"Session-Expires: 10")
        self.trunk.ack_failure(self.trunk.expect(422))
        self.assertEqual(self.office.inbox, [])
        self.hang_up()

    def test_refresh_without_interval_ends_the_timer(self):
        """Section 9: no Session-Expires in the last refresh, no expiration."""
        self.call(TIMER, b"Session-Expires: 600")
        self.trunk.request("UPDATE")
        self.assertEqual(expires(self.trunk.expect(200, "UPDATE")), None)
        self.network.run(700)
        self.hang_up()

    def test_late_offer_has_a_timer_too(self):
        self.start()
        self.trunk.invite(body=b"", lines=(TIMER, b"Session-Expires: 600;refresher=uas", NO_UPDATES))
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 200, sdp=ANSWER)
        offer = self.trunk.expect(200).sdp
        self.trunk.ack(body=OFFER)
        self.office.expect("ACK")
        refresh = self.trunk.expect("INVITE", within=310)
        self.assertEqual(refresh.sdp, offer)
        self.trunk.respond(refresh, 200, b"Session-Expires: 600;refresher=uac", sdp=OFFER)
        self.trunk.expect("ACK")
        self.hang_up()


class RefresherTests(SessionTestCase):
    """We refresh the caller's side: at half the interval (section 7.2, 7.4, 10)."""

    def talk_with(self, allow=UPDATES, **options):
        return self.call(TIMER, allow, b"Session-Expires: 600;refresher=uas", **options)[1]

    def refreshed(self, method, *lines, answer=b"", status=200):
        """Expect our refresh, and answer it."""
        request = self.trunk.expect(method, within=310)
        self.trunk.respond(request, status, *lines, sdp=answer)
        return request

    def test_refresh_is_an_update_without_description_where_the_peer_allows_it(self):
        self.talk_with()
        self.network.run(299)
        self.assertEqual(self.trunk.inbox, [])
        refresh = self.refreshed("UPDATE", b"Session-Expires: 600;refresher=uac")
        self.assertEqual((refresh.body, expires(refresh)), (b"", (600, "uac")))
        self.assertIn(b"timer", refresh.tokens(b"supported"))
        self.network.run(0.1)
        self.refreshed("UPDATE", b"Session-Expires: 600;refresher=uac")
        self.assertEqual(self.office.inbox, [])
        self.hang_up()

    def test_refresh_is_a_reinvite_that_changes_nothing_where_it_does_not(self):
        """RFC 3264 section 8: the same `o=` version says that nothing has changed."""
        accepted = self.talk_with(NO_UPDATES)
        refresh = self.refreshed("INVITE", b"Session-Expires: 600;refresher=uac", answer=OFFER)
        self.assertEqual((refresh.sdp, expires(refresh)), (accepted.sdp, (600, "uac")))
        self.trunk.expect("ACK")
        self.assertEqual(self.office.inbox, [])
        self.refreshed("INVITE", b"Session-Expires: 600;refresher=uac", answer=OFFER)
        self.trunk.expect("ACK")
        self.hang_up()

    def test_refresh_repeats_what_was_described_last(self):
        self.talk_with(NO_UPDATES)
        self.office.reinvite(sdp(OFFICE, 6000, "sendonly", version=2))
        change = self.trunk.expect("INVITE")
        self.assertEqual(expires(change), (600, "uac"))
        self.trunk.respond(change, 200, b"Session-Expires: 600;refresher=uac", sdp=OFFER)
        self.trunk.expect("ACK")
        self.office.expect(200)
        self.office.ack()
        refresh = self.refreshed("INVITE", b"Session-Expires: 600;refresher=uac", answer=OFFER)
        self.assertEqual(refresh.sdp, change.sdp)
        self.trunk.expect("ACK")
        self.hang_up()

    def test_refresh_that_is_refused_with_405_is_tried_by_reinvite(self):
        self.talk_with()
        self.refreshed("UPDATE", status=405)
        self.refreshed("INVITE", b"Session-Expires: 600;refresher=uac", answer=OFFER)
        self.trunk.expect("ACK")
        self.hang_up()

    def test_refresh_that_is_too_brief_is_repeated_with_the_peers_minimum(self):
        """EDGE-CASES 26, section 7.3."""
        self.talk_with()
        self.refreshed("UPDATE", b"Min-SE: 700", status=422)
        refresh = self.refreshed("UPDATE", b"Session-Expires: 700;refresher=uac")
        self.assertEqual((expires(refresh), refresh.get(b"min-se")), ((700, "uac"), b"700"))
        self.hang_up()

    def test_minimum_that_rises_with_every_request_does_not_make_us_flood(self):
        self.talk_with()
        self.refreshed("UPDATE", b"Min-SE: 700", status=422)
        self.refreshed("UPDATE", b"Min-SE: 800", status=422)
        self.network.run(100)
        self.assertEqual(self.trunk.inbox, [])
        self.refreshed("UPDATE", b"Session-Expires: 800;refresher=uac")
        self.hang_up()

    def test_422_that_asks_for_nothing_new_is_not_repeated_at_once(self):
        self.talk_with()
        self.refreshed("UPDATE", b"Min-SE: 100", status=422)
        self.network.run(100)
        self.assertEqual(self.trunk.inbox, [])
        self.refreshed("UPDATE", b"Session-Expires: 600;refresher=uac")
        self.hang_up()

    def test_refresh_that_is_answered_481_or_408_ends_the_call_on_both_sides(self):
        """Section 10."""
        for status in (481, 408):
            self.talk_with()
            self.refreshed("UPDATE", status=status)
            self.trunk.respond(self.trunk.expect("BYE"), 200)
            self.office.respond(self.office.expect("BYE"), 200)
        self.expected_records = 2
        reasons = [record.reason for record in self.engine.ledger.finals]
        self.assertEqual(reasons, ["481 within the call", "408 within the call"])

    def test_refresh_that_is_never_answered_ends_the_call_on_both_sides(self):
        """EDGE-CASES 26: the peer is gone."""
        self.talk_with()
        self.assertTrue(self.network.run(333, lambda: self.trunk.count("BYE")))
        self.trunk.respond(self.trunk.inbox.pop(), 200)
        self.trunk.inbox.clear()
        self.office.respond(self.office.expect("BYE"), 200)
        self.assertIn("no answer to UPDATE", self.record.reason)

    def test_refresh_that_is_refused_otherwise_is_tried_again_until_the_session_ends(self):
        """Section 10: refusals with other statuses do not end the session, its time does."""
        self.talk_with()
        began = self.clock.seconds()
        while not self.trunk.count("BYE"):
            self.network.run(310, lambda: self.trunk.inbox)
            self.trunk.respond(self.trunk.expect("UPDATE"), 500)
            self.network.run(0.1)
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.assertTrue(580 < self.clock.seconds() - began <= 600)
        self.assertEqual(self.trunk.count("UPDATE"), 6)
        self.office.respond(self.office.expect("BYE"), 200)
        self.assertEqual(self.record.reason, "session timer: the peer refuses to go on")

    def test_refresh_by_reinvite_waits_for_a_change_that_is_under_way(self):
        """RFC 3261 section 14.1."""
        self.talk_with(NO_UPDATES)
        self.network.run(299.5)
        self.trunk.reinvite(sdp(version=2, direction="sendonly"), None, TIMER, b"Session-Expires: 600;refresher=uas")
        change = self.office.expect("INVITE")
        self.office.respond(change, 100)
        self.network.run(2)
        self.assertEqual(self.trunk.count("INVITE"), 0)
        self.office.respond(change, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.assertEqual(expires(self.trunk.expect(200)), (600, "uas"))
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_answer_without_interval_ends_the_timer(self):
        """Section 7.2: the peer has no timer any more."""
        self.talk_with()
        self.refreshed("UPDATE")
        self.network.run(2000)
        self.assertEqual(self.trunk.inbox, [])
        self.hang_up()

    def test_bye_while_a_refresh_is_under_way_leaves_no_timer(self):
        self.talk_with()
        refresh = self.trunk.expect("UPDATE", within=310)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.office.respond(self.office.expect("BYE"), 200)
        self.trunk.respond(refresh, 200, b"Session-Expires: 600;refresher=uac")


class TargetTests(SessionTestCase):
    """The target's side: we are the UAC (section 7)."""

    def test_our_invite_asks_and_leaves_the_refresher_to_the_target(self):
        """Section 7.1."""
        invite, _ = self.call()
        self.assertIn(b"timer", invite.tokens(b"supported"))
        self.assertEqual((expires(invite), invite.get(b"min-se")), ((1800, ""), None))
        self.hang_up()

    def test_our_invite_asks_for_nothing_when_that_is_off(self):
        invite, _ = self.call(sessions=SessionSettings(expires=0))
        self.assertEqual(expires(invite), None)
        self.assertIn(b"timer", invite.tokens(b"supported"))
        self.hang_up()

    def test_min_se_is_named_when_it_is_not_the_rfcs(self):
        invite, _ = self.call(sessions=SessionSettings(600, 300))
        self.assertEqual((expires(invite), invite.get(b"min-se")), ((600, ""), b"300"))
        self.hang_up()

    def test_target_without_timer_runs_none(self):
        self.call()
        self.network.run(3600)
        self.assertEqual(self.office.inbox, [])
        self.hang_up()

    def test_422_is_answered_with_the_larger_interval_in_the_same_call(self):
        """EDGE-CASES 26, section 7.3: the same Call-ID and tag, the next CSeq."""
        self.start(sessions=SessionSettings(120))
        self.trunk.invite()
        first = self.office.expect("INVITE")
        self.office.respond(first, 422, b"Min-SE: 300")
        self.office.expect("ACK")
        again = self.office.expect("INVITE")
        self.assertEqual((expires(again), again.get(b"min-se")), ((300, ""), b"300"))
        self.assertEqual((again.call_id, again.from_.tag), (first.call_id, first.from_.tag))
        self.assertEqual(again.cseq[0], first.cseq[0] + 1)
        self.office.respond(again, 200, b"Session-Expires: 300;refresher=uas", sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_422_to_an_invite_that_asked_for_nothing_fails_the_target(self):
        self.start(sessions=SessionSettings(expires=0))
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 422, b"Min-SE: 300")
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(480))

    def test_second_422_fails_the_target_and_is_not_the_callers(self):
        self.start(sessions=SessionSettings(120))
        self.trunk.invite()
        for minimum in (b"300", b"600"):
            self.office.respond(self.office.expect("INVITE"), 422, b"Min-SE: " + minimum)
            self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(480))
        self.assertEqual(self.record.status, "CHANUNAVAIL")

    def test_target_that_refreshes_and_dies_ends_the_call_on_both_sides(self):
        """EDGE-CASES 26."""
        self.call(answer=(b"Session-Expires: 300;refresher=uas", b"Require: timer"))
        self.network.run(200)
        self.office.request("UPDATE", None, TIMER, b"Session-Expires: 300;refresher=uac")
        self.assertEqual(expires(self.office.expect(200, "UPDATE")), (300, "uac"))
        self.network.run(267)
        self.assertEqual(self.office.inbox, [])
        self.office.respond(self.office.expect("BYE", within=2), 200)
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.assertEqual(self.record.hangup, "target")
        self.assertEqual(self.record.reason, "session timer: not refreshed within 300 s")

    def test_target_that_leaves_it_to_us_is_refreshed(self):
        self.call(answer=(b"Session-Expires: 300;refresher=uac", UPDATES))
        self.office.respond(self.office.expect("UPDATE", within=160), 200, b"Session-Expires: 300;refresher=uac")
        self.network.run(0.1)
        self.assertEqual(self.trunk.inbox, [])
        self.hang_up()

    def test_target_that_does_not_allow_update_is_refreshed_with_our_offer(self):
        invite, _ = self.call(answer=(b"Session-Expires: 300;refresher=uac", NO_UPDATES))
        refresh = self.office.expect("INVITE", within=160)
        self.assertEqual(refresh.sdp, invite.sdp)
        self.office.respond(refresh, 200, b"Session-Expires: 300;refresher=uac", sdp=ANSWER)
        self.office.expect("ACK")
        self.assertEqual(self.trunk.inbox, [])
        self.hang_up()

    def test_interval_of_a_second_does_not_make_us_flood(self):
        """Section 4: 90 s is the least there is."""
        self.call(answer=(b"Session-Expires: 1;refresher=uac", UPDATES))
        self.network.run(44)
        self.assertEqual(self.office.inbox, [])
        self.office.respond(self.office.expect("UPDATE"), 200, b"Session-Expires: 90;refresher=uac")
        self.hang_up()

    def test_both_sides_have_timers_of_their_own(self):
        self.call(
            TIMER, UPDATES, b"Session-Expires: 600;refresher=uas", answer=(b"Session-Expires: 300;refresher=uac", UPDATES)
        )
        self.office.respond(self.office.expect("UPDATE", within=160), 200, b"Session-Expires: 300;refresher=uac")
        self.trunk.respond(self.trunk.expect("UPDATE", within=160), 200, b"Session-Expires: 600;refresher=uac")
        self.office.respond(self.office.expect("UPDATE"), 200, b"Session-Expires: 300;refresher=uac")
        self.hang_up()
