"""Every page there is. Knows the modules that make them."""

from __future__ import annotations

from calltrack.web.pages import account, calls, entry, live, numbers, overview, persons, projects, scenarios, settings, system, webhooks
from calltrack.web.pages.site import Route

ROUTES: tuple[Route, ...] = (
    *entry.ROUTES,
    *projects.ROUTES,
    *overview.ROUTES,
    *calls.ROUTES,
    *live.ROUTES,
    *scenarios.ROUTES,
    *numbers.ROUTES,
    *account.ROUTES,
    *webhooks.ROUTES,
    *settings.ROUTES,
    *persons.ROUTES,
    *system.ROUTES,
)
