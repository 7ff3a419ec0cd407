"""What the headers of extensions say, whatever stands in them (RFC 3262 section 7, RFC 4028 sections 4, 5), and what is
answered to the request that carries them."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.sip import capabilities
from calltrack.sip.message import Request, parse
from calltrack.sip.session_timer import LEAST, SessionSettings, least_of, too_brief
from calltrack.testing.engine import TestEngine, sip_target
from calltrack.testing.network import MemoryNetwork
from calltrack.testing.peers import Peer

# One header value as it may come out of a message: anything but what ends a line.
VALUES = st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\r\n\0"))
NUMBERS = st.integers(0, 2**33).map(lambda number: b"%d" % number)
LIKELY = st.one_of(VALUES, NUMBERS, st.tuples(NUMBERS, VALUES).map(b";refresher=".join), st.tuples(NUMBERS, NUMBERS).map(b" ".join))


def invite(*lines):
    head = (
        b"INVITE sip:11231234567@192.0.2.1 SIP/2.0",
        b"Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1",
        b"From: <sip:a@x>;tag=a",
        b"To: <sip:b@y>",
        b"Call-ID: c",
        b"CSeq: 1 INVITE",
    )
    message = parse(b"\r\n".join((*head, *lines)) + b"\r\n\r\n")
    assert isinstance(message, Request)
    return message


class SessionTests(SynchronousTestCase):
    settings = SessionSettings(1800, 120)

    @given(LIKELY)
    def test_any_interval_is_long_enough_too_brief_or_no_interval(self, value):
        refused = too_brief(invite(b"Supported: timer", b"Session-Expires: " + value), self.settings)
        self.assertIn(refused, ((), (b"Min-SE: 120",)))

    @given(LIKELY)
    def test_no_minimum_is_less_than_the_rfcs(self, value):
        self.assertGreaterEqual(least_of(invite(b"Min-SE: " + value)), LEAST)

    def test_interval_is_judged_whatever_parameters_and_white_space_it_has(self):
        for value, brief in ((b"119", True), (b"120", False), (b"119 ;refresher=uac", True), (b"120;x=y", False), (b"0", True)):
            refused = too_brief(invite(b"Supported: timer", b"Session-Expires: " + value), self.settings)
            self.assertEqual(bool(refused), brief, value)

    def test_invite_asks_for_what_the_peer_wants_at_least(self):
        self.assertEqual(SessionSettings().lines(), (b"Session-Expires: 1800",))
        self.assertEqual(SessionSettings(600, 90).lines(900), (b"Session-Expires: 900", b"Min-SE: 900"))
        self.assertEqual(SessionSettings(600, 300).lines(200), (b"Session-Expires: 600", b"Min-SE: 300"))
        self.assertEqual(SessionSettings(0, 300).lines(900), ())


class CapabilityTests(SynchronousTestCase):
    def test_required_extensions_that_are_spoken_are_no_obstacle(self):
        self.assertEqual(capabilities.unsupported(invite()), [])
        self.assertEqual(capabilities.unsupported(invite(b"Require: 100rel, TIMER")), [])
        self.assertEqual(capabilities.unsupported(invite(b"Require: 100rel, x", b"Require: y")), [b"x", b"y"])

    def test_reliability_is_required_by_require_alone(self):
        self.assertTrue(capabilities.requires_reliability(invite(b"Require: timer, 100Rel")))
        self.assertFalse(capabilities.requires_reliability(invite(b"Supported: 100rel")))

    def test_every_method_that_is_allowed_is_named_once(self):
        self.assertEqual(len(set(capabilities.METHODS)), len(capabilities.METHODS))
        self.assertEqual(capabilities.ALLOW.partition(b": ")[2].split(b", "), list(capabilities.METHODS))


class HostileTests(SynchronousTestCase):
    """Whatever stands in these headers, the call goes on as if nothing had been said, or the request is refused."""

    @given(st.sampled_from([b"RAck", b"RSeq", b"Session-Expires", b"Min-SE", b"Require", b"Supported", b"Allow"]), LIKELY)
    def test_any_value_gets_an_answer_and_leaves_nothing(self, name, value):
        network = MemoryNetwork(Clock())
        engine = TestEngine(network, [sip_target("203.0.113.20")])
        trunk, office = Peer(network, "198.51.100.7"), Peer(network, "203.0.113.20")
        line = name + b": " + value
        trunk.invite(lines=(b"Supported: timer", line))
        network.run(0.1)
        if office.inbox:
            office.respond(office.expect("INVITE"), 183, b"Require: 100rel", line)
            network.run(0.1)
            trunk.request("PRACK", None, line)
            network.run(0.1)
            trunk.cancel()
            network.run(0.1)
        finals = [one for one in trunk.inbox if one.status >= 200 and one.cseq[1] == b"INVITE"]
        self.assertEqual(len(finals), 1)
        trunk.ack_failure(finals[0])
        for request in [one for one in office.inbox if one.method != b"ACK"]:
            office.respond(request, 200)
            if request.method == b"CANCEL":
                office.respond(parse(next(data for *_, data in network.trace if b"INVITE sip:office" in data[:20])), 487)
        self.assertEqual(engine.settle(), [])
