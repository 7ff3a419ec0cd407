"""What every media relay must do, over real loopback sockets: a trial mixin for calltrack's own relay and plugins.

    class MyRelayTests(MediaRelayContract, TestCase):
        udp = reactor
        async def make_relay(self, timeout):
            return MyRelay(...)
        def pass_time(self, seconds):
            self.clock.advance(seconds)

Nothing here sleeps. That a packet is *not* relayed is shown by one sent after it that is. Numbers in comments are those
of the list of edge cases that the product is held to. Knows the interfaces only.
"""

from __future__ import annotations

from zope.interface.verify import verifyObject

from calltrack.errors import UnusableSDP
from calltrack.interfaces import IMediaRelay, IMediaSession
from calltrack.testing.media_latching import LatchingContract
from calltrack.testing.media_peers import describe, host_in, ports_in, rtp, version_in


class MediaRelayContract(LatchingContract):
    """`IMediaRelay` and `IMediaSession`. A test case derives from this and has `make_relay` and `pass_time`."""

    async def test_provides_its_interfaces(self) -> None:
        relay = await self.make_relay(60)
        verifyObject(IMediaRelay, relay)
        session = relay.open("a-call", None)
        verifyObject(IMediaSession, session)
        self.assertEqual(relay.status()["sessions"], 1)
        session.close()
        self.assertEqual(relay.status()["sessions"], 0)
        self.assertIsInstance(relay.status()["relay"], str)

    # Descriptions

    async def test_each_side_is_shown_the_relay_and_not_the_other(self) -> None:
        call = await self.open_call()
        offered = await call.offer()
        self.assertEqual(host_in(offered), self.relay_host)
        self.assertNotIn(b"%d" % call.caller.address[1], offered)
        self.assertNotIn(b"o=peer", offered)
        self.assertEqual(call.to_target % 2, 0)

    async def test_lines_that_are_not_understood_stay_in_place(self) -> None:
        call = await self.open_call()
        unknown = ("a=x-unknown:\u00e9 1 2  3", "k=?", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc")
        offered = await call.offer(extra=unknown)
        self.assertTrue(offered.endswith("\r\n".join(["", *unknown, ""]).encode()), offered)

    async def test_a_repeated_offer_shows_the_same_ports_and_version(self) -> None:  # 31
        call = await self.open_call()
        self.assertEqual(await call.offer(version=5), await call.offer(version=6))

    async def test_a_changed_offer_raises_the_version_by_one(self) -> None:  # 31
        call = await self.open_call()
        before = await call.offer()
        held = await call.offer(extra=("a=sendonly",))
        self.assertEqual(version_in(held), version_in(before) + 1)
        self.assertEqual(ports_in(held), ports_in(before))

    async def test_a_rejected_stream_keeps_its_place_with_port_0(self) -> None:  # 31
        call = await self.open_call()
        offered = await call.offer(extra=("m=video 0 RTP/AVP 99", "m=message 2855 TCP/MSRP *"))
        self.assertEqual(ports_in(offered), [call.to_target, 0, 0])

    async def test_allowed_codecs_alone_are_offered_and_never_none(self) -> None:
        call = await self.open_call()
        sdp = describe(self.host, 5000, media="audio {port} RTP/AVP 0 8 18 101")
        arguments = "caller", "target-1", sdp, self.host, self.host
        offered = await call.session.offer(*arguments, ("G729", "PCMU"))
        self.assertIn(b" RTP/AVP 18 0 101\r\n", offered)
        await self.assertFailure(call.session.offer(*arguments, ("opus",)), UnusableSDP)

    async def test_a_description_without_a_usable_stream_is_refused(self) -> None:
        relay = await self.make_relay(60)
        no_address, rejected = describe("media.example", 5000), describe(self.host, 0)
        for number, sdp in enumerate((b"", b"v=0\r\n", b"\x00\xff", no_address, rejected)):
            session = relay.open(f"call-{number}", None)
            await self.assertFailure(session.offer("caller", "target-1", sdp, self.host, self.host), UnusableSDP)

    async def test_both_families_meet(self) -> None:  # 34
        relay = await self.make_relay(60)
        session = relay.open("a-call", None)
        caller, target = self.peer(), self.peer(self.host6)
        offered = await session.offer("caller", "target-1", caller.sdp(), self.host, self.host6)
        answered = await session.answer("target-1", "caller", target.sdp(), self.host6, self.host)
        self.assertEqual((host_in(offered), host_in(answered)), (self.relay_host6, self.relay_host))
        caller.send(rtp(1), ports_in(answered)[0])
        self.assertEqual(await target.hears(1), [rtp(1)])
        target.send(rtp(2), ports_in(offered)[0])
        self.assertEqual(await caller.hears(1), [rtp(2)])

    # Packets

    async def test_packets_reach_the_other_side_unchanged_from_the_port_it_was_shown(self) -> None:
        call = await self.open_call()
        call.caller.send(rtp(1), call.to_caller)
        call.target.send(rtp(7), call.to_target)
        await call.target.hears(1)
        await call.caller.hears(1)
        self.assertEqual(call.target.received, [(rtp(1), (self.relay_host, call.to_target))])
        self.assertEqual(call.caller.received, [(rtp(7), (self.relay_host, call.to_caller))])

    async def test_large_and_tiny_packets_pass(self) -> None:
        call = await self.open_call()
        await call.exchange()
        packets = [b"", b"\r\n", b"\x80" * 2047, b"\x80" * 2048, b"\x80" * 9000, b"\x80" * 60000]
        for packet in packets:
            call.caller.send(packet, call.to_caller)
        self.assertEqual((await call.target.hears(7))[1:], packets)

    async def test_new_ssrc_and_sequence_pass_and_are_no_loss(self) -> None:  # 34
        call = await self.open_call()
        packets = [rtp(1), rtp(2), rtp(40000, ssrc=9), rtp(40001, ssrc=9), rtp(65535, ssrc=10), rtp(0, ssrc=10)]
        for packet in packets:
            call.caller.send(packet, call.to_caller)
        self.assertEqual(await call.target.hears(6), packets)
        self.assertEqual((await call.figures()).caller.lost, 0)

    async def test_rtcp_has_ports_of_its_own(self) -> None:  # 34
        call = await self.open_call()
        caller_control, target_control = self.peer(), self.peer()
        offered = await call.offer(extra=(f"a=rtcp:{caller_control.address[1]}",))
        self.assertIn(b"a=rtcp:%d " % (call.to_target + 1), offered)
        await call.answer(extra=(f"a=rtcp:{target_control.address[1]}",))
        target_control.send(b"\x80\xc9report", call.to_target + 1)
        self.assertEqual(await caller_control.hears(1), [b"\x80\xc9report"])
        caller_control.send(b"\x80\xc8report", call.to_caller + 1)
        self.assertEqual(await target_control.hears(1), [b"\x80\xc8report"])

    async def test_muxed_rtcp_goes_with_rtp_and_is_no_loss(self) -> None:  # 34
        call = await self.open_call()
        await call.offer(extra=("a=rtcp-mux",))
        self.assertIn(b"a=rtcp-mux", await call.answer(extra=("a=rtcp-mux",)))
        packets = [rtp(1), b"\x80\xc8\x00\x06" + bytes(24), rtp(2)]
        for packet in packets:
            call.caller.send(packet, call.to_caller)
        self.assertEqual(await call.target.hears(3), packets)
        self.assertEqual((await call.figures()).caller.lost, 0)

    async def test_packets_go_to_the_described_address_before_the_far_side_has_sent(self) -> None:
        call = await self.open_call()
        call.caller.send(rtp(1), call.to_caller)
        self.assertEqual(await call.target.hears(1), [rtp(1)])

    async def test_a_far_side_that_refuses_packets_for_a_while_is_heard_again(self) -> None:
        call = await self.open_call()
        await call.exchange()
        port = call.target.address[1]
        await call.target.transport.stopListening()
        for sequence in range(5):
            call.caller.send(rtp(sequence), call.to_caller)  # answered by ICMP port unreachable
        back = self.peer(self.host, port)
        back.send(rtp(9), call.to_target)
        await call.caller.hears_at_last(rtp(9))
        call.caller.send(rtp(10), call.to_caller)
        await back.hears_at_last(rtp(10))

    # Changes in a call

    async def test_an_offer_that_is_not_answered_changes_nothing(self) -> None:  # 21
        call = await self.open_call()
        await call.exchange()
        held = describe(self.stranger_host, 5000, extra=("a=inactive",))
        await call.session.offer("caller", "target-1", held, self.host, self.host)
        call.target.send(rtp(5), call.to_target)
        self.assertEqual((await call.caller.hears(2))[1:], [rtp(5)])

    async def test_a_stream_added_later_is_relayed(self) -> None:
        call = await self.open_call()
        caller_video, target_video = self.peer(), self.peer()
        offered = await call.offer(extra=(f"m=video {caller_video.address[1]} RTP/AVP 99",))
        answered = await call.answer(extra=(f"m=video {target_video.address[1]} RTP/AVP 99",))
        caller_video.send(rtp(1), ports_in(answered)[1])
        self.assertEqual(await target_video.hears(1), [rtp(1)])
        target_video.send(rtp(2), ports_in(offered)[1])
        self.assertEqual(await caller_video.hears(1), [rtp(2)])

    async def test_t38_takes_the_place_of_audio(self) -> None:  # 35
        call = await self.open_call()
        await call.exchange()
        fax = "image {port} udptl t38"
        await call.offer(media=fax, extra=("a=T38FaxVersion:0",))
        self.assertIn(b"a=T38FaxVersion:0", await call.answer(media=fax, extra=("a=T38FaxVersion:0",)))
        call.caller.send(b"\x00\x01\x05udptl", call.to_caller)
        self.assertEqual((await call.target.hears(2))[1:], [b"\x00\x01\x05udptl"])
        self.assertEqual((await call.figures()).caller.lost, 0)

    async def test_refused_t38_leaves_audio_alone(self) -> None:  # 35
        call = await self.open_call()
        await call.exchange()
        await call.offer(media="image {port} udptl t38")  # and a 488 to it
        call.caller.send(rtp(2), call.to_caller)
        self.assertEqual((await call.target.hears(2))[1:], [rtp(2)])

    # Timeout

    async def test_a_silent_call_times_out_once(self) -> None:  # 35
        call = await self.open_call(timeout=10)
        await call.exchange()
        await self.passes(9)
        self.assertEqual(call.timeouts, [])
        await self.passes(2)
        await self.passes(30)
        self.assertEqual(call.timeouts, [1])

    async def test_packets_put_the_timeout_off(self) -> None:
        call = await self.open_call(timeout=10)
        for sequence in range(4):
            call.caller.send(rtp(sequence), call.to_caller)
            await call.target.hears(sequence + 1)
            await self.passes(6)
        self.assertEqual(call.timeouts, [])

    async def test_a_call_that_is_not_answered_or_closed_does_not_time_out(self) -> None:
        for connect in (True, False):
            call = await self.open_call(timeout=10, connect=connect)
            if connect:
                await call.close()
            await self.passes(60)
            self.assertEqual(call.timeouts, [])

    async def test_a_call_on_hold_does_not_time_out_until_it_is_taken_back(self) -> None:  # 22
        for hold in ({"extra": ("a=sendonly",)}, {"extra": ("a=inactive",)}, {"extra": ("c=IN IP4 0.0.0.0",)}):
            call = await self.open_call(timeout=10)
            await call.exchange()
            await call.offer(**hold)
            await call.answer(extra=("a=recvonly",))
            await self.passes(60)
            self.assertEqual(call.timeouts, [], hold)
            await call.offer()
            await call.answer()
            await call.exchange()
            await self.passes(11)
            self.assertEqual(call.timeouts, [1], hold)

    async def test_hold_by_zero_address_is_passed_on(self) -> None:  # 22
        call = await self.open_call()
        offered = await call.offer(extra=("c=IN IP4 0.0.0.0",))
        self.assertIn(b"c=IN IP4 0.0.0.0\r\n", offered)
        self.assertEqual(ports_in(offered), [call.to_target])

    # Figures

    async def test_figures_say_what_each_side_sent(self) -> None:
        call = await self.open_call()
        self.assertEqual((await call.figures()).verdict, "none")
        for sequence in (65534, 65535, 1, 2, 5, 4):
            call.caller.send(rtp(sequence), call.to_caller)
        await call.target.hears(6)
        figures = await call.figures()
        self.assertEqual((figures.caller.packets, figures.caller.bytes), (6, 6 * 172))
        self.assertEqual(figures.caller.lost, 2)  # 0 and 3; 4 came late
        self.assertEqual(figures.verdict, "target-silent")
        call.target.send(rtp(1), call.to_target)
        await call.caller.hears(1)
        self.assertEqual((await call.figures()).target.packets, 1)
        self.assertEqual((await call.figures()).verdict, "both-ways")

    async def test_figures_stay_after_close_and_nothing_is_relayed_any_more(self) -> None:
        call = await self.open_call()
        await call.exchange()
        final = await call.close()
        self.assertEqual(final.caller.packets, 1)
        self.assertEqual((await call.close(), await call.figures()), (final, final))
        await call.connect("target-1")
        await call.drop("target-1")
        call.caller.send(rtp(9), call.to_caller)
        call.caller.send(b"to itself", call.caller.address[1], self.host)
        await call.caller.hears(2)
        self.assertEqual(await call.figures(), final)
