"""The in-memory network and the fakes, which other tests believe."""

from twisted.internet import error
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from calltrack.interfaces import IMediaRelay, IMediaSession, IScenarioSource
from calltrack.testing import FakeLedger, FakeRelay, FixedScenarios, Link, MemoryNetwork, Peer, TestEngine, sdp, sip_target
from calltrack.tracking.model import CallRecord

HERE, THERE = "192.0.2.1", "198.51.100.7"


class Datagrams(DatagramProtocol):
    def __init__(self):
        self.received = []

    def datagramReceived(self, datagram, addr):
        self.received.append((datagram, addr))


class Stream(Protocol):
    def __init__(self, log):
        self.log = log
        log.append(self)
        self.pieces, self.lost = [], None

    def dataReceived(self, data):
        self.pieces.append(data)

    def connectionLost(self, reason):
        self.lost = reason

    @property
    def received(self):
        return b"".join(self.pieces)


class NetworkTestCase(SynchronousTestCase):
    def setUp(self):
        self.network = MemoryNetwork(Clock())
        self.here, self.there = self.network.reactor(HERE), self.network.reactor(THERE)


class UDPTests(NetworkTestCase):
    def flood(self, seed, link, count=200):
        network = MemoryNetwork(Clock(), seed, link)
        receiver, sender = Datagrams(), Datagrams()
        network.reactor(THERE).listenUDP(5060, receiver)
        network.reactor(HERE).listenUDP(5060, sender)
        for number in range(count):
            sender.transport.write(b"%d" % number, (THERE, 5060))
        network.run(10)
        return [int(data) for data, _ in receiver.received]

    def test_datagram_arrives_after_the_links_delay_with_its_source(self):
        receiver, sender = Datagrams(), Datagrams()
        self.there.listenUDP(5060, receiver)
        self.here.listenUDP(5070, sender)
        self.network.link(HERE, THERE, Link(delay=0.2))
        sender.transport.write(b"x", (THERE, 5060))
        self.network.run(0.19)
        self.assertEqual(receiver.received, [])
        self.network.run(0.01)
        self.assertEqual(receiver.received, [(b"x", (HERE, 5070))])

    def test_same_seed_loses_the_same_and_another_seed_others(self):
        link = Link(loss=0.3, duplication=0.1, jitter=0.5)
        self.assertEqual(self.flood(1, link), self.flood(1, link))
        self.assertNotEqual(self.flood(1, link), self.flood(2, link))

    def test_loss_duplication_and_jitter_do_what_they_say(self):
        self.assertEqual(self.flood(1, Link()), list(range(200)))
        self.assertTrue(100 < len(self.flood(1, Link(loss=0.3))) < 180)
        self.assertEqual(self.flood(1, Link(loss=1.0)), [])
        self.assertEqual(sorted(self.flood(1, Link(duplication=1.0))), sorted([*range(200)] * 2))
        disordered = self.flood(1, Link(jitter=0.5))
        self.assertNotEqual(disordered, sorted(disordered))
        self.assertEqual(sorted(disordered), list(range(200)))

    def test_address_that_is_none_raises_as_a_kernel_does(self):
        sender = Datagrams()
        self.here.listenUDP(5060, sender)
        for place, problem in (((THERE, -31), OverflowError), ((THERE, 0), OSError), (("pbx.example", 5060), OSError)):
            self.assertRaises(problem, sender.transport.write, b"x", place)

    def test_port_is_bound_once_and_free_when_closed(self):
        port = self.here.listenUDP(5060, Datagrams())
        self.assertRaises(error.CannotListenError, self.here.listenUDP, 5060, Datagrams())
        port.stopListening()
        self.here.listenUDP(5060, Datagrams())


class TCPTests(NetworkTestCase):
    def connect(self, link=Link()):
        """Two protocols that are connected."""
        self.network.link(HERE, THERE, link)
        accepted, made = [], []
        self.there.listenTCP(5060, Factory.forProtocol(lambda: Stream(accepted)))
        self.here.connectTCP(THERE, 5060, ClientFactory.forProtocol(lambda: Stream(made)))
        self.network.run(1)
        return made[0], accepted[0]

    def test_bytes_arrive_in_order_both_ways(self):
        one, other = self.connect()
        for number in range(50):
            one.transport.write(b"%d " % number)
            other.transport.write(b"%d " % number)
        self.network.run(1)
        expected = b"".join(b"%d " % number for number in range(50))
        self.assertEqual((one.received, other.received), (expected, expected))

    def test_segments_split_and_gathering_merges(self):
        one, other = self.connect(Link(segment=3))
        one.transport.write(b"abcdefgh")
        self.network.run(1)
        self.assertEqual(other.pieces, [b"abc", b"def", b"gh"])
        self.setUp()
        one, other = self.connect(Link(gather=0.1))
        one.transport.write(b"abc")
        self.network.run(0.05)
        one.transport.write(b"def")
        self.network.run(1)
        self.assertEqual(other.pieces, [b"abcdef"])

    def test_nobody_listening_refuses_and_a_dead_link_times_out(self):
        failures = []
        for link in (Link(), Link(loss=1.0)):
            self.network.link(HERE, THERE, link)
            factory = ClientFactory()
            factory.clientConnectionFailed = lambda connector, reason: failures.append(reason.type)
            self.here.connectTCP(THERE, 5060, factory, timeout=4)
            self.network.run(5)
        self.assertEqual(failures, [error.ConnectionRefusedError, error.TimeoutError])

    def test_close_comes_after_the_bytes_and_reset_at_once(self):
        one, other = self.connect()
        one.transport.write(b"last words")
        one.transport.loseConnection()
        self.network.run(1)
        self.assertEqual(other.received, b"last words")
        self.assertTrue(one.lost.check(error.ConnectionDone) and other.lost.check(error.ConnectionDone))
        self.setUp()
        one, other = self.connect()
        one.transport.abortConnection()
        self.network.run(1)
        self.assertTrue(one.lost.check(error.ConnectionAborted) and other.lost.check(error.ConnectionLost))

    def test_reader_that_pauses_gets_everything_when_it_goes_on(self):
        one, other = self.connect()
        other.transport.pauseProducing()
        one.transport.write(b"abc")
        one.transport.loseConnection()
        self.network.run(1)
        self.assertEqual((other.received, other.lost), (b"", None))
        other.transport.resumeProducing()
        self.network.run(1)
        self.assertEqual(other.received, b"abc")
        self.assertTrue(other.lost.check(error.ConnectionDone))


class FakeTests(SynchronousTestCase):
    """A fake that lets a wrong use pass would hide a bug."""

    def setUp(self):
        self.clock = Clock()
        self.relay = FakeRelay(self.clock)

    def test_fakes_are_what_the_interfaces_say(self):
        verifyObject(IMediaRelay, self.relay)
        verifyObject(IMediaSession, self.relay.open("1", lambda: None))
        verifyObject(IScenarioSource, FixedScenarios(self.clock))

    def test_relay_refuses_an_answer_to_nothing_and_any_use_after_the_end(self):
        session = self.relay.open("1", lambda: None)
        arguments = ("caller", "target-1", sdp(), "198.51.100.7", "203.0.113.20")
        self.assertRaises(AssertionError, session.answer, *arguments)
        self.assertIn(b"c=IN IP4 192.0.2.1", self.successResultOf(session.offer(*arguments)))
        self.assertEqual(self.relay.open_sessions, 1)
        session.close()
        self.assertRaises(AssertionError, session.offer, *arguments)
        self.assertEqual(self.relay.open_sessions, 0)

    def test_relay_shows_a_party_the_same_port_again(self):
        session = self.relay.open("1", lambda: None)
        arguments = ("caller", "target-1", sdp(), "198.51.100.7", "203.0.113.20")
        first, second = (self.successResultOf(session.offer(*arguments)) for _ in range(2))
        self.assertEqual(first, second)

    def test_ledger_refuses_a_second_end(self):
        ledger = FakeLedger()
        record = CallRecord(id="1", created=0, status="BUSY")
        ledger.finish(record)
        self.assertRaises(AssertionError, ledger.finish, record)

    def test_peer_says_what_came_instead(self):
        network = MemoryNetwork(self.clock)
        TestEngine(network, [sip_target("203.0.113.20")])
        trunk = Peer(network, THERE)
        trunk.invite("19998887766")
        problem = self.assertRaises(AssertionError, trunk.expect, 200)
        self.assertIn("expected 200", str(problem))
        self.assertIn("404", str(problem))
        self.assertRaises(AssertionError, trunk.expect, 200)

    def test_engine_tells_what_is_left(self):
        network = MemoryNetwork(self.clock)
        engine = TestEngine(network, [sip_target("203.0.113.20")])
        Peer(network, THERE).invite(engine.number)
        network.run(1)
        left = " ".join(engine.leftovers())
        for what in ("calls", "dialogs", "client transactions", "limits", "timers", "media sessions", "unfinished records"):
            self.assertIn(what, left)
