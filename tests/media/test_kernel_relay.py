"""The kernel relay keeps the relays' contract, on real wires between network namespaces: before a call is handed over to
the kernel, and after."""

from __future__ import annotations

from twisted.internet import reactor

from calltrack.media import kernel
from calltrack.testing.media_contract import MediaRelayContract
from calltrack.testing.media_peers import Call, receiver_report, rtp
from calltrack.testing.media_tap_contract import TapContract
from tests.media.kernel import KernelCase


class KernelRelayTests(MediaRelayContract, TapContract, KernelCase):
    """Calls are handed over as soon as both sides have been heard."""

    def latched(self) -> None:
        self.relay.hand_over()


class BeforeTests(MediaRelayContract, TapContract, KernelCase):
    """Calls stay with the sockets."""


class HandingOverTests(KernelCase):
    async def test_a_call_is_handed_over_with_the_first_packet_of_the_second_side(self) -> None:
        call = await self.open_call()
        call.caller.send(rtp(0), call.to_caller)
        await call.target.hears(1)
        self.clock.advance(0)
        self.assertEqual(self.in_kernel(), 0)
        call.target.send(rtp(0), call.to_target)
        await call.caller.hears(1)
        self.clock.advance(0)
        self.assertEqual(self.in_kernel(), 1)

    async def test_a_call_with_early_media_is_handed_over_when_it_is_connected(self) -> None:
        call = await self.open_call(connect=False)
        await call.exchange()
        self.clock.advance(0)
        self.assertEqual(self.in_kernel(), 0)
        await call.connect("target-1")
        self.clock.advance(0)
        self.assertEqual(self.in_kernel(), 1)

    async def test_a_call_that_has_come_back_is_handed_over_when_packets_have_flowed_both_ways_for_two_ticks(self) -> None:
        call = await self.talking_call()
        await call.offer()
        await call.answer()
        for wanted in (0, 1, 1, 1):
            await self.talk(call)
            self.pass_time(0.25)
            self.assertEqual(self.in_kernel(), wanted)

    async def test_many_calls_that_begin_at_once_are_handed_over_by_turns(self) -> None:
        self.patch(kernel, "_AT_ONCE", 2)
        first = await self.talking_call()
        await self.talk(first)
        self.pass_time(0.25)  # one goes ahead of all others
        calls = []
        for number in range(5):
            call = Call(self, self.relay.open(f"call-{number}", None), self.peer(), self.peer())
            await call.offer()
            await call.answer()
            await call.connect("target-1")
            await call.exchange()
            calls.append(call)
        calls[0].session.close()
        begin, turns = self.relay._bypasses.begin, []
        self.patch(self.relay._bypasses, "begin", lambda streams: (turns.append(len(streams)), begin(streams)))
        self.clock.advance(0)
        self.assertEqual((turns, self.in_kernel()), ([2, 2], 5))
        for call in calls[1:]:
            await self.talk(call)

    async def test_one_way_audio_is_not_handed_over(self) -> None:
        call = await self.open_call()
        for sequence in range(8):
            call.caller.send(rtp(sequence), call.to_caller)
            await call.target.hears(sequence + 1)
            self.pass_time(0.25)
        self.assertEqual((self.in_kernel(), call.session.figures().verdict), (0, "target-silent"))

    async def test_a_call_that_is_not_connected_is_not_handed_over(self) -> None:
        call = await self.open_call(connect=False)
        await call.exchange()
        self.relay.hand_over()
        self.assertEqual(self.in_kernel(), 0)

    async def test_packets_pass_without_this_process_and_are_counted(self) -> None:
        call = await self.talking_call()
        reactor.removeReader(self.relay.loop)  # nothing is read any longer
        await self.talk(call, 20)
        reactor.addReader(self.relay.loop)
        figures = call.session.figures()
        self.assertEqual((figures.caller.packets, figures.caller.bytes), (21, 21 * 172))
        self.assertEqual((figures.target.packets, figures.target.bytes), (21, 21 * 172))
        self.assertEqual(figures.verdict, "both-ways")

    async def test_phones_on_one_interface_and_on_two_and_in_either_family(self) -> None:
        for caller, target in (("", ""), ("", self.far_host), (self.far_host, ""), (self.host6, self.far_host6)):
            call = await self.talking_call(caller, target)
            self.assertEqual(self.in_kernel(), 1, (caller, target))
            await self.talk(call, 5)
            self.pass_time(0.25)
            call.session.close()
            self.assertEqual(self.in_kernel(), 0)

    async def test_calls_between_the_families_stay_with_the_sockets(self) -> None:
        call = await self.talking_call(self.host6, self.far_host)
        self.assertEqual(self.in_kernel(), 0)
        await self.talk(call, 5)

    async def test_a_far_end_on_this_machine_stays_with_the_sockets(self) -> None:
        call = await self.talking_call("", self.relay_host)
        self.assertEqual(self.in_kernel(), 0)
        await self.talk(call, 5)

    async def test_rtcp_stays_with_the_sockets_and_passes(self) -> None:
        call = await self.talking_call()
        controls = self.peer(port=call.caller.address[1] + 1), self.peer(port=call.target.address[1] + 1)
        for control, port, other in ((controls[0], call.to_caller, controls[1]), (controls[1], call.to_target, controls[0])):
            control.send(b"\x80\xc9report", port + 1)
            await other.hears_at_last(b"\x80\xc9report")
        self.assertEqual(self.in_kernel(), 1)

    async def test_loss_and_jitter_of_what_the_kernel_carries_are_those_that_the_far_end_reports(self) -> None:
        call = await self.talking_call()
        await self.report(call, lost=7, jitter=80)
        await self.report(call, lost=0, jitter=99, ssrc=666)  # of a source that is none of ours
        figures = call.session.figures()
        self.assertEqual((figures.caller.lost, figures.caller.jitter_ms), (7, 10.0))
        self.assertEqual((figures.target.lost, figures.target.jitter_ms), (0, 0.0))

    async def test_what_has_been_reported_lost_is_not_counted_again_when_the_call_comes_back(self) -> None:
        call = await self.talking_call()  # both have sent rtp(0)
        for sequence in (1, 2, 5, 6):
            call.caller.send(rtp(sequence), call.to_caller)
        await call.target.hears(5)
        await self.report(call, lost=2, jitter=0)
        await call.answer()
        call.caller.send(rtp(7), call.to_caller)
        await call.target.hears(6)
        self.assertEqual(call.session.figures().caller.lost, 2)

    async def report(self, call: Call, **report: int) -> None:
        """The target's phone says how it hears the caller; the caller's is told."""
        if not hasattr(self, "controls"):
            self.controls = [self.peer(port=peer.address[1] + 1) for peer in (call.caller, call.target)]
            self.controls[0].send(receiver_report(), call.to_caller + 1)  # now it is known where it is
        hears, says = self.controls
        packet = receiver_report(**report)
        says.send(packet, call.to_target + 1)
        await hears.hears_at_last(packet)

    async def test_packets_of_any_size_pass(self) -> None:
        call = await self.talking_call()
        packets = [b"", b"\x80", b"\x80" * 1400, b"\x80" * 9000, b"\x80" * 65507]
        for packet in packets:
            call.caller.send(packet, call.to_caller)
        self.assertEqual((await call.target.hears(1 + len(packets)))[1:], packets)
        self.assertEqual(self.in_kernel(), 1)


class TakingBackTests(KernelCase):
    async def test_no_packet_is_lost_or_doubled_from_one_to_the_other_and_back(self) -> None:
        call = await self.talking_call()
        for _ in range(20):
            await self.talk(call, 3)
            await call.offer()
            await call.answer()  # a session refresh
            self.assertEqual(self.in_kernel(), 0)
            await self.talk(call, 3)
            self.relay.hand_over()
            self.assertEqual(self.in_kernel(), 1)
        figures = call.session.close()
        self.assertEqual((figures.caller.packets, figures.target.packets), (121, 121))
        self.assertEqual((figures.caller.lost, figures.target.lost), (0, 0))

    async def test_packets_that_wait_in_the_sockets_when_the_switch_is_thrown_leave_from_the_right_port(self) -> None:
        call = await self.talking_call()
        await call.answer()
        await self.talk(call)
        for sequence in range(10):
            call.caller.send(rtp(100 + sequence), call.to_caller)
        self.relay.hand_over()
        for sequence in range(10, 20):
            call.caller.send(rtp(100 + sequence), call.to_caller)
        heard = (await call.target.hears(22))[2:]
        self.assertEqual(sorted(heard), [rtp(100 + sequence) for sequence in range(20)])
        self.assertEqual({source for _, source in call.target.received}, {(self.relay_host, call.to_target)})
        for _ in range(12):  # past the next sweep: they are no reason to take the call back
            await self.talk(call)
            self.pass_time(0.5)
        self.assertEqual((self.in_kernel(), self.relay.status()["handed_over"]), (1, 2))

    async def test_hold_takes_the_call_back_and_unhold_hands_it_over_again(self) -> None:
        call = await self.talking_call()
        await call.offer(extra=("a=sendonly",))
        await call.answer(extra=("a=recvonly",))
        for _ in range(4):
            await self.talk(call)
            self.pass_time(0.25)
        self.assertEqual(self.in_kernel(), 0)
        await call.offer()
        await call.answer()
        for _ in range(4):
            await self.talk(call)
            self.pass_time(0.25)
        self.assertEqual(self.in_kernel(), 1)

    async def test_a_tap_takes_the_call_back_for_as_long_as_it_listens(self) -> None:
        call = await self.talking_call()
        heard: list[tuple[str, bytes]] = []

        class Listener:
            def packet(self, party: str, data: bytes, at: float) -> None:
                heard.append((party, data))

        call.session.tap(Listener())
        for _ in range(4):
            await self.talk(call)
            self.pass_time(0.25)
        self.assertEqual((self.in_kernel(), len(heard)), (0, 8))
        call.session.tap(None)
        for _ in range(4):
            await self.talk(call)
            self.pass_time(0.25)
        self.assertEqual((self.in_kernel(), len(heard)), (1, 8))

    async def test_a_phone_behind_a_new_description_is_heard_and_the_old_one_is_not(self) -> None:
        call = await self.talking_call()
        old, call.target = call.target, self.peer()
        await call.offer()
        await call.answer(version=2)
        await call.exchange()
        self.relay.hand_over()
        old.send(rtp(66), call.to_target)
        call.target.send(rtp(67), call.to_target)
        await call.caller.hears_at_last(rtp(67))
        self.assertNotIn(rtp(66), call.caller.packets)
        self.assertEqual(self.in_kernel(), 1)

    async def test_what_is_lost_in_the_kernel_is_found_when_the_call_comes_back(self) -> None:
        call = await self.talking_call()  # both have sent rtp(0)
        for sequence in (1, 2, 5, 6):
            call.caller.send(rtp(sequence), call.to_caller)
        await call.target.hears(5)
        await call.answer()
        call.caller.send(rtp(7), call.to_caller)
        await call.target.hears(6)
        figures = call.session.figures()
        self.assertEqual((figures.caller.packets, figures.caller.lost, figures.caller.jitter_ms < 5), (6, 2, True))

    async def test_closing_leaves_nothing_in_the_kernel(self) -> None:
        call = await self.talking_call()
        call.session.close()
        listed = self.net.run("nft", "list", "table", "inet", "calltrack_20000")
        self.assertNotIn("elements", listed)
        call.caller.send(rtp(9), call.to_caller)
        call.caller.send(b"to itself", call.caller.address[1], self.host)
        await call.caller.hears_at_last(b"to itself")
        self.assertEqual(len(call.target.received), 1)

    async def test_stopping_takes_the_table_out(self) -> None:
        await self.talking_call()
        await self.relay.stop()
        self.assertNotIn("calltrack", self.net.run("nft", "list", "tables"))
        await self.relay.stop()

    async def test_a_silent_call_in_the_kernel_times_out_and_one_that_is_talked_in_does_not(self) -> None:
        call = await self.talking_call(timeout=10)
        for _ in range(4):
            await self.talk(call)
            self.pass_time(6)
        self.assertEqual((call.timeouts, self.in_kernel()), ([], 1))
        self.pass_time(6)
        self.assertEqual(call.timeouts, [1])
