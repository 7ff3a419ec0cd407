"""Bring changes of bindings into the store: many REGISTERs a transaction, each answered when it is durable.

Events that tell of the changes go with them. What the store did not take is kept and tried again, so that store and memory
agree in the end. Knows `ILocationStore`; no SIP.
"""

from __future__ import annotations

from typing import Callable, Iterable, NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from calltrack.events.journal import EventsThatWait
from calltrack.events.model import Event
from calltrack.interfaces import ILocationStore
from calltrack.journal import Journal
from calltrack.timers import Timers
from calltrack.tracking.bindings import Binding

log = Logger()

Done = Callable[[bool], None]
Changes = dict[tuple[int, int], "Binding | None"]  # None: it is removed


class Batch(NamedTuple):
    """What is written at once, and who waits for it."""

    changes: Changes
    events: list[Event]
    waiting: list[Done]


class BindingJournal(Journal[Batch]):
    """The way into `store`. A change to a binding takes the place of an earlier one that is still waiting."""

    what, meanwhile = "bindings", "devices are asked to come again"

    def __init__(self, store: ILocationStore, timers: Timers) -> None:
        super().__init__(timers)
        self._store = store
        self._changes: Changes = {}
        self._events = EventsThatWait("events of devices")
        self._waiting: list[Done] = []

    def write(
        self,
        saved: Iterable[Binding],
        removed: Iterable[Binding],
        events: list[Event],
        done: Done | None = None,
    ) -> None:
        """`events` tell of the change. `done(durable)` is called when all that is in the store, or could not be written for
        now."""
        self._changes.update(((binding.project, binding.id), None) for binding in removed)
        self._changes.update(((binding.project, binding.id), binding) for binding in saved)
        self._events.add(events)
        if done is not None:
            self._waiting.append(done)
        self._flush()

    def _anything(self) -> bool:
        return bool(self._changes or self._waiting)

    def _take(self) -> Batch:
        batch = Batch(self._changes, self._events.take(), self._waiting)
        self._changes, self._waiting = {}, []
        return batch

    def _write(self, batch: Batch) -> Deferred[None]:
        saved = [binding for binding in batch.changes.values() if binding is not None]
        removed = [key for key, binding in batch.changes.items() if binding is None]
        return self._store.write(saved, removed, batch.events)

    def _done(self, batch: Batch, result: None) -> None:
        self._events.written()
        _settle(batch.waiting, True)

    def _put_back(self, batch: Batch) -> None:
        self._changes = {**batch.changes, **self._changes}
        self._events.put_back(batch.events)
        _settle(batch.waiting, False)


def _settle(waiting: list[Done], durable: bool) -> None:
    for done in waiting:
        try:
            done(durable)
        except Exception:  # one broken answer must not cost the others theirs
            log.failure("answering a registration failed")
