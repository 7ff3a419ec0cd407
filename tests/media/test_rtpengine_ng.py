"""Commands to rtpengine survive whatever a node, or somebody between, does with them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.media.ng import NGClient, NGRefused, NGSilence
from calltrack.media.ng_bencode import decode, encode

VALUES = st.recursive(
    st.integers(-(2**63), 2**63) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


class BencodeTests(SynchronousTestCase):
    @given(VALUES)
    def test_what_is_written_is_read_back(self, value) -> None:
        self.assertEqual(decode(encode(value)), value)

    @given(st.binary(max_size=200) | st.text("0123456789ilde:-", max_size=60).map(str.encode))
    def test_bytes_are_a_value_or_a_value_error(self, data) -> None:
        try:
            decode(data)
        except ValueError:
            pass

    def test_nonsense_is_named(self) -> None:
        for data, words in (
            (b"", "no value"), (b"i1", "no whole number"), (b"i--1e", "no whole number"), (b"5:abc", "cut off"),
            (b"99999999999:", "no value"), (b"-1:a", "no value"), (b"d1:ae", "no text, or without"), (b"di1ei2ee", "no text"),
            (b"i1ei2e", "follows"), (b"l" * 100, "levels"), (b"l" * 1_000_000, "levels"), (b"i" + b"9" * 100 + b"e", "no whole"),
        ):  # fmt: skip
            error = self.assertRaises(ValueError, decode, data)
            self.assertIn(words, str(error), data[:20])


class Wire:
    """In place of the reactor and of a UDP transport. `sent`: what went out."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.fault: OSError | None = None
        self.interface = ""
        self.peer: tuple[str, int] | None = None
        self.open = False

    def listenUDP(self, port: int, protocol: NGClient, interface: str = "", maxPacketSize: int = 8192) -> "Wire":
        assert maxPacketSize >= 65535, "a longer reply would be cut off in silence"
        self.interface = interface
        self.open = True
        protocol.transport = self
        return self

    def write(self, packet: bytes, peer: tuple[str, int]) -> None:
        self.peer = peer
        if self.fault is not None:
            raise self.fault
        self.sent.append(packet)

    def stopListening(self) -> None:
        self.open = False


class ClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.wire = Clock(), Wire()
        self.client = NGClient(self.clock, "192.0.2.7", 2223, 1.0)
        self.client.start(self.wire)

    def reply(self, value, cookie: bytes = b"") -> None:
        body = value if isinstance(value, bytes) else encode(value)
        self.client.datagramReceived(b"%b %b" % (cookie or self.cookie(), body), ("192.0.2.7", 2223))

    def cookie(self, number: int = -1) -> bytes:
        return self.wire.sent[number].partition(b" ")[0]

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds / 0.05))

    def test_a_command_is_a_cookie_and_a_dictionary_to_the_node_alone(self) -> None:
        self.client.command("query", {"call-id": "a", "delete delay": 0})
        self.assertEqual(self.wire.peer, ("192.0.2.7", 2223))
        cookie, _, body = self.wire.sent[0].partition(b" ")
        self.assertEqual(decode(body), {"command": b"query", "call-id": b"a", "delete delay": 0})
        self.client.command("query")
        self.assertNotEqual(self.cookie(), cookie)

    def test_ipv6_nodes_are_asked_over_ipv6(self) -> None:
        wire = Wire()
        client = NGClient(self.clock, "2001:db8::7", 2223, 1.0)
        client.start(wire)
        self.assertEqual((wire.interface, str(client)), ("::", "[2001:db8::7]:2223"))

    def test_the_reply_is_what_the_command_fires_with(self) -> None:
        answer = self.client.command("ping")
        self.reply({"result": "pong"})
        self.assertEqual(self.successResultOf(answer), {"result": b"pong"})
        self.assertEqual((self.client.waiting, self.clock.getDelayedCalls()), (0, []))

    def test_a_command_is_repeated_with_the_same_cookie_until_its_time_is_over(self) -> None:
        answer = self.client.command("ping")
        self.pass_time(0.95)
        self.assertEqual(len(self.wire.sent), 4)
        self.assertEqual(len(set(self.wire.sent)), 1)
        self.assertNoResult(answer)
        self.pass_time(0.1)
        self.assertIn("within 1 s", str(self.failureResultOf(answer, NGSilence).value))
        self.assertEqual((self.client.counters["repeats"], self.client.counters["timeouts"]), (3, 1))
        self.assertEqual((self.client.waiting, self.clock.getDelayedCalls()), (0, []))

    def test_an_error_is_the_node_s_own_words_made_harmless(self) -> None:
        answer = self.client.command("offer")
        self.reply({"result": "error", "error-reason": "Ran out of \x1b[31mports\r\n" + "x" * 500})
        words = str(self.failureResultOf(answer, NGRefused).value)
        self.assertIn("Ran out of ?[31mports??", words)
        self.assertLess(len(words), 260)

    def test_nonsense_a_wrong_cookie_and_late_replies_are_dropped_and_counted(self) -> None:
        answer = self.client.command("ping")
        for nonsense in (b"", b"\xff\xfe", b"i1e", b"le", b"d4:pong1:xe", b"d6:resulti1ee", b"l" * 60000, b"5:ab"):
            self.reply(nonsense)
        self.reply({"result": "pong"}, b"somebody-else")
        self.client.datagramReceived(b"", ("192.0.2.7", 2223))
        for source in (("192.0.2.8", 2223), ("192.0.2.7", 2224)):
            self.client.datagramReceived(b"%b %b" % (self.cookie(), encode({"result": "pong"})), source)
        self.assertNoResult(answer)
        self.pass_time(1.1)
        self.failureResultOf(answer, NGSilence)
        self.reply({"result": "pong"})
        counters = self.client.counters
        self.assertEqual((counters["nonsense"], counters["strange"], counters["late"]), (8, 4, 1))

    def test_a_good_reply_after_nonsense_counts(self) -> None:
        answer = self.client.command("ping")
        self.reply(b"nonsense")
        self.reply({"result": "pong"})
        self.assertEqual(self.successResultOf(answer), {"result": b"pong"})

    def test_a_huge_reply_is_read(self) -> None:
        answer = self.client.command("query")
        self.reply({"result": "ok", "tags": {f"tag-{n}": "x" * 100 for n in range(500)}})
        self.assertEqual(len(self.successResultOf(answer)["tags"]), 500)

    def test_replies_may_come_in_any_order(self) -> None:
        first, second = self.client.command("ping"), self.client.command("ping")
        self.reply({"result": "pong", "n": 2}, self.cookie(1))
        self.reply({"result": "pong", "n": 1}, self.cookie(0))
        self.assertEqual((self.successResultOf(first)["n"], self.successResultOf(second)["n"]), (1, 2))

    def test_a_send_that_fails_is_a_loss_on_the_way(self) -> None:
        self.wire.fault = OSError("network is unreachable")
        answer = self.client.command("ping")
        self.wire.fault = None
        self.pass_time(0.2)
        self.reply({"result": "pong"})
        self.successResultOf(answer)
        self.assertEqual(self.client.counters["unsent"], 1)

    def test_a_command_too_large_for_a_datagram_is_refused_at_once(self) -> None:
        self.failureResultOf(self.client.command("offer", {"sdp": b"x" * 65507}), NGRefused)
        self.assertEqual(self.wire.sent, [])

    def test_stopping_fails_what_waits(self) -> None:
        answer = self.client.command("ping")
        self.client.stop()
        self.failureResultOf(answer, NGSilence)
        self.assertFalse(self.wire.open)
        self.failureResultOf(self.client.command("ping"), NGSilence)
        self.assertEqual(self.clock.getDelayedCalls(), [])
