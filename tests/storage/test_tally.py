"""Reports equal what is counted from the calls, whatever becomes of their records, in every time zone."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from itertools import combinations
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from calltrack.storage import sqlite_erasing, sqlite_stores, sqlite_tally
from calltrack.storage.migrations import migrate, scripts
from calltrack.testing.store_contract import call_record
from calltrack.tracking.model import Attribution, CallRecord
from calltrack.tracking.search import DAY, QUARTER, CallLog
from calltrack.tracking.wall_clock import stretches

ZONES = ("UTC", "Europe/Moscow", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham", "America/St_Johns", "Africa/Casablanca")
AT = round(datetime(2026, 3, 29, tzinfo=timezone.utc).timestamp() * 1000)  # Europe's and others' clocks change in these weeks

instants = st.one_of(
    st.integers(AT - 10 * DAY, AT + 10 * DAY),
    st.integers(-960, 960).map(lambda quarters: AT + quarters * QUARTER),
    st.integers(-960, 960).map(lambda quarters: AT + quarters * QUARTER - 1),
)
records = st.builds(
    lambda name, created, marker, seconds, **fields: call_record(
        name, created, attribution=Attribution(marker=marker), answer_duration=seconds / 1000, **fields
    ),
    name=st.sampled_from("abcdef"),
    created=instants,
    marker=st.sampled_from(("", "direct", "direct_1", "google_2_x", "_", "поиск_1")),
    seconds=st.integers(0, 10**7),
    project=st.sampled_from((1, 1, 1, 2, None)),
    status=st.sampled_from(("ACTIVE", "ANSWER", "ANSWER", "BUSY", "CANCEL")),
    target_call=st.booleans(),
    cost=st.one_of(st.none(), st.integers(0, 10**8).map(lambda millionths: millionths / 10**6)),
    caller=st.sampled_from(("", "7495", "7812")),
)
changes = st.lists(
    st.one_of(
        st.lists(records, min_size=1, max_size=6),  # written
        st.sampled_from(("7495", "7812")),  # callers who are forgotten
        st.sampled_from("abcdef").map(lambda name: (name,)),  # removed
    ),
    max_size=12,
)


class Stored:
    """The reports of a database, for `CallLog`, without a thread."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def tally(self, **asked):
        return succeed(sqlite_tally.tally(self._cursor, **asked))


def database(path: str = ":memory:", version: int = len(scripts())) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, 0.0, {number: step for number, step in scripts().items() if number <= version})
    return connection


def apply(cursor: sqlite3.Cursor, change) -> None:
    cursor.execute("BEGIN")
    if isinstance(change, list):
        sqlite_stores._write_records(cursor, change, set())
    elif isinstance(change, str):
        sqlite_erasing.forget_caller(cursor, change)
    else:
        cursor.execute("DELETE FROM call WHERE id = ?", change)
    cursor.execute("COMMIT")


def counted(cursor: sqlite3.Cursor, since: int, until: int, zone: ZoneInfo) -> tuple[Counter, Counter]:
    """Calls, answered, target, milliseconds and millionths by day and source, and calls and answered by hour of the week, one by one."""
    days, hours = Counter(), Counter()
    for (value,) in cursor.execute("SELECT value FROM call"):
        call = msgspec.json.decode(value, type=CallRecord)
        if call.project != 1 or not call.final or not since <= call.created < until:
            continue
        there = (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=call.created)).astimezone(zone)
        source, answered = call.attribution.marker.split("_")[0], int(call.status == "ANSWER")
        figures = {"calls": 1, "answered": answered, "target": int(call.target_call)}
        figures |= {"talked": round(call.answer_duration * 1000), "cost": round((call.cost or 0) * 10**6)}
        for name, figure in figures.items():
            days[there.date(), source, name] += figure
        hours[there.weekday() * 24 + there.hour, "calls"] += 1
        hours[there.weekday() * 24 + there.hour, "answered"] += answered
    return +days, +hours


def reported(test: SynchronousTestCase, cursor: sqlite3.Cursor, since: int, until: int, zone: ZoneInfo) -> tuple[Counter, Counter]:
    asked = CallLog(Stored(cursor)).tally(1, since, until, zone)
    found = test.successResultOf(Deferred.fromCoroutine(asked))
    days, hours = Counter(), Counter()
    for day in found.days:
        place = date(1970, 1, 1) + timedelta(days=day.day), day.source
        for name, scale in (("calls", 1), ("answered", 1), ("target", 1), ("talked", 1000), ("cost", 10**6)):
            days[(*place, name)] = round(getattr(day, name) * scale)
    for hour in found.hours:
        hours[hour.hour, "calls"], hours[hour.hour, "answered"] = hour.calls, hour.answered
    return +days, +hours


def levels(cursor: sqlite3.Cursor) -> list[list[tuple]]:
    """What stands in the table of hours, and what it has to be."""
    sums = ", ".join(f"sum({name})" for name in ("calls", "answered", "target", "talked", "cost"))
    expected = f"SELECT project, quarter / 4 AS hour, source, {sums} FROM call_tally GROUP BY project, hour, source"
    return [cursor.execute(f"{query} ORDER BY 1, 2, 3").fetchall() for query in ("SELECT * FROM call_tally_hour", expected)]


class ReportTests(SynchronousTestCase):
    @settings(max_examples=80, deadline=None)
    @given(changes, st.lists(st.tuples(instants, instants), min_size=1, max_size=3), st.sampled_from(ZONES))
    def test_reports_equal_what_is_counted_from_the_calls(self, done, spans, zone):
        with closing(database()) as connection:
            cursor = connection.cursor()
            for change in done:
                apply(cursor, change)
            for one, other in [(AT - 11 * DAY, AT + 11 * DAY), *spans]:
                asked = min(one, other), max(one, other) + 1, ZoneInfo(zone)
                self.assertEqual(reported(self, cursor, *asked), counted(cursor, *asked))
            empty = cursor.execute("SELECT count(*) FROM call_tally WHERE calls <= 0").fetchone()
            self.assertEqual(empty, (0,))
            self.assertEqual(*levels(cursor))

    @settings(max_examples=20, deadline=None)
    @given(st.lists(records, max_size=20), st.sampled_from(ZONES))
    def test_calls_of_an_older_database_are_counted_when_it_is_brought_up(self, found, zone):
        with closing(database(version=5)) as connection:
            for call in {call.id: call for call in found}.values():
                values = (call.id, call.created, call.project, call.status, msgspec.json.encode(call).decode())
                connection.execute("INSERT INTO call (id, created, project, status, value) VALUES (?, ?, ?, ?, ?)", values)
            cursor = connection.cursor()
            for step in (step for version, step in scripts().items() if version > 5):
                cursor.executescript(step)
            asked = AT - 11 * DAY, AT + 11 * DAY, ZoneInfo(zone)
            self.assertEqual(reported(self, cursor, *asked), counted(cursor, *asked))
            self.assertEqual(*levels(cursor))

    def test_reports_of_any_edges_count_each_call_once_in_whole_hours_and_others(self):
        minute = 60_000
        with closing(database()) as connection:
            cursor = connection.cursor()
            apply(cursor, [call_record(str(at), AT + at * minute) for at in range(-150, 150, 5)])
            edges = [AT + at * minute + late for at in (-125, -120, -65, -60, -50, -45, -15, 0, 5, 15, 60, 90, 120) for late in (-1, 0, 1)]
            for zone in (ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu"), timezone(timedelta(minutes=30))):
                for since, until in combinations(edges, 2):
                    self.assertEqual(reported(self, cursor, since, until, zone), counted(cursor, since, until, zone))


class WallClockTests(SynchronousTestCase):
    def test_stretches_are_cut_where_the_clock_changes(self):
        change = AT + 3_600_000
        self.assertEqual(
            stretches(AT - DAY, AT + DAY, ZoneInfo("Europe/Berlin")),
            [(AT - DAY, change, 3_600_000), (change, AT + DAY, 7_200_000)],
        )
        self.assertEqual(stretches(change, AT + DAY, ZoneInfo("Europe/Berlin")), [(change, AT + DAY, 7_200_000)])
        self.assertEqual(stretches(AT, change, ZoneInfo("Europe/Berlin")), [(AT, change, 3_600_000)])
        self.assertEqual(stretches(AT, AT + 1, timezone(timedelta(hours=-3))), [(AT, AT + 1, -10_800_000)])

    def test_wall_clocks_of_all_zones_are_whole_quarters_of_an_hour_ahead(self):
        days = [datetime(year, month, 15, tzinfo=timezone.utc) for year in range(1990, 2041) for month in (1, 7)]
        for name in sorted(available_timezones()):
            zone = ZoneInfo(name)
            self.assertEqual({day.astimezone(zone).utcoffset() % timedelta(minutes=15) for day in days}, {timedelta()}, name)
