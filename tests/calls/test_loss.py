"""Calls between real user agents over a network that loses, repeats, delays and reorders (ROBUSTNESS promise 6)."""

from collections import Counter

from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.calls import events
from calltrack.calls.inbound import InboundSide
from calltrack.calls.destinations import Destination, Forwarded
from calltrack.calls.outbound import OutboundSide
from calltrack.sip.agent import Agent
from calltrack.sip.transactions import Settings
from calltrack.sip.transports import Transports
from calltrack.testing.engine import TestEngine, sip_target
from calltrack.testing.fakes import FixedResolver
from calltrack.testing.network import Link, MemoryNetwork
from calltrack.timers import Timers

from tests.calls.case import ANSWER, OFFER, OFFICE

TALK, PAUSE = 10.0, 0.5  # seconds


class UserAgent:
    """A user agent with all its retransmissions, built from the project's own SIP. `heard_of`: its events."""

    def __init__(self, network, host):
        self.timers = Timers(network.clock)
        self.transports = Transports(network.reactor(host), self.timers, [("udp", host, 5060)])
        self.agent = Agent(self.timers, self.transports, FixedResolver(), Settings(), self)
        self.transports.start()
        self.heard_of = Counter()
        self.calls = 0

    def admit(self, invite, flow):
        return None

    def heard(self, side, event):
        self.heard_of[type(event)] += 1

    @property
    def left(self):
        layer = self.agent.layer
        return len(self.agent.dialogs) + len(layer.servers) + len(layer.clients) + self.timers.pending()


class Caller(UserAgent):
    """Calls, talks for a while, hangs up."""

    def call(self, number):
        self.calls += 1
        uri = f"sip:{number}@192.0.2.1".encode()
        from_, to = b"<sip:+14155550100@provider.example>", b"<" + uri + b">"
        said = Forwarded(b"call-%d" % self.calls, b"1", lambda sent_by: (from_, to, [b"Max-Forwards: 70"]))
        OutboundSide(self, self.agent, "caller", Destination(uri, uri), said, lambda host: defer.succeed(OFFER)).start()

    def heard(self, side, event):
        super().heard(side, event)
        if isinstance(event, events.Answered):
            side.acknowledge()
            self.timers.after(TALK, lambda _: side.end())


class Callee(UserAgent):
    """Rings for a moment, then answers every call."""

    def invited(self, transaction):
        self.calls += 1
        side = InboundSide(self, self.agent, transaction)
        side.ring(180, b"")
        self.timers.after(1.0, lambda _: side.answer(ANSWER))


class LossTests(SynchronousTestCase):
    def converse(self, count, seed, link):
        network = MemoryNetwork(Clock(), seed, link)
        self.engine = TestEngine(network, [sip_target(OFFICE, max_calls=0, ring_time=40)])
        self.caller, self.callee = Caller(network, "198.51.100.7"), Callee(network, OFFICE)
        for _ in range(count):
            self.caller.call(self.engine.number)
            network.run(PAUSE)
        network.run(60)
        self.assertEqual(self.engine.settle(), [])
        self.assertEqual((self.caller.left, self.callee.left), (0, 0))
        self.assertEqual(self.callee.calls, count)
        self.assertEqual(self.caller.heard_of[events.Answered], count)
        records = self.engine.ledger.finals
        self.assertEqual(Counter(record.status for record in records), {"ANSWER": count})
        self.assertEqual(len({record.id for record in records}), count)
        return records

    def test_sound_network(self):
        for record in self.converse(20, 1, Link(delay=0.02)):
            self.assertApproximates(record.answer_duration, TALK, 0.2)
            self.assertEqual(record.hangup, "caller")

    def test_every_call_is_set_up_once_at_20_percent_loss_with_duplicates_and_reordering(self):
        """ROBUSTNESS promise 6: one record and one outbound call each."""
        for seed in range(4):
            self.converse(40, seed, Link(delay=0.02, jitter=0.3, loss=0.2, duplication=0.2))

    def test_every_datagram_twice(self):
        self.converse(20, 1, Link(delay=0.02, duplication=1.0))

    def test_slow_and_disordered_network(self):
        """Round trips longer than T1: everything is retransmitted before its answer can come."""
        self.converse(20, 1, Link(delay=0.6, jitter=1.0))
