"""Numbers for visits: who may have one now, what the store says to it, what the page shows then.

Knows pools, the journal and a bound per address; must not know where visits come from.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Iterable

from twisted.logger import Logger

from calltrack.errors import StoreUnavailable
from calltrack.tracking.display import is_for, swap, without_quarrels
from calltrack.tracking.leases import Held, Pools
from calltrack.tracking.model import Miss, PoolExhausted, Scenario, Shown, Swap, Visit
from calltrack.tracking.presence import Presence
from calltrack.tracking.sites import Site
from calltrack.tracking.sources import Source
from calltrack.tracking.visit_journal import VisitJournal

log = Logger()

BEAT = 20.0  # seconds from one sign of life to the next
CONFIRM = 3.0  # seconds until the first, by which a visitor is known to stay
QUICK = 10.0  # seconds that a number is held for a visit that has not yet stayed
QUICK_PER_ADDRESS = 3  # such visits at once from one address
TRIES = 3  # numbers that are tried when the store refuses one


class Grants:
    """Gives numbers of `pools` to visits, at most `per_address` at once to those from one address.

    `tell(value)`: of each Lease that is durable, and of PoolExhausted.
    """

    def __init__(
        self,
        now: Callable[[], float],
        wall_ms: Callable[[], int],
        journal: VisitJournal,
        per_address: int,
        tell: Callable[[Any], None],
    ) -> None:
        self.pools = Pools(now, wall_ms, self._lease_over)
        self._wall_ms = wall_ms
        self._journal = journal
        self._per_address = per_address
        self._tell = tell
        self.misses: Counter[int] = Counter()  # by scenario, since the start
        self._leases_of: dict[str, int] = {}  # address: active leases
        self._quick_of: dict[str, int] = {}  # address: those of visits that have not stayed

    def adopt(self, presence: Presence) -> None:
        """A visit is back whose numbers were held on over a restart."""
        for held in self.pools.adopt(presence.visit):
            held.owner = presence.address
            presence.held[held.lease.scenario] = held
            self._count(self._leases_of, presence.address, 1)

    def renew(self, presence: Presence) -> None:
        """A sign of life: what the visit holds is held on."""
        for held in presence.held.values():
            if not held.over:
                if presence.stayed and not held.confirmed:
                    self._count(self._quick_of, presence.address, -1)
                self.pools.renew(held, presence.stayed)

    async def show(self, site: Site, presence: Presence, new: Iterable[Visit] = ()) -> Shown:
        """What a visit is shown now, with numbers of its own where there are any; stored before it is told."""
        await presence.enter()
        try:
            wanted = [scenario for scenario in site.dynamic if is_for(scenario, presence.visit)]
            asking = [scenario for scenario in wanted if not self._has(presence, scenario.id)]
            for _ in range(TRIES):
                taken = [held for scenario in asking if (held := self._take(presence, scenario)) is not None]
                if not taken and not new:
                    break
                asking = await self._store_them(presence, new, taken, asking)
                new = ()
                if not asking:
                    break
        finally:
            presence.leave()
        return self._shown(site, presence, wanted)

    async def _store_them(
        self, presence: Presence, new: Iterable[Visit], taken: list[Held], asking: list[Scenario]
    ) -> list[Scenario]:
        """Returns the scenarios whose number the store has refused."""
        try:
            refused = await self._journal.begin(new, [held.lease for held in taken])
        except StoreUnavailable:
            for held in taken:
                self.pools.give_back(held)
            raise
        lost = {lease.number for lease in refused}
        for held in taken:
            if held.lease.number in lost:
                self.pools.put_aside(held)
            else:
                self._tell(held.lease)
        return [scenario for scenario in asking if lost and not self._has(presence, scenario.id)]

    def _has(self, presence: Presence, scenario: int) -> bool:
        held = presence.held.get(scenario)
        return held is not None and not held.over

    def _take(self, presence: Presence, scenario: Scenario) -> Held | None:
        if scenario.id in presence.missed:
            return None  # a number that changes under the reader's eyes is dialled wrong
        address = presence.address
        if self._leases_of.get(address, 0) >= self._per_address:
            return None
        if not presence.stayed and self._quick_of.get(address, 0) >= QUICK_PER_ADDRESS:
            return None
        before = presence.held.get(scenario.id)
        held = self.pools.take(
            scenario.id,
            presence.visit,
            None if presence.stayed else QUICK,
            before.lease.number if before is not None else "",
            address,
        )
        if held is not None:
            presence.held[scenario.id] = held
            self._count(self._leases_of, address, 1)
            if not presence.stayed:
                self._count(self._quick_of, address, 1)
        elif presence.stayed:
            self._missed(presence, scenario)
        return held

    def _missed(self, presence: Presence, scenario: Scenario) -> None:
        visit, at = presence.visit, self._wall_ms()
        presence.missed.add(scenario.id)
        self.misses[scenario.id] += 1
        self._journal.missed(Miss(project=visit.project, scenario=scenario.id, visit=visit.number, at=at))
        if self.pools.runs_empty(scenario.id):
            numbers = self.pools.state(scenario.id).numbers
            log.warn(
                "none of the {numbers} numbers of scenario {id} is free for visit {visit}: calltrack pool advise "
                "--scenario {id} says how many it needs",
                numbers=numbers,
                id=scenario.id,
                visit=visit.number,
            )
            self._tell(
                PoolExhausted(project=visit.project, scenario=scenario.id, visit=visit.number, at=at, numbers=numbers)
            )

    def _shown(self, site: Site, presence: Presence, dynamic: list[Scenario]) -> Shown:
        swaps: list[Swap] = []
        for scenario in dynamic:
            held = presence.held.get(scenario.id)
            if held is not None and not held.over:
                swaps.append(swap(scenario, held.lease.number))
            elif scenario.fallback:
                swaps.append(swap(scenario, scenario.fallback))
        swaps += [shown for scenario, shown in site.static if is_for(scenario, presence.visit)]
        return Shown(
            visit=presence.cookie,
            number=presence.visit.number,
            beat=BEAT,
            confirm=CONFIRM,
            swaps=without_quarrels(swaps),
        )

    def _lease_over(self, held: Held) -> None:
        address = held.owner
        if address is not None:
            self._count(self._leases_of, address, -1)
            if not held.confirmed:
                self._count(self._quick_of, address, -1)
        self._journal.end(held.lease)

    @staticmethod
    def _count(counts: dict[str, int], address: str, change: int) -> None:
        count = counts.get(address, 0) + change
        if count > 0:
            counts[address] = count
        else:
            counts.pop(address, None)


def for_nobody(site: Site, source: Source, page: str, referrer: str) -> tuple[Swap, ...]:
    """What those are shown of whom nothing is kept: numbers that are everybody's."""
    visit = Visit(
        project=site.project.id,
        number=0,
        secret="",
        started=0,
        marker=source.marker,
        landing_page=page,
        referrer=referrer,
        utm=source.utm,
    )
    static = [shown for scenario, shown in site.static if is_for(scenario, visit)]
    fallbacks = [
        swap(scenario, scenario.fallback)
        for scenario in site.dynamic
        if scenario.fallback and is_for(scenario, visit)
    ]
    return without_quarrels(static + fallbacks)
