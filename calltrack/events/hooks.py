"""What people do with webhooks: add, look, remove, try, replay. The command line, the page and the API come here.

Judges what is entered; knows the stores by what it asks of them.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable

import msgspec
from twisted.internet import defer

from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.events import ga4
from calltrack.events.derived import of_call
from calltrack.events.line import Post, request_of
from calltrack.events.model import CALL_TYPES, TYPES, CallEvent, Event
from calltrack.events.payloads import VISIT_FIELDS, roistat_fields
from calltrack.events.posting import PostFailed
from calltrack.events.templates import check_template
from calltrack.events.webhooks import (
    FORMATS,
    Attempt,
    Standing,
    Webhook,
    check_events_of_project,
    check_headers,
    check_secret,
    check_url,
    new_secret,
)
from calltrack.tracking.model import Attribution, CallRecord, MediaFigures


class Webhooks:
    """`store`: as `storage.sqlite_webhooks.SQLiteWebhooks`; `catalog`: as ICatalogStore, for whether a project exists."""

    def __init__(self, store: Any, catalog: Any, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._catalog = catalog
        self._wall_ms = wall_ms

    async def add(
        self,
        project: int,
        url: str,
        events: Iterable[str] = (),
        headers: Iterable[str] = (),
        format: str = "roistat",
        secret: str = "",
        template: str = "",
        content_type: str = "application/json",
        measurement_id: str = "",
        api_secret: str = "",
    ) -> Webhook:
        """A webhook that gets what happens from now on, with a secret of its own unless one is given. Raises
        InvalidField, NoSuchObject, StoreUnavailable."""
        if format not in FORMATS:
            raise InvalidField(
                "format", Sentence("{format} is none of {allowed}", format=ascii(format)[:40], allowed=", ".join(FORMATS))
            )
        if format == "ga4":
            ga4.check_stream(measurement_id, api_secret)
            url = url or ga4.COLLECT
            events = tuple(events) or ("call.ended",)
        elif measurement_id or api_secret:
            raise InvalidField("measurement_id" if measurement_id else "api_secret", "is for the format ga4 only")
        webhook = Webhook(
            id=0,
            project=project,
            url=check_url(url),
            events=check_events_of_project(events),
            format=format,  # type: ignore[arg-type]
            headers=check_headers(headers),
            secret=check_secret(secret) if secret else new_secret(),
            template=template,
            content_type=content_type,
            measurement_id=measurement_id,
            api_secret=api_secret,
            created=self._wall_ms(),
        )
        _check_format(webhook)
        _, projects, _, _ = await self._catalog.snapshot()
        if all(known.id != project for known in projects):
            raise NoSuchObject(Sentence("project {project} does not exist", project=project))
        return await self._store.add(webhook)

    async def list(self, project: int | None = None) -> list[tuple[Webhook, Standing]]:
        """Webhooks and how they are doing, by id."""
        _, webhooks = await self._store.snapshot()
        standings = await self._store.standings()
        chosen = (one for one in webhooks if project in (None, one.project))
        return [(one, standings.get(one.id, Standing())) for one in chosen]

    async def get(self, webhook_id: int) -> Webhook:
        """Raises NoSuchObject."""
        _, webhooks = await self._store.snapshot()
        found = next((one for one in webhooks if one.id == webhook_id), None)
        if found is None:
            raise NoSuchObject(Sentence("webhook {webhook} does not exist", webhook=webhook_id))
        return found

    def remove(self, webhook_id: int) -> defer.Deferred[None]:
        """Fails with NoSuchObject."""
        return self._store.remove(webhook_id)

    async def test(self, webhook_id: int, post: Post, kind: str = "") -> tuple[Attempt, list[str]]:
        """Post an invented event to a webhook, once, whatever becomes of it. Returns the attempt, which stands in no
        log, and what is wrong with the body, a sentence a field, where the other side can say so (format ga4)."""
        webhook = await self.get(webhook_id)
        kinds = [name for name in ("call.ended", *webhook.events) if name in webhook.events and name in CALL_TYPES]
        event = sample(kind or (kinds[0] if kinds else "call.ended"), webhook.project, self._wall_ms())
        visit = dict.fromkeys(VISIT_FIELDS) | {"landing_page": "https://shop.example/glasses", "utm_source": "test"}
        url, headers, body = request_of(webhook, event, visit, "", self._wall_ms())
        at, status, response, error = self._wall_ms(), 0, b"", ""
        wrong: list[str] = []
        try:
            if webhook.format == "ga4":  # the debug server takes nothing and says what it would not take
                answer = await post(url.replace("/mp/collect", "/debug/mp/collect"), headers, body)
                wrong = ga4.explained(answer.body)
            else:
                answer = await post(url, headers, body)
            status, response = answer.status, answer.body
            if not 200 <= status < 300:
                error = f"answered {status}"
        except PostFailed as problem:
            error = str(problem)
        attempt = Attempt(
            webhook=webhook.id,
            event=event.id,
            type=event.type,
            number=1,
            at=at,
            took=self._wall_ms() - at,
            status=status,
            error=error or ("; ".join(wrong) if wrong else ""),
            url=webhook.url,
            request=body.decode(),
            response=response.decode("utf-8", "replace"),
        )
        return attempt, wrong

    async def replay(
        self,
        webhook_id: int,
        event: str | None = None,
        call: str | None = None,
        since: int | None = None,
        until: int | None = None,
        dead: bool = False,
    ) -> int:
        """As the store's; raises InvalidField when nothing is chosen: a whole log is rarely meant."""
        if event is None and call is None and since is None and until is None and not dead:
            raise InvalidField("replay", "choose by event, call, time (since, until) or dead letters")
        return await self._store.replay(webhook_id, event, call, since, until, dead)

    def log(self, **filters: Any) -> defer.Deferred[list[tuple[int, Attempt]]]:
        """As the store's `attempts`."""
        return self._store.attempts(**filters)


def sample(kind: str, project: int, now_ms: int) -> Event:
    """An event of an invented call. Raises InvalidField."""
    if kind not in CALL_TYPES:
        raise InvalidField(
            "event", Sentence("{kind} is none of {allowed}", kind=ascii(kind)[:40], allowed=", ".join(CALL_TYPES))
        )
    answered = kind != "call.missed"
    record = CallRecord(
        id="00000000000070008000000000000000",
        project=project,
        scenario=1,
        caller="12025550143",
        callee="11231234567",
        target="sip:office@192.0.2.7:5060",
        trunk="test",
        created=now_ms - 12_000,
        ringing=now_ms - 11_000,
        answered=now_ms - 7_000 if answered else None,
        ended=now_ms,
        duration=12.0,
        waiting_time=5.0 if answered else 12.0,
        answer_duration=7.0 if answered else 0.0,
        status="ANSWER" if answered else "NOANSWER",
        hangup="caller",
        sip_code=200 if answered else 480,
        q850=16 if answered else 19,
        reason="this is a test: there was no such call",
        attribution=Attribution(visit=123456, marker="direct_search_1234567_buy glasses", reason="test"),
        new_caller=True,
        media=MediaFigures(verdict="both-ways" if answered else "none"),
    )
    return next(event for event in of_call(record) if event.type == kind)


def _check_format(webhook: Webhook) -> None:
    calls = [name for name in webhook.events if name in CALL_TYPES]
    others = [name for name in webhook.events if name not in CALL_TYPES]
    if webhook.format == "ga4" and others:
        raise InvalidField(
            "event", Sentence("{event} tells of no call, and Google Analytics gets calls only", event=others[0])
        )
    if webhook.format != "template":
        if webhook.template:
            raise InvalidField("template", "is for the format template only")
        return
    known: dict[str, Any] = {}
    for name in calls:
        event = sample(name, webhook.project, webhook.created)
        assert isinstance(event, CallEvent)
        known |= {**roistat_fields(event, {}, ""), **msgspec.to_builtins(event)}
    for name in others:
        known |= dict.fromkeys((*TYPES[name].__struct_fields__, "type"))
    check_template(webhook.template, webhook.content_type, known)
