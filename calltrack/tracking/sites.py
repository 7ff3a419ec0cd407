"""Projects as their pages see them: by key, with their marker rules and the scenarios that are shown.

Made of one catalog snapshot and never changed. Knows no visits.
"""

from __future__ import annotations

from typing import Iterable

from twisted.logger import Logger

from calltrack.errors import InvalidField, NoSuchObject
from calltrack.tracking.display import is_shown, swap
from calltrack.tracking.model import Number, Project, Scenario, Swap
from calltrack.tracking.sources import Rules, rules_of, site_host

log = Logger()


class Site:
    """One project."""

    def __init__(self, project: Project, scenarios: Iterable[Scenario], numbers: dict[int, str]) -> None:
        self.project = project
        self.hosts = frozenset(filter(None, map(site_host, project.sites)))
        shown = sorted(filter(is_shown, scenarios), key=lambda scenario: scenario.id)
        self.dynamic = tuple(scenario for scenario in shown if scenario.kind == "dynamic")
        self.static: tuple[tuple[Scenario, Swap], ...] = tuple(
            (scenario, swap(scenario, numbers[scenario.id]))
            for scenario in shown
            if scenario.kind == "static" and scenario.id in numbers
        )
        self.rules = _rules(project)


class Sites:
    """Every project that pages may name by its key."""

    def __init__(
        self, projects: Iterable[Project] = (), scenarios: Iterable[Scenario] = (), numbers: Iterable[Number] = ()
    ) -> None:
        of_project: dict[int, list[Scenario]] = {}
        for scenario in scenarios:
            of_project.setdefault(scenario.project, []).append(scenario)
        first: dict[int, str] = {}  # the number that a static scenario shows
        for number in numbers:
            if number.scenario is not None:
                first[number.scenario] = min(number.number, first.get(number.scenario, number.number))
        self._sites = {
            project.key: Site(project, of_project.get(project.id, ()), first)
            for project in projects
            if project.enabled
        }

    def site(self, key: str) -> Site:
        """The project with this key. Raises NoSuchObject when there is none, or it is disabled."""
        site = self._sites.get(key)
        if site is None:
            raise NoSuchObject("no project has this key")
        return site


def _rules(project: Project) -> Rules:
    try:
        return rules_of(project.marker_rules)
    except InvalidField as error:
        log.error("project {id}: {error}; its visits get markers by the usual rules", id=project.id, error=error)
        return rules_of(())
