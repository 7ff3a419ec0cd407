"""Call records on their way into the store: calls never wait for it, nothing is lost, final once.

Knows the spool, a batch every now and then, retries, and how the records of a dead process are closed.
Must not know SQL, SIP, or how a call comes to its record.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, Callable

import msgspec
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import StoreUnavailable
from calltrack.interfaces import ICallRecordStore
from calltrack.storage.spool import Segment, Spool
from calltrack.tracking.model import CallRecord

BATCH = 500  # records a write
FIRST_RETRY, LAST_RETRY = 0.5, 5.0  # seconds between attempts while the store is away

_encode = msgspec.json.Encoder().encode


class _Entry:
    """A record that is not in the store yet, and the lines that keep it on disk."""

    __slots__ = ("record", "segments")

    def __init__(self, record: CallRecord) -> None:
        self.record = record
        self.segments: list[Segment] = []


class Ledger:
    """Takes records from calls at once, and brings them into `store` in batches.

    `spool_path`: a directory of this process alone; None keeps records in memory only. `interval`:
    seconds that a batch gathers: the longer, the fewer records are written to the store in two states.
    `in_memory`: records that may wait in memory while the store is away; those beyond it wait in the spool.
    """

    log = Logger()

    def __init__(
        self,
        store: ICallRecordStore,
        clock: IReactorTime,
        spool_path: str | None = None,
        *,
        interval: float = 0.1,
        in_memory: int = 10_000,
    ) -> None:
        self._store = store
        self._clock = clock
        self._spool = Spool(spool_path) if spool_path is not None else None
        self._interval = interval
        self._in_memory = in_memory
        self._queue: dict[str, _Entry] = {}  # by call id, oldest first
        self._writing: dict[str, _Entry] = {}  # the batch that the store has not answered for
        self._largest_batch = self._batch = min(BATCH, in_memory)  # records a write; fewer after one has failed
        self._begun_since: set[str] | None = None  # calls seen while recovery is at work: not its to close
        self._timer: IDelayedCall | None = None
        self._retry = 0.0  # seconds to the next attempt; 0 = the store is there
        self._attempts: list[Deferred[bool]] = []  # waiting for the next attempt's outcome
        self._recovery: Deferred[list[CallRecord]] | None = None
        self.lost = 0  # records for which neither memory nor the spool had room

    @property
    def waiting(self) -> int:
        """How many records wait for the store."""
        return len(self._queue) + len(self._writing)

    def begin(self, record: CallRecord) -> None:
        """Keep the record of a call in progress; again when more is known of it, such as its answer.
        Never waits and never raises."""
        self._keep(record)

    def finish(self, record: CallRecord) -> None:
        """Keep the final record of a call, begun or not. Never waits and never raises."""
        self._keep(record)

    def add_ladder(self, record: CallRecord) -> None:
        """The final record again, now with its ladder: the last messages of a call follow its end. It does
        not go through the spool, so a ladder may be lost where a record may not."""
        entry = self._queue.get(record.id)
        if entry is not None:
            entry.record = record
        elif len(self._queue) < self._in_memory:
            self._queue[record.id] = _Entry(record)
            if self._timer is None:
                self._schedule(self._retry or self._interval)

    def get(self, call_id: str) -> Deferred[CallRecord]:
        """Fires with the record; fails with NoSuchObject or StoreUnavailable."""
        entry = self._queue.get(call_id) or self._writing.get(call_id)
        return succeed(entry.record) if entry else self._store.get(call_id)

    def list(
        self, limit: int = 100, project: int | None = None, status: str | None = None, before: str | None = None
    ) -> Deferred[list[CallRecord]]:
        """As `ICallRecordStore.list`, after what waits in memory has been written."""
        return Deferred.fromCoroutine(self._list(limit=limit, project=project, status=status, before=before))

    def recover(self) -> Deferred[list[CallRecord]]:
        """Bring what an earlier process left in the spool into the store, then close every record that it
        left ACTIVE. Asked once, before the first call begins; calls may begin while it works.

        Fires with the records it has closed, once they are stored: it waits for a store that is away, and
        fires with an empty list when the ledger is stopped before. Fails with StoreUnavailable when the
        spool cannot be opened or another process has it.
        """
        self._begun_since = set()
        self._recovery = Deferred.fromCoroutine(self._recover(self._begun_since))
        return self._recovery

    def stop(self) -> Deferred[None]:
        """Write what waits and let the spool go. Fires with None, also when the store does not answer for
        it: then the spool keeps it for the next start."""
        return Deferred.fromCoroutine(self._stop())

    def _keep(self, record: CallRecord) -> None:
        try:
            line = _encode(record)
        except UnicodeEncodeError:
            record = _without_surrogates(record)
            line = _encode(record)
        entry = self._queue.get(record.id)
        if entry is not None and entry.record.final:
            self.log.error("call {id} is finished already; a second record of it is dropped", id=record.id)
            return
        if self._begun_since is not None:
            self._begun_since.add(record.id)
        segment = self._spool.append(line) if self._spool is not None else None
        if entry is None:
            if len(self._queue) >= self._in_memory:
                self._leave_on_spool(record, segment)
                return
            entry = self._queue[record.id] = _Entry(record)
        else:
            entry.record = record
        if segment is not None:
            entry.segments.append(segment)
        if self._timer is None:
            self._schedule(self._retry or self._interval)

    def _leave_on_spool(self, record: CallRecord, segment: Segment | None) -> None:
        if segment is not None:
            segment.unread = True
            self._spool.release(segment)
            return
        self.lost += 1
        if self.lost == 1:
            self.log.critical(
                "memory and spool are full: the record of call {id} is lost, and maybe more", id=record.id
            )

    def _schedule(self, delay: float) -> None:
        if self._timer is None and not self._writing:
            self._timer = self._clock.callLater(delay, self._attempt)

    def _attempt(self) -> None:
        """Write one batch, then see to the next."""
        self._timer = None
        Deferred.fromCoroutine(self._write_batch()).addCallback(self._attempted)

    def _attempted(self, stored: bool) -> None:
        if stored and self._retry:
            self.log.info("the store takes call records again")
        self._retry = 0.0 if stored else min(max(FIRST_RETRY, self._retry * 2), LAST_RETRY)
        if self._queue or self._unread():
            full = len(self._queue) >= self._batch or self._unread()
            self._schedule(self._retry or (0.0 if full else self._interval))
        attempts, self._attempts = self._attempts, []
        for attempt in attempts:
            attempt.callback(stored)

    def _next_attempt(self) -> Deferred[bool]:
        """Fires after the next attempt with whether the store took what it was given."""
        self._schedule(self._retry)
        attempt: Deferred[bool] = Deferred()
        self._attempts.append(attempt)
        return attempt

    async def _write_batch(self) -> bool:
        """True unless the store is away."""
        if not self._queue or (not self._retry and len(self._queue) < self._batch):
            self._read_spool()
        batch = self._writing = dict(islice(self._queue.items(), self._batch))
        for call_id in batch:
            del self._queue[call_id]
        if not batch:
            return True
        try:
            await self._store.write([entry.record for entry in batch.values()])
        except StoreUnavailable as error:
            if not self._retry:
                self.log.error("the store does not take call records, they wait: {error}", error=error)
            self._put_back(batch)
            return False
        except Exception:
            return self._refused(batch)
        self._writing = {}
        self._batch = min(self._batch * 2, self._largest_batch)
        self._stored(batch)
        return True

    def _refused(self, batch: dict[str, _Entry]) -> bool:
        """The store raised what it must not. One record may be to blame: halve the batch until it is
        alone, then let it wait behind all others."""
        if len(batch) > 1:
            self._batch = len(batch) // 2
            self._put_back(batch)
            return True
        if not self._retry:
            self.log.failure("the store fails on the record of call {id}, it waits", id=next(iter(batch)))
        self._put_back(batch)
        for call_id in batch:
            self._queue[call_id] = self._queue.pop(call_id)
        return False

    def _put_back(self, batch: dict[str, _Entry]) -> None:
        """Queue a batch again, in front; what calls said meanwhile is newer."""
        self._writing = {}
        for call_id, newer in self._queue.items():
            older = batch.get(call_id)
            if older is not None:
                newer.segments.extend(older.segments)
        self._queue = batch | self._queue

    def _stored(self, batch: dict[str, _Entry]) -> None:
        for entry in batch.values():
            for segment in entry.segments:
                self._spool.release(segment)

    def _unread(self) -> bool:
        return self._spool is not None and any(segment.unread for segment in self._spool.segments)

    def _read_spool(self) -> None:
        """Queue the records of one segment that are nowhere else; what is in memory is newer."""
        segment = self._spool.unread() if self._spool is not None else None
        if segment is None:
            return
        for record in self._spool.read(segment):
            entry = self._queue.get(record.id)
            if entry is None:
                entry = self._queue[record.id] = _Entry(record)
            entry.segments.append(segment)

    async def _until_stored(self, call_ids: set[str]) -> bool:
        """False when the store was away before all of these were stored."""
        while not (call_ids.isdisjoint(self._queue) and call_ids.isdisjoint(self._writing)):
            if not await self._next_attempt():
                return False
        return True

    async def _list(self, **filters: Any) -> list[CallRecord]:
        await self._until_stored({*self._queue, *self._writing})
        return await self._store.list(**filters)

    async def _recover(self, begun_since: set[str]) -> list[CallRecord]:
        try:
            if self._spool is not None:
                self._spool.open()
                left = [segment for segment in self._spool.segments if segment.unread]
                while any(segment in self._spool.segments for segment in left):
                    await self._next_attempt()
            unfinished = await self._patiently(self._store.unfinished)
            closed = [_closed(record) for record in unfinished if record.id not in begun_since]
            self._begun_since = None
            for record in closed:
                self.finish(record)
            while not await self._until_stored({record.id for record in closed}):
                pass  # each round has waited for the next attempt
            return closed
        except CancelledError:
            return []

    async def _patiently(self, ask: Callable[[], Deferred[Any]]) -> Any:
        """What `ask()` fires with, asked until the store is there."""
        while True:
            try:
                return await ask()
            except StoreUnavailable as error:
                self.log.error("the store cannot be asked for unfinished calls: {error}", error=error)
                await deferLater(self._clock, LAST_RETRY)

    async def _stop(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._retry = 0.0
        await self._until_stored({*self._queue, *self._writing})
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._spool is not None:
            self._spool.close()


def _closed(record: CallRecord) -> CallRecord:
    """The final record of a call whose engine died, by what was known of it."""
    ended = max(record.created, record.ringing or 0, record.answered or 0)
    return msgspec.structs.replace(
        record,
        status="ANSWER" if record.answered is not None else "CONGESTION",
        ended=ended,
        duration=(ended - record.created) / 1000,
        waiting_time=((record.answered or ended) - record.created) / 1000,
        hangup="engine",
        reason="engine-restart",
    )


def _without_surrogates(record: CallRecord) -> CallRecord:
    """`record` with a question mark for every lone surrogate: text that UTF-8 cannot say."""
    text = json.dumps(msgspec.to_builtins(record), ensure_ascii=False)
    return msgspec.json.decode(text.encode("utf-8", "replace"), type=CallRecord)


def tell_recovered(closed: list[CallRecord]) -> None:
    """For `recover`: what the log says of it."""
    if closed:
        Ledger.log.warn("closed the records of {count} calls that an earlier run left open", count=len(closed))


def tell_unrecovered(failure: Failure) -> None:
    """For `recover`: that it failed."""
    Ledger.log.error("records of an earlier run could not be brought in: {problem}", problem=failure.value)
