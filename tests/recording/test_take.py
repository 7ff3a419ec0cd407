"""What becomes of a call's packets: the files that somebody will listen to."""

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from calltrack.recording import files
from calltrack.recording.formats import NONE, read
from calltrack.recording.take import Event, Plan, Take
from calltrack.testing.media_peers import describe, rtp
from tests.interop import audio
from tests.recording.case import MS, RATE, read_wav, tone_packet

G711 = read(describe("192.0.2.7", 4000))
OPUS = read(describe("192.0.2.7", 4000, media="audio {port} RTP/AVP 96 101", extra=("a=rtpmap:96 opus/48000/2",)))


class TakeCase(SynchronousTestCase):
    def setUp(self):
        self.directory = os.path.join(os.path.abspath(self.mktemp()), "recordings")

    def take(self, began=100.0, **options):
        self.began = began
        return Take(Plan("call1", self.directory, began, MS, **options))

    def speech(self, party, frequency, start, seconds, **packet):
        """A tone from `start` seconds after the beginning."""
        count = round(seconds * 50)
        return [Event(party, tone_packet(frequency, n, **packet), self.began + start + n * 0.02) for n in range(count)]

    def fed(self, take, events, until, step=0.5):
        """Give it the events as they come, in pieces; all up to `until` seconds after the beginning."""
        events = sorted(events, key=lambda event: event.at)
        now = 0.0
        while now < until:
            now = min(now + step, until)
            due = [event for event in events if event.at < self.began + now]
            events = events[len(due) :]
            if now == until:
                return take.finish(due + events, self.began + now)
            take.feed(due, self.began + now)

    def path(self, name):
        return files.path_of(self.directory, name)


class SoundTests(TakeCase):
    def test_caller_is_left_and_target_right_and_both_are_as_long_as_the_call(self):
        take = self.take()
        talk = self.speech("caller", 440, 0, 3) + self.speech("target", 880, 0, 3, name="PCMU")
        recording = self.fed(take, talk, 3.0)
        self.assertEqual((recording.name, recording.state, recording.seconds), ("2026-11-23/call1.wav", "complete", 3.0))
        self.assertEqual((recording.began, recording.capture, recording.reason), (MS, "", ""))
        left, right = read_wav(self.path(recording.name))
        self.assertEqual((len(left), len(right)), (3 * RATE, 3 * RATE))
        self.assertGreaterEqual(audio.seconds_of_tone(left, 440), 2.95)
        self.assertGreaterEqual(audio.seconds_of_tone(right, 880), 2.95)
        self.assertEqual(audio.seconds_of_tone(left, 880), 0)

    def test_silence_stands_where_nothing_came(self):
        take = self.take()
        talk = self.speech("caller", 440, 1, 1) + self.speech("target", 880, 3, 1)
        left, right = read_wav(self.path(self.fed(take, talk, 5.0).name))
        self.assertEqual((left[: RATE - 200], set(right[: 3 * RATE - 200])), ([0] * (RATE - 200), {0}))
        self.assertGreaterEqual(audio.seconds_of_tone(left[RATE : 2 * RATE], 440), 0.95)
        self.assertGreaterEqual(audio.seconds_of_tone(right[3 * RATE : 4 * RATE], 880), 0.95)
        self.assertEqual((len(left), set(left[-2 * RATE :]), set(right[-RATE + 200 :])), (5 * RATE, {0}, {0}))

    def test_hold_is_silence_of_its_length_and_sound_goes_on_behind_it(self):
        """The phone's timestamps stand still while it is on hold."""
        take = self.take()
        before = self.speech("caller", 440, 0, 1)
        after = [Event("caller", tone_packet(440, 50 + n), self.began + 11 + n * 0.02) for n in range(50)]
        left, _ = read_wav(self.path(self.fed(take, before + after, 12.0).name))
        self.assertEqual(len(left), 12 * RATE)
        self.assertEqual(audio.seconds_of_tone(left[: 2 * RATE], 440), 1.0)
        self.assertEqual(set(left[RATE + 200 : 11 * RATE - 200]), {0})
        self.assertGreaterEqual(audio.seconds_of_tone(left[11 * RATE :], 440), 0.95)

    def test_digits_are_silence_not_noise(self):
        take = self.take()
        digits = bytearray(rtp(200, 50 * 160, 1, b"\x05\x8a\x03\x20"))
        digits[1] = 101
        said = [Event("caller", G711, self.began), Event("target", G711, self.began)]
        events = said + self.speech("caller", 440, 0, 1)
        events += [Event("caller", bytes(digits), self.began + 1 + n * 0.02) for n in range(50)]
        left, _ = read_wav(self.path(self.fed(take, events, 2.0).name))
        self.assertEqual(set(left[RATE:]), {0})

    def test_file_can_be_played_while_it_grows_and_is_nobody_elses(self):
        take = self.take()
        take.feed(self.speech("caller", 440, 0, 2), self.began + 2)
        path = self.path("2026-11-23/call1.wav") + files.PART
        left, right = read_wav(path)
        self.assertGreaterEqual(len(left), 1.6 * RATE)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        for folder in (self.directory, os.path.dirname(path)):
            self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
        take.discard()

    def test_the_other_side_alone_is_a_recording_too(self):
        left, right = read_wav(self.path(self.fed(self.take(), self.speech("target", 880, 0, 1), 1.0).name))
        self.assertEqual((set(left), len(right)), ({0}, RATE))

    def test_long_gap_is_filled_in_pieces(self):
        take = self.take()
        take.feed(self.speech("caller", 440, 0, 1), self.began + 1)
        recording = take.finish([], self.began + 100)
        self.assertEqual(recording.seconds, 100.0)
        self.assertEqual(len(read_wav(self.path(recording.name))[0]), 100 * RATE)


class EndTests(TakeCase):
    def test_call_without_audio_leaves_no_file(self):
        recording = self.fed(self.take(), [], 2.0)
        self.assertEqual((recording.state, recording.reason, recording.name), ("failed", "no audio came", ""))
        self.assertEqual(recording.seconds, 0.0)
        self.assertFalse(os.path.exists(self.directory))

    def test_encrypted_media_is_not_written_as_noise(self):
        take = self.take()
        secret = read(describe("192.0.2.7", 4000, media="audio {port} RTP/SAVP 8"))
        recording = self.fed(take, [Event("caller", secret, self.began), *self.speech("caller", 440, 0, 1)], 1.0)
        self.assertEqual((recording.state, recording.reason), ("failed", "the media is encrypted from end to end"))

    def test_call_that_nobody_answered_leaves_nothing(self):
        take = self.take()
        take.feed(self.speech("target", 425, 0, 1), self.began + 1)
        take.discard()
        self.assertEqual(os.listdir(os.path.join(self.directory, "2026-11-23")), [])

    def test_recording_ends_at_its_longest_time_and_the_file_is_whole(self):
        recording = self.fed(self.take(longest=1.0), self.speech("caller", 440, 0, 3), 3.0)
        self.assertEqual((recording.state, recording.seconds), ("partial", 1.0))
        self.assertIn("longest time", recording.reason)
        self.assertEqual(len(read_wav(self.path(recording.name))[0]), RATE)

    def test_directory_that_cannot_be_made_ends_the_recording_with_the_reason(self):
        os.makedirs(os.path.dirname(self.directory))
        with open(self.directory, "w"):
            pass
        recording = self.fed(self.take(), self.speech("caller", 440, 0, 1), 1.0)
        self.assertEqual((recording.state, recording.name), ("failed", ""))
        self.assertIn("exists", recording.reason)

    def test_full_disk_keeps_what_was_written_and_says_so(self):
        take = self.take()
        take.feed(self.speech("caller", 440, 0, 2), self.began + 2)
        self.patch(files.os, "pwrite", self._full)
        take.feed(self.speech("caller", 440, 2, 1), self.began + 3)
        self.assertTrue(take.over)
        recording = take.finish([], self.began + 9)
        self.assertEqual((recording.state, recording.reason), ("partial", "No space left on device"))
        left, _ = read_wav(self.path(recording.name))
        self.assertGreaterEqual(audio.seconds_of_tone(left, 440), 1.6)

    @staticmethod
    def _full(file, content, at):
        raise OSError(28, "No space left on device")

    def test_disk_with_little_room_is_left_to_others(self):
        take = Take(Plan("call1", self.directory, 100.0, MS, 0.0, 500), room=lambda path: 499_999_999)
        self.began = 100.0
        recording = self.fed(take, self.speech("caller", 440, 0, 1), 1.0)
        self.assertEqual((recording.state, recording.reason), ("failed", "the disk has less than 500 MB left"))

    def test_room_is_looked_at_again_while_it_is_recorded(self):
        rooms = [10**9, 10**9, 10**6]
        take = Take(Plan("call1", self.directory, 100.0, MS, 0.0, 500), room=lambda path: rooms.pop(0))
        self.began = 100.0
        recording = self.fed(take, self.speech("caller", 440, 0, 60), 60.0)
        self.assertEqual((recording.state, recording.reason), ("partial", "the disk has less than 500 MB left"))
        self.assertEqual((rooms, 10 < recording.seconds < 25), ([], True))


class CodecTests(TakeCase):
    def other(self, party, start, count, first=0):
        return [
            Event(party, bytes([0x80, 96]) + rtp(first + n, (first + n) * 960, 9, b"opus")[2:], self.began + start + n * 0.02)
            for n in range(count)
        ]

    def test_codec_that_cannot_be_decoded_is_kept_as_a_capture(self):
        take = self.take()
        said = [Event("caller", OPUS, self.began), Event("target", OPUS, self.began)]
        recording = self.fed(take, said + self.other("caller", 0, 100), 2.0)
        self.assertEqual((recording.name, recording.capture), ("2026-11-23/call1.pcap", ""))
        self.assertEqual((recording.state, recording.seconds), ("complete", 2.0))
        self.assertEqual(os.listdir(os.path.join(self.directory, "2026-11-23")), ["call1.pcap"])
        self.assertEqual(stat.S_IMODE(os.stat(self.path(recording.name)).st_mode), 0o600)

    def test_change_of_codec_leaves_both_files_on_one_timeline(self):
        take = self.take()
        events = [Event("caller", G711, self.began), Event("target", G711, self.began)]
        events += self.speech("caller", 440, 0, 1) + self.speech("caller", 440, 2, 1, ssrc=3)
        events += [Event("target", OPUS, self.began + 1), *self.other("caller", 1, 50), Event("target", G711, self.began + 2)]
        recording = self.fed(take, events, 3.0)
        self.assertEqual((recording.name, recording.capture), ("2026-11-23/call1.wav", "2026-11-23/call1.pcap"))
        left, _ = read_wav(self.path(recording.name))
        self.assertEqual(len(left), 3 * RATE)
        self.assertGreaterEqual(audio.seconds_of_tone(left[:RATE], 440), 0.95)
        self.assertEqual(set(left[RATE + 200 : 2 * RATE - 200]), {0})
        self.assertGreaterEqual(audio.seconds_of_tone(left[2 * RATE :], 440), 0.95)

    def test_sound_that_begins_late_has_silence_before_it(self):
        take = self.take()
        events = [Event("target", OPUS, self.began), *self.other("caller", 0, 100), Event("target", NONE, self.began + 5)]
        recording = self.fed(take, events + self.speech("caller", 440, 5, 1), 6.0)
        left, _ = read_wav(self.path(recording.name))
        self.assertEqual((len(left), set(left[: 5 * RATE - 200])), (6 * RATE, {0}))
        self.assertGreaterEqual(audio.seconds_of_tone(left[5 * RATE :], 440), 0.95)

    def test_payload_type_that_nobody_named_is_left_out(self):
        take = self.take()
        events = [Event("caller", G711, self.began), Event("target", G711, self.began), *self.other("caller", 0, 50)]
        self.assertEqual(self.fed(take, events, 1.0).state, "failed")
