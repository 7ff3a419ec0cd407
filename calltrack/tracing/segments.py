"""Traced messages in files: one file after another, the oldest of which are deleted. Finds a call's messages in them.

A file begins with a random key; each message in it with that key and the call's id, so that a search for both finds the
call's messages and nothing that somebody has sent. Blocks: belongs into the writer's thread, or into a program of its own.
"""

from __future__ import annotations

import os
import re
import secrets
from struct import Struct
from typing import Iterable, Iterator, NamedTuple

from calltrack.tracing.message import Address, Traced

_MAGIC = b"calltrack trace 1\n"
_KEY = 8  # bytes
_CALL = 32  # bytes
_HEAD = Struct(">QBHI")  # microseconds, sent, length of the place, length of the message
_NAME = re.compile(r"([0-9]{13})-[0-9]+-[0-9a-f]{4}\.trace\Z")
_PARTS = 32  # files that the largest size is made of
_LARGEST, _SMALLEST = 16_000_000, 1_000_000  # bytes of a file
_LONGEST = 3_600_000  # milliseconds that a file is written
AFTER = 60_000  # milliseconds that messages follow the end of their call
BEFORE = 2_000  # milliseconds by which the record's clock may be behind the messages'


class About(NamedTuple):
    """What many messages have in common, as it stands in a file."""

    call: bytes
    place: bytes


Record = tuple[About, int, bool, bytes]  # a message: microseconds since the Unix epoch, whether we sent it, its bytes


class Segments:
    """Writes into `directory`, at most `size` bytes of everything. Raises OSError."""

    def __init__(self, directory: str, size: int) -> None:
        self._directory = directory
        self._size = size
        self._most = min(max(size // _PARTS, _SMALLEST), _LARGEST)
        self._file = -1
        self._key = b""
        self._written = 0
        self._began = 0
        self._path = ""

    def write(self, records: Iterable[Record], now_ms: int) -> None:
        """Add messages; those that fail are lost."""
        if self._file >= 0 and (self._written >= self._most or now_ms - self._began >= _LONGEST):
            self.close()
        if self._file < 0:
            self._open(now_ms)
        key, pack, parts = self._key, _HEAD.pack, []
        for about, at_us, sent, data in records:
            parts += (key, about.call, pack(at_us, sent, len(about.place), len(data)), about.place, data)
        content = b"".join(parts)
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, self._written)  # half a message would hide the next one
            raise
        self._written += len(content)

    def expire(self, oldest_ms: int) -> None:
        """Delete files that were last written before `oldest_ms`, and the oldest of those that are too many."""
        kept = 0
        for _, path in reversed(_files(self._directory)):
            status = os.stat(path)
            kept += status.st_size
            if (status.st_mtime * 1000 < oldest_ms or kept > self._size) and path != self._path:
                os.unlink(path)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self, now_ms: int) -> None:
        os.makedirs(self._directory, 0o700, exist_ok=True)
        path = os.path.join(self._directory, f"{now_ms:013d}-{os.getpid()}-{secrets.token_hex(2)}.trace")
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._key = secrets.token_bytes(_KEY)
        self._path = path
        self._began = now_ms
        self._written = os.write(self._file, _MAGIC + self._key)


def about(call: str, side: str, transport: str, local: Address, remote: Address) -> About:
    """What messages of one side of a call have in common."""
    place = f"{side} {transport} {local[0]} {local[1]} {remote[0]} {remote[1]}"
    return About(call.encode().ljust(_CALL), place.encode())


def read(directory: str, call: str, since_ms: int, until_ms: int) -> list[Traced]:
    """The messages of a call that lasted from `since_ms` to `until_ms`, in order; none when they are gone or were never
    kept. Raises OSError, but not when there is no directory."""
    found: list[Traced] = []
    for began, path in _files(directory):
        if not since_ms - BEFORE - _LONGEST <= began <= until_ms + AFTER:
            continue
        try:
            with open(path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            continue  # deleted meanwhile
        found.extend(_find(content, call))
    found.sort(key=lambda message: message.at_us)
    return found


def erase(directory: str, call: str, since_ms: int, until_ms: int) -> int:
    """Overwrite the messages of a call, of which there are so many. As `read`."""
    count = 0
    for began, path in _files(directory):
        if not since_ms - BEFORE - _LONGEST <= began <= until_ms + AFTER:
            continue
        try:
            with open(path, "r+b") as file:
                status = os.fstat(file.fileno())
                for start, end, _ in list(_places(file.read(), call)):
                    file.seek(start)
                    file.write(bytes(end - start))
                    count += 1
                file.flush()
                os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))  # its age stays
        except FileNotFoundError:
            continue  # deleted meanwhile
    return count


def _find(content: bytes, call: str) -> Iterator[Traced]:
    for _, _, message in _places(content, call):
        yield message


def _places(content: bytes, call: str) -> Iterator[tuple[int, int, Traced]]:
    """Each message of a call in a file, and from where to where it stands there."""
    start = len(_MAGIC)
    key = content[start : start + _KEY]
    if not content.startswith(_MAGIC) or len(key) < _KEY or not 0 < len(call) <= _CALL:
        return
    mark = key + call.encode().ljust(_CALL)
    begin = content.find(mark, start + _KEY)
    while begin >= 0:
        at = begin + len(mark)
        if at + _HEAD.size > len(content):
            return
        at_us, sent, place, size = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        end = at + place + size
        if end > len(content):
            return  # was being written
        side, transport, *hosts = content[at : at + place].decode().split(" ")
        local, remote = (hosts[0], int(hosts[1])), (hosts[2], int(hosts[3]))
        message = Traced(call, side, at_us, bool(sent), transport, local, remote, content[at + place : end])
        yield begin, end, message
        begin = content.find(mark, end)


def _files(directory: str) -> list[tuple[int, str]]:
    """When each file was begun (milliseconds), and its path; oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    matches = [match for match in map(_NAME.match, names) if match]
    return sorted((int(match[1]), os.path.join(directory, match[0])) for match in matches)


def address(host: str, port: int, shown: bytes) -> Address:
    """An address of ours; where it is that of no interface, what peers are shown (`host:port`) says more."""
    if host not in ("0.0.0.0", "::") or not shown:
        return host, port
    name, _, number = shown.decode("ascii", "replace").rpartition(":")
    return name.strip("[]") or host, int(number) if number.isdigit() else port
