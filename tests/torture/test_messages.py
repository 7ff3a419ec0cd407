"""Every message of RFC 4475 and RFC 5118 is answered or dropped as the RFC says, over UDP and TCP, and the next good
call passes (EDGE-CASES 45, ROBUSTNESS 3)."""

from pathlib import Path

from tests.torture.case import TortureTestCase
from tests.torture.messages import CLOSED, MESSAGES


class TortureTests(TortureTestCase):
    def test_messages_are_all_there(self):
        names = {f"rfc{message.rfc}/{message.name}.dat" for message in MESSAGES}
        here = Path(__file__).parent
        self.assertEqual(names, {str(path.relative_to(here)) for path in here.glob("rfc*/*.dat")})
        self.assertEqual([sum(message.rfc == rfc for message in MESSAGES) for rfc in (4475, 5118)], [49, 12])

    def test_what_is_done_is_what_the_rfc_permits(self):
        for message in MESSAGES:
            self.assertIn(message.udp, message.permitted, message.name)
            self.assertIn(message.tcp[0], (*message.permitted, CLOSED), message.name)

    def test_over_udp(self):
        for message in MESSAGES:
            torment = self.torment(message, "udp")
            self.assertEqual(torment.outcomes(message.data), [message.udp], message.name)
            self.finish(torment, message.name)

    def test_over_tcp(self):
        for message in MESSAGES:
            torment = self.torment(message, "tcp")
            self.assertEqual(torment.outcomes(message.data), list(message.tcp), message.name)
            self.finish(torment, message.name)
