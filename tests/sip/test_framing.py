"""A byte stream cut into messages (RFC 3261 section 18.3, RFC 5626 section 3.5.1; EDGE-CASES 17)."""

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MalformedMessage
from calltrack.sip.framing import Framer
from calltrack.sip.message import MAX_HEAD, MAX_MESSAGE

WITH_BODY = b"INFO sip:a@b SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 10\r\n\r\n\r\n\r\nbody\r\n"
COMPACT = b"OPTIONS sip:a@b SIP/2.0\r\nL : 3\r\nCall-ID: 2\r\n\r\nxyz"
WITHOUT = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 3\r\n\r\n"
MESSAGES = [WITH_BODY, COMPACT, WITHOUT]


class FramerTests(SynchronousTestCase):
    def setUp(self):
        self.framer = Framer()

    def feed(self, *pieces):
        messages, pings = [], 0
        for piece in pieces:
            found, ping = self.framer.feed(piece)
            messages += found
            pings += ping
        return messages, pings

    @given(strategies.lists(strategies.sampled_from([*MESSAGES, b"\r\n", b"\r\n\r\n"]), max_size=8), strategies.data())
    def test_messages_are_found_however_they_are_split_and_merged(self, parts, data):
        """EDGE-CASES 17."""
        stream = b"".join(parts)
        cuts = sorted(data.draw(strategies.lists(strategies.integers(0, len(stream)), max_size=12)))
        pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)])]
        framer, found = Framer(), []
        for piece in pieces:
            found += framer.feed(piece)[0]
        self.assertEqual(found, [part for part in parts if part in MESSAGES])
        self.assertFalse(framer.partial)

    def test_byte_by_byte(self):
        stream = b"".join(MESSAGES)
        self.assertEqual(self.feed(*(stream[i : i + 1] for i in range(len(stream))))[0], MESSAGES)

    def test_missing_content_length_means_no_body(self):
        """EDGE-CASES 17; RFC 3261 section 20.14 wants one over TCP, and peers forget it."""
        self.assertEqual(self.feed(WITHOUT + WITH_BODY)[0], [WITHOUT, WITH_BODY])

    def test_two_crlf_are_a_ping(self):
        """RFC 5626 section 3.5.1."""
        self.assertEqual(self.feed(b"\r\n\r\n"), ([], 1))

    def test_ping_in_pieces_is_one_ping(self):
        self.assertEqual(self.feed(b"\r", b"\n\r", b"\n"), ([], 1))

    def test_single_crlf_is_a_pong_and_wants_nothing(self):
        self.assertEqual(self.feed(b"\r\n", WITHOUT, b"\r\n"), ([WITHOUT], 0))

    def test_ping_before_a_message(self):
        self.assertEqual(self.feed(b"\r\n\r\n" + WITHOUT), ([WITHOUT], 1))

    def test_partial_is_a_begun_message_and_no_keep_alive(self):
        self.feed(b"\r\n\r")
        self.assertFalse(self.framer.partial)
        self.feed(b"\nOPT")
        self.assertTrue(self.framer.partial)

    def test_flood_of_crlf_costs_little(self):
        """ROBUSTNESS 2.13: 60 kB of CRLF."""
        messages, pings = self.feed(b"\r\n" * 30_000, WITHOUT)
        self.assertEqual((messages, pings), ([WITHOUT], 1))
        self.assertFalse(self.framer.partial)

    def test_endless_head_is_broken(self):
        """ROBUSTNESS 2.13: 16 kB of headers."""
        self.feed(b"OPTIONS sip:a SIP/2.0\r\nX: ")
        self.assertRaises(MalformedMessage, self.feed, *[b"x" * 1000] * (MAX_HEAD // 1000 + 1))

    def test_body_beyond_the_limit_is_broken_before_it_comes(self):
        """ROBUSTNESS 2.13: 64 kB a message."""
        self.assertRaises(MalformedMessage, self.feed, b"INFO sip:a SIP/2.0\r\nContent-Length: %d\r\n\r\n" % MAX_MESSAGE)

    def test_content_length_that_is_no_number_is_broken(self):
        """RFC 4475 section 3.1.2.3: nothing says where the next message begins."""
        for value in (b"-1", b"+5", b"1_0", b"ten", b"", b"99999999999", "٣".encode()):
            self.assertRaises(MalformedMessage, Framer().feed, b"INFO sip:a SIP/2.0\r\nContent-Length: %b\r\n\r\n" % value)

    def test_content_length_hidden_in_a_folded_line_does_not_count(self):
        data = b"INFO sip:a SIP/2.0\r\nSubject: x\r\n Content-Length: 100\r\nContent-Length: 2\r\n\r\nab"
        self.assertEqual(self.feed(data)[0], [data])

    @given(strategies.lists(strategies.binary(max_size=50), max_size=8))
    def test_garbage_is_kept_within_limits_or_broken(self, pieces):
        framer = Framer()
        try:
            for piece in pieces:
                framer.feed(piece)
        except MalformedMessage:
            pass
