"""The trace of all calls of one process: takes every SIP message at once, and has it written a moment later.

Knows flows as things with addresses; reads nothing in a message, and writes only through the writer's thread.
"""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.timers import Timer, Timers
from calltrack.tracing import segments
from calltrack.tracing.homer import Homer
from calltrack.tracing.message import Address, Traced
from calltrack.tracing.settings import TraceSettings
from calltrack.writer import Writer

PIECE = 0.5  # seconds of messages that are written at once
SWEEP = 600.0  # seconds from one look for old files to the next
_OVERHEAD = 200  # bytes of memory beside a message

log = Logger()


class Tracer:
    """`entries.append((now, party, sent, data, flow))` traces a message: `now` in seconds of the monotonic clock, `party`
    a (call, side) or None for a message of no call. `on`: whether those of calls are wanted; `everything`: those of no
    call too; `kept`: whether calls are kept in files at the moment.

    `wall_ms()`: milliseconds since the Unix epoch.
    """

    def __init__(
        self, timers: Timers, wall_ms: Callable[[], int], settings: TraceSettings, directory: str, writer: Writer
    ) -> None:
        self.directory = directory
        self.entries: list[tuple[float, tuple[str, str] | None, bool, bytes, Any]] = []
        self.everything = bool(settings.hep)
        self.lost = 0  # messages that were not written
        self._timers = timers
        self._wall_ms = wall_ms
        self._writer = writer
        self._keep_ms = round(settings.keep * 86_400_000)
        self._segments = segments.Segments(directory, settings.max_size * 1_000_000)
        self._homer = Homer(settings.hep, settings.hep_id, settings.hep_password) if settings.hep else None
        self.kept = settings.keep > 0
        self._tick: Timer | None = None
        self._swept = float("-inf")
        self._troubled = False

    @property
    def kept(self) -> bool:
        return self._kept

    @kept.setter
    def kept(self, kept: bool) -> None:
        self._kept = kept
        self.on = kept or self._homer is not None

    def use_settings(self, settings: TraceSettings) -> None:
        """How long traces are kept from now on."""
        self._keep_ms = round(settings.keep * 86_400_000)
        self.kept = settings.keep > 0

    def start(self) -> None:
        self._hand_on(None)

    def stop(self) -> Deferred[bool]:
        """Fires with True when everything is written, with False when the disk takes too long."""
        if self._tick is not None:
            self._tick.cancel()
            self._write()
            self._writer.do(self._close)
        return self._writer.stop()

    def _hand_on(self, _: None) -> None:
        self._tick = self._timers.after(PIECE, self._hand_on)
        if self.entries:
            self._write()
        if self._timers.now() - self._swept >= SWEEP:
            self._swept = self._timers.now()
            oldest = self._wall_ms() - self._keep_ms
            self._writer.do(self._segments.expire, oldest).addErrback(self._failed, 0)

    def _write(self) -> None:
        entries, self.entries = self.entries, []
        if self._writer.full:
            self.lost += len(entries)
            return
        size = sum(len(entry[3]) for entry in entries) + _OVERHEAD * len(entries)
        shift_us = self._wall_ms() * 1000 - round(self._timers.now() * 1_000_000)
        done = self._writer.do(self._take, entries, shift_us, self._kept, size=size)
        done.addCallbacks(self._well, self._failed, errbackArgs=(len(entries),))

    def _well(self, _: None) -> None:
        if self._troubled:
            self._troubled = False
            log.info("SIP traces are written again")

    def _failed(self, failure: Failure, count: int) -> None:
        self.lost += count
        if failure.check(OSError):
            if not self._troubled:
                log.error("SIP traces cannot be written: {problem}", problem=failure.value)
            self._troubled = True
        else:
            log.failure("SIP traces failed on a bug", failure=failure)

    # In the thread

    def _take(self, entries: list, shift_us: int, kept: bool) -> None:
        if self._homer is not None:
            self._homer.send(_message(entry, shift_us) for entry in entries)
        if not kept:
            return
        known: dict[tuple, segments.About] = {}  # the messages of a side have nearly everything in common
        records: list[segments.Record] = []
        for now, party, sent, data, flow in entries:
            if party is None:
                continue
            about = known.get((party, flow))
            if about is None:
                about = known[party, flow] = segments.about(*party, flow.transport, _local(flow), flow.remote)
            records.append((about, round(now * 1_000_000) + shift_us, sent, data))
        if records:
            self._segments.write(records, records[0][1] // 1000)

    def _close(self) -> None:
        self._segments.close()
        if self._homer is not None:
            self._homer.close()


def _message(entry: tuple, shift_us: int) -> Traced:
    now, party, sent, data, flow = entry
    call, side = party or ("", "")
    at_us = round(now * 1_000_000) + shift_us
    return Traced(call, side, at_us, sent, flow.transport, _local(flow), tuple(flow.remote), data)


def _local(flow: Any) -> Address:
    return segments.address(flow.local.host, flow.local.port, flow.sent_by)
