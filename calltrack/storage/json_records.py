"""Call records in a file of JSON, one record a line, the newest line of a call the last; and in memory, where they are asked
for. For an engine without a database whose history fits into memory, and for whoever reads it with tools of their own.

A write is durable when the lines are on the disk. What a crash has left of a line is cut off at the next start, where the file
is also written anew without the lines that later ones have replaced. One process writes, the one that holds PATH.lock; others,
such as the command line beside a running engine, read. Knows files; no SQL.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from calltrack import __version__
from calltrack.errors import Sentence, StoreUnavailable
from calltrack.interfaces import IBackend, ICallRecordStore, IEventStore, IHealth
from calltrack.storage.memory import MemoryCallRecords
from calltrack.tracking.model import CallRecord

if TYPE_CHECKING:
    from calltrack.plugins.context import Context

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(CallRecord).decode

_log = Logger()


class JSONRecordsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the records are."""

    path: str = "calltrack-records.jsonl"

    def __post_init__(self) -> None:
        if not self.path or "\0" in self.path:
            raise ValueError("path: is no file name")


@implementer(ICallRecordStore, IService, IHealth)
class JSONLinesRecords(MemoryCallRecords, Service):
    """See ICallRecordStore. Ready once `startService` has fired."""

    def __init__(self, path: str, reactor: Any, events: IEventStore | None = None) -> None:
        super().__init__(events)
        self._path = Path(path)
        self._reactor = reactor
        self._turn = DeferredLock()
        self._why = "it has not been read yet"  # it cannot be used
        self._lock: int | None = None  # descriptor of the lock, while the file is ours to write

    def startService(self) -> Deferred[None]:
        Service.startService(self)
        return self._turn.run(lambda: Deferred.fromCoroutine(self._read()))

    def write(self, records: list[CallRecord]) -> Deferred[None]:
        return self._turn.run(lambda: Deferred.fromCoroutine(self._append(records)))

    def forget_caller(self, caller: str) -> Deferred[int]:
        return self._turn.run(lambda: Deferred.fromCoroutine(self._forget(caller)))

    def health(self) -> Deferred[str]:
        return succeed(self._why)

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return self._turn.run(self._unlock)

    async def _read(self) -> None:
        try:
            records, replaced = await self._in_thread(self._load)
        except StoreUnavailable as problem:
            self._why = str(problem)
            raise
        MemoryCallRecords._write(self, records)
        if replaced:
            await self._in_thread(self._rewrite, list(self._records.values()))
        self._why = ""

    async def _make_ours(self) -> None:
        """Read the file, and lock it, unless that has been done. Raises StoreUnavailable."""
        if self._why or self._lock is None:
            await self._read()
        if self._lock is None:
            raise StoreUnavailable(Sentence("{path}: another process writes to it", path=self._path))

    async def _append(self, records: list[CallRecord]) -> None:
        await self._make_ours()
        if records:
            await self._in_thread(self._add, b"".join(_encode(record) + b"\n" for record in records))
        await MemoryCallRecords.write(self, records)

    async def _forget(self, caller: str) -> int:
        await self._make_ours()
        count = self._forget_caller(caller)
        if count:
            await self._in_thread(self._rewrite, list(self._records.values()))
        return count

    # In a thread

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        try:
            return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *arguments)
        except OSError as error:
            raise StoreUnavailable(Sentence("{path}: {error}", path=self._path, error=error.strerror or error)) from error

    def _load(self) -> tuple[list[CallRecord], bool]:
        """The records in the file, oldest line first, and whether it should be written anew."""
        ours = self._try_lock()
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return [], False
        records, torn = [], bool(lines.pop())
        for number, line in enumerate(lines, 1):
            try:
                records.append(_decode(line))
            except msgspec.MsgspecError as error:
                torn = True
                _log.error("{path} line {number} is no call record, left out: {error}", path=self._path, number=number, error=error)
        if not ours:
            return records, False
        if torn:  # what is left out stays for whoever wants to look at it
            os.replace(self._path, self._path.with_name(self._path.name + ".broken"))
        return records, torn or len({record.id for record in records}) < len(records)

    def _try_lock(self) -> bool:
        """Whether the file is ours to write from now on."""
        if self._lock is None:
            lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                return False
            self._lock = lock
        return True

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _add(self, lines: bytes) -> None:
        with open(self._path, "ab", opener=_not_for_everybody) as file:
            size = file.tell()
            try:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self._path, size)
                raise

    def _rewrite(self, records: list[CallRecord]) -> None:
        beside = self._path.with_name(self._path.name + ".new")
        with open(beside, "wb", opener=_not_for_everybody) as file:
            file.writelines(_encode(record) + b"\n" for record in records)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)


def _not_for_everybody(path: str, flags: int) -> int:
    return os.open(path, flags, 0o640)


@implementer(IPlugin, IBackend)
class _JSONLinesRecordsBackend:
    name = "json-lines"
    version = __version__
    provides = ICallRecordStore
    settings = JSONRecordsSettings

    def make(self, context: Context, settings: JSONRecordsSettings) -> JSONLinesRecords:
        return JSONLinesRecords(settings.path, context.reactor, context.events)


BACKEND = _JSONLinesRecordsBackend()
