"""Lists and reports of calls in memory, as plainly as can be said. Knows values only."""

from __future__ import annotations

from collections import defaultdict
from typing import Iterable

from msgspec.structs import replace

from calltrack.tracking.model import CallRecord
from calltrack.tracking.search import DAY, HOUR, CallQuery, CallTally, DayTally, HourTally, position, source_of


def find(records: Iterable[CallRecord], query: CallQuery) -> list[CallRecord]:
    """The records that `query` asks for, in its order, without ladders."""
    found = [record for record in records if _wanted(record, query)]
    found.sort(key=lambda record: position(record, query), reverse=query.descending)
    return [replace(record, ladder=()) for record in found[: query.limit]]


def _wanted(record: CallRecord, query: CallQuery) -> bool:
    place = position(record, query)
    later = query.after is None or (place < query.after if query.descending else place > query.after)
    pairs = (
        (query.project, record.project),
        (query.scenario, record.scenario),
        (query.caller, record.caller),
        (query.callee, record.callee),
        (query.visit, record.attribution.visit),
        (query.marker, record.attribution.marker),
        (query.source, source_of(record.attribution.marker)),
        (query.target_call, record.target_call),
    )
    return (
        later
        and all(asked in (None, held) for asked, held in pairs)
        and (not query.statuses or record.status in query.statuses)
        and (query.since is None or record.created >= query.since)
        and (query.until is None or record.created < query.until)
    )


def tally(records: Iterable[CallRecord], project: int, since: int, until: int, offset: int) -> CallTally:
    """What the ended calls of a project come to."""
    days: dict[tuple[int, str], list[CallRecord]] = defaultdict(list)
    hours: dict[int, list[CallRecord]] = defaultdict(list)
    for record in records:
        if record.project == project and since <= record.created < until and record.final:
            days[(record.created + offset) // DAY, source_of(record.attribution.marker)].append(record)
            hours[((record.created + offset) // HOUR + 72) % 168].append(record)
    return CallTally(
        days=tuple(_day(day, source, found) for (day, source), found in sorted(days.items())),
        hours=tuple(
            HourTally(hour=hour, calls=len(found), answered=_answered(found)) for hour, found in sorted(hours.items())
        ),
    )


def _day(day: int, source: str, found: list[CallRecord]) -> DayTally:
    return DayTally(
        day=day,
        source=source,
        calls=len(found),
        answered=_answered(found),
        target=sum(record.target_call for record in found),
        talked=sum(record.answer_duration for record in found),
        cost=sum(record.cost or 0.0 for record in found),
    )


def _answered(found: list[CallRecord]) -> int:
    return sum(record.status == "ANSWER" for record in found)
