"""The four transaction machines: every state with every event, and every timer (RFC 3261 section 17, RFC 6026)."""

from collections import Counter

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import TransportFailure
from calltrack.sip import transactions as tx
from calltrack.sip.flows import Address, Flow
from calltrack.sip.layer import TransactionLayer
from calltrack.sip.message import parse
from calltrack.sip.transactions import ServerTransaction, Settings, TransactionTimeout
from calltrack.testing.network import MemoryNetwork
from calltrack.timers import Timers

STATES = (tx.CALLING, tx.TRYING, tx.PROCEEDING, tx.ACCEPTED, tx.COMPLETED, tx.CONFIRMED, tx.TERMINATED)
SERVER_EVENTS = (
    tx.REQUEST, tx.ACK, tx.SEND_1XX, tx.SEND_2XX, tx.SEND_FAILURE, tx.RESEND_DUE, tx.EXPIRED, tx.LINGERED, tx.TRANSPORT_ERROR,
)  # fmt: skip
CLIENT_EVENTS = (
    tx.GET_1XX, tx.GET_2XX, tx.GET_FAILURE, tx.RESEND_DUE, tx.EXPIRED, tx.LINGERED, tx.TRANSPORT_ERROR,
)  # fmt: skip
STATUS = {tx.SEND_1XX: 180, tx.SEND_2XX: 200, tx.SEND_FAILURE: 486, tx.GET_1XX: 180, tx.GET_2XX: 200, tx.GET_FAILURE: 486}

# What each step must do: (state, event) -> (next state, what is sent, what the user is told). Every pair that is not
# here must change nothing. Written from the RFC's figures, not from the code.

# Figure 7 of RFC 3261 with figure 4 of RFC 6026.
INVITE_SERVER = {
    (tx.PROCEEDING, tx.REQUEST): (tx.PROCEEDING, [100], []),
    (tx.PROCEEDING, tx.SEND_1XX): (tx.PROCEEDING, [180], []),
    (tx.PROCEEDING, tx.SEND_2XX): (tx.ACCEPTED, [200], []),
    (tx.PROCEEDING, tx.SEND_FAILURE): (tx.COMPLETED, [486], []),
    (tx.ACCEPTED, tx.REQUEST): (tx.ACCEPTED, [], []),
    (tx.ACCEPTED, tx.ACK): (tx.ACCEPTED, [], ["ACK"]),
    (tx.ACCEPTED, tx.LINGERED): (tx.TERMINATED, [], []),
    (tx.COMPLETED, tx.REQUEST): (tx.COMPLETED, [486], []),
    (tx.COMPLETED, tx.RESEND_DUE): (tx.COMPLETED, [486], []),
    (tx.COMPLETED, tx.ACK): (tx.CONFIRMED, [], []),
    (tx.COMPLETED, tx.EXPIRED): (tx.TERMINATED, [], []),
    (tx.CONFIRMED, tx.ACK): (tx.CONFIRMED, [], []),
    (tx.CONFIRMED, tx.LINGERED): (tx.TERMINATED, [], []),
}
# Figure 8.
SERVER = {
    (tx.TRYING, tx.REQUEST): (tx.TRYING, [], []),
    (tx.TRYING, tx.SEND_1XX): (tx.PROCEEDING, [180], []),
    (tx.TRYING, tx.SEND_2XX): (tx.COMPLETED, [200], []),
    (tx.TRYING, tx.SEND_FAILURE): (tx.COMPLETED, [486], []),
    (tx.PROCEEDING, tx.REQUEST): (tx.PROCEEDING, [180], []),
    (tx.PROCEEDING, tx.SEND_1XX): (tx.PROCEEDING, [180], []),
    (tx.PROCEEDING, tx.SEND_2XX): (tx.COMPLETED, [200], []),
    (tx.PROCEEDING, tx.SEND_FAILURE): (tx.COMPLETED, [486], []),
    (tx.COMPLETED, tx.REQUEST): (tx.COMPLETED, [486], []),
    (tx.COMPLETED, tx.LINGERED): (tx.TERMINATED, [], []),
}
# Figure 5 with figure 5 of RFC 6026; Proceeding expires only after a CANCEL (section 9.1).
INVITE_CLIENT = {
    (tx.CALLING, tx.RESEND_DUE): (tx.CALLING, ["INVITE"], []),
    (tx.CALLING, tx.EXPIRED): (tx.TERMINATED, [], [TransactionTimeout]),
    (tx.CALLING, tx.TRANSPORT_ERROR): (tx.TERMINATED, [], [TransportFailure]),
    (tx.CALLING, tx.GET_1XX): (tx.PROCEEDING, [], [180]),
    (tx.CALLING, tx.GET_2XX): (tx.ACCEPTED, [], [200]),
    (tx.CALLING, tx.GET_FAILURE): (tx.COMPLETED, ["ACK"], [486]),
    (tx.PROCEEDING, tx.GET_1XX): (tx.PROCEEDING, [], [180]),
    (tx.PROCEEDING, tx.GET_2XX): (tx.ACCEPTED, [], [200]),
    (tx.PROCEEDING, tx.GET_FAILURE): (tx.COMPLETED, ["ACK"], [486]),
    (tx.PROCEEDING, tx.EXPIRED): (tx.TERMINATED, [], [TransactionTimeout]),
    (tx.PROCEEDING, tx.TRANSPORT_ERROR): (tx.ACCEPTED, [], [TransportFailure]),
    (tx.ACCEPTED, tx.GET_2XX): (tx.ACCEPTED, [], [200]),
    (tx.ACCEPTED, tx.LINGERED): (tx.TERMINATED, [], []),
    (tx.COMPLETED, tx.GET_FAILURE): (tx.COMPLETED, ["ACK"], []),
    (tx.COMPLETED, tx.LINGERED): (tx.TERMINATED, [], []),
}
# Figure 6.
CLIENT = {
    (tx.TRYING, tx.RESEND_DUE): (tx.TRYING, ["BYE"], []),
    (tx.TRYING, tx.EXPIRED): (tx.TERMINATED, [], [TransactionTimeout]),
    (tx.TRYING, tx.TRANSPORT_ERROR): (tx.TERMINATED, [], [TransportFailure]),
    (tx.TRYING, tx.GET_1XX): (tx.PROCEEDING, [], [180]),
    (tx.TRYING, tx.GET_2XX): (tx.COMPLETED, [], [200]),
    (tx.TRYING, tx.GET_FAILURE): (tx.COMPLETED, [], [486]),
    (tx.PROCEEDING, tx.RESEND_DUE): (tx.PROCEEDING, ["BYE"], []),
    (tx.PROCEEDING, tx.EXPIRED): (tx.TERMINATED, [], [TransactionTimeout]),
    (tx.PROCEEDING, tx.TRANSPORT_ERROR): (tx.TERMINATED, [], [TransportFailure]),
    (tx.PROCEEDING, tx.GET_1XX): (tx.PROCEEDING, [], [180]),
    (tx.PROCEEDING, tx.GET_2XX): (tx.COMPLETED, [], [200]),
    (tx.PROCEEDING, tx.GET_FAILURE): (tx.COMPLETED, [], [486]),
    (tx.COMPLETED, tx.LINGERED): (tx.TERMINATED, [], []),
}
# How each state is reached.
WAYS = {
    "INVITE server": {
        tx.PROCEEDING: (),
        tx.ACCEPTED: (tx.SEND_2XX,),
        tx.COMPLETED: (tx.SEND_FAILURE,),
        tx.CONFIRMED: (tx.SEND_FAILURE, tx.ACK),
        tx.TERMINATED: (tx.SEND_FAILURE, tx.EXPIRED),
    },
    "server": {
        tx.TRYING: (),
        tx.PROCEEDING: (tx.SEND_1XX,),
        tx.COMPLETED: (tx.SEND_FAILURE,),
        tx.TERMINATED: (tx.SEND_FAILURE, tx.LINGERED),
    },
    "INVITE client": {
        tx.CALLING: (),
        tx.PROCEEDING: (tx.GET_1XX,),
        tx.ACCEPTED: (tx.GET_2XX,),
        tx.COMPLETED: (tx.GET_FAILURE,),
        tx.TERMINATED: (tx.EXPIRED,),
    },
    "client": {
        tx.TRYING: (),
        tx.PROCEEDING: (tx.GET_1XX,),
        tx.COMPLETED: (tx.GET_FAILURE,),
        tx.TERMINATED: (tx.EXPIRED,),
    },
}
HEADERS = (
    "Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1;rport\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\n"
    "Call-ID: c\r\nCSeq: 1 {0}\r\nContact: <sip:a@a>\r\n\r\n"
)


class NoTransports:
    """All that a transaction layer wants of transports here."""

    def sent_by(self, flow):
        return b"192.0.2.1:5060"


class Rig:
    """One transaction on a clock. `sent`: (seconds, method or status); `told`: what its user heard."""

    def __init__(self, kind, reliable=False, broken=False):
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.timers = Timers(self.clock)
        self.sent, self.told, self.broken = [], [], broken
        self.layer = TransactionLayer(self.timers, NoTransports(), Settings(), self)
        self.flow = Flow("tcp" if reliable else "udp", Address("192.0.2.1", 5060), Address("198.51.100.7", 5060), self._write)
        self.method = "INVITE" if kind.startswith("INVITE") else "BYE"
        if kind.endswith("server"):
            request = parse(f"{self.method} sip:b@b SIP/2.0\r\n{HEADERS.format(self.method)}".encode())
            self.transaction = ServerTransaction(self.layer, self.flow, request, (b"key", self.method.encode()))
            self.layer.servers[self.transaction.key] = self.transaction
            if self.method == "INVITE":
                self.transaction.respond(100)
        else:
            lines = [b"From: <sip:a@a>;tag=1", b"To: <sip:b@b>", b"Call-ID: c", b"CSeq: 7 " + self.method.encode(), b"Route: <sip:p;lr>"]
            self.transaction = self.layer.request(self.flow, self.method.encode(), b"sip:b@b", lines, b"", self, b"c")

    def _write(self, data, remote):
        if self.broken:
            raise TransportFailure("broken")
        message = parse(data)
        self.sent.append((round(self.clock.seconds(), 2), getattr(message, "status", None) or message.method.decode()))
        self.last = message

    def step(self, event):
        """Let one event happen, as the layer, the user or a timer would bring it."""
        if event in (tx.SEND_1XX, tx.SEND_2XX, tx.SEND_FAILURE):
            return self.transaction.respond(STATUS[event])
        if event in (tx.GET_1XX, tx.GET_2XX, tx.GET_FAILURE):
            return self.transaction.event(event, self.response(STATUS[event]))
        message = TransportFailure("gone") if event == tx.TRANSPORT_ERROR else None
        return self.transaction.event(event, message)

    def response(self, status):
        return parse(f"SIP/2.0 {status} Words\r\n{HEADERS.format(self.method)}".replace("<sip:b@b>", "<sip:b@b>;tag=2").encode())

    def since(self, count):
        return [what for _, what in self.sent[count:]]

    def times(self, what):
        return [at for at, one in self.sent if one == what]

    # As the layer's and the client transaction's user

    def responded(self, transaction, response):
        self.told.append(response.status)

    def failed(self, transaction, error):
        self.told.append(type(error))

    def acknowledged(self, ack):
        self.told.append("ACK")


class MachineTests(SynchronousTestCase):
    """Every (state, event) pair of the four tables."""

    def walk(self, kind, expected, events):
        walked = Counter()
        for state, way in WAYS[kind].items():
            for event in events:
                rig = Rig(kind)
                for step in way:
                    rig.step(step)
                self.assertEqual(rig.transaction.state, state)
                sent, told = len(rig.sent), len(rig.told)
                taken = rig.step(event)
                after, sends, words = expected.get((state, event), (state, [], []))
                where = f"{kind}: {state}, {event}"
                self.assertEqual(rig.transaction.state, after, where)
                self.assertEqual(rig.since(sent), sends, where)
                self.assertEqual(rig.told[told:], words, where)
                self.assertEqual(taken, (state, event) in expected, where)
                held = rig.layer.clients or rig.layer.servers
                self.assertEqual(bool(held), after != tx.TERMINATED, where)
                if after == tx.TERMINATED:
                    self.assertEqual(rig.timers.pending(), 0, where)
                walked[state in (one for one, _ in expected)] += 1
        self.assertTrue(all(pair[0] in WAYS[kind] and pair[1] in events for pair in expected))
        return sum(walked.values())

    def test_invite_server(self):
        """RFC 3261 figure 7, RFC 6026 section 7.1."""
        self.assertEqual(self.walk("INVITE server", INVITE_SERVER, SERVER_EVENTS), 5 * 9)

    def test_server(self):
        """RFC 3261 figure 8."""
        self.assertEqual(self.walk("server", SERVER, SERVER_EVENTS), 4 * 9)

    def test_invite_client(self):
        """RFC 3261 figure 5, RFC 6026 section 7.2."""
        self.assertEqual(self.walk("INVITE client", INVITE_CLIENT, CLIENT_EVENTS), 5 * 7)

    def test_client(self):
        """RFC 3261 figure 6."""
        self.assertEqual(self.walk("client", CLIENT, CLIENT_EVENTS), 4 * 7)

    def test_tables_hold_no_step_that_is_not_in_the_figures(self):
        for table, expected in (
            (tx.INVITE_SERVER, INVITE_SERVER), (tx.SERVER, SERVER), (tx.INVITE_CLIENT, INVITE_CLIENT), (tx.CLIENT, CLIENT),
        ):  # fmt: skip
            self.assertEqual(set(table), set(expected))
            self.assertEqual({pair: step[0] for pair, step in table.items()}, {pair: step[0] for pair, step in expected.items()})


class InviteClientTimerTests(SynchronousTestCase):
    def test_timer_a_doubles_without_a_bound_until_timer_b(self):
        """RFC 3261 section 17.1.1.2: 0, T1, 3*T1 ... and the end at 64*T1."""
        rig = Rig("INVITE client")
        rig.network.run(60)
        self.assertEqual(rig.times("INVITE"), [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(rig.told, [TransactionTimeout])
        self.assertEqual(rig.timers.pending(), 0)

    def test_timer_b_is_64_t1(self):
        rig = Rig("INVITE client")
        rig.network.run(31.99)
        self.assertEqual(rig.told, [])
        rig.network.run(0.04)
        self.assertEqual(rig.told, [TransactionTimeout])

    def test_nothing_is_resent_over_a_reliable_flow_but_timer_b_holds(self):
        rig = Rig("INVITE client", reliable=True)
        rig.network.run(60)
        self.assertEqual(rig.times("INVITE"), [0])
        self.assertEqual(rig.told, [TransactionTimeout])

    def test_provisional_stops_timers_a_and_b(self):
        rig = Rig("INVITE client")
        rig.network.run(1)
        rig.step(tx.GET_1XX)
        rig.network.run(600)
        self.assertEqual((rig.times("INVITE"), rig.told), ([0, 0.5], [180]))

    def test_timer_d_absorbs_repeated_failures_for_64_t1_over_udp(self):
        """RFC 3261 section 17.1.1.2: at least 32 s, each acknowledged, told once."""
        rig = Rig("INVITE client")
        rig.step(tx.GET_FAILURE)
        rig.network.run(31.9)
        rig.step(tx.GET_FAILURE)
        self.assertEqual((rig.times("ACK"), rig.told), ([0, 31.9], [486]))
        rig.network.run(0.2)
        self.assertEqual(rig.layer.clients, {})

    def test_timer_d_is_zero_over_a_reliable_flow(self):
        rig = Rig("INVITE client", reliable=True)
        rig.step(tx.GET_FAILURE)
        self.assertEqual((rig.layer.clients, rig.told, rig.times("ACK")), ({}, [486], [0]))

    def test_timer_m_keeps_accepted_for_64_t1_on_any_flow(self):
        """RFC 6026 section 7.2: for the 2xx of other forks."""
        for reliable in (False, True):
            rig = Rig("INVITE client", reliable)
            rig.step(tx.GET_2XX)
            rig.network.run(31.9)
            rig.step(tx.GET_2XX)
            self.assertEqual(rig.told, [200, 200])
            rig.network.run(0.2)
            self.assertEqual((rig.layer.clients, rig.timers.pending()), ({}, 0))

    def test_ack_to_a_failure_is_made_of_the_invite(self):
        """RFC 3261 section 17.1.1.3."""
        rig = Rig("INVITE client")
        branch = rig.last.via.branch
        rig.step(tx.GET_FAILURE)
        ack = rig.last
        ack.validate()
        self.assertEqual((ack.uri, ack.via.branch, ack.cseq), (b"sip:b@b", branch, (7, b"ACK")))
        self.assertEqual((ack.to.tag, ack.from_.tag, ack.items(b"route")), (b"2", b"1", [b"<sip:p;lr>"]))
        self.assertEqual(len(ack.all(b"via")), 1)

    def test_flow_that_breaks_is_told_later_and_once(self):
        """RFC 3261 section 17.1.4: never from within `request`, whose caller has not got the transaction yet."""
        rig = Rig("INVITE client", broken=True)
        self.assertEqual(rig.told, [])
        rig.network.run(0.1)
        self.assertEqual(rig.told, [TransportFailure])
        rig.network.run(60)
        self.assertEqual((rig.told, rig.timers.pending()), ([TransportFailure], 0))

    def test_cancel_is_held_until_the_first_provisional(self):
        """EDGE-CASES 2, RFC 3261 section 9.1."""
        rig = Rig("INVITE client")
        branch = rig.last.via.branch
        rig.transaction.cancel(b"Reason: SIP;cause=200")
        self.assertEqual(rig.times("CANCEL"), [])
        rig.step(tx.GET_1XX)
        cancel = rig.last
        cancel.validate()
        self.assertEqual((cancel.method, cancel.via.branch, cancel.cseq), (b"CANCEL", branch, (7, b"CANCEL")))
        self.assertEqual((cancel.get(b"reason"), cancel.to.tag), (b"SIP;cause=200", b""))

    def test_cancel_is_sent_once_however_often_it_is_asked_for(self):
        rig = Rig("INVITE client")
        rig.step(tx.GET_1XX)
        rig.transaction.cancel()
        rig.transaction.cancel()
        self.assertEqual(rig.times("CANCEL"), [0])

    def test_cancel_after_a_final_response_is_not_sent(self):
        """RFC 3261 section 9.1."""
        for final in (tx.GET_2XX, tx.GET_FAILURE):
            rig = Rig("INVITE client")
            rig.transaction.cancel()
            rig.step(final)
            rig.transaction.cancel()
            self.assertEqual(rig.times("CANCEL"), [])

    def test_peer_that_never_answers_487_is_given_up_64_t1_after_the_cancel(self):
        """RFC 3261 section 9.1."""
        rig = Rig("INVITE client")
        rig.step(tx.GET_1XX)
        rig.network.run(100)
        rig.transaction.cancel()
        rig.network.run(31.9)
        self.assertEqual(rig.told, [180])
        rig.network.run(0.2)
        self.assertEqual(rig.told, [180, TransactionTimeout])
        rig.network.run(5)
        self.assertEqual((rig.layer.clients, rig.timers.pending()), ({}, 0))


class ClientTimerTests(SynchronousTestCase):
    def test_timer_e_doubles_up_to_t2_until_timer_f(self):
        """RFC 3261 section 17.1.2.2."""
        rig = Rig("client")
        rig.network.run(60)
        self.assertEqual(rig.times("BYE"), [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        self.assertEqual(rig.told, [TransactionTimeout])

    def test_timer_e_goes_on_in_proceeding_at_t2(self):
        """RFC 3261 section 17.1.2.2: the running one first, then T2, until Timer F."""
        rig = Rig("client")
        rig.network.run(0.1)
        rig.step(tx.GET_1XX)
        rig.network.run(60)
        self.assertEqual(rig.times("BYE"), [0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5])
        self.assertEqual(rig.told, [180, TransactionTimeout])

    def test_nothing_is_resent_over_a_reliable_flow_but_timer_f_holds(self):
        rig = Rig("client", reliable=True)
        rig.step(tx.GET_1XX)
        rig.network.run(60)
        self.assertEqual((rig.times("BYE"), rig.told), ([0], [180, TransactionTimeout]))

    def test_timer_k_is_t4_over_udp_and_zero_over_a_reliable_flow(self):
        rig = Rig("client")
        rig.step(tx.GET_2XX)
        rig.network.run(4.9)
        self.assertTrue(rig.layer.clients)
        rig.step(tx.GET_2XX)
        rig.network.run(0.2)
        self.assertEqual((rig.layer.clients, rig.told), ({}, [200]))
        rig = Rig("client", reliable=True)
        rig.step(tx.GET_2XX)
        self.assertEqual((rig.layer.clients, rig.told), ({}, [200]))


class InviteServerTimerTests(SynchronousTestCase):
    def test_timer_g_doubles_up_to_t2_until_timer_h(self):
        """RFC 3261 section 17.2.1."""
        rig = Rig("INVITE server")
        rig.step(tx.SEND_FAILURE)
        rig.network.run(60)
        self.assertEqual(rig.times(486), [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        self.assertEqual((rig.layer.servers, rig.timers.pending()), ({}, 0))

    def test_failure_is_sent_once_over_a_reliable_flow_and_timer_h_holds(self):
        rig = Rig("INVITE server", reliable=True)
        rig.step(tx.SEND_FAILURE)
        rig.network.run(31.9)
        self.assertEqual((rig.times(486), len(rig.layer.servers)), ([0], 1))
        rig.network.run(0.2)
        self.assertEqual(rig.layer.servers, {})

    def test_timer_i_absorbs_acks_for_t4_over_udp_and_not_at_all_over_a_reliable_flow(self):
        rig = Rig("INVITE server")
        rig.step(tx.SEND_FAILURE)
        rig.step(tx.ACK)
        rig.network.run(4.9)
        self.assertTrue(rig.layer.servers)
        rig.network.run(0.2)
        self.assertEqual((rig.layer.servers, rig.times(486)), ({}, [0]))
        rig = Rig("INVITE server", reliable=True)
        rig.step(tx.SEND_FAILURE)
        rig.step(tx.ACK)
        self.assertEqual(rig.layer.servers, {})

    def test_timer_l_keeps_accepted_for_64_t1_on_any_flow_and_resends_nothing(self):
        """RFC 6026 section 7.1."""
        for reliable in (False, True):
            rig = Rig("INVITE server", reliable)
            rig.step(tx.SEND_2XX)
            rig.network.run(31.9)
            rig.step(tx.REQUEST)
            self.assertEqual((rig.times(200), len(rig.layer.servers)), ([0], 1))
            rig.network.run(0.2)
            self.assertEqual(rig.layer.servers, {})

    def test_second_final_response_is_not_sent(self):
        for first in (200, 486):
            rig = Rig("INVITE server")
            self.assertTrue(rig.transaction.respond(first))
            for second in (180, 200, 486):
                self.assertFalse(rig.transaction.respond(second))
            self.assertEqual(rig.since(1), [first])

    def test_unanswered_invite_waits_for_ever(self):
        """RFC 3261 section 17.2.1: how long is the user's business."""
        rig = Rig("INVITE server")
        rig.network.run(3600)
        self.assertEqual(rig.transaction.state, tx.PROCEEDING)
        self.assertFalse(rig.transaction.answered)


class ServerTimerTests(SynchronousTestCase):
    def test_timer_j_resends_the_answer_for_64_t1_over_udp(self):
        """RFC 3261 section 17.2.2."""
        rig = Rig("server")
        rig.step(tx.SEND_2XX)
        rig.network.run(31.9)
        rig.step(tx.REQUEST)
        self.assertEqual(rig.times(200), [0, 31.9])
        rig.network.run(0.2)
        self.assertEqual((rig.layer.servers, rig.timers.pending()), ({}, 0))

    def test_timer_j_is_zero_over_a_reliable_flow(self):
        rig = Rig("server", reliable=True)
        rig.step(tx.SEND_2XX)
        self.assertEqual(rig.layer.servers, {})
