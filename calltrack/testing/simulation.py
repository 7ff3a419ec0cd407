"""Visitors of simulated days, whose truth is known: do calls find them? For `calltrack simulate` and the tests.

Visitors arrive independently of each other, read for a while, give signs of life as a browser does, and some of them
call the number that their page showed: while they read or soon after, or much later. Time is simulated, chance is seeded;
visits, leases and attribution are the real ones. Knows `tracking`; no sockets.
"""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import Any, Callable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from calltrack.storage.memory_visits import MemoryVisits
from calltrack.timers import Timers
from calltrack.tracking.advisor import advise, asks_of
from calltrack.tracking.granting import BEAT, CONFIRM
from calltrack.tracking.model import Lease, Number, Project, Scenario, Shown
from calltrack.tracking.settings import VisitSettings
from calltrack.tracking.visits import Visits

KEY = "simulated"
PAGE = "https://shop.example/"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
BEGIN = 1_795_564_800_000  # milliseconds since the Unix epoch: midnight of a day
ADS = ("?utm_source=google&utm_medium=cpc", "?yclid=17", "", "?utm_source=mail&utm_campaign=spring")
SECOND_PAGE = 0.3  # share of visitors who open another page half-way


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated."""

    numbers: int
    load: float  # numbers that would be held at once on average, if there were enough
    days: float = 3.0
    seed: int = 1
    stay: float = 120.0  # seconds that a visitor reads, on average
    bounce: float = 0.2  # share of visitors who leave before their first sign of life
    hold: float = 150.0  # seconds
    calls: float = 0.5  # share of those who stay that call
    late: float = 0.1  # share of calls that come long after the number was given back

    @property
    def visitors_per_second(self) -> float:
        return self.load / ((1 - self.bounce) * (self.stay + self.hold) + self.bounce * 5)


class Figures(msgspec.Struct, kw_only=True):
    """What came of it."""

    plan: Plan
    visitors: int = 0
    stayed: int = 0
    misses: int = 0  # visitors who stayed and were shown no number of their own on their first page
    calls: int = 0  # while the visitor read or within the hold time after
    right: int = 0  # of these, attributed to the visitor
    nobody: int = 0  # attributed to no visit: no number was free
    wrong: int = 0  # attributed to somebody else
    late: int = 0  # calls after that
    late_right: int = 0
    late_wrong: int = 0
    double_leases: int = 0  # instants at which two visits held one number
    predicted: float = 0.0  # share of misses by Erlang B, from the arrivals themselves

    @property
    def accuracy(self) -> float:
        """Share of the calls in time that were attributed to their visitor."""
        return self.right / self.calls if self.calls else 1.0

    @property
    def deviation(self) -> float:
        """Of the accuracy from what Erlang B predicts."""
        return self.accuracy - (1 - self.predicted)


class Simulation:
    """One plan, run once."""

    def __init__(self, plan: Plan) -> None:
        self.figures = Figures(plan=plan)
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._clock = Clock()
        self._timers = Timers(self._clock)
        self._store = MemoryVisits()
        self._events: list[tuple[float, int, Callable[[], None]]] = []  # heap
        self._scheduled = 0
        # Every visitor has an address of their own here: limits of addresses are not what is measured.
        self.visits = Visits(self._timers, self.wall, self._store, VisitSettings(per_address=0))
        project = Project(id=1, name="Simulated", key=KEY, sites=(PAGE,))
        scenario = Scenario(
            id=1, project=1, name="Visitors", kind="dynamic", selectors=(".phone",), hold=plan.hold
        )
        self.numbers = [str(12_025_550_000 + position) for position in range(plan.numbers)]
        numbers = [Number(number=number, project=1, scenario=1) for number in self.numbers]
        self.visits.start()
        self.visits.follow([project], [scenario], numbers)

    def wall(self) -> int:
        return BEGIN + round(self._clock.seconds() * 1000)

    def run(self, progress: Callable[[float], None] = lambda share: None) -> Figures:
        """All the days; `progress(share)` is called now and then."""
        end = self._plan.days * 86400
        self._next_visitor()
        told = 0.0
        while self._events and self._events[0][0] <= end:
            at, _, event = heappop(self._events)
            self._clock.advance(at - self._clock.seconds())
            event()
            if at - told > end / 100:
                told = at
                progress(at / end)
        progress(1.0)
        return self._counted()

    def _counted(self) -> Figures:
        plan, figures = self._plan, self.figures
        self._clock.advance(1)
        self.visits.stop()
        leases, misses = result(self._store.usage(1, 0))
        advice = advise(asks_of(leases, misses, plan.hold, self.wall()), plan.numbers, plan.hold)
        figures.predicted = next(row.predicted for row in advice.rows if row.numbers == plan.numbers)
        figures.double_leases = overlaps(result(self._store.history(self.numbers, 10**9)))
        return figures

    def _later(self, seconds: float, event: Callable[[], None]) -> None:
        self._scheduled += 1
        heappush(self._events, (self._clock.seconds() + seconds, self._scheduled, event))

    def _next_visitor(self) -> None:
        self._later(self._chance.expovariate(self._plan.visitors_per_second), self._arrives)

    def _arrives(self) -> None:
        self._next_visitor()
        self.figures.visitors += 1
        _Visitor(self, self._plan, self._chance).arrive()


class _Visitor:
    """A browser and the person before it."""

    def __init__(self, simulation: Simulation, plan: Plan, chance: random.Random) -> None:
        self._world = simulation
        self._plan = plan
        self._chance = chance
        self._shown = Shown()
        self._page = PAGE + chance.choice(ADS)
        self._address = f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}"
        self._bounces = chance.random() < plan.bounce
        self._stay = chance.uniform(0.1, CONFIRM - 0.5) if self._bounces else CONFIRM + chance.expovariate(1 / plan.stay)
        self._gone = False

    def arrive(self) -> None:
        later = self._world._later
        self._shown = self._ask(PAGE, self._page)
        later(self._stay, self._leave)
        if not self._bounces:
            later(CONFIRM, self._first_beat)
            if self._chance.random() < SECOND_PAGE:
                later(self._stay / 2, self._another_page)
            if self._chance.random() < self._plan.calls:
                later(self._when_to_call(), self._call)

    def _when_to_call(self) -> float:
        self._is_late = self._chance.random() < self._plan.late
        if self._is_late:
            return self._stay + self._plan.hold * 1.05 + self._chance.expovariate(1 / 1800)
        return self._chance.uniform(CONFIRM, self._stay + self._plan.hold * 0.95)

    def _ask(self, referrer: str, page: str) -> Shown:
        asked = self._world.visits.arrive(KEY, page, "", self._shown.visit, True, self._address, BROWSER)
        return result(asked)

    def _first_beat(self) -> None:
        self._world.figures.stayed += 1
        self._shown = result(self._world.visits.beat(KEY, self._shown.visit))
        self._world.figures.misses += not self._shown.swaps
        self._world._later(BEAT, self._beat)

    def _beat(self) -> None:
        if not self._gone:
            self._shown = result(self._world.visits.beat(KEY, self._shown.visit))
            self._world._later(BEAT, self._beat)

    def _another_page(self) -> None:
        if self._shown.swaps and not self._gone:  # who has none would ask again: that is another arrival
            self._shown = self._ask(PAGE, PAGE + "prices")

    def _leave(self) -> None:
        self._gone = True
        result(self._world.visits.leave(KEY, self._shown.visit))

    def _call(self) -> None:
        figures, visit = self._world.figures, self._shown.number
        found = None
        if self._shown.swaps:
            found = self._world.visits.attribute(self._shown.swaps[0].number, self._world.wall(), self._address).visit
        if self._is_late:
            if self._shown.swaps:
                figures.late += 1
                figures.late_right += found == visit
                figures.late_wrong += found not in (visit, None)
            return
        figures.calls += 1
        figures.right += found == visit
        figures.nobody += found is None
        figures.wrong += found not in (visit, None)


def overlaps(leases: list[Lease]) -> int:
    """How many of `leases`, by number and time, begin before the one before has ended."""
    count, last = 0, None
    for lease in leases:
        if last is not None and last.number == lease.number:
            count += last.ended is None or last.ended > lease.begun
        last = lease
    return count


def result(deferred: Deferred[Any]) -> Any:
    """What a Deferred has fired with already. Raises what it has failed with."""
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
