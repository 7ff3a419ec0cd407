"""How many numbers a dynamic scenario needs: its history, put to `tracking.advisor`. The command line, the page and the
API come here. Knows the catalog and the store of visits; no arithmetic."""

from __future__ import annotations

from typing import Any, Callable, Iterable

from calltrack.errors import InvalidField, Sentence
from calltrack.interfaces import IVisitStore
from calltrack.tracking.advisor import Advice, advise, asks_of
from calltrack.tracking.catalog import Catalog

DAYS = 30.0  # of history, unless asked for otherwise


class PoolAdvice:
    """`wall_ms`: milliseconds since the Unix epoch."""

    def __init__(self, catalog: Catalog, visits: IVisitStore, wall_ms: Callable[[], int]) -> None:
        self._catalog = catalog
        self._visits = visits
        self._wall_ms = wall_ms

    async def of(
        self,
        scenario: int,
        days: float = DAYS,
        numbers: Iterable[int] = (),
        hold: float | None = None,
        misses: float = 1.0,
    ) -> Advice:
        """From the last `days` days. `numbers`: further sizes to try; `hold`: another hold time in seconds; `misses`: of
        visitors without a number that are put up with, in percent. Raises NoSuchObject, InvalidField for a static
        scenario, StoreUnavailable."""
        of = await self._catalog.scenario(scenario)
        if of.kind != "dynamic":
            raise InvalidField(
                "scenario",
                Sentence("{scenario} is static: its numbers belong to its channel, not to visitors", scenario=scenario),
            )
        pool = sum(n.scenario == scenario and n.number != of.fallback for n in await self._catalog.numbers(of.project))
        now = self._wall_ms()
        found: Any = await self._visits.usage(scenario, now - round(days * 86_400_000))
        asks = asks_of(*found, of.hold, now)
        return advise(asks, pool, hold if hold is not None else of.hold, numbers, misses / 100)
