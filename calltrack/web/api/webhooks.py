"""Operations on webhooks and their log. Knows the services, no HTTP and no rules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from calltrack.errors import NoSuchObject
from calltrack.events.hooks import Webhooks
from calltrack.events.webhooks import Attempt, Webhook, published_webhook
from calltrack.web.api.calls import milliseconds
from calltrack.web.api.operations import ID, Asked, Operation, Page
from calltrack.web.api.setup import ByID, OfProject

Instant = Annotated[datetime, Meta(tz=True)]


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events of a project are to be posted. `events`: as call.ended, call.* or *; `headers`: as "NAME: VALUE"."""

    url: str = ""
    project: ID | None = None
    events: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    format: str = "roistat"
    secret: str = ""
    template: str = ""
    content_type: str = "application/json"
    measurement_id: str = ""
    api_secret: str = ""


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be delivered again: all that matches everything given."""

    event: str | None = None
    call: str | None = None
    since: Instant | None = None
    until: Instant | None = None
    dead: bool = False


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    events: int


class LogFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempts, newest first."""

    project: ID | None = None
    webhook: ID | None = None
    call: str | None = None
    failed: bool = False
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50


class PublishedWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook and how it is doing. `secret` is shown when it is made, not later."""

    id: int
    project: int
    url: str
    events: tuple[str, ...]
    format: str
    headers: dict[str, str]
    secret: str
    template: str
    content_type: str
    measurement_id: str
    api_secret: str
    created: int
    pending: int
    dead: int
    behind: int
    last: Attempt | None


def hooks_of(asked: Asked) -> Webhooks:
    hooks = asked.services.webhooks
    assert hooks is not None
    return hooks


async def _own(asked: Asked, scope: str) -> Webhook:
    webhook = await hooks_of(asked).get(asked.path.id)
    asked.own(scope, webhook.project, f"webhook {webhook.id}")
    return webhook


def _seen(asked: Asked, attempt: Attempt, project: int | None) -> Attempt:
    """Bodies tell of calls and visitors: only to those who may see them."""
    if asked.who.may("calls:read", project):
        return attempt
    return msgspec.structs.replace(attempt, request="", response="")


async def _list(asked: Asked) -> Page[Any]:
    project = asked.project_or_all("setup:read", asked.query.project)
    found = await hooks_of(asked).list(project)
    items = []
    for one, standing in found:
        last = None if standing.last is None else _seen(asked, standing.last, one.project)
        items.append(published_webhook(one, msgspec.structs.replace(standing, last=last)))
    return Page(items=items)


async def _add(asked: Asked) -> Any:
    new = asked.body
    project = asked.project("setup:write", new.project)
    given = {name: getattr(new, name) for name in new.__struct_fields__ if name not in ("project", "url")}
    added = await hooks_of(asked).add(project, new.url, **given)
    await asked.services.people.note(asked.who.name, "webhook.added", project, f"{added.id}: {added.url}")
    return published_webhook(added, secrets_too=True)


async def _remove(asked: Asked) -> None:
    webhook = await _own(asked, "setup:write")
    await hooks_of(asked).remove(webhook.id)
    await asked.services.people.note(asked.who.name, "webhook.removed", webhook.project, f"{webhook.id}: {webhook.url}")


async def _test(asked: Asked) -> Attempt:
    webhook = await _own(asked, "setup:write")
    if asked.services.post is None:
        raise NoSuchObject("this process sends no webhooks")
    attempt, _ = await hooks_of(asked).test(webhook.id, asked.services.post)
    return attempt


async def _replay(asked: Asked) -> Replayed:
    webhook, wanted = await _own(asked, "setup:write"), asked.body
    span = {"since": milliseconds(wanted.since), "until": milliseconds(wanted.until)}
    count = await hooks_of(asked).replay(webhook.id, event=wanted.event, call=wanted.call, dead=wanted.dead, **span)
    await asked.services.people.note(asked.who.name, "webhook.replayed", webhook.project, f"{webhook.id}: {count} events")
    return Replayed(events=count)


async def _log(asked: Asked) -> Page[Attempt]:
    query = asked.query
    project = asked.project_or_all("setup:read", query.project)
    filters = {name: getattr(query, name) for name in ("webhook", "call", "failed", "limit")}
    found = await hooks_of(asked).log(project=project, **filters)
    return Page(items=[_seen(asked, attempt, project) for _, attempt in found])


OPERATIONS = (
    Operation("GET", "/webhooks", "listWebhooks", "Webhooks, and how they are doing", "webhooks", "setup:read", _list,
              answer=Page[PublishedWebhook], query=OfProject),
    Operation("POST", "/webhooks", "addWebhook", "Post what happens from now on to an address", "webhooks",
              "setup:write", _add, answer=PublishedWebhook, body=NewWebhook, status=201),
    Operation("DELETE", "/webhooks/{id}", "removeWebhook", "Forget a webhook and what it has not taken yet", "webhooks",
              "setup:write", _remove, parameters=ByID, status=204),
    Operation("POST", "/webhooks/{id}/test", "testWebhook", "Post an invented call once, and tell what came of it",
              "webhooks", "setup:write", _test, answer=Attempt, parameters=ByID),
    Operation("POST", "/webhooks/{id}/replay", "replayWebhook", "Deliver again, with the same ids", "webhooks",
              "setup:write", _replay, answer=Replayed, parameters=ByID, body=Replay),
    Operation("GET", "/deliveries", "listDeliveries", "The delivery log: attempts, newest first", "webhooks",
              "setup:read", _log, answer=Page[Attempt], query=LogFilters),
)  # fmt: skip
