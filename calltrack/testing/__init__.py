"""What tests of calltrack and of its plugins stand on: an in-memory network, scripted SIP peers, a wired engine,
fakes that check how they are used, and contract suites for every extension point. Nothing here is needed to run.

    network = MemoryNetwork(Clock())
    engine = TestEngine(network, targets=[sip_target("203.0.113.20")])
    trunk, office = Peer(network, "198.51.100.7"), Peer(network, "203.0.113.20")
    trunk.invite(engine.number)
    office.respond(office.expect("INVITE"), 486)
    trunk.expect(486)
"""

from calltrack.testing.engine import TestEngine, sip_target
from calltrack.testing.fakes import FakeLedger, FakeRelay, FixedResolver, FixedScenarios
from calltrack.testing.network import Link, MemoryNetwork
from calltrack.testing.peers import Peer, sdp

__all__ = [
    "FakeLedger",
    "FakeRelay",
    "FixedResolver",
    "FixedScenarios",
    "Link",
    "MemoryNetwork",
    "Peer",
    "TestEngine",
    "sdp",
    "sip_target",
]
