"""Bring visits, leases and misses into the store: many a transaction, each answered when it is durable.

The ends of leases and the misses, for which nobody waits, are kept until the store takes them. Knows `IVisitStore`; not what
leads to a lease.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple

from twisted.internet.defer import Deferred

from calltrack.errors import StoreUnavailable
from calltrack.interfaces import IVisitStore
from calltrack.journal import Journal
from calltrack.timers import Timers
from calltrack.tracking.model import Lease, Miss, Visit

GATHER = 0.25  # seconds that what nobody waits for may gather
MOST = 100_000  # ends and misses that wait while the store is away; beyond them misses are dropped


class Batch(NamedTuple):
    """What is written at once, and who waits for it: with the ids of the leases that each has begun."""

    visits: list[Visit]
    begun: list[Lease]
    ended: list[Lease]
    misses: list[Miss]
    waiting: list[tuple[Deferred[list[Lease]], frozenset[str]]]


class VisitJournal(Journal[Batch]):
    """The way into `store`."""

    what, meanwhile = "visits", "browsers are asked to come again"

    def __init__(self, store: IVisitStore, timers: Timers) -> None:
        super().__init__(timers)
        self._store = store
        self._next = Batch([], [], [], [], [])

    def begin(self, visits: Iterable[Visit], begun: Iterable[Lease]) -> Deferred[list[Lease]]:
        """Fires, when visits and leases are durable, with those leases that the store refused because their number
        is held already. Fails with StoreUnavailable; then it is not known what was written, so that the leases must
        be ended."""
        begun = tuple(begun)
        self._next.visits.extend(visits)
        self._next.begun.extend(begun)
        done: Deferred[list[Lease]] = Deferred()
        self._next.waiting.append((done, frozenset(lease.id for lease in begun)))
        self._flush()
        return done

    def end(self, lease: Lease) -> None:
        """A lease is over. Nobody waits for that."""
        self._next.ended.append(lease)
        self._flush_within(GATHER)

    def missed(self, miss: Miss) -> None:
        """A visitor got no number. Nobody waits for that."""
        if len(self._next.misses) < MOST:
            self._next.misses.append(miss)
            self._flush_within(GATHER)

    def _anything(self) -> bool:
        return bool(self._next.waiting or self._next.ended or self._next.misses)

    def _take(self) -> Batch:
        batch, self._next = self._next, Batch([], [], [], [], [])
        return batch

    def _write(self, batch: Batch) -> Deferred[list[Lease]]:
        return self._store.write(batch.visits, batch.begun, batch.ended, batch.misses)

    def _done(self, batch: Batch, result: list[Lease]) -> None:
        for done, ids in batch.waiting:
            done.callback([lease for lease in result if lease.id in ids] if result else [])

    def _put_back(self, batch: Batch) -> None:
        self._next.ended[:0] = batch.ended
        self._next.misses[:0] = batch.misses
        for done, _ in batch.waiting:
            done.errback(StoreUnavailable("visits cannot be stored at the moment"))
