"""One write at a time, again after a failure, until nothing waits: whatever is written."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import StoreUnavailable
from calltrack.journal import RETRY, Journal
from calltrack.timers import Timers


class Letters(Journal[str]):
    """Its store says what `answer` says."""

    what, meanwhile = "letters", "they wait"

    def __init__(self, timers):
        super().__init__(timers)
        self.answer = lambda batch: succeed(None)
        self.waiting = ""
        self.asked = []
        self.written = []

    def add(self, letters):
        self.waiting += letters
        self._flush()

    def add_later(self, letters, seconds):
        self.waiting += letters
        self._flush_within(seconds)

    def _anything(self):
        return bool(self.waiting)

    def _take(self):
        batch, self.waiting = self.waiting, ""
        return batch

    def _write(self, batch):
        self.asked.append(batch)
        return self.answer(batch)

    def _done(self, batch, result):
        self.written.append(batch)

    def _put_back(self, batch):
        self.waiting = batch + self.waiting


class JournalTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.journal = Letters(self.timers)
        self.said = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def hear(self, event):
        if event["log_namespace"] == "calltrack.journal":
            self.said.append((event["log_level"].name, event["what"]))

    def away(self, error=StoreUnavailable("locked")):
        self.journal.answer = lambda batch: fail(error)

    def back(self):
        self.journal.answer = lambda batch: succeed(None)

    def run_for(self, seconds):
        self.clock.pump([0.05] * round(seconds / 0.05))

    def test_what_comes_during_a_write_shares_the_next_one(self):
        first = Deferred()
        self.journal.answer = lambda batch: first if batch == "a" else succeed(None)
        for letter in "abc":
            self.journal.add(letter)
        self.assertEqual(self.journal.asked, ["a"])
        first.callback(None)
        self.assertEqual(self.journal.written, ["a", "bc"])

    def test_what_nobody_waits_for_gathers(self):
        for letter in "ab":
            self.journal.add_later(letter, 0.5)
        self.assertEqual(self.journal.asked, [])
        self.run_for(0.6)
        self.assertEqual(self.journal.written, ["ab"])
        self.assertEqual(self.timers.pending(), 0)

    def test_refused_write_is_repeated_before_what_came_since(self):
        self.away()
        self.journal.add("a")
        self.journal.waiting += "b"
        self.back()
        self.run_for(RETRY + 0.1)
        self.assertEqual(self.journal.written, ["ab"])

    def test_store_that_is_away_has_one_timer_however_much_comes(self):
        self.away()
        for letter in "abcdef":
            self.journal.add(letter)
        self.assertEqual(self.timers.pending(), 1)
        asked = len(self.journal.asked)
        self.run_for(RETRY + 0.1)
        self.assertEqual(len(self.journal.asked), asked + 1)

    def test_store_that_goes_and_comes_back_is_told_once_each(self):
        self.away()
        for letter in "abc":
            self.journal.add(letter)
        self.run_for(3)
        self.assertEqual(self.said, [("error", "letters")])
        self.back()
        self.run_for(2)
        self.assertEqual(self.said, [("error", "letters"), ("info", "letters")])

    def test_bug_of_a_store_is_logged_and_the_write_repeated(self):
        self.journal.answer = lambda batch: 1 / 0
        self.journal.add("a")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.back()
        self.run_for(RETRY + 0.1)
        self.assertEqual(self.journal.written, ["a"])

    def test_end_waits_for_all_that_waits(self):
        self.successResultOf(self.journal.stop())
        first = Deferred()
        self.journal.answer = lambda batch: first if batch == "a" else succeed(None)
        self.journal.add("a")
        self.journal.add("b")
        stopped = self.journal.stop()
        self.assertNoResult(stopped)
        first.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.journal.written, ["a", "b"])

    def test_end_asks_a_store_that_is_away_once_more(self):
        self.away()
        self.journal.add("a")
        self.successResultOf(self.journal.stop())
        self.assertEqual(self.journal.asked, ["a", "a"])
