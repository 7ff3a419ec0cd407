"""The files of recordings: a WAV that grows and can be played at any moment, and a capture beside it.

Both are written under a temporary name, held by a lock as long as somebody writes, and get their own name when they
are complete. Blocks: belongs into the writer's thread. Knows no calls and no packets.
"""

from __future__ import annotations

import fcntl
import os
import re
from datetime import datetime, timedelta, timezone
from struct import Struct
from typing import Iterator, NamedTuple

from calltrack import pcap
from calltrack.recording.channel import RATE, SAMPLE

PART = ".part"
FRAME = 2 * SAMPLE  # bytes: one sample of each side
_WAV = Struct("<4sI4s4sIHHIIHH4sI")
_MOST = 0xFFFFFFFF - _WAV.size  # bytes of sound that the header can tell
_NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9A-Za-z_-]{1,64}\.(wav|pcap)\Z")


class Left(NamedTuple):
    """A recording that a dead process left behind, finished now."""

    call: str
    name: str = ""
    capture: str = ""
    seconds: float = 0.0


def name_of(call: str, began_ms: int, kind: str) -> str:
    """What a recording's file is called below the directory: a folder for each day (UTC)."""
    return f"{datetime.fromtimestamp(began_ms / 1000, timezone.utc):%Y-%m-%d}/{call}.{kind}"


def path_of(directory: str, name: str) -> str:
    """Where a recording's file lies. Raises ValueError for what `name_of` never made, so that no name leads
    out of the directory."""
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is no name of a recording")
    return os.path.join(directory, name)


def wav_header(size: int) -> bytes:
    """Of `size` bytes of sound: 16 bit, 8000 Hz, the caller left, the target right."""
    size = min(size, _MOST)
    return _WAV.pack(
        b"RIFF", size + _WAV.size - 8, b"WAVE", b"fmt ", 16, 1, 2, RATE, RATE * FRAME, FRAME, 8 * SAMPLE, b"data", size
    )


class Growing:
    """A file that is written. Every method raises OSError."""

    def __init__(self, directory: str, name: str) -> None:
        self.path = path_of(directory, name)
        os.makedirs(directory, 0o700, exist_ok=True)
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        self._file = os.open(self.path + PART, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.size = 0  # bytes that are in the file for good

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it that anybody would want."""
        return not self.size

    def append(self, content: bytes) -> None:
        """Add `content`; all or nothing of it counts."""
        start, view = self.size, memoryview(content)
        while view:
            written = os.pwrite(self._file, view, start)
            start += written
            view = view[written:]
        self.size = start

    def rewrite(self, start: int, content: bytes) -> None:
        """Put `content` over what stands at `start`."""
        os.pwrite(self._file, content, start)

    def complete(self) -> None:
        """Close the file, and give it its name."""
        try:
            os.ftruncate(self._file, self.size)
        finally:
            os.close(self._file)
        os.rename(self.path + PART, self.path)

    def discard(self) -> None:
        """Close the file and remove it."""
        os.close(self._file)
        os.unlink(self.path + PART)


class WAV(Growing):
    """A file of sound whose header is true at any moment."""

    def __init__(self, directory: str, name: str) -> None:
        super().__init__(directory, name)
        super().append(wav_header(0))

    @property
    def empty(self) -> bool:
        return self.size == _WAV.size

    def append(self, content: bytes) -> None:
        super().append(content)
        self.rewrite(0, wav_header(self.size - _WAV.size))


def room(directory: str) -> int:
    """Bytes that are left on the disk, for us. Raises OSError."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def seconds_in(path: str) -> float:
    """How long a WAV of ours plays. Raises OSError."""
    return max(0, os.path.getsize(path) - _WAV.size) // FRAME / RATE


def finish_all(directory: str) -> list[Left]:
    """Give what a dead process left its header and its name; what is empty goes. Raises OSError."""
    found: dict[str, Left] = {}
    for name in _names(directory, PART):
        path = os.path.join(directory, name)
        if not _finish(path):
            continue
        name = name.removesuffix(PART)
        call, _, kind = os.path.basename(name).rpartition(".")
        left = found.get(call, Left(call))
        if kind == "wav":
            left = left._replace(name=name, seconds=seconds_in(path.removesuffix(PART)))
        else:
            left = left._replace(capture=name)
        found[call] = left
    return [left if left.name else left._replace(name=left.capture, capture="") for left in found.values()]


def _finish(path: str) -> bool:
    """Whether there is a finished file now; False when it was empty, or somebody writes it still."""
    with open(path, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        size = os.path.getsize(path)
        if path.endswith(".wav" + PART):
            end = _WAV.size + max(0, size - _WAV.size) // FRAME * FRAME
            empty = end == _WAV.size
            file.write(wav_header(end - _WAV.size))
        else:
            end = pcap.whole_packets(file.read())
            empty = end <= pcap.HEADER_SIZE
        file.truncate(end)
        if empty:
            os.unlink(path)
        else:
            os.rename(path, path.removesuffix(PART))
        return not empty


def delete(directory: str, *names: str) -> None:
    """Delete recordings by name; names of none, and what is gone already, are passed over. Raises OSError."""
    for name in names:
        try:
            os.unlink(path_of(directory, name))
        except (FileNotFoundError, ValueError):
            continue


def expire(directory: str, days: float, now_ms: int) -> list[str]:
    """Delete what was begun more than `days` days before, a day at a time; the names that are gone. Raises OSError."""
    last = datetime.fromtimestamp(now_ms / 1000, timezone.utc) - timedelta(days=days + 1)
    gone = []
    for name in _names(directory, (".wav", ".pcap")):
        if name < f"{last:%Y-%m-%d}/":
            os.unlink(os.path.join(directory, name))
            gone.append(name)
    for folder in {os.path.dirname(name) for name in gone}:
        if not os.listdir(os.path.join(directory, folder)):
            os.rmdir(os.path.join(directory, folder))
    return gone


def _names(directory: str, endings: str | tuple[str, ...]) -> Iterator[str]:
    """The files of recordings that end so. There may be no directory yet."""
    try:
        days = sorted(os.listdir(directory))
    except FileNotFoundError:
        return
    for day in days:
        if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", day):
            continue
        for file in sorted(os.listdir(os.path.join(directory, day))):
            name = f"{day}/{file}"
            if name.endswith(endings) and _NAME.match(name.removesuffix(PART)):
                yield name
