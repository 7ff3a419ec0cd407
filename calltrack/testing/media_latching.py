"""Whose packets a media relay may pass on: the part of the relays' contract that keeps strangers out of calls.

Part of `media_contract`, see there. Knows the interfaces only.
"""

from __future__ import annotations

from calltrack.testing.media_peers import Call, RelayCase, ports_in, rtp


class LatchingContract(RelayCase):
    """Which parties of a call hear each other, and that strangers are never heard."""

    # Who is heard

    async def test_only_the_target_that_answered_last_is_heard_until_one_is_connected(self) -> None:
        call = await self.open_call(connect=False)
        second = self.peer()
        offered = await call.session.offer("caller", "target-2", call.caller.sdp(), self.host, self.host)
        await call.exchange()
        answered = await call.session.answer("target-2", "caller", second.sdp(), self.host, self.host)
        self.assertEqual(ports_in(answered), [call.to_caller])
        self.assertNotEqual(ports_in(offered), [call.to_target])
        call.target.send(rtp(50), call.to_target)
        second.send(rtp(51), ports_in(offered)[0])
        self.assertEqual((await call.caller.hears(2))[1:], [rtp(51)])
        await call.connect("target-1")
        second.send(rtp(52), ports_in(offered)[0])
        call.target.send(rtp(53), call.to_target)
        self.assertEqual((await call.caller.hears(3))[2:], [rtp(53)])

    async def test_a_dropped_party_is_not_heard_and_unknown_names_are_ignored(self) -> None:
        call = await self.open_call(connect=False)
        await call.exchange()
        await call.drop("target-1")
        await call.drop("nobody")
        second = self.peer()
        offered = await call.session.offer("caller", "target-2", call.caller.sdp(), self.host, self.host)
        await call.session.answer("target-2", "caller", second.sdp(), self.host, self.host)
        call.target.send(rtp(60), call.to_target)
        second.send(rtp(61), ports_in(offered)[0])
        self.assertEqual((await call.caller.hears(2))[1:], [rtp(61)])

    async def test_packets_from_before_the_answer_are_not_relayed(self) -> None:
        relay = await self.make_relay(60)
        call = Call(self, relay.open("a-call", None), self.peer(), self.peer())
        await call.offer()
        call.target.send(rtp(1), call.to_target)
        await self.arrived()
        await call.answer()
        call.target.send(rtp(2), call.to_target)
        self.assertEqual(await call.caller.hears(1), [rtp(2)])

    # Strangers

    async def test_a_stranger_who_comes_first_is_not_heard(self) -> None:  # 32
        call = await self.open_call()
        stranger = self.peer(self.stranger_host)
        for sequence in range(20):
            stranger.send(rtp(sequence, ssrc=666), call.to_target)
        call.target.send(rtp(1), call.to_target)
        self.assertEqual(await call.caller.hears(1), [rtp(1)])
        call.caller.send(rtp(2), call.to_caller)
        await call.target.hears(1)
        self.assertEqual(stranger.received, [])
        self.assertEqual((await call.figures()).target.strangers, 20)

    async def test_a_stranger_after_latching_is_dropped_and_counted(self) -> None:  # 32
        call = await self.open_call()
        await call.exchange()
        stranger, neighbour = self.peer(self.stranger_host), self.peer()
        for sequence in range(self.flood):
            stranger.send(rtp(sequence, ssrc=666), call.to_target)
        neighbour.send(rtp(666, ssrc=666), call.to_target)
        call.target.send(rtp(2), call.to_target)
        self.assertEqual((await call.caller.hears(2))[1:], [rtp(2)])
        self.assertEqual((await call.figures()).target.strangers, self.flood + 1)

    async def test_an_old_phone_behind_a_changed_port_is_heard_at_once(self) -> None:
        call = await self.open_call()
        behind_nat = self.peer()
        behind_nat.send(rtp(1), call.to_target)
        self.assertEqual(await call.caller.hears(1), [rtp(1)])
        call.caller.send(rtp(2), call.to_caller)
        self.assertEqual(await behind_nat.hears(1), [rtp(2)])

    async def test_the_named_source_replaces_a_neighbour_that_came_first(self) -> None:  # 32
        call = await self.open_call()
        neighbour = self.peer()
        neighbour.send(rtp(1), call.to_target)
        await call.caller.hears(1)
        call.target.send(rtp(2), call.to_target)
        await self.passes(0.5)
        neighbour.send(rtp(3), call.to_target)
        call.target.send(rtp(4), call.to_target)
        self.assertEqual((await call.caller.hears(2))[1:], [rtp(4)])

    async def test_a_phone_that_changes_its_port_heals_within_a_second_while_strangers_knock(self) -> None:  # 32
        call = await self.open_call()
        await call.exchange()
        moved, stranger = self.peer(), self.peer(self.stranger_host)
        for step in range(4):
            for sequence in range(50):
                stranger.send(rtp(sequence, ssrc=666), call.to_target)
            moved.send(rtp(step), call.to_target)
            await self.passes(0.25)
        moved.send(rtp(100), call.to_target)
        await call.caller.hears_at_last(rtp(100))
        self.assertNotIn(rtp(0, ssrc=666), call.caller.packets)
        call.caller.send(rtp(101), call.to_caller)
        await moved.hears_at_last(rtp(101))

    async def test_a_neighbour_does_not_replace_a_phone_that_still_sends(self) -> None:  # 32
        call = await self.open_call()
        await call.exchange()
        neighbour = self.peer()
        for step in range(1, 9):
            neighbour.send(rtp(step, ssrc=666), call.to_target)
            call.target.send(rtp(step), call.to_target)
            await call.caller.hears(1 + step)
            await self.passes(0.25)
        self.assertEqual(call.caller.packets[1:], [rtp(step) for step in range(1, 9)])

    async def test_a_new_source_after_a_new_description_is_learned_once(self) -> None:  # 32
        call = await self.open_call()
        await call.exchange()
        old, call.target = call.target, self.peer()
        await call.answer(version=2)
        call.target.send(rtp(70), call.to_target)
        await call.caller.hears(2)
        old.send(rtp(71), call.to_target)
        call.target.send(rtp(72), call.to_target)
        self.assertEqual((await call.caller.hears(3))[1:], [rtp(70), rtp(72)])

    async def test_the_same_description_again_does_not_open_the_latch(self) -> None:  # 31, 32
        call = await self.open_call()
        await call.exchange()
        await call.answer(version=2)
        self.peer().send(rtp(80), call.to_target)
        call.target.send(rtp(81), call.to_target)
        self.assertEqual((await call.caller.hears(2))[1:], [rtp(81)])
