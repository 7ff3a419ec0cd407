"""Bring changes of bindings into the store: many REGISTERs a transaction, each answered when it is durable.

Events that tell of the changes go with them. While a transaction runs, what comes in meanwhile waits for the next one. What the
store did not take is kept and tried again, so that store and memory agree in the end. Knows `ILocationStore`; no SIP.
"""

from __future__ import annotations

from typing import Callable, Iterable

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import StoreUnavailable
from calltrack.events.model import Event
from calltrack.interfaces import ILocationStore
from calltrack.timers import Timers
from calltrack.tracking.bindings import Binding

log = Logger()

RETRY = 1.0  # seconds after which the store is tried again
MOST_EVENTS = 10_000  # that wait; older ones go first when the store is away for long

Done = Callable[[bool], None]


class Journal:
    """The way into `store`. A change to a binding takes the place of an earlier one that is still waiting."""

    def __init__(self, store: ILocationStore, timers: Timers) -> None:
        self._store = store
        self._timers = timers
        self._changes: dict[tuple[int, int], Binding | None] = {}  # None: it is removed
        self._events: list[Event] = []
        self._lost = 0  # events
        self._waiting: list[Done] = []
        self._writing = False
        self._away = False
        self._stopped: Deferred[None] | None = None

    def write(
        self,
        saved: Iterable[Binding],
        removed: Iterable[Binding],
        events: Iterable[Event] = (),
        done: Done | None = None,
    ) -> None:
        """`events` tell of the change. `done(durable)` is called when all that is in the store, or could not be written for
        now."""
        self._changes.update(((binding.project, binding.id), None) for binding in removed)
        self._changes.update(((binding.project, binding.id), binding) for binding in saved)
        self._events.extend(events)
        self._keep_within_bounds()
        if done is not None:
            self._waiting.append(done)
        self._flush(None)

    def stop(self) -> Deferred[None]:
        """Fires with None when everything is written, or the store has refused it once more."""
        if not self._writing and not self._changes:
            return succeed(None)
        self._stopped = Deferred()
        self._flush(None)
        return self._stopped

    def _flush(self, _: None) -> None:
        if self._writing or not (self._changes or self._waiting):
            return
        self._writing = True
        changes, self._changes = self._changes, {}
        events, self._events = self._events, []
        waiting, self._waiting = self._waiting, []
        saved = [binding for binding in changes.values() if binding is not None]
        removed = [key for key, binding in changes.items() if binding is None]
        writing = maybeDeferred(self._store.write, saved, removed, events)
        writing.addCallbacks(self._written, self._refused, callbackArgs=(waiting,), errbackArgs=(changes, events, waiting))
        writing.addErrback(lambda bug: log.failure("answering after a write failed", failure=bug))

    def _written(self, _: None, waiting: list[Done]) -> None:
        self._writing = False
        if self._away:
            self._away = False
            log.info("bindings can be stored again")
        self._lost = 0
        self._settle(waiting, True)
        self._flush(None)
        self._perhaps_stopped()

    def _refused(self, failure: Failure, changes: dict, events: list[Event], waiting: list[Done]) -> None:
        self._writing = False
        if not self._away:
            self._away = True
            if failure.check(StoreUnavailable):
                log.error("bindings cannot be stored, devices are asked to come again: {why}", why=failure.value)
            else:
                log.failure("bindings cannot be stored, devices are asked to come again", failure=failure)
        self._changes = {**changes, **self._changes}
        self._events = events + self._events
        self._keep_within_bounds()
        self._timers.after(RETRY, self._flush)
        self._settle(waiting, False)
        self._perhaps_stopped(given_up=True)

    def _keep_within_bounds(self) -> None:
        beyond = len(self._events) - MOST_EVENTS
        if beyond > 0:
            del self._events[:beyond]
            if not self._lost:
                log.critical("{count} events of devices wait for the store already: the oldest ones are lost", count=MOST_EVENTS)
            self._lost += beyond

    def _settle(self, waiting: list[Done], durable: bool) -> None:
        for done in waiting:
            try:
                done(durable)
            except Exception:  # one broken answer must not cost the others theirs
                log.failure("answering a registration failed")

    def _perhaps_stopped(self, given_up: bool = False) -> None:
        if self._stopped is not None and not self._writing and (given_up or not self._changes):
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)
