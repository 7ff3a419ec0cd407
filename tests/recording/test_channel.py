"""The jitter buffer: where samples come to lie, whatever order they come in."""

from array import array
from struct import pack

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.recording.channel import DEPTH, RATE, Channel
from tests.exploring import explored

FRAME = 160


def samples(number, count=FRAME):
    """A packet's samples, all the same, so that they can be told from others'."""
    return array("h", [number] * count).tobytes()


class Line:
    """A channel that takes are made of as the writer does it: what is older than DEPTH after each packet."""

    def __init__(self):
        self.channel = Channel()
        self.out = bytearray()

    def packet(self, number, arrival, timestamp=None, ssrc=1, sequence=None):
        stamp = number * FRAME if timestamp is None else timestamp
        sequence = number if sequence is None else sequence
        self.channel.place(ssrc, sequence & 0xFFFF, stamp & 0xFFFFFFFF, samples(number % 1000 + 1), arrival)
        self.out += self.channel.take(arrival - DEPTH)

    def end(self, at):
        self.out += self.channel.take(at)
        return array("h", bytes(self.out))


class ChannelTests(SynchronousTestCase):
    def setUp(self):
        self.line = Line()

    def test_packets_in_time_lie_end_to_end(self):
        for number in range(50):
            self.line.packet(number, 1000 + number * FRAME)
        out = self.line.end(1000 + 50 * FRAME)
        self.assertEqual(out[:1000].tolist(), [0] * 1000)
        self.assertEqual(out[1000:].tolist(), [number + 1 for number in range(50) for _ in range(FRAME)])

    def test_jitter_does_not_move_what_the_timestamps_say(self):
        for number in range(50):
            self.line.packet(number, 1000 + number * FRAME + (number % 7) * 40)
        out = self.line.end(1000 + 50 * FRAME)
        self.assertEqual(out[1000:].tolist(), [number + 1 for number in range(50) for _ in range(FRAME)])

    def test_reordered_and_doubled_packets_lie_where_they_belong(self):
        for number in (0, 2, 1, 1, 3, 5, 5, 4):
            self.line.packet(number, number * FRAME)
        self.assertEqual(self.line.end(6 * FRAME).tolist(), [number + 1 for number in range(6) for _ in range(FRAME)])

    def test_lost_packets_leave_silence_of_their_length(self):
        for number in (0, 1, 4, 5):
            self.line.packet(number, number * FRAME)
        out = self.line.end(6 * FRAME)
        self.assertEqual(out[2 * FRAME : 4 * FRAME].tolist(), [0] * (2 * FRAME))
        self.assertEqual(out[4 * FRAME], 5)

    def test_straggler_that_comes_after_everything_is_left_out(self):
        for number in range(30):
            self.line.packet(number, number * FRAME)
        self.line.packet(3, 30 * FRAME)
        self.line.packet(30, 30 * FRAME)
        self.assertEqual(self.line.end(31 * FRAME)[30 * FRAME], 31)

    def test_after_a_hold_in_which_the_senders_clock_stood_still_sound_is_where_it_came(self):
        self.line.packet(0, 0)
        self.line.packet(1, 5 * RATE, timestamp=FRAME)
        out = self.line.end(6 * RATE)
        self.assertEqual((out[0], out[FRAME], out[5 * RATE]), (1, 0, 2))

    def test_another_source_is_put_where_it_comes(self):
        self.line.packet(0, 0)
        self.line.packet(1, FRAME, timestamp=0x7FFF_0000, ssrc=2)
        self.line.packet(2, 2 * FRAME, timestamp=0x7FFF_0000 + FRAME, ssrc=2)
        self.assertEqual(self.line.end(3 * FRAME)[::FRAME].tolist(), [1, 2, 3])

    def test_clock_that_begins_again_lower_is_followed_from_its_second_packet(self):
        for number in range(10):
            self.line.packet(number, number * FRAME, timestamp=0x4000_0000 + number * FRAME)
        for number in range(10, 15):
            self.line.packet(number, number * FRAME, timestamp=number * FRAME)
        self.assertEqual(self.line.end(15 * FRAME)[::FRAME].tolist(), [*range(1, 11), 0, *range(12, 16)])

    def test_timestamps_and_sequence_numbers_turn_over(self):
        for number in range(20):
            self.line.packet(number, number * FRAME, timestamp=0xFFFF_FFFF - 1000 + number * FRAME, sequence=65530 + number)
        self.assertEqual(self.line.end(20 * FRAME)[::FRAME].tolist(), list(range(1, 21)))

    def test_sender_whose_clock_is_off_stays_where_it_is_heard(self):
        """An hour at 200 parts in a million: 0.72 s, put right little by little."""
        worst = 0
        for number in range(0, 180_000):
            arrival = round(number * FRAME * 1.0002)
            self.line.channel.place(1, number & 0xFFFF, number * FRAME & 0xFFFFFFFF, b"", arrival)
            worst = max(worst, abs(self.line.channel._base + number * FRAME - self.line.channel._timestamp - arrival))
        self.assertLess(worst, RATE * 0.1)


class HostileTests(SynchronousTestCase):
    @explored(200)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, 3),  # ssrc
                st.integers(0, 0xFFFF),
                st.integers(0, 0xFFFFFFFF),
                st.integers(0, 40_000),  # samples
                st.integers(0, 4000),  # time until it comes
            ),
            max_size=60,
        )
    )
    def test_any_packets_give_as_many_samples_as_time_has_passed_in_bounded_memory(self, packets):
        channel, now, taken = Channel(), 0, 0
        for ssrc, sequence, timestamp, count, later in packets:
            now += later
            channel.place(ssrc, sequence, timestamp, bytes(2 * count), now)
            self.assertLess(len(channel._buffer), 2 * (DEPTH + RATE * 2))
            taken += len(channel.take(now - DEPTH)) // 2
        taken += len(channel.take(now)) // 2
        self.assertEqual(taken, now)

    @explored(100)
    @given(st.permutations(range(12)), st.sets(st.integers(0, 11)), st.lists(st.integers(0, 11), max_size=6))
    def test_loss_order_and_doubles_within_the_buffer_never_move_a_packet(self, order, lost, doubled):
        """The first packet ties the clocks, so it comes first; 12 packets are less than the buffer holds."""
        channel = Channel()
        channel.place(1, 0, 0, samples(1), 0)
        come = [number for number in (*order, *doubled) if number not in lost or number == 0]
        for number in come:
            channel.place(1, number, number * FRAME, samples(number + 1), 5 * FRAME)
        out = array("h", channel.take(12 * FRAME))
        expected = [number + 1 if number in come else 0 for number in range(12)]
        self.assertEqual(out.tolist(), [value for value in expected for _ in range(FRAME)])


class PackTests(SynchronousTestCase):
    def test_samples_are_little_endian(self):
        channel = Channel()
        channel.place(1, 0, 0, pack("<h", -2), 0)
        self.assertEqual(channel.take(2), b"\xfe\xff\0\0")
