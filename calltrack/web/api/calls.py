"""Operations on calls and their reports. Knows the services, no HTTP and no rules."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from twisted.web.iweb import IRequest

from calltrack.tracking.model import Status
from calltrack.tracking.published import PublishedCall, published_call
from calltrack.tracking.search import DAY, MAX_LIMIT, CallQuery, CallTally, Sort
from calltrack.web import recordings
from calltrack.web.api.operations import ID, Asked, Operation, Page

Instant = Annotated[datetime, Meta(tz=True, description="ISO 8601 with a time zone, as 2026-11-23T18:00:00Z")]


class CallFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls, in which order; what is left out does not matter."""

    project: ID | None = None
    status: tuple[Status, ...] = ()
    since: Instant | None = None
    until: Instant | None = None
    scenario: ID | None = None
    caller: str | None = None
    callee: str | None = None
    visit: ID | None = None
    marker: str | None = None
    source: str | None = None
    target_call: bool | None = None
    sort: Sort = "-created"
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 100
    cursor: str = ""


class ByCall(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """The WAV (or, of a call without G.711, the capture), or the capture beside it."""

    file: Literal["sound", "capture"] = "sound"


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """The time that a report covers: the last 30 days unless given. `offset`: minutes that its wall clock is ahead of
    UTC, whole quarters of an hour."""

    project: ID | None = None
    since: Instant | None = None
    until: Instant | None = None
    offset: Annotated[int, Meta(ge=-840, le=840, multiple_of=15)] = 0


def milliseconds(instant: datetime | None) -> int | None:
    """Since the Unix epoch."""
    return None if instant is None else round(instant.timestamp() * 1000)


async def _calls(asked: Asked) -> Page[Any]:
    filters = asked.query
    same = ("scenario", "caller", "callee", "visit", "marker", "source", "target_call", "sort", "limit")
    query = CallQuery(
        project=asked.project_or_all("calls:read", filters.project),
        statuses=filters.status,
        since=milliseconds(filters.since),
        until=milliseconds(filters.until),
        **{name: getattr(filters, name) for name in same},
    )
    records, following = await asked.services.calls.page(query, filters.cursor)
    return Page(items=[published_call(record, ladder=False) for record in records], next=following)


async def _call(asked: Asked) -> Any:
    record = await asked.services.calls.call(asked.path.id)
    asked.own("calls:read", record.project, f"call {asked.path.id}")
    return published_call(record)


async def _recording(asked: Asked, request: IRequest) -> bytes:
    record = await asked.services.calls.call(asked.path.id)
    asked.own("recordings:read", record.project, f"call {asked.path.id}")
    return await recordings.sent(asked.services, request, record, asked.query.file == "capture")


async def _report(asked: Asked) -> CallTally:
    span = asked.query
    project = asked.project("calls:read", span.project)
    until = milliseconds(span.until) or asked.services.wall_ms()
    since = milliseconds(span.since)
    since = until - 30 * DAY if since is None else since
    return await asked.services.calls.tally(project, since, until, timezone(timedelta(minutes=span.offset)))


OPERATIONS = (
    Operation("GET", "/calls", "listCalls", "Calls, filtered and sorted", "calls", "calls:read", _calls,
              answer=Page[PublishedCall], query=CallFilters),
    Operation("GET", "/calls/{id}", "getCall", "One call with the SIP messages of its dialogs", "calls", "calls:read",
              _call, answer=PublishedCall, parameters=ByCall),
    Operation("GET", "/calls/{id}/recording", "getRecording", "The sound of a call, in ranges where a player asks for them",
              "calls", "recordings:read", _recording, parameters=ByCall, query=Which, raw="audio/wav"),
    Operation("GET", "/reports/calls", "reportCalls", "Ended calls by day and source, and by hour of the week", "calls",
              "calls:read", _report, answer=CallTally, query=Span),
)  # fmt: skip
