"""The log for programs: one object a line, whatever happens."""

import json
import os
import stat

from hypothesis import given, strategies as st
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from calltrack.control.logs import observer
from calltrack.control.settings import LogSettings
from tests.exploring import explored


class LogTests(SynchronousTestCase):
    def begin(self, **settings):
        self.path = os.path.abspath(self.mktemp())
        watcher, self.file = observer(LogSettings(file=self.path, **settings))
        self.log = Logger("calltrack.test", observer=LogPublisher(watcher))

    def lines(self):
        self.file.write("")
        with open(self.path, encoding="utf-8") as file:
            return file.read().split("\n")[:-1]  # as programs split it: U+2028 ends no line

    def objects(self):
        return [json.loads(line) for line in self.lines()]

    def test_new_file_is_not_for_everybody(self):
        mask = os.umask(0o022)
        self.addCleanup(os.umask, mask)
        self.begin()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o640)

    def test_nothing_set_leaves_the_log_to_twistd(self):
        self.assertIsNone(observer(LogSettings()))

    def test_line_has_time_level_origin_text_and_the_call(self):
        self.begin(format="json")
        self.log.info("{number} rang", number=7, call_id="01a2")
        [line] = self.objects()
        self.assertRegex(line.pop("at"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(line, {"level": "info", "from": "calltrack.test", "text": "7 rang", "call_id": "01a2"})

    def test_failure_is_one_line_with_its_traceback(self):
        self.begin(format="json")
        try:
            1 / 0
        except ZeroDivisionError:
            self.log.failure("broken")
        [line] = self.objects()
        self.assertEqual((line["level"], line["text"]), ("critical", "broken"))
        self.assertIn("ZeroDivisionError", line["traceback"])

    def test_level_leaves_out_what_is_below_it(self):
        self.begin(format="json", level="warn")
        for level in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error):
            self.log.emit(level, "x")
        self.assertEqual([line["level"] for line in self.objects()], ["warn", "error"])

    def test_text_is_a_line_for_people(self):
        self.begin(level="info")
        self.log.info("hello {name}", name="you")
        [line] = self.lines()
        self.assertIn("[calltrack.test#info] hello you", line)

    def test_file_that_somebody_renamed_is_opened_anew(self):
        self.begin(format="json")
        self.log.info("one")
        os.rename(self.path, self.path + ".1")
        self.log.info("two")
        self.file.reopen()
        self.log.info("three")
        self.assertEqual([line["text"] for line in self.objects()], ["three"])

    @explored(100)
    @given(st.text(st.characters(), max_size=50))
    def test_any_text_is_one_line_of_json(self, text):
        self.begin(format="json")
        self.log.info("{text}", text=text, call_id=text)
        self.log.info(text, call_id="x")
        self.assertEqual(len(self.objects()), len(self.lines()))
        self.assertTrue(1 <= len(self.lines()) <= 2)
