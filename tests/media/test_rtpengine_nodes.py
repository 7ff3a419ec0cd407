"""Several rtpengine nodes, some of which die or lie: where calls go, and that no call fails that could go on."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MediaUnavailable, UnusableSDP
from calltrack.media.rtpengine import RTPEngineRelay
from calltrack.media.rtpengine_settings import NodeAddress, RTPEngineSettings
from calltrack.media.settings import MediaSettings
from calltrack.testing.media_peers import HOST, describe, host_in, ports_in
from calltrack.tracking.model import MediaFigures
from tests.media.rtpengine_nodes import FakeNode, FakeReactor

SILENT = lambda name, fields: None  # noqa: E731


def figures(packets: int = 100, errors: int = 0) -> dict:
    """What a node says it has counted, of both sides alike."""
    streams = [{"flags": ["RTP"], "SSRC": 7, "stats": {"packets": packets, "bytes": packets * 172, "errors": errors}}]
    party = {"medias": [{"streams": [*streams, {"flags": ["RTCP"], "stats": {"packets": 9, "bytes": 9, "errors": 0}}]}]}
    return {
        "tags": {"caller": party, "target-1": party},
        "SSRC": {"7": {"cumulative loss": 3, "average MOS": {"jitter": 5}}},
    }


class NodesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.one, self.two = FakeNode(), FakeNode()
        self.reactor = FakeReactor(at_1=self.one, at_2=self.two)
        self.expired: list[str] = []

    def make(self, *nodes: NodeAddress, timeout: float = 60, **settings) -> RTPEngineRelay:
        nodes = nodes or (NodeAddress(HOST, 1), NodeAddress(HOST, 2))
        chosen = RTPEngineSettings(nodes=nodes, **settings)
        self.relay = RTPEngineRelay(self.reactor, MediaSettings(timeout=timeout, rtpengine=chosen))
        self.successResultOf(self.relay.start())
        self.addCleanup(self.relay.stop)
        self.pass_time(0.1)
        return self.relay

    def pass_time(self, seconds: float) -> None:
        self.reactor.pump([0.05] * round(seconds / 0.05))

    def open(self, call_id: str = "a-call"):
        return self.relay.open(call_id, lambda: self.expired.append(call_id))

    def offer(self, session, target: str = "target-1", seconds: float = 0.1, **changes):
        offered = session.offer("caller", target, describe(HOST, 4000, **changes), HOST, HOST)
        self.pass_time(seconds)
        return offered

    def answer(self, session, seconds: float = 0.1, **changes):
        answered = session.answer("target-1", "caller", describe(HOST, 5000, **changes), HOST, HOST)
        self.pass_time(seconds)
        return answered

    def talk(self, call_id: str = "a-call"):
        session = self.open(call_id)
        self.successResultOf(self.offer(session))
        self.successResultOf(self.answer(session))
        session.connect("target-1")
        self.pass_time(0.1)
        return session


class ChoiceTests(NodesCase):
    def test_new_calls_go_by_weight_and_stay(self) -> None:
        self.make(NodeAddress(HOST, 1, 3), NodeAddress(HOST, 2, 1))
        sessions = [self.talk(f"call-{number}") for number in range(40)]
        taken = Counter(str(session.node.node) for session in sessions)
        self.assertGreater(taken[f"{HOST}:1"], taken[f"{HOST}:2"])
        self.assertEqual(len(self.one.calls) + len(self.two.calls), 40)
        for session in sessions:
            self.assertEqual(session.node.node.client.port == 1, session.call_id.encode() in self.one.calls)

    def test_a_silent_node_costs_a_call_its_timeout_and_the_next_ones_nothing(self) -> None:
        self.make(NodeAddress(HOST, 1, 9999), NodeAddress(HOST, 2))
        self.one.lie = SILENT
        offered = self.offer(self.open(), seconds=1.2)
        self.assertEqual(host_in(self.successResultOf(offered)), self.two.host)
        asked = len(self.one.names())
        self.successResultOf(self.offer(self.open("next")))
        self.assertEqual(len(self.one.names()), asked)
        self.assertEqual(self.relay.status()["failovers"], 1)
        self.assertIn("has not answered 'offer' within 1 s", self.relay.status()["why"])

    def test_a_node_that_answers_pings_again_gets_calls_again(self) -> None:
        self.make(NodeAddress(HOST, 1), ping=5.0)
        self.one.lie = SILENT
        self.pass_time(7)
        self.assertIn("ping", str(self.assertRaises(MediaUnavailable, self.open)))
        self.one.lie = None
        self.pass_time(5)
        self.talk()
        self.assertNotIn("why", self.relay.status())

    def test_a_node_that_is_full_or_talks_nonsense_is_left_for_another(self) -> None:
        self.make(NodeAddress(HOST, 1, 9999), NodeAddress(HOST, 2))
        lies = (
            {"result": "error", "error-reason": "Parallel session limit reached"},
            {"result": "load limit"},
            {"result": "ok"},
            {"result": "ok", "sdp": "v=0"},
            {"result": "ok", "sdp": [1]},
            {"result": "ok", "sdp": "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\n"},
            {"result": "ok", "sdp": "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nm=audio 0 RTP/AVP 8\r\n"},
            b"no bencode at all",
        )
        for number, lie in enumerate(lies):
            self.one.lie = lambda name, fields, lie=lie: self.one.answer(name, fields) if name == "ping" else lie
            offered = self.offer(self.open(f"call-{number}"), seconds=1.2)
            self.assertEqual(host_in(self.successResultOf(offered)), self.two.host, lie)
            self.pass_time(6)  # until it has answered a ping
        self.assertEqual(self.relay.status()["failovers"], len(lies))

    def test_without_a_node_left_the_reason_is_told(self) -> None:
        self.make()
        self.one.lie = self.two.lie = lambda name, fields: {"result": "error", "error-reason": "Ran out of ports"}
        failed = self.failureResultOf(self.offer(self.open(), seconds=0.5), MediaUnavailable)
        self.assertIn("Ran out of ports", str(failed.value))
        self.one.lie = self.two.lie = SILENT
        failed = self.failureResultOf(self.offer(self.open("next"), seconds=3), MediaUnavailable)
        self.assertIn("has not answered", str(failed.value))
        self.assertIn("has not answered", str(self.assertRaises(MediaUnavailable, self.open, "third")))

    def test_a_call_that_ends_while_its_offer_waits_leaves_nothing_on_the_node(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session = self.open()
        offered = session.offer("caller", "target-1", describe(HOST, 4000), HOST, HOST)
        closed = session.close()
        self.pass_time(0.1)
        self.successResultOf(offered)
        self.successResultOf(closed)
        self.assertEqual((self.one.names(), self.one.calls), (["offer", "delete"], set()))
        self.failureResultOf(self.offer(session), MediaUnavailable)


class CallTests(NodesCase):
    def test_a_call_is_offer_answer_and_delete(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session = self.talk()
        self.one.figures = figures()
        closed = session.close()
        self.pass_time(0.1)
        self.assertEqual(self.one.names(), ["offer", "answer", "delete"])
        final = self.successResultOf(closed)
        self.assertEqual((final.caller.packets, final.caller.lost, final.caller.jitter_ms), (100, 3, 5.0))
        self.assertEqual(final.verdict, "both-ways")
        self.assertIs(self.successResultOf(session.close()), final)

    def test_an_answer_said_twice_is_told_once(self) -> None:
        """183 and 200 with the same description."""
        self.make(NodeAddress(HOST, 1))
        session = self.open()
        self.offer(session)
        first = self.successResultOf(self.answer(session))
        self.assertEqual(self.successResultOf(session.answer("target-1", "caller", describe(HOST, 5000), HOST, HOST)), first)
        self.assertEqual(self.one.names(), ["offer", "answer"])

    def test_a_change_is_told_when_it_is_answered(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session = self.talk()
        moved = session.offer("caller", "target-1", describe(HOST, 4444), HOST, HOST)
        self.assertEqual(ports_in(self.successResultOf(moved)), [30002])
        self.assertEqual(self.one.names(), ["offer", "answer"])
        self.successResultOf(self.answer(session))
        self.assertEqual(self.one.names(), ["offer", "answer", "offer", "answer"])
        self.assertIn(b"m=audio 4444 ", self.one.asked[-2][1]["sdp"])

    def test_strict_source_is_asked_for_and_learning_only_behind_a_nat(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session, public = self.open(), "1.2.3.4"
        offered = session.offer("caller", "target-1", describe("192.168.0.7", 4000), public, HOST)
        self.pass_time(0.1)
        self.successResultOf(offered)
        (_, asked) = self.one.asked[-1]
        self.assertIn(b"strict-source", asked["flags"])
        self.assertIn(b"endpoint-learning-heuristic", asked["flags"])
        self.assertIn(b"c=IN IP4 1.2.3.4", asked["sdp"])
        self.successResultOf(self.answer(session))
        self.assertIn(b"endpoint-learning-off", self.one.asked[-1][1]["flags"])
        self.assertEqual((asked["ICE"], asked["address family"]), (b"remove", b"IP4"))

    def test_interfaces_are_named_by_the_way_a_description_goes(self) -> None:
        self.make(NodeAddress(HOST, 1), interfaces=("outside", "inside"))
        self.talk()
        directions = [asked["direction"] for name, asked in self.one.asked if name in ("offer", "answer")]
        self.assertEqual(directions, [[b"outside", b"inside"], [b"inside", b"outside"]])

    def test_everything_is_plain_rtp_to_the_node(self) -> None:
        """SRTP and T.38 pass as they are: the node is told nothing that it could act on."""
        self.make(NodeAddress(HOST, 1))
        session = self.open()
        extra = ("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc", "a=candidate:1 1 UDP 1 10.0.0.1 9 typ host", "m=image 4002 udptl t38")
        offered = self.successResultOf(self.offer(session, media="audio {port} RTP/SAVP 8 101", extra=extra))
        self.assertIn(b"a=crypto", offered)
        self.assertIn(b"RTP/SAVP 8 101", offered)
        self.assertIn(b"udptl t38", offered)
        told = self.one.asked[-1][1]["sdp"]
        self.assertNotIn(b"crypto", told)
        self.assertNotIn(b"candidate", told)
        self.assertEqual(told.count(b" RTP/AVP "), 2)

    def test_a_description_that_is_no_description_is_refused_and_not_told(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session = self.open()
        self.failureResultOf(session.offer("caller", "target-1", b"v=0\r\nnonsense", HOST, HOST), UnusableSDP)
        self.assertEqual(self.one.names(), [])

    def test_a_node_that_dies_in_a_call_fails_the_change_and_the_call_goes_on(self) -> None:
        self.make()
        session = self.talk()
        self.one.lie = self.two.lie = SILENT
        self.successResultOf(session.offer("caller", "target-1", describe(HOST, 4444), HOST, HOST))
        answered = self.answer(session, seconds=1.2)
        self.failureResultOf(answered, MediaUnavailable)
        self.pass_time(300)
        self.assertEqual(self.expired, [])  # nobody knows whether it is silent
        closed = session.close()
        self.pass_time(1.2)
        self.assertEqual(self.successResultOf(closed), MediaFigures())

    def test_last_known_figures_count_when_the_node_is_gone_at_the_end(self) -> None:
        self.make()
        session = self.talk()
        self.one.figures = self.two.figures = figures()
        self.pass_time(7)
        self.one.lie = self.two.lie = SILENT
        closed = session.close()
        self.pass_time(1.2)
        self.assertEqual(self.successResultOf(closed).verdict, "both-ways")

    def test_a_call_that_a_restarted_node_has_forgotten_begins_anew_with_the_next_change(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session = self.talk()
        self.one.calls.clear()
        self.pass_time(7)
        offered = self.offer(session)
        self.successResultOf(offered)
        self.assertEqual(self.one.names()[-1], "offer")
        self.successResultOf(self.answer(session))
        self.assertEqual(self.one.names()[-1], "answer")
        self.assertEqual(self.one.calls, {b"a-call"})

    def test_a_forgotten_call_is_a_silent_one(self) -> None:
        self.make(NodeAddress(HOST, 1), timeout=20)
        self.talk()
        self.one.calls.clear()
        self.pass_time(17)
        self.assertEqual(self.expired, [])
        self.pass_time(5)
        self.assertEqual(self.expired, ["a-call"])

    def test_strangers_alone_do_not_keep_a_call_alive(self) -> None:
        self.make(NodeAddress(HOST, 1), timeout=20)
        self.talk()
        for count in range(12):
            self.one.figures = figures(1000 * count, 1000 * count)
            self.pass_time(2)
        self.assertEqual(self.expired, ["a-call"])

    def test_figures_of_another_shape_count_as_nothing(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session = self.talk()
        for wrong in (
            {"tags": 1}, {"tags": {"caller": [1]}}, {"tags": {"caller": {"medias": {"streams": 1}}}},
            {"tags": {"caller": {"medias": [{"streams": [{"flags": ["RTP"], "stats": {"packets": "many", "errors": -3}}]}]}}},
            {"tags": {"caller": {"medias": [[1], {"streams": [7, {"flags": ["RTP"], "stats": []}]}]}}, "SSRC": []},
        ):  # fmt: skip
            self.one.figures = wrong
            asked = session.figures()
            self.pass_time(0.1)
            self.assertEqual(self.successResultOf(asked).verdict, "none")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_targets_that_did_not_get_the_call_go_from_the_node(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session = self.open()
        self.offer(session)
        self.offer(session, "target-2")
        self.successResultOf(self.answer(session))
        session.connect("target-1")
        self.pass_time(0.1)
        name, asked = self.one.asked[-1]
        self.assertEqual((name, asked["to-tag"]), ("delete", b"target-2"))

    def test_stopping_ends_every_call_at_once(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session = self.talk()
        self.one.lie = SILENT
        self.successResultOf(self.relay.stop())
        self.successResultOf(session.close())
        self.assertRaises(MediaUnavailable, self.open)
        self.pass_time(0.05)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class RecordingTests(NodesCase):
    def tapped(self):
        session = self.open()
        self.assertRaises(MediaUnavailable, session.tap, object())
        self.successResultOf(self.offer(session))
        self.successResultOf(self.answer(session))
        session.connect("target-1")
        self.pass_time(0.1)
        return session

    def test_a_call_that_somebody_wants_to_hear_is_recorded_once_it_is_answered(self) -> None:
        self.make(NodeAddress(HOST, 1))
        session = self.tapped()
        self.assertEqual(self.one.names(), ["offer", "answer", "start recording"])
        self.assertEqual(session.recording, f"rtpengine:{HOST}:1/a-call")
        session.tap(None)
        self.pass_time(0.1)
        self.assertEqual(self.one.names()[-1], "stop recording")
        self.assertEqual(session.recording, f"rtpengine:{HOST}:1/a-call")

    def test_a_node_that_cannot_record_leaves_the_call_alone(self) -> None:
        self.make(NodeAddress(HOST, 1))
        self.one.lie = lambda name, fields: (
            {"result": "error", "error-reason": "no"} if name == "start recording" else self.one.answer(name, fields)
        )
        session = self.tapped()
        self.assertEqual(session.recording, "")
        self.successResultOf(self.offer(session))
