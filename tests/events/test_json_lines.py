"""The file sink: whole lines, rotation, nothing lost and nothing half when the disk is full."""

import errno
import json
import os

from twisted.trial.unittest import SynchronousTestCase, TestCase

from calltrack import config
from calltrack.errors import ConfigErrors, InvalidField
from calltrack.events.json_lines import JSONLines
from calltrack.events.model import Logged
from calltrack.events.sinks import make_sink
from calltrack.testing.event_contract import EventSinkContract
from tests.events.case import trunk_events


def logged(*names):
    return [Logged(number, event) for number, event in enumerate(trunk_events(*names), 1)]


class JSONLinesTests(SynchronousTestCase):
    def setUp(self):
        self.path = os.path.abspath(self.mktemp())

    def lines(self, path=None):
        with open(path or self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_one_object_a_line_with_its_number(self):
        JSONLines(self.path).deliver(logged("a", "b"))
        self.assertEqual([(line["seq"], line["event"]["id"]) for line in self.lines()], [(1, "a"), (2, "b")])
        self.assertEqual(self.lines()[0]["event"]["type"], "trunk.up")

    def test_full_file_is_renamed_and_the_oldest_goes(self):
        sink = JSONLines(self.path, max_size=1, keep=2)
        for name in "abcd":
            sink.deliver(logged(name))
        found = [self.lines(path)[0]["event"]["id"] for path in (self.path, self.path + ".1", self.path + ".2")]
        self.assertEqual(found, ["d", "c", "b"])
        self.assertFalse(os.path.exists(self.path + ".3"))

    def test_file_that_somebody_moves_away_gets_no_more_lines(self):
        sink = JSONLines(self.path)
        sink.deliver(logged("a"))
        os.rename(self.path, self.path + ".moved")
        sink.deliver(logged("b"))
        self.assertEqual([line["event"]["id"] for line in self.lines()], ["b"])

    def test_half_a_line_of_a_crash_stays_alone(self):
        with open(self.path, "w") as file:
            file.write('{"seq": 1, "ev')
        JSONLines(self.path).deliver(logged("a"))
        with open(self.path) as file:
            self.assertEqual(json.loads(file.read().split("\n")[1])["event"]["id"], "a")

    def test_full_disk_leaves_no_half_line_and_is_told(self):
        sink = JSONLines(self.path)
        sink.deliver(logged("a"))
        write, room = os.write, [20]

        def until_full(file, data):
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data[: room.pop()])

        patched = self.patch(os, "write", until_full)
        try:
            self.assertRaises(OSError, sink.deliver, logged("b"))
        finally:
            patched.restore()
        self.assertEqual([line["event"]["id"] for line in self.lines()], ["a"])


class MakingTests(SynchronousTestCase):
    def test_options_are_judged_by_name(self):
        for options, field in (
            ({}, "path"),
            ({"path": "x", "max_size": 0}, "max_size"),
            ({"path": "x", "keep": True}, "keep"),
            ({"path": "x", "colour": 1}, "colour"),
        ):
            self.assertEqual(self.assertRaises(InvalidField, make_sink, "json-lines", options).field, field)

    def test_unknown_kind_names_the_known_ones(self):
        error = self.assertRaises(InvalidField, make_sink, "kafka", {})
        self.assertIn("json-lines, redis", error.message)

    def test_configuration_names_sink_and_key_of_everything_that_is_wrong(self):
        text = """
            [[sink]]
            name = "a"
            kind = "json-lines"
            path = "a.jsonl"
            events = ["call.*"]
            [[sink]]
            name = "a"
            kind = "redis"
            [[sink]]
            kind = "json-lines"
            [[sink]]
            name = "b"
            kind = "json-lines"
            [[sink]]
            name = "c"
            kind = "redis"
            url = "http://x"
            [[sink]]
            name = "d"
            kind = "redis"
            events = ["call.whistled"]
        """
        errors = self.assertRaises(ConfigErrors, config.load, text).errors
        self.assertEqual(len(errors), 5)
        starts = ('"a" name: another', 'number 3 name: is missing', '"b" path:', '"c" url:', '"d" events:')
        for start, error in zip(starts, errors):
            self.assertTrue(error.startswith(f"[[sink]] {start}"), error)

    def test_sinks_are_read(self):
        (sink,) = config.load('[[sink]]\nname="a"\nkind="json-lines"\npath="x"\nevents=["call.*", "trunk.up"]').sinks
        self.assertEqual((sink.kind, sink.options), ("json-lines", {"path": "x"}))
        self.assertEqual(sink.events[0], "call.started")
        self.assertIn("trunk.up", sink.events)


class ContractTests(EventSinkContract, TestCase):
    async def make_sink(self):
        self.path = os.path.abspath(self.mktemp())
        return JSONLines(self.path)

    async def delivered(self):
        with open(self.path) as file:
            return [json.loads(line)["event"]["id"] for line in file]
