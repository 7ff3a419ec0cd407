"""A flood of visits in simulated time, and honest visitors in the midst of it: who gets a number, whose calls are found?

For the tests and the benchmark. Knows `tracking`; no sockets.
"""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import Any, Callable

import msgspec
from twisted.internet.task import Clock

from calltrack.errors import TooManyRequests
from calltrack.storage.memory_visits import MemoryVisits
from calltrack.testing.simulation import BEGIN, BROWSER, KEY, PAGE, overlaps, result
from calltrack.timers import Timers
from calltrack.tracking.granting import CONFIRM
from calltrack.tracking.model import Number, Project, Scenario, Shown
from calltrack.tracking.visits import Visits


class FloodFigures(msgspec.Struct, kw_only=True):
    """What came of a flood."""

    answered: int = 0  # of the flood's visits
    refused: int = 0  # with 429
    took_numbers: int = 0  # of those answered, for a moment
    honest: int = 0
    honest_with_number: int = 0  # of their own, by their first sign of life
    honest_refused: int = 0
    calls: int = 0  # of honest visitors to the number of their page
    calls_right: int = 0
    double_leases: int = 0
    most_present: int = 0  # visits in memory at once


def flood(
    visits: int = 100_000, addresses: int = 1000, seconds: float = 60.0, honest: int = 200, numbers: int = 400, seed: int = 1
) -> FloodFigures:
    """So many visits from so many addresses in so many seconds, none of which stays, and so many visitors who do and
    call, each from an address of its own."""
    return _Flood(numbers, seed).run(visits, addresses, seconds, honest)


class _Flood:
    def __init__(self, numbers: int, seed: int) -> None:
        self.figures = FloodFigures()
        self._chance = random.Random(seed)
        self._clock = Clock()
        self._store = MemoryVisits()
        self._events: list[tuple[float, int, Callable[..., None], tuple]] = []
        self._scheduled = 0
        self.numbers = [str(12_025_550_000 + position) for position in range(numbers)]
        self._visits = Visits(Timers(self._clock), self._wall, self._store)
        self._visits.start()
        scenario = Scenario(id=1, project=1, name="Visitors", kind="dynamic", selectors=(".phone",))
        of_pool = [Number(number=number, project=1, scenario=1) for number in self.numbers]
        self._visits.follow([Project(id=1, name="Flooded", key=KEY)], [scenario], of_pool)

    def _wall(self) -> int:
        return BEGIN + round(self._clock.seconds() * 1000)

    def run(self, visits: int, addresses: int, seconds: float, honest: int) -> FloodFigures:
        for position in range(visits):
            host = position % addresses
            self._at(seconds * position / visits, self._floods, f"10.0.{host // 250}.{host % 250 + 1}")
        for position in range(honest):
            self._at(seconds * position / honest, self._comes, f"192.0.{position // 250}.{position % 250 + 1}")
        while self._events:
            at, _, event, args = heappop(self._events)
            if at > self._clock.seconds():
                self._clock.advance(at - self._clock.seconds())
            event(*args)
        self._clock.advance(1)
        self.figures.double_leases = overlaps(result(self._store.history(self.numbers, 10**9)))
        self._visits.stop()
        return self.figures

    def _at(self, when: float, event: Callable[..., None], *args: Any) -> None:
        self._scheduled += 1
        heappush(self._events, (when, self._scheduled, event, args))

    def _after(self, seconds: float, event: Callable[..., None], *args: Any) -> None:
        self._at(self._clock.seconds() + seconds, event, *args)

    def _arrive(self, address: str) -> Shown:
        return result(self._visits.arrive(KEY, PAGE, address=address, user_agent=BROWSER))

    def _floods(self, address: str) -> None:
        try:
            shown = self._arrive(address)
        except TooManyRequests:
            self.figures.refused += 1
            return
        self.figures.answered += 1
        self.figures.took_numbers += bool(shown.swaps)
        self.figures.most_present = max(self.figures.most_present, self._visits.present)

    def _comes(self, address: str) -> None:
        self.figures.honest += 1
        try:
            shown = self._arrive(address)
        except TooManyRequests:
            self.figures.honest_refused += 1
            return
        self._after(CONFIRM, self._stays, shown.visit)

    def _stays(self, cookie: str) -> None:
        shown = result(self._visits.beat(KEY, cookie))
        if shown.swaps:
            self.figures.honest_with_number += 1
            self._after(self._chance.uniform(0, 140), self._calls, shown)

    def _calls(self, shown: Shown) -> None:
        self.figures.calls += 1
        self.figures.calls_right += self._visits.attribute(shown.swaps[0].number, self._wall()).visit == shown.number
