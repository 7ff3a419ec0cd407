"""The log as the configuration wants it: text, or an object a line for programs. Knows events of Twisted's logger.

The id of a call stands in each line that has to do with one: `log.info("...", call_id=...)`.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from typing import Any, TextIO

import msgspec
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
    formatEvent,
    formatEventAsClassicLogText,
)
from zope.interface import implementer

from calltrack.control.settings import LogSettings

_OWN = ("call_id", "sip_call_id", "project", "trunk")  # fields of events that programs look for


class LogFile:
    """A file that can be opened anew after somebody has renamed it; standard output without a path."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: TextIO = self._open()

    def write(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()

    def reopen(self) -> None:
        """Raises OSError, and goes on with the old one then."""
        if self._path:
            old, self._file = self._file, self._open()
            old.close()

    def _open(self) -> TextIO:
        if not self._path:
            return sys.stdout
        return open(self._path, "a", encoding="utf-8", errors="backslashreplace", opener=_not_for_everybody)


def _not_for_everybody(path: str, flags: int) -> int:
    """Phone numbers stand in a log, and the link by which the page is set up."""
    return os.open(path, flags | os.O_CLOEXEC, 0o640)


@implementer(ILogObserver)
class Lines:
    """Writes events to a LogFile. `as_json`: an object a line."""

    def __init__(self, file: LogFile, as_json: bool) -> None:
        self.file = file
        self._write = self._object if as_json else formatEventAsClassicLogText

    def __call__(self, event: dict[str, Any]) -> None:
        line = self._write(event)
        if line:
            self.file.write(line if line.endswith("\n") else line + "\n")

    @staticmethod
    def _object(event: dict[str, Any]) -> str:
        level = event.get("log_level")
        at = datetime.fromtimestamp(event.get("log_time", 0.0), timezone.utc)
        line = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level.name if level is not None else "info",
            "from": event.get("log_namespace", ""),
            "text": formatEvent(event) or str(event.get("log_text", "")),
        }
        line |= {name: str(event[name]) for name in _OWN if event.get(name) not in (None, "")}
        failure = event.get("log_failure")
        if failure is not None:
            line["traceback"] = eventAsText(event, includeTimestamp=False, includeSystem=False)
        return msgspec.json.encode(_clean(line)).decode()


def _clean(line: dict[str, str]) -> dict[str, str]:
    """Without lone surrogates, which UTF-8 cannot say."""
    return {key: value.encode("utf-8", "replace").decode() for key, value in line.items()}


def observer(settings: LogSettings) -> tuple[ILogObserver, LogFile] | None:
    """What log events go to, and the file behind it; None when nothing is set: then the log is twistd's.
    Raises OSError when the file cannot be opened."""
    if settings == LogSettings():
        return None
    file = LogFile(settings.file)
    lines = Lines(file, settings.format == "json")
    level = LogLevelFilterPredicate(defaultLogLevel=LogLevel.lookupByName(settings.level))
    return FilteringLogObserver(lines, [level]), file
