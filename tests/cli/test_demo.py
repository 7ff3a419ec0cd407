"""`calltrack demo` for real: a child process, its claims checked."""

import json
import os
import re
import sys

import calltrack
from calltrack.cli import demonstration
from calltrack.cli.demo_story import program, record_in_words
from calltrack.testing.tones import Heard
from calltrack.tracking.model import Attribution, CallRecord, MediaFigures
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.interop.processes import Child

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(calltrack.__file__)))
RUN = "from calltrack.cli import main; main(prog_name='calltrack')"
SHORT = "import calltrack.cli.demonstration as d; d.RING_TIME, d.TALK_TIME, d.PATIENCE = 0.1, 0.6, 3.0; "
MARKER = "direct_search_1234567_buy glasses"


class DemoTestCase(TestCase):
    timeout = 60

    def demo(self, *arguments, changed=""):
        """A `calltrack demo` under way; `changed`: code that runs before it."""
        whole = [sys.executable, "-c", changed + RUN, *arguments]
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        environment = {"PYTHONPATH": CHECKOUT, "TMPDIR": self.folder}
        return Child(self, "calltrack demo", whole, path=self.folder, env=environment)

    async def failing(self, changed):
        """What a demonstration that must fail says, as JSON."""
        child = self.demo("demo", "--json", changed=SHORT + changed)
        status = await child.end()
        self.assertEqual(status, 1, child.output)
        return json.loads(child.printed)

    def assertRight(self, told):
        self.assertEqual((told["ok"], told["problems"]), (True, []))
        self.assertEqual(
            told["headers"],
            {"x-roistat-phone": "11231234567", "x-roistat-marker": MARKER, "x-roistat": MARKER},
        )
        self.assertEqual(told["audio"]["office"]["heard_hz"], 440)
        self.assertEqual(told["audio"]["visitor"]["heard_hz"], 880)


class PlainDemoTests(DemoTestCase):
    async def test_piped_story_shows_headers_audio_ladder_record_and_verdict_without_escapes(self):
        child = self.demo("demo")
        status = await child.end()
        self.assertEqual((status, child.printed), (0, child.output))
        for shown in (
            "x-roistat-phone: 11231234567",
            f"x-roistat-marker: {MARKER}",
            f"x-roistat: {MARKER}",
            "The office heard 440 Hz for ",
            "The visitor heard 880 Hz for ",
            "|--------INVITE sdp------>|",
            "|-----------BYE---------->|",
            "ANSWER: 12025550143 called 11231234567",
            f'Attributed to "{MARKER}": static channel',
            "Media verdict: both-ways",
            "/health  status ok",
            "were all right.",
        ):
            self.assertIn(shown, child.output)
        self.assertNotIn("\x1b", child.output)
        self.assertEqual(os.listdir(self.folder), [], "the database was not thrown away")

    async def test_reader_that_goes_away_ends_the_demo_quietly(self):
        child = self.demo("demo")
        await child.writes("The office rings")
        child.transport.closeStdout()
        status = await child.end()
        self.assertEqual((status, child.printed), (1, child.output))
        self.assertEqual(os.listdir(self.folder), [])

    async def test_interrupted_demo_leaves_nothing_behind(self):
        child = self.demo("demo")
        await child.writes("The office rings")
        child.signal("INT")
        status = await child.end()
        self.assertEqual(status, 1, child.output)
        self.assertNotIn("Traceback", child.output)
        self.assertEqual(os.listdir(self.folder), [])


class JSONDemoTests(DemoTestCase):
    async def test_json_is_one_object_that_agrees_with_itself(self):
        child = self.demo("demo", "--json")
        status = await child.end()
        self.assertEqual((status, child.printed), (0, child.output))
        told = json.loads(child.output)
        self.assertRight(told)
        call = told["call"]
        self.assertEqual((call["status"], call["hangup"], call["callee"]), ("ANSWER", "caller", "11231234567"))
        self.assertEqual(call["target"], told["request_uri"])
        self.assertEqual(call["media"]["verdict"], "both-ways")
        for relayed, heard in (("caller", "office"), ("target", "visitor")):
            # The last ones may still be under way when the call is hung up.
            under_way = call["media"][relayed]["packets"] - told["audio"][heard]["packets"]
            self.assertIn(under_way, range(0, 5))
        self.assertEqual(told["health"]["status"], "ok")

    async def test_one_loopback_address_is_enough(self):
        child = self.demo("demo", "--json", changed=SHORT + "d.loopback_addresses = lambda n: ['127.0.0.1'] * n; ")
        status = await child.end()
        self.assertEqual(status, 0, child.output)
        told = json.loads(child.output)
        self.assertRight(told)
        self.assertTrue(told["request_uri"].startswith("sip:office@127.0.0.1:"))

    async def test_kept_engine_serves_the_commands_it_suggests_and_ends_on_interrupt(self):
        child = self.demo("demo", "--keep", changed=SHORT)
        await child.writes("Ctrl-C ends it.")
        suggested = re.findall(r"^  calltrack (--config .+)$", child.output, re.MULTILINE)
        self.assertEqual(len(suggested), 4, child.output)
        for command in suggested:
            other = self.command(command.split(" "))
            status = await other.end()
            self.assertEqual(status, 0, other.output)
        heard = re.search(r"what each side heard: (\S+) and (\S+)", child.output)
        self.assertTrue(all(map(os.path.exists, heard.groups())))
        child.signal("INT")
        status = await child.end()
        self.assertEqual(status, 0, child.output)
        self.assertFalse(os.path.exists(os.path.dirname(heard[1])))

    def command(self, arguments):
        whole = [sys.executable, "-c", RUN, *arguments]
        return Child(self, "calltrack", whole, path=self.folder, env={"PYTHONPATH": CHECKOUT})


class FailingDemoTests(DemoTestCase):
    async def test_office_that_never_answers_ends_the_demo_in_words(self):
        told = await self.failing("d.RING_TIME = 60; d.PATIENCE = 1.0; ")
        self.assertEqual(told, {"ok": False, "problems": ["waited 1 s in vain for the call to be answered"]})

    async def test_office_that_refuses_ends_the_demo_in_words(self):
        told = await self.failing("d.Demonstration._office_rings = lambda self, call: call.refuse(); ")
        (problem,) = told["problems"]
        self.assertIn("waited for the call to reach the office, but: 486", problem)

    async def test_silent_office_is_no_success(self):
        told = await self.failing("d.OFFICE_TONE = 0; ")
        self.assertFalse(told["ok"])
        self.assertIn("the visitor heard 0 Hz", " ".join(told["problems"]))


def outcome(**changes):
    record = CallRecord(id="c", created=0, status="ANSWER", media=MediaFigures(verdict="both-ways"))
    values = {
        "request_uri": "sip:office@127.0.0.1",
        "headers": {"x-roistat-phone": "11231234567", "x-roistat-marker": "m", "x-roistat": "m"},
        "marker": "m",
        "record": record,
        "at_office": demonstration.Audio(440, Heard(440, 3.0), 150, 0),
        "at_visitor": demonstration.Audio(880, Heard(880, 3.0), 150, 0),
        "health": {"status": "ok"},
        "complaints": (),
    }
    return demonstration.Outcome(**{**values, **changes})


class OutcomeTests(SynchronousTestCase):
    def test_all_right_has_no_problems(self):
        self.assertEqual(outcome().problems, [])

    def test_each_fault_is_a_problem_of_its_own(self):
        faults = {
            "headers": {"x-roistat-phone": "11231234567"},
            "record": CallRecord(id="c", created=0, status="CANCEL", media=MediaFigures(verdict="both-ways")),
            "at_office": demonstration.Audio(440, Heard(440, 2.0), 150, 0),
            "at_visitor": demonstration.Audio(880, Heard(440, 3.0), 150, 0),
            "health": {},
            "complaints": ("the sky fell",),
        }
        for field, value in faults.items():
            self.assertEqual(len(outcome(**{field: value}).problems), 1, field)

    def test_addresses_fall_back_to_one_where_the_machine_has_no_other(self):
        def only_the_first(host):
            if host != "127.0.0.1":
                raise OSError("Can't assign requested address")
            return 5060

        self.patch(demonstration, "free_port", only_the_first)
        self.assertEqual(demonstration.loopback_addresses(3), ["127.0.0.1"] * 3)

    def test_withheld_caller_and_unanswered_call_are_told_in_words(self):
        record = CallRecord(
            id="c", created=0, callee="11231234567", status="NOANSWER", attribution=Attribution(reason="static channel")
        )
        self.assertIn("a withheld number called 11231234567", record_in_words(record)[0])


class ProgramTests(SynchronousTestCase):
    def install(self, *names):
        folder = self.mktemp()
        os.makedirs(folder)
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "w"):
                os.chmod(path, 0o755)
        self.patch(sys, "argv", [os.path.join(folder, names[0])])
        return folder

    def test_program_off_the_path_is_named_as_this_one_was(self):
        folder = self.install("calltrack", "twistd")
        self.assertEqual(program("twistd"), os.path.join(folder, "twistd"))
        self.assertEqual(program("twistd", anywhere=True), os.path.abspath(os.path.join(folder, "twistd")))

    def test_program_on_the_path_is_named_alone(self):
        folder = self.install("calltrack")
        self.patch(os, "environ", {**os.environ, "PATH": os.path.abspath(folder)})
        self.assertEqual(program("calltrack"), "calltrack")

    def test_program_that_is_not_beside_us_is_named_alone(self):
        self.install("calltrack")
        self.assertEqual(program("twistd"), "twistd")
