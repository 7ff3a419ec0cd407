"""The service itself at a glance, and the REST API to read and try. Knows what the engine tells of itself."""

from __future__ import annotations

from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View


async def system(view: View) -> bytes:
    return view.render("system.html", trunks=view.services.trunks(), facts=view.services.facts())


async def developers(view: View) -> bytes:
    return view.render("developers.html")


ROUTES = (
    Route("GET", "/system", "", system),
    Route("GET", "/developers", None, developers),
)
