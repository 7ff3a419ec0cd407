"""Calls from trunk to target and back, over the in-memory network."""

from tests.calls.case import ANSWER, OFFER, CallTestCase


class StaticCallTests(CallTestCase):
    """PRODUCT section 2: a call from trunk to record."""

    def test_call_is_forwarded_answered_and_ended_with_one_record(self):
        """RFC 3261 sections 13 and 15."""
        self.start()
        self.trunk.invite(self.engine.number, body=OFFER)
        self.trunk.expect(100)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.network.run(3)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        answer = self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(40)
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        self.office.respond(self.office.expect("BYE"), 200)
        self.assertIn(b"c=IN IP4 192.0.2.1", invite.sdp)
        self.assertIn(b"c=IN IP4 192.0.2.1", answer.sdp)
        self.network.run(1)
        record = self.record
        self.assertEqual((record.status, record.hangup, record.sip_code), ("ANSWER", "caller", 200))
        self.assertApproximates(record.waiting_time, 3, 0.1)
        self.assertApproximates(record.answer_duration, 40, 0.1)
        self.assertTrue(record.target_call)
