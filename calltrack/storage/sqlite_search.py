"""Lists of calls in SQLite: which index leads. Knows the table and its columns; no threads."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from calltrack.tracking.model import CallRecord
from calltrack.tracking.search import CallQuery

_records = msgspec.json.Decoder(CallRecord)

# Columns that may be equal to something, the one that leaves fewest calls first: its index leads. SQLite's planner
# knows nothing of how many calls a value has, so all others are kept from it by a plus.
_LEADERS = ("visit", "caller", "marker", "callee", "scenario", "source")
_FEW = ("visit", "caller")  # so few calls that sorting them costs nothing


def find(cursor: sqlite3.Cursor, query: CallQuery) -> list[CallRecord]:
    """The records that `query` asks for, in its order, without ladders."""
    sql, values = _statement(query)
    return [_records.decode(value) for (value,) in cursor.execute(sql, values)]


def _statement(query: CallQuery) -> tuple[str, list[Any]]:
    equal = {name: getattr(query, name) for name in _LEADERS if getattr(query, name) is not None}
    by_time = query.key == "created"
    led = [name for name in equal if (by_time or name in _FEW) and (name, equal[name]) != ("caller", "")]
    leader = led[0] if led else ""
    one_status = by_time and not leader and len(query.statuses) == 1
    conditions: list[str] = []
    values: list[Any] = []

    def require(condition: str, *given: Any) -> None:
        conditions.append(condition)
        values.extend(given)

    if query.project is not None:
        require("project = ?", query.project)
    for name, value in equal.items():
        require(f"{name} = ?" if name == leader else f"+{name} = ?", value)
    if query.caller:
        require("caller <> ''")  # its index has no withheld ones
    if query.statuses:
        marks = ", ".join("?" * len(query.statuses))
        require(f"{'' if one_status else '+'}status IN ({marks})", *query.statuses)
    if query.target_call is not None:
        require("+is_target = ?", int(query.target_call))
    sign = "" if by_time or leader else "+"
    if query.since is not None:
        require(f"{sign}created >= ?", query.since)
    if query.until is not None:
        require(f"{sign}created < ?", query.until)
    column = "created" if by_time else "talked"
    if query.after is not None:
        require(f"({column}, id) {'<' if query.descending else '>'} (?, ?)", *query.after)
    way = "DESC" if query.descending else "ASC"
    where = " AND ".join(conditions) or "1"
    index = "INDEXED BY call_by_caller " if leader == "caller" else ""  # it has not our order: the planner would not take it
    return f"SELECT value FROM call {index}WHERE {where} ORDER BY {column} {way}, id {way} LIMIT ?", [*values, query.limit]
