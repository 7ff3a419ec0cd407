"""Trunks and outside targets are asked whether they are there (RFC 3261 section 11); who is not is tried last."""

from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.calls.pings import Pings
from calltrack.calls.standing import PeerEvent, Standing
from calltrack.sip.locating import NextHop
from calltrack.testing.engine import BEGAN_MS, TRUNK, TestEngine
from calltrack.testing.network import Link, MemoryNetwork
from calltrack.testing.peers import Peer, sdp
from calltrack.tracking.model import Target

FIRST, SECOND, OFFICE = "203.0.113.30", "203.0.113.31", "203.0.113.20"
OUTBOUND = (
    TRUNK,
    replace(TRUNK, name="first", sources=(), outbound=f"sip:{FIRST}"),
    replace(TRUNK, name="second", sources=(), outbound=f"sip:{SECOND}"),
)
PHONE = Target(kind="phone", address="+74951234567", ring_time=90.0)


class PingTestCase(SynchronousTestCase):
    def setUp(self):
        self.network = MemoryNetwork(Clock())
        self.engine = TestEngine(self.network, [PHONE], trunks=OUTBOUND)
        self.first, self.second, self.office = (Peer(self.network, host) for host in (FIRST, SECOND, OFFICE))
        self.statuses = {FIRST: 200, SECOND: 200, OFFICE: 200}  # what each answers; 0 = nothing
        self.targets = set()
        self.events = []
        self.pings = None

    def start(self, interval=30.0, trunks=OUTBOUND):
        destinations = self.engine.calls.destinations
        self.standing = Standing(self.engine._wall_ms, destinations.down)
        self.pings = Pings(
            self.engine.timers,
            self.engine.agent,
            interval,
            trunks,
            self.standing,
            lambda: self.targets,
        )
        self.standing.observers.append(self.events.append)
        self.pings.start()

    def tearDown(self):
        if self.pings is not None:
            self.pings.stop()
        self.assertEqual(self.engine.agent.layer.unanswered(), 0)
        self.assertEqual(self.engine.settle(), [])

    def run_for(self, seconds):
        """Let time pass, every peer answering what it answers."""
        end = self.network.clock.seconds() + seconds
        peers = (self.first, self.second, self.office)
        while self.network.clock.seconds() < end:
            self.network.run(end - self.network.clock.seconds(), lambda: any(peer.inbox for peer in peers))
            for peer in peers:
                while peer.inbox:
                    request, status = peer.inbox.pop(0), self.statuses[peer.place[0]]
                    if status:
                        peer.respond(request, status)

    def told(self):
        return [(event.type, event.name) for event in self.events]

    def down(self):
        return self.engine.calls.destinations.down


class TrunkTests(PingTestCase):
    def test_every_outbound_trunk_is_asked_at_once_and_every_interval(self):
        self.start()
        self.run_for(100)
        self.assertEqual((self.first.count("OPTIONS"), self.second.count("OPTIONS")), (4, 4))
        times = self.first.times("OPTIONS")
        self.assertTrue(all(30 <= later - earlier < 31 for earlier, later in zip(times, times[1:])), times)

    def test_options_says_what_we_can_do(self):
        """Section 11.1."""
        self.start()
        request = self.first.expect("OPTIONS")
        request.validate()
        self.assertEqual(request.uri, b"sip:203.0.113.30")
        self.assertEqual(request.get(b"accept"), b"application/sdp")
        self.assertEqual(request.get(b"user-agent"), b"calltrack")
        self.assertTrue(request.contact)
        self.assertEqual(request.max_forwards, 70)
        self.first.respond(request, 200)
        self.run_for(0.1)

    def test_first_answer_is_an_event(self):
        self.start()
        self.assertIsNone(self.pings.state("trunk", "first"))
        self.run_for(1)
        self.assertEqual(self.told(), [("trunk.up", "first"), ("trunk.up", "second")])
        self.assertTrue(BEGAN_MS <= self.events[0].at <= BEGAN_MS + 1000)
        self.assertIs(self.pings.state("trunk", "first"), True)
        self.run_for(100)
        self.assertEqual(len(self.events), 2)

    def test_any_answer_but_503_means_up(self):
        for status in (401, 403, 404, 405, 500, 603):
            self.setUp()
            self.statuses[FIRST] = status
            self.start()
            self.run_for(1)
            self.assertIn(("trunk.up", "first"), self.told())
            self.pings.stop()

    def test_two_503_in_a_row_mean_down(self):
        self.statuses[FIRST] = 503
        self.start()
        self.run_for(29)
        self.assertEqual(self.told(), [("trunk.up", "second")])
        self.run_for(2)
        self.assertEqual(self.events[-1], PeerEvent(type="trunk.down", at=self.events[-1].at, name="first", reason="it answers 503"))
        self.assertEqual(self.down(), {"first"})

    def test_silence_twice_in_a_row_means_down_and_an_answer_up_again(self):
        self.start()
        self.run_for(10)
        self.statuses[FIRST] = 0
        self.run_for(28)
        self.assertEqual(len(self.events), 2)
        self.run_for(40)
        self.assertEqual(self.told()[2:], [("trunk.down", "first")])
        self.assertEqual(self.events[-1].reason, f"no answer from {FIRST}")
        self.assertIs(self.pings.state("trunk", "first"), False)
        self.statuses[FIRST] = 200
        self.run_for(40)
        self.assertEqual(self.told()[3:], [("trunk.up", "first")])
        self.assertEqual(self.down(), set())

    def test_one_miss_between_answers_changes_nothing(self):
        self.start()
        self.run_for(10)
        for _ in range(3):
            self.statuses[FIRST] = 0
            self.run_for(39)
            self.statuses[FIRST] = 200
            self.run_for(31)
        self.assertEqual(len(self.events), 2)

    def test_silent_peer_is_asked_five_times_in_eight_seconds_and_then_no_more(self):
        self.statuses[FIRST] = 0
        self.start()
        self.run_for(29)
        self.assertEqual([round(at, 1) for at in self.first.times("OPTIONS")], [0.0, 0.5, 1.5, 3.5, 7.5])

    def test_name_without_an_address_is_down(self):
        self.start(trunks=[replace(TRUNK, name="lost", outbound="sip:lost.example")])
        self.run_for(40)
        self.assertEqual([(event.type, event.reason) for event in self.events], [("trunk.down", "lost.example: there is no such name")])

    def test_connection_that_is_refused_is_a_miss(self):
        self.start(trunks=[replace(TRUNK, name="tcp", outbound=f"sip:{FIRST};transport=tcp")])
        self.run_for(40)
        self.assertEqual(self.told(), [("trunk.down", "tcp")])

    def test_trunk_with_two_next_hops_is_up_as_long_as_one_answers(self):
        """RFC 3263 section 4.3."""
        self.engine.resolver.names["both.example"] = [NextHop("udp", FIRST, 5060), NextHop("udp", SECOND, 5060)]
        self.statuses[FIRST] = 0
        self.start(trunks=[replace(TRUNK, name="both", outbound="sip:both.example")])
        self.run_for(60)
        self.assertEqual(self.told(), [("trunk.up", "both")])

    def test_trunk_without_outbound_is_not_asked(self):
        self.start(trunks=[TRUNK])
        self.run_for(60)
        self.assertEqual(self.engine.agent.layer.clients, {})
        self.assertEqual(self.events, [])

    def test_interval_0_asks_nobody(self):
        self.targets.add(f"sip:office@{OFFICE}")
        self.start(0.0)
        self.run_for(100)
        self.assertEqual((self.first.heard, self.office.heard), ([], []))

    def test_stopped_pings_ask_no_more_and_tell_nothing(self):
        self.statuses[FIRST] = 0
        self.start()
        self.run_for(35)
        self.pings.stop()
        asked, told = self.first.count("OPTIONS"), len(self.events)
        self.run_for(100)
        self.assertEqual((self.first.count("OPTIONS"), len(self.events)), (asked, told))

    def test_stop_before_an_address_is_found_sends_nothing(self):
        self.network.link("192.0.2.1", FIRST, Link(delay=1.0))
        self.start(trunks=[replace(TRUNK, name="tcp", outbound=f"sip:{FIRST};transport=tcp")])
        self.network.run(0.5)
        self.pings.stop()
        self.run_for(10)
        self.assertEqual(self.first.heard, [])

    def test_observer_that_fails_does_not_keep_the_others_from_hearing(self):
        self.start()
        self.standing.observers.insert(0, lambda event: 1 / 0)
        self.run_for(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(len(self.events), 2)


class TargetTests(PingTestCase):
    def test_targets_that_come_and_go_are_asked_as_long_as_they_are_there(self):
        name = f"sip:office@{OFFICE}"
        self.start()
        self.run_for(45)
        self.assertEqual(self.office.heard, [])
        self.targets.add(name)
        self.run_for(61)
        self.assertEqual(self.told()[2:], [("target.up", name)])
        self.assertIs(self.pings.state("target", name), True)
        self.assertEqual(self.down(), set())
        self.targets.clear()
        self.run_for(31)
        asked = self.office.count("OPTIONS")
        self.run_for(100)
        self.assertEqual(self.office.count("OPTIONS"), asked)
        self.assertIsNone(self.pings.state("target", name))

    def test_silent_target_is_told_and_no_trunk(self):
        self.statuses[OFFICE] = 0
        self.targets.add(f"sip:office@{OFFICE}")
        self.start()
        self.run_for(120)
        self.assertIn(("target.down", f"sip:office@{OFFICE}"), self.told())
        self.assertEqual(self.down(), set())


class OrderTests(PingTestCase):
    """A trunk that is down is not tried first."""

    def call(self):
        """Who is asked first, and who then."""
        trunk = Peer(self.network, "198.51.100.7")
        trunk.invite(body=sdp("198.51.100.7"))
        tried = []
        for _ in range(2):
            self.network.run(5, lambda: self.first.inbox or self.second.inbox)
            peer = self.first if self.first.inbox else self.second
            invite = peer.expect("INVITE")
            tried.append(peer.place[0])
            peer.respond(invite, 500)
            peer.expect("ACK")
        trunk.ack_failure(trunk.expect(500))
        return tried

    def test_trunks_are_tried_in_their_order_when_all_are_up(self):
        self.start()
        self.run_for(1)
        self.assertEqual(self.call(), [FIRST, SECOND])

    def test_trunk_that_is_down_is_tried_last(self):
        self.statuses[FIRST] = 0
        self.start()
        self.run_for(55)
        self.assertEqual(self.down(), {"first"})
        self.assertEqual(self.call(), [SECOND, FIRST])

    def test_trunks_that_are_all_down_are_tried_in_their_order(self):
        self.statuses[FIRST] = self.statuses[SECOND] = 0
        self.start()
        self.run_for(55)
        self.assertEqual(self.down(), {"first", "second"})
        self.assertEqual(self.call(), [FIRST, SECOND])
