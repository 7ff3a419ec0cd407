"""Forget a caller in SQLite: in records of calls, in the log of events, in the log of deliveries. Knows the tables."""

from __future__ import annotations

import sqlite3


def forget_caller(cursor: sqlite3.Cursor, caller: str) -> int:
    """Blank a caller; how many records that changed."""
    calls = [id for (id,) in cursor.execute("SELECT id FROM call WHERE caller = ? AND caller <> ''", (caller,))]
    for call in calls:
        ids = (call + ".", call + "/")  # ids of a call's events are CALL.something, and "/" follows "."
        cursor.execute("UPDATE call SET caller = '', value = json_set(value, '$.caller', '') WHERE id = ?", (call,))
        cursor.execute("UPDATE event SET value = json_set(value, '$.caller', '') WHERE id >= ? AND id < ?", ids)
        cursor.execute("UPDATE attempt SET request = '', response = '' WHERE event >= ? AND event < ?", ids)
    return len(calls)
