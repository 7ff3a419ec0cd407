"""Calls: the list with its filters, the list as CSV, one call explained. Knows the call log; no rule of calls."""

from __future__ import annotations

import csv
import io
from typing import Any

from msgspec.structs import replace
from twisted.logger import Logger

from calltrack.errors import CalltrackError, InvalidField, NoSuchObject
from calltrack.tracking.model import CallRecord, Visit
from calltrack.tracking.numbers import normalise
from calltrack.tracking.published import iso_time
from calltrack.tracking.search import MISSED, CallQuery
from calltrack.web import recordings
from calltrack.web.flow import Flow
from calltrack.web.pages import spans, telling
from calltrack.web.pages.ladder import drawn
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View

log = Logger()

PAGE = 50
CSV_PAGE = 1000  # rows that are written at once

FILTERS = ("status", "from", "to", "source", "marker", "caller", "callee", "scenario", "visit", "target", "sort")
STATUSES = (
    ("ANSWER", "answered"), ("BUSY", "busy"), ("NOANSWER", "no answer"), ("CANCEL", "caller hung up"),
    ("CONGESTION", "network busy"), ("CHANUNAVAIL", "unreachable"), ("ACTIVE", "in progress"),
)  # fmt: skip

COLUMNS = (
    "id", "created", "caller", "callee", "status", "waiting_time", "answer_duration", "target_call", "new_caller",
    "marker", "visit", "attributed_by", "target", "trunk", "scenario", "hangup", "sip_code", "reason", "cost", "currency",
)  # fmt: skip


async def calls(view: View) -> bytes:
    assert view.project is not None
    filters = {name: view.given(name) for name in FILTERS}
    errors: dict[str, str] = {}
    found: list[CallRecord] = []
    following: dict[str, str] = {}
    try:
        query = asked(view)
        found, cursor = await view.services.calls.page(query, view.given("cursor"))
        following = {**filters, "cursor": cursor} if cursor else {}
    except InvalidField as error:
        errors[error.field] = error.words
    scenarios = await view.services.catalog.scenarios(view.project.id)
    return view.render(
        "calls.html",
        422 if errors else 200,
        filters=filters,
        errors=errors,
        calls=found,
        following=following,
        statuses=[(key, view.say(words)) for key, words in STATUSES],
        scenarios=[(str(one.id), one.name) for one in scenarios],
        sources=sorted({one.marker.partition("_")[0] for one in scenarios if one.marker}),
    )


def asked(view: View) -> CallQuery:
    """What the filters of the query ask for. Raises InvalidField."""
    assert view.project is not None
    status, caller = view.given("status"), view.given("caller")
    source = view.given("source")
    return CallQuery(
        project=view.project.id,
        statuses=MISSED if status == "missed" else (status,) if status else (),
        since=spans.instant(view, "from"),
        until=spans.instant(view, "to", end=True),
        scenario=view.whole("scenario"),
        caller=normalise(caller, view.services.country, "caller") if caller else None,
        callee=view.given("callee") or None,
        visit=view.whole("visit"),
        marker=view.given("marker") or None,
        source="" if source == "-" else source or None,
        target_call={"1": True, "0": False}.get(view.given("target")),
        sort=view.given("sort") or "-created",  # type: ignore[arg-type]  # judged by the call log
        limit=PAGE,
    )


async def as_csv(view: View) -> bytes:
    """Every call that the filters ask for, page by page as it is read."""
    assert view.project is not None
    query = replace(asked(view), limit=CSV_PAGE)
    request = view.request
    page, cursor = await view.services.calls.page(query)
    request.setHeader(b"content-type", b"text/csv; charset=utf-8")
    request.setHeader(b"content-disposition", f'attachment; filename="calls-{view.project.id}.csv"'.encode())
    request.write(b"\xef\xbb\xbf" + _lines([COLUMNS]))  # the mark tells spreadsheets that it is UTF-8
    flow = Flow(request)
    try:
        while not flow.gone:
            request.write(_lines([_cells(record) for record in page]))
            await flow.room()
            if cursor is None:
                break
            page, cursor = await view.services.calls.page(query, cursor)
    except CalltrackError as error:  # the answer has begun: it cannot become a refusal
        log.error("a list of calls was cut off: {problem}", problem=error)
        flow.cut()
    finally:
        flow.end()
    return b""


def _cells(record: CallRecord) -> list[Any]:
    attribution = record.attribution
    values = {"created": iso_time(record.created), "marker": attribution.marker, "visit": attribution.visit,
              "attributed_by": attribution.reason}  # fmt: skip
    return [values[name] if name in values else getattr(record, name) for name in COLUMNS]


def _lines(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> Any:
    """What a spreadsheet would take for a formula gets a quote before it: text here comes from strangers."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


async def call(view: View) -> bytes:
    assert view.project is not None
    record = await view.services.calls.call(view.path["call"], view.project.id)
    return view.render(
        "call.html",
        call=record,
        visit=await _visit(view, record),
        story=telling.story(record, view.words),
        attribution=telling.attribution(record, view.words),
        candidates=[(one, telling.because(one.reason, view.words)) for one in record.attribution.candidates],
        verdict=telling.verdict(record, view.words),
        recording=telling.recording(record, view.words, view.link("calls", record.id, "recording"))
        if view.may("recordings:read")
        else None,
        ladder=drawn(record.ladder, view.say("caller")) if record.ladder else None,
    )


async def recording(view: View) -> bytes:
    """The sound of a call, or of `?file=capture` what the sound could not hold."""
    assert view.project is not None
    record = await view.services.calls.call(view.path["call"], view.project.id)
    return await recordings.sent(view.services, view.request, record, view.given("file") == "capture")


async def _visit(view: View, record: CallRecord) -> Visit | None:
    """The visit that a call belongs to, as long as it is kept."""
    if record.attribution.visit is None or record.project is None or view.services.visits is None:
        return None
    try:
        return await view.services.visits.get(record.project, record.attribution.visit)
    except NoSuchObject:
        return None


ROUTES = (
    Route("GET", "/projects/<int:project>/calls", "calls:read", calls),
    Route("GET", "/projects/<int:project>/calls.csv", "calls:read", as_csv),
    Route("GET", "/projects/<int:project>/calls/<call>", "calls:read", call),
    Route("GET", "/projects/<int:project>/calls/<call>/recording", "recordings:read", recording),
)
