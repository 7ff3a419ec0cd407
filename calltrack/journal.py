"""Bring what gathers into a store: one write at a time, what comes in meanwhile waits for the next one.

What the store does not take is tried again. Knows time and StoreUnavailable; must not know what is written, or where.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import StoreUnavailable
from calltrack.timers import Timers

log = Logger()

RETRY = 1.0  # seconds after which the store is tried again

Batch = TypeVar("Batch")


class Journal(Generic[Batch]):
    """The way into a store. What is special to one store are the methods that raise NotImplementedError here; none of them may
    raise anything."""

    what = ""  # that is written, as the log calls it: "bindings"
    meanwhile = ""  # what that means as long as it cannot be: "devices are asked to come again"

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._writing = False
        self._away = False  # the store refused the last write
        self._armed = False  # there will be a flush
        self._stopped: Deferred[None] | None = None

    def stop(self) -> Deferred[None]:
        """Fires with None when everything is written, or the store has refused it once more."""
        if not self._writing and not self._anything():
            return succeed(None)
        stopped = self._stopped = Deferred()
        self._flush()
        return stopped

    # For each kind of journal

    def _anything(self) -> bool:
        """Whether something waits to be written."""
        raise NotImplementedError

    def _take(self) -> Batch:
        """Everything that waits, which does so no longer."""
        raise NotImplementedError

    def _write(self, batch: Batch) -> Deferred[Any]:
        """Give it to the store."""
        raise NotImplementedError

    def _done(self, batch: Batch, result: Any) -> None:
        """It is durable; `result`: what the store said."""
        raise NotImplementedError

    def _put_back(self, batch: Batch) -> None:
        """The store did not take it: what is to be tried again waits before all else; whoever waits hears of it."""
        raise NotImplementedError

    # How it is written

    def _flush(self) -> None:
        """Write what waits, unless a write is under way: that one is followed by the next."""
        if self._writing or not self._anything():
            return
        self._writing = True
        batch = self._take()
        writing = maybeDeferred(self._write, batch)
        writing.addCallbacks(self._written, self._refused, callbackArgs=(batch,), errbackArgs=(batch,))
        writing.addErrback(lambda bug: log.failure("going on after a write of {what} failed", failure=bug, what=self.what))

    def _flush_within(self, seconds: float) -> None:
        """Write what waits and what will wait then; a store that is away is asked a little later."""
        if not self._armed:
            self._armed = True
            self._timers.after(RETRY if self._away else seconds, self._due)

    def _due(self, _: None) -> None:
        self._armed = False
        self._flush()

    def _written(self, result: Any, batch: Batch) -> None:
        self._writing = False
        if self._away:
            self._away = False
            log.info("{what} can be stored again", what=self.what)
        self._done(batch, result)
        self._flush()
        self._perhaps_stopped()

    def _refused(self, failure: Failure, batch: Batch) -> None:
        self._writing = False
        if not self._away:
            self._away = True
            if failure.check(StoreUnavailable):
                log.error(
                    "{what} cannot be stored, {meanwhile}: {why}", what=self.what, meanwhile=self.meanwhile, why=failure.value
                )
            else:
                log.failure("{what} cannot be stored, {meanwhile}", failure, what=self.what, meanwhile=self.meanwhile)
        self._put_back(batch)
        if self._anything():
            self._flush_within(RETRY)
        self._perhaps_stopped(given_up=True)

    def _perhaps_stopped(self, given_up: bool = False) -> None:
        if self._stopped is not None and not self._writing and (given_up or not self._anything()):
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)
