"""A byte stream cut into messages (RFC 3261 section 18.3, RFC 5626 section 3.5.1; EDGE-CASES 17)."""

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

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

    def assertBroken(self, *pieces, framer=None):
        """Nothing of these is a message, and nothing is read any more."""
        framer = framer or Framer()
        self.assertEqual([message for piece in pieces for message in framer.feed(piece)[0]], [])
        self.assertTrue(framer.broken)
        self.assertEqual(framer.feed(WITHOUT + b"\r\n\r\n"), ([], False))
        self.assertFalse(framer.partial)

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
        self.assertBroken(b"OPTIONS sip:a SIP/2.0\r\nX: ", *[b"x" * 1000] * (MAX_HEAD // 1000 + 1))

    def test_body_beyond_the_limit_is_broken_before_it_comes(self):
        """ROBUSTNESS 2.13: 64 kB a message."""
        self.assertBroken(b"INFO sip:a SIP/2.0\r\nContent-Length: %d\r\n\r\n" % MAX_MESSAGE)

    def test_content_length_that_is_no_number_is_broken(self):
        """RFC 4475 section 3.1.2.3: nothing says where the next message begins."""
        for value in (b"-1", b"+5", b"1_0", b"ten", b"", b"99999999999", "٣".encode()):
            self.assertBroken(b"INFO sip:a SIP/2.0\r\nContent-Length: %b\r\n\r\n" % value)

    def test_text_where_a_start_line_must_stand_is_broken(self):
        """EDGE-CASES 17; RFC 3261 section 7: the stream is out of step, and section 18.3 has nothing to find the next
        message by but the Content-Length of this one."""
        for garbage in (b"\x00\x01\x02 garbage\r\n\r\n", b"Content-Length: 5\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
            self.assertBroken(garbage + WITHOUT)
            self.assertBroken(garbage.replace(b"\r\n\r\n", b"\r\n") + WITHOUT)

    def test_messages_before_the_break_are_given_back(self):
        """EDGE-CASES 17: whatever comes after them in the same piece."""
        self.assertEqual(self.framer.feed(WITHOUT + WITH_BODY + b"garbage\r\n\r\n" + COMPACT)[0], [WITHOUT, WITH_BODY])
        self.assertBroken(framer=self.framer)

    def test_message_that_is_wrong_otherwise_keeps_its_place(self):
        """EDGE-CASES 17: a start line that nobody speaks, headers that are none: the next message is found."""
        wrong = [b"INFO  sip:a@b SIP/7.0\r\n\r\n", b"SIP/2.0 xyz\r\nl: 2\r\n\r\nab", b"X SIP/2.0\r\nno header\r\n:\r\n\r\n"]
        for message in wrong:
            self.assertEqual(Framer().feed(message + WITHOUT)[0], [message, WITHOUT])

    def test_content_length_hidden_in_a_folded_line_does_not_count(self):
        data = b"INFO sip:a SIP/2.0\r\nSubject: x\r\n Content-Length: 100\r\nContent-Length: 2\r\n\r\nab"
        self.assertEqual(self.feed(data)[0], [data])

    @given(strategies.lists(strategies.binary(max_size=50), max_size=8))
    def test_garbage_is_kept_within_limits_or_broken(self, pieces):
        framer = Framer()
        for piece in pieces:
            framer.feed(piece)
