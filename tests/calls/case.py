"""A test of a call: a trunk at 198.51.100.7, an office at 203.0.113.20, an engine between them, and nothing left after."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.testing.engine import TestEngine, sip_target
from calltrack.testing.network import MemoryNetwork
from calltrack.testing.peers import Peer, sdp

OFFICE, SECOND = "203.0.113.20", "203.0.113.21"
OFFER, ANSWER = sdp("198.51.100.7"), sdp(OFFICE, 6000)


class CallTestCase(SynchronousTestCase):
    """`expected_records`: final records that the calls of a test must leave."""

    expected_records = 1

    def setUp(self):
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.trunk = Peer(self.network, "198.51.100.7")
        self.office = Peer(self.network, OFFICE)
        self.engine = None

    def start(self, *targets, **options):
        """An engine that forwards to these targets; to the office when none is given."""
        self.engine = TestEngine(self.network, targets or (sip_target(OFFICE),), **options)
        return self.engine

    def tearDown(self):
        self.assertEqual(self.engine.settle(), [])
        for peer in (self.trunk, self.office):
            self.assertEqual([message.summary for message in peer.inbox], [])
        self.assertEqual(len(self.engine.ledger.finals), self.expected_records)

    def talk(self, offer=OFFER, answer=ANSWER):
        """A call that was answered."""
        self.trunk.invite(body=offer)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 200, sdp=answer)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)

    def hang_up(self):
        """The caller ends it, both sides orderly."""
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.office.respond(self.office.expect("BYE"), 200)

    @property
    def record(self):
        return self.engine.record
