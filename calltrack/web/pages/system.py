"""The service itself at a glance, and the REST API to read and try. Knows what the engine tells of itself."""

from __future__ import annotations

from typing import Any

from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View
from calltrack.web.pages.wording import Words

FACTS = (
    *("Version", "Running for, h:min:s", "Calls at this moment", "Numbers", "Devices that are logged in"),
    *("Media relay", "Calls with sound at this moment"),
)


async def system(view: View) -> bytes:
    return view.render("system.html", trunks=view.services.trunks(), facts=in_words(view.words, view.services.facts()))


def in_words(words: Words, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What `/health` tells, of it what people ask for; the rest is for programs."""
    media = facts.get("media", {})
    told = (
        facts.get("version"),
        words.duration(facts["uptime"], hours=True) if "uptime" in facts else None,
        facts.get("calls"),
        facts.get("numbers"),
        facts.get("registrations"),
        ": ".join(media[name] for name in ("relay", "why") if media.get(name)) or None,
        media.get("sessions"),
    )
    named = [(words.say(name), value) for name, value in zip(FACTS, told) if value is not None]
    return [(name, words.whole(value) if isinstance(value, int) else value) for name, value in named]


async def developers(view: View) -> bytes:
    return view.render("developers.html")


ROUTES = (
    Route("GET", "/system", "", system),
    Route("GET", "/developers", None, developers),
)
