"""The numbers of a project and where they lead. Knows the catalog; no rule of it."""

from __future__ import annotations

from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.tracking.model import Number
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View


async def numbers(view: View) -> bytes:
    return await _list(view, {}, {})


async def _list(view: View, values: dict[str, str], errors: dict[str, str]) -> bytes:
    assert view.project is not None
    catalog = view.services.catalog
    scenarios = await catalog.scenarios(view.project.id)
    pools = view.services.pools
    dynamic = [one for one in scenarios if one.kind == "dynamic"] if pools is not None else []
    advice = [(one, await pools.of(one.id)) for one in dynamic] if pools is not None else []
    return view.render(
        "numbers.html",
        422 if errors else 200,
        numbers=await catalog.numbers(view.project.id),
        scenarios=[("", "–"), *((str(one.id), one.name) for one in scenarios)],
        advice=advice,
        values=values,
        errors=errors,
    )


async def add(view: View) -> bytes:
    assert view.project is not None
    values = {"number": view.given("number"), "scenario": view.given("scenario")}
    try:
        added = await view.services.catalog.add_number(
            values["number"], view.project.id, view.whole("scenario"), view.services.country
        )
    except InvalidField as error:
        return await _list(view, values, {error.field: error.words})
    await view.note("number.added", added.number)
    return view.redirect(view.link("numbers"), "added")


async def _number(view: View) -> Number:
    assert view.project is not None
    found = await view.services.catalog.number(view.path["number"])
    if found.project != view.project.id:
        raise NoSuchObject(Sentence("number {number} does not exist", number=found.number))
    return found


async def assign(view: View) -> bytes:
    number = await _number(view)
    await view.services.catalog.assign_number(number.number, view.whole("scenario"))
    await view.note("number.changed", number.number)
    return view.redirect(view.link("numbers"), "saved")


async def remove(view: View) -> bytes:
    number = await _number(view)
    await view.services.catalog.remove_number(number.number)
    await view.note("number.removed", number.number)
    return view.redirect(view.link("numbers"), "removed")


_P = "/projects/<int:project>/numbers"
ROUTES = (
    Route("GET", _P, "setup:read", numbers),
    Route("POST", _P, "setup:write", add),
    Route("POST", f"{_P}/<number>/assign", "setup:write", assign),
    Route("POST", f"{_P}/<number>/remove", "setup:write", remove),
)
