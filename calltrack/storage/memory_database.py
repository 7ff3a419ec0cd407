"""A SQLite database in memory that answers at once, in the calling thread: for `memory:` and for tests.

Has the schema of this version from the start. Must not know any table.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Callable, TypeVar

from twisted.internet.defer import Deferred, execute

from calltrack.storage import migrations

Result = TypeVar("Result")


class MemoryDatabase:
    """As `sqlite.Database`, as far as stores use that; gone with the process."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA foreign_keys = ON")
        migrations.migrate(self._connection, ":memory:", 0.0)

    def read(self, function: Callable[..., Result], *args: Any) -> Deferred[Result]:
        """Fires at once, as `Database.read`."""
        return execute(self._transaction, function, args)

    def write(self, function: Callable[..., Result], *args: Any) -> Deferred[Result]:
        """Fires at once, as `Database.write`."""
        return execute(self._transaction, function, args)

    def _transaction(self, function: Callable[..., Result], args: tuple) -> Result:
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            result = function(cursor, *args)
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()
        return result
