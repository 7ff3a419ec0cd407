"""`calltrack check` says of each rtpengine node whether it answers."""

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import TestCase

from calltrack import config
from calltrack.cli.check_media import on_nodes
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
