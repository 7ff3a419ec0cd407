"""Recordings of calls, from the scenario that asks for them to the record that tells of them."""

import os

from calltrack.errors import MediaUnavailable
from calltrack.events.derived import of_call
from calltrack.events.wiring import recording_links
from calltrack.recording import files
from calltrack.recording.recorder import SLOW, Recorder
from calltrack.recording.settings import RecordingSettings
from calltrack.testing.fakes import FakeMediaSession
from calltrack.testing.media_peers import describe
from tests.calls.case import ANSWER, CallTestCase
from tests.interop import audio
from tests.recording.case import RATE, PatientWriter, read_wav, tone_packet


class RecordedCallCase(CallTestCase):
    def setUp(self):
        super().setUp()
        self.clock.advance(100.0)  # no monotonic clock begins at 0
        self.directory = os.path.abspath(self.mktemp())
        self.writer = PatientWriter()

    def start(self, *targets, settings=RecordingSettings(min_free=0), **options):
        engine = super().start(*targets, **{"record": True, **options})
        recorder = Recorder(engine.timers, engine._wall_ms, settings, self.directory, self.writer)
        engine.calls.recorder = self.recorder = recorder
        return engine

    def speak(self, seconds, caller=440, target=880, first=0):
        """Both speak, a packet each 20 ms."""
        observer = self.engine.relay.sessions[-1].observer
        for index in range(first, first + round(seconds * 50)):
            if self.engine.relay.sessions[-1].observer is not None:
                if caller:
                    observer.packet("caller", tone_packet(caller, index), self.clock.seconds())
                if target:
                    observer.packet("target", tone_packet(target, index, ssrc=2), self.clock.seconds())
            self.network.run(0.02)

    def sound(self):
        recording = self.record.recording
        return read_wav(files.path_of(self.directory, recording.name))


class RecordedCallTests(RecordedCallCase):
    def test_call_of_a_recorded_scenario_leaves_a_file_and_its_record_says_so(self):
        self.start()
        self.talk()
        self.speak(3)
        self.hang_up()
        self.network.run(2)
        recording = self.record.recording
        self.assertEqual((recording.state, recording.reason), ("complete", ""))
        self.assertEqual(recording.name, f"2026-11-23/{self.record.id}.wav")
        self.assertApproximates(recording.seconds, self.record.answer_duration, 0.002)
        self.assertApproximates(recording.began, self.record.answered, 2)
        left, right = self.sound()
        self.assertApproximates(len(left) / RATE, recording.seconds, 0.001)
        self.assertGreaterEqual(audio.seconds_of_tone(left, 440), 2.9)
        self.assertGreaterEqual(audio.seconds_of_tone(right, 880), 2.9)
        self.assertEqual(len(self.recorder), 0)

    def test_call_of_another_scenario_is_not_listened_to(self):
        self.start(record=False)
        self.talk()
        self.assertIsNone(self.engine.relay.sessions[-1].observer)
        self.hang_up()
        self.network.run(2)
        self.assertIsNone(self.record.recording)

    def test_record_of_a_call_in_progress_says_that_it_is_recorded(self):
        self.start()
        self.talk()
        [record] = self.engine.ledger.begun.values()
        self.assertEqual((record.status, record.recording.state), ("ACTIVE", "active"))
        self.hang_up()
        self.network.run(2)

    def test_early_media_is_part_of_the_recording_of_an_answered_call(self):
        self.start()
        self.trunk.invite(body=describe("198.51.100.7", 4000))
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 183, sdp=ANSWER)
        self.trunk.expect(183)
        self.speak(2, caller=0, target=425)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.speak(2, first=100)
        self.hang_up()
        self.network.run(2)
        left, right = self.sound()
        self.assertApproximates(self.record.recording.seconds, 4.0, 0.05)
        self.assertGreaterEqual(audio.seconds_of_tone(right[: 2 * RATE], 420), 1.5)
        self.assertGreaterEqual(audio.seconds_of_tone(right[2 * RATE :], 880), 1.8)
        self.assertEqual(set(left[: 2 * RATE - 400]), {0})
        self.assertApproximates(self.record.answered - self.record.recording.began, 2000, 50)

    def test_call_that_nobody_answers_leaves_no_recording(self):
        self.start()
        self.trunk.invite(body=describe("198.51.100.7", 4000))
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 183, sdp=ANSWER)
        self.trunk.expect(183)
        self.speak(2, caller=0, target=420)
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.trunk.expect(486))
        self.network.run(2)
        self.assertIsNone(self.record.recording)
        self.assertEqual(os.listdir(os.path.join(self.directory, "2026-11-23")), [])

    def test_relay_that_lets_nobody_listen_costs_the_recording_and_not_the_call(self):
        def refuse(session, observer):
            raise MediaUnavailable("packets do not pass through here")

        self.patch(FakeMediaSession, "tap", refuse)
        self.start()
        self.talk()
        self.hang_up()
        self.network.run(2)
        recording = self.record.recording
        self.assertEqual((recording.state, recording.reason), ("failed", "packets do not pass through here"))

    def test_relay_that_records_by_itself_says_where(self):
        def refuse(session, observer):
            session.recording = "rtpengine:node-1/call"
            raise MediaUnavailable("rtpengine records by itself")

        self.patch(FakeMediaSession, "tap", refuse)
        self.start()
        self.talk()
        self.hang_up()
        self.network.run(2)
        recording = self.record.recording
        self.assertEqual((recording.state, recording.name), ("elsewhere", "rtpengine:node-1/call"))

    def test_formats_of_a_change_count_once_it_is_answered(self):
        self.start()
        self.talk()
        session = self.engine.calls.calls[next(iter(self.engine.calls.calls))].recorded
        before = session._said["target-1"].names
        other = describe("203.0.113.20", 6000, media="audio {port} RTP/AVP 18", version=2)
        session.offer("target-1", "caller", other, "203.0.113.20", "198.51.100.7")
        self.assertEqual(session._said["target-1"].names, before)
        session.answer("caller", "target-1", other, "198.51.100.7", "203.0.113.20")
        self.assertEqual(session._said["target-1"].names, {18: "G729/8000"})
        self.hang_up()
        self.network.run(2)


class WebhookTests(RecordedCallCase):
    def test_the_event_of_the_end_has_the_name_that_webhooks_link_to(self):
        """What a webhook is told is the first final record's, before the file is finished."""
        self.start()
        self.talk()
        self.speak(1)
        self.writer.hung = True
        self.hang_up()
        [final] = self.engine.ledger.finals
        event = next(event for event in of_call(final) if event.type == "call.ended")
        self.assertTrue(recording_links("https://x.example")(event).endswith(f"/calls/{final.id}/recording"))
        self.writer.hung = False
        self.writer.work()
        self.network.run(2)


    def test_a_call_too_short_for_a_file_to_be_begun_has_the_link_too(self):
        self.assertTrue(self.link_of_a_short_call(caller=440))
        self.assertEqual(self.record.recording.name, f"2026-11-23/{self.record.id}.wav")

    def test_a_short_call_without_sound_has_no_link(self):
        self.assertEqual(self.link_of_a_short_call(caller=0), "")
        self.assertEqual(self.record.recording.name, "")

    def link_of_a_short_call(self, caller):
        self.start()
        self.talk()
        self.speak(0.1, caller=caller, target=0)
        self.writer.hung = True
        self.hang_up()
        [final] = self.engine.ledger.finals
        event = next(event for event in of_call(final) if event.type == "call.ended")
        self.writer.hung = False
        self.writer.work()
        self.network.run(2)
        return recording_links("https://x.example")(event)


class PressureTests(RecordedCallCase):
    def test_disk_that_does_not_keep_up_ends_the_recording_and_not_the_call(self):
        self.start()
        self.talk()
        self.speak(1)
        self.writer.full = True
        self.speak(1, first=50)
        self.assertIsNone(self.engine.relay.sessions[-1].observer)
        self.writer.full = False
        self.network.run(3)
        self.hang_up()
        self.network.run(2)
        recording = self.record.recording
        self.assertEqual((self.record.status, recording.state, recording.reason), ("ANSWER", "partial", SLOW))
        left, _ = self.sound()
        self.assertGreater(audio.seconds_of_tone(left, 440), 0.5)
        self.assertLess(recording.seconds, 1.6)

    def test_record_waits_for_nothing_and_is_amended_when_the_disk_answers(self):
        self.start()
        self.talk()
        self.speak(1)
        self.writer.hung = True
        self.hang_up()
        self.network.run(10)
        self.assertEqual(self.record.recording.state, "active")
        self.assertEqual(self.record.recording.name, f"2026-11-23/{self.record.id}.wav")
        self.assertApproximates(self.record.recording.seconds, self.record.answer_duration, 0.01)
        self.writer.hung = False
        self.writer.work()
        self.assertEqual(self.record.recording.state, "complete")

    def test_flood_of_packets_takes_bounded_memory(self):
        self.start()
        self.talk()
        observer = self.engine.relay.sessions[-1].observer
        for index in range(10_000):
            observer.packet("caller", tone_packet(440, index), self.clock.seconds())
        self.assertLess(observer.collected()[1], 1_000_000)
        self.hang_up()
        self.network.run(2)

    def test_bug_in_the_writer_is_logged_and_ends_the_recording_alone(self):
        self.start()
        self.talk()
        take = next(iter(self.recorder._takes.values()))
        self.patch(take, "_channels", {})
        self.speak(1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)) > 0, True)
        self.hang_up()
        self.network.run(2)
        self.flushLoggedErrors(KeyError)
        self.assertEqual((self.record.status, self.record.recording.state), ("ANSWER", "failed"))
