"""Of a call that is over nothing is left when its transactions are: not even for the garbage collector."""

import gc

from calltrack.calls.call import Call
from calltrack.calls.inbound import InboundSide
from calltrack.calls.outbound import OutboundSide
from calltrack.sip.dialogs import Dialog
from calltrack.sip.exchanges import DialogRequest
from calltrack.sip.invite import InviteUsage
from calltrack.sip.transactions import ClientTransaction, ServerTransaction

from tests.calls.case import OFFER, CallTestCase

KINDS = {Call, InboundSide, OutboundSide, Dialog, DialogRequest, InviteUsage, ClientTransaction, ServerTransaction}


def found():
    """What there is of calls in this process, by identity."""
    return {id(one): type(one).__name__ for one in gc.get_objects() if type(one) in KINDS}


class FreedTests(CallTestCase):
    def setUp(self):
        super().setUp()
        self.start()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.before = found()

    def tearDown(self):
        super().tearDown()
        self.engine.relay.sessions.clear()  # the fake relay keeps them for tests, and what they tell
        self.assertEqual([name for one, name in found().items() if one not in self.before], [])

    def test_call_that_the_caller_ended(self):
        self.talk()
        self.hang_up()

    def test_call_that_the_target_ended(self):
        self.talk()
        self.office.bye()
        self.office.expect(200, "BYE")
        self.trunk.respond(self.trunk.expect("BYE"), 200)

    def test_call_that_the_engine_ended(self):
        self.talk()
        self.engine.calls.stop()
        for peer in (self.trunk, self.office):
            peer.respond(peer.expect("BYE"), 200)

    def test_call_that_was_refused(self):
        self.trunk.invite(body=OFFER)
        self.office.respond(self.office.expect("INVITE"), 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))
