"""Projects: adding one. Knows the catalog; no rule of it."""

from __future__ import annotations

from zoneinfo import available_timezones

from calltrack.errors import InvalidField
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View


async def new(view: View) -> bytes:
    return _form(view, {"name": "", "site": "", "time_zone": ""}, {})


async def add(view: View) -> bytes:
    values = {name: view.given(name) for name in ("name", "site", "time_zone")}
    sites = (values["site"],) if values["site"] else ()
    try:
        project = await view.services.catalog.add_project(values["name"], sites, time_zone=values["time_zone"] or "UTC")
    except InvalidField as error:
        return _form(view, values, {error.field: error.words})
    view.project = project
    await view.note("project.added", project.name)
    return view.redirect(f"/projects/{project.id}", "added")


def _form(view: View, values: dict[str, str], errors: dict[str, str]) -> bytes:
    zones = sorted(zone for zone in available_timezones() if "/" in zone)
    return view.render("project_new.html", 422 if errors else 200, values=values, errors=errors, zones=zones)


ROUTES = (
    Route("GET", "/projects/new", "setup:write", new),
    Route("POST", "/projects/new", "setup:write", add),
)
