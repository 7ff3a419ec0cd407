"""The catalog and the call records in SQLite. Knows the tables; not where their values come from."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import implementer

from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.events.derived import of_call
from calltrack.interfaces import ICallRecordStore, ICatalogStore
from calltrack.storage import sqlite_erasing, sqlite_search, sqlite_tally
from calltrack.storage.sqlite import Database
from calltrack.storage.sqlite_events import SQLiteEvents, Transactions, append_events
from calltrack.storage.told import Told
from calltrack.tracking.model import CallRecord, LadderStep, Number, Project, Scenario
from calltrack.tracking.search import CallQuery, CallTally

_encoder = msgspec.json.Encoder()
_records = msgspec.json.Decoder(CallRecord)
_ladders = msgspec.json.Decoder(tuple[LadderStep, ...])
_projects = msgspec.json.Decoder(Project)
_scenarios = msgspec.json.Decoder(Scenario)

_WRITE_CALL = """
    INSERT INTO call (id, created, project, caller, status, value) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE
    SET created = excluded.created, project = excluded.project, caller = excluded.caller, status = excluded.status,
        value = excluded.value
    WHERE status = 'ACTIVE' OR excluded.status <> 'ACTIVE'
"""
_CALLED_BEFORE = (  # the index holds no withheld callers, and must be told that none is asked for
    "SELECT 1 FROM call WHERE caller = ? AND caller <> '' AND project = ? AND (created, id) < (?, ?) LIMIT 1"
)
_WRITE_LADDER = """
    INSERT INTO ladder (call, steps) SELECT id, ? FROM call WHERE id = ? AND status = ?
    ON CONFLICT (call) DO UPDATE SET steps = excluded.steps
"""


@implementer(ICallRecordStore)
class SQLiteCallRecords:
    """Call records in `database`; what they give rise to goes into its log of events with them."""

    def __init__(self, database: Transactions, events: SQLiteEvents | None = None) -> None:
        self._database = database
        self._events = events or SQLiteEvents(database)
        self._told = Told()

    def write(self, records: list[CallRecord]) -> Deferred[None]:
        news = self._told.news(records)
        written = self._database.write(_write_records, records, {record.id for record in news})
        return written.addCallback(self._written, news)

    def _written(self, _: None, news: list[CallRecord]) -> None:
        if news:
            self._told.remember(news)
            self._events.appended()

    def get(self, call_id: str) -> Deferred[CallRecord]:
        return self._database.read(_get_record, call_id)

    def list(
        self, limit: int = 100, project: int | None = None, status: str | None = None, before: str | None = None
    ) -> Deferred[list[CallRecord]]:
        return self._database.read(_list_records, limit, project, status, before)

    def unfinished(self) -> Deferred[list[CallRecord]]:
        return self._database.read(_unfinished_records)

    def find(self, query: CallQuery) -> Deferred[list[CallRecord]]:
        return self._database.look(sqlite_search.find, query)

    def tally(self, project: int, since: int, until: int, offset: int) -> Deferred[CallTally]:
        return self._database.look(sqlite_tally.tally, project, since, until, offset)

    def forget_caller(self, caller: str) -> Deferred[int]:
        return self._database.write(sqlite_erasing.forget_caller, caller)


@implementer(ICatalogStore)
class SQLiteCatalog:
    """Projects, scenarios and numbers in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_project(self, project: Project) -> Deferred[Project]:
        return self._database.write(_add_project, project)

    def add_scenario(self, scenario: Scenario) -> Deferred[Scenario]:
        return self._database.write(_add_scenario, scenario)

    def add_number(self, number: Number) -> Deferred[Number]:
        return self._database.write(_add_number, number)

    def replace(self, value: Project | Scenario | Number) -> Deferred[Any]:
        return self._database.write(_replace, value)

    def remove(self, value: Scenario | Number) -> Deferred[None]:
        return self._database.write(_remove, value)

    def snapshot(self) -> Deferred[tuple[int, list[Project], list[Scenario], list[Number]]]:
        return self._database.read(_snapshot)

    def version(self) -> Deferred[int]:
        return self._database.read(_version)


def _json(value: Any) -> str:
    return _encoder.encode(value).decode()


def _write_records(cursor: sqlite3.Cursor, records: list[CallRecord], telling: set[str]) -> None:
    """`telling`: the calls whose events may not be in the log yet."""
    records = _with_new_callers(cursor, records)
    sqlite_tally.count(cursor, records)
    cursor.executemany(
        _WRITE_CALL,
        [
            (r.id, r.created, r.project, r.caller, r.status, _json(msgspec.structs.replace(r, ladder=())))
            for r in records
        ],
    )
    cursor.executemany(_WRITE_LADDER, [(_json(r.ladder), r.id, r.status) for r in records if r.ladder])
    append_events(cursor, [event for r in records if r.id in telling for event in of_call(r)])


def _with_new_callers(cursor: sqlite3.Cursor, records: list[CallRecord]) -> list[CallRecord]:
    """`records`, the final ones saying whether their callers are new: an earlier call stands in the store or here."""
    first: dict[tuple[int | None, str], tuple[int, str]] = {}
    for record in records:
        who, when = (record.project, record.caller), (record.created, record.id)
        first[who] = min(first.get(who, when), when)
    return [
        msgspec.structs.replace(record, new_caller=_is_new(cursor, record, first))
        if record.new_caller is None and record.final and record.caller and record.project is not None
        else record
        for record in records
    ]


def _is_new(cursor: sqlite3.Cursor, record: CallRecord, first: dict) -> bool:
    if first[record.project, record.caller] != (record.created, record.id):
        return False
    values = (record.caller, record.project, record.created, record.id)
    return cursor.execute(_CALLED_BEFORE, values).fetchone() is None


def _get_record(cursor: sqlite3.Cursor, call_id: str) -> CallRecord:
    row = cursor.execute(
        "SELECT value, steps FROM call LEFT JOIN ladder ON call = id WHERE id = ?", (call_id,)
    ).fetchone()
    if row is None:
        raise NoSuchObject(Sentence("call {call} does not exist", call=call_id))
    return _record(*row)


def _list_records(
    cursor: sqlite3.Cursor, limit: int, project: int | None, status: str | None, before: str | None
) -> list[CallRecord]:
    conditions, values = ["1"], []
    if project is not None:
        conditions.append("project = ?")
        values.append(project)
    if status is not None:
        conditions.append("status = ?")
        values.append(status)
    if before is not None:
        position = cursor.execute("SELECT created, id FROM call WHERE id = ?", (before,)).fetchone()
        if position is None:
            raise NoSuchObject(Sentence("call {call} does not exist", call=before))
        conditions.append("(created, id) < (?, ?)")
        values.extend(position)
    query = f"SELECT value FROM call WHERE {' AND '.join(conditions)} ORDER BY created DESC, id DESC LIMIT ?"
    return [_records.decode(value) for (value,) in cursor.execute(query, (*values, limit))]


def _unfinished_records(cursor: sqlite3.Cursor) -> list[CallRecord]:
    rows = cursor.execute(
        "SELECT value, steps FROM call LEFT JOIN ladder ON call = id WHERE status = 'ACTIVE' ORDER BY created, id"
    )
    return [_record(*row) for row in rows]


def _record(value: str, steps: str | None) -> CallRecord:
    record = _records.decode(value)
    return record if steps is None else msgspec.structs.replace(record, ladder=_ladders.decode(steps))


def _add_project(cursor: sqlite3.Cursor, project: Project) -> Project:
    cursor.execute("INSERT INTO project (key, value) VALUES (?, ?)", (project.key, _json(project)))
    return msgspec.structs.replace(project, id=cursor.lastrowid)


def _add_scenario(cursor: sqlite3.Cursor, scenario: Scenario) -> Scenario:
    _check_owner(cursor, scenario.project, None)
    cursor.execute("INSERT INTO scenario (project, value) VALUES (?, ?)", (scenario.project, _json(scenario)))
    return msgspec.structs.replace(scenario, id=cursor.lastrowid)


def _add_number(cursor: sqlite3.Cursor, number: Number) -> Number:
    owner = cursor.execute("SELECT project FROM number WHERE number = ?", (number.number,)).fetchone()
    if owner is not None:
        raise InvalidField(
            "number", Sentence("{number} belongs to project {project} already", number=number.number, project=owner[0])
        )
    _check_owner(cursor, number.project, number.scenario)
    cursor.execute("INSERT INTO number VALUES (?, ?, ?)", (number.number, number.project, number.scenario))
    return number


def _replace(cursor: sqlite3.Cursor, value: Project | Scenario | Number) -> Project | Scenario | Number:
    match value:
        case Project():
            what = Sentence("project {project}", project=value.id)
            cursor.execute("UPDATE project SET key = ?, value = ? WHERE id = ?", (value.key, _json(value), value.id))
        case Scenario():
            what = Sentence("scenario {scenario} of project {project}", scenario=value.id, project=value.project)
            cursor.execute(
                "UPDATE scenario SET value = ? WHERE project = ? AND id = ?", (_json(value), value.project, value.id)
            )
        case Number():
            what = Sentence("number {number}", number=value.number)
            _check_owner(cursor, value.project, value.scenario)
            cursor.execute(
                "UPDATE number SET project = ?, scenario = ? WHERE number = ?",
                (value.project, value.scenario, value.number),
            )
    if not cursor.rowcount:
        raise NoSuchObject(Sentence("{what} does not exist", what=what))
    return value


def _remove(cursor: sqlite3.Cursor, value: Scenario | Number) -> None:
    match value:
        case Scenario():
            cursor.execute(
                "UPDATE number SET scenario = NULL WHERE project = ? AND scenario = ?", (value.project, value.id)
            )
            cursor.execute("DELETE FROM scenario WHERE project = ? AND id = ?", (value.project, value.id))
        case Number():
            cursor.execute("DELETE FROM number WHERE number = ?", (value.number,))


def _check_owner(cursor: sqlite3.Cursor, project: int, scenario: int | None) -> None:
    if cursor.execute("SELECT 1 FROM project WHERE id = ?", (project,)).fetchone() is None:
        raise NoSuchObject(Sentence("project {project} does not exist", project=project))
    if scenario is None:
        return
    if cursor.execute("SELECT 1 FROM scenario WHERE project = ? AND id = ?", (project, scenario)).fetchone() is None:
        raise NoSuchObject(
            Sentence("scenario {scenario} of project {project} does not exist", scenario=scenario, project=project)
        )


def _snapshot(cursor: sqlite3.Cursor) -> tuple[int, list[Project], list[Scenario], list[Number]]:
    version = _version(cursor)
    replace = msgspec.structs.replace
    projects = [
        replace(_projects.decode(value), id=id)
        for id, value in cursor.execute("SELECT id, value FROM project ORDER BY id")
    ]
    scenarios = [
        replace(_scenarios.decode(value), id=id, project=project)
        for id, project, value in cursor.execute("SELECT id, project, value FROM scenario ORDER BY id")
    ]
    rows = cursor.execute("SELECT number, project, scenario FROM number ORDER BY number")
    return version, projects, scenarios, [Number(number=n, project=p, scenario=s) for n, p, s in rows]


def _version(cursor: sqlite3.Cursor) -> int:
    (version,) = cursor.execute("SELECT version FROM catalog_version").fetchone()
    return version
