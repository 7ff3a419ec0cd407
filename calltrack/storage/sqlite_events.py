"""The log of events in SQLite, and how far its readers are. Knows the tables; not what events mean."""

from __future__ import annotations

import sqlite3
from typing import Any, Callable, Iterable, Mapping, Protocol, Sequence, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from calltrack.errors import NoSuchObject, Sentence
from calltrack.events.model import Event, Logged, Lost, Pruned, UnknownEvent, decode, encode
from calltrack.interfaces import IEventStore

log = Logger()
Result = TypeVar("Result")
PRUNED_AT_ONCE = 5_000  # rows a transaction: writers of calls wait no longer than these take

_APPEND = "INSERT OR IGNORE INTO event (id, type, project, subject, at, value) VALUES (?, ?, ?, ?, ?, ?)"


class Transactions(Protocol):
    """What stores need of a database; see `sqlite.Database`."""

    def read(self, function: Callable[..., Result], *args: Any) -> Deferred[Result]: ...
    def write(self, function: Callable[..., Result], *args: Any) -> Deferred[Result]: ...


@implementer(IEventStore)
class SQLiteEvents:
    """The log in `database`. `observers` are called without arguments when this process has added to it."""

    def __init__(self, database: Transactions) -> None:
        self.observers: list[Callable[[], Any]] = []
        self._database = database

    def append(self, events: Sequence[Event]) -> Deferred[None]:
        return self._database.write(append_events, list(events)).addCallback(self.appended)

    def appended(self, result: Any = None) -> Any:
        """Tell the observers; gives `result` back, to stand in a chain of callbacks."""
        for observer in self.observers:
            try:
                observer()
            except Exception:
                log.failure("telling {observer} of events failed", observer=observer)
        return result

    def read(
        self, after: int, limit: int = 500, types: Iterable[str] = (), project: int | None = None
    ) -> Deferred[tuple[int, list[Logged]]]:
        return self._database.read(_read, after, limit, tuple(types), project)

    def last(self) -> Deferred[int]:
        return self._database.read(last_seq)

    def get(self, event_id: str) -> Deferred[Logged]:
        return self._database.read(_get, event_id)

    def position(self, reader: str) -> Deferred[int]:
        return self._database.write(_position, reader)

    def advance(self, reader: str, seq: int) -> Deferred[None]:
        return self._database.write(_advance, reader, seq)

    def prune(self, before: int, readers: Mapping[str, Sequence[str]], overdue: int = 0) -> Deferred[Pruned]:
        return self._database.write(_prune, before, dict(readers), overdue)


def append_events(cursor: sqlite3.Cursor, events: Sequence[Event]) -> None:
    """Add to the log what is not in it, inside the transaction of whoever writes what the events tell of."""
    cursor.executemany(
        _APPEND, [(one.id, one.type, one.project, one.subject, one.at, encode(one).decode()) for one in events]
    )


def last_seq(cursor: sqlite3.Cursor) -> int:
    """Of the newest event that was ever in the log."""
    row = cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    return 0 if row is None else row[0]


def logged(rows: Iterable[tuple[int, str]]) -> list[Logged]:
    """Rows as events; what cannot be read is told in the log and left out."""
    found = []
    for seq, value in rows:
        try:
            found.append(Logged(seq, decode(value)))
        except UnknownEvent as problem:
            log.error("event number {seq} is passed over: {problem}", seq=seq, problem=problem)
    return found


def _read(
    cursor: sqlite3.Cursor, after: int, limit: int, types: tuple[str, ...], project: int | None
) -> tuple[int, list[Logged]]:
    """Also how far was looked: further than the last event found, when those behind it are of another kind."""
    conditions, values = ["seq > ?"], [after]
    if types:
        conditions.append(f"type IN ({', '.join('?' * len(types))})")
        values += types
    if project is not None:
        conditions.append("project = ?")
        values.append(project)
    query = f"SELECT seq, value FROM event WHERE {' AND '.join(conditions)} ORDER BY seq LIMIT ?"
    rows = cursor.execute(query, (*values, limit)).fetchall()
    return (rows[-1][0] if len(rows) == limit else max(after, last_seq(cursor))), logged(rows)


def _get(cursor: sqlite3.Cursor, event_id: str) -> Logged:
    row = cursor.execute("SELECT seq, value FROM event WHERE id = ?", (event_id,)).fetchone()
    if row is None:
        raise NoSuchObject(Sentence("event {event} does not exist, or is forgotten already", event=event_id))
    return Logged(row[0], decode(row[1]))


def _position(cursor: sqlite3.Cursor, reader: str) -> int:
    """Where a reader stands; one that is new begins at the end of the log."""
    cursor.execute("INSERT OR IGNORE INTO event_reader VALUES (?, ?)", (reader, last_seq(cursor)))
    return cursor.execute("SELECT seq FROM event_reader WHERE name = ?", (reader,)).fetchone()[0]


def _advance(cursor: sqlite3.Cursor, reader: str, seq: int) -> None:
    cursor.execute(
        "INSERT INTO event_reader VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET seq = max(seq, excluded.seq)",
        (reader, seq),
    )


def _prune(cursor: sqlite3.Cursor, before: int, readers: dict[str, Sequence[str]], overdue: int) -> Pruned:
    """Forget readers that are gone, old events that nobody waits for, and old lines of the delivery log."""
    cursor.execute(f"DELETE FROM event_reader WHERE name NOT IN ({', '.join('?' * len(readers))})", tuple(readers))
    places = dict(cursor.execute("SELECT name, seq FROM event_reader"))
    (planned,) = cursor.execute("SELECT min(seq) FROM webhook").fetchone()
    last = last_seq(cursor)
    doomed = cursor.execute(
        "SELECT seq, type, at FROM event WHERE at < ? AND seq <= ? AND (seq <= ? OR at < ?) "
        "AND seq NOT IN (SELECT seq FROM delivery WHERE dead = 0) LIMIT ?",
        (before, last if planned is None else planned, min(places.values(), default=last), overdue, PRUNED_AT_ONCE),
    ).fetchall()
    cursor.executemany("DELETE FROM event WHERE seq = ?", [(seq,) for seq, _, _ in doomed])
    (oldest,) = cursor.execute("SELECT min(seq) FROM event").fetchone()
    cursor.execute("DELETE FROM delivery WHERE dead = 1 AND seq < ?", (last_seq(cursor) + 1 if oldest is None else oldest,))
    cursor.execute(
        "DELETE FROM attempt WHERE id IN (SELECT id FROM attempt WHERE at < ? LIMIT ?)", (before, PRUNED_AT_ONCE)
    )
    waited = {
        name: [at for seq, kind, at in doomed if seq > place and (not readers[name] or kind in readers[name])]
        for name, place in places.items()
    }
    lost = {name: Lost(len(times), min(times), max(times)) for name, times in waited.items() if times}
    return Pruned(len(doomed) + cursor.rowcount, lost)
