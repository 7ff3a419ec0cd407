"""What is served first and what is refused when more arrives than can be served (RFC 6357; RFC 3261 section 8.2.7)."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.sip import arrivals
from calltrack.sip.arrivals import BURST, MOST, OVER, PROMPT, SLICE, STALE, Arrivals
from calltrack.sip.flows import Address, Flow

FLOW = Flow("udp", Address("192.0.2.1", 5060), Address("198.51.100.7", 5060), lambda data, to: None)


def invite(number, to=b"<sip:1@192.0.2.1>"):
    return b"INVITE sip:1@192.0.2.1 SIP/2.0\r\nTo: %b\r\nCall-ID: %d\r\n\r\n" % (to, number)


BYE = b"BYE sip:1@192.0.2.1 SIP/2.0\r\nTo: <sip:1@192.0.2.1>;tag=a\r\nCall-ID: bye\r\n\r\n"


class Socket:
    """A socket whose datagrams have waited for a time."""

    def __init__(self, seconds=0.0):
        self.waited = lambda: seconds


class ArrivalsTests(SynchronousTestCase):
    cost = 0.0  # seconds that serving one message takes

    def setUp(self):
        self.clock = Clock()
        self.arrivals = Arrivals(self.clock, self)
        self.addCleanup(self.arrivals.stop)
        self.served, self.late = [], []

    def deliver(self, data, flow):
        self.clock.rightNow += self.cost
        self.served.append(data)

    def refuse(self, invites):
        self.late += [data for data, _ in invites]

    def arrive(self, *messages, waited=0.0):
        for message in messages:
            self.arrivals.arrived(message, FLOW, Socket(waited))

    def turn_until_idle(self):
        while self.clock.getDelayedCalls() and self.clock.getDelayedCalls()[0].getTime() <= self.clock.seconds():
            self.clock.advance(0)

    def overload(self):
        """There has been a queue for longer than a burst."""
        self.cost = 2 * SLICE
        self.arrive(*map(invite, range(1000)))
        while not self.late:
            self.arrivals.turn()
        self.served.clear()
        self.late.clear()

    def test_new_calls_wait_until_everything_else_is_served(self):
        self.arrive(invite(1), BYE, invite(2, b"<sip:1@192.0.2.1>;tag=b"))
        self.assertEqual(self.served, [BYE, invite(2, b"<sip:1@192.0.2.1>;tag=b")])
        self.arrivals.turn()
        self.assertEqual(self.served[2:], [invite(1)])
        self.assertEqual((self.late, self.arrivals.share, self.clock.getDelayedCalls()), ([], 1.0, []))

    def test_new_calls_are_served_a_moment_at_a_time(self):
        self.cost = SLICE / 2
        self.arrive(*map(invite, range(5)))
        self.arrivals.turn()
        self.assertEqual(self.served, [invite(0), invite(1)])
        self.turn_until_idle()
        self.assertEqual(self.served, [*map(invite, range(5))])

    def test_one_new_call_a_turn_while_more_lies_unread(self):
        self.arrive(*map(invite, range(5)))
        socket, other = Socket(), Socket()
        self.arrivals.turn(socket, unread=True)
        self.arrivals.turn(other)
        self.assertEqual(len(self.served), 2)
        self.arrivals.turn(socket)
        self.assertEqual(len(self.served), 5)

    def test_burst_is_served_though_it_takes_a_while(self):
        self.cost = BURST / 100
        self.arrive(*map(invite, range(99)))
        self.arrivals.turn()
        self.turn_until_idle()
        self.assertEqual((len(self.served), self.late), (99, []))

    def test_those_too_late_are_refused_once_there_is_a_queue_that_stays(self):
        self.overload()
        self.arrive(invite(2000), waited=PROMPT * 1.5)
        while invite(2000) not in self.served + self.late:
            self.arrivals.turn()
        self.assertIn(invite(2000), self.late)
        self.arrive(invite(2001), waited=PROMPT / 2)
        self.arrivals.turn()
        self.assertEqual(self.served[-1], invite(2001))

    def test_in_dialog_requests_are_served_in_an_overload(self):
        self.overload()
        self.arrive(*map(invite, range(2000, 3000)))
        served = len(self.served)
        self.arrive(BYE)
        self.assertEqual(self.served[served:], [BYE])

    def test_cancel_does_not_overtake_its_invite(self):
        cancel = invite(1).replace(b"INVITE", b"CANCEL")
        self.arrive(cancel)
        self.assertEqual(self.served, [cancel])
        self.arrive(invite(1), cancel)
        self.arrivals.turn()
        self.assertEqual(self.served, [cancel, invite(1), cancel])
        self.arrive(invite(1), cancel, waited=1.0)
        self.arrivals.turn()
        self.assertEqual((self.late, self.served[3:]), ([invite(1)], [cancel]))

    def test_stale_ones_over_a_connection_are_refused_since_they_come_once(self):
        tcp = Flow("tcp", FLOW.local, FLOW.remote, lambda data, to: None)
        self.arrivals.arrived(invite(1), tcp, Socket(STALE + 1.0))
        self.arrivals.turn()
        self.assertEqual((self.late, self.arrivals.dropped), ([invite(1)], 0))

    def test_what_waits_is_bounded(self):
        self.arrive(*map(invite, range(MOST + 2)))
        self.assertEqual(self.arrivals.dropped, 2)
        self.arrivals.turn()
        self.assertEqual((len(self.served), self.served[0]), (MOST, invite(2)))

    def test_stale_ones_are_dropped(self):
        self.arrive(invite(1), waited=STALE + 0.1)
        self.arrive(invite(2), waited=STALE - 0.1)
        self.arrivals.turn()
        self.assertEqual((self.served, self.late), ([], [invite(2)]))
        self.assertEqual((self.arrivals.dropped, self.arrivals.refused), (1, 1))
        self.assertEqual(self.arrivals.share, 1.0)
        self.clock.advance(1.0)
        self.assertEqual(self.arrivals.share, 0.0)
        self.clock.advance(OVER)
        self.assertEqual(self.arrivals.share, 1.0)

    def test_bug_costs_one_message(self):
        self.arrive(invite(1), invite(2))
        self.deliver = lambda data, flow: 1 / 0
        self.arrivals.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        del self.deliver
        self.arrive(invite(3))
        self.arrivals.turn()
        self.assertEqual(self.served, [invite(3)])

    def test_log_tells_of_an_overload_once_and_of_its_end(self):
        said = []
        self.patch(arrivals.log, "warn", lambda text, **fields: said.append("begins"))
        self.patch(arrivals.log, "info", lambda text, **fields: said.append(fields["refused"]))
        for _ in range(3):
            self.arrive(invite(1), invite(2), waited=1.0)
            self.arrivals.turn()
            self.clock.advance(OVER / 2)
        self.clock.advance(OVER / 2)
        self.assertEqual(said, ["begins", 6])
        self.clock.advance(10 * OVER)
        self.arrive(invite(3), waited=1.0)
        self.arrivals.turn()
        self.assertEqual(said, ["begins", 6, "begins"])
        self.clock.advance(2 * OVER)
        self.assertEqual(said, ["begins", 6, "begins", 1])
