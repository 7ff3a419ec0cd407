"""Where calls go, from memory: the catalog as one snapshot, renewed when its version changes.

Knows which target a number leads to and why. Must not know how the catalog is stored, nor SIP.
"""

from __future__ import annotations

from typing import Iterable, Protocol

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from calltrack.errors import InvalidField, StoreUnavailable
from calltrack.interfaces import ICatalogStore, IScenarioSource
from calltrack.tracking.model import Attribution, Number, Project, Route, Scenario, Target
from calltrack.tracking.targets import parse_target

HEADER_PREFIX = "x-roistat"
NO_VISIT = "no visit"  # what a call of a dynamic scenario is attributed to before anybody has looked
POLL_INTERVAL = 0.5  # seconds; half of what a change may take to count

_NOT_ATTRIBUTED = Attribution()


class Attributor(Protocol):
    """Who knows which visit a call belongs to: `tracking.visits.Visits`."""

    def follow(self, projects: list[Project], scenarios: list[Scenario], numbers: list[Number]) -> None: ...

    def attribute(self, number: str, at: int, caller: str = "") -> Attribution: ...


class RoutingTable:
    """Every number's route at one version of the catalog. Never changes once made.

    All numbers of a scenario share one route, so a number costs no more than its entry in a dict.
    """

    def __init__(
        self,
        projects: Iterable[Project] = (),
        scenarios: Iterable[Scenario] = (),
        numbers: Iterable[Number] = (),
        header_prefix: str = HEADER_PREFIX,
    ) -> None:
        by_scenario = {scenario.id: scenario for scenario in scenarios}
        by_project = {project.id: project for project in projects}
        transfers = {project.id: _transfers(project, by_scenario.values()) for project in by_project.values()}
        shared: dict[tuple[int, int | None], Route] = {}
        self._routes: dict[str, Route] = {}
        for number in numbers:
            key = (number.project, number.scenario)
            route = shared.get(key)
            if route is None:
                scenario = by_scenario.get(number.scenario) if number.scenario is not None else None
                route = _route(by_project[number.project], scenario, header_prefix)
                route = shared[key] = replace(route, transfers=transfers[number.project])
            self._routes[number.number] = route

    def __len__(self) -> int:
        return len(self._routes)

    @property
    def addresses(self) -> set[str]:
        """The outside SIP addresses that numbers lead to."""
        routes = {id(route): route for route in self._routes.values()}.values()
        return {target.address for route in routes for target in route.targets if target.kind == "sip"}

    def route(self, dialled: str) -> Route | None:
        """The route of `dialled` (digits); without targets when it leads nowhere, None when it is nobody's."""
        route = self._routes.get(dialled)
        return None if route is None else replace(route, dialled=dialled)


@implementer(IScenarioSource)
class CachedScenarioSource:
    """Answers from a `RoutingTable` that follows `store`: a change made by anyone counts within a second.

    While the store is away the last table holds. Calls of dynamic scenarios are attributed by `visits`, which is told
    of each new catalog; without it they are routed, and belong to no visit.
    """

    log = Logger()

    def __init__(
        self,
        store: ICatalogStore,
        clock: IReactorTime,
        header_prefix: str = HEADER_PREFIX,
        interval: float = POLL_INTERVAL,
        visits: Attributor | None = None,
    ) -> None:
        self._store = store
        self._header_prefix = header_prefix
        self._interval = interval
        self._visits = visits
        self._version: int | None = None  # of the catalog that the table was made from
        self._table = RoutingTable()
        self._away = False
        self._polling = LoopingCall(self.refresh)
        self._polling.clock = clock

    def start(self) -> Deferred[None]:
        """Read the catalog and follow it from now on. Fires with None after the first attempt, whether
        or not the store was there; a failure is logged."""
        self._polling.start(self._interval, now=False)
        return self.refresh()

    def stop(self) -> None:
        """Follow the store no more; the last table keeps answering."""
        if self._polling.running:
            self._polling.stop()

    @property
    def numbers(self) -> int:
        """How many numbers are known."""
        return len(self._table)

    @property
    def addresses(self) -> set[str]:
        """The outside SIP addresses that calls may go to, at the moment."""
        return self._table.addresses

    def lookup(self, dialled: str, caller: str, at: float) -> Deferred[Route | None]:
        """As `IScenarioSource.lookup`, at once. Fails with StoreUnavailable as long as no catalog has ever
        been read: no number can be told from an unknown one then."""
        if self._version is None:
            return fail(StoreUnavailable("the catalog has not been read yet"))
        route = self._table.route(dialled)
        if route is not None and self._visits is not None and route.attribution.reason == NO_VISIT:
            route = replace(route, attribution=self._visits.attribute(dialled, round(at * 1000), caller))
        return succeed(route)

    def last_known(self, dialled: str) -> Route | None:
        """As `IScenarioSource.last_known`."""
        route = self._table.route(dialled)
        return None if route is None else replace(route, attribution=_NOT_ATTRIBUTED)

    def refresh(self) -> Deferred[None]:
        """Ask the store for its version, and for the catalog when that has changed.
        Fires with None, also when the store is away; that is logged once until it is back."""
        return Deferred.fromCoroutine(self._refresh())

    async def _refresh(self) -> None:
        try:
            if await self._store.version() == self._version:
                self._returned()
                return
            version, projects, scenarios, numbers = await self._store.snapshot()
            self._table = RoutingTable(projects, scenarios, numbers, self._header_prefix)
        except StoreUnavailable as error:
            if not self._away:
                self.log.error("the catalog cannot be read, routing stays as it was: {error}", error=error)
            self._away = True
        except Exception:
            if not self._away:
                self.log.failure("the catalog cannot be read, routing stays as it was")
            self._away = True
        else:
            self._version = version
            self._returned()
            if self._visits is not None:
                self._visits.follow(projects, scenarios, numbers)

    def _returned(self) -> None:
        if self._away:
            self._away = False
            self.log.info("the catalog can be read again")


def _route(project: Project, scenario: Scenario | None, header_prefix: str) -> Route:
    """The route that the numbers of `project` in `scenario` share (without the number itself)."""
    route = Route(
        dialled="",
        project=project.id,
        scenario=scenario.id if scenario is not None else None,
        project_max_calls=project.max_calls,
        project_max_rate=project.max_rate,
        target_call_time=project.target_call_time,
        header_prefix=header_prefix,
    )
    if not project.enabled:
        return replace(route, attribution=Attribution(reason="project disabled"))
    if scenario is None or not scenario.enabled:
        why = "no scenario" if scenario is None else "scenario disabled"
        return replace(route, targets=_default_targets(project), attribution=Attribution(reason=why))
    return replace(
        route,
        targets=scenario.targets,
        ring=scenario.ring,
        record=scenario.record,
        attribution=_attribution(scenario),
    )


def _transfers(project: Project, scenarios: Iterable[Scenario]) -> tuple[Target, ...]:
    """To whom its targets may transfer a caller: to any other of them."""
    if not project.allow_transfer:
        return ()
    targets = [target for one in scenarios if one.project == project.id and one.enabled for target in one.targets]
    return tuple(dict.fromkeys((*targets, *_default_targets(project))))


def _attribution(scenario: Scenario) -> Attribution:
    if scenario.kind == "static":
        return Attribution(marker=scenario.marker, reason="static channel")
    return Attribution(reason=NO_VISIT)


def _default_targets(project: Project) -> tuple[Target, ...]:
    if not project.default_target:
        return ()
    try:
        return (parse_target(project.default_target, "default_target"),)
    except InvalidField as error:
        CachedScenarioSource.log.error("project {id}: {error}; its numbers lead nowhere", id=project.id, error=error)
        return ()
