"""From the engine's wire to the files, without a call waiting for it."""

import os

from calltrack.tracing import contents, segments
from calltrack.tracing.settings import TraceSettings
from calltrack.tracing.tracer import SWEEP, Tracer
from tests.calls.case import CallTestCase
from tests.recording.case import PatientWriter


class TracerCase(CallTestCase):
    def setUp(self):
        super().setUp()
        self.clock.advance(100.0)
        self.directory = os.path.abspath(self.mktemp())
        self.writer = PatientWriter()

    def start(self, *targets, settings=TraceSettings(), **options):
        engine = super().start(*targets, **options)
        self.tracer = Tracer(engine.timers, engine._wall_ms, settings, self.directory, self.writer)
        engine.calls.tracer = self.tracer
        self.tracer.start()
        return engine

    def tearDown(self):
        self.tracer.stop()
        super().tearDown()

    def traced(self):
        self.network.run(1)
        record = self.record
        return segments.read(self.directory, record.id, record.created, record.ended)


class TraceTests(TracerCase):
    def test_every_message_of_a_call_is_kept_as_it_was_and_makes_its_ladder(self):
        self.start()
        self.talk()
        self.network.run(2)
        self.hang_up()
        self.network.run(5)
        messages = self.traced()
        self.assertEqual(tuple(contents.step(message, self.record.created) for message in messages), self.record.ladder)
        first = messages[0]
        self.assertTrue(first.data.startswith(b"INVITE sip:"))
        self.assertEqual((first.side, first.sent, first.remote[0], first.local[0]), ("caller", False, "198.51.100.7", "192.0.2.1"))
        self.assertIn(b"\r\n\r\nv=0\r\n", first.data)
        self.assertEqual({message.side for message in messages}, {"caller", "target-1"})
        self.assertEqual(self.tracer.lost, 0)

    def test_messages_of_a_call_that_lasts_can_be_read(self):
        self.start()
        self.talk()
        self.network.run(1)
        [call] = self.engine.calls.calls
        self.assertEqual(len(segments.read(self.directory, call, self.engine._wall_ms() - 2000, self.engine._wall_ms())), 7)
        self.hang_up()

    def test_trace_can_be_turned_off_and_on(self):
        self.start()
        self.talk()
        self.network.run(1)
        self.tracer.kept = False
        self.hang_up()
        self.network.run(2)
        self.assertEqual(self.traced()[-1].data.partition(b" ")[0], b"ACK")

    def test_nothing_is_kept_for_zero_days(self):
        self.start(settings=TraceSettings(keep=0))
        self.talk()
        self.hang_up()
        self.assertEqual((self.traced(), self.tracer.entries), ([], []))
        self.assertFalse(os.path.exists(self.directory))

    def test_disk_that_does_not_keep_up_costs_messages_and_no_memory(self):
        self.start()
        self.talk()
        self.writer.full = True
        self.network.run(1)
        self.assertEqual((self.tracer.lost > 0, self.tracer.entries), (True, []))
        self.writer.full = False
        self.hang_up()
        self.network.run(2)

    def test_disk_that_fails_is_told_once_and_again_when_it_is_back(self):
        self.start()
        with open(self.directory, "w"):
            pass
        self.talk()
        self.network.run(1)
        self.assertGreater(self.tracer.lost, 0)
        os.unlink(self.directory)
        self.hang_up()
        self.network.run(2)
        self.assertEqual(len(self.traced()), 4)

    def test_old_files_are_looked_for_now_and_then(self):
        self.start(settings=TraceSettings(keep=1))
        self.talk()
        self.hang_up()
        self.network.run(2)
        [name] = os.listdir(self.directory)
        os.utime(os.path.join(self.directory, name), (1_000_000_000, 1_000_000_000))
        self.tracer._segments._path = ""  # as if another had been begun
        self.network.run(SWEEP + 1)
        self.assertEqual(os.listdir(self.directory), [])
