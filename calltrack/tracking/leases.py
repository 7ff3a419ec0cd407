"""Which number is held for which visit: pools of numbers, longest idle first. Machines in memory.

Know monotonic seconds for what is decided and wall milliseconds for what is kept. Must not know browsers, stores or
who may have a number.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappop, heappush
from math import inf
from typing import Any, Callable, Iterable, NamedTuple

from msgspec.structs import replace

from calltrack.tracking.model import Lease, Number, Scenario, Visit

KEPT = 5  # leases of a number that are remembered for attribution
QUICK_SHARE = 4  # at least one in so many numbers is free: a visit need not have stayed
ASIDE = 60.0  # seconds that a number rests which another node turned out to hold


class Held:
    """An active lease; `until` moves with each sign of life of its visit."""

    __slots__ = ("began", "confirmed", "hold", "lease", "over", "owner", "until")

    def __init__(
        self, lease: Lease, began: float, until: float, hold: float, confirmed: bool, owner: Any = None
    ) -> None:
        self.lease = lease
        self.began = began  # monotonic seconds, as `until`
        self.until = until
        self.hold = hold  # seconds after a sign of life
        self.confirmed = confirmed
        self.owner = owner  # whatever whoever took it wants to know when it is over
        self.over = False


class Pool:
    """The numbers of one dynamic scenario: those that are free, longest idle first, and how many there are."""

    def __init__(self, scenario: int) -> None:
        self.scenario = scenario
        self.hold = 0.0  # seconds
        self.members: frozenset[str] = frozenset()
        self.free: OrderedDict[str, None] = OrderedDict()  # in order of idleness
        self.exhausted = False  # told already, until a number is free again

    @property
    def roomy(self) -> bool:
        """Whether enough numbers are free for visits that may not stay."""
        return bool(self.free) and len(self.free) * QUICK_SHARE >= len(self.members)


class PoolState(NamedTuple):
    """A pool at one instant."""

    numbers: int
    free: int


class Pools:
    """Every pool, and the recent history of every number that has ever been in one.

    `ended(held)` is called for each lease that is over, soon after; a lease ends at the instant its hold ran out,
    however late that is noticed. Between two leases of a number there is never an overlap, whatever the wall clock does.
    """

    def __init__(
        self, now: Callable[[], float], wall_ms: Callable[[], int], ended: Callable[[Held], None]
    ) -> None:
        self._now = now
        self._wall_ms = wall_ms
        self._ended = ended
        self._pools: dict[int, Pool] = {}  # by scenario
        self._pool_of: dict[str, Pool] = {}  # by number
        self._held: dict[str, Held] = {}  # by number
        self._history: dict[str, list[Lease]] = {}  # by number, oldest first; an active one is the last
        self._due: list[tuple[float, int, Held]] = []  # heap; may be early, as `until` moves
        self._idle_since: dict[str, float] = {}  # number: monotonic end of its last lease that was shown
        self._aside: dict[str, float] = {}  # number: when it is tried again
        self._left: dict[tuple[int, int], list[Held]] = {}  # by project and visit: what an earlier run left active
        self._pushed = 0

    # The catalog

    def follow(self, scenarios: Iterable[Scenario], numbers: Iterable[Number]) -> None:
        """Keep pools as the catalog has them now. A number that is held stays so until its lease is over, wherever
        it belongs by then."""
        dynamic = {scenario.id: scenario for scenario in scenarios if scenario.kind == "dynamic"}
        members: dict[int, set[str]] = {id: set() for id in dynamic}
        for number in numbers:
            if number.scenario in dynamic and number.number != dynamic[number.scenario].fallback:
                members[number.scenario].add(number.number)
        self._pools = {id: self._pools.get(id) or Pool(id) for id in members}
        self._pool_of = {number: self._pools[id] for id, of_pool in members.items() for number in of_pool}
        for id, pool in self._pools.items():
            pool.hold = dynamic[id].hold
            if pool.members != members[id]:
                pool.members = frozenset(members[id])
                self._sort(pool)
                pool.exhausted = pool.exhausted and not pool.free

    def _sort(self, pool: Pool) -> None:
        free = (number for number in pool.members if number not in self._held and number not in self._aside)
        pool.free = OrderedDict.fromkeys(sorted(free, key=self._idleness))

    def _idleness(self, number: str) -> tuple[float, str]:
        return self._idle_since.get(number, -inf), number

    def remember(self, leases: Iterable[Lease]) -> None:
        """Take over what an earlier run left, oldest first. Active leases are held on for their hold time."""
        now = self._now()
        for lease in leases:
            known = self._history.setdefault(lease.number, [])
            if any(other.begun == lease.begun for other in known):
                continue
            known.append(lease)
            known.sort(key=lambda lease: lease.begun)
            del known[:-KEPT]
            if lease.ended is not None and lease.ended > lease.begun:
                idle_since = now - max(0, self._wall_ms() - lease.ended) / 1000
                self._idle_since[lease.number] = max(idle_since, self._idle_since.get(lease.number, -inf))
            if lease.ended is None and lease.number not in self._held:
                pool = self._pools.get(lease.scenario)
                hold = pool.hold if pool is not None else 0.0
                age = max(0, self._wall_ms() - lease.begun) / 1000
                one = Held(lease, now - age, now + hold, hold, True)
                self._held[lease.number] = one
                self._push(one)
                self._left.setdefault((lease.project, lease.visit), []).append(one)
        for pool in self._pools.values():
            self._sort(pool)

    def adopt(self, visit: Visit) -> list[Held]:
        """What a visit that is back has left active; once."""
        return [held for held in self._left.pop((visit.project, visit.number), ()) if not held.over]

    # Leases

    def state(self, scenario: int) -> PoolState:
        """How a pool stands; nothing in it when there is none."""
        self.sweep()
        pool = self._pools.get(scenario)
        return PoolState(len(pool.members), len(pool.free)) if pool is not None else PoolState(0, 0)

    def states(self) -> dict[int, PoolState]:
        """Every pool by its scenario."""
        return {scenario: self.state(scenario) for scenario in self._pools}

    def take(
        self, scenario: int, visit: Visit, seconds: float | None, wanted: str = "", owner: Any = None
    ) -> Held | None:
        """A number for a visit: the one that has been idle longest, unless `wanted` (the one that this visit had)
        is free still and was nobody else's since. Held for `seconds` when the visit has not shown yet that it stays;
        then only while the pool is roomy. None when there is none."""
        self.sweep()
        pool = self._pools.get(scenario)
        if pool is None or not pool.free or (seconds is not None and not pool.roomy):
            return None
        number = wanted if wanted in pool.free and self._was_last(wanted, visit) else next(iter(pool.free))
        del pool.free[number]
        now = self._now()
        history = self._history.setdefault(number, [])
        begun = self._wall_ms()
        if history:
            begun = max(begun, history[-1].ended or 0, history[-1].begun + 1)
        lease = Lease(
            number=number,
            begun=begun,
            project=visit.project,
            scenario=scenario,
            visit=visit.number,
            marker=visit.marker,
        )
        history.append(lease)
        del history[:-KEPT]
        hold = pool.hold if seconds is None else seconds
        held = self._held[number] = Held(lease, now, now + hold, pool.hold, seconds is None, owner)
        self._push(held)
        return held

    def _was_last(self, number: str, visit: Visit) -> bool:
        history = self._history.get(number)
        return bool(history) and (history[-1].project, history[-1].visit) == (visit.project, visit.number)

    def renew(self, held: Held, confirmed: bool) -> None:
        """A sign of life: the number is held on. One that has not been confirmed keeps its short time."""
        held.confirmed = held.confirmed or confirmed
        if held.confirmed:
            held.until = max(held.until, self._now() + held.hold)

    def give_back(self, held: Held) -> None:
        """End a lease that was never shown to anybody; its number takes its old place among the free ones."""
        if not held.over:
            self._end(held, held.lease.begun, first=True)

    def put_aside(self, held: Held) -> None:
        """Somebody else holds that number, as the store says: rest it for a while."""
        number = held.lease.number
        self.give_back(held)
        pool = self._pool_of.get(number)
        if pool is not None:
            pool.free.pop(number, None)
        self._aside[number] = self._now() + ASIDE

    def sweep(self) -> None:
        """End what is due."""
        now = self._now()
        due = self._due
        while due and due[0][0] <= now:
            at, _, held = heappop(due)
            if held.over:
                continue
            if held.until > at:  # it was renewed meanwhile: its turn comes in the order of ends
                self._push(held)
                continue
            self._end(held, held.lease.begun + max(1, round((held.until - held.began) * 1000)))
        if self._aside:
            for number in [number for number, until in self._aside.items() if until <= now]:
                del self._aside[number]
                self._free(number)

    def _push(self, held: Held) -> None:
        self._pushed += 1
        heappush(self._due, (held.until, self._pushed, held))

    def _end(self, held: Held, ended: int, first: bool = False) -> None:
        held.over = True
        lease = held.lease
        del self._held[lease.number]
        over = held.lease = replace(lease, ended=ended, confirmed=held.confirmed)
        history = self._history[lease.number]
        history[:] = [over if one.begun == lease.begun else one for one in history]
        if not first:
            self._idle_since[lease.number] = held.until
        self._free(lease.number, first)
        self._ended(held)

    def _free(self, number: str, first: bool = False) -> None:
        pool = self._pool_of.get(number)
        if pool is None or number in self._held:
            return
        pool.exhausted = False
        sooner = []
        while first and pool.free and self._idleness(next(iter(pool.free))) < self._idleness(number):
            sooner.append(pool.free.popitem(last=False)[0])  # few: those given back before
        pool.free[number] = None
        if first:
            for one in (number, *reversed(sooner)):
                pool.free[one] = None
                pool.free.move_to_end(one, last=False)

    # For attribution

    def history(self, number: str) -> list[Lease]:
        """The latest leases of a number, oldest first."""
        self.sweep()
        return self._history.get(number, [])

    def holder(self, number: str) -> Held | None:
        """The active lease of a number."""
        return self._held.get(number)

    def scenario_of(self, number: str) -> int | None:
        """Whose pool a number is in."""
        pool = self._pool_of.get(number)
        return pool.scenario if pool is not None else None

    def runs_empty(self, scenario: int) -> bool:
        """True once for each time that a pool has no free number when one is asked for."""
        pool = self._pools.get(scenario)
        if pool is None or pool.exhausted or pool.free:
            return False
        pool.exhausted = True
        return True
