"""Webhooks, how they are doing, what became of each attempt, and *send again*. Knows the service; no rule of it."""

from __future__ import annotations

from typing import Any

from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.events.webhooks import FORMATS, Webhook, published_webhook
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View

ATTEMPTS = 100  # of the log that are shown
FIELDS = ("url", "events", "format", "measurement_id", "api_secret")


async def webhooks(view: View) -> bytes:
    return await _page(view, {}, {})


async def _page(view: View, values: dict[str, Any], errors: dict[str, str], secret: str = "") -> bytes:
    assert view.project is not None and view.services.webhooks is not None
    hooks, project = view.services.webhooks, view.project.id
    return view.render(
        "webhooks.html",
        422 if errors else 200,
        webhooks=[published_webhook(one, standing) for one, standing in await hooks.list(project)],
        attempts=await hooks.log(project=project, failed=view.flag("failed"), limit=ATTEMPTS),
        failed=view.flag("failed"),
        formats=[(name, name) for name in FORMATS if name != "template"],
        values=values,
        errors=errors,
        secret=secret,
    )


async def add(view: View) -> bytes:
    assert view.project is not None and view.services.webhooks is not None
    values = {name: view.given(name) for name in FIELDS}
    events = tuple(name for part in values["events"].split(",") if (name := part.strip(" ")))
    given = {name: values[name] for name in ("format", "measurement_id", "api_secret")}
    try:
        added = await view.services.webhooks.add(view.project.id, values["url"], events, **given)
    except InvalidField as error:
        field = {"event": "events"}.get(error.field, error.field)
        return await _page(view, values, {field: error.words})
    await view.note("webhook.added", f"{added.id}: {added.url}")
    return await _page(view, {}, {}, added.secret)


async def _own(view: View) -> Webhook:
    assert view.project is not None and view.services.webhooks is not None
    found = await view.services.webhooks.get(view.path["webhook"])
    if found.project != view.project.id:
        raise NoSuchObject(Sentence("webhook {webhook} does not exist", webhook=found.id))
    return found


async def remove(view: View) -> bytes:
    webhook = await _own(view)
    assert view.services.webhooks is not None
    await view.services.webhooks.remove(webhook.id)
    await view.note("webhook.removed", f"{webhook.id}: {webhook.url}")
    return view.redirect(view.link("webhooks"), "removed")


async def test(view: View) -> bytes:
    """Post an invented call, and say what was answered."""
    webhook = await _own(view)
    if view.services.webhooks is None or view.services.post is None:
        raise NoSuchObject("this process sends no webhooks")
    attempt, wrong = await view.services.webhooks.test(webhook.id, view.services.post)
    problem = "; ".join(filter(None, (attempt.error, *wrong)))
    words = view.say("Not taken: {problem}", problem=problem) if problem else view.say("Taken: it answered {status}.", status=attempt.status)
    return view.json({"ok": not problem, "words": words})


async def again(view: View) -> bytes:
    """Deliver one event once more, or everything that was given up."""
    webhook = await _own(view)
    assert view.services.webhooks is not None
    event = view.given("event")
    await view.services.webhooks.replay(webhook.id, event=event or None, dead=not event)
    await view.note("webhook.replayed", f"{webhook.id}: {event or 'what was given up'}")
    return view.redirect(view.link("webhooks"), "sent")


_P = "/projects/<int:project>/webhooks"
ROUTES = (
    Route("GET", _P, "setup:read", webhooks),
    Route("POST", _P, "setup:write", add),
    Route("POST", f"{_P}/<int:webhook>/remove", "setup:write", remove),
    Route("POST", f"{_P}/<int:webhook>/test", "setup:write", test),
    Route("POST", f"{_P}/<int:webhook>/again", "setup:write", again),
)
