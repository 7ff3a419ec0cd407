"""Softphones place, take, hold and end calls with audio, over a network in memory."""

from calltrack.sip.message import parse
from calltrack.testing.network import MemoryNetwork
from calltrack.testing.softphone import CallFailed, Milestone, Softphone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

ALICE, BOB = "192.0.2.1", "192.0.2.2"


class SoftphoneTestCase(SynchronousTestCase):
    def setUp(self):
        self.network = MemoryNetwork(Clock())
        self.taken = []
        self.alice = self.phone(ALICE, user="alice")
        self.bob = self.phone(BOB, user="bob", on_call=self.taken.append)

    def phone(self, host, **options):
        phone = Softphone(self.network.reactor(host), host, **options)
        phone.start()
        return phone

    def run_for(self, seconds):
        self.network.run(seconds)

    def talk(self, uri=""):
        """Both ends of a call that has been answered."""
        call = self.alice.call(uri or self.bob.uri)
        self.run_for(0.1)
        (taken,) = self.taken
        taken.answer()
        self.run_for(0.1)
        self.assertIsNone(self.successResultOf(call.when_answered()))
        self.assertIsNone(self.successResultOf(taken.when_answered()))
        return call, taken

    def sent(self, start):
        return [data for _, _, _, data in self.network.trace if data.startswith(start)]


class CallTests(SoftphoneTestCase):
    def test_ringing_is_told_before_the_answer(self):
        call = self.alice.call(self.bob.uri)
        self.run_for(0.1)
        self.assertNoResult(call.when_ringing())
        self.taken[0].ring()
        self.run_for(0.1)
        self.assertEqual(self.successResultOf(call.when_ringing()), 180)
        self.assertNoResult(call.when_answered())

    def test_tones_are_heard_both_ways(self):
        call, taken = self.talk()
        call.audio.play(440)
        taken.audio.play(880)
        self.run_for(1.0)
        self.assertEqual((taken.audio.listened().frequency, call.audio.listened().frequency), (440, 880))
        self.assertEqual((taken.audio.lost, call.audio.lost), (0, 0))

    def test_a_packet_leaves_every_20_ms(self):
        call, _ = self.talk()
        self.run_for(1.0)
        times = [at for at, (_, port), _, _ in self.network.trace if port == call.audio.port]
        self.assertGreater(len(times), 50)
        for one, following in zip(times, times[1:]):
            self.assertAlmostEqual(following - one, 0.02)

    def test_tcp_is_spoken_when_the_address_says_so(self):
        self.talk(self.bob.uri.replace(self.bob.address, f"{BOB}:{self.tcp_port()}") + ";transport=tcp")
        self.assertEqual(self.sent(b"INVITE"), [])

    def tcp_port(self):
        return next(place.port for place in self.bob._transports.listening() if place.transport == "tcp")

    def test_further_headers_arrive(self):
        self.alice.call(self.bob.uri, headers=(b"X-Colour: blue",))
        self.run_for(0.1)
        self.assertEqual(self.taken[0].invite.get(b"x-colour"), b"blue")

    def test_hang_up_ends_the_other_side_and_frees_both_ports(self):
        call, taken = self.talk()
        call.hang_up()
        self.run_for(0.1)
        self.assertEqual(self.successResultOf(call.when_ended()), "hung up here")
        self.assertEqual(self.successResultOf(taken.when_ended()), "the far end hung up")
        self.assertEqual((self.alice.calls, self.bob.calls), ([], []))
        sent = taken.audio.sent
        self.run_for(1.0)
        self.assertEqual(taken.audio.sent, sent)

    def test_callee_may_hang_up(self):
        call, taken = self.talk()
        taken.hang_up()
        self.run_for(0.1)
        self.assertTrue(call.ended)

    def test_caller_that_gives_up_cancels(self):
        call = self.alice.call(self.bob.uri)
        self.run_for(0.1)
        self.taken[0].ring()
        self.run_for(0.1)
        call.hang_up()
        self.run_for(0.1)
        self.assertEqual(self.successResultOf(self.taken[0].when_ended()), "the caller gave up")
        self.assertEqual(self.failureResultOf(self.taken[0].when_answered(), CallFailed).value.status, 487)
        self.assertEqual(len(self.sent(b"CANCEL")), 1)

    def test_refusal_fails_with_its_status(self):
        call = self.alice.call(self.bob.uri)
        self.run_for(0.1)
        self.taken[0].refuse(486)
        self.run_for(0.1)
        self.assertEqual(self.failureResultOf(call.when_answered(), CallFailed).value.status, 486)
        self.assertEqual(self.failureResultOf(call.when_ringing(), CallFailed).value.status, 486)

    def test_nobody_there_fails_with_status_0(self):
        call = self.alice.call("sip:nobody@192.0.2.99:5060")
        self.run_for(40)
        self.assertEqual(self.failureResultOf(call.when_answered(), CallFailed).value.status, 0)

    def test_unless_told_otherwise_calls_are_answered_at_once(self):
        carol = self.phone("192.0.2.3")
        call = self.alice.call(carol.uri)
        self.run_for(0.1)
        self.assertIsNone(self.successResultOf(call.when_answered()))

    def test_stop_hangs_up_and_leaves_no_timer_behind(self):
        call, taken = self.talk()
        stopped = self.alice.stop()
        self.run_for(0.5)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertTrue(taken.ended)
        stopped = self.bob.stop()
        self.run_for(0.5)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(self.network.clock.getDelayedCalls(), [])


class DescriptionTests(SoftphoneTestCase):
    def offered(self, sdp):
        """What bob says to an offer that is put into alice's mouth."""
        self.patch(self.alice, "_new_call", lambda made=self.alice._new_call: self.with_offer(made(), sdp))
        call = self.alice.call(self.bob.uri)
        self.run_for(0.1)
        self.taken[0].answer()
        self.run_for(0.1)
        return call

    def with_offer(self, call, sdp):
        call.offer = lambda: sdp
        return call

    def last_answer(self):
        return parse(self.sent(b"SIP/2.0 200")[0]).body.decode()

    def offer(self, *media):
        lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", *media, ""]
        return "\r\n".join(lines).encode()

    def test_offer_without_our_codec_is_refused_with_488(self):
        call = self.offered(self.offer("m=audio 4000 RTP/AVP 18"))
        self.assertEqual(self.failureResultOf(call.when_answered(), CallFailed).value.status, 488)

    def test_other_streams_are_refused_in_their_places(self):
        self.offered(self.offer("m=video 5000 RTP/AVP 96", "a=rtpmap:96 VP8/90000", "m=audio 4000 RTP/AVP 8 0"))
        lines = [line for line in self.last_answer().split("\r\n") if line.startswith("m=")]
        self.assertEqual(lines, ["m=video 0 RTP/AVP 96", f"m=audio {self.taken[0].audio.port} RTP/AVP 0"])

    def test_invite_without_offer_is_answered_with_one(self):
        self.offered(b"")
        self.assertIn(f"m=audio {self.taken[0].audio.port} RTP/AVP 0", self.last_answer())


class HoldTests(SoftphoneTestCase):
    def test_held_side_sends_nothing_until_resumed(self):
        call, taken = self.talk()
        held = call.hold()
        self.run_for(0.1)
        self.assertIsNone(self.successResultOf(held))
        before = call.audio.received
        self.run_for(1.0)
        self.assertEqual(call.audio.received, before)
        resumed = call.resume()
        self.run_for(0.1)
        self.assertIsNone(self.successResultOf(resumed))
        self.run_for(1.0)
        self.assertGreater(call.audio.received, before + 45)
        self.assertEqual(call.audio.lost, 0)

    def test_hold_raises_the_version_of_the_description(self):
        call, taken = self.talk()
        call.hold()
        self.run_for(0.1)
        first, second = (parse(data).body.split(b"\r\n")[1].split(b" ") for data in self.sent(b"INVITE"))
        self.assertEqual((first[1], int(first[2]) + 1), (second[1], int(second[2])))

    def test_refused_hold_fails_with_its_status(self):
        call, taken = self.talk()
        taken._reoffered = lambda reply: reply.refuse(488)
        held = call.hold()
        self.run_for(0.1)
        self.assertEqual(self.failureResultOf(held, CallFailed).value.status, 488)


class MilestoneTests(SynchronousTestCase):
    def test_told_before_and_after_each_on_a_deferred_of_its_own(self):
        milestone = Milestone()
        before, other = milestone.when(), milestone.when()
        milestone.settle("reached")
        self.assertEqual([self.successResultOf(d) for d in (before, other, milestone.when())], ["reached"] * 3)

    def test_only_the_first_time_counts(self):
        milestone = Milestone()
        milestone.settle(1)
        milestone.settle(CallFailed(486, "busy"))
        self.assertEqual(self.successResultOf(milestone.when()), 1)

    def test_failure_reaches_those_who_ask_and_nobody_else(self):
        milestone = Milestone()
        milestone.settle(CallFailed(486, "busy"))
        self.assertEqual(self.failureResultOf(milestone.when(), CallFailed).value.status, 486)

    def test_waiter_that_was_cancelled_is_left_alone(self):
        milestone = Milestone()
        waiter = milestone.when()
        waiter.cancel()
        self.failureResultOf(waiter)
        milestone.settle(1)
        self.assertEqual(self.successResultOf(milestone.when()), 1)
