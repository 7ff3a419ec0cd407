"""Bring visits, leases and misses into the store: many a transaction, each answered when it is durable.

While a transaction runs, what comes in meanwhile waits for the next one. The ends of leases and the misses, for which
nobody waits, are kept until the store takes them. Knows `IVisitStore`; not what leads to a lease.
"""

from __future__ import annotations

from typing import Iterable

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import StoreUnavailable
from calltrack.interfaces import IVisitStore
from calltrack.timers import Timers
from calltrack.tracking.model import Lease, Miss, Visit

log = Logger()

RETRY = 1.0  # seconds after which the store is tried again
GATHER = 0.25  # seconds that what nobody waits for may gather
MOST = 100_000  # ends and misses that wait while the store is away; beyond them misses are dropped


class VisitJournal:
    """The way into `store`."""

    def __init__(self, store: IVisitStore, timers: Timers) -> None:
        self._store = store
        self._timers = timers
        self._visits: list[Visit] = []
        self._begun: list[Lease] = []
        self._ended: list[Lease] = []
        self._misses: list[Miss] = []
        self._waiting: list[tuple[Deferred[list[Lease]], frozenset[str]]] = []
        self._writing = False
        self._gathering = False
        self._away = False
        self._stopped: Deferred[None] | None = None

    def begin(self, visits: Iterable[Visit], begun: Iterable[Lease]) -> Deferred[list[Lease]]:
        """Fires, when visits and leases are durable, with those leases that the store refused because their number
        is held already. Fails with StoreUnavailable; then it is not known what was written, so that the leases must
        be ended."""
        begun = tuple(begun)
        self._visits.extend(visits)
        self._begun.extend(begun)
        done: Deferred[list[Lease]] = Deferred()
        self._waiting.append((done, frozenset(lease.id for lease in begun)))
        self._flush()
        return done

    def end(self, lease: Lease) -> None:
        """A lease is over. Nobody waits for that."""
        self._ended.append(lease)
        self._gather()

    def missed(self, miss: Miss) -> None:
        """A visitor got no number. Nobody waits for that."""
        if len(self._misses) < MOST:
            self._misses.append(miss)
            self._gather()

    def stop(self) -> Deferred[None]:
        """Fires with None when everything is written, or the store has refused it once more."""
        if not self._writing and not self._anything():
            return succeed(None)
        self._stopped = Deferred()
        self._flush()
        return self._stopped

    def _anything(self) -> bool:
        return bool(self._waiting or self._ended or self._misses)

    def _gather(self) -> None:
        if not self._gathering:
            self._gathering = True
            self._timers.after(RETRY if self._away else GATHER, self._gathered)

    def _gathered(self, _: None) -> None:
        self._gathering = False
        self._flush()

    def _flush(self) -> None:
        if self._writing or not self._anything():
            return
        self._writing = True
        batch = (self._visits, self._begun, self._ended, self._misses)
        self._visits, self._begun, self._ended, self._misses = [], [], [], []
        waiting, self._waiting = self._waiting, []
        writing = maybeDeferred(self._store.write, *batch)
        writing.addCallbacks(self._written, self._refused, callbackArgs=(waiting,), errbackArgs=(batch, waiting))
        writing.addErrback(lambda bug: log.failure("answering after a write failed", failure=bug))

    def _written(self, refused: list[Lease], waiting: list) -> None:
        self._writing = False
        if self._away:
            self._away = False
            log.info("visits can be stored again")
        for done, ids in waiting:
            done.callback([lease for lease in refused if lease.id in ids] if refused else [])
        self._flush()
        self._perhaps_stopped()

    def _refused(self, failure: Failure, batch: tuple, waiting: list) -> None:
        self._writing = False
        if not failure.check(StoreUnavailable):
            log.failure("visits cannot be stored", failure=failure)
        elif not self._away:
            log.error("visits cannot be stored, browsers are asked to come again: {why}", why=failure.value)
        self._away = True
        _, _, ended, misses = batch
        self._ended = ended + self._ended
        self._misses = misses + self._misses
        if self._anything():
            self._gather()
        for done, _ in waiting:
            done.errback(StoreUnavailable("visits cannot be stored at the moment"))
        self._perhaps_stopped(given_up=True)

    def _perhaps_stopped(self, given_up: bool = False) -> None:
        if self._stopped is not None and not self._writing and (given_up or not self._anything()):
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)
