"""What a call record costs in the database thread, with and without its events. See README.md."""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from calltrack.storage import migrations, sqlite_stores  # noqa: E402
from calltrack.testing.store_contract import LADDER, call_record  # noqa: E402

BATCH = 250  # records a transaction
AT = 1_795_457_000_000  # milliseconds since the Unix epoch


def cost(path: str, calls: int, events: bool) -> float:
    """Microseconds of CPU a record."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    migrations.migrate(connection, path, 0.0)
    records = [
        call_record(
            f"{number:032x}", AT + number * 5, caller=f"1202555{number % 10_000:04d}", status="ANSWER", trunk="bench",
            target="sip:uas@127.0.0.3:15062", ringing=AT + number * 5, answered=AT + number * 5, ended=AT + number * 5,
            ladder=LADDER * 7,
        )
        for number in range(calls)
    ]  # fmt: skip
    cursor = connection.cursor()
    began = time.process_time()
    for first in range(0, calls, BATCH):
        batch = records[first : first + BATCH]
        cursor.execute("BEGIN IMMEDIATE")
        sqlite_stores._write_records(cursor, batch, {record.id for record in batch} if events else set())
        connection.commit()
    used = time.process_time() - began
    connection.close()
    return used / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    for number in range(chosen.repeat):
        with tempfile.TemporaryDirectory() as directory:
            without, with_events = (
                cost(f"{directory}/{events}.db", chosen.calls, events) for events in (False, True)
            )
        print(f"{without:.1f} us a record without events, {with_events:.1f} with them")


if __name__ == "__main__":
    main()
