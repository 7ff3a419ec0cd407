"""What a running engine tells other processes of this machine about itself: one small JSON file, replaced whole.

Knows a path and JSON; not what it says. A file that cannot be written costs a line in the log, nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import msgspec
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()


class Bulletin:
    """Writes what `compose()` gives to `path` each time that `renew` is called, soon and off the reactor's thread."""

    def __init__(self, path: str | os.PathLike[str], reactor: Any, compose: Callable[[], Any]) -> None:
        self._path = Path(path)
        self._reactor = reactor
        self._compose = compose
        self._writing = False
        self._again = False

    def renew(self, news: Any = None) -> None:
        """Something has changed. Several changes at once are written once. `news` is ignored: this may observe."""
        if self._writing:
            self._again = True
            return
        self._writing, self._again = True, False
        text = msgspec.json.encode(self._compose())
        writing = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._write, text)
        writing.addErrback(self._unwritable).addCallback(self._written)

    def _write(self, text: bytes) -> None:
        self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_bytes(text)
        os.replace(new, self._path)

    def _written(self, _: None) -> None:
        self._writing = False
        if self._again:
            self.renew()

    def _unwritable(self, failure: Failure) -> None:
        failure.trap(OSError)
        log.warn("{path} cannot be written: {why}", path=str(self._path), why=failure.value)


def read_bulletin(path: str | os.PathLike[str]) -> Any | None:
    """What stands in the file; None when there is none that can be read."""
    try:
        return msgspec.json.decode(Path(path).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
