"""SIP accounts, and contact bindings with what they give rise to, in SQLite. Knows the tables; not where their values come from."""

from __future__ import annotations

import sqlite3
from typing import Sequence

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import implementer

from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.events.model import Event
from calltrack.interfaces import IAccountStore, ILocationStore
from calltrack.storage.sqlite import Database
from calltrack.storage.sqlite_events import SQLiteEvents, append_events
from calltrack.tracking.accounts import Account
from calltrack.tracking.bindings import Binding

_encoder = msgspec.json.Encoder()
_bindings = msgspec.json.Decoder(Binding)

_COLUMNS = "project, user, realm, ha1_md5, ha1_sha256"


@implementer(IAccountStore)
class SQLiteAccounts:
    """Accounts in `database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, account: Account) -> Deferred[Account]:
        return self._database.write(_add, account)

    def replace(self, account: Account) -> Deferred[Account]:
        return self._database.write(_replace, account)

    def snapshot(self) -> Deferred[tuple[int, list[Account]]]:
        return self._database.read(_snapshot)

    def version(self) -> Deferred[int]:
        return self._database.read(_version)


@implementer(ILocationStore)
class SQLiteLocations:
    """Contact bindings in `database`; the events that tell of them go into its log with them."""

    def __init__(self, database: Database, events: SQLiteEvents | None = None) -> None:
        self._database = database
        self._events = events or SQLiteEvents(database)

    def write(self, saved: list[Binding], removed: list[tuple[int, int]], events: Sequence[Event] = ()) -> Deferred[None]:
        written = self._database.write(_write, saved, removed, events)
        return written.addCallback(self._events.appended) if events else written

    def list(self, project: int | None = None) -> Deferred[list[Binding]]:
        return self._database.read(_list, project)

    def forget(self, project: int) -> Deferred[None]:
        return self._database.write(_forget, project)


def _add(cursor: sqlite3.Cursor, account: Account) -> Account:
    known = cursor.execute(f"SELECT {_COLUMNS} FROM account WHERE project = ?", (account.project,)).fetchone()
    if known is not None:
        return _account(known)
    if cursor.execute("SELECT 1 FROM project WHERE id = ?", (account.project,)).fetchone() is None:
        raise NoSuchObject(Sentence("project {project} does not exist", project=account.project))
    if cursor.execute("SELECT 1 FROM account WHERE user = ?", (account.user,)).fetchone() is not None:
        raise InvalidField("user", Sentence("{user} belongs to another project", user=account.user))
    cursor.execute(f"INSERT INTO account ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(account))
    return account


def _replace(cursor: sqlite3.Cursor, account: Account) -> Account:
    cursor.execute(
        "UPDATE account SET user = ?, realm = ?, ha1_md5 = ?, ha1_sha256 = ? WHERE project = ?",
        (account.user, account.realm, account.ha1_md5, account.ha1_sha256, account.project),
    )
    if not cursor.rowcount:
        raise NoSuchObject(Sentence("project {project} has no account", project=account.project))
    return account


def _snapshot(cursor: sqlite3.Cursor) -> tuple[int, list[Account]]:
    version = _version(cursor)
    return version, [_account(row) for row in cursor.execute(f"SELECT {_COLUMNS} FROM account ORDER BY project")]


def _version(cursor: sqlite3.Cursor) -> int:
    (version,) = cursor.execute("SELECT version FROM account_version").fetchone()
    return version


def _account(row: tuple) -> Account:
    return Account(**dict(zip(Account.__struct_fields__, row)))


def _write(
    cursor: sqlite3.Cursor, saved: list[Binding], removed: list[tuple[int, int]], events: Sequence[Event]
) -> None:
    cursor.executemany("DELETE FROM binding WHERE project = ? AND id = ?", removed)
    cursor.executemany(
        "INSERT INTO binding VALUES (?, ?, ?) ON CONFLICT (project, id) DO UPDATE SET value = excluded.value",
        [(binding.project, binding.id, _encoder.encode(binding).decode()) for binding in saved],
    )
    append_events(cursor, events)


def _list(cursor: sqlite3.Cursor, project: int | None) -> list[Binding]:
    condition, values = ("", ()) if project is None else ("WHERE project = ?", (project,))
    rows = cursor.execute(f"SELECT value FROM binding {condition}", values)
    found = [_bindings.decode(value) for (value,) in rows]
    return sorted(found, key=lambda binding: (binding.project, binding.registered_at, binding.id))


def _forget(cursor: sqlite3.Cursor, project: int) -> None:
    cursor.execute("DELETE FROM binding WHERE project = ?", (project,))
