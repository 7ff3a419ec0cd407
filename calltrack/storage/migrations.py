"""Bring a SQLite database to the schema of this version: ``schema/NNNN-name.sql``, one after another.

Knows `PRAGMA user_version`, backups and transactions; blocks, so it runs in a database thread. Must not
know what the tables mean.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from importlib import resources
from pathlib import Path

import msgspec

from calltrack.errors import Sentence, StoreUnavailable

APPLICATION_ID = 0x63616C6C  # "call": tells our files from those of other programs


class Migration(msgspec.Struct, frozen=True):
    """What `migrate` did."""

    before: int  # schema version; 0 = an empty file
    after: int
    backup: str = ""  # the file that holds the database as it was; "" = there was nothing to keep


def scripts() -> dict[int, str]:
    """The SQL that leads to each schema version from the one before."""
    files = resources.files("calltrack.storage").joinpath("schema").iterdir()
    found = {int(file.name[:4]): file.read_text("utf-8") for file in files if file.name.endswith(".sql")}
    return dict(sorted(found.items()))


def migrate(connection: sqlite3.Connection, path: str, now: float, steps: dict[int, str] | None = None) -> Migration:
    """Run what is missing of `steps` (`scripts()` unless given), each version in a transaction of its own:
    a failure leaves the last version that worked. A database that holds anything is copied beside itself
    before; `now` (seconds since the Unix epoch) names the copy. `connection` is in autocommit mode.

    Raises StoreUnavailable when the database is newer than `steps`, or another program's; sqlite3.Error
    when SQLite does.
    """
    steps = scripts() if steps is None else steps
    newest = max(steps)
    before = schema_version(connection, path, newest)
    if before == newest:
        return Migration(before, before)
    backup_path = ""
    if before:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        backup_path = f"{path}.v{before}-{stamp}.backup"
        backup(connection, backup_path)
    for version, script in steps.items():
        connection.execute("BEGIN IMMEDIATE")
        try:
            if schema_version(connection, path, newest) < version:  # another process may have been faster
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
    return Migration(before, newest, backup_path)


def backup(connection: sqlite3.Connection, target: str) -> None:
    """Copy the database as it is at one instant to the file `target`, while others go on writing.
    Raises StoreUnavailable; then there is no such file."""
    try:
        with closing(sqlite3.connect(target)) as copy:
            keep_private(copy)
            connection.backup(copy)
    except sqlite3.Error as error:
        Path(target).unlink(missing_ok=True)
        raise StoreUnavailable(Sentence("backup {path} cannot be written: {error}", path=target, error=error)) from error


def keep_private(connection: sqlite3.Connection) -> None:
    """A database without content yet is for its owner alone: callers, keys and digests will be in it. One that has content
    keeps the mode that its owner gave it. Raises StoreUnavailable."""
    for _, _, path in connection.execute("PRAGMA database_list"):
        try:
            if path and os.path.exists(path) and not os.path.getsize(path):
                os.chmod(path, 0o600)
        except OSError as error:
            raise StoreUnavailable(
                Sentence("database {path}: {error}; see to its owner and permissions", path=path, error=error.strerror)
            ) from error


def schema_version(connection: sqlite3.Connection, path: str, newest: int | None = None) -> int:
    """The schema version of the database, 0 for an empty one. Raises StoreUnavailable when it is newer than
    `newest` (ours, unless given), or another program's."""
    newest = max(scripts()) if newest is None else newest
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (version or tables):
        raise StoreUnavailable(
            Sentence("database {path} belongs to another program; name another file in [storage] url", path=path)
        )
    if version > newest:
        raise StoreUnavailable(
            Sentence(
                "database {path} has schema version {version}, this calltrack knows up to {newest}; "
                "install a newer calltrack",
                path=path,
                version=version,
                newest=newest,
            )
        )
    return version


def _statements(script: str) -> list[str]:
    """The statements of `script`; one begins on a line of its own."""
    statements, lines = [], []
    for line in script.split("\n"):
        lines.append(line)
        if sqlite3.complete_statement("\n".join(lines)):
            statements.append("\n".join(lines))
            lines = []
    return statements
