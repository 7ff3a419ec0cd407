"""A connection that closes while its phone rings: the phone is gone, and the next target is tried at once (EDGE-CASES 41;
RFC 3261 section 8.1.3.1, RFC 5626 section 4.2.2)."""

from calltrack.sip.locating import NextHop
from calltrack.testing.engine import sip_target
from calltrack.testing.peers import Peer
from tests.calls.case import ANSWER, OFFICE, SECOND, CallTestCase


class ClosingTests(CallTestCase):
    def setUp(self):
        super().setUp()
        self.phone = Peer(self.network, OFFICE, 5070, transport="tcp")
        self.second = Peer(self.network, SECOND)
        self.first = sip_target(f"{OFFICE}:5070;transport=tcp", ring_time=60)

    def tearDown(self):
        super().tearDown()
        for peer in (self.phone, self.second):
            self.assertEqual([message.summary for message in peer.inbox], [])

    def ring(self, *targets, status=180, **options):
        """A call that rings at the phone; its INVITE."""
        self.start(*(targets or (self.first, sip_target(SECOND))), **options)
        self.trunk.invite()
        invite = self.phone.expect("INVITE")
        if status:
            self.phone.respond(invite, status)
            self.network.run(0.01)
        return invite

    def close(self, abort=False):
        transport = self.phone.connections[-1].transport
        transport.abortConnection() if abort else transport.loseConnection()
        self.network.run(0.01)

    def answer_at_the_second(self):
        invite = self.second.expect("INVITE", within=0.05)
        self.second.respond(invite, 200, sdp=ANSWER)
        self.second.expect("ACK")
        self.network.run(0.1)
        self.trunk.inbox[:] = [one for one in self.trunk.inbox if one.status != 180]
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.second.respond(self.second.expect("BYE"), 200)

    def test_next_target_is_tried_at_once_when_the_ringing_phones_connection_closes(self):
        for abort in (False, True):
            self.setUp()
            self.ring()
            self.close(abort)
            self.answer_at_the_second()
            self.assertEqual(self.record.status, "ANSWER")
            self.assertEqual(self.engine.settle(), [])

    def test_connection_that_closes_before_anything_rang_is_noticed_too(self):
        self.ring(status=0)
        self.close()
        self.answer_at_the_second()

    def test_nobody_else_to_ring_ends_the_call(self):
        self.ring(self.first)
        self.close()
        self.trunk.expect(180)
        self.trunk.ack_failure(self.trunk.expect(503))
        self.assertEqual(self.record.status, "CHANUNAVAIL")
        self.assertIn("was closed", self.record.reason)

    def test_next_server_of_the_same_target_is_tried_first(self):
        """RFC 3263 section 4.3."""
        self.start(sip_target("pbx.example;transport=tcp", ring_time=60))
        self.engine.resolver.names["pbx.example"] = [NextHop("tcp", OFFICE, 5070), NextHop("udp", SECOND, 5060)]
        self.trunk.invite()
        self.phone.respond(self.phone.expect("INVITE"), 180)
        self.network.run(0.01)
        self.close()
        self.answer_at_the_second()

    def test_phone_that_answers_over_a_new_connection_after_that_gets_ack_and_bye(self):
        """It came too late: somebody else rings. RFC 3261 section 13.2.2.4."""
        invite = self.ring()
        self.close()
        self.phone.connect()
        self.network.run(0.01)
        self.phone.respond(invite, 200, sdp=ANSWER)
        self.phone.expect("ACK")
        self.phone.respond(self.phone.expect("BYE"), 200)
        self.answer_at_the_second()

    def test_phone_that_answers_and_closes_keeps_its_call(self):
        """The other order: its BYE and ours take another connection."""
        invite = self.ring()
        self.trunk.expect(180)
        self.phone.respond(invite, 200, sdp=ANSWER)
        self.phone.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.01)
        self.close()
        self.network.run(5)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.phone.respond(self.phone.expect("BYE"), 200)
        self.second.expect_nothing()
        self.assertEqual(self.record.status, "ANSWER")

    def test_answer_and_close_in_one_instant_keep_the_call(self):
        """The ACK is lost with the connection, and goes over another one when the answer is repeated."""
        invite = self.ring()
        self.trunk.expect(180)
        self.phone.respond(invite, 200, sdp=ANSWER)
        self.phone.connections[-1].transport.loseConnection()
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.5)
        self.assertEqual(self.phone.heard[1:], [])
        self.phone.connect()
        self.network.run(0.01)
        self.phone.respond(invite, 200, sdp=ANSWER)
        self.phone.expect("ACK")
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.phone.respond(self.phone.expect("BYE"), 200)

    def test_caller_that_gives_up_as_the_connection_closes_is_told_once(self):
        for first in ("cancel", "close"):
            self.setUp()
            self.ring()
            self.trunk.expect(180)
            (self.trunk.cancel if first == "cancel" else self.close)()
            (self.close if first == "cancel" else self.trunk.cancel)()
            self.trunk.expect(200, "CANCEL")
            self.trunk.ack_failure(self.trunk.expect(487))
            if first == "close":
                invite = self.second.expect("INVITE")
                self.second.respond(invite, 180)
                self.second.respond(self.second.expect("CANCEL"), 200)
                self.second.respond(invite, 487)
                self.second.expect("ACK")
            self.phone.inbox.clear()
            self.assertEqual(self.record.status, "CANCEL")
            self.assertEqual(self.engine.settle(), [])

    def test_other_targets_ring_on_when_all_ring_at_once(self):
        self.ring(ring="all")
        invite = self.second.expect("INVITE")
        self.second.respond(invite, 180)
        self.close()
        self.network.run(10)
        self.second.respond(invite, 200, sdp=ANSWER)
        self.second.expect("ACK")
        self.trunk.expect(180)
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.second.respond(self.second.expect("BYE"), 200)
