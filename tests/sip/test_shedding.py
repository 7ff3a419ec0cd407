"""INVITEs that are refused without being read (RFC 3261 sections 8.2.6.2, 8.2.7, 18.2)."""

from twisted.internet import defer, reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from calltrack.sip import arrivals
from calltrack.sip.invitations import copied_lines, is_new_invite
from calltrack.sip.layer import TransactionLayer
from calltrack.sip.message import parse
from calltrack.sip.transactions import Settings
from calltrack.sip.transports import Transports
from calltrack.testing.peers import Peer
from calltrack.timers import Timers
from tests.sip.test_layer import THERE, LayerTestCase, User

VIA = "SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK1;rport"
HEAD = b"INVITE sip:b@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"


class IsNewInviteTests(SynchronousTestCase):
    def test_invite_outside_of_a_dialog_is_new_however_it_is_written(self):
        for to in (b"To: <sip:b@b>", b"t: <sip:b@b>", b"TO : <sip:b@b>", b"To: <sip:stage@b>", b"To:\r\n <sip:b@b>"):
            self.assertTrue(is_new_invite(HEAD + to + b"\r\n\r\n"), to)

    def test_invite_within_a_dialog_is_not(self):
        for to in (b"To: <sip:b@b>;tag=1", b"t: <sip:b@b>;TAG=1", b"to : <sip:b@b> ; tag=1", b"To: <sip:b@b>\r\n ;tag=1"):
            self.assertFalse(is_new_invite(HEAD + to + b"\r\n\r\n"), to)

    def test_to_in_the_body_counts_for_nothing(self):
        self.assertFalse(is_new_invite(HEAD + b"t: <sip:b@b>;tag=1\r\n\r\nx\r\nTo: <sip:b@b>\r\n"))

    def test_other_messages_are_not(self):
        for data in (b"BYE sip:b@b SIP/2.0\r\nTo: <sip:b@b>\r\n\r\n", b"SIP/2.0 200 OK\r\nTo: <sip:b@b>\r\n\r\n", b"INVITE ", b""):
            self.assertFalse(is_new_invite(data), data)


class CopiedLinesTests(SynchronousTestCase):
    def test_lines_of_a_plain_head_in_their_order(self):
        data = HEAD + b"Via: SIP/2.0/UDP b\r\nTo: <sip:b@b>\r\nSubject: Via: x\r\n\r\nVia: no\r\nTo: no\r\n"
        lines = [b"\r\n" + line for line in data.split(b"\r\n")[1:7]]
        self.assertEqual(copied_lines(data), lines)

    def test_what_is_not_plain_is_left_to_the_parser(self):
        to = b"To: <sip:b@b>\r\n"
        for more in (b"v: SIP/2.0/UDP b\r\n" + to, b"t: <sip:b@b>\r\n", to + to, to + b" folded\r\n", b""):
            self.assertIsNone(copied_lines(HEAD + more + b"\r\n"), more)
        self.assertIsNone(copied_lines(HEAD + to))

    def test_nothing_copied_has_an_end_of_line_or_nul_within(self):
        for odd in (b"\r", b"\n", b"\0"):
            lines = copied_lines(HEAD + b"To: <sip:b@b>" + odd + b"Evil: 1\r\n\r\n")
            self.assertNotIn(odd, b"".join(line[2:] for line in lines))


class ShedTests(LayerTestCase):
    def setUp(self):
        super().setUp()
        self.transports.deliver, self.receive = lambda data, flow: self.layer.shed([(data, flow)]), self.layer.receive

    def invite(self, **extra):
        self.request("INVITE", **extra)
        return self.peer.expect(503, "INVITE")

    def test_answer_is_that_of_a_user_agent_that_keeps_nothing(self):
        answer = self.invite()
        self.assertEqual(answer.get(b"via"), b"SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK1;received=198.51.100.7;rport=5060")
        self.assertEqual((answer.get(b"from"), answer.call_id, answer.cseq), (b"<sip:a@a>;tag=1", b"c", (1, b"INVITE")))
        self.assertEqual(answer.to.uri, b"sip:b@b")
        self.assertIn(int(answer.get(b"retry-after")), range(2, 11))
        self.assertEqual((self.layer.servers, self.user.requests), ({}, []))

    def test_to_tag_is_the_same_for_the_same_request_and_another_for_another(self):
        tags = [self.invite(via=VIA.replace("K1", branch)).to.tag for branch in ("K1", "K1", "K2")]
        self.assertEqual(tags[0], tags[1])
        self.assertNotEqual(tags[0], tags[2])

    def test_all_vias_are_copied_and_the_first_is_stamped(self):
        for vias in ((f"{VIA}, SIP/2.0/UDP a", None), (VIA, "SIP/2.0/UDP a")):
            self.request("INVITE", vias[0], **({"Via": vias[1]} if vias[1] else {}))
            answer = self.peer.expect(503)
            self.assertEqual(
                answer.items(b"via"),
                [b"SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK1;received=198.51.100.7;rport=5060", b"SIP/2.0/UDP a"],
            )

    def test_answer_goes_where_answers_go(self):
        """RFC 3261 section 18.2.2: without `rport` to the port of the Via."""
        other = Peer(self.network, THERE, 5080)
        self.request("INVITE", via="SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bK1")
        other.expect(503)
        self.assertEqual(self.peer.inbox, [])

    def test_invites_in_other_writing_get_the_same(self):
        for odd in ({"To": None, "t": "<sip:b@b>"}, {"To": "\r\n <sip:b@b>"}):
            self.assertIn(int(self.invite(**odd).get(b"retry-after")), range(2, 11))
        self.assertIn(int(self.invite(via="SIP/2.0/UDP 198.51.100.7:5060").get(b"retry-after")), range(2, 11))
        self.assertEqual(self.layer.servers, {})

    def test_invite_whose_transaction_is_there_is_answered_by_that(self):
        self.transports.deliver = self.receive
        self.request("INVITE", via=VIA)
        self.peer.expect(200)
        self.transports.deliver = lambda data, flow: self.layer.shed([(data, flow)])
        self.request("INVITE", via=VIA)
        self.assertEqual((self.peer.inbox, len(self.user.requests)), ([], 1))  # RFC 6026: absorbed

    def test_ack_ends_here(self):
        answer = self.invite()
        self.transports.deliver = self.receive
        self.request("ACK", via=VIA, To=answer.get(b"to").decode())
        self.assertEqual(self.user.acks, [])
        self.request("ACK", via=VIA, To="<sip:b@b>;tag=other")
        self.assertEqual(len(self.user.acks), 1)

    def test_unanswerable_ones_are_dropped_and_counted(self):
        self.request("INVITE", via="nonsense")
        self.request("INVITE", via="SIP/2.0/UDP 198.51.100.7:0;branch=z9hG4bK1")
        self.assertEqual(self.peer.inbox, [])
        self.assertEqual(self.layer.counters["malformed"] + self.layer.counters["undeliverable"], 2)


class _Answers(DatagramProtocol):
    """Gathers responses until there are so many."""

    def __init__(self, wanted):
        self.wanted, self.answers, self.done = wanted, [], defer.Deferred()

    def datagramReceived(self, datagram, addr):
        self.answers.append(parse(datagram))
        if len(self.answers) == self.wanted:
            self.done.callback(None)


class SocketTests(TestCase):
    timeout = 20

    async def test_requests_in_dialogs_are_served_while_new_invites_are_refused(self):
        self.patch(arrivals, "PROMPT", -1.0)  # whatever comes has waited too long
        self.patch(arrivals, "BURST", -1.0)
        transports = Transports(reactor, Timers(reactor), [("udp", "127.0.0.1", 0)])
        user = User()
        layer = TransactionLayer(transports._timers, transports, Settings(), user)
        transports.start()
        self.addCleanup(transports.stop)
        self.addCleanup(layer.timers.stop)
        there = _Answers(40)
        port = reactor.listenUDP(0, there, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        for number in range(20):
            for method, to in ((b"INVITE", b""), (b"BYE", b";tag=1")):
                data = (
                    b"%b sip:b@b SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%d%b;rport\r\nFrom: <sip:a@a>;tag=1\r\n"
                    b"To: <sip:b@b>%b\r\nCall-ID: c\r\nCSeq: 1 %b\r\n\r\n" % (method, number, method, to, method)
                )
                port.write(data, tuple(transports.listening()[0][1:]))
        await there.done
        answers = sorted((answer.status, answer.cseq[1]) for answer in there.answers)
        self.assertEqual(answers, [(200, b"BYE")] * 20 + [(503, b"INVITE")] * 20)
        self.assertEqual(transports.arrivals.outcomes["trunk"], {"refused": 20})
