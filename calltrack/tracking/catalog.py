"""What people do with projects, scenarios and numbers, and the rules of it.

The command line, the page and the API all come through here. Knows what a valid value is and says so
by field. Must not know how values are kept (`ICatalogStore`), nor SIP, nor HTTP.
"""

from __future__ import annotations

import re
import secrets
from typing import Any, Callable, Iterable, Literal, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.interfaces import ICatalogStore
from calltrack.tracking.display import check_mask
from calltrack.tracking.markers import clean_marker
from calltrack.tracking.model import (
    DEFAULT_RING_TIME,
    DEFAULT_TARGET_CALLS,
    Addressing,
    Number,
    Project,
    Scenario,
    Target,
)
from calltrack.tracking.numbers import normalise
from calltrack.tracking.segments import check_segment
from calltrack.tracking.sources import check_rules
from calltrack.tracking.targets import parse_target, quoted

MAX_NAME = 200  # characters
MAX_TARGETS = 20  # of a scenario
MAX_SHOWN = 50  # segments, selectors or replaced numbers of a scenario
RING_TIME = (1.0, 300.0)  # seconds

_SITE = re.compile(r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?#][!-~]*)?\Z")
_CODEC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")


class Catalog:
    """The projects, scenarios and numbers in `store`.

    Every method is a coroutine. Each raises InvalidField for a value that is refused, NoSuchObject when
    what it names does not exist, StoreUnavailable when the store does not answer.
    """

    def __init__(self, store: ICatalogStore) -> None:
        self._store = store

    # Projects

    async def add_project(
        self, name: str, sites: Iterable[str] = (), default_target: str = "", time_zone: str = "UTC"
    ) -> Project:
        """A new project. `sites`: http or https addresses; `default_target`: where numbers without a
        scenario lead, as `parse_target` reads it; `time_zone`: an IANA name."""
        project = Project(id=0, name="", key=secrets.token_hex(8))
        changes = {"name": name, "sites": sites, "default_target": default_target, "time_zone": time_zone}
        return await self._store.add_project(_changed(project, changes, _PROJECT_RULES))

    async def edit_project(self, project: int, **changes: Any) -> Project:
        """Change fields of a project: name, sites, enabled, default_target, time_zone, allow_transfer,
        max_calls, max_rate, target_call_time, marker_rules (of `tracking.sources`)."""
        return await self._store.replace(_changed(await self.project(project), changes, _PROJECT_RULES))

    async def projects(self) -> list[Project]:
        """All projects by id."""
        _, projects, _, _ = await self._store.snapshot()
        return sorted(projects, key=lambda project: project.id)

    async def project(self, project: int) -> Project:
        """The project with this id."""
        return _found(Sentence("project {project}", project=project), (p for p in await self.projects() if p.id == project))

    # Scenarios

    async def add_scenario(
        self,
        name: str,
        project: int,
        static: str,
        forwards: Sequence[str],
        *,
        ring: Literal["in-order", "all"] = "in-order",
        ring_time: float = DEFAULT_RING_TIME,
        max_calls: int = DEFAULT_TARGET_CALLS,
        allow: Sequence[str] = (),
        addressing: Addressing = Addressing(),
        record: bool = False,
        **shown: Any,
    ) -> Scenario:
        """A new scenario, static or with `static` "" dynamic. `static`: the channel's marker, cleaned of what is
        unsafe and cut at 255 bytes; `forwards`: targets in ringing order, as `parse_target` reads them. What
        follows holds for each target: `ring_time` in seconds, `max_calls` at once (0 = no limit), `allow`:
        codec names, most wanted first (none = as offered). `record`: whether its calls are recorded. `shown`: how
        pages show its numbers: segments, selectors, replace, mask, fallback, hold, as `Scenario` has them."""
        targets = read_targets(forwards, ring_time=ring_time, max_calls=max_calls, allow=allow, addressing=addressing)
        changes = {"targets": targets, "ring": ring, "record": record, **shown}
        return await self._store.add_scenario(draft_scenario(name, project, static, **changes))

    async def add_drafted(self, draft: Scenario) -> Scenario:
        """A new scenario, as `draft_scenario` made it."""
        return await self._store.add_scenario(draft)

    async def edit_scenario(self, scenario: int, **changes: Any) -> Scenario:
        """Change fields of a scenario: name, marker (with "" it becomes dynamic), targets (of `read_targets`), ring,
        enabled, record, and what `add_scenario` calls `shown`; or, of all its targets, ring_time, max_calls, allow,
        addressing. `forwards`: other targets, as `parse_target` reads them, that keep what was set of those before;
        `request_user`, `dialled_in`, `caller_id`: parts of addressing."""
        current = await self.scenario(scenario)
        first = current.targets[0] if current.targets else None
        changes = with_addressing(changes, first.addressing if first else Addressing())
        if "forwards" in changes:
            kept = {key: getattr(first, key) for key in _TARGET_RULES} if first else {}
            changes["targets"] = read_targets(changes.pop("forwards"), **kept)
        if changes.get("marker") == "":
            current = msgspec.structs.replace(current, kind="dynamic", marker=changes.pop("marker"))
        elif "marker" in changes:
            current = msgspec.structs.replace(current, kind="static")
        of_targets = {key: changes.pop(key) for key in _TARGET_RULES if key in changes}
        if of_targets:
            targets = changes.get("targets", current.targets)
            changes["targets"] = tuple(_changed(target, of_targets, _TARGET_RULES) for target in targets)
        return await self._store.replace(_changed(current, changes, _SCENARIO_RULES))

    async def remove_scenario(self, scenario: int) -> Scenario:
        """Delete a scenario; its numbers stay with the project, without one."""
        removed = await self.scenario(scenario)
        await self._store.remove(removed)
        return removed

    async def scenarios(self, project: int | None = None) -> list[Scenario]:
        """The scenarios of a project, or all, by id."""
        _, _, scenarios, _ = await self._store.snapshot()
        return sorted((s for s in scenarios if project in (None, s.project)), key=lambda scenario: scenario.id)

    async def scenario(self, scenario: int) -> Scenario:
        """The scenario with this id."""
        return _found(
            Sentence("scenario {scenario}", scenario=scenario), (s for s in await self.scenarios() if s.id == scenario)
        )

    # Numbers

    async def add_number(self, number: str, project: int, scenario: int | None = None, country: str = "") -> Number:
        """Give a number that is nobody's to a project. National forms are read by the rules of `country`."""
        return await self._store.add_number(
            Number(number=normalise(number, country), project=project, scenario=scenario)
        )

    async def assign_number(self, number: str, scenario: int | None, country: str = "") -> Number:
        """Let a number lead to another scenario of its project, or to none."""
        current = await self.number(number, country)
        return await self._store.replace(msgspec.structs.replace(current, scenario=scenario))

    async def remove_number(self, number: str, country: str = "") -> Number:
        """Take a number away from its project."""
        removed = await self.number(number, country)
        await self._store.remove(removed)
        return removed

    async def numbers(self, project: int | None = None) -> list[Number]:
        """The numbers of a project, or all, by digits."""
        _, _, _, numbers = await self._store.snapshot()
        return sorted((n for n in numbers if project in (None, n.project)), key=lambda number: number.number)

    async def number(self, number: str, country: str = "") -> Number:
        """The number that is written so."""
        digits = normalise(number, country)
        return _found(Sentence("number {number}", number=digits), (n for n in await self.numbers() if n.number == digits))


def draft_scenario(name: str, project: int, static: str, **fields: Any) -> Scenario:
    """A scenario that is not stored yet, its fields checked; `static` and `fields` as `Catalog.add_scenario` has them.
    Raises InvalidField."""
    scenario = Scenario(id=0, project=project, name="", kind="static" if static else "dynamic")
    marker = {"marker": static} if static else {}
    return _changed(scenario, {"name": name, **marker, **fields}, _SCENARIO_RULES)


def read_targets(forwards: Sequence[str], **settings: Any) -> tuple[Target, ...]:
    """Targets in ringing order; `settings` are further fields of each. Raises InvalidField."""
    if not 1 <= len(forwards) <= MAX_TARGETS:
        raise InvalidField(
            "forward", Sentence("{count} targets given; allowed: 1 to {most}", count=len(forwards), most=MAX_TARGETS)
        )
    targets = tuple(_changed(parse_target(text), settings, _TARGET_RULES) for text in forwards)
    for position, target in enumerate(targets):
        if target in targets[:position]:
            raise InvalidField("forward", Sentence("{label} stands there twice", label=quoted(target.label)))
    return targets


def with_addressing(changes: dict[str, Any], current: Addressing = Addressing()) -> dict[str, Any]:
    """`changes` with those of an addressing profile's fields put together, on top of `current`."""
    profile = {name: changes[name] for name in Addressing.__struct_fields__ if name in changes}
    if not profile:
        return changes
    others = {name: value for name, value in changes.items() if name not in profile}
    return {**others, "addressing": msgspec.structs.replace(changes.get("addressing", current), **profile)}


def _found(what: str, candidates: Iterable[Any]) -> Any:
    for found in candidates:
        return found
    raise NoSuchObject(Sentence("{what} does not exist", what=what))


def _changed(value: Any, changes: dict[str, Any], rules: dict[str, Callable[[str, Any], Any]]) -> Any:
    """`value` with `changes`, each as its rule gives it. Raises InvalidField."""
    for field in changes:
        if field not in rules:
            raise InvalidField(field, Sentence("cannot be set; allowed: {allowed}", allowed=", ".join(rules)))
    return msgspec.structs.replace(value, **{field: rules[field](field, new) for field, new in changes.items()})


def _name(field: str, value: str) -> str:
    name = value.strip(" ")
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidField(
            field,
            Sentence("{name} is no name; allowed: 1 to {most} characters on one line", name=quoted(name), most=MAX_NAME),
        )
    return name


def _marker(field: str, value: str) -> str:
    marker = clean_marker(value)
    if not marker:
        raise InvalidField(field, Sentence("{value} is no marker; allowed: 1 to 255 bytes of text", value=quoted(value)))
    return marker


def _sites(field: str, value: Iterable[str]) -> tuple[str, ...]:
    sites = tuple(dict.fromkeys(value))
    for site in sites:
        if not _SITE.match(site):
            raise InvalidField(
                "site", Sentence("{site} is no site; allowed: an address as https://shop.example", site=quoted(site))
            )
    return sites


def _default_target(field: str, value: str) -> str:
    if value:
        parse_target(value, field)
    return value


def _time_zone(field: str, value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise InvalidField(
            field, Sentence("{value} is no time zone; allowed: UTC, or as Europe/Moscow", value=quoted(value))
        ) from None
    return value


def _targets(field: str, value: Sequence[Target]) -> tuple[Target, ...]:
    return tuple(value)


def _addressing(field: str, value: Addressing) -> Addressing:
    try:
        return msgspec.convert(msgspec.to_builtins(value), Addressing)
    except msgspec.ValidationError as error:
        raise InvalidField(field, str(error)) from None


def _codecs(field: str, value: Iterable[str]) -> tuple[str, ...]:
    codecs = tuple(dict.fromkeys(value))
    for codec in codecs:
        if not _CODEC.match(codec):
            raise InvalidField(
                field, Sentence("{codec} is no codec name; allowed: names as G729, PCMU, PCMA, opus", codec=quoted(codec))
            )
    return codecs


def _several(rule: Callable[[str, str], str]) -> Callable[[str, Iterable[str]], tuple[str, ...]]:
    def rules(field: str, value: Iterable[str]) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(rule(field, item) for item in value if item))
        if len(found) > MAX_SHOWN:
            raise InvalidField(field, Sentence("{count} given; allowed: up to {most}", count=len(found), most=MAX_SHOWN))
        return found

    return rules


def _selector(field: str, value: str) -> str:
    selector = value.strip(" ")
    if not 1 <= len(selector) <= 200 or not selector.isprintable() or "<" in selector or "{" in selector:
        raise InvalidField(
            field, Sentence("{value} is no CSS selector; allowed: as .phone or #header a[href^='tel:']", value=quoted(value))
        )
    return selector


def _ring(field: str, value: str) -> str:
    if value not in ("in-order", "all"):
        raise InvalidField(field, Sentence("{value} is none of in-order, all", value=quoted(value)))
    return value


def _flag(field: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise InvalidField(field, Sentence("{value} is neither true nor false", value=repr(value)))
    return value


def _within(low: float, high: float, unit: str) -> Callable[[str, Any], Any]:
    def rule(field: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise InvalidField(
                field,
                Sentence(
                    "{value} is outside {low} to {high} ({unit})",
                    value=repr(value),
                    low=f"{low:g}",
                    high=f"{high:g}",
                    unit=Sentence(unit),
                ),
            )
        return value

    return rule


def _whole(high: int, unit: str) -> Callable[[str, Any], Any]:
    within = _within(0, high, unit)

    def rule(field: str, value: Any) -> int:
        if within(field, value) != int(value):
            raise InvalidField(field, Sentence("{value} is no whole number", value=repr(value)))
        return int(value)

    return rule


_calls_at_once = _whole(1_000_000, "calls at once, 0 = no limit")
_calls_a_second = _within(0, 100_000, "calls a second, 0 = no limit")

_SHOWN_RULES: dict[str, Callable[[str, Any], Any]] = {
    "segments": _several(lambda field, value: check_segment(value)),
    "selectors": _several(_selector),
    "replace": _several(lambda field, value: normalise(value, field=field)),
    "mask": lambda field, value: check_mask(value),
    "fallback": lambda field, value: normalise(value, field=field) if value else "",
    "hold": _within(10, 86400, "seconds"),
}
_PROJECT_RULES = {
    "name": _name,
    "sites": _sites,
    "enabled": _flag,
    "default_target": _default_target,
    "time_zone": _time_zone,
    "allow_transfer": _flag,
    "max_calls": _calls_at_once,
    "max_rate": _calls_a_second,
    "target_call_time": _within(0, 86400, "seconds"),
    "marker_rules": lambda field, value: check_rules(line for line in value if line),
}
_SCENARIO_RULES = {
    "name": _name,
    "marker": _marker,
    "targets": _targets,
    "ring": _ring,
    "enabled": _flag,
    "record": _flag,
    **_SHOWN_RULES,
}
_TARGET_RULES = {
    "ring_time": _within(*RING_TIME, "seconds"),
    "max_calls": _calls_at_once,
    "max_rate": _calls_a_second,
    "allow": _codecs,
    "addressing": _addressing,
}
