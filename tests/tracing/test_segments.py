"""Messages in files: found again by their call, for as long and as many as may be."""

import os
import stat
from contextlib import contextmanager

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.tracing import segments
from calltrack.tracing.message import Traced
from calltrack.tracing.segments import Segments, address, read
from tests.exploring import explored

MS = 1_795_457_000_000
ONE, OTHER = "01a209c6f11f7aa4a7b0bbce4baa1998", "01a209c6f11f7aa4a7b0bbce4baa1999"
HERE, THERE = ("192.0.2.1", 5060), ("198.51.100.7", 5062)


def message(call=ONE, at_ms=MS, data=b"OPTIONS sip:x SIP/2.0\r\n\r\n", **fields):
    values = {"side": "caller", "sent": False, "transport": "udp", "local": HERE, "remote": THERE, **fields}
    return Traced(call, at_us=at_ms * 1000, data=data, **values)


def record(message):
    """The message as the writer gets it."""
    about = segments.about(message.call, message.side, message.transport, message.local, message.remote)
    return about, message.at_us, message.sent, message.data


class SegmentCase(SynchronousTestCase):
    def setUp(self):
        self.directory = os.path.abspath(self.mktemp())
        self.segments = Segments(self.directory, 32_000_000)
        self.addCleanup(self.segments.close)

    def write(self, messages, now_ms=MS):
        self.segments.write([record(one) for one in messages], now_ms)

    def found(self, call=ONE, since=MS, until=MS):
        return read(self.directory, call, since, until)


class SegmentTests(SegmentCase):
    def test_messages_of_a_call_are_found_among_others_as_they_were_in_their_order(self):
        mine = [
            message(data=b"\x00\xff anything", at_ms=MS + 5, side="target-1", transport="tls"),
            message(data=b"", sent=True, remote=("2001:db8::7", 5061)),
        ]
        self.write([mine[0], message(OTHER), mine[1], message(OTHER)], MS)
        self.assertEqual(self.found(), [mine[1], mine[0]])
        self.assertEqual(len(self.found(OTHER)), 2)
        self.assertEqual(self.found("nobody"), [])

    def test_erased_call_is_found_no_more_and_others_are(self):
        self.write([message(data=b"secret of one"), message(OTHER), message(data=b"secret of one")])
        self.assertEqual(segments.erase(self.directory, ONE, MS, MS), 2)
        self.assertEqual((self.found(), len(self.found(OTHER))), ([], 1))
        [name] = os.listdir(self.directory)
        with open(os.path.join(self.directory, name), "rb") as file:
            self.assertNotIn(b"secret of one", file.read())
        self.write([message(data=b"later")])
        self.assertEqual([one.data for one in self.found()], [b"later"])

    def test_files_are_for_their_owner_alone(self):
        self.write([message()], MS)
        [name] = os.listdir(self.directory)
        self.assertEqual(stat.S_IMODE(os.stat(self.directory).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.directory, name)).st_mode), 0o600)

    def test_message_that_quotes_the_id_of_a_call_is_not_taken_for_one_of_it(self):
        self.write([message(OTHER, data=ONE.encode() + b" " * 100)], MS)
        self.assertEqual(self.found(), [])

    def test_messages_of_a_long_call_are_found_in_all_files(self):
        for hour in range(3):
            self.write([message(at_ms=MS + hour * 3_600_000)], MS + hour * 3_600_000)
        self.assertEqual(len(os.listdir(self.directory)), 3)
        self.assertEqual(len(self.found(until=MS + 3 * 3_600_000)), 3)
        self.assertEqual(len(self.found(since=MS + 2 * 3_600_000 + 10_000, until=MS + 3 * 3_600_000)), 1)

    def test_file_that_was_being_written_gives_what_is_whole(self):
        self.write([message(), message(data=b"x" * 1000)], MS)
        [name] = os.listdir(self.directory)
        path = os.path.join(self.directory, name)
        for _ in range(1000 + 60):  # a byte less each time, into the place and the head of the second message
            os.truncate(path, os.path.getsize(path) - 1)
            self.assertEqual(self.found(), [message()])
        os.truncate(path, 20)
        self.assertEqual(self.found(), [])

    def test_directory_that_is_not_there_holds_nothing(self):
        self.assertEqual(self.found(), [])

    def test_other_files_are_left_alone(self):
        os.makedirs(self.directory)
        for name in ("notes.trace", "1795457000000-1-abcd.trace"):
            with open(os.path.join(self.directory, name), "w") as file:
                file.write("no trace at all")
        self.assertEqual(self.found(), [])
        self.segments.expire(0)
        self.assertEqual(len(os.listdir(self.directory)), 2)

    def test_failed_write_leaves_no_half_message(self):
        self.write([message()], MS)
        whole, room = os.write, [30]

        def write(file, content):
            if not room:
                raise OSError(28, "No space left on device")
            return whole(file, content[: room.pop()])

        with self.patched(write):
            self.assertRaises(OSError, self.write, [message()], MS)
        self.write([message(data=b"after")], MS)
        self.assertEqual([one.data for one in self.found()], [message().data, b"after"])

    @contextmanager
    def patched(self, write):
        original, segments.os.write = os.write, write
        try:
            yield
        finally:
            segments.os.write = original

    @explored(100)
    @given(st.binary(max_size=400))
    def test_any_file_is_read_without_a_fault(self, content):
        list(segments._find(segments._MAGIC + b"k" * 8 + content, ONE))
        list(segments._find(content, ONE))


class RetentionTests(SegmentCase):
    def age(self, path, ms):
        os.utime(path, (ms / 1000, ms / 1000))

    def test_old_files_go(self):
        self.write([message()], MS)
        [old] = os.listdir(self.directory)
        self.write([message(OTHER)], MS + 3_600_001)
        self.age(os.path.join(self.directory, old), MS)
        self.segments.expire(MS + 1)
        self.assertEqual(len(os.listdir(self.directory)), 1)
        self.assertEqual((self.found(), len(self.found(OTHER, MS + 3_600_000, MS + 3_600_001))), ([], 1))

    def test_all_files_together_stay_below_their_size_and_the_newest_stay(self):
        for number in range(60):
            self.write([message(at_ms=MS + number, data=b"x" * 1_100_000)], MS + number)
        self.segments.expire(0)
        sizes = [os.path.getsize(os.path.join(self.directory, name)) for name in os.listdir(self.directory)]
        self.assertTrue(25_000_000 < sum(sizes) <= 32_000_000)
        self.assertEqual(self.found(until=MS + 60)[-1].at_us, (MS + 59) * 1000)


class AddressTests(SynchronousTestCase):
    def test_address_of_no_interface_is_shown_as_peers_see_it(self):
        self.assertEqual(address("0.0.0.0", 5060, b"203.0.113.5:5070"), ("203.0.113.5", 5070))
        self.assertEqual(address("::", 5060, b"[2001:db8::5]:5060"), ("2001:db8::5", 5060))
        self.assertEqual(address("0.0.0.0", 5060, b""), ("0.0.0.0", 5060))
        self.assertEqual(address("192.0.2.1", 5060, b"203.0.113.5:5070"), ("192.0.2.1", 5060))
