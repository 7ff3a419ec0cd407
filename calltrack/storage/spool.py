"""Append-only files that keep call records until the store has them.

Knows segments: files of JSON lines, numbered in the order they were begun. A line is handed to the
operating system by one `write`, so it survives the death of the process, not that of the machine. Must
not know stores, time, or what a record means beyond its encoding.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec
from twisted.logger import Logger

from calltrack.errors import StoreUnavailable
from calltrack.tracking.model import CallRecord

SEGMENT_SIZE = 1 << 20  # bytes after which the next segment is begun

_SUFFIX = ".jsonl"
_decoder = msgspec.json.Decoder(CallRecord)


def in_use(path: str | os.PathLike[str]) -> bool:
    """Whether a process has the spool in the directory `path`: an engine is running on it."""
    try:
        lock = os.open(Path(path) / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


class Segment:
    """One file of the spool. It goes when nothing waits for it any more."""

    __slots__ = ("path", "waiting", "unread")

    def __init__(self, path: Path, unread: bool = False) -> None:
        self.path = path
        self.waiting = 0  # lines whose record is in memory but not in the store
        self.unread = unread  # holds records that are nowhere else


class Spool:
    """The segments in the directory `path`; one process at a time.

    Nothing is touched before `open`.
    """

    log = Logger()

    def __init__(self, path: str | os.PathLike[str], segment_size: int = SEGMENT_SIZE) -> None:
        self.path = Path(path)
        self.segments: list[Segment] = []  # oldest first; the last one is written to while `_file` is open
        self._segment_size = segment_size
        self._lock: int | None = None
        self._file: int | None = None
        self._written = 0  # bytes in the current segment
        self._next_number = 1
        self._torn = False  # the last write left half a line
        self._failing = False

    def open(self) -> None:
        """Take the directory, and take over the segments that an earlier process left, as unread.

        Raises StoreUnavailable when it cannot be made or another process has it.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"spool {self.path}: {error.strerror}; make it a directory we may write to"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise StoreUnavailable(f"spool {self.path}: another calltrack uses it; give this one its own") from error
        self._lock = lock
        left = sorted(
            (path for path in self.path.glob("*" + _SUFFIX) if path.stem.isdecimal()), key=lambda p: int(p.stem)
        )
        self.segments[:0] = [Segment(path, unread=True) for path in left]
        if left:
            self._next_number = int(left[-1].stem) + 1

    def close(self) -> None:
        """Give the directory back. Segments that something waits for stay on disk."""
        self.rotate()
        self.segments = []
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def append(self, line: bytes) -> Segment | None:
        """Write `line`, a record's JSON; the segment it is in counts one more waiting line. None when
        the disk does not take it: that is logged once, and the next line is tried again."""
        try:
            if self._file is None or self._written >= self._segment_size:
                self._begin_segment()
            data = b"\n%b\n" % line if self._torn else line + b"\n"
            written = os.write(self._file, data)
            self._torn = written != len(data)
            if self._torn:
                raise OSError("the line was cut off")
        except (OSError, StoreUnavailable) as error:
            if not self._failing:
                self._failing = True
                self.log.error(
                    "spool {path} does not take records, they are in memory only: {error}", path=self.path, error=error
                )
            return None
        if self._failing:
            self._failing = False
            self.log.info("spool {path} takes records again", path=self.path)
        self._written += written
        segment = self.segments[-1]
        segment.waiting += 1
        return segment

    def release(self, segment: Segment) -> None:
        """One waiting line of `segment` is stored; the last one takes the file away."""
        segment.waiting -= 1
        self._drop_if_done(segment)

    def rotate(self) -> None:
        """Write no more to the current segment."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._torn = False
            self._drop_if_done(self.segments[-1])

    def unread(self) -> Segment | None:
        """The oldest segment with records that are nowhere else, no longer written to."""
        for segment in self.segments:
            if segment.unread:
                if segment is self.segments[-1]:
                    self.rotate()
                return segment
        return None

    def read(self, segment: Segment) -> list[CallRecord]:
        """The records of `segment`, the latest line of each call, oldest call first. They count as waiting
        lines from now on, and the segment as read. A half line at the end is what a crash leaves and is
        passed over; anything else unreadable is logged, and its file kept as ``*.damaged``."""
        segment.unread = False
        records: dict[str, CallRecord] = {}
        damaged = 0
        try:
            *lines, rest = segment.path.read_bytes().split(b"\n")
        except OSError as error:
            self.log.error("spool segment {path} cannot be read: {error}", path=segment.path, error=error)
            self.segments.remove(segment)
            return []
        for position, line in enumerate([*lines, rest]):
            try:
                record = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                damaged += line != b"" and position < len(lines)
                continue
            earlier = records.get(record.id)
            if earlier is None or record.final or not earlier.final:
                records[record.id] = record
        if damaged:
            self._keep_damaged(segment, damaged)
        segment.waiting += len(records)
        if not records:
            self._drop_if_done(segment)
        return list(records.values())

    def _begin_segment(self) -> None:
        if self._lock is None:
            self.open()
        self.rotate()
        path = self.path / f"{self._next_number:08d}{_SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._next_number += 1
        self._written = 0
        self.segments.append(Segment(path))

    def _drop_if_done(self, segment: Segment) -> None:
        current = self._file is not None and segment is self.segments[-1]
        if not current and not segment.waiting and not segment.unread and segment in self.segments:
            self.segments.remove(segment)
            segment.path.unlink(missing_ok=True)

    def _keep_damaged(self, segment: Segment, lines: int) -> None:
        kept = segment.path.with_suffix(".damaged")
        self.log.error(
            "spool segment {path}: {lines} lines cannot be read; a copy is in {kept}",
            path=segment.path,
            lines=lines,
            kept=kept,
        )
        kept.write_bytes(segment.path.read_bytes())
