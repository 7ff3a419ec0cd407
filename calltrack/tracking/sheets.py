"""A call record as a row of a table: columns by name, values as plain numbers, texts and times. Pure.

Texts come from strangers, and programs that open tables run what looks like a formula: `defused` keeps it text.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Callable

from calltrack.tracking.model import CallRecord, Recording

Cell = str | int | float | bool | datetime | None

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a cell begins with that is taken for one


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


COLUMNS: dict[str, Callable[[CallRecord], Cell]] = {
    "id": lambda r: r.id,
    "project": lambda r: r.project,
    "scenario": lambda r: r.scenario,
    "created": lambda r: _time(r.created),
    "ringing": lambda r: _time(r.ringing),
    "answered": lambda r: _time(r.answered),
    "ended": lambda r: _time(r.ended),
    "caller": lambda r: r.caller,
    "callee": lambda r: r.callee,
    "target": lambda r: r.target,
    "trunk": lambda r: r.trunk,
    "status": lambda r: r.status,
    "duration": lambda r: r.duration,
    "waiting_time": lambda r: r.waiting_time,
    "answer_duration": lambda r: r.answer_duration,
    "target_call": lambda r: r.target_call,
    "new_caller": lambda r: r.new_caller,
    "visit": lambda r: r.attribution.visit,
    "marker": lambda r: r.attribution.marker,
    "attributed_by": lambda r: r.attribution.reason,
    "hangup": lambda r: r.hangup,
    "sip_code": lambda r: r.sip_code,
    "q850": lambda r: r.q850,
    "reason": lambda r: r.reason,
    "cost": lambda r: r.cost,
    "currency": lambda r: r.currency,
    "media": lambda r: r.media.verdict,
    "caller_packets": lambda r: r.media.caller.packets,
    "caller_lost": lambda r: r.media.caller.lost,
    "caller_jitter_ms": lambda r: r.media.caller.jitter_ms,
    "target_packets": lambda r: r.media.target.packets,
    "target_lost": lambda r: r.media.target.lost,
    "target_jitter_ms": lambda r: r.media.target.jitter_ms,
    "recording": lambda r: r.recording.name if isinstance(r.recording, Recording) else "",
}


def row_of(record: CallRecord) -> list[Cell]:
    """The cells of a record, in the order of `COLUMNS`."""
    return [column(record) for column in COLUMNS.values()]


def defused(text: str) -> str:
    """`text` for a CSV cell: with an apostrophe before what a spreadsheet would take for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text


def written(cell: Cell) -> str:
    """A cell as CSV says it: times in ISO 8601 UTC, true and false, nothing for what is not known."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case datetime():
            return cell.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case str():
            return defused(cell)
    return str(cell)
