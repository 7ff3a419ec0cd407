"""The way into the log for events that come with no record of their own, such as a trunk's ceasing to answer.

Many a transaction; what the store does not take is kept, within bounds, and tried again. Knows `IEventStore`.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from calltrack.events.model import Event
from calltrack.interfaces import IEventStore
from calltrack.journal import Journal
from calltrack.timers import Timers

log = Logger()

MOST_WAITING = 10_000  # events; older ones go first when the store is away for long


class EventsThatWait:
    """Events that are to be written, in order; the oldest go when there are too many. `whose`: as the log calls them."""

    def __init__(self, whose: str = "events") -> None:
        self._whose = whose
        self._events: list[Event] = []
        self._lost = False  # some, since the store took the last ones

    def __len__(self) -> int:
        return len(self._events)

    def add(self, events: list[Event]) -> None:
        self._events.extend(events)
        self._keep_within_bounds()

    def put_back(self, events: list[Event]) -> None:
        """What was taken was not written."""
        self._events[:0] = events
        self._keep_within_bounds()

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def written(self) -> None:
        """What was taken is in the store."""
        self._lost = False

    def _keep_within_bounds(self) -> None:
        beyond = len(self._events) - MOST_WAITING
        if beyond > 0:
            del self._events[:beyond]
            if not self._lost:
                self._lost = True
                log.critical("{count} {whose} wait for the store already: the oldest ones are lost", count=MOST_WAITING, whose=self._whose)


class EventJournal(Journal[list[Event]]):
    """`publish` never waits and never raises."""

    what, meanwhile = "events", "they wait"

    def __init__(self, store: IEventStore, timers: Timers) -> None:
        super().__init__(timers)
        self._store = store
        self._waiting = EventsThatWait()

    def publish(self, event: Event) -> None:
        """Put `event` into the log soon."""
        self._waiting.add([event])
        self._flush()

    def _anything(self) -> bool:
        return bool(self._waiting)

    def _take(self) -> list[Event]:
        return self._waiting.take()

    def _write(self, batch: list[Event]) -> Deferred[None]:
        return self._store.append(batch)

    def _done(self, batch: list[Event], result: None) -> None:
        self._waiting.written()

    def _put_back(self, batch: list[Event]) -> None:
        self._waiting.put_back(batch)
