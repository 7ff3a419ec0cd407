"""A SQLite database over adbapi: one connection in one thread, one transaction an operation.

Knows pragmas, transactions, and what SQLite's errors ask of a person. Must not know any table.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Callable, TypeVar

from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from calltrack.errors import Sentence, StoreUnavailable
from calltrack.storage import migrations

READERS = 2  # connections that only read, for what people look at
BUSY_TIMEOUT = 5.0  # seconds that an operation waits for another program's lock

Result = TypeVar("Result")

_ADVICE = {
    sqlite3.SQLITE_BUSY: "database {path} is locked by another program; close that, or try again",
    sqlite3.SQLITE_LOCKED: "database {path} is locked by another program; close that, or try again",
    sqlite3.SQLITE_FULL: "database {path} has no room: the disk is full; free some space",
    sqlite3.SQLITE_CANTOPEN: "database {path} cannot be opened; see that its directory exists and may be written to",
    sqlite3.SQLITE_READONLY: "database {path} may not be written to; see to its owner and permissions",
    sqlite3.SQLITE_PERM: "database {path} may not be opened; see to its owner and permissions",
    sqlite3.SQLITE_IOERR: "database {path} cannot be read or written; see to the disk",
    sqlite3.SQLITE_NOTADB: "database {path} is no SQLite database; move it away, or name another file in [storage] url",
    sqlite3.SQLITE_CORRUPT: "database {path} is damaged; put a backup in its place",
}
_OTHERWISE = "database {path} does not work: {error}; run calltrack check"
_REOPEN_AFTER = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY}


class Database:
    """The SQLite file at `path`. Operations run one at a time, in order, in a thread of their own.

    The first one that reads or writes brings the file to the schema of this version, also when it could not
    be opened at the start or has been replaced since.
    """

    def __init__(self, path: str, reactor: Any) -> None:
        self.path = path
        self._reopen = False  # the file may have been replaced since an error
        self._migrated = False
        self._pool = self._connections(reactor, 1, _configure)
        self._readers = self._connections(reactor, READERS, _configure_reader)

    def _connections(self, reactor: Any, most: int, configure: Callable[[sqlite3.Connection], None]) -> adbapi.ConnectionPool:
        return adbapi.ConnectionPool(
            "sqlite3",
            self.path,
            cp_reactor=reactor,
            cp_min=1,
            cp_max=most,
            cp_openfun=configure,
            cp_noisy=False,
            check_same_thread=False,
            isolation_level=None,
            timeout=BUSY_TIMEOUT,
        )

    def migrate(self) -> Deferred[migrations.Migration]:
        """Make the file if there is none, and bring it to the schema of this version.
        Fires with what was done; fails with StoreUnavailable."""
        return self._run(self._migrate)

    def backup(self, target: str) -> Deferred[None]:
        """Copy the database to the file `target`. Fires with None; fails with StoreUnavailable."""
        return self._run(lambda connection: migrations.backup(connection, target))

    def examine(self) -> Deferred[int]:
        """Look for damage and for leave to write, and change nothing. Fires with the schema version, 0 for an
        empty file; fails with StoreUnavailable, which says what is wrong."""
        return self._run(_examine, self.path)

    def read(self, function: Callable[..., Result], *args: Any) -> Deferred[Result]:
        """Fires with `function(cursor, *args)`, called in the thread, all of it at one state of the database.
        Fails with what it raises, or StoreUnavailable."""
        return self._run(self._transaction, "BEGIN", function, args)

    def look(self, function: Callable[..., Result], *args: Any) -> Deferred[Result]:
        """As `read`, beside the operations that run in order: what takes long delays no writer. Sees what was
        durable when it began."""
        if not self._migrated or self._reopen:
            return self.read(function, *args)
        return self._readers.runWithConnection(_transaction, "BEGIN", function, args).addErrback(self._failed)

    def write(self, function: Callable[..., Result], *args: Any) -> Deferred[Result]:
        """As `read`, for a function that changes something: all or nothing, durable when it fires."""
        return self._run(self._transaction, "BEGIN IMMEDIATE", function, args)

    def close(self) -> None:
        """End after the operation that is running. Idempotent."""
        for pool in (self._pool, self._readers):
            if pool.running or pool.startID:
                pool.close()

    def _run(self, function: Callable[..., Result], *args: Any) -> Deferred[Result]:
        return self._pool.runWithConnection(self._connected, function, *args).addErrback(self._failed)

    def _connected(self, connection: adbapi.Connection, function: Callable[..., Result], *args: Any) -> Result:
        if self._reopen:
            self._reopen = self._migrated = False
            connection.reconnect()
        return function(connection, *args)

    def _migrate(self, connection: adbapi.Connection) -> migrations.Migration:
        done = migrations.migrate(connection, self.path, time.time())
        self._migrated = True
        return done

    def _transaction(
        self, connection: adbapi.Connection, begin: str, function: Callable[..., Result], args: tuple
    ) -> Result:
        if not self._migrated:
            self._migrate(connection)
        return _transaction(connection, begin, function, args)

    def _failed(self, failure: Failure) -> Any:
        """What SQLite cannot do now becomes StoreUnavailable; a broken rule or a bug stays what it is."""
        error = failure.value
        if not isinstance(error, sqlite3.DatabaseError) or isinstance(
            error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)
        ):
            return failure
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the primary result code
        self._reopen = self._reopen or code in _REOPEN_AFTER
        advice = _ADVICE.get(code, _OTHERWISE)
        raise StoreUnavailable(Sentence(advice, path=self.path, error=error)) from error


def _transaction(connection: adbapi.Connection, begin: str, function: Callable[..., Result], args: tuple) -> Result:
    cursor = connection.cursor()
    cursor.execute(begin)
    result = function(cursor, *args)
    connection.commit()
    return result


def _configure_reader(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        connection.close()
        raise


def _configure(connection: sqlite3.Connection) -> None:
    try:
        migrations.keep_private(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # in WAL: no write is lost to a killed process
        connection.execute("PRAGMA foreign_keys = ON")
    except (sqlite3.Error, StoreUnavailable):
        connection.close()
        raise


def _examine(connection: sqlite3.Connection, path: str) -> int:
    version = migrations.schema_version(connection, path)
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreUnavailable(Sentence("database {path} is damaged ({verdict}); put a backup in its place", path=path, verdict=verdict))
    connection.execute("BEGIN IMMEDIATE")
    connection.rollback()
    return version
