"""The way into the log for events that come with no record of their own, such as a trunk's ceasing to answer.

Many a transaction; what the store does not take is kept, within bounds, and tried again. Knows `IEventStore`.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import StoreUnavailable
from calltrack.events.model import Event
from calltrack.interfaces import IEventStore
from calltrack.timers import Timers

log = Logger()

RETRY = 1.0  # seconds
MOST_WAITING = 10_000  # events; older ones go first when the store is away for long


class Journal:
    """`publish` never waits and never raises."""

    def __init__(self, store: IEventStore, timers: Timers) -> None:
        self._store = store
        self._timers = timers
        self._waiting: list[Event] = []
        self._writing = False
        self._away = False
        self._lost = 0
        self._stopped: Deferred[None] | None = None

    def publish(self, event: Event) -> None:
        """Put `event` into the log soon."""
        self._waiting.append(event)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[0]
            self._lost += 1
            if self._lost == 1:
                log.critical("{count} events wait for the store already: the oldest ones are lost", count=MOST_WAITING)
        self._flush(None)

    def stop(self) -> Deferred[None]:
        """Fires with None when everything is in the log, or the store has refused it once more."""
        if not self._waiting and not self._writing:
            return succeed(None)
        self._stopped = Deferred()
        stopped = self._stopped
        self._flush(None)
        return stopped

    def _flush(self, _: None) -> None:
        if self._writing or not self._waiting:
            return
        self._writing = True
        events, self._waiting = self._waiting, []
        writing = maybeDeferred(self._store.append, events)
        writing.addCallbacks(self._written, self._refused, errbackArgs=(events,))
        writing.addErrback(lambda bug: log.failure("going on after events were written failed", failure=bug))

    def _written(self, _: None) -> None:
        self._writing = False
        if self._away:
            self._away = False
            log.info("events can be stored again")
        self._lost = 0
        self._flush(None)
        self._perhaps_stopped()

    def _refused(self, failure: Failure, events: list[Event]) -> None:
        self._writing = False
        if not self._away:
            self._away = True
            if failure.check(StoreUnavailable):
                log.error("events cannot be stored, they wait: {why}", why=failure.value)
            else:
                log.failure("events cannot be stored, they wait", failure=failure)
        self._waiting = events + self._waiting
        self._timers.after(RETRY, self._flush)
        self._perhaps_stopped(given_up=True)

    def _perhaps_stopped(self, given_up: bool = False) -> None:
        if self._stopped is not None and not self._writing and (given_up or not self._waiting):
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)
