"""What becomes of recordings beside their calls: an earlier run's are finished, old ones go, and records say so.

Knows files by `files`, and records by the ledger.
"""

from __future__ import annotations

import os
from typing import Any, Callable

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import CalltrackError, NoSuchObject
from calltrack.recording import files
from calltrack.recording.settings import RecordingSettings
from calltrack.writer import Writer
from calltrack.timers import Timer, Timers
from calltrack.tracking.model import CallRecord, Recording

SWEEP = 3600.0  # seconds from one look for old recordings to the next
NEWEST = 500  # records that are looked at after a start: those that were open when the process died are among them

log = Logger()


class Upkeep:
    """`ledger`: gives and takes records, as `storage.ledger.Ledger`. `wall_ms()`: milliseconds since the Unix epoch."""

    def __init__(
        self,
        timers: Timers,
        wall_ms: Callable[[], int],
        settings: RecordingSettings,
        directory: str,
        writer: Writer,
        ledger: Any,
    ) -> None:
        self._timers = timers
        self._wall_ms = wall_ms
        self._keep = settings.keep
        self._directory = directory
        self._writer = writer
        self._ledger = ledger
        self._sweep: Timer | None = None
        self._stopped = False

    def start(self, busy: Callable[[str], bool]) -> Deferred[None]:
        """Asked when the ledger has closed the records of an earlier run. `busy(call)`: whether a call is being recorded
        now. Fires with None when that run's recordings are finished; what cannot be done is logged."""
        done = Deferred.fromCoroutine(self._recover(busy))
        done.addErrback(self._failed, "recordings of an earlier run could not be finished: {problem}")
        return done.addCallback(self._expire)

    def use_settings(self, settings: RecordingSettings) -> None:
        self._keep = settings.keep

    def stop(self) -> None:
        self._stopped = True
        if self._sweep is not None:
            self._sweep.cancel()

    async def _recover(self, busy: Callable[[str], bool]) -> None:
        left = {one.call: one for one in await self._writer.do(files.finish_all, self._directory)}
        if left:
            log.warn("finished {count} recordings that an earlier run left open", count=len(left))
        for call, one in left.items():
            seconds = round(one.seconds, 3)
            await self._amend(call, name=one.name, capture=one.capture, seconds=seconds, state="interrupted")
        for record in await self._ledger.list(limit=NEWEST):
            if record.final and record.recording and record.recording.state == "active" and not busy(record.id):
                await self._look(record)

    async def _look(self, record: CallRecord) -> None:
        """A record that nobody could amend any more: its recording may be complete all the same."""
        for kind in ("wav", "pcap"):
            name = files.name_of(record.id, record.recording.began or record.created, kind)
            path = files.path_of(self._directory, name)
            if await self._writer.do(os.path.exists, path):
                seconds = await self._writer.do(files.seconds_in, path) if kind == "wav" else record.recording.seconds
                await self._amend(record.id, name=name, seconds=round(seconds, 3), state="complete")
                return
        await self._amend(record.id, state="failed", reason="the engine stopped before any audio was kept")

    def _expire(self, _: None = None) -> None:
        if not self._stopped:
            self._sweep = self._timers.after(SWEEP, self._expire)
            if not self._keep:
                return
            done = self._writer.do(files.expire, self._directory, self._keep, self._wall_ms())
            done.addCallback(lambda names: Deferred.fromCoroutine(self._tell_expired(names)))
            done.addErrback(self._failed, "old recordings could not be deleted: {problem}")

    async def _tell_expired(self, names: list[str]) -> None:
        for call in dict.fromkeys(os.path.basename(name).rpartition(".")[0] for name in names):
            if self._stopped:
                return
            await self._amend(call, name="", capture="", state="deleted", reason=f"kept for {self._keep:g} days")
        if names:
            log.info("deleted {count} files of recordings older than {days:g} days", count=len(names), days=self._keep)

    async def _amend(self, call: str, **changes: Any) -> None:
        """Have the record of a call, if there is one, say something else of its recording."""
        try:
            record = await self._ledger.get(call)
        except NoSuchObject:
            return
        recording = msgspec.structs.replace(record.recording or Recording(), **changes)
        self._ledger.add_ladder(msgspec.structs.replace(record, recording=recording))

    def _failed(self, failure: Failure, words: str) -> None:
        if failure.check(CancelledError):
            return  # the store is being closed: the next start finds what is left
        if failure.check(CalltrackError, OSError):
            log.error(words, problem=failure.value)
        else:
            log.failure(words, failure=failure, problem=failure.value)
