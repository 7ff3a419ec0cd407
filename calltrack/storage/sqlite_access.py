"""API keys, people, sessions, links and the log of changes in SQLite. Knows the tables; not what opens them."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from zope.interface import implementer

from calltrack.access.model import APIKey, AuditEntry, Link, Person, Session
from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.access.interfaces import IAccessStore
from calltrack.storage.sqlite import Database

FORGOTTEN_AT_ONCE = 20  # entries of the log of changes, with each new one

_encoder = msgspec.json.Encoder()
_keys = msgspec.json.Decoder(APIKey)
_people = msgspec.json.Decoder(Person)
_sessions = msgspec.json.Decoder(Session)
_links = msgspec.json.Decoder(Link)
_entries = msgspec.json.Decoder(AuditEntry)


@implementer(IAccessStore)
class SQLiteAccess:
    """Access in `database`. What is asked with each request of a page or program is read beside the writers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_key(self, key: APIKey) -> Deferred[APIKey]:
        return self._database.write(_add_key, key)

    def keys(self) -> Deferred[list[APIKey]]:
        return self._database.look(_all_keys)

    def key(self, public: str) -> Deferred[APIKey | None]:
        return self._database.look(_key, public)

    def replace_key(self, key: APIKey) -> Deferred[None]:
        return self._database.write(_execute, "UPDATE api_key SET value = ? WHERE id = ?", _json(key), key.id)

    def remove_key(self, key: int) -> Deferred[None]:
        return self._database.write(_execute, "DELETE FROM api_key WHERE id = ?", key)

    def add_person(self, person: Person, first: bool = False) -> Deferred[Person]:
        return self._database.write(_add_person, person, first)

    def replace_person(self, person: Person) -> Deferred[Person]:
        return self._database.write(_replace_person, person)

    def remove_person(self, person: int) -> Deferred[None]:
        return self._database.write(_remove_person, person)

    def people(self) -> Deferred[list[Person]]:
        return self._database.look(_all_people)

    def put_session(self, session: Session) -> Deferred[None]:
        return self._database.write(_put_session, session)

    def keep_session(self, session: Session) -> Deferred[bool]:
        return self._database.write(_keep_session, session)

    def session(self, session: str) -> Deferred[Session | None]:
        return self._database.look(_one, "SELECT value FROM web_session WHERE id = ?", session, _sessions)

    def sessions(self, person: int) -> Deferred[list[Session]]:
        return self._database.look(_sessions_of, person)

    def remove_sessions(
        self, person: int | None = None, session: str | None = None, before: int | None = None
    ) -> Deferred[None]:
        return self._database.write(_remove_sessions, person, session, before)

    def add_link(self, link: Link) -> Deferred[None]:
        return self._database.write(_add_link, link)

    def link(self, link: str) -> Deferred[Link | None]:
        return self._database.look(_one, "SELECT value FROM one_time_link WHERE id = ?", link, _links)

    def take_link(self, link: str) -> Deferred[Link | None]:
        return self._database.write(_take_link, link)

    def remove_links(self, person: int) -> Deferred[None]:
        return self._database.write(
            _execute, "DELETE FROM one_time_link WHERE json_extract(value, '$.person') = ?", person
        )

    def note(self, entry: AuditEntry, since: int = 0) -> Deferred[None]:
        return self._database.write(_note, entry, since)

    def audit(self, project: int | None = None, limit: int = 100, before: int | None = None) -> Deferred[list[AuditEntry]]:
        return self._database.look(_audit, project, limit, before)


def _json(value: Any) -> str:
    return _encoder.encode(value).decode()


def _execute(cursor: sqlite3.Cursor, statement: str, *values: Any) -> None:
    cursor.execute(statement, values)


def _one(cursor: sqlite3.Cursor, statement: str, wanted: str, decoder: msgspec.json.Decoder) -> Any:
    row = cursor.execute(statement, (wanted,)).fetchone()
    return None if row is None else decoder.decode(row[0])


def _add_key(cursor: sqlite3.Cursor, key: APIKey) -> APIKey:
    known = cursor.execute("SELECT 1 FROM project WHERE id = ?", (key.project,)).fetchone()
    if key.project is not None and known is None:
        raise NoSuchObject(Sentence("project {project} does not exist", project=key.project))
    cursor.execute("INSERT INTO api_key (public, value) VALUES (?, ?)", (key.public, _json(key)))
    return replace(key, id=cursor.lastrowid)


def _all_keys(cursor: sqlite3.Cursor) -> list[APIKey]:
    rows = cursor.execute("SELECT id, value FROM api_key ORDER BY id")
    return [replace(_keys.decode(value), id=id) for id, value in rows]


def _key(cursor: sqlite3.Cursor, public: str) -> APIKey | None:
    row = cursor.execute("SELECT id, value FROM api_key WHERE public = ?", (public,)).fetchone()
    return None if row is None else replace(_keys.decode(row[1]), id=row[0])


def _add_person(cursor: sqlite3.Cursor, person: Person, first: bool) -> Person:
    if first and cursor.execute("SELECT 1 FROM person").fetchone() is not None:
        raise InvalidField("name", "somebody has set this up already; ask them for an account")
    _check_name(cursor, person)
    cursor.execute("INSERT INTO person (name, value) VALUES (?, ?)", (person.name, _json(person)))
    return replace(person, id=cursor.lastrowid)


def _replace_person(cursor: sqlite3.Cursor, person: Person) -> Person:
    _check_name(cursor, person)
    cursor.execute("UPDATE person SET name = ?, value = ? WHERE id = ?", (person.name, _json(person), person.id))
    if not cursor.rowcount:
        raise NoSuchObject(Sentence("person {person} does not exist", person=person.id))
    return person


def _check_name(cursor: sqlite3.Cursor, person: Person) -> None:
    row = cursor.execute("SELECT 1 FROM person WHERE name = ? AND id <> ?", (person.name, person.id)).fetchone()
    if row is not None:
        raise InvalidField("name", Sentence("somebody is called {name} already", name=person.name))


def _remove_person(cursor: sqlite3.Cursor, person: int) -> None:
    cursor.execute("DELETE FROM person WHERE id = ?", (person,))


def _all_people(cursor: sqlite3.Cursor) -> list[Person]:
    rows = cursor.execute("SELECT id, value FROM person ORDER BY id")
    return [replace(_people.decode(value), id=id) for id, value in rows]


def _put_session(cursor: sqlite3.Cursor, session: Session) -> None:
    if cursor.execute("SELECT 1 FROM person WHERE id = ?", (session.person,)).fetchone() is None:
        raise NoSuchObject(Sentence("person {person} does not exist", person=session.person))
    cursor.execute(
        "INSERT OR REPLACE INTO web_session (id, person, expires, value) VALUES (?, ?, ?, ?)",
        (session.id, session.person, session.expires, _json(session)),
    )


def _keep_session(cursor: sqlite3.Cursor, session: Session) -> bool:
    cursor.execute(
        "UPDATE web_session SET expires = ?, value = ? WHERE id = ?", (session.expires, _json(session), session.id)
    )
    return cursor.rowcount == 1


def _sessions_of(cursor: sqlite3.Cursor, person: int) -> list[Session]:
    rows = cursor.execute("SELECT value FROM web_session WHERE person = ?", (person,))
    return sorted((_sessions.decode(value) for (value,) in rows), key=lambda one: (-one.created, one.id))


def _remove_sessions(cursor: sqlite3.Cursor, person: int | None, session: str | None, before: int | None) -> None:
    for condition, value in (("person = ?", person), ("id = ?", session), ("expires < ?", before)):
        if value is not None:
            cursor.execute(f"DELETE FROM web_session WHERE {condition}", (value,))


def _add_link(cursor: sqlite3.Cursor, link: Link) -> None:
    same = "json_extract(value, '$.purpose') = ? AND json_extract(value, '$.person') IS ?"
    cursor.execute(f"DELETE FROM one_time_link WHERE {same}", (link.purpose, link.person))
    cursor.execute("INSERT INTO one_time_link VALUES (?, ?, ?)", (link.id, link.expires, _json(link)))


def _take_link(cursor: sqlite3.Cursor, link: str) -> Link | None:
    taken = _one(cursor, "SELECT value FROM one_time_link WHERE id = ?", link, _links)
    cursor.execute("DELETE FROM one_time_link WHERE id = ?", (link,))
    return taken


def _note(cursor: sqlite3.Cursor, entry: AuditEntry, since: int) -> None:
    cursor.execute("INSERT INTO audit (project, value) VALUES (?, ?)", (entry.project, _json(entry)))
    cursor.execute(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT ?) AND json_extract(value, '$.at') < ?",
        (FORGOTTEN_AT_ONCE, since),
    )


def _audit(cursor: sqlite3.Cursor, project: int | None, limit: int, before: int | None) -> list[AuditEntry]:
    conditions, values = ["1"], []
    for condition, value in (("project = ?", project), ("id < ?", before)):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    query = f"SELECT id, value FROM audit WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?"
    return [replace(_entries.decode(value), id=id) for id, value in cursor.execute(query, (*values, limit))]
