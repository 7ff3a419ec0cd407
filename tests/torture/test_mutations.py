"""Whatever arrives, as a new message, as an answer or within a call: nothing is raised, nothing is logged as a failure,
nothing is left when the timers have run out, and the next OPTIONS is answered (ROBUSTNESS 4)."""

from typing import Callable

from hypothesis import given
from hypothesis import strategies as st

from calltrack.sip.message import Request
from calltrack.testing.engine import NUMBER
from calltrack.testing.peers import Peer, PeerDialog, sdp
from tests.exploring import explored
from tests.torture.case import IPV4, TortureTestCase, Torment
from tests.torture.mutations import mutated, tortures

OFFER, ANSWER = sdp(IPV4[1]), sdp(IPV4[2], 6000)
STATUSES = (100, 180, 183, 199, 200, 202, 299, 302, 401, 407, 408, 422, 480, 481, 486, 487, 491, 500, 503, 600, 603, 699)


class Suspended(Peer):
    """Says everything, and sends nothing."""

    def send(self, data: bytes) -> None:
        pass


class MutationTests(TortureTestCase):
    def finish(self, torment: Torment, note: str) -> None:
        """The engine answers, forgets, and has nothing to say about failures."""
        watch = Peer(torment.network, IPV4[1], 5070, engine=torment.trunk.engine)
        watch.request("OPTIONS", PeerDialog(b"watch", b"<sip:w@provider.example>;tag=w", b"<sip:e@e>", b"sip:e@e", 0))
        watch.expect(200, "OPTIONS")
        self.assertEqual(torment.left(), [], note)
        records = [record.id for record in torment.engine.ledger.finals]
        self.assertEqual(len(records), len(set(records)), note)
        self.assertEqual(self.flushLoggedErrors(), [], note)

    @explored(150)
    @given(tortures, st.sampled_from(("udp", "tcp")), st.sampled_from((0, 180, 200, 486)))
    def test_new_message(self, data, transport, answer):
        torment = Torment(transport=transport)
        torment.trunk.send(data)
        torment.network.run(0.1)
        for invite in _invites(torment.office):
            if answer:
                torment.office.respond(invite, answer, sdp=ANSWER if answer == 200 else b"")
        torment.network.run(1)
        self.finish(torment, repr(data))

    @explored(100)
    @given(st.data())
    def test_answer_of_a_target(self, data):
        torment = Torment()
        torment.trunk.invite(NUMBER, body=data.draw(st.sampled_from((OFFER, b""))))
        invite = torment.office.expect("INVITE")
        answers = data.draw(st.lists(st.sampled_from(STATUSES), min_size=1, max_size=3))
        for status in answers:
            original = _unsent_answer(torment, invite, status)
            answer = data.draw(mutated(st.just(original)))
            torment.office.send(answer)
            torment.network.run(data.draw(st.sampled_from((0.01, 0.6, 5))))
        self.finish(torment, repr(answers))

    @explored(100)
    @given(st.data())
    def test_message_within_a_call(self, data):
        torment = Torment()
        trunk, office = torment.trunk, torment.office
        trunk.invite(NUMBER, body=OFFER)
        office.respond(office.expect("INVITE"), 200, sdp=ANSWER)
        office.expect("ACK")
        trunk.expect(200)
        trunk.ack()
        torment.network.run(0.1)
        methods = data.draw(
            st.lists(st.sampled_from(("BYE", "INFO", "INVITE", "UPDATE", "ACK", "REFER", "PRACK", "CANCEL")), max_size=3)
        )
        for method in methods:
            peer = data.draw(st.sampled_from((trunk, office)))
            original = _unsent_request(peer, method)
            peer.send(data.draw(mutated(st.just(original))))
            torment.network.run(data.draw(st.sampled_from((0.01, 0.6, 5))))
        trunk.dialog.cseq += 100
        trunk.bye()
        torment.network.run(1)
        for message in list(office.inbox):
            if isinstance(message, Request) and message.method == b"BYE":
                office.respond(message, 200)
        self.finish(torment, repr(methods))


def _invites(peer: Peer) -> list[Request]:
    return [one for one in peer.inbox if isinstance(one, Request) and one.method == b"INVITE"]


def _unsent(peer: Peer, say: Callable[[Suspended], bytes]) -> bytes:
    """What `peer` would send."""
    double = Suspended.__new__(Suspended)
    double.__dict__.update(peer.__dict__)
    said = say(double)
    peer._count = double._count  # the next one has another branch
    return said


def _unsent_answer(torment: Torment, invite: Request, status: int) -> bytes:
    description = ANSWER if 180 < status < 300 else b""
    return _unsent(torment.office, lambda office: office.respond(invite, status, sdp=description))


def _unsent_request(peer: Peer, method: str) -> bytes:
    body = sdp(peer.place[0], version=2) if method in ("INVITE", "UPDATE") else b""
    return _unsent(peer, lambda double: double.request(method, peer.dialog, body=body))
