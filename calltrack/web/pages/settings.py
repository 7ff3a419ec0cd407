"""A project's settings and its API keys. Knows the services; no rule of them."""

from __future__ import annotations

from typing import Any

from calltrack.access.model import SCOPES, published_key
from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.tracking.model import Project
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View

_NUMBERS = ("target_call_time", "max_rate")
_KEY_FIELDS = {"name": "key_name"}  # of the rules -> of the form
_FIELDS = ("name", "default_target", "time_zone", "target_call_time", "max_calls", "max_rate")


async def settings(view: View) -> bytes:
    assert view.project is not None
    return await _page(view, _stored(view.project), {})


def _stored(project: Project) -> dict[str, Any]:
    """The fields of the form as they stand."""
    values: dict[str, Any] = {name: getattr(project, name) for name in _FIELDS}
    values |= {name: f"{values[name]:g}" for name in _NUMBERS}
    return values | {"sites": "\n".join(project.sites), "enabled": project.enabled}


async def _page(view: View, values: dict[str, Any], errors: dict[str, str], new_key: str = "") -> bytes:
    assert view.project is not None
    keys = await view.services.keys.keys(view.project.id) if view.may("access:write") else []
    return view.render(
        "settings.html",
        422 if errors else 200,
        values=values,
        errors=errors,
        keys=[(one, published_key(one)) for one in keys],
        new_key=new_key,
        scopes=[(name, view.say(words)) for name, words in SCOPES.items() if name != "access:write"],
    )


async def save(view: View) -> bytes:
    assert view.project is not None
    try:
        changes = {
            "name": view.given("name"),
            "sites": view.lines("sites"),
            "default_target": view.given("default_target"),
            "time_zone": view.given("time_zone") or "UTC",
            "target_call_time": view.decimal("target_call_time") or 0.0,
            "max_calls": view.whole("max_calls") or 0,
            "max_rate": view.decimal("max_rate") or 0.0,
            "enabled": view.flag("enabled"),
        }
        await view.services.catalog.edit_project(view.project.id, **changes)
    except InvalidField as error:
        typed = {name: view.given(name) for name in _FIELDS}
        field = "sites" if error.field == "site" else error.field
        values = {**typed, "sites": view.raw("sites"), "enabled": view.flag("enabled")}
        return await _page(view, values, {field: error.words})
    changed = [name for name, value in changes.items() if value != getattr(view.project, name)]
    await view.note("project.changed", ", ".join(changed))
    return view.redirect(view.link("settings"), "saved")


async def add_key(view: View) -> bytes:
    assert view.project is not None
    scopes = view.all_given("scope")
    try:
        if not scopes:  # the rule for keys would take none for all
            raise InvalidField("scopes", view.say("tick at least one thing that the key may do"))
        _, text = await view.services.keys.add(view.project.id, view.given("key_name"), scopes, view.who.name)
    except InvalidField as error:
        return await _page(view, _stored(view.project), {_KEY_FIELDS.get(error.field, error.field): error.words})
    return await _page(view, _stored(view.project), {}, text)


async def remove_key(view: View) -> bytes:
    assert view.project is not None
    key = await view.services.keys.key(view.path["key"])
    if key.project != view.project.id:
        raise NoSuchObject(Sentence("API key {key} does not exist", key=key.id))
    await view.services.keys.remove(key.id, view.who.name)
    return view.redirect(view.link("settings"), "removed")


_P = "/projects/<int:project>/settings"
ROUTES = (
    Route("GET", _P, "setup:read", settings),
    Route("POST", _P, "setup:write", save),
    Route("POST", f"{_P}/keys", "access:write", add_key),
    Route("POST", f"{_P}/keys/<int:key>/remove", "access:write", remove_key),
)
