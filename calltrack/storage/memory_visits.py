"""Visits and the history of leases in memory. Knows no files."""

from __future__ import annotations

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from calltrack.errors import NoSuchObject, Sentence
from calltrack.events.derived import of_lease, of_visit
from calltrack.interfaces import IEventStore, IVisitStore
from calltrack.tracking.model import Lease, Miss, Visit
from calltrack.tracking.privacy import blanked


@implementer(IVisitStore)
class MemoryVisits:
    """Visits, leases and misses in dicts; what they give rise to goes into the log of events with them."""

    def __init__(self, events: IEventStore | None = None) -> None:
        self._events = events
        self._next: dict[int, int] = {}  # by project
        self._visits: dict[tuple[int, int], Visit] = {}
        self._leases: dict[str, dict[int, Lease]] = {}  # by number and beginning
        self._active: dict[str, int] = {}  # number: beginning
        self._misses: set[Miss] = set()

    def reserve(self, project: int, count: int) -> Deferred[int]:
        return execute(self._reserve, project, count)

    def write(
        self, visits: list[Visit], begun: list[Lease], ended: list[Lease], misses: list[Miss]
    ) -> Deferred[list[Lease]]:
        written = execute(self._write, visits, begun, ended, misses)
        return written if self._events is None else written.addCallback(self._tell, visits, [*ended, *begun])

    def _tell(self, refused: list[Lease], visits: list[Visit], leases: list[Lease]) -> Deferred[list[Lease]]:
        told = [of_visit(visit) for visit in visits] + [of_lease(lease) for lease in leases if lease not in refused]
        return self._events.append(told).addCallback(lambda _: refused)

    def get(self, project: int, number: int) -> Deferred[Visit]:
        return execute(self._get, project, number)

    def list(
        self, limit: int = 100, project: int | None = None, before: tuple[int, int] | None = None
    ) -> Deferred[list[Visit]]:
        return execute(self._list, limit, project, before)

    def leases_of(self, project: int, visit: int) -> Deferred[list[Lease]]:
        found = [lease for lease in self._all() if (lease.project, lease.visit) == (project, visit)]
        return execute(sorted, found, key=_beginning)

    def history(self, numbers: list[str], each: int) -> Deferred[list[Lease]]:
        return execute(self._history, numbers, each)

    def usage(self, scenario: int, since: int) -> Deferred[tuple[list[Lease], list[Miss]]]:
        return execute(self._usage, scenario, since)

    def erase(self, visits: list[tuple[int, int]], fields: list[str]) -> Deferred[int]:
        return execute(self._erase, visits, fields)

    def expire(self, field: str, since: int, before: int, limit: int) -> Deferred[int | None]:
        return execute(self._expire, field, since, before)

    def _all(self) -> list[Lease]:
        return [lease for leases in self._leases.values() for lease in leases.values()]

    def _reserve(self, project: int, count: int) -> int:
        first = self._next.get(project, 1)
        self._next[project] = first + count
        return first

    def _write(self, visits: list[Visit], begun: list[Lease], ended: list[Lease], misses: list[Miss]) -> list[Lease]:
        for lease in ended:
            known = self._leases.get(lease.number, {}).get(lease.begun)
            if known is not None and known.ended is None and _holder(known) == _holder(lease):
                self._leases[lease.number][lease.begun] = lease
                del self._active[lease.number]
        for visit in visits:
            self._visits.setdefault((visit.project, visit.number), visit)
        self._misses.update(misses)
        return [lease for lease in begun if not self._begin(lease)]

    def _begin(self, lease: Lease) -> bool:
        leases = self._leases.setdefault(lease.number, {})
        known = leases.get(lease.begun)
        if known is not None:
            return _holder(known) == _holder(lease)
        if lease.ended is None:
            if lease.number in self._active:
                return False
            self._active[lease.number] = lease.begun
        leases[lease.begun] = lease
        return True

    def _get(self, project: int, number: int) -> Visit:
        if (project, number) not in self._visits:
            raise NoSuchObject(
                Sentence("visit {number} of project {project} does not exist", number=number, project=project)
            )
        return self._visits[project, number]

    def _list(self, limit: int, project: int | None, before: tuple[int, int] | None) -> list[Visit]:
        end = _position(self._get(*before)) if before is not None else None
        found = [
            visit
            for visit in self._visits.values()
            if project in (None, visit.project) and (end is None or _position(visit) < end)
        ]
        return sorted(found, key=_position, reverse=True)[:limit]

    def _history(self, numbers: list[str], each: int) -> list[Lease]:
        return [
            lease
            for number in sorted(numbers)
            for lease in sorted(self._leases.get(number, {}).values(), key=_beginning)[-each:]
        ]

    def _usage(self, scenario: int, since: int) -> tuple[list[Lease], list[Miss]]:
        leases = [
            lease
            for lease in self._all()
            if lease.scenario == scenario and lease.begun >= since and lease.ended != lease.begun
        ]
        misses = [miss for miss in self._misses if miss.scenario == scenario and miss.at >= since]
        return sorted(leases, key=_beginning), sorted(misses, key=lambda miss: (miss.at, miss.project, miss.visit))

    def _erase(self, visits: list[tuple[int, int]], fields: list[str]) -> int:
        known = [key for key in visits if key in self._visits]
        for key in known:
            self._visits[key] = blanked(self._visits[key], fields)
        return len(known)

    def _expire(self, field: str, since: int, before: int) -> None:
        for key in [key for key, visit in self._visits.items() if since <= visit.started < before]:
            if field == "visit":
                del self._visits[key]
            else:
                self._visits[key] = blanked(self._visits[key], [field])


def _holder(lease: Lease) -> tuple[int, int]:
    return lease.project, lease.visit


def _position(visit: Visit) -> tuple[int, int, int]:
    return visit.started, visit.project, visit.number


def _beginning(lease: Lease) -> tuple[int, str]:
    return lease.begun, lease.number
