"""Messages of a peer that has a call and means harm, or is merely broken (ROBUSTNESS promise 4)."""

from ipaddress import ip_network

from hypothesis import given, settings, strategies
from msgspec.structs import replace

from calltrack.sip.message import Request
from calltrack.testing.engine import TRUNK, sip_target
from calltrack.testing.peers import Peer, sdp

from tests.calls.case import ANSWER, OFFER, CallTestCase


class BrokenPeerTests(CallTestCase):
    """Whatever comes within a call, from either side: no traceback, one record, nothing left."""

    def tearDown(self):
        pass  # each example looks after itself

    def say(self, peer, what):
        """The bytes of a message that belongs to the call."""
        if what == "answer":
            return self.answer
        peer.request(what, body=sdp() if what in ("INVITE", "UPDATE") else b"")
        return self.network.trace[-1][3]

    def check(self, data, from_target, what, ringing):
        CallTestCase.setUp(self)
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.answer = self.office.respond(invite, 180 if ringing else 200, sdp=ANSWER)
        self.network.run(0.01)
        if not ringing:
            self.trunk.ack()
        else:
            self.trunk.expect(180)
        self.network.run(0.01)
        peer = self.office if from_target else self.trunk
        good = self.say(peer, what)
        self.network.run(0.01)
        start = data.draw(strategies.integers(0, len(good)))
        end = data.draw(strategies.integers(start, min(len(good), start + 12)))
        peer.send(good[:start] + data.draw(strategies.binary(max_size=12)) + good[end:])
        self.network.run(data.draw(strategies.sampled_from([0.01, 1, 40])))
        self.end()
        self.assertEqual(len(self.engine.ledger.finals), 1)

    def end(self):
        self.engine.calls.stop()
        self.network.run(60)
        self.assertEqual(self.engine.settle(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(max_examples=150, deadline=None)
    @given(
        strategies.data(),
        strategies.booleans(),
        strategies.sampled_from(["INVITE", "UPDATE", "INFO", "BYE", "ACK", "OPTIONS", "PRACK", "REFER", "answer"]),
        strategies.booleans(),
    )
    def test_any_change_of_any_message_of_a_call_is_survived(self, data, from_target, what, ringing):
        self.check(data, from_target, what, ringing)


    @settings(max_examples=150, deadline=None)
    @given(strategies.data())
    def test_any_change_of_a_first_invite_is_survived(self, data):
        CallTestCase.setUp(self)
        self.start()
        self.trunk.invite(body=OFFER)
        good = self.trunk.dialog.invite
        CallTestCase.setUp(self)
        self.start()
        start = data.draw(strategies.integers(0, len(good)))
        end = data.draw(strategies.integers(start, min(len(good), start + 12)))
        self.trunk.send(good[:start] + data.draw(strategies.binary(max_size=12)) + good[end:])
        self.network.run(0.1)
        for message in self.office.inbox:
            if isinstance(message, Request) and message.method == b"INVITE":
                message.validate()
                self.office.respond(message, 200, sdp=ANSWER)
        self.network.run(0.1)
        self.end()


class NATTests(CallTestCase):
    """A peer that names addresses which lead nowhere is answered where it stands."""

    def test_trunk_behind_a_nat_gets_its_bye_where_its_invite_came_from(self):
        """EDGE-CASES 42, RFC 3581."""
        self.trunk = Peer(self.network, "8.8.4.4", 31337, shown=("10.0.0.9", 5060))
        self.start(trunks=[replace(TRUNK, sources=(ip_network("8.8.4.4/32"),))])
        self.talk()
        self.office.bye()
        self.office.expect(200, "BYE")
        self.trunk.respond(self.trunk.expect("BYE"), 200)

    def test_target_behind_a_nat_gets_ack_and_bye_over_the_flow_of_its_answer(self):
        """A configured target that names its private address in Contact."""
        self.office = Peer(self.network, "8.8.8.8", shown=("192.168.1.20", 5060))
        self.start(sip_target("8.8.8.8"))
        self.talk()
        self.hang_up()
