"""Reports of calls in SQLite: ended calls counted by quarter of an hour as they are written, and summed up when somebody
asks. Knows the tables; no threads."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from typing import Iterable

import msgspec

from calltrack.tracking.model import CallRecord
from calltrack.tracking.search import HOUR, QUARTER, CallTally, DayTally, HourTally, source_of

_encoder = msgspec.json.Encoder()
_records = msgspec.json.Decoder(CallRecord)

_REPLACED = "SELECT value FROM call WHERE id IN (SELECT value FROM json_each(?)) AND status <> 'ACTIVE'"
_EMPTY = "DELETE FROM {table} WHERE project = ? AND {unit} = ? AND source = ? AND calls = 0"
_COUNT = """
    INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (project, {unit}, source) DO UPDATE
    SET calls = calls + excluded.calls, answered = answered + excluded.answered, target = target + excluded.target,
        talked = talked + excluded.talked, cost = cost + excluded.cost
"""
_LEVELS = tuple(
    (unit, _COUNT.format(table=table, unit=name), _EMPTY.format(table=table, unit=name))
    for unit, table, name in ((QUARTER, "call_tally", "quarter"), (HOUR, "call_tally_hour", "hour"))
)

_Sums = dict[tuple[int, int, str], list[int]]  # project, unit of time, source -> what `call_tally` counts


def count(cursor: sqlite3.Cursor, records: Iterable[CallRecord]) -> None:
    """Count those of `records` that are final in the place of what the table of calls holds of them now. They are written
    there next, in this transaction."""
    ended = {record.id: record for record in records if record.final}  # the last one of a call stays
    replaced = [_records.decode(value) for (value,) in cursor.execute(_REPLACED, (_encoder.encode(list(ended)).decode(),))]
    for unit, counting, emptying in _LEVELS:
        sums: _Sums = defaultdict(lambda: [0, 0, 0, 0, 0])
        for record in ended.values():
            _add(sums, record, unit, 1)
        for record in replaced:
            _add(sums, record, unit, -1)
        changed = [(*place, *found) for place, found in sums.items() if any(found)]
        cursor.executemany(counting, changed)
        cursor.executemany(emptying, [change[:3] for change in changed if change[3] < 0])


def _add(sums: _Sums, record: CallRecord, unit: int, sign: int) -> None:
    if record.project is None:
        return
    found = sums[record.project, record.created // unit, source_of(record.attribution.marker)]
    found[0] += sign
    found[1] += sign * (record.status == "ANSWER")
    found[2] += sign * record.target_call
    found[3] += sign * int(record.answer_duration * 1000 + 0.5)
    found[4] += sign * int((record.cost or 0.0) * 1_000_000 + 0.5)


_CALLS = """
        SELECT created, coalesce(source, ''), 1, status = 'ANSWER', is_target,
            CAST(coalesce(talked, 0) * 1000 + 0.5 AS INTEGER), CAST(coalesce(cost, 0) * 1000000 + 0.5 AS INTEGER)
        FROM call INDEXED BY call_by_project
        WHERE project = :project AND status <> 'ACTIVE' AND"""
_COUNTED = f"""
    WITH counted AS (
        SELECT hour * {HOUR} AS at, source, calls, answered, target, talked, cost FROM call_tally_hour
        WHERE project = :project AND hour >= :whole / 4 AND hour < :rest / 4
        UNION ALL
        SELECT quarter * {QUARTER}, source, calls, answered, target, talked, cost FROM call_tally
        WHERE project = :project AND quarter >= :first AND quarter < :whole
        UNION ALL
        SELECT quarter * {QUARTER}, source, calls, answered, target, talked, cost FROM call_tally
        WHERE project = :project AND quarter >= :rest AND quarter < :last
        UNION ALL {_CALLS} created >= :since AND created < :head
        UNION ALL {_CALLS} created >= :tail AND created < :until
    )
"""
_DAYS = f"""{_COUNTED}
    SELECT (at + :offset) / 86400000 AS day, source, sum(calls), sum(answered), sum(target), sum(talked) / 1000.0,
        sum(cost) / 1000000.0
    FROM counted GROUP BY day, source ORDER BY day, source
"""
_HOURS = f"""{_COUNTED}
    SELECT ((at + :offset) / 3600000 + 72) % 168 AS hour, sum(calls), sum(answered)
    FROM counted GROUP BY hour ORDER BY hour
"""  # the Unix epoch was a Thursday: 72 hours after a Monday


def tally(cursor: sqlite3.Cursor, project: int, since: int, until: int, offset: int) -> CallTally:
    """What the ended calls of a project come to."""
    asked = {"project": project, "since": since, "until": until, "offset": offset, **_edges(since, until, offset)}
    fields = DayTally.__struct_fields__
    days = tuple(DayTally(**dict(zip(fields, row))) for row in cursor.execute(_DAYS, asked))
    hours = tuple(HourTally(**dict(zip(HourTally.__struct_fields__, row))) for row in cursor.execute(_HOURS, asked))
    return CallTally(days=days, hours=hours)


def _edges(since: int, until: int, offset: int) -> dict[str, int]:
    """Where the time is cut, each piece may be empty: calls until `head` (milliseconds); from `first` to `last` quarters,
    but hours from `whole` to `rest` (quarters too) where those of the wall clock are ours; calls from `tail` on."""
    first, last = -(-since // QUARTER), until // QUARTER
    head = min(first * QUARTER, until)
    tail = max(last * QUARTER, head)
    whole, rest = -(-first // 4) * 4, last // 4 * 4
    if offset % HOUR or whole > rest:
        whole = rest = last
    return {"head": head, "first": first, "whole": whole, "rest": rest, "last": last, "tail": tail}
