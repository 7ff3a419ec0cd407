"""Visits and the history of leases in SQLite. Knows the tables; not how a number is chosen."""

from __future__ import annotations

import sqlite3

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import implementer

from calltrack.errors import NoSuchObject, Sentence
from calltrack.events.derived import of_lease, of_visit
from calltrack.interfaces import IVisitStore
from calltrack.storage.sqlite import Database
from calltrack.storage.sqlite_events import SQLiteEvents, append_events
from calltrack.tracking.model import Lease, Miss, Visit
from calltrack.tracking.privacy import blanked

_encoder = msgspec.json.Encoder()
_visits = msgspec.json.Decoder(Visit)

_COLUMNS = "number, begun, ended, project, scenario, visit, marker, confirmed"
_BEGIN = f"""
    INSERT INTO lease ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_END = """
    UPDATE lease SET ended = ?, confirmed = ?
    WHERE number = ? AND begun = ? AND project = ? AND visit = ? AND ended IS NULL
"""


@implementer(IVisitStore)
class SQLiteVisits:
    """Visits, leases and misses in `database`; what they give rise to goes into its log of events with them."""

    def __init__(self, database: Database, events: SQLiteEvents | None = None) -> None:
        self._database = database
        self._events = events or SQLiteEvents(database)

    def reserve(self, project: int, count: int) -> Deferred[int]:
        return self._database.write(_reserve, project, count)

    def write(
        self, visits: list[Visit], begun: list[Lease], ended: list[Lease], misses: list[Miss]
    ) -> Deferred[list[Lease]]:
        return self._database.write(_write, visits, begun, ended, misses).addCallback(self._events.appended)

    def get(self, project: int, number: int) -> Deferred[Visit]:
        return self._database.read(_get, project, number)

    def list(
        self, limit: int = 100, project: int | None = None, before: tuple[int, int] | None = None
    ) -> Deferred[list[Visit]]:
        return self._database.read(_list, limit, project, before)

    def leases_of(self, project: int, visit: int) -> Deferred[list[Lease]]:
        return self._database.read(_leases_of, project, visit)

    def history(self, numbers: list[str], each: int) -> Deferred[list[Lease]]:
        return self._database.read(_history, numbers, each)

    def usage(self, scenario: int, since: int) -> Deferred[tuple[list[Lease], list[Miss]]]:
        return self._database.read(_usage, scenario, since)

    def erase(self, visits: list[tuple[int, int]], fields: list[str]) -> Deferred[int]:
        return self._database.write(_erase, visits, fields)

    def expire(self, field: str, since: int, before: int, limit: int) -> Deferred[int | None]:
        return self._database.write(_expire, field, since, before, limit)


def _reserve(cursor: sqlite3.Cursor, project: int, count: int) -> int:
    (after,) = cursor.execute(
        "INSERT INTO visit_number VALUES (?, 1 + ?) ON CONFLICT (project) DO UPDATE SET next = next + ? RETURNING next",
        (project, count, count),
    ).fetchone()
    return after - count


def _write(
    cursor: sqlite3.Cursor, visits: list[Visit], begun: list[Lease], ended: list[Lease], misses: list[Miss]
) -> list[Lease]:
    cursor.executemany(
        _END, [(one.ended, one.confirmed, one.number, one.begun, one.project, one.visit) for one in ended]
    )
    cursor.executemany(
        "INSERT INTO visit VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(visit.project, visit.number, visit.started, _encoder.encode(visit).decode()) for visit in visits],
    )
    cursor.executemany(
        "INSERT INTO miss (scenario, at, project, visit) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(miss.scenario, miss.at, miss.project, miss.visit) for miss in misses],
    )
    refused = []
    for lease in begun:
        cursor.execute(_BEGIN, _row(lease))
        if cursor.rowcount != 1 and not _is_there(cursor, lease):
            refused.append(lease)
    told = [of_visit(visit) for visit in visits]
    told += [of_lease(lease) for lease in (*ended, *begun) if lease not in refused]
    append_events(cursor, told)
    return refused


def _is_there(cursor: sqlite3.Cursor, lease: Lease) -> bool:
    found = cursor.execute(
        "SELECT project, visit FROM lease WHERE number = ? AND begun = ?", (lease.number, lease.begun)
    ).fetchone()
    return found == (lease.project, lease.visit)


def _row(lease: Lease) -> tuple:
    return (
        lease.number,
        lease.begun,
        lease.ended,
        lease.project,
        lease.scenario,
        lease.visit,
        lease.marker,
        lease.confirmed,
    )


def _lease(row: tuple) -> Lease:
    number, begun, ended, project, scenario, visit, marker, confirmed = row
    return Lease(
        number=number,
        begun=begun,
        ended=ended,
        project=project,
        scenario=scenario,
        visit=visit,
        marker=marker,
        confirmed=bool(confirmed),
    )


def _get(cursor: sqlite3.Cursor, project: int, number: int) -> Visit:
    row = cursor.execute("SELECT value FROM visit WHERE project = ? AND number = ?", (project, number)).fetchone()
    if row is None:
        raise NoSuchObject(Sentence("visit {number} of project {project} does not exist", number=number, project=project))
    return _visits.decode(row[0])


def _list(
    cursor: sqlite3.Cursor, limit: int, project: int | None, before: tuple[int, int] | None
) -> list[Visit]:
    conditions, values = ["1"], []
    if project is not None:
        conditions.append("project = ?")
        values.append(project)
    if before is not None:
        conditions.append("(started, project, number) < (?, ?, ?)")
        values.extend((_get(cursor, *before).started, *before))
    query = f"""
        SELECT value FROM visit WHERE {' AND '.join(conditions)}
        ORDER BY started DESC, project DESC, number DESC LIMIT ?
    """
    return [_visits.decode(value) for (value,) in cursor.execute(query, (*values, limit))]


def _leases_of(cursor: sqlite3.Cursor, project: int, visit: int) -> list[Lease]:
    query = f"SELECT {_COLUMNS} FROM lease WHERE project = ? AND visit = ? ORDER BY begun, number"
    return [_lease(row) for row in cursor.execute(query, (project, visit))]


def _history(cursor: sqlite3.Cursor, numbers: list[str], each: int) -> list[Lease]:
    found: list[Lease] = []
    query = f"SELECT {_COLUMNS} FROM lease WHERE number = ? ORDER BY begun DESC LIMIT ?"
    for number in sorted(numbers):
        found.extend(reversed([_lease(row) for row in cursor.execute(query, (number, each))]))
    return found


def _usage(cursor: sqlite3.Cursor, scenario: int, since: int) -> tuple[list[Lease], list[Miss]]:
    leases = cursor.execute(
        f"SELECT {_COLUMNS} FROM lease WHERE scenario = ? AND begun >= ? AND (ended IS NULL OR ended > begun) "
        "ORDER BY begun, number",
        (scenario, since),
    ).fetchall()
    misses = cursor.execute(
        "SELECT project, scenario, visit, at FROM miss WHERE scenario = ? AND at >= ? ORDER BY at, project, visit",
        (scenario, since),
    )
    return [_lease(row) for row in leases], [Miss(project=p, scenario=s, visit=v, at=at) for p, s, v, at in misses]


def _erase(cursor: sqlite3.Cursor, visits: list[tuple[int, int]], fields: list[str]) -> int:
    rows = []
    for project, number in visits:
        rows += cursor.execute(
            "SELECT project, number, value FROM visit WHERE project = ? AND number = ?", (project, number)
        )
    _blank(cursor, rows, fields)
    return len(rows)


def _expire(cursor: sqlite3.Cursor, field: str, since: int, before: int, limit: int) -> int | None:
    beyond = cursor.execute(
        "SELECT started FROM visit WHERE started >= ? AND started < ? ORDER BY started LIMIT 1 OFFSET ?",
        (since, before, limit),
    ).fetchone()
    until = before if beyond is None else max(beyond[0], since + 1)
    if field == "visit":
        cursor.execute("DELETE FROM visit WHERE started >= ? AND started < ?", (since, until))
    else:
        rows = cursor.execute(
            "SELECT project, number, value FROM visit WHERE started >= ? AND started < ?", (since, until)
        ).fetchall()
        _blank(cursor, [row for row in rows if getattr(_visits.decode(row[2]), field)], [field])
    return until if until < before else None


def _blank(cursor: sqlite3.Cursor, rows: list[tuple[int, int, str]], fields: list[str]) -> None:
    cursor.executemany(
        "UPDATE visit SET value = ? WHERE project = ? AND number = ?",
        [
            (_encoder.encode(blanked(_visits.decode(value), fields)).decode(), project, number)
            for project, number, value in rows
        ],
    )
