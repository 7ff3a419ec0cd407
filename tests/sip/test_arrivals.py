"""What is served first and what is refused when more arrives than can be served (RFC 6357; RFC 3261 section 8.2.7)."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.sip import episodes
from calltrack.sip.arrivals import (
    AT_ONCE_OF_STRANGERS,
    BURST,
    MOST,
    MOST_OF_STRANGERS,
    ONE_IN,
    PROMPT,
    SLICE,
    STALE,
    Arrivals,
)
from calltrack.sip.episodes import OVER
from calltrack.sip.flows import Address, Flow

FLOW = Flow("udp", Address("192.0.2.1", 5060), Address("198.51.100.7", 5060), lambda data, to: None)
TCP = Flow("tcp", FLOW.local, FLOW.remote, lambda data, to: None)
STRANGER = Flow("udp", FLOW.local, Address("203.0.113.66", 5060), lambda data, to: None)


def invite(number, to=b"<sip:1@192.0.2.1>"):
    return b"INVITE sip:1@192.0.2.1 SIP/2.0\r\nTo: %b\r\nCall-ID: %d\r\n\r\n" % (to, number)


def cancel(number):
    return invite(number).replace(b"INVITE", b"CANCEL")


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
        self.arrivals.knows = lambda host: host == FLOW.remote.host
        self.outcomes, self.strangers = self.arrivals.outcomes["trunk"], self.arrivals.outcomes["stranger"]
        self.addCleanup(self.arrivals.stop)
        self.served, self.late = [], []

    def deliver(self, data, flow):
        self.clock.rightNow += self.cost
        self.served.append(data)

    def refuse(self, invites):
        self.late += [data for data, _ in invites]

    def arrive(self, *messages, waited=0.0, flow=FLOW):
        for message in messages:
            self.arrivals.arrived(message, flow, Socket(waited))

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
        self.arrive(cancel(1))
        self.assertEqual(self.served, [cancel(1)])
        self.arrive(invite(1), cancel(1))
        self.arrivals.turn()
        self.assertEqual(self.served, [cancel(1), invite(1), cancel(1)])
        self.arrive(invite(1), cancel(1))
        self.clock.advance(1.0)
        self.arrivals.turn()
        self.assertEqual((self.late, self.served[3:]), ([invite(1)], [cancel(1)]))

    def test_stale_ones_over_a_connection_are_refused_since_they_come_once(self):
        self.arrivals.arrived(invite(1), TCP, Socket(STALE + 1.0))
        self.arrivals.turn()
        self.assertEqual((self.late, self.outcomes), ([invite(1)], {"refused": 1}))

    def fill(self):
        """There is no room for another INVITE."""
        self.arrive(*map(invite, range(MOST)))

    def test_new_ones_without_room_are_dropped_since_they_come_again(self):
        self.fill()
        self.arrive(invite(MOST), invite(MOST + 1))
        self.assertEqual((self.outcomes["full"], self.late, self.served), (2, [], []))
        self.arrivals.turn()
        self.assertEqual(self.served, [*map(invite, range(MOST))])

    def test_new_ones_without_room_over_a_connection_are_refused_at_once(self):
        self.fill()
        self.arrive(invite(MOST), flow=TCP)
        self.assertEqual((self.late, self.outcomes), ([invite(MOST)], {"refused": 1}))

    def test_cancel_and_requests_of_calls_are_never_dropped_and_those_that_wait_over_a_connection_neither(self):
        self.arrive(invite(-1), flow=TCP)
        self.arrive(*map(invite, range(MOST - 1)))
        self.arrive(cancel(0), cancel(-1), BYE, invite(MOST))
        self.arrive(cancel(1), flow=TCP)
        self.assertEqual(self.served, [BYE])
        self.arrivals.turn()
        self.assertEqual(self.served[1:], [invite(-1), *map(invite, range(MOST - 1)), cancel(0), cancel(-1), cancel(1)])
        self.assertEqual(self.outcomes, {"served": MOST, "full": 1})

    def test_cancels_that_wait_are_bounded_and_more_are_served(self):
        self.arrive(invite(0), *map(cancel, range(MOST)))
        self.assertEqual(self.served, [])
        self.arrive(cancel(MOST))
        self.assertEqual(self.served, [cancel(MOST)])
        self.arrivals.turn()
        self.assertEqual(len(self.served), MOST + 2)
        self.arrive(invite(0), cancel(0))
        self.arrivals.turn()
        self.assertEqual(self.served[-2:], [invite(0), cancel(0)])

    def test_cancels_take_no_room_of_invites(self):
        self.arrive(invite(0), *map(cancel, range(MOST)), *map(invite, range(1, MOST)))
        self.assertEqual(self.outcomes["full"], 0)

    def test_known_addresses_go_first_and_strangers_get_a_turn_now_and_then(self):
        self.arrive(*map(invite, range(1000, 1003)), flow=STRANGER)
        self.arrive(*map(invite, range(2 * ONE_IN)))
        self.arrivals.turn()
        known = [*map(invite, range(2 * ONE_IN))]
        first, second = known[: ONE_IN - 1], known[ONE_IN - 1 : 2 * ONE_IN - 2]
        self.assertEqual(self.served, [*first, invite(1000), *second, invite(1001), *known[2 * ONE_IN - 2 :], invite(1002)])

    def test_flood_of_strangers_makes_no_known_call_wait(self):
        self.cost = SLICE
        for _ in range(500):
            self.arrive(*map(invite, range(1000, 1100)), flow=STRANGER)
            self.arrive(invite(1))
            self.arrivals.turn()
            self.assertEqual(self.served.pop(), invite(1))
            self.served.clear()
            self.turn_until_idle()
            self.served.clear()
        self.assertEqual(self.outcomes, {"served": 500})
        self.assertEqual(self.arrivals.share, 1.0)

    def test_strangers_wait_in_a_short_line(self):
        self.arrive(*map(invite, range(MOST_OF_STRANGERS + 3)), flow=STRANGER)
        self.assertEqual(self.strangers, {"full": 3})
        self.arrive(invite(1))
        self.assertEqual(self.outcomes, {})

    def test_few_strangers_are_refused_at_once(self):
        self.arrive(*map(invite, range(MOST_OF_STRANGERS)), flow=STRANGER)
        self.clock.advance(1.0)
        self.arrivals.turn(Socket(), unread=True)
        self.assertEqual(len(self.late), AT_ONCE_OF_STRANGERS)

    def test_cancel_of_a_stranger_does_not_overtake_its_invite(self):
        self.arrive(invite(1), cancel(1), flow=STRANGER)
        self.arrivals.turn()
        self.assertEqual(self.served, [invite(1), cancel(1)])

    def test_sockets_that_are_read_late_cost_no_call_while_each_look_serves_all_there_is(self):
        """As when a host takes the core away again and again: there is time for every call."""
        for number in range(20):
            self.arrive(invite(number), waited=PROMPT * 2)
            self.arrivals.turn()
            self.clock.advance(PROMPT * 2)
        self.assertEqual((len(self.served), self.late), (20, []))

    def test_socket_that_was_read_late_once_costs_no_call(self):
        """As when the host of a virtual machine stops it."""
        for number in range(3):
            self.arrive(invite(number), waited=STALE * 0.9)
            self.arrivals.turn()
            self.clock.advance(BURST * 1.1)
            self.arrivals.turn()
        self.assertEqual((len(self.served), self.late), (3, []))

    def test_call_after_a_time_without_messages_costs_none(self):
        self.clock.advance(10.0)
        self.arrive(invite(1), waited=PROMPT * 2)
        self.arrivals.turn()
        self.assertEqual((self.served, self.late), ([invite(1)], []))

    def test_stale_ones_are_dropped(self):
        self.arrive(invite(1))
        self.clock.advance(0.2)
        self.arrive(invite(2))
        self.clock.advance(STALE - 0.1)
        self.arrivals.turn()
        self.assertEqual((self.served, self.late), ([], [invite(2)]))
        self.assertEqual(self.outcomes, {"stale": 1, "refused": 1})
        self.assertEqual(self.arrivals.share, 1.0)
        self.arrive(invite(3), flow=STRANGER)
        self.arrivals.turn()
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

    def said(self):
        """What the log is told from now on."""
        said = []
        for level in ("warn", "info"):
            self.patch(episodes.log, level, lambda text, level=level, **fields: said.append((level, text.format(**fields))))
        return said

    def test_log_tells_of_an_overload_once_and_of_its_end(self):
        said = self.said()
        for _ in range(3):
            self.arrive(invite(1), invite(2))
            self.clock.advance(1.0)
            self.arrivals.turn()
            self.clock.advance(OVER / 2 - 1.0)
        self.assertEqual([level for level, _ in said], ["warn"])
        self.clock.advance(OVER / 2 + 1.0)
        self.assertEqual([level for level, _ in said], ["warn", "info"])
        self.assertIn("in 5 s 0 new calls were let in, 6 refused with 503", said[1][1])
        self.clock.advance(10 * OVER)
        self.arrive(invite(3))
        self.clock.advance(1.0)
        self.arrivals.turn()
        self.clock.advance(2 * OVER)
        self.assertEqual([level for level, _ in said], ["warn", "info"] * 2)
        self.assertIn("0 new calls were let in, 1 refused with 503", said[3][1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stale_ones_alone_are_told_of_as_well(self):
        said = self.said()
        self.arrive(invite(1), invite(2), waited=STALE + 1.0)
        self.arrive(invite(3))
        self.arrivals.turn()
        self.assertEqual([level for level, _ in said], ["warn"])
        self.assertIn(FLOW.remote.host, said[0][1])
        self.clock.advance(OVER)
        self.assertIn("1 new calls were let in, 0 refused with 503; dropped were 2 that had waited for 2 s and 0 for", said[1][1])

    def test_those_without_room_alone_are_told_of_as_well(self):
        self.fill()
        said = self.said()
        self.arrive(invite(MOST))
        self.assertEqual([level for level, _ in said], ["warn"])
        self.arrivals.stop()
        self.clock.advance(2 * OVER)
        self.assertEqual(len(said), 1)

    def test_flood_of_strangers_is_told_of_by_itself(self):
        said = self.said()
        self.arrive(*map(invite, range(MOST_OF_STRANGERS + 1)), flow=STRANGER)
        self.arrivals.turn()
        self.clock.advance(1.0)
        self.assertEqual(self.arrivals.share, 1.0)
        self.clock.advance(OVER - 1.0)
        self.assertEqual([level for level, _ in said], ["warn", "info"])
        self.assertIn("`sources`", said[0][1])
        self.assertIn(STRANGER.remote.host, said[0][1])
        self.assertIn(f"{MOST_OF_STRANGERS} were looked at, 0 refused with 503, 0 and 1 dropped", said[1][1])
