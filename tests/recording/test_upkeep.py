"""What a crash leaves, and what is old."""

import fcntl
import os

from twisted.internet.defer import CancelledError, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack import pcap
from calltrack.recording import files
from calltrack.recording.settings import RecordingSettings
from calltrack.recording.upkeep import SWEEP, Upkeep
from calltrack.storage.ledger import Ledger
from calltrack.storage.url import open_stores
from calltrack.testing.store_contract import call_record
from calltrack.timers import Timers
from calltrack.tracking.model import Recording
from tests.recording.case import MS, RATE, PatientWriter, read_wav

DAY = "2026-11-23"
SECOND = bytes(range(256)) * 125  # of stereo sound


class UpkeepCase(SynchronousTestCase):
    def setUp(self):
        self.directory = os.path.abspath(self.mktemp())
        self.clock = Clock()
        self.stores = open_stores("memory:", None)
        self.ledger = Ledger(self.stores.records, self.clock, None, interval=0.1)
        self.wall_ms = MS
        self.writer = PatientWriter()
        self.busy = set()

    def upkeep(self, **settings):
        timers = Timers(self.clock)
        settings = RecordingSettings(**settings)
        return Upkeep(timers, lambda: self.wall_ms, settings, self.directory, self.writer, self.ledger)

    def started(self, **settings):
        upkeep = self.upkeep(**settings)
        self.addCleanup(upkeep.stop)
        done = upkeep.start(self.busy.__contains__)
        self.clock.pump([0.1] * 5)
        self.successResultOf(done)
        return upkeep

    def write(self, call, recording, **fields):
        self.ledger.finish(call_record(call, MS, status="ANSWER", answered=MS, ended=MS + 9000, recording=recording, **fields))
        self.clock.advance(1)

    def recording(self, call):
        asked = self.ledger.get(call)
        self.clock.advance(1)
        return self.successResultOf(asked).recording

    def part(self, name, content, kind=files.WAV):
        """A file as a process that died leaves it."""
        file = kind(self.directory, name)
        file.append(content)
        os.close(file._file)
        return file.path


class CrashTests(UpkeepCase):
    def test_engine_that_is_stopped_meanwhile_leaves_the_rest_to_the_next_start(self):
        self.ledger.list = lambda limit: fail(CancelledError())
        self.started()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_file_that_was_open_is_finished_and_its_record_says_so(self):
        path = self.part(f"{DAY}/call1.wav", SECOND * 3)
        with open(path + files.PART, "ab") as file:
            file.write(b"half a frame that came last"[:3])
        self.write("call1", Recording(state="active", began=MS))
        self.started()
        self.assertEqual(len(read_wav(path)[0]), 3 * RATE)
        self.assertEqual(os.path.getsize(path), 44 + 3 * len(SECOND))
        recording = self.recording("call1")
        self.assertEqual((recording.name, recording.state, recording.seconds), (f"{DAY}/call1.wav", "interrupted", 3.0))
        self.assertEqual(recording.began, MS)

    def test_sound_behind_the_header_that_was_not_rewritten_is_kept(self):
        path = self.part(f"{DAY}/call1.wav", SECOND)
        with open(path + files.PART, "ab") as file:
            file.write(SECOND)
        self.started()
        self.assertEqual(len(read_wav(path)[0]), 2 * RATE)

    def test_capture_that_was_open_ends_with_its_last_whole_packet(self):
        whole = pcap.header() + pcap.packet(1, b"abc")
        path = self.part(f"{DAY}/call1.pcap", whole + b"\1\2\3", files.Growing)
        self.write("call1", Recording(state="active", began=MS))
        self.started()
        with open(path, "rb") as file:
            self.assertEqual(file.read(), whole)
        self.assertEqual(self.recording("call1").name, f"{DAY}/call1.pcap")

    def test_both_files_of_a_call_belong_to_one_recording(self):
        self.part(f"{DAY}/call1.wav", SECOND)
        self.part(f"{DAY}/call1.pcap", pcap.header() + pcap.packet(1, b"abc"), files.Growing)
        self.write("call1", Recording(state="active", began=MS))
        self.started()
        recording = self.recording("call1")
        self.assertEqual((recording.name, recording.capture), (f"{DAY}/call1.wav", f"{DAY}/call1.pcap"))

    def test_file_without_a_sound_goes(self):
        path = self.part(f"{DAY}/call1.wav", b"")
        self.write("call1", Recording(state="active", began=MS))
        self.started()
        self.assertEqual(os.listdir(os.path.dirname(path)), [])
        self.assertEqual(self.recording("call1").state, "failed")

    def test_file_that_another_process_writes_is_left_alone(self):
        path = self.part(f"{DAY}/call1.wav", SECOND)
        with open(path + files.PART) as theirs:
            fcntl.flock(theirs, fcntl.LOCK_EX)
            self.started()
            self.assertEqual(os.listdir(os.path.dirname(path)), ["call1.wav" + files.PART])

    def test_record_that_nobody_amended_in_time_finds_its_file(self):
        path = self.part(f"{DAY}/call1.wav", SECOND * 2)
        os.rename(path + files.PART, path)
        self.write("call1", Recording(state="active", began=MS, seconds=9.0))
        self.started()
        recording = self.recording("call1")
        self.assertEqual((recording.state, recording.seconds, recording.name), ("complete", 2.0, f"{DAY}/call1.wav"))

    def test_call_that_is_being_recorded_is_not_judged(self):
        self.write("call1", Recording(state="active", began=MS))
        self.busy.add("call1")
        self.started()
        self.assertEqual(self.recording("call1").state, "active")

    def test_file_of_a_call_without_record_is_finished_too(self):
        path = self.part(f"{DAY}/unknown.wav", SECOND)
        self.started()
        self.assertTrue(os.path.exists(path))

    def test_other_files_in_the_directory_are_nobodys_business(self):
        os.makedirs(os.path.join(self.directory, DAY))
        os.makedirs(os.path.join(self.directory, "lost+found"))
        for name in ("notes.txt", f"{DAY}/notes.wav.bak", f"{DAY}/..part"):
            with open(os.path.join(self.directory, name), "w") as file:
                file.write("mine")
        self.wall_ms += 400 * 86_400_000
        self.started(keep=1)
        self.assertEqual(sorted(os.listdir(os.path.join(self.directory, DAY))), ["..part", "notes.wav.bak"])

    def test_directory_that_is_not_there_is_no_fault(self):
        self.started()
        self.assertFalse(os.path.exists(self.directory))


class RetentionTests(UpkeepCase):
    def kept(self, call="call1"):
        path = self.part(f"{DAY}/{call}.wav", SECOND)
        os.rename(path + files.PART, path)
        self.write(call, Recording(name=f"{DAY}/{call}.wav", state="complete", seconds=1.0, began=MS))
        return path

    def test_recordings_go_when_their_days_are_over_and_their_records_say_so(self):
        path = self.kept()
        upkeep = self.started(keep=30)
        self.wall_ms += 30 * 86_400_000
        self.clock.advance(SWEEP + 1)
        self.assertTrue(os.path.exists(path))
        self.wall_ms += 2 * 86_400_000
        self.clock.advance(SWEEP + 1)
        self.assertFalse(os.path.exists(os.path.dirname(path)))
        recording = self.recording("call1")
        self.assertEqual((recording.state, recording.name, recording.reason), ("deleted", "", "kept for 30 days"))
        self.assertEqual(recording.seconds, 1.0)
        upkeep.stop()

    def test_zero_days_keep_for_ever(self):
        path = self.kept()
        self.wall_ms += 4000 * 86_400_000
        self.started(keep=0)
        self.clock.advance(SWEEP * 3)
        self.assertTrue(os.path.exists(path))


class NameTests(SynchronousTestCase):
    def test_no_name_leads_out_of_the_directory(self):
        self.assertEqual(files.path_of("/rec", f"{DAY}/call1.wav"), f"/rec/{DAY}/call1.wav")
        for name in ("", "../x.wav", f"{DAY}/../x.wav", f"/{DAY}/x.wav", f"{DAY}/x.wav\n", f"{DAY}/a/b.wav", f"{DAY}/x.txt"):
            self.assertRaises(ValueError, files.path_of, "/rec", name)
