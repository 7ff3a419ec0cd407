"""Real softphones talk through a real engine that records them: what is in the files, by frequency, length and tshark."""

import array
import os
import subprocess
import wave

from twisted.internet import reactor, task
from twisted.trial.unittest import SkipTest

from tests.interop import audio
from tests.interop.harness import ENGINE, NUMBER, InteropTestCase
from tests.interop.processes import eventually
from tests.interop.test_baresip import MODULES, PHONES, Softphone
from tests.test_pcap import tshark

TALK = 3.0  # seconds
CLOSE = 0.06  # seconds that a length may be wrong by


class RecordingTests(InteropTestCase):
    def configure(self, more: str = "", **options) -> None:
        super().configure(trunk_address=PHONES, **options)
        self.directory = os.path.join(self.folder, "recordings")
        with open(self.config, "a") as file:
            file.write(f'[recording]\ndirectory = "{self.directory}"\nmin_free = 0\n{more}')

    async def talk(self, settings: str = "", account: str = "") -> tuple[Softphone, Softphone]:
        """A call over the recording engine, answered."""
        office = Softphone(self, "office", 880, account=";answermode=auto" + account, settings=settings)
        await office.ready()
        await self.route(f"sip:office@{PHONES}:{office.port}", options=("--record",))
        await self.start_engine()
        dial = f"/dial sip:{NUMBER}@{ENGINE}:{self.sip_port}"
        caller = Softphone(self, "12025550143", 440, "-e", dial, account=account, settings=settings)
        for phone in (caller, office):
            await phone.writes("Call established")
        return caller, office

    async def hang_up(self, caller: Softphone, office: Softphone) -> None:
        caller.signal("TERM")
        await caller.end(15)
        await office.writes("terminated")
        office.signal("TERM")
        await office.end(15)

    async def recorded(self, *states: str) -> dict:
        """The record, when its recording has reached one of these states."""
        record = await self.record()

        async def settled():
            record.update(await self.cli("call", "show", record["id"]))
            return record["recording"] and record["recording"]["state"] in states

        await eventually(settled, f"a recording is {states}")
        return record

    def sound(self, name: str) -> tuple[list[int], list[int]]:
        with wave.open(os.path.join(self.directory, name), "rb") as file:
            self.assertEqual((file.getnchannels(), file.getsampwidth(), file.getframerate()), (2, 2, audio.RATE))
            samples = array.array("h", file.readframes(file.getnframes()))
        return samples[::2].tolist(), samples[1::2].tolist()

    async def test_each_side_is_on_its_channel_and_the_file_is_as_long_as_the_talk(self):
        phones = await self.talk()
        await task.deferLater(reactor, TALK)
        await self.hang_up(*phones)
        record = await self.recorded("complete")
        recording = record["recording"]
        left, right = self.sound(recording["name"])
        talked = record["answer_duration"]
        self.assertEqual(len(left), len(right))
        self.assertLess(abs(len(left) / audio.RATE - talked), CLOSE)
        self.assertLess(abs(recording["seconds"] - talked), CLOSE)
        for samples, theirs, others in ((left, 440, 880), (right, 880, 440)):
            self.assertGreater(audio.seconds_of_tone(samples, theirs), talked - 0.3)
            self.assertEqual(audio.seconds_of_tone(samples, others), 0)
        self.assertEqual(os.stat(os.path.join(self.directory, recording["name"])).st_mode & 0o777, 0o600)

    async def test_both_sides_are_heard_at_once_where_one_of_them_is_held(self):
        """The office puts the caller on hold and takes it back: both channels keep one timeline."""
        caller, office = await self.talk("module stdio.so")
        await task.deferLater(reactor, 1.0)
        office.transport.write(b"x")  # hold
        await office.writes("hold")
        await task.deferLater(reactor, 1.5)
        office.transport.write(b"X")  # resume
        await office.writes("resume")
        await task.deferLater(reactor, 1.5)
        await self.hang_up(caller, office)
        record = await self.recorded("complete")
        left, right = self.sound(record["recording"]["name"])
        self.assertLess(abs(len(left) / audio.RATE - record["answer_duration"]), CLOSE)
        self.assertEqual(len(left), len(right))
        end = audio.RATE
        self.assertGreater(audio.seconds_of_tone(right[-end:], 880), 0.7)
        self.assertGreater(audio.seconds_of_tone(left[-end:], 440), 0.7)
        self.assertGreater(audio.seconds_of_tone(right[:end], 880), 0.7)
        self.assertLess(audio.seconds_of_tone(right[int(1.4 * end) : int(2.3 * end)], 880), 0.3)

    async def test_killed_engine_leaves_a_file_that_plays_and_the_next_start_finishes_it(self):
        caller, office = await self.talk()
        await task.deferLater(reactor, TALK)
        await self.engine.kill()
        [day] = os.listdir(self.directory)
        [part] = os.listdir(os.path.join(self.directory, day))
        self.assertTrue(part.endswith(".wav.part"))
        left, _ = self.sound(f"{day}/{part}")
        self.assertGreater(audio.seconds_of_tone(left, 440), TALK - 1.5)
        for phone in (caller, office):
            phone.signal("KILL")
        await self.start_engine()
        record = await self.recorded("interrupted")
        self.assertEqual(record["reason"], "engine-restart")
        recording = record["recording"]
        self.assertEqual(recording["name"], f"{day}/{record['id']}.wav")
        left, right = self.sound(recording["name"])
        self.assertLess(abs(len(right) / audio.RATE - recording["seconds"]), 0.001)

    async def test_engine_that_is_stopped_in_a_call_finishes_its_file_and_its_record(self):
        caller, office = await self.talk()
        await task.deferLater(reactor, TALK)
        self.engine.signal("TERM")
        await self.engine.end(20)
        await self.start_engine()
        record = await self.recorded("complete")
        self.assertEqual((record["hangup"], record["reason"]), ("engine", "engine-stop"))
        left, right = self.sound(record["recording"]["name"])
        self.assertLess(abs(len(left) / audio.RATE - record["answer_duration"]), CLOSE)
        for phone in (caller, office):
            phone.signal("KILL")

    async def test_opus_is_kept_as_a_capture_that_wireshark_plays(self):
        if not os.path.exists(os.path.join(MODULES, "opus.so")):
            raise SkipTest("baresip has no opus module: apt-get install baresip-core")
        phones = await self.talk("module opus.so\n", ";audio_codecs=opus/48000/2")
        await task.deferLater(reactor, TALK)
        await self.hang_up(*phones)
        record = await self.recorded("complete")
        name = record["recording"]["name"]
        self.assertTrue(name.endswith(".pcap"))
        path = os.path.join(self.directory, name)
        streams = [line for line in tshark(path, "-q", "-z", "rtp,streams").split("\n") if "opus" in line]
        self.assertEqual(len(streams), 2)
        for line in streams:
            self.assertIn("0 (0.0%)", line)
        self.assertLess(abs(record["recording"]["seconds"] - record["answer_duration"]), CLOSE)

    async def test_full_disk_ends_the_recording_and_not_the_call(self):
        os.makedirs(self.directory)
        if os.geteuid() or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", self.directory], capture_output=True
        ).returncode:
            raise SkipTest("a tiny file system cannot be mounted: run as root")
        self.addCleanup(subprocess.run, ["umount", "-l", self.directory], check=True)
        caller, office = await self.talk()
        await task.deferLater(reactor, TALK)
        self.assertIsNone(caller.status)
        await self.hang_up(caller, office)
        record = await self.recorded("partial")
        self.assertEqual((record["status"], record["hangup"]), ("ANSWER", "caller"))
        self.assertEqual(record["recording"]["reason"], "No space left on device")
        self.assertGreater(audio.seconds_of_tone(office.heard(), 440), TALK * 0.75)
        left, _ = self.sound(record["recording"]["name"])
        self.assertTrue(0.5 < len(left) / audio.RATE < 2.1)
