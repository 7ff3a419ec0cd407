"""Flows, listeners and connections over the in-memory network (RFC 3261 section 18, RFC 5626; ROBUSTNESS 2.2, 2.13)."""

from hypothesis import given, strategies
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import TransportFailure
from calltrack.sip import flows, transports as transports_module
from calltrack.sip.flows import Address, UDPSocket, check_address
from calltrack.sip.locating import NextHop
from calltrack.sip.transports import Transports
from calltrack.testing.network import Link, MemoryNetwork
from calltrack.testing.peers import Peer
from calltrack.timers import Timers

HERE, THERE = "192.0.2.1", "198.51.100.7"
MESSAGE = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nCall-ID: 1\r\n\r\n"
HOSTILE_PORTS = (-31, 0, 65536, 10**9, True and -1, "5060", 5060.0, None)


class TransportsTestCase(SynchronousTestCase):
    places = [("udp", HERE, 5060), ("tcp", HERE, 5060)]
    advertise = ""

    def setUp(self):
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.timers = Timers(self.clock)
        self.transports = Transports(self.network.reactor(HERE), self.timers, self.places, self.advertise)
        self.delivered = []
        self.transports.deliver = lambda data, flow: self.delivered.append((data, flow))
        self.transports.start()

    def peer(self, host=THERE, transport="tcp", **options):
        return Peer(self.network, host, engine=(HERE, 5060), transport=transport, **options)

    def messages(self):
        self.network.run(0.1)
        return [data for data, _ in self.delivered]


class AddressTests(SynchronousTestCase):
    """ROBUSTNESS 2.2: one validated send; nothing but TransportFailure comes out of it."""

    def test_literal_and_port_are_an_address(self):
        self.assertEqual(check_address("192.0.2.1", 1), Address("192.0.2.1", 1))
        self.assertEqual(check_address("2001:db8::1", 65535), Address("2001:db8::1", 65535))

    def test_port_outside_1_to_65535_is_none(self):
        """The 477 bytes that hang Sippy for good: `Via: SIP/2.0/UDP host:-31`."""
        for port in HOSTILE_PORTS:
            self.assertRaises(TransportFailure, check_address, "192.0.2.1", port)

    def test_text_that_is_no_literal_is_none(self):
        for host in ("", "localhost", "example.com", "[::1]", "192.0.2.1\0", "999.1.1.1", "::1%", "192.0.2.1 "):
            self.assertRaises(TransportFailure, check_address, host, 5060)

    def test_unspecified_address_is_none(self):
        """0.0.0.0 leads to ourselves: a Contact of it must not."""
        for host in ("0.0.0.0", "::"):
            self.assertRaises(TransportFailure, check_address, host, 5060)

    def test_kernel_that_refuses_is_a_transport_failure(self):
        for problem in (OSError(101, "unreachable"), OverflowError("port"), ValueError("nul")):
            socket = UDPSocket(lambda data, flow, socket: None, lambda socket, unread: None)

            def refuse(data, to, problem=problem):
                raise problem

            socket._sendto = refuse
            self.assertRaises(TransportFailure, socket.flow(Address("192.0.2.9", 5060)).send, b"x")

    def test_full_socket_counts_as_loss(self):
        socket = UDPSocket(lambda data, flow, socket: None, lambda socket, unread: None)

        def full(data, to):
            raise BlockingIOError

        socket._sendto = full
        socket.flow(Address("192.0.2.9", 5060)).send(b"x")
        self.assertEqual(socket.dropped, 1)


class UDPTests(TransportsTestCase):
    def test_datagram_comes_with_the_flow_back(self):
        peer = self.peer(transport="udp")
        peer.send(MESSAGE)
        self.assertEqual(self.messages(), [MESSAGE])
        flow = self.delivered[0][1]
        self.assertEqual((flow.transport, flow.reliable, flow.remote, flow.local), ("udp", False, (THERE, 5060), (HERE, 5060)))
        flow.send(b"answer")
        self.assertEqual(self.network.trace[-1][1:], ((HERE, 5060), (THERE, 5060), b"answer"))

    def test_keep_alives_and_crumbs_are_dropped(self):
        """RFC 5626 section 3.5.2; CRLF over UDP."""
        peer = self.peer(transport="udp")
        for data in (b"\r\n\r\n", b"\0", b"\0\x01\0\0"):
            peer.send(data)
        self.assertEqual(self.messages(), [])

    def test_bug_in_processing_costs_one_message(self):
        self.transports.deliver = lambda data, flow: 1 / 0
        peer = self.peer(transport="udp")
        peer.send(MESSAGE)
        self.network.run(0.1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.transports.deliver = lambda data, flow: self.delivered.append((data, flow))
        peer.send(MESSAGE)
        self.assertEqual(self.messages(), [MESSAGE])

    def test_flow_is_there_at_once(self):
        flow = self.successResultOf(self.transports.flow_to(NextHop("udp", THERE, 5070)))
        self.assertEqual(flow.remote, (THERE, 5070))

    def test_hostile_hops_fail_and_nothing_is_sent(self):
        for hop in [NextHop("udp", THERE, port) for port in HOSTILE_PORTS] + [
            NextHop("udp", "pbx.example", 5060),
            NextHop("udp", "2001:db8::1", 5060),  # no IPv6 socket
            NextHop("sctp", THERE, 5060),
            NextHop("tcp", "0.0.0.0", 5060),
            NextHop("tcp", THERE, -31),
        ]:
            self.failureResultOf(self.transports.flow_to(hop), TransportFailure)
        self.assertEqual((self.network.trace, self.clock.getDelayedCalls()), ([], []))


class SeveralSocketsTests(TransportsTestCase):
    places = [("udp", HERE, 5060), ("udp", HERE, 5062), ("tcp", HERE, 5061)]
    advertise = "203.0.113.5"

    def test_advertised_address_is_shown_with_the_ports_peers_can_reach(self):
        """[sip] advertise."""
        udp = self.successResultOf(self.transports.flow_to(NextHop("udp", THERE, 5060)))
        self.assertIn(self.transports.sent_by(udp), (b"203.0.113.5:5060", b"203.0.113.5:5062"))
        peer = self.peer()
        waiting = self.transports.flow_to(NextHop("tcp", THERE, 5060))
        self.network.run(0.1)
        flow = self.successResultOf(waiting)
        self.assertEqual(self.transports.sent_by(flow), b"203.0.113.5:5061")
        self.assertEqual(len(peer.connections), 1)

    def test_where_it_listens(self):
        self.assertEqual([place[:] for place in self.transports.listening()], self.places)


class StartTests(TransportsTestCase):
    def test_port_in_use_closes_what_was_opened(self):
        other = Transports(self.network.reactor(HERE), self.timers, [("udp", HERE, 5070), ("tcp", HERE, 5060)])
        self.assertRaises(CannotListenError, other.start)
        self.network.reactor(HERE).listenUDP(5070, UDPSocket(lambda data, flow, socket: None, lambda socket, unread: None), interface=HERE)

    def test_stop_closes_connections_and_ports(self):
        peer = self.peer()
        peer.send(MESSAGE)
        self.network.run(0.1)
        self.successResultOf(self.transports.stop())
        self.network.run(0.1)
        self.assertEqual(peer.connections, [])
        self.assertEqual(self.timers.pending(), 0)
        self.transports.start()


class TCPTests(TransportsTestCase):
    def test_messages_are_delivered_however_they_are_cut(self):
        """EDGE-CASES 17."""
        self.network.link(HERE, THERE, Link(segment=7))
        peer = self.peer()
        peer.send(MESSAGE + b"\r\n\r\n" + MESSAGE)
        self.assertEqual(self.messages(), [MESSAGE, MESSAGE])

    def test_messages_that_come_together_are_parted(self):
        self.network.link(HERE, THERE, Link(gather=0.05))
        peer = self.peer()
        for _ in range(3):
            peer.send(MESSAGE)
        self.assertEqual(self.messages(), [MESSAGE] * 3)

    def test_ping_gets_a_pong(self):
        """RFC 5626 section 3.5.1."""
        peer = self.peer()
        peer.send(b"\r\n\r\n")
        self.network.run(0.1)
        self.assertEqual(peer.connections[0].pongs, 1)

    def test_flow_answers_over_its_connection(self):
        peer = self.peer()
        peer.send(MESSAGE)
        self.network.run(0.1)
        flow = self.delivered[0][1]
        self.assertTrue(flow.reliable and flow.open)
        flow.send(MESSAGE)
        self.network.run(0.1)
        self.assertEqual(len(peer.heard), 1)

    def test_connection_is_used_again(self):
        self.peer()
        hop = NextHop("tcp", THERE, 5060)
        waiting = [self.transports.flow_to(hop) for _ in range(3)]
        self.network.run(0.1)
        found = {id(self.successResultOf(one)) for one in [*waiting, self.transports.flow_to(hop)]}
        self.assertEqual(len(found), 1)
        self.assertEqual(self.transports.counters["connections"], 1)

    def test_address_that_is_written_another_way_is_the_same_peer(self):
        """The peer's own spelling of an IPv6 address is not the one that was asked for."""
        places = [("tcp", "2001:db8::1", 5060)]
        transports = Transports(self.network.reactor("2001:db8::1"), self.timers, places)
        transports.start()
        self.peer("2001:db8::7")
        waiting = transports.flow_to(NextHop("tcp", "2001:DB8:0::7", 5060))
        self.network.run(5)
        self.successResultOf(waiting)

    def test_refused_connection_fails_at_once(self):
        waiting = [self.transports.flow_to(NextHop("tcp", THERE, 5060)) for _ in range(2)]
        self.network.run(0.1)
        for one in waiting:
            self.failureResultOf(one, TransportFailure)

    def test_connection_that_is_not_made_in_4_s_fails(self):
        self.network.link(HERE, THERE, Link(loss=1.0))
        waiting = self.transports.flow_to(NextHop("tcp", THERE, 5060))
        self.network.run(3.9)
        self.assertNoResult(waiting)
        self.network.run(0.2)
        self.failureResultOf(waiting, TransportFailure)

    def test_closed_flow_cannot_be_sent_over(self):
        peer = self.peer()
        peer.send(MESSAGE)
        self.network.run(0.1)
        flow = self.delivered[0][1]
        peer.connections[0].transport.loseConnection()
        self.network.run(0.1)
        self.assertFalse(flow.open)
        self.assertRaises(TransportFailure, flow.send, MESSAGE)

    def test_bug_in_processing_costs_one_message(self):
        self.transports.deliver = lambda data, flow: 1 / 0
        peer = self.peer()
        peer.send(MESSAGE + MESSAGE)
        self.network.run(0.1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(len(peer.connections), 1)


class DialledFromTests(SynchronousTestCase):
    """Peers know us by where we listen: connections that we make come from there too."""

    def dialled(self, *places):
        made = []

        class Reactor:
            def connectTCP(self, host, port, factory, timeout, bindAddress):
                made.append(bindAddress)

        transports = Transports(Reactor(), Timers(Clock()), ())
        transports._stream_listeners = [transports_module.Listen(*place) for place in places]
        transports.flow_to(NextHop("tcp", "127.0.0.9", 5060))
        return made[0]

    def test_connection_comes_from_the_address_that_we_listen_at(self):
        self.assertEqual(self.dialled(("tcp", "127.0.0.5", 5060)), ("127.0.0.5", 0))
        self.assertEqual(self.dialled(("tcp", "127.0.0.5", 5060), ("tcp", "::1", 5060)), ("127.0.0.5", 0))

    def test_kernel_chooses_among_all_addresses(self):
        for places in ((), (("tcp", "0.0.0.0", 5060),), (("tcp", "::1", 5060),), (("tcp", "0.0.0.0", 5060), ("tls", "127.0.0.5", 5061))):
            self.assertIsNone(self.dialled(*places))

    def test_address_of_the_route_comes_first_among_several(self):
        self.assertEqual(self.dialled(("tcp", "127.0.0.5", 5060), ("tcp", "127.0.0.1", 5060)), ("127.0.0.1", 0))
        self.assertEqual(self.dialled(("tcp", "127.0.0.5", 5060), ("tcp", "127.0.0.6", 5060)), ("127.0.0.5", 0))


class HostileStreamTests(TransportsTestCase):
    """ROBUSTNESS promise 5 and 2.13."""

    def lasts(self, peer, seconds):
        self.network.run(seconds - 0.5)
        before = len(peer.connections)
        self.network.run(1)
        return before, len(peer.connections)

    def test_connection_without_a_whole_message_is_closed_after_10_s(self):
        for begin in (b"", b"\r\n\r\n", MESSAGE[:-1], b"OPTIONS"):
            peer = self.peer("198.51.100.%d" % (10 + len(begin)))
            peer.connect()
            self.network.run(0.01)
            peer.send(begin)
            self.assertEqual(self.lasts(peer, 10), (1, 0), begin)

    def test_peer_that_dribbles_does_not_win_time(self):
        peer = self.peer()
        for char in MESSAGE[:9]:
            peer.send(bytes((char,)))
            self.network.run(1)
        self.network.run(1.1)
        self.assertEqual(peer.connections, [])

    def test_second_message_has_10_s_too(self):
        peer = self.peer()
        peer.send(MESSAGE)
        self.network.run(30)
        self.assertEqual(len(peer.connections), 1)
        peer.send(b"OPTIONS")
        self.assertEqual(self.lasts(peer, 10), (1, 0))

    def test_idle_connection_that_has_sent_a_message_stays(self):
        """Phones keep theirs for their registration."""
        peer = self.peer()
        peer.send(MESSAGE)
        self.network.run(3600)
        self.assertEqual(len(peer.connections), 1)
        self.assertEqual(self.timers.pending(), 0)

    def test_stream_that_cannot_be_cut_is_closed_and_counted(self):
        for number, data in enumerate(
            (b"x" * 20_000, b"INFO sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n", b"INFO sip:a SIP/2.0\r\nl: 9999999\r\n\r\n")
        ):
            peer = self.peer(f"198.51.100.{number + 10}")
            peer.send(data)
            self.network.run(0.1)
            self.assertEqual(peer.connections, [])
        self.assertEqual(self.transports.counters["malformed_streams"], 3)

    def test_messages_before_garbage_are_served_and_answered_and_then_the_connection_is_closed(self):
        """EDGE-CASES 17."""
        peer = self.peer()
        self.transports.deliver = lambda data, flow: (self.delivered.append((data, flow)), flow.send(b"SIP/2.0 200 OK\r\nCall-ID: 1\r\n\r\n"))
        peer.send(MESSAGE + MESSAGE + b"garbage\r\n\r\n" + MESSAGE)
        self.network.run(1)
        self.assertEqual([data for data, _ in self.delivered], [MESSAGE, MESSAGE])
        self.assertEqual(peer.count(200), 2)
        self.assertEqual(peer.connections, [])
        self.assertEqual(self.timers.pending(), 0)

    def test_good_message_after_one_that_is_wrong_is_served(self):
        """EDGE-CASES 17: what is wrong with a message is its own affair as long as its end can be told."""
        peer = self.peer()
        wrong = b"INFO  sip:a@b SIP/7.0\r\nno header\r\n\r\n"
        peer.send(wrong + MESSAGE)
        self.assertEqual(self.messages(), [wrong, MESSAGE])
        self.assertEqual(len(peer.connections), 1)

    def test_one_address_has_a_bounded_number_of_connections(self):
        self.patch(transports_module, "MAX_CONNECTIONS_PER_HOST", 5)
        greedy = self.peer()
        for _ in range(9):
            greedy.connect()
        self.network.run(0.1)
        self.assertEqual(len(greedy.connections), 5)
        self.assertEqual(self.transports.counters["refused_connections"], 4)
        other = self.peer("198.51.100.8")
        other.send(MESSAGE)
        self.assertEqual(self.messages(), [MESSAGE])
        for connection in list(greedy.connections):
            connection.transport.abortConnection()
        self.network.run(0.1)
        greedy.send(MESSAGE)
        self.assertEqual(self.messages(), [MESSAGE] * 2)

    def test_all_addresses_together_have_a_bound_too(self):
        self.patch(transports_module, "MAX_CONNECTIONS", 3)
        peers = [self.peer(f"198.51.100.{number + 10}") for number in range(5)]
        for peer in peers:
            peer.connect()
        self.network.run(0.1)
        self.assertEqual(sum(len(peer.connections) for peer in peers), 3)

    def test_peer_that_does_not_read_is_cut_off(self):
        """Back-pressure on writes."""
        peer = self.peer()
        peer.send(MESSAGE)
        self.network.run(0.1)
        flow = self.delivered[0][1]
        peer.connections[0].transport.pauseProducing()
        with self.assertRaises(TransportFailure):
            for _ in range(flows.MAX_UNSENT // 1000 + 200):
                flow.send(b"x" * 1000)
        self.network.run(0.1)
        self.assertFalse(flow.open)

    def test_peer_that_does_not_read_is_not_read_either(self):
        peer = self.peer()
        peer.send(MESSAGE)
        self.network.run(0.1)
        flow = self.delivered[0][1]
        peer.connections[0].transport.pauseProducing()
        for _ in range(100):
            flow.send(MESSAGE.ljust(1000))
        self.network.run(0.1)
        peer.send(MESSAGE)
        self.assertEqual(len(self.messages()), 1)
        peer._received = lambda data: None
        peer.connections[0].dataReceived = lambda data: None
        peer.connections[0].transport.resumeProducing()
        self.network.run(0.1)
        self.assertEqual(len(self.messages()), 2)
        self.assertTrue(flow.open)

    @given(strategies.lists(strategies.binary(max_size=40), max_size=6))
    def test_nothing_raises_out_of_data_received(self, pieces):
        """Issue 2: nothing raises out of a protocol's dataReceived."""
        self.setUp()
        peer = self.peer()
        peer.connect()
        self.network.run(0.01)
        for piece in pieces:
            if peer.connections:
                peer.send(piece)
                self.network.run(0.01)
        self.network.run(20)
        self.assertEqual(self.timers.pending(), 0)
