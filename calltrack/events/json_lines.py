"""An event sink that appends one JSON object a line to a file, and begins a new file when that has grown.

    {"seq": 17, "event": {"type": "call.ended", "id": "01a209...ended", ...}}

Knows files; runs in a thread. A line is handed to the operating system whole, so it survives the end of the process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
from zope.interface import implementer

from calltrack.errors import InvalidField
from calltrack.events.model import Logged
from calltrack.interfaces import IEventSink, IEventSinkMaker

_encode = msgspec.json.Encoder().encode


@implementer(IEventSink)
class JSONLines:
    """Appends to `path`; at `max_size` bytes it becomes `path`.1, that `path`.2, up to `keep` old ones."""

    threaded = True

    def __init__(self, path: str, max_size: int = 64 << 20, keep: int = 10) -> None:
        self._path = Path(path)
        self._max_size = max_size
        self._keep = keep

    def start(self, reactor: Any) -> None:
        pass

    def deliver(self, events: list[Logged]) -> None:
        """Raises OSError when the file does not take them; then none of them is in it."""
        data = b"".join(_encode({"seq": one.seq, "event": one.event}) + b"\n" for one in events)
        # Opened each time: whoever moves the file away meanwhile, such as logrotate, gets no more lines.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(file).st_size
            if size and size + len(data) > self._max_size:
                self._rotate()
                os.close(file)
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
                size = 0
            elif size and os.pread(file, 1, size - 1) != b"\n":
                data = b"\n" + data  # what a machine that went down has left
            written = 0
            try:
                while written < len(data):
                    written += os.write(file, data[written:])
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)

    def close(self) -> None:
        pass

    def _rotate(self) -> None:
        for number in range(self._keep, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else self._path
            if newer.exists():
                newer.replace(older)
        if not self._keep:
            self._path.unlink()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


@implementer(IEventSinkMaker)
class JSONLinesMaker:
    """`path`; `max_size` in MiB (64); `keep` old files (10)."""

    name = "json-lines"

    def make(self, options: dict[str, Any]) -> JSONLines:
        check_keys(options, ("path", "max_size", "keep"))
        path = options.get("path")
        if not isinstance(path, str) or not path or not path.isprintable():
            raise InvalidField("path", "is missing; name the file that events are appended to")
        return JSONLines(path, whole(options, "max_size", 64, 1, 1 << 20) << 20, whole(options, "keep", 10, 0, 1000))


def check_keys(options: dict[str, Any], known: tuple[str, ...]) -> None:
    """Raises InvalidField for the first key that is none of `known`."""
    for key in options:
        if key not in known:
            raise InvalidField(ascii(key).strip("'"), f"unknown key; known: name, kind, events, {', '.join(known)}")


def whole(options: dict[str, Any], key: str, default: int, low: int, high: int) -> int:
    """An option that is a whole number. Raises InvalidField."""
    value = options.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidField(key, f"{ascii(value)[:60]} is no whole number from {low} to {high}")
    return value
