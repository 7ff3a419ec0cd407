"""Operations on projects, numbers, scenarios and trunks. Knows the services, no HTTP and no rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from calltrack.tracking.model import DEFAULT_HOLD, Addressing, Number, Project, Scenario
from calltrack.web.api.operations import ID, Asked, Operation, Page
from calltrack.web.services import TrunkState

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Seconds = Annotated[float, Meta(ge=0, le=86400)]
RingTime = Annotated[float, Meta(ge=1, le=300)]
Limit = Annotated[int, Meta(ge=0, le=1_000_000)]
Rate = Annotated[float, Meta(ge=0, le=100_000)]
Hold = Annotated[float, Meta(ge=0, le=86400)]
SHOWN = ("record", "segments", "selectors", "replace", "mask", "fallback", "hold")
Forwards = Annotated[tuple[str, ...], Meta(min_length=1, max_length=20)]


class OfProject(msgspec.Struct, frozen=True, kw_only=True):
    """Of which project; a key of one project need not say it."""

    project: ID | None = None


class ByID(msgspec.Struct, frozen=True, kw_only=True):
    id: ID


class ByNumber(msgspec.Struct, frozen=True, kw_only=True):
    number: str


class NewProject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project to add."""

    name: Name
    sites: tuple[str, ...] = ()
    default_target: str = ""
    time_zone: str = "UTC"


class ProjectChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed of a project; the rest stays."""

    name: Name | UnsetType = UNSET
    sites: tuple[str, ...] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    default_target: str | UnsetType = UNSET
    time_zone: str | UnsetType = UNSET
    max_calls: Limit | UnsetType = UNSET
    max_rate: Rate | UnsetType = UNSET
    target_call_time: Seconds | UnsetType = UNSET


class NewNumber(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number to give to a project."""

    number: str
    project: ID | None = None
    scenario: ID | None = None


class NumberChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The scenario that a number leads to; null for none."""

    scenario: ID | None


class NewScenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario to add; without a marker it is dynamic. `forward`: targets in ringing order, as office@domain.com,
    sip:office@192.0.2.7:5062, phone:+74951234567 or account."""

    name: Name
    forward: Forwards
    marker: str = ""
    project: ID | None = None
    ring: Literal["in-order", "all"] = "in-order"
    ring_time: RingTime = 20.0
    max_calls: Limit = 15
    allow: tuple[str, ...] = ()
    addressing: Addressing = Addressing()
    record: bool = False
    segments: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    mask: str = ""
    fallback: str = ""
    hold: Hold = DEFAULT_HOLD


class ScenarioChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed of a scenario; the rest stays."""

    name: Name | UnsetType = UNSET
    marker: str | UnsetType = UNSET
    forward: Forwards | UnsetType = UNSET
    ring: Literal["in-order", "all"] | UnsetType = UNSET
    ring_time: RingTime | UnsetType = UNSET
    max_calls: Limit | UnsetType = UNSET
    allow: tuple[str, ...] | UnsetType = UNSET
    addressing: Addressing | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    record: bool | UnsetType = UNSET
    segments: tuple[str, ...] | UnsetType = UNSET
    selectors: tuple[str, ...] | UnsetType = UNSET
    replace: tuple[str, ...] | UnsetType = UNSET
    mask: str | UnsetType = UNSET
    fallback: str | UnsetType = UNSET
    hold: Hold | UnsetType = UNSET


def changes_of(change: Any) -> dict[str, Any]:
    """The fields that were given, as the catalog names them."""
    given = {name: getattr(change, name) for name in change.__struct_fields__}
    return {"forwards" if name == "forward" else name: value for name, value in given.items() if value is not UNSET}


async def _projects(asked: Asked) -> Page[Project]:
    projects = await asked.services.catalog.projects()
    return Page(items=[project for project in projects if asked.who.may("setup:read", project.id)])


async def _project(asked: Asked) -> Project:
    asked.own("setup:read", asked.path.id, f"project {asked.path.id}")
    return await asked.services.catalog.project(asked.path.id)


async def _add_project(asked: Asked) -> Project:
    asked.who.require("setup:write", None)
    new = asked.body
    added = await asked.services.catalog.add_project(new.name, new.sites, new.default_target, new.time_zone)
    await asked.services.people.note(asked.who.name, "project.added", added.id, added.name)
    return added


async def _edit_project(asked: Asked) -> Project:
    asked.own("setup:write", asked.path.id, f"project {asked.path.id}")
    changes = changes_of(asked.body)
    changed = await asked.services.catalog.edit_project(asked.path.id, **changes)
    await asked.services.people.note(asked.who.name, "project.changed", changed.id, ", ".join(changes))
    return changed


async def _numbers(asked: Asked) -> Page[Number]:
    project = asked.project_or_all("setup:read", asked.query.project)
    return Page(items=await asked.services.catalog.numbers(project))


async def _number_of(asked: Asked, scope: str) -> Number:
    number = await asked.services.catalog.number(asked.path.number, asked.services.country)
    asked.own(scope, number.project, f"number {number.number}")
    return number


async def _number(asked: Asked) -> Number:
    return await _number_of(asked, "setup:read")


async def _add_number(asked: Asked) -> Number:
    new = asked.body
    project = asked.project("setup:write", new.project)
    added = await asked.services.catalog.add_number(new.number, project, new.scenario, asked.services.country)
    await asked.services.people.note(asked.who.name, "number.added", project, added.number)
    return added


async def _assign_number(asked: Asked) -> Number:
    number = await _number_of(asked, "setup:write")
    changed = await asked.services.catalog.assign_number(number.number, asked.body.scenario)
    await asked.services.people.note(asked.who.name, "number.changed", number.project, number.number)
    return changed


async def _remove_number(asked: Asked) -> None:
    number = await _number_of(asked, "setup:write")
    await asked.services.catalog.remove_number(number.number)
    await asked.services.people.note(asked.who.name, "number.removed", number.project, number.number)


async def _scenarios(asked: Asked) -> Page[Scenario]:
    project = asked.project_or_all("setup:read", asked.query.project)
    return Page(items=await asked.services.catalog.scenarios(project))


async def _scenario_of(asked: Asked, scope: str) -> Scenario:
    scenario = await asked.services.catalog.scenario(asked.path.id)
    asked.own(scope, scenario.project, f"scenario {scenario.id}")
    return scenario


async def _scenario(asked: Asked) -> Scenario:
    return await _scenario_of(asked, "setup:read")


async def _add_scenario(asked: Asked) -> Scenario:
    new = asked.body
    project = asked.project("setup:write", new.project)
    added = await asked.services.catalog.add_scenario(
        new.name,
        project,
        new.marker,
        new.forward,
        ring=new.ring,
        ring_time=new.ring_time,
        max_calls=new.max_calls,
        allow=new.allow,
        addressing=new.addressing,
        **{name: getattr(new, name) for name in SHOWN},
    )
    await asked.services.people.note(asked.who.name, "scenario.added", project, f"{added.id} ({added.name})")
    return added


async def _edit_scenario(asked: Asked) -> Scenario:
    scenario = await _scenario_of(asked, "setup:write")
    changes = changes_of(asked.body)
    words = f"{scenario.id} ({scenario.name}): {', '.join(changes)}"
    changed = await asked.services.catalog.edit_scenario(scenario.id, **changes)
    await asked.services.people.note(asked.who.name, "scenario.changed", scenario.project, words)
    return changed


async def _remove_scenario(asked: Asked) -> None:
    scenario = await _scenario_of(asked, "setup:write")
    await asked.services.catalog.remove_scenario(scenario.id)
    words = f"{scenario.id} ({scenario.name})"
    await asked.services.people.note(asked.who.name, "scenario.removed", scenario.project, words)


async def _trunks(asked: Asked) -> Page[TrunkState]:
    if not any("setup:read" in scopes for scopes in asked.who.grants.values()):
        asked.who.require("setup:read", None)
    return Page(items=asked.services.trunks())


def _of(tag: str, scope: str) -> Any:
    def operation(method: str, path: str, name: str, summary: str, work: Any, **more: Any) -> Operation:
        return Operation(method, path, name, summary, tag, scope, work, **more)

    return operation


_read, _write = (lambda tag: _of(tag, "setup:read")), (lambda tag: _of(tag, "setup:write"))

OPERATIONS = (
    _read("projects")("GET", "/projects", "listProjects", "The projects that this key opens", _projects,
                      answer=Page[Project]),
    _write("projects")("POST", "/projects", "addProject", "Add a project; for keys of every project", _add_project,
                       answer=Project, body=NewProject, status=201),
    _read("projects")("GET", "/projects/{id}", "getProject", "One project", _project, answer=Project, parameters=ByID),
    _write("projects")("PATCH", "/projects/{id}", "changeProject", "Change a project", _edit_project, answer=Project,
                       parameters=ByID, body=ProjectChange),
    _read("numbers")("GET", "/numbers", "listNumbers", "Substitution numbers", _numbers, answer=Page[Number],
                     query=OfProject),
    _write("numbers")("POST", "/numbers", "addNumber", "Give a number to a project", _add_number, answer=Number,
                      body=NewNumber, status=201),
    _read("numbers")("GET", "/numbers/{number}", "getNumber", "One number", _number, answer=Number,
                     parameters=ByNumber),
    _write("numbers")("PATCH", "/numbers/{number}", "assignNumber", "Let a number lead to another scenario",
                      _assign_number, answer=Number, parameters=ByNumber, body=NumberChange),
    _write("numbers")("DELETE", "/numbers/{number}", "removeNumber", "Take a number away from its project",
                      _remove_number, parameters=ByNumber, status=204),
    _read("scenarios")("GET", "/scenarios", "listScenarios", "Scenarios", _scenarios, answer=Page[Scenario],
                       query=OfProject),
    _write("scenarios")("POST", "/scenarios", "addScenario", "Add a scenario", _add_scenario, answer=Scenario,
                        body=NewScenario, status=201),
    _read("scenarios")("GET", "/scenarios/{id}", "getScenario", "One scenario", _scenario, answer=Scenario,
                       parameters=ByID),
    _write("scenarios")("PATCH", "/scenarios/{id}", "changeScenario", "Change a scenario", _edit_scenario,
                        answer=Scenario, parameters=ByID, body=ScenarioChange),
    _write("scenarios")("DELETE", "/scenarios/{id}", "removeScenario",
                        "Remove a scenario; its numbers stay with the project", _remove_scenario, parameters=ByID,
                        status=204),
    _read("trunks")("GET", "/trunks", "listTrunks", "The trunks, and which of them answer", _trunks,
                    answer=Page[TrunkState]),
)  # fmt: skip
