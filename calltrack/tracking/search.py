"""What lists of calls ask for and what reports count, and the rules of both: the command line, the page and the API
come through here. Knows no SQL, no HTTP.
"""

from __future__ import annotations

import base64
import binascii
from datetime import timezone, tzinfo
from typing import Any, Literal, get_args

import msgspec

from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.interfaces import ICallRecordStore
from calltrack.tracking import wall_clock
from calltrack.tracking.model import CallRecord, Status
from calltrack.tracking.targets import quoted

Sort = Literal["-created", "created", "-talked", "talked"]

STATUSES: tuple[str, ...] = get_args(Status)
MISSED: tuple[str, ...] = ("BUSY", "NOANSWER", "CANCEL", "CONGESTION", "CHANUNAVAIL")
MAX_LIMIT = 1000
MAX_SPAN = 3 * 366 * 86_400_000  # milliseconds that one report covers

DAY, HOUR, QUARTER = 86_400_000, 3_600_000, 900_000  # milliseconds


class CallQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls, in which order. What is None or empty does not matter. `after`: the position of the last call of
    the page before."""

    project: int | None = None
    statuses: tuple[str, ...] = ()
    since: int | None = None  # created at or after, milliseconds since the Unix epoch
    until: int | None = None  # created before
    scenario: int | None = None
    caller: str | None = None  # digits
    callee: str | None = None
    visit: int | None = None
    marker: str | None = None  # the whole marker
    source: str | None = None  # the marker's first level
    target_call: bool | None = None
    sort: Sort = "-created"
    after: tuple[float, str] | None = None
    limit: int = 100

    @property
    def descending(self) -> bool:
        return self.sort.startswith("-")

    @property
    def key(self) -> str:
        """What it is sorted by."""
        return self.sort.removeprefix("-")


class DayTally(msgspec.Struct, frozen=True, kw_only=True):
    """Ended calls of one day from one source."""

    day: int  # days since the Unix epoch, by the wall clock of the project
    source: str  # the markers' first level; "" = calls that belong to none
    calls: int
    answered: int
    target: int  # conversations that were long enough
    talked: float  # seconds
    cost: float


class HourTally(msgspec.Struct, frozen=True, kw_only=True):
    """Ended calls of one hour of the week."""

    hour: int  # 0 = Monday 00:00 to 01:00, 167 = Sunday 23:00
    calls: int
    answered: int


class CallTally(msgspec.Struct, frozen=True, kw_only=True):
    """What a report shows: `days` by day and source, `hours` by hour of the week. Empty ones are left out."""

    days: tuple[DayTally, ...] = ()
    hours: tuple[HourTally, ...] = ()


def source_of(marker: str) -> str:
    """The first level of a marker: ``direct`` of ``direct_search_1234567``."""
    return marker.partition("_")[0]


def position(record: CallRecord, query: CallQuery) -> tuple[float, str]:
    """Where a record stands in the order of `query`."""
    return (record.created if query.key == "created" else record.answer_duration), record.id


class CallLog:
    """Reads the calls in `records`. Every method is a coroutine and may raise StoreUnavailable."""

    def __init__(self, records: ICallRecordStore) -> None:
        self._records = records

    async def call(self, call_id: str, project: int | None = None) -> CallRecord:
        """The call with this id, with its ladder. Raises NoSuchObject, also when it is none of `project`."""
        if not call_id.isprintable():
            raise NoSuchObject(Sentence("call {call} does not exist", call=ascii(call_id)))
        record = await self._records.get(call_id)
        if project not in (None, record.project):
            raise NoSuchObject(Sentence("call {call} does not exist", call=call_id))
        return record

    async def page(self, query: CallQuery, cursor: str = "") -> tuple[list[CallRecord], str | None]:
        """The calls that `query` asks for, without ladders, and the cursor of the next page, None on the last.
        `cursor`: of the page before. Raises InvalidField."""
        checked = checked_query(query)
        if cursor:
            checked = msgspec.structs.replace(checked, after=read_cursor(cursor, checked))
        more = msgspec.structs.replace(checked, limit=checked.limit + 1)
        found = await self._records.find(more)
        page = found[: checked.limit]
        if len(found) <= checked.limit:
            return page, None
        return page, write_cursor(page[-1], checked)

    async def tally(self, project: int, since: int, until: int, zone: tzinfo = timezone.utc) -> CallTally:
        """What ended calls of a project come to, by the wall clock of `zone`, also when that is put forward or back in
        between. Raises InvalidField."""
        if not 0 < until - since <= MAX_SPAN:
            raise InvalidField("until", "must be after since, and by no more than three years")
        stretches = wall_clock.stretches(since, until, zone)
        return _joined([await self._records.tally(project=project, **stretch._asdict()) for stretch in stretches])


def _joined(parts: list[CallTally]) -> CallTally:
    """The tally of a time whose parts were counted one by one."""
    if len(parts) == 1:
        return parts[0]
    days: dict[tuple[int, str], DayTally] = {}
    hours: dict[int, HourTally] = {}
    for part in parts:
        for day in part.days:
            days[day.day, day.source] = _sum(days.get((day.day, day.source)), day)
        for hour in part.hours:
            hours[hour.hour] = _sum(hours.get(hour.hour), hour)
    return CallTally(days=tuple(days[key] for key in sorted(days)), hours=tuple(hours[key] for key in sorted(hours)))


def _sum(one: Any, other: Any) -> Any:
    """Two tallies of the same day and source, or hour, as one."""
    if one is None:
        return other
    counted = [name for name in other.__struct_fields__ if name not in ("day", "source", "hour")]
    return msgspec.structs.replace(one, **{name: getattr(one, name) + getattr(other, name) for name in counted})


def checked_query(query: CallQuery) -> CallQuery:
    """`query` when its values may be asked for. Raises InvalidField."""
    for status in query.statuses:
        if status not in STATUSES:
            raise InvalidField(
                "status",
                Sentence("{status} is no status; allowed: {allowed}", status=quoted(status), allowed=", ".join(STATUSES)),
            )
    if query.sort not in get_args(Sort):
        raise InvalidField(
            "sort",
            Sentence("{sort} is no order; allowed: {allowed}", sort=quoted(query.sort), allowed=", ".join(get_args(Sort))),
        )
    if not 1 <= query.limit <= MAX_LIMIT:
        raise InvalidField("limit", Sentence("{limit} is outside 1 to {most}", limit=query.limit, most=MAX_LIMIT))
    if query.since is not None and query.until is not None and query.until <= query.since:
        raise InvalidField("until", "must be after since")
    return query


def write_cursor(record: CallRecord, query: CallQuery) -> str:
    """Text that names the place after `record` in the order of `query`."""
    place = msgspec.json.encode((query.sort, *position(record, query)))
    return base64.urlsafe_b64encode(place).decode().rstrip("=")


def read_cursor(text: str, query: CallQuery) -> tuple[float, str]:
    """The position that a cursor of a page in the same order names. Raises InvalidField."""
    try:
        place = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        sort, value, call_id = msgspec.json.decode(place, type=tuple[str, float, str])
    except (binascii.Error, UnicodeError, msgspec.DecodeError):
        raise InvalidField(
            "cursor", Sentence("{text} is not what the page before gave as next", text=quoted(text))
        ) from None
    if sort != query.sort:
        raise InvalidField(
            "cursor", Sentence("is of a list in the order {sort}; ask with that sort, or without cursor", sort=quoted(sort))
        )
    return (int(value) if query.key == "created" else value), call_id
