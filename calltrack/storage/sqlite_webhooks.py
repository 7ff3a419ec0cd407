"""Webhooks, what they have not taken yet, and the log of attempts, in SQLite. Knows the tables; no HTTP."""

from __future__ import annotations

import sqlite3
from typing import Any, Sequence

import msgspec
from twisted.internet.defer import Deferred

from calltrack.errors import NoSuchObject, Sentence
from calltrack.events.webhooks import Attempt, Delivery, Settled, Standing, Webhook
from calltrack.storage.sqlite_events import Transactions, last_seq, logged

SCANNED = 2_000  # events looked at in one transaction
_LARGEST = 2**62

_encode = msgspec.json.Encoder().encode
_webhooks = msgspec.json.Decoder(Webhook)
_ATTEMPT = Attempt.__struct_fields__


class SQLiteWebhooks:
    """The webhooks in `database`, and the outbox of each. Every Deferred may fail with StoreUnavailable."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def add(self, webhook: Webhook) -> Deferred[Webhook]:
        """Store a webhook whose id is 0; it gets what happens from now on. Fires with it, its id assigned."""
        return self._database.write(_add, webhook)

    def remove(self, webhook_id: int) -> Deferred[None]:
        """Forget a webhook and what it has not taken. Fires with None; fails with NoSuchObject."""
        return self._database.write(_remove, webhook_id)

    def version(self) -> Deferred[int]:
        """Fires with a number that grows with every change to a webhook and every replay; cheap."""
        return self._database.read(_version)

    def snapshot(self) -> Deferred[tuple[int, list[Webhook]]]:
        """Fires with the version and all webhooks, by id."""
        return self._database.read(lambda cursor: (_version(cursor), _all(cursor)))

    def refill(self, webhook: Webhook, after: int, room: int, too_old: int) -> Deferred[list[Delivery]]:
        """Plan deliveries of new events for as many as there is room, and give those due to `webhook` behind event
        `after`, at most `room`, in order. What happened before `too_old` (milliseconds since the Unix epoch) and has
        not been tried is dead at once."""
        return self._database.write(_refill, webhook, after, room, too_old)

    def settle(self, outcomes: Sequence[Settled]) -> Deferred[None]:
        """Write down what became of deliveries, all or none."""
        return self._database.write(_settle, outcomes)

    def replay(
        self,
        webhook_id: int,
        event: str | None = None,
        call: str | None = None,
        since: int | None = None,
        until: int | None = None,
        dead: bool = False,
    ) -> Deferred[int]:
        """Deliver again what matches everything given: an event's id, a call's, a time of happening (milliseconds,
        `until` excluded), having been given up. Only events that the webhook has chosen. Fires with how many they
        are; fails with NoSuchObject."""
        return self._database.write(_replay, webhook_id, event, call, since, until, dead)

    def standings(self) -> Deferred[dict[int, Standing]]:
        """Fires with how each webhook is doing, by id."""
        return self._database.read(_standings)

    def attempts(
        self, project: int | None = None, webhook: int | None = None, call: str | None = None,
        failed: bool = False, limit: int = 100, after: int = 0,
    ) -> Deferred[list[tuple[int, Attempt]]]:  # fmt: skip
        """Fires with lines of the delivery log and their numbers, newest first; with `after`, those that came behind
        that number."""
        return self._database.read(_attempts, project, webhook, call, failed, limit, after)


def _version(cursor: sqlite3.Cursor) -> int:
    return cursor.execute("SELECT version FROM webhook_version").fetchone()[0]


def _all(cursor: sqlite3.Cursor) -> list[Webhook]:
    rows = cursor.execute("SELECT id, value FROM webhook ORDER BY id")
    return [msgspec.structs.replace(_webhooks.decode(value), id=number) for number, value in rows]


def _add(cursor: sqlite3.Cursor, webhook: Webhook) -> Webhook:
    cursor.execute(
        "INSERT INTO webhook (project, seq, value) VALUES (?, ?, ?)",
        (webhook.project, last_seq(cursor), _encode(webhook).decode()),
    )
    return msgspec.structs.replace(webhook, id=cursor.lastrowid)


def _remove(cursor: sqlite3.Cursor, webhook_id: int) -> None:
    cursor.execute("DELETE FROM webhook WHERE id = ?", (webhook_id,))
    if not cursor.rowcount:
        raise NoSuchObject(Sentence("webhook {webhook} does not exist", webhook=webhook_id))


def _refill(cursor: sqlite3.Cursor, webhook: Webhook, after: int, room: int, too_old: int) -> list[Delivery]:
    row = cursor.execute("SELECT seq FROM webhook WHERE id = ?", (webhook.id,)).fetchone()
    if row is None:  # removed meanwhile
        return []
    found = _pending(cursor, webhook.id, after, room)
    if len(found) < room:
        _plan(cursor, webhook, row[0], room - len(found), too_old)
        found = _pending(cursor, webhook.id, after, room)
    return found


def _pending(cursor: sqlite3.Cursor, webhook_id: int, after: int, room: int) -> list[Delivery]:
    rows = cursor.execute(
        "SELECT seq, value, attempts, due FROM delivery JOIN event USING (seq) "
        "WHERE webhook = ? AND dead = 0 AND seq > ? ORDER BY seq LIMIT ?",
        (webhook_id, after, room),
    ).fetchall()
    state = {seq: (attempts, due) for seq, _, attempts, due in rows}
    return [Delivery(one, *state[one.seq]) for one in logged((seq, value) for seq, value, _, _ in rows)]


def _plan(cursor: sqlite3.Cursor, webhook: Webhook, seq: int, room: int, too_old: int) -> None:
    """Go on through the log from `seq` until `room` deliveries are planned."""
    last = last_seq(cursor)
    wanted = set(webhook.events)
    planned = seq
    while room > 0 and planned < last:
        rows = cursor.execute(
            "SELECT seq, type, project, at FROM event WHERE seq > ? ORDER BY seq LIMIT ?", (planned, SCANNED)
        ).fetchall()
        deliveries = []
        planned = last if len(rows) < SCANNED else rows[-1][0]
        for number, kind, project, at in rows:
            if kind in wanted and project == webhook.project:
                dead = at < too_old
                deliveries.append((webhook.id, number, int(dead)))
                room -= not dead
                if room <= 0:
                    planned = number
                    break
        cursor.executemany("INSERT OR IGNORE INTO delivery (webhook, seq, dead) VALUES (?, ?, ?)", deliveries)
    if planned != seq:
        cursor.execute("UPDATE webhook SET seq = ? WHERE id = ?", (planned, webhook.id))


def _settle(cursor: sqlite3.Cursor, outcomes: Sequence[Settled]) -> None:
    gone = [(one.webhook, one.seq) for one in outcomes if one.due is None and not one.dead]
    cursor.executemany("DELETE FROM delivery WHERE webhook = ? AND seq = ?", gone)
    cursor.executemany(
        "UPDATE delivery SET attempts = ?, due = ?, dead = ? WHERE webhook = ? AND seq = ?",
        [
            (one.attempts, one.due or 0, int(one.dead), one.webhook, one.seq)
            for one in outcomes
            if one.due is not None or one.dead
        ],
    )
    cursor.executemany(
        f"INSERT INTO attempt ({', '.join(_ATTEMPT)}) VALUES ({', '.join('?' * len(_ATTEMPT))})",
        [msgspec.structs.astuple(one.attempt) for one in outcomes if one.attempt is not None],
    )


def _replay(
    cursor: sqlite3.Cursor,
    webhook_id: int,
    event: str | None,
    call: str | None,
    since: int | None,
    until: int | None,
    dead: bool,
) -> int:
    row = cursor.execute("SELECT value, project, seq FROM webhook WHERE id = ?", (webhook_id,)).fetchone()
    if row is None:
        raise NoSuchObject(Sentence("webhook {webhook} does not exist", webhook=webhook_id))
    types = _webhooks.decode(row[0]).events
    conditions = ["project = ?", f"type IN ({', '.join('?' * len(types))})", "seq <= ?"]
    values: list[Any] = [row[1], *types, row[2]]  # what is behind its place in the log comes anyway
    if event is not None:
        conditions.append("id = ?")
        values.append(event)
    if call is not None:
        conditions.append("id > ? AND id < ?")  # CALL.started and the rest; "/" follows "."
        values += [call + ".", call + "/"]
    if since is not None or until is not None:
        conditions.append("at >= ? AND at < ?")
        values += [0 if since is None else since, _LARGEST if until is None else until]
    if dead:
        conditions.append("seq IN (SELECT seq FROM delivery WHERE webhook = ? AND dead = 1)")
        values.append(webhook_id)
    cursor.execute(
        f"INSERT INTO delivery (webhook, seq) SELECT ?, seq FROM event WHERE {' AND '.join(conditions)} "
        "ON CONFLICT (webhook, seq) DO UPDATE SET attempts = 0, due = 0, dead = 0",
        (webhook_id, *values),
    )
    count = cursor.rowcount
    cursor.execute("UPDATE webhook_version SET version = version + 1")
    return count


def _standings(cursor: sqlite3.Cursor) -> dict[int, Standing]:
    last = last_seq(cursor)
    counts = {
        webhook: (pending, dead)
        for webhook, pending, dead in cursor.execute(
            "SELECT webhook, sum(dead = 0), sum(dead) FROM delivery GROUP BY webhook"
        )
    }
    found = {}
    for number, seq in cursor.execute("SELECT id, seq FROM webhook").fetchall():
        pending, dead = counts.get(number, (0, 0))
        newest = _attempts(cursor, None, number, None, False, 1, 0)
        found[number] = Standing(
            pending=pending, dead=dead, behind=last - seq, last=newest[0][1] if newest else None
        )
    return found


def _attempts(
    cursor: sqlite3.Cursor,
    project: int | None,
    webhook: int | None,
    call: str | None,
    failed: bool,
    limit: int,
    after: int,
) -> list[tuple[int, Attempt]]:
    conditions, values = ["id > ?"], [after]
    if project is not None:
        conditions.append("webhook IN (SELECT id FROM webhook WHERE project = ?)")
        values.append(project)
    if webhook is not None:
        conditions.append("webhook = ?")
        values.append(webhook)
    if call is not None:
        conditions.append("(event = ? OR event > ? AND event < ?)")
        values += [call, call + ".", call + "/"]
    if failed:
        conditions.append("error <> ''")
    query = (
        f"SELECT id, {', '.join(_ATTEMPT)} FROM attempt WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?"
    )
    return [
        (number, Attempt(**dict(zip(_ATTEMPT, fields))))
        for number, *fields in cursor.execute(query, (*values, limit))
    ]
