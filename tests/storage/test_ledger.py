import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

import calltrack
from calltrack.errors import NoSuchObject, StoreUnavailable
from calltrack.storage.ledger import BATCH, LAST_RETRY, Ledger
from calltrack.storage.memory import MemoryCallRecords
from calltrack.testing.store_contract import LADDER, call_record


class FlakyRecords(MemoryCallRecords):
    """A store that keeps what it is given, fails on demand, and remembers each write."""

    def __init__(self):
        super().__init__()
        self.failures = []  # what the next writes fail with
        self.away = None  # what everything fails with
        self.poison = None  # a call id that no write may hold
        self.held = None  # a Deferred that the next write waits for
        self.writes = []  # of [(id, status)]

    def write(self, records):
        if self.away is not None or self.failures:
            return fail(self.away or self.failures.pop(0))
        if self.poison in [record.id for record in records]:
            return fail(OverflowError(self.poison))
        self.writes.append([(record.id, record.status) for record in records])
        held, self.held = self.held, None
        return (held or succeed(None)).addCallback(lambda _: MemoryCallRecords.write(self, records))

    def unfinished(self):
        return fail(self.away) if self.away is not None else super().unfinished()

    @property
    def statuses(self):
        return {call_id: record.status for call_id, record in self._records.items()}


class LedgerTestCase(SynchronousTestCase):
    def setUp(self):
        self.store, self.clock = FlakyRecords(), Clock()
        self.spool = Path(self.mktemp())
        self.ledger = self.new_ledger()
        self.errors = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event):
        if event["log_level"] >= LogLevel.error:
            self.errors.append(event)

    def new_ledger(self, **settings):
        return Ledger(self.store, self.clock, str(self.spool), **settings)

    def segments(self):
        return sorted(path.name for path in self.spool.glob("*.jsonl"))

    def kill(self):
        """The process dies: its timers and memory are gone, its lock is released by the system."""
        spool = self.ledger._spool
        if spool._lock is not None:
            os.close(spool._lock)
            spool._lock = None
        if spool._file is not None:
            os.close(spool._file)
            spool._file = None
        self.clock = Clock()

    def restart(self):
        """A new process on the same spool and store; what it closes."""
        self.ledger = self.new_ledger()
        recovered = self.ledger.recover()
        for _ in range(100):
            self.clock.advance(0.1)
        return self.successResultOf(recovered)

    def pump(self, seconds):
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


class WritingTests(LedgerTestCase):
    def test_batch_is_written_100_ms_after_its_first_record(self):
        self.ledger.begin(call_record("a"))
        self.ledger.begin(call_record("b"))
        self.assertEqual(self.store.writes, [])
        self.clock.advance(0.1)
        self.assertEqual(self.store.writes, [[("a", "ACTIVE"), ("b", "ACTIVE")]])

    def test_call_that_ends_within_a_batch_is_written_once(self):
        self.ledger.begin(call_record("a"))
        self.ledger.finish(call_record("a", status="BUSY"))
        self.pump(1)
        self.assertEqual(self.store.writes, [[("a", "BUSY")]])

    def test_call_that_was_never_begun_can_be_finished(self):
        self.ledger.finish(call_record("a", status="CHANUNAVAIL", reason="unknown-number"))
        self.pump(0.1)
        self.assertEqual(self.store.statuses, {"a": "CHANUNAVAIL"})

    def test_begun_again_with_what_is_known_since(self):
        self.ledger.begin(call_record("a"))
        self.pump(0.1)
        self.ledger.begin(call_record("a", answered=5))
        self.pump(0.1)
        self.assertEqual(self.successResultOf(self.store.get("a")).answered, 5)

    def test_one_write_at_a_time_and_the_final_record_after_the_active_one(self):
        held = self.store.held = Deferred()
        self.ledger.begin(call_record("a"))
        self.clock.advance(0.1)
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.pump(1)
        self.assertEqual(self.store.writes, [[("a", "ACTIVE")]])
        held.callback(None)
        self.pump(0.1)
        self.assertEqual(self.store.writes, [[("a", "ACTIVE")], [("a", "ANSWER")]])

    def test_many_records_go_in_bounded_batches_without_delay_between(self):
        for number in range(BATCH * 2 + 1):
            self.ledger.finish(call_record(str(number), status="BUSY"))
        self.clock.advance(0.1)
        self.clock.advance(0)
        self.clock.advance(0.1)
        self.assertEqual([len(write) for write in self.store.writes], [BATCH, BATCH, 1])

    def test_second_final_record_of_a_call_is_dropped_and_logged(self):
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.ledger.finish(call_record("a", status="BUSY"))
        self.pump(0.1)
        self.assertEqual(self.store.statuses, {"a": "ANSWER"})
        self.assertEqual(len(self.errors), 1)

    def test_ladder_that_follows_the_final_record_is_stored_with_it_or_after_it(self):
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.ledger.finish(call_record("b", status="BUSY"))
        self.ledger.add_ladder(call_record("a", status="ANSWER", ladder=LADDER))
        self.pump(0.1)
        self.ledger.add_ladder(call_record("b", status="BUSY", ladder=LADDER))
        self.pump(0.1)
        for call_id in ("a", "b"):
            self.assertEqual(self.successResultOf(self.store.get(call_id)).ladder, LADDER)
        self.assertEqual(self.store.statuses, {"a": "ANSWER", "b": "BUSY"})

    def test_no_timer_is_left_when_all_is_stored(self):
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.pump(0.1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_text_that_utf8_cannot_say_never_raises(self):
        self.ledger.finish(call_record("a", status="ANSWER", caller="\ud800x", reason="\udcff"))
        self.pump(0.1)
        self.assertEqual(self.successResultOf(self.store.get("a")).caller, "?x")

    def test_works_in_memory_only(self):
        ledger = Ledger(self.store, self.clock)
        self.successResultOf(ledger.recover())
        ledger.finish(call_record("a", status="ANSWER"))
        self.pump(0.1)
        self.successResultOf(ledger.stop())
        self.assertEqual(self.store.statuses, {"a": "ANSWER"})


class ReadingTests(LedgerTestCase):
    def test_get_sees_what_waits_is_being_written_and_is_stored(self):
        record = call_record("a", ladder=LADDER)
        held = self.store.held = Deferred()
        self.ledger.begin(record)
        self.assertEqual(self.successResultOf(self.ledger.get("a")), record)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(self.ledger.get("a")), record)
        held.callback(None)
        self.assertEqual(self.successResultOf(self.ledger.get("a")), record)
        self.failureResultOf(self.ledger.get("b"), NoSuchObject)

    def test_list_holds_what_waited(self):
        self.store.held = held = Deferred()
        self.ledger.begin(call_record("a", 1))
        self.clock.advance(0.1)
        self.ledger.begin(call_record("b", 2))
        listed = self.ledger.list(limit=5, project=1)
        self.assertNoResult(listed)
        held.callback(None)
        self.pump(0.2)
        self.assertEqual([record.id for record in self.successResultOf(listed)], ["b", "a"])

    def test_list_does_not_wait_for_calls_that_come_after_it(self):
        self.ledger.begin(call_record("a", 1))
        listed = self.ledger.list()
        self.clock.advance(0.05)
        self.ledger.begin(call_record("b", 2))
        self.clock.advance(0.05)
        self.assertIn("a", [record.id for record in self.successResultOf(listed)])


class OutageTests(LedgerTestCase):
    def test_failed_batch_is_written_when_the_store_is_back(self):
        self.store.failures = [StoreUnavailable("locked")] * 3
        self.ledger.begin(call_record("a"))
        self.clock.advance(0.1)
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.ledger.finish(call_record("b", status="BUSY"))
        self.pump(5)
        self.assertEqual(self.store.writes, [[("a", "ANSWER"), ("b", "BUSY")]])
        self.assertEqual(self.segments(), [self.ledger._spool.segments[-1].path.name])

    def test_outage_is_logged_once_and_tried_ever_more_rarely(self):
        self.store.away = StoreUnavailable("locked")
        attempts = []
        write, self.store.write = (
            self.store.write,
            lambda records: attempts.append(self.clock.seconds()) or write(records),
        )
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.pump(60)
        self.assertEqual(len(self.errors), 1)
        self.assertLess(len(attempts), 20)
        self.assertAlmostEqual(attempts[-1] - attempts[-2], LAST_RETRY)

    def test_new_calls_do_not_hasten_the_next_attempt(self):
        self.store.away = StoreUnavailable("locked")
        attempts = []
        write, self.store.write = self.store.write, lambda records: attempts.append(1) or write(records)
        for number in range(100):
            self.ledger.finish(call_record(str(number), status="ANSWER"))
            self.clock.advance(0.1)
        self.assertLess(len(attempts), 7)

    def test_records_beyond_memory_wait_on_the_spool_and_none_is_lost(self):
        self.ledger = self.new_ledger(in_memory=10)
        self.store.away = StoreUnavailable("locked")
        for number in range(50):
            self.ledger.begin(call_record(str(number)))
        for number in range(50):
            self.ledger.finish(call_record(str(number), status="ANSWER"))
        self.pump(10)
        self.assertEqual(len(self.ledger._queue), 10)
        self.store.away = None
        self.pump(10)
        self.assertEqual(self.store.statuses, {str(number): "ANSWER" for number in range(50)})
        self.successResultOf(self.ledger.stop())
        self.assertEqual(self.segments(), [])

    def test_without_a_spool_what_is_beyond_memory_is_lost_and_said_once(self):
        self.ledger = Ledger(self.store, self.clock, in_memory=2)
        self.store.away = StoreUnavailable("locked")
        for number in range(5):
            self.ledger.finish(call_record(str(number), status="ANSWER"))
        self.assertEqual([event["log_level"] for event in self.errors], [LogLevel.critical])

    def test_record_that_breaks_the_store_holds_up_no_other(self):
        self.store.poison = "13"
        for number in range(40):
            self.ledger.finish(call_record(str(number), status="ANSWER"))
        self.pump(30)
        self.assertEqual(self.store.statuses, {str(number): "ANSWER" for number in range(40) if number != 13})
        self.assertTrue(self.flushLoggedErrors(OverflowError))
        self.assertEqual(len(self.segments()), 1)

    def test_store_with_a_bug_loses_no_record(self):
        self.store.away = ZeroDivisionError()
        for number in range(5):
            self.ledger.finish(call_record(str(number), status="ANSWER"))
        self.pump(20)
        self.store.away = None
        self.pump(20)
        self.assertEqual(len(self.store.statuses), 5)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_spool_that_takes_nothing_is_logged_once_and_calls_go_on(self):
        self.spool.parent.mkdir(parents=True, exist_ok=True)
        self.spool.write_text("a file where the directory should be")
        for number in range(5):
            self.ledger.finish(call_record(str(number), status="ANSWER"))
        self.pump(0.1)
        self.assertEqual(len(self.store.statuses), 5)
        self.assertEqual(len(self.errors), 1)

    def test_line_cut_off_by_a_full_disk_spoils_no_other(self):
        self.ledger.begin(call_record("a"))
        real_write = os.write
        self.patch(os, "write", lambda fd, data: real_write(fd, data[:10]))
        self.ledger.begin(call_record("b"))
        self.patch(os, "write", real_write)
        self.ledger.begin(call_record("c"))
        self.kill()
        self.assertEqual([record.id for record in self.restart()], ["a", "c"])


class StopTests(LedgerTestCase):
    def test_everything_is_written_at_once_and_the_spool_left_empty(self):
        self.ledger.finish(call_record("a", status="ANSWER"))
        stopped = self.ledger.stop()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.store.statuses, {"a": "ANSWER"})
        self.assertEqual(self.segments(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_for_the_write_that_is_under_way(self):
        held = self.store.held = Deferred()
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.clock.advance(0.1)
        stopped = self.ledger.stop()
        self.assertNoResult(stopped)
        held.callback(None)
        self.successResultOf(stopped)

    def test_store_that_is_away_leaves_the_records_for_the_next_start(self):
        self.store.away = StoreUnavailable("locked")
        self.ledger.finish(call_record("a", status="ANSWER"))
        stopped = self.ledger.stop()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.store.away = None
        self.assertEqual(self.restart(), [])
        self.assertEqual(self.store.statuses, {"a": "ANSWER"})

    def test_ends_a_recovery_that_waits(self):
        self.store.away = StoreUnavailable("locked")
        recovered = self.ledger.recover()
        self.assertNoResult(recovered)
        self.successResultOf(self.ledger.stop())
        self.assertEqual(self.successResultOf(recovered), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ends_a_recovery_that_waits_for_the_spool_to_be_stored(self):
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.kill()
        self.store.away = StoreUnavailable("locked")
        self.ledger = self.new_ledger()
        recovered = self.ledger.recover()
        self.pump(1)
        stopped = self.ledger.stop()
        self.clock.advance(0)
        self.successResultOf(stopped)
        self.assertEqual(self.successResultOf(recovered), [])
        self.assertEqual(len(self.segments()), 1)


class RecoveryTests(LedgerTestCase):
    def test_nothing_to_recover(self):
        self.assertEqual(self.successResultOf(self.ledger.recover()), [])

    def test_final_record_that_was_only_spooled_is_stored(self):
        self.ledger.begin(call_record("a"))
        self.ledger.finish(call_record("a", status="ANSWER", ladder=LADDER))
        self.kill()
        self.assertEqual(self.restart(), [])
        self.assertEqual(self.successResultOf(self.store.get("a")), call_record("a", status="ANSWER", ladder=LADDER))
        self.assertEqual(self.segments(), [])

    def test_call_that_was_never_answered_is_closed_as_congestion(self):
        self.ledger.begin(call_record("a", 1000, ringing=3500, ladder=LADDER))
        self.kill()
        (closed,) = self.restart()
        self.assertEqual(
            closed,
            call_record(
                "a", 1000, ringing=3500, ended=3500, duration=2.5, waiting_time=2.5,
                status="CONGESTION", hangup="engine", reason="engine-restart", ladder=LADDER,
            ),
        )  # fmt: skip
        self.assertEqual(self.successResultOf(self.store.get("a")), closed)

    def test_call_that_was_answered_is_closed_as_answered(self):
        self.ledger.begin(call_record("a", 1000, answered=4000))
        self.kill()
        (closed,) = self.restart()
        self.assertEqual(
            (closed.status, closed.ended, closed.waiting_time, closed.duration), ("ANSWER", 4000, 3.0, 3.0)
        )

    def test_call_that_is_active_in_the_store_only_is_closed(self):
        self.ledger.begin(call_record("a"))
        self.pump(0.1)
        self.kill()
        for path in self.spool.glob("*.jsonl"):
            path.unlink()
        self.assertEqual([record.id for record in self.restart()], ["a"])
        self.assertEqual(self.store.statuses, {"a": "CONGESTION"})

    def test_finished_call_is_not_closed_again_by_an_older_line_of_it(self):
        self.ledger = self.new_ledger()
        self.ledger.begin(call_record("a"))
        self.ledger.begin(call_record("b"))
        self.pump(0.1)
        self.ledger._spool.rotate()
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.pump(0.1)
        self.kill()
        self.assertEqual([record.id for record in self.restart()], ["b"])
        self.assertEqual(self.store.statuses, {"a": "ANSWER", "b": "CONGESTION"})

    def test_calls_that_begin_meanwhile_are_not_closed(self):
        self.ledger.begin(call_record("old"))
        self.kill()
        self.store.away = StoreUnavailable("locked")
        self.ledger = self.new_ledger()
        recovered = self.ledger.recover()
        self.ledger.begin(call_record("new"))
        self.pump(10)
        self.store.away = None
        self.pump(20)
        self.assertEqual([record.id for record in self.successResultOf(recovered)], ["old"])
        self.assertEqual(self.store.statuses, {"old": "CONGESTION", "new": "ACTIVE"})

    def test_half_line_at_the_end_is_passed_over(self):
        self.ledger.begin(call_record("a"))
        self.ledger.finish(call_record("b", status="BUSY"))
        self.kill()
        (path,) = self.spool.glob("*.jsonl")
        whole = path.read_bytes()
        for cut in range(len(whole)):
            path.write_bytes(whole[:cut])
            self.store = FlakyRecords()
            self.clock = Clock()
            complete = whole[: cut + 1].count(b"}\n")
            self.restart()
            self.assertGreaterEqual(len(self.store.statuses), complete, cut)
            self.successResultOf(self.ledger.stop())
        self.assertEqual(self.errors, [])

    def test_garbage_is_logged_and_kept_and_spoils_no_other_line(self):
        self.ledger.begin(call_record("a"))
        self.kill()
        (path,) = self.spool.glob("*.jsonl")
        line = path.read_bytes()
        garbage = [b"\xff\xfe\n", b"{}\n", b"[1, 2\n", b'{"id": 5}\n', b"\x00" * 512 + b"\n", b"\n"]
        path.write_bytes(b"".join(garbage) + line.replace(b'"a"', b'"b"') + b"".join(garbage) + line)
        self.assertEqual(sorted(record.id for record in self.restart()), ["a", "b"])
        self.assertEqual(len(self.errors), 1)
        self.assertEqual(len(list(self.spool.glob("*.damaged"))), 1)
        self.assertNotIn(path.name, self.segments())

    def test_death_during_recovery_is_recovered_from(self):
        for number in range(5):
            self.ledger.begin(call_record(str(number)))
            self.ledger._spool.rotate()
        self.kill()
        self.ledger = self.new_ledger()
        self.store.held = Deferred()
        self.ledger.recover()
        self.clock.advance(0.1)
        self.kill()
        self.assertEqual(len(self.restart()), 5)
        self.assertEqual(set(self.store.statuses.values()), {"CONGESTION"})

    def test_death_after_storing_and_before_deleting_changes_nothing(self):
        self.ledger.finish(call_record("a", status="ANSWER"))
        (path,) = self.spool.glob("*.jsonl")
        whole = path.read_bytes()
        self.pump(0.1)
        self.kill()
        path.write_bytes(whole)
        self.assertEqual(self.restart(), [])
        self.assertEqual(self.store.statuses, {"a": "ANSWER"})

    def test_store_that_is_away_at_the_start_is_waited_for(self):
        self.ledger.begin(call_record("a"))
        self.kill()
        self.store.away = StoreUnavailable("locked")
        self.ledger = self.new_ledger()
        recovered = self.ledger.recover()
        self.pump(60)
        self.assertNoResult(recovered)
        self.store.away = None
        self.pump(10)
        self.assertEqual(len(self.successResultOf(recovered)), 1)

    def test_spool_of_a_living_process_is_refused(self):
        self.ledger.begin(call_record("a"))
        error = self.failureResultOf(self.new_ledger().recover(), StoreUnavailable).value
        self.assertIn("another calltrack", str(error))


class KilledProcessTests(SynchronousTestCase):
    """A process of its own, ended by SIGKILL in the middle of its work."""

    PROGRAM = """
import os, signal, sys
from twisted.internet.task import Clock
from calltrack.storage.ledger import Ledger
from calltrack.storage.memory import MemoryCallRecords
from calltrack.testing.store_contract import call_record
ledger = Ledger(MemoryCallRecords(), Clock(), sys.argv[1])
ledger.recover()
for number in range(300):
    ledger.begin(call_record(str(number)))
    if number % 3:
        ledger.finish(call_record(str(number), status="BUSY"))
os.kill(os.getpid(), signal.SIGKILL)
"""

    def test_every_record_that_was_given_is_there_and_final(self):
        spool = self.mktemp()
        root = str(Path(calltrack.__file__).parents[1])
        killed = subprocess.run(
            [sys.executable, "-c", self.PROGRAM, spool], env={"PYTHONPATH": root}, capture_output=True
        )
        self.assertEqual((killed.stderr, killed.returncode), (b"", -signal.SIGKILL))
        store, clock = MemoryCallRecords(), Clock()
        recovered = Ledger(store, clock, spool).recover()
        for _ in range(100):
            clock.advance(0.1)
        self.assertEqual(len(self.successResultOf(recovered)), 100)
        records = self.successResultOf(store.list(limit=1000))
        self.assertEqual(len(records), 300)
        self.assertTrue(all(record.final for record in records))


class SegmentTests(LedgerTestCase):
    def test_full_segments_go_as_soon_as_their_records_are_stored(self):
        self.ledger._spool._segment_size = 1000
        for number in range(20):
            self.ledger.finish(call_record(str(number), status="ANSWER"))
        self.assertGreater(len(self.segments()), 5)
        self.pump(0.1)
        self.assertEqual(len(self.segments()), 1)

    def test_segment_stays_while_one_of_its_calls_waits(self):
        self.ledger.begin(call_record("a"))
        self.ledger._spool.rotate()
        held = self.store.held = Deferred()
        self.clock.advance(0.1)
        self.ledger.finish(call_record("a", status="ANSWER"))
        self.ledger._spool.rotate()
        self.assertEqual(len(self.segments()), 2)
        held.callback(None)
        self.assertEqual(len(self.segments()), 1)
        self.pump(0.2)
        self.assertEqual(self.segments(), [])

    def test_numbers_go_on_after_a_restart(self):
        self.ledger.begin(call_record("a"))
        self.kill()
        before = self.segments()
        self.store.away = StoreUnavailable("locked")
        self.ledger = self.new_ledger()
        self.ledger.recover()
        self.ledger.begin(call_record("b"))
        self.assertGreater(self.segments()[-1], before[-1])
