"""Whose transaction a message belongs to, and what is answered without one (RFC 3261 sections 8.2, 17.1.3, 17.2.3, 18.2;
RFC 3581; EDGE-CASES 5, 13, 14)."""

from hypothesis import given, strategies
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.sip import transactions as tx
from calltrack.sip.layer import Refusal, TransactionLayer
from calltrack.sip.locating import NextHop
from calltrack.sip.message import Response
from calltrack.sip.transactions import Settings
from calltrack.sip.transports import Transports
from calltrack.testing.network import MemoryNetwork
from calltrack.testing.peers import Peer
from calltrack.timers import Timers

HERE, THERE = "192.0.2.1", "198.51.100.7"


class User:
    """A transaction user that answers 200 to everything, and remembers."""

    def __init__(self):
        self.refusal = None
        self.answering = 200
        self.requests, self.acks, self.cancels, self.stray, self.responses, self.failures = [], [], [], [], [], []

    def screen(self, request, flow):
        return self.refusal

    def requested(self, transaction):
        self.requests.append(transaction)
        if self.answering:
            transaction.respond(self.answering)

    def acknowledged(self, ack):
        self.acks.append(ack)

    def cancelled(self, cancel, invite):
        self.cancels.append((cancel, invite))
        cancel.respond(200 if invite else 481)

    def unmatched(self, response, flow):
        self.stray.append(response)

    def responded(self, transaction, response):
        self.responses.append(response.status)

    def failed(self, transaction, error):
        self.failures.append(error)


class LayerTestCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.timers = Timers(self.clock)
        places = [("udp", HERE, 5060), ("tcp", HERE, 5060)]
        self.transports = Transports(self.network.reactor(HERE), self.timers, places)
        self.user = User()
        self.layer = TransactionLayer(self.timers, self.transports, Settings(), self.user)
        self.transports.start()
        self.peer = Peer(self.network, THERE)

    def request(self, method="OPTIONS", via="SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK1;rport", peer=None, cseq=1, **extra):
        fields = {"From": "<sip:a@a>;tag=1", "To": "<sip:b@b>", "Call-ID": "c", "CSeq": f"{cseq} {method}", **extra}
        lines = [f"{method} sip:b@b SIP/2.0", f"Via: {via}"] + [f"{name}: {value}" for name, value in fields.items() if value is not None]
        data = ("\r\n".join(lines) + "\r\n\r\n").encode()
        (peer or self.peer).send(data)
        self.network.run(0.01)
        return data


class ServerMatchingTests(LayerTestCase):
    """RFC 3261 section 17.2.3."""

    def test_same_branch_and_method_is_a_retransmission(self):
        for _ in range(3):
            self.request()
        self.assertEqual((len(self.user.requests), self.peer.count(200)), (1, 3))

    def test_other_branch_is_another_request(self):
        self.request()
        self.request(via="SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK2;rport")
        self.assertEqual(len(self.user.requests), 2)

    def test_branch_of_another_sender_is_another_request(self):
        """Branches are unique only per sent-by; the source is looked at too, for NATs."""
        other = Peer(self.network, "203.0.113.9")
        self.request()
        self.request(via="SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bK1;rport", peer=other)
        self.request(via="SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bK1;rport", peer=other)
        self.assertEqual((len(self.user.requests), other.count(200)), (2, 2))

    def test_devices_behind_one_nat_whose_branches_are_alike_have_transactions_of_their_own(self):
        """The same source, another sent-by and another call."""
        other = Peer(self.network, THERE, 5080)
        via = "SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bK1;rport"
        self.request()
        for _ in range(2):
            self.request(via=via, peer=other, **{"Call-ID": "d"})
        self.assertEqual((len(self.user.requests), other.count(200)), (2, 2))

    def test_rfc_2543_branches_are_matched_by_the_rest(self):
        """Without the magic cookie: Request-URI, tags, Call-ID, CSeq, topmost Via."""
        for via in ("SIP/2.0/UDP 198.51.100.7", "SIP/2.0/UDP 198.51.100.7;branch=1", "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK"):
            self.user.requests.clear()
            self.request(via=via)
            self.request(via=via)
            self.assertEqual(len(self.user.requests), 1, via)
            self.request(via=via, cseq=2)
            self.assertEqual(len(self.user.requests), 2, via)
            self.clock.advance(40)

    def test_ack_and_cancel_of_rfc_2543_find_their_invite(self):
        via = "SIP/2.0/UDP 198.51.100.7"
        self.user.answering = 0
        self.request("INVITE", via)
        self.request("CANCEL", via)
        (invite,) = self.user.requests
        self.assertIs(self.user.cancels[0][1], invite)
        invite.respond(487)
        self.request("ACK", via, To="<sip:b@b>;tag=whatever")
        self.assertEqual((invite.state, self.user.acks), (tx.CONFIRMED, []))

    def test_ack_to_a_failure_is_absorbed_and_to_a_2xx_passed_on(self):
        """EDGE-CASES 12."""
        self.user.answering = 486
        self.request("INVITE")
        self.request("ACK")
        self.assertEqual(self.user.acks, [])
        self.user.answering = 200
        self.request("INVITE", via="SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK2;rport")
        self.request("ACK", via="SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK3;rport")
        self.request("ACK", via="SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK2;rport")  # as RFC 2543 peers do
        self.assertEqual(len(self.user.acks), 2)

    def test_cancel_finds_its_invite_behind_a_nat_that_rewrites_sent_by(self):
        """EDGE-CASES 5."""
        self.user.answering = 180
        self.request("INVITE")
        self.request("CANCEL", via="SIP/2.0/UDP 10.0.0.1:31337;branch=z9hG4bK1;rport")
        self.assertIs(self.user.cancels[0][1], self.user.requests[0])

    def test_cancel_by_another_path_finds_its_invite_by_sent_by(self):
        """EDGE-CASES 5."""
        self.user.answering = 180
        self.request("INVITE")
        moved = Peer(self.network, "203.0.113.9")
        self.request("CANCEL", peer=moved)
        self.assertIs(self.user.cancels[0][1], self.user.requests[0])

    def test_cancel_of_somebody_elses_branch_finds_nothing(self):
        self.user.answering = 180
        self.request("INVITE")
        stranger = Peer(self.network, "203.0.113.66")
        self.request("CANCEL", via="SIP/2.0/UDP 203.0.113.66;branch=z9hG4bK1;rport", peer=stranger)
        self.assertIsNone(self.user.cancels[0][1])
        self.assertEqual(stranger.count(481), 1)


class ClientMatchingTests(LayerTestCase):
    """RFC 3261 section 17.1.3."""

    def send(self, method=b"OPTIONS", transport="udp"):
        flow = self.successResultOf(self.transports.flow_to(NextHop(transport, THERE, 5060)))
        lines = [b"From: <sip:a@a>;tag=1", b"To: <sip:b@b>", b"Call-ID: c", b"CSeq: 1 " + method]
        return self.layer.request(flow, method, b"sip:b@b", lines, b"", self.user, b"c")

    def test_response_is_matched_by_branch_and_cseq_method(self):
        self.send()
        self.peer.respond(self.peer.expect("OPTIONS"), 200)
        self.network.run(0.01)
        self.assertEqual(self.user.responses, [200])

    def test_request_names_its_own_address_and_asks_for_rport(self):
        """RFC 3261 section 18.1.1, RFC 3581 section 3."""
        self.send()
        via = self.peer.expect("OPTIONS").via
        self.assertEqual((via.host, via.port), (b"192.0.2.1", 5060))
        self.assertIn(b"rport", via.params)
        self.assertTrue(via.branch.startswith(b"z9hG4bK"))

    def test_response_with_another_branch_or_method_is_nobodys(self):
        self.send()
        request = self.peer.expect("OPTIONS")
        data = self.peer.respond(request, 200)
        self.user.stray.clear()
        self.network.run(0.01)
        self.user.responses.clear()
        self.peer.send(data.replace(request.via.branch, request.via.branch + b"x"))
        self.peer.send(data.replace(b"1 OPTIONS", b"1 INVITE"))
        self.network.run(0.01)
        self.assertEqual((self.user.responses, len(self.user.stray)), ([], 2))

    def test_white_space_after_the_branch_is_no_part_of_it(self):
        """RFC 3261 section 25.1: SEMI may have white space around it."""
        self.send()
        request = self.peer.expect("OPTIONS")
        via = b"SIP/2.0/UDP 192.0.2.1:5060;branch=" + request.via.branch
        answer = b"SIP/2.0 200 OK\r\nVia: %b ; rport\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
        self.peer.send(answer % via)
        self.network.run(0.01)
        self.assertEqual(self.user.responses, [200])

    def test_malformed_response_is_dropped_and_counted(self):
        """RFC 4475 section 3.1.2.19 and others: a response is never answered."""
        self.send()
        request = self.peer.expect("OPTIONS")
        answer = self.peer.respond(request, 200)
        self.network.run(0.01)
        for broken in (answer.replace(b"SIP/2.0 200", b"SIP/2.0 2000", 1), answer.replace(b"CSeq: 1", b"CSeq: one"), b"SIP/2.0 200 OK\r\n\r\n"):
            self.peer.send(broken)
        self.network.run(0.01)
        self.assertEqual((self.user.responses, self.layer.counters["malformed"]), ([200], 3))

    def test_unanswered_counts_requests_without_a_final_response(self):
        self.send()
        self.assertEqual(self.layer.unanswered(), 1)
        self.peer.respond(self.peer.expect("OPTIONS"), 200)
        self.network.run(0.01)
        self.assertEqual(self.layer.unanswered(), 0)


class WhereAnswersGoTests(LayerTestCase):
    """RFC 3261 section 18.2, RFC 3581 section 4."""

    def via(self):
        return self.peer.heard[-1][1].via

    def test_rport_is_filled_in_and_the_answer_goes_to_the_source(self):
        natted = Peer(self.network, THERE, 31337)
        self.request(via="SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bK1", peer=natted)
        (_, answer), *_ = natted.heard
        self.assertEqual((answer.via.params[b"received"], answer.via.params[b"rport"]), (b"198.51.100.7", b"31337"))
        self.assertEqual(answer.via.branch, b"z9hG4bK1")

    def test_without_rport_the_answer_goes_to_the_sent_by_port(self):
        odd = Peer(self.network, THERE, 31337)
        self.request(via="SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK1", peer=odd)
        self.assertEqual((len(self.peer.heard), len(odd.heard)), (1, 0))
        self.assertNotIn(b"received", self.via().params)

    def test_without_rport_behind_a_nat_the_answer_goes_to_the_source(self):
        odd = Peer(self.network, THERE, 31337)
        self.request(via="SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK1", peer=odd)
        self.assertEqual((len(self.peer.heard), len(odd.heard)), (0, 1))
        self.assertEqual(odd.heard[0][1].via.params[b"received"], b"198.51.100.7")

    def test_other_vias_and_parameters_are_kept_as_they_came(self):
        """RFC 3261 section 8.2.6.2."""
        via = 'SIP/2.0/UDP host.example;rport;x="a,b;c";branch=z9hG4bK1, SIP/2.0/UDP second;branch=z9hG4bK2'
        self.request(via=via)
        values = self.peer.heard[-1][1].items(b"via")
        self.assertEqual(values[0], b'SIP/2.0/UDP host.example;x="a,b;c";branch=z9hG4bK1;received=198.51.100.7;rport=5060')
        self.assertEqual(values[1], b"SIP/2.0/UDP second;branch=z9hG4bK2")

    def test_received_and_rport_that_the_sender_wrote_are_replaced(self):
        self.request(via="SIP/2.0/UDP 10.0.0.9;received=203.0.113.66;RPORT=1;branch=z9hG4bK1")
        params = self.via().params
        self.assertEqual((params[b"received"], params[b"rport"]), (b"198.51.100.7", b"5060"))

    def test_maddr_is_not_followed(self):
        """ROBUSTNESS 2.6: nothing goes where the network says."""
        other = Peer(self.network, "203.0.113.66")
        self.request(via="SIP/2.0/UDP 198.51.100.7;maddr=203.0.113.66;branch=z9hG4bK1")
        self.assertEqual(other.heard, [])
        self.assertEqual(len(self.peer.heard), 1)

    def test_answer_over_a_closed_connection_goes_to_the_sent_by_address_over_a_new_one(self):
        """RFC 3261 section 18.2.2."""
        peer = Peer(self.network, "198.51.100.8", transport="tcp")
        self.user.answering = 0
        self.request(via="SIP/2.0/TCP 198.51.100.8:5060;branch=z9hG4bK1", peer=peer)
        peer.connections[0].transport.abortConnection()
        self.network.run(0.01)
        self.user.requests[0].respond(200)
        self.network.run(0.1)
        self.assertEqual(peer.count(200), 1)

    def test_answer_that_cannot_be_delivered_is_counted(self):
        peer = Peer(self.network, "198.51.100.8", transport="tcp")
        self.user.answering = 0
        self.request(via="SIP/2.0/TCP 198.51.100.8:5099;branch=z9hG4bK1", peer=peer)
        peer.connections[0].transport.abortConnection()
        self.network.run(0.01)
        self.user.requests[0].respond(200)
        self.network.run(0.1)
        self.assertEqual((peer.heard, self.layer.counters["undeliverable"]), ([], 1))


class StatelessTests(LayerTestCase):
    """RFC 3261 section 8.2.7: answers that keep nothing."""

    def test_refusal_keeps_nothing_and_has_the_same_tag_each_time(self):
        self.user.refusal = Refusal(403)
        for _ in range(3):
            self.request("INVITE")
        self.assertEqual((self.layer.servers, self.user.requests), ({}, []))
        tags = {message.to.tag for _, message in self.peer.heard}
        self.assertEqual((len(self.peer.heard), len(tags)), (3, 1))
        self.assertTrue(tags.pop())

    def test_ack_of_a_stateless_refusal_is_absorbed(self):
        self.user.refusal = Refusal(403)
        self.request("INVITE")
        self.request("ACK")
        self.assertEqual(len(self.peer.heard), 1)

    def test_refusal_without_a_status_is_silence(self):
        """EDGE-CASES 44: scanners."""
        self.user.refusal = Refusal(0)
        self.request("INVITE")
        self.assertEqual((self.peer.heard, self.layer.servers), ([], {}))

    def test_malformed_request_is_400_with_a_reason(self):
        """RFC 4475 section 3.1.2: where it can be answered."""
        for extra in ({"CSeq": "1 BYE"}, {"CSeq": "x OPTIONS"}, {"From": '"open <sip:a@a>'}, {"Call-ID": None}, {"To": None}, {"Content-Length": "-5"}):
            self.peer.heard.clear()
            self.request(**extra)
            ((_, answer),) = self.peer.heard
            self.assertEqual(answer.status, 400, extra)
            self.assertTrue(answer.reason.startswith(b"Bad Request ("), answer.reason)

    def test_unknown_version_is_505(self):
        """RFC 4475 section 3.1.2.16."""
        self.peer.send(b"OPTIONS sip:b@b SIP/7.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1;rport\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n")
        self.peer.expect(505)

    def test_request_without_a_usable_via_is_dropped_and_counted(self):
        """Nothing says where an answer would go. ROBUSTNESS 2.2."""
        for via in ("SIP/2.0/UDP host:-31;branch=z9hG4bK1", "SIP/2.0/UDP host:0", "SIP/2.0/UDP host:65536", "", "rubbish"):
            self.request(via=via)
        self.assertEqual((self.peer.heard, self.layer.counters["malformed"]), ([], 5))

    def test_malformed_ack_is_never_answered(self):
        self.request("ACK", CSeq="x ACK")
        self.assertEqual(self.peer.heard, [])

    def test_line_ends_in_what_an_answer_must_copy_cost_no_traceback(self):
        """ROBUSTNESS promise 4."""
        for char in ("\n", "\r", "\0"):
            self.request(From=f"<sip:a@a>{char};tag=1")
            self.request(via=f"SIP/2.0/UDP 198.51.100.7{char};branch=z9hG4bK1;rport")
        self.request()
        self.assertEqual(self.peer.count(200), 1)

    @given(strategies.binary(max_size=200))
    def test_any_datagram_is_survived(self, data):
        """ROBUSTNESS promise 4: no traceback, and the next good request is served."""
        self.setUp()
        self.peer.send(data)
        self.network.run(0.01)
        self.request()
        self.assertEqual(self.peer.count(200), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(strategies.data())
    def test_any_change_of_a_good_request_is_survived(self, data):
        """ROBUSTNESS promise 4."""
        self.setUp()
        good = self.request("INVITE", cseq=7)
        start = data.draw(strategies.integers(0, len(good)))
        end = data.draw(strategies.integers(start, min(len(good), start + 10)))
        self.peer.send(good[:start] + data.draw(strategies.binary(max_size=10)) + good[end:])
        self.network.run(0.01)
        self.peer.heard.clear()
        self.request(via="SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKnext;rport")
        self.assertEqual([message.cseq[1] for _, message in self.peer.heard if isinstance(message, Response)][-1:], [b"OPTIONS"])
        self.assertEqual(self.flushLoggedErrors(), [])


class TapTests(LayerTestCase):
    def test_tap_sees_every_message_of_a_transaction_as_it_is_on_the_wire(self):
        """For ladders and traces."""
        seen = []
        self.layer.tap = lambda call_id, sent, data, method, flow: seen.append((call_id, sent, data[:13], method))
        self.user.answering = 486
        self.request("INVITE")
        self.request("INVITE")
        self.request("ACK")
        self.assertEqual(
            seen,
            [
                (b"c", False, b"INVITE sip:b@", b"INVITE"),
                (b"c", True, b"SIP/2.0 486 B", b"INVITE"),
                (b"c", True, b"SIP/2.0 486 B", b"INVITE"),
                (b"c", False, b"ACK sip:b@b S", b"ACK"),
            ],
        )
