"""488 says why media cannot be agreed on, in a Warning header (RFC 3261 sections 13.3.1.3, 20.43)."""

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import UnusableSDP
from calltrack.sip.message import serialise
from calltrack.sip.warning import Warning, read_warning
from tests.calls.case import ANSWER, OFFER, CallTestCase

OURS = b"192.0.2.1:5060"


class WarningTests(CallTestCase):
    def refused(self, status=488):
        """The Warning that the caller gets with the failure."""
        failure = self.trunk.expect(status)
        self.trunk.ack_failure(failure)
        return failure.get(b"warning")

    def test_offer_that_cannot_be_relayed_is_488_with_its_warning(self):
        self.start()
        self.engine.relay.failures["offer"].append(UnusableSDP("no address for IPv6 media", 301))
        self.trunk.invite()
        self.assertEqual(self.refused(), b'301 %b "no address for IPv6 media"' % OURS)
        self.assertEqual(self.record.status, "CHANUNAVAIL")

    def test_answer_that_cannot_be_relayed_is_488_with_its_warning(self):
        self.start()
        self.engine.relay.failures["answer"].append(UnusableSDP("no codec left", 305))
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.office.respond(self.office.expect("BYE"), 200)
        self.assertEqual(self.refused(), b'305 %b "no codec left"' % OURS)

    def test_targets_warning_goes_on_without_its_name(self):
        """We are a user agent: it is ours then. Nobody learns the other's address."""
        self.start()
        self.trunk.invite()
        line = b'Warning: 304 pbx.office.example "Media type not available", 399 x "more"'
        self.office.respond(self.office.expect("INVITE"), 488, line)
        self.office.expect("ACK")
        self.assertEqual(self.refused(), b'304 %b "Media type not available"' % OURS)

    def test_targets_warning_that_is_none_does_not(self):
        for line in (b"Warning: 304", b'Warning: 999 a "b"', b'Warning: 304 a "open', b"Warning: 304 a b", b"X: y"):
            self.setUp()
            self.start()
            self.trunk.invite()
            self.office.respond(self.office.expect("INVITE"), 488, line)
            self.office.expect("ACK")
            self.assertIsNone(self.refused(), line)

    def test_other_failures_have_none(self):
        self.start()
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 486, b'Warning: 304 a "b"')
        self.office.expect("ACK")
        self.assertIsNone(self.refused(486))

    def test_change_that_cannot_be_relayed_is_488_with_its_warning(self):
        self.start()
        self.talk()
        self.engine.relay.failures["offer"].append(UnusableSDP("no stream", 399))
        self.trunk.reinvite(OFFER)
        self.assertEqual(self.refused(), b'399 %b "no stream"' % OURS)
        self.hang_up()

    def test_change_that_the_other_end_refuses_keeps_its_warning(self):
        self.start()
        self.talk()
        self.trunk.reinvite(OFFER)
        self.office.respond(self.office.expect("INVITE"), 488, b'Warning: 305 pbx "Incompatible media format"')
        self.office.expect("ACK")
        self.assertEqual(self.refused(), b'305 %b "Incompatible media format"' % OURS)
        self.hang_up()


class HeaderTests(SynchronousTestCase):
    @given(strategies.integers(300, 399), strategies.text(max_size=200))
    def test_no_text_leaves_its_quotes(self, code, text):
        line = Warning(code, text).line(b"192.0.2.1:5060")
        serialise(b"SIP/2.0 488 Not Acceptable Here", [line])
        found = read_warning([line.removeprefix(b"Warning: ")])
        self.assertEqual(found.code, code)

    @given(strategies.binary(max_size=60))
    def test_anything_is_read_or_not(self, value):
        read_warning([value, b"305 a " + value])
