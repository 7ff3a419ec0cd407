"""Scenarios in two steps: numbers and how they are shown; where their calls go. Knows the catalog; no rule of it."""

from __future__ import annotations

from typing import Any

import msgspec

from calltrack.errors import InvalidField, NoSuchObject, Sentence, TooManyRequests
from calltrack.tracking.catalog import MAX_TARGETS, draft_scenario, read_targets
from calltrack.tracking.model import DEFAULT_HOLD, DEFAULT_RING_TIME, DEFAULT_TARGET_CALLS, Addressing, Scenario, Target
from calltrack.tracking.numbers import normalise
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View

EMPTY_ROWS = 2  # for further targets
LISTS = ("segments", "selectors", "replace")  # a line each
FIRST_STEP = ("name", "kind", "marker", *LISTS, "mask", "fallback", "hold")
_AS_TYPED = {"segment": "segments", "selector": "selectors"}  # fields of the rules -> of the form


async def scenarios(view: View) -> bytes:
    assert view.project is not None
    catalog = view.services.catalog
    numbers = await catalog.numbers(view.project.id)
    found = await catalog.scenarios(view.project.id)
    by_scenario = {one.id: [number.number for number in numbers if number.scenario == one.id] for one in found}
    return view.render("scenarios.html", scenarios=found, numbers=by_scenario)


async def _scenario(view: View) -> Scenario:
    assert view.project is not None
    found = await view.services.catalog.scenario(view.path["scenario"])
    if found.project != view.project.id:
        raise NoSuchObject(Sentence("scenario {scenario} does not exist", scenario=found.id))
    return found


# Step 1: numbers and how they are shown


async def new(view: View) -> bytes:
    values = {"name": "", "kind": "static", "marker": "", "mask": "", "fallback": "", "hold": f"{DEFAULT_HOLD:g}"}
    return await _numbers_form(view, None, {**values, **dict.fromkeys(LISTS, "")}, [], {})


async def numbers_form(view: View) -> bytes:
    assert view.project is not None
    scenario = await _scenario(view)
    values = {name: getattr(scenario, name) for name in ("name", "kind", "marker", "mask", "fallback")}
    values |= {name: "\n".join(getattr(scenario, name)) for name in LISTS} | {"hold": f"{scenario.hold:g}"}
    own = [one.number for one in await view.services.catalog.numbers(view.project.id) if one.scenario == scenario.id]
    return await _numbers_form(view, scenario, values, own, {})


async def _numbers_form(
    view: View, scenario: Scenario | None, values: dict[str, Any], chosen: list[str], errors: dict[str, str]
) -> bytes:
    assert view.project is not None
    catalog = view.services.catalog
    numbers = await catalog.numbers(view.project.id)
    names = {one.id: one.name for one in await catalog.scenarios(view.project.id)}
    return view.render(
        "scenario_numbers.html",
        422 if errors else 200,
        scenario=scenario,
        values=values,
        chosen=chosen,
        numbers=numbers,
        names=names,
        errors=errors,
        sample=(chosen or [one.number for one in numbers] or ["11231234567"])[0],
        snippet=f'<script async src="{view.base}/t/{view.project.key}.js"></script>',
    )


def _typed(view: View) -> dict[str, Any]:
    """The first step's fields as they were typed."""
    return {name: view.raw(name) if name in LISTS else view.given(name) for name in FIRST_STEP}


def _shown(view: View) -> dict[str, Any]:
    """The first step's fields as the catalog takes them. Raises InvalidField."""
    marker = view.given("marker")
    if view.given("kind") != "dynamic" and not marker:
        raise InvalidField("marker", view.say("a static scenario has a marker, as direct_search_1234567"))
    hold = view.decimal("hold")
    return {
        "name": view.given("name"),
        "marker": "" if view.given("kind") == "dynamic" else marker,
        **{name: view.lines(name) for name in LISTS},
        "mask": view.raw("mask"),
        "fallback": view.given("fallback"),
        "hold": DEFAULT_HOLD if hold is None else hold,
    }


def _errors(error: InvalidField) -> dict[str, str]:
    return {_AS_TYPED.get(error.field, error.field): error.words}


async def save_numbers(view: View) -> bytes:
    scenario = await _scenario(view)
    chosen = view.all_given("number")
    try:
        await view.services.catalog.edit_scenario(scenario.id, **_shown(view))
        await _assign(view, scenario.id, chosen)
    except InvalidField as error:
        return await _numbers_form(view, scenario, _typed(view), chosen, _errors(error))
    await view.note("scenario.changed", f"{scenario.id} ({scenario.name}): numbers and their appearance")
    return view.redirect(view.link("scenarios", scenario.id), "saved")


async def _assign(view: View, scenario: int, chosen: list[str]) -> None:
    """Let the chosen numbers lead to a scenario, and no others; a number typed anew is added."""
    assert view.project is not None
    catalog, project = view.services.catalog, view.project.id
    if view.given("new_number"):
        await catalog.add_number(view.given("new_number"), project, scenario, view.services.country)
    for number in await catalog.numbers(project):
        if number.number in chosen and number.scenario != scenario:
            await catalog.assign_number(number.number, scenario)
        elif number.scenario == scenario and number.number not in chosen and not _just_added(view, number.number):
            await catalog.assign_number(number.number, None)


def _just_added(view: View, number: str) -> bool:
    typed = view.given("new_number")
    return bool(typed) and normalise(typed, view.services.country) == number


# Step 2: where calls go


async def first_step(view: View) -> bytes:
    """The first step of a new scenario is done: on to the second, which carries it along."""
    assert view.project is not None
    chosen = view.all_given("number")
    try:
        fields = _shown(view)
        draft_scenario(fields.pop("name"), view.project.id, fields.pop("marker"), **fields)
    except InvalidField as error:
        return await _numbers_form(view, None, _typed(view), chosen, _errors(error))
    return await _forwarding_form(view, None, _fresh(), {}, carried=_carried(view))


def _carried(view: View) -> list[tuple[str, str]]:
    return [*_typed(view).items(), *(("number", one) for one in view.all_given("number")), ("new_number", view.given("new_number"))]


def _fresh() -> dict[str, Any]:
    return _of_targets((Target(kind="account", address=""),), "in-order", False)


def _of_targets(targets: tuple[Target, ...], ring: str, record: bool) -> dict[str, Any]:
    """The second step's fields of what is stored."""
    first = targets[0] if targets else Target(kind="account", address="")
    rows = [{"kind": one.kind, "address": one.address.removeprefix("sip:") if one.kind == "sip" else one.address} for one in targets]
    return {
        "rows": rows,
        "ring": ring,
        "record": record,
        "ring_time": f"{first.ring_time:g}",
        "max_calls": first.max_calls,
        "allow": ", ".join(first.allow),
        "request_user": first.addressing.request_user,
        "dialled_in": first.addressing.dialled_in,
        "caller_id": first.addressing.caller_id,
    }


async def forwarding_form(view: View) -> bytes:
    scenario = await _scenario(view)
    return await _forwarding_form(view, scenario, _of_targets(scenario.targets, scenario.ring, scenario.record), {})


async def _forwarding_form(
    view: View, scenario: Scenario | None, values: dict[str, Any], errors: dict[str, str], carried: Any = ()
) -> bytes:
    assert view.project is not None
    account = await view.services.accounts.account(view.project.id)
    blanks = [{"kind": "", "address": ""}] * EMPTY_ROWS
    return view.render(
        "scenario_forwarding.html",
        422 if errors else 200,
        scenario=scenario,
        values=values,
        rows=[*values["rows"], *blanks][:MAX_TARGETS],
        errors=errors,
        carried=carried,
        account=account,
    )


def _forwarding_typed(view: View) -> dict[str, Any]:
    rows = [{"kind": kind, "address": address} for kind, address in zip(view.each_given("kind_of"), view.each_given("address")) if kind]
    same = ("ring", "ring_time", "max_calls", "allow", "request_user")
    lists = {name: tuple(view.all_given(name)) for name in ("dialled_in", "caller_id")}
    return {"rows": rows, "record": view.flag("record"), **{name: view.given(name) for name in same}, **lists}


def _forwarding(view: View) -> dict[str, Any]:
    """The second step's fields as the catalog takes them. Raises InvalidField."""
    forwards = []
    for kind, address in zip(view.each_given("kind_of"), view.each_given("address")):
        if kind == "account":
            forwards.append("account")
        elif kind and not address:
            raise InvalidField("forward", view.say("a target has no address"))
        elif kind:
            forwards.append(f"phone:{address}" if kind == "phone" else address)
    ring_time, max_calls = view.decimal("ring_time"), view.whole("max_calls")
    try:
        profile = {"request_user": view.given("request_user", "address") or "address",
                   "dialled_in": view.all_given("dialled_in"), "caller_id": view.all_given("caller_id")}  # fmt: skip
        addressing = msgspec.convert(profile, Addressing)
    except msgspec.ValidationError as error:
        raise InvalidField("addressing", str(error)) from None
    return {
        "targets": read_targets(
            forwards,
            ring_time=DEFAULT_RING_TIME if ring_time is None else ring_time,
            max_calls=DEFAULT_TARGET_CALLS if max_calls is None else max_calls,
            allow=tuple(name for part in view.given("allow").split(",") if (name := part.strip(" "))),
            addressing=addressing,
        ),
        "ring": view.given("ring") or "in-order",
        "record": view.flag("record"),
    }


async def _save_password(view: View) -> None:
    """The account's password, where one was typed beside the target."""
    assert view.project is not None
    if view.raw("account_password"):
        try:
            await view.services.accounts.set_password(view.project.id, view.raw("account_password"))
        except InvalidField as error:
            raise InvalidField("account_password", error.words) from None
        await view.note("account.password-set")


async def save_forwarding(view: View) -> bytes:
    scenario = await _scenario(view)
    try:
        changes = _forwarding(view)
        await _save_password(view)
        await view.services.catalog.edit_scenario(scenario.id, **changes)
    except InvalidField as error:
        return await _forwarding_form(view, scenario, _forwarding_typed(view), {error.field: error.words})
    await view.note("scenario.changed", f"{scenario.id} ({scenario.name}): forwarding")
    return view.redirect(view.link("scenarios", scenario.id, "forwarding"), "saved")


async def add(view: View) -> bytes:
    assert view.project is not None
    chosen = view.all_given("number")
    try:
        shown = _shown(view)
    except InvalidField as error:
        return await _numbers_form(view, None, _typed(view), chosen, _errors(error))
    try:
        forwarding = _forwarding(view)
        draft = draft_scenario(shown.pop("name"), view.project.id, shown.pop("marker"), **shown, **forwarding)
        await _save_password(view)
        added = await view.services.catalog.add_drafted(draft)
    except InvalidField as error:
        return await _forwarding_form(view, None, _forwarding_typed(view), {error.field: error.words}, _carried(view))
    await view.note("scenario.added", f"{added.id} ({added.name})")
    try:
        await _assign(view, added.id, chosen)
    except InvalidField as error:
        return await _numbers_form(view, added, _typed(view), chosen, {"new_number": error.words})
    return view.redirect(view.link("scenarios", added.id), "added")


async def switch(view: View) -> bytes:
    scenario = await _scenario(view)
    await view.services.catalog.edit_scenario(scenario.id, enabled=view.flag("enabled"))
    await view.note("scenario.changed", f"{scenario.id} ({scenario.name}): {'on' if view.flag('enabled') else 'off'}")
    return view.redirect(view.link("scenarios"), "saved")


async def remove(view: View) -> bytes:
    scenario = await _scenario(view)
    await view.services.catalog.remove_scenario(scenario.id)
    await view.note("scenario.removed", f"{scenario.id} ({scenario.name})")
    return view.redirect(view.link("scenarios"), "removed")


async def test_call(view: View) -> bytes:
    """Call one target of a scenario, and say what happened, or when to try again."""
    assert view.project is not None
    scenario, position = await _scenario(view), view.whole("target") or 0
    if position >= len(scenario.targets) or view.services.test_call is None:
        raise InvalidField("target", view.say("there is no such target"))
    numbers = await view.services.catalog.numbers(view.project.id)
    dialled = next((one.number for one in numbers if one.scenario == scenario.id), "0")
    try:
        outcome = await view.services.test_call(view.project, scenario.targets[position], dialled)
    except TooManyRequests as error:
        view.request.setHeader(b"retry-after", str(error.retry_after).encode())
        return view.json({"ok": False, "words": view.words.refusal(error)}, error.status)
    await view.note("target.tested", f"{scenario.targets[position].label}: {outcome.words}")
    return view.json({"ok": outcome.ok, "words": view.words.tell(outcome.words)})


_P = "/projects/<int:project>/scenarios"
ROUTES = (
    Route("GET", _P, "setup:read", scenarios),
    Route("GET", f"{_P}/new", "setup:write", new),
    Route("POST", f"{_P}/new", "setup:write", first_step),
    Route("POST", f"{_P}/new/forwarding", "setup:write", add),
    Route("GET", f"{_P}/<int:scenario>", "setup:read", numbers_form),
    Route("POST", f"{_P}/<int:scenario>", "setup:write", save_numbers),
    Route("GET", f"{_P}/<int:scenario>/forwarding", "setup:read", forwarding_form),
    Route("POST", f"{_P}/<int:scenario>/forwarding", "setup:write", save_forwarding),
    Route("POST", f"{_P}/<int:scenario>/switch", "setup:write", switch),
    Route("POST", f"{_P}/<int:scenario>/remove", "setup:write", remove),
    Route("POST", f"{_P}/<int:scenario>/test-call", "setup:write", test_call),
)
