"""What whoever records a call hears of it: the contract of relays that carry the packets themselves, beside that of
all relays in `media_contract`. One that records by itself raises MediaUnavailable instead.

Knows the interfaces only.
"""

from __future__ import annotations

import time

from zope.interface import implementer

from calltrack.interfaces import IMediaTap
from calltrack.testing.media_peers import Call, RelayCase, ports_in, rtp


@implementer(IMediaTap)
class Listener:
    """Keeps what it is told; raises `fault` when there is one."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.times: list[float] = []
        self.fault: Exception | None = None

    def packet(self, party: str, data: bytes, at: float) -> None:
        self.heard.append((party, data))
        self.times.append(at)
        if self.fault is not None:
            raise self.fault


class TapContract(RelayCase):
    """`IMediaSession.tap`. A test case derives from this and `MediaRelayContract`."""

    async def tapped_call(self, **options) -> tuple[Call, Listener]:
        call = await self.open_call(**options)
        listener = Listener()
        call.session.tap(listener)
        return call, listener

    async def test_a_tap_hears_both_sides_in_order_with_monotonic_times(self) -> None:
        call, listener = await self.tapped_call()
        before = time.monotonic()
        await call.exchange()  # the first packets, which latch, are among them
        call.caller.send(rtp(2), call.to_caller)
        await call.target.hears(2)
        self.assertEqual(listener.heard, [("caller", rtp(0)), ("target", rtp(0)), ("caller", rtp(2))])
        self.assertEqual(listener.times, sorted(listener.times))
        self.assertTrue(before - 0.1 <= listener.times[0] and listener.times[-1] <= time.monotonic())
        for _, data in listener.heard:
            self.assertIsInstance(data, bytes)

    async def test_a_tap_may_come_and_go_in_a_call_and_packets_pass_all_the_time(self) -> None:
        call, listener = await self.tapped_call()
        call.session.tap(None)
        await call.exchange()
        call.session.tap(listener)
        for sequence in (3, 4):
            call.target.send(rtp(sequence), call.to_target)
        await call.caller.hears(3)
        call.session.tap(None)
        call.target.send(rtp(5), call.to_target)
        self.assertEqual((await call.caller.hears(4))[1:], [rtp(3), rtp(4), rtp(5)])
        self.assertEqual(listener.heard, [("target", rtp(3)), ("target", rtp(4))])
        self.assertEqual((await call.figures()).target.packets, 4)

    async def test_a_tap_hears_no_stranger_no_rtcp_and_nothing_that_is_no_rtp(self) -> None:
        call, listener = await self.tapped_call()
        await call.exchange()
        self.peer(self.stranger_host).send(rtp(1, ssrc=666), call.to_target)
        others = [b"", b"\x80", bytes(20), b"\x80\xc8\x00\x06" + bytes(24), b"\x00\x01\x00\x00" + bytes(16)]
        for packet in (*others, rtp(2)):
            call.target.send(packet, call.to_target)
        self.assertEqual((await call.caller.hears(7))[1:], [*others, rtp(2)])
        self.assertEqual(listener.heard[2:], [("target", rtp(2))])

    async def test_the_target_that_the_caller_hears_is_the_target(self) -> None:
        call, listener = await self.tapped_call(connect=False)
        second = self.peer()
        offered = await call.session.offer("caller", "target-2", call.caller.sdp(), self.host, self.host)
        await call.exchange()
        await call.session.answer("target-2", "caller", second.sdp(), self.host, self.host)
        call.target.send(rtp(50), call.to_target)
        second.send(rtp(51), ports_in(offered)[0])
        await call.caller.hears(2)
        await call.connect("target-1")
        call.target.send(rtp(52), call.to_target)
        await call.caller.hears(3)
        self.assertEqual(listener.heard[1:], [("target", rtp(0)), ("target", rtp(51)), ("target", rtp(52))])

    async def test_video_beside_the_audio_is_not_told(self) -> None:
        call, listener = await self.tapped_call()
        caller_video, target_video = self.peer(), self.peer()
        await call.offer(extra=(f"m=video {caller_video.address[1]} RTP/AVP 99",))
        answered = await call.answer(extra=(f"m=video {target_video.address[1]} RTP/AVP 99",))
        caller_video.send(rtp(1), ports_in(answered)[1])
        self.assertEqual(await target_video.hears(1), [rtp(1)])
        await call.exchange()
        self.assertEqual(listener.heard, [("caller", rtp(0)), ("target", rtp(0))])

    async def test_a_tap_that_fails_is_logged_and_told_nothing_more_and_the_call_goes_on(self) -> None:
        call, listener = await self.tapped_call()
        listener.fault = ZeroDivisionError("a bug of the observer's")
        await call.exchange()
        self.assertEqual(len(listener.heard), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((await call.figures()).verdict, "both-ways")

    async def test_a_closed_call_tells_nothing(self) -> None:
        call, listener = await self.tapped_call()
        await call.exchange()
        await call.close()
        call.session.tap(listener)
        call.caller.send(rtp(9), call.to_caller)
        call.caller.send(b"to itself", call.caller.address[1], self.host)
        await call.caller.hears(2)
        self.assertEqual(len(listener.heard), 2)
