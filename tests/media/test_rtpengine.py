"""The rtpengine relay keeps the relays' contract, with the real daemon from Debian.

Where rtpengine decides by itself, the test of the contract is written again here, with what it does instead; docs/rtpengine.md
tells its users.
"""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from calltrack.errors import MediaUnavailable
from calltrack.media.rtpengine import RTPEngineRelay
from calltrack.media.rtpengine_settings import NodeAddress, RTPEngineSettings
from calltrack.media.settings import MediaSettings
from calltrack.testing.media_contract import MediaRelayContract
from calltrack.testing.media_peers import RelayCase, rtp
from tests.interop.processes import eventually, unread
from tests.media.rtpengine_daemon import CONTROL, RTPEngine


class DaemonCase(TestCase):
    """A test with a node of its own and time that it turns itself."""

    more: tuple[str, ...] = ()  # arguments of the daemon

    def setUp(self) -> None:
        self.clock = Clock()
        self.settings: dict = {}
        self.daemon: RTPEngine | None = None
        self.relay: RTPEngineRelay | None = None

    async def make_relay(self, timeout: float) -> RTPEngineRelay:
        if self.daemon is None:
            self.daemon = await RTPEngine(self, *self.more).ready()
        chosen = RTPEngineSettings(nodes=(NodeAddress(CONTROL, self.daemon.port),), **self.settings)
        settings = MediaSettings(relay="rtpengine", timeout=timeout, rtpengine=chosen)
        self.relay = RTPEngineRelay(reactor, settings, self.clock)
        await self.relay.start()
        self.addCleanup(self.relay.stop)
        return self.relay

    def pass_time(self, seconds: float) -> Deferred[None]:
        return Deferred.fromCoroutine(self._pass_time(seconds))

    async def _pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            await self.settled()
        self.clock.advance(0)

    async def settled(self) -> None:
        if self.relay is not None:
            await self.relay.idle()

    async def arrived(self) -> None:
        """Commands are another thread's than packets are, so an answer to one says nothing of what lies in the sockets."""
        await eventually(lambda: not unread(self.daemon.ports), "rtpengine reads what has come")
        for node in self.relay.nodes.nodes:
            await node.ping()


class RTPEngineTests(DaemonCase, MediaRelayContract):
    udp = reactor
    flood = 40  # after 50 packets read at once it leaves the rest where they are, until the next one comes

    async def test_large_and_tiny_packets_pass(self) -> None:
        """rtpengine cuts what no network carries in one piece: at 8 kB."""
        call = await self.open_call()
        await call.exchange()
        packets = [b"", b"\r\n", b"\x80" * 1472, b"\x80" * 8000]
        for packet in packets:
            call.caller.send(packet, call.to_caller)
        self.assertEqual((await call.target.hears(5))[1:], packets)

    async def test_figures_say_what_each_side_sent(self) -> None:
        """rtpengine counts packets; loss and jitter are what the far ends report by RTCP."""
        call = await self.open_call()
        self.assertEqual((await call.figures()).verdict, "none")
        for sequence in (65534, 65535, 1, 2, 5, 4):
            call.caller.send(rtp(sequence), call.to_caller)
        await call.target.hears(6)
        figures = await call.figures()
        self.assertEqual((figures.caller.packets, figures.caller.bytes), (6, 6 * 172))
        self.assertEqual((figures.caller.lost, figures.verdict), (0, "target-silent"))
        call.target.send(rtp(1), call.to_target)
        await call.caller.hears(1)
        figures = await call.figures()
        self.assertEqual((figures.target.packets, figures.verdict), (1, "both-ways"))

    async def test_an_old_phone_behind_a_changed_port_is_heard_at_once(self) -> None:
        """With the setting for such phones."""
        self.settings["learning"] = "heuristic"
        await super().test_an_old_phone_behind_a_changed_port_is_heard_at_once()

    async def test_the_named_source_replaces_a_neighbour_that_came_first(self) -> None:
        """The neighbour is never heard: without a NAT, only the address that a description names is."""
        call = await self.open_call()
        neighbour = self.peer()
        neighbour.send(rtp(1), call.to_target)
        call.target.send(rtp(2), call.to_target)
        neighbour.send(rtp(3), call.to_target)
        call.target.send(rtp(4), call.to_target)
        self.assertEqual(await call.caller.hears(2), [rtp(2), rtp(4)])

    async def test_a_phone_that_changes_its_port_heals_within_a_second_while_strangers_knock(self) -> None:
        """It is heard again once it has described its new port."""
        call = await self.open_call()
        await call.exchange()
        moved = self.peer()
        moved.send(rtp(99), call.to_target)
        call.target = moved
        await call.answer(version=2)
        moved.send(rtp(100), call.to_target)
        await call.caller.hears_at_last(rtp(100))
        self.assertNotIn(rtp(99), call.caller.packets)
        call.caller.send(rtp(101), call.to_caller)
        await moved.hears_at_last(rtp(101))


class RecordingTests(DaemonCase, RelayCase):
    udp = reactor

    def setUp(self) -> None:
        super().setUp()
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.more = (f"--recording-dir={self.folder}", "--recording-method=pcap")

    async def test_a_call_s_packets_are_in_the_node_s_recording(self) -> None:
        call = await self.open_call()
        self.assertRaises(MediaUnavailable, call.session.tap, object())
        await self.settled()
        self.assertEqual(call.session.recording, f"rtpengine:{CONTROL}:{self.daemon.port}/a-call")
        await call.exchange()
        for sequence in range(5):
            call.caller.send(rtp(sequence, ssrc=0xCAFE), call.to_caller)
        await call.target.hears(6)
        await call.close()
        [name] = await eventually(lambda: os.listdir(os.path.join(self.folder, "pcaps")), "a recording is there")
        self.assertTrue(name.startswith("a-call-") and name.endswith(".pcap"), name)
        with open(os.path.join(self.folder, "pcaps", name), "rb") as file:
            self.assertEqual(file.read().count(b"\x00\x00\xca\xfe"), 5)


class PayloadTypeTests(DaemonCase, RelayCase):
    udp = reactor

    async def test_packets_keep_the_payload_type_that_each_side_has_chosen(self) -> None:  # 29
        call = await self.open_call(connect=False)
        await call.answer(media="audio {port} RTP/AVP 8 96", extra=("a=rtpmap:96 telephone-event/8000",))
        await call.connect("target-1")
        event = bytearray(rtp(1))
        for sender, port, hearer, payload_type in (
            (call.caller, call.to_caller, call.target, 96),
            (call.target, call.to_target, call.caller, 101),
        ):
            event[1] = payload_type
            sender.send(bytes(event), port)
            self.assertEqual(await hearer.hears(1), [bytes(event)])
