"""The user agent core: what it refuses, and what it answers itself (RFC 3261 sections 8.2, 11; EDGE-CASES 13, 14)."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.testing.engine import TestEngine, sip_target
from calltrack.testing.network import MemoryNetwork
from calltrack.testing.peers import Peer

OFFICE = "203.0.113.20"


class AgentTestCase(SynchronousTestCase):
    def setUp(self):
        self.network = MemoryNetwork(Clock())
        self.engine = TestEngine(self.network, [sip_target(OFFICE)])
        self.trunk = Peer(self.network, "198.51.100.7")
        self.office = Peer(self.network, OFFICE)

    def tearDown(self):
        self.assertEqual(self.office.heard, [])
        self.assertEqual(self.engine.settle(), [])

    def refused(self, status, **options):
        """An INVITE that is refused before anything is kept of it."""
        self.trunk.invite(**options)
        response = self.trunk.expect(status)
        self.assertEqual(self.engine.agent.layer.servers, {})
        self.assertTrue(response.to.tag)
        self.assertEqual(self.engine.ledger.finals, [])
        return response


class InviteTests(AgentTestCase):
    def test_unknown_scheme_is_416(self):
        """Section 8.2.2.1."""
        for uri in (b"mailto:a@b", b"unknown:thing", b"http://x"):
            self.refused(416, uri=uri)

    def test_request_uri_that_cannot_be_read_is_400(self):
        for uri in (b"sip:a@b:0", b"sip:a@[::1", b"sip:"):
            self.refused(400, uri=uri)

    def test_max_forwards_0_is_483(self):
        """EDGE-CASES 14. A peer's usual line is 70; the header stands once, so ours is put in its place."""
        self.trunk.invite()
        data = self.trunk.dialog.invite
        self.network.run(0)
        self.setUp()
        self.trunk.send(data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
        self.trunk.expect(483)

    def test_max_forwards_that_is_no_number_is_400(self):
        self.trunk.invite()
        data = self.trunk.dialog.invite
        self.setUp()
        self.trunk.send(data.replace(b"Max-Forwards: 70", b"Max-Forwards: 999"))
        self.trunk.expect(400)

    def test_our_own_via_below_the_top_is_a_loop(self):
        """EDGE-CASES 14, section 16.3 step 4."""
        branch = self.engine.agent.layer.branch()
        self.refused(482, lines=(b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=" + branch,))

    def test_required_extension_is_420_with_unsupported(self):
        """EDGE-CASES 13, section 8.2.2.3."""
        response = self.refused(420, lines=(b"Require: teleport, x-warp",))
        self.assertEqual(response.items(b"unsupported"), [b"teleport", b"x-warp"])

    def test_body_that_is_no_sdp_is_415_with_accept(self):
        """Section 8.2.3."""
        self.trunk.invite()
        data = self.trunk.dialog.invite
        self.setUp()
        self.trunk.send(data.replace(b"application/sdp", b"text/plain"))
        self.assertEqual(self.trunk.expect(415).get(b"accept"), b"application/sdp")

    def test_encoded_body_is_415_with_accept_encoding(self):
        """Section 8.2.3."""
        response = self.refused(415, lines=(b"Content-Encoding: gzip",))
        self.assertEqual(response.get(b"accept-encoding"), b"identity")

    def test_invite_without_contact_is_400(self):
        """Section 8.1.1.8."""
        self.trunk.invite()
        data = self.trunk.dialog.invite
        self.setUp()
        self.trunk.send(data.replace(b"Contact:", b"X-Contact:"))
        self.trunk.expect(400)


class ScannerTests(AgentTestCase):
    def test_scanners_get_no_answer_to_anything(self):
        """EDGE-CASES 44, PRODUCT section 2.1: any answer says "go on"."""
        for product in (b"friendly-scanner", b"sipvicious 0.3", b"PPLSIP"):
            self.trunk.invite(lines=(b"User-Agent: " + product,))
            for method in ("OPTIONS", "REGISTER", "BYE", "PUBLISH"):
                self.trunk.request(method, None, b"User-Agent: " + product)
        self.trunk.expect_nothing()
        self.assertEqual(self.engine.agent.layer.counters["scanners"], 15)


class OtherMethodTests(AgentTestCase):
    def ask(self, method, *lines, to=b""):
        self.trunk.invite(uri=b"mailto:x")
        self.trunk.expect(416)
        dialog = self.trunk.dialog
        dialog.target, dialog.remote = b"sip:192.0.2.1", to or b"<sip:192.0.2.1>"
        self.trunk.request(method, dialog, *lines)

    def test_options_is_answered_with_what_is_spoken_here(self):
        """Section 11.2."""
        self.ask("OPTIONS")
        response = self.trunk.expect(200, "OPTIONS")
        self.assertIn(b"INVITE", response.items(b"allow"))
        self.assertIn(b"UPDATE", response.items(b"allow"))
        self.assertEqual(response.get(b"accept"), b"application/sdp")
        self.assertIsNotNone(response.get(b"supported"))
        self.assertTrue(response.to.tag)

    def test_options_that_requires_the_unknown_is_420(self):
        """Section 8.2.2.3 holds for every request but ACK and CANCEL."""
        self.ask("OPTIONS", b"Require: teleport")
        self.assertEqual(self.trunk.expect(420, "OPTIONS").items(b"unsupported"), [b"teleport"])

    def test_unknown_method_is_405_with_allow(self):
        """EDGE-CASES 13, section 8.2.1."""
        for method in ("MESSAGE", "PUBLISH", "NEWMETHOD", "invite"):
            self.ask(method)
            self.assertIn(b"INVITE", self.trunk.expect(405, method).items(b"allow"))

    def test_request_of_a_dialog_that_is_not_there_is_481(self):
        """EDGE-CASES 13, section 12.2.2."""
        for method in ("BYE", "INFO", "UPDATE", "OPTIONS", "INVITE", "NOTIFY"):
            self.ask(method, to=b"<sip:192.0.2.1>;tag=gone")
            self.trunk.expect(481, method)

    def test_request_of_a_dialog_without_a_tag_is_481(self):
        for method in ("BYE", "INFO", "UPDATE"):
            self.ask(method)
            self.trunk.expect(481, method)

    def test_stray_ack_is_ignored(self):
        self.ask("ACK", to=b"<sip:192.0.2.1>;tag=gone")
        self.trunk.expect_nothing()
