"""The calls of the other modules again, with their media on a real rtpengine; and what happens when one dies."""

import os

from twisted.internet import reactor, task

from tests.interop import test_baresip, test_calls, test_hunting
from tests.interop.harness import RELAY_PORTS, InteropTestCase
from tests.interop.processes import free_port, installed
from tests.media.rtpengine_daemon import CONTROL, RTPEngine


class OnRTPEngine(InteropTestCase):
    """Mixin: an engine whose relay is rtpengine. `count`: how many nodes."""

    count = 1
    more: tuple[str, ...] = ()  # arguments of the daemons

    def media(self) -> str:
        installed("rtpengine", "rtpengine-daemon")
        if not hasattr(self, "controls"):
            self.controls = [free_port(CONTROL) for _ in range(self.count)]
        nodes = [f"{CONTROL}:{port}" for port in self.controls]
        return f'relay = "rtpengine"\n[media.rtpengine]\nnodes = {nodes}\ntimeout = 0.5\nping = 0.5'

    async def start_engine(self) -> None:
        low, high = RELAY_PORTS
        share = (high - low + 1) // self.count
        self.nodes = []
        for number, port in enumerate(self.controls):
            ports = (low + number * share, low + (number + 1) * share - 1)
            self.nodes.append(await RTPEngine(self, *self.more, hosts=tuple(self.addresses), port=port, ports=ports).ready())
        await super().start_engine()


class SoftphoneTests(OnRTPEngine, test_baresip.SoftphoneTests):
    pass


class StaticCallTests(OnRTPEngine, test_calls.StaticCallTests):
    pass


class HoldTests(OnRTPEngine, test_calls.HoldTests):
    pass


class FamilyTests(OnRTPEngine):
    test_caller_over_ipv4_reaches_a_target_over_ipv6 = test_calls.TransportTests.test_caller_over_ipv4_reaches_a_target_over_ipv6


class AllAtOnceTests(OnRTPEngine, test_hunting.AllAtOnceTests):
    pass


class RecordingTests(OnRTPEngine):
    """A scenario that records has its calls recorded by their node."""

    async def start_engine(self) -> None:
        self.recordings = os.path.join(self.folder, "recordings")
        os.makedirs(self.recordings)
        self.more = (f"--recording-dir={self.recordings}", "--recording-method=pcap")
        await super().start_engine()

    async def test_the_record_says_where_and_the_node_has_the_file(self):
        office = await self.target("target")
        await self.route(self.address_of(office), options=("--record",))
        await self.start_engine()
        await self.call().succeeds()
        record = await self.record()
        recording = record["recording"]
        self.assertEqual((recording["state"], recording["name"]), ("elsewhere", f"rtpengine:{CONTROL}:{self.controls[0]}/{record['id']}"))
        [name] = os.listdir(os.path.join(self.recordings, "pcaps"))
        self.assertTrue(name.startswith(record["id"]), name)


class NodesTests(OnRTPEngine, InteropTestCase):
    count = 2

    async def test_calls_go_on_when_a_node_dies(self):
        office = await self.target("target", calls=6)
        await self.route(self.address_of(office))
        await self.start_engine()
        await self.call(calls=3).succeeds()
        self.nodes[0].signal("KILL")
        await self.nodes[0].end()
        await task.deferLater(reactor, 1.2)  # until a ping has found it out
        await self.call(calls=3).succeeds()
        records = await self.records(6)
        self.assertEqual({record["status"] for record in records}, {"ANSWER"})

    async def test_without_any_node_the_caller_hears_503_and_the_record_says_why(self):
        office = await self.target("target")
        await self.route(self.address_of(office))
        await self.start_engine()
        for node in self.nodes:
            node.signal("KILL")
            await node.end()
        await task.deferLater(reactor, 1.2)
        await self.call("caller-refused").succeeds()
        record = await self.record()
        self.assertEqual((record["status"], record["sip_code"]), ("CONGESTION", 503))
        self.assertIn("has not answered", record["reason"])
