"""`calltrack check` says which relay is in force and what it costs, and of each rtpengine node whether it answers."""

import json

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import TestCase

from twisted.web.server import Site
from twisted.web.static import Data

from calltrack import config
from calltrack.cli import check_media, relay_trial
from calltrack.cli.check_media import on_nodes
from calltrack.testing.namespaces import missing
from tests.interop.processes import free_port


class Pong(DatagramProtocol):
    def datagramReceived(self, data, address):
        self.transport.write(data.partition(b" ")[0] + b" d6:result4:ponge", address)


class NodeVerdictTests(TestCase):
    def settings(self, *ports, relay="rtpengine"):
        nodes = [f"127.0.0.1:{port}" for port in ports]
        return config.load(f'[media]\nrelay = "{relay}"\n[media.rtpengine]\ntimeout = 0.2\nnodes = {nodes}')

    async def test_each_node_has_a_verdict_that_names_it(self):
        there = reactor.listenUDP(0, Pong(), interface="127.0.0.1")
        self.addCleanup(there.stopListening)
        up, down = there.getHost().port, free_port("127.0.0.1")
        (good, words), (bad, why) = await on_nodes(self.settings(up, down), reactor)
        self.assertTrue(good)
        self.assertIn(f"rtpengine 127.0.0.1:{up} answers in ", words)
        self.assertFalse(bad)
        self.assertIn(f"rtpengine 127.0.0.1:{down} has not answered 'ping' within 0.2 s; see listen-ng", why)

    async def test_nodes_are_not_asked_while_another_relay_carries_the_media(self):
        self.assertEqual(await on_nodes(self.settings(1, relay="twisted"), reactor), [])


class RelayVerdictTests(TestCase):
    def settings(self, relay="twisted", web="127.0.0.1:1"):
        return config.load(f'[media]\nrelay = "{relay}"\nlisten = "127.0.0.1"\n[web]\nlisten = "{web}"')

    async def verdicts(self, *arguments, **options):
        return await check_media.on_relay(self.settings(*arguments, **options), reactor, trial=False)

    async def test_sockets_need_nothing(self):
        self.assertEqual(await self.verdicts(), [(True, "relay twisted can be in force here")])

    async def test_kernel_that_cannot_is_told_why_and_what_carries_the_calls(self):
        ((good, words),) = await self.verdicts("kernel")
        self.assertFalse(good)
        self.assertTrue(words.startswith("relay kernel is not in force here: media listens on loopback only"), words)
        self.assertTrue(words.endswith("Calls are relayed by calltrack's process"), words)

    async def test_a_running_engine_knows_best(self):
        for media, wanted in (
            ({"relay": "kernel"}, (True, "relay kernel is in force in the running engine")),
            ({"relay": "kernel", "why": "no table"}, (False, "relay kernel is not in force in the running engine: no table. ")),
        ):
            page = Data(json.dumps({"media": media}).encode(), "application/json")
            page.isLeaf = True
            port = reactor.listenTCP(0, Site(page), interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            ((good, words),) = await self.verdicts("kernel", web=f"127.0.0.1:{port.getHost().port}")
            self.assertEqual((good, words[: len(wanted[1])]), wanted)

    async def test_a_page_that_is_no_engine_s_is_no_engine(self):
        for body in (b"", b"[]", b'{"media": 3}', b"<html>"):
            page = Data(body, "text/html")
            page.isLeaf = True
            port = reactor.listenTCP(0, Site(page), interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            self.assertEqual((await self.verdicts(web=f"127.0.0.1:{port.getHost().port}"))[0][0], True)

    async def test_costs_are_measured_and_told_in_words(self):
        result = await relay_trial.measure("twisted", reactor)
        self.assertEqual((result.relay, result.why, result.packets), ("twisted", "", 15000))
        self.assertGreater(result.process_us, 0)
        words = check_media.cost_in_words(result)
        self.assertIn("us of CPU a packet in calltrack's process: one core carries about ", words)

    async def test_kernel_is_measured_in_a_network_of_the_trial_s_own(self):
        result = await relay_trial.measure("kernel", reactor)
        if missing() or "root" in result.why:
            self.assertTrue(result.why)
            self.skipTest(result.why)
        self.assertEqual(result.why, "")
        self.assertLess(result.process_us, 3)
        self.assertIn(" us in the kernel: ", check_media.cost_in_words(result))

    async def test_a_trial_that_breaks_is_told(self):
        with self.assertRaises(relay_trial.TrialFailed) as caught:
            await relay_trial.measure("asterisk", reactor)
        self.assertIn("the trial ended with status", str(caught.exception))
