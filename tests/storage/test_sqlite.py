import os
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from calltrack.errors import StoreUnavailable
from calltrack.storage import sqlite, sqlite_stores
from calltrack.storage.migrations import APPLICATION_ID, Migration, backup, keep_private, migrate, schema_version, scripts
from calltrack.storage.sqlite import Database
from calltrack.storage.sqlite_stores import SQLiteCallRecords, _list_records
from calltrack.storage.url import open_stores
from calltrack.testing.store_contract import call_record
from calltrack.tracking.model import Number, Project

NOW = 1_795_457_000.0  # 2026-11-23T18:03:20Z
STEPS = {1: "CREATE TABLE a (x);\nINSERT INTO a VALUES (1);\n", 2: "CREATE TABLE b (x);\nUPDATE a SET x = x + 1;\n"}


class MigrationTests(SynchronousTestCase):
    def setUp(self):
        self.path = self.mktemp()
        self.connection = self.connect()

    def connect(self):
        connection = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(connection.close)
        return connection

    def migrate(self, steps=STEPS, connection=None):
        return migrate(connection or self.connection, self.path, NOW, steps)

    def tables(self, connection=None):
        return [
            name for (name,) in (connection or self.connection).execute("SELECT name FROM sqlite_master ORDER BY name")
        ]

    def test_empty_file_gets_every_version_and_no_copy(self):
        self.assertEqual(self.migrate(), Migration(0, 2))
        self.assertEqual(self.tables(), ["a", "b"])
        self.assertEqual(schema_version(self.connection, self.path, 2), 2)

    def test_what_is_new_is_for_its_owner_alone_and_what_has_content_keeps_its_mode(self):
        keep_private(self.connection)
        self.migrate()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        os.chmod(self.path, 0o640)
        keep_private(self.connection)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o640)
        backup(self.connection, self.path + ".copy")
        self.assertEqual(os.stat(self.path + ".copy").st_mode & 0o777, 0o600)

    def test_current_database_is_left_alone(self):
        self.migrate()
        self.assertEqual(self.migrate(), Migration(2, 2))
        self.assertEqual(self.connection.execute("SELECT x FROM a").fetchall(), [(2,)])

    def test_old_database_is_copied_before_with_version_and_time_in_the_name(self):
        self.migrate({1: STEPS[1]})
        done = self.migrate()
        self.assertEqual(done, Migration(1, 2, f"{self.path}.v1-20261123T180320Z.backup"))
        with closing(sqlite3.connect(done.backup)) as copy:
            self.assertEqual(self.tables(copy), ["a"])
            self.assertEqual(copy.execute("SELECT x FROM a").fetchall(), [(1,)])

    def test_failing_version_leaves_the_one_before_whole(self):
        broken = {**STEPS, 3: "CREATE TABLE c (x);\nINSERT INTO nowhere VALUES (1);\n"}
        self.assertRaises(sqlite3.OperationalError, self.migrate, broken)
        self.assertEqual(self.tables(), ["a", "b"])
        self.assertEqual(self.migrate(), Migration(2, 2))

    def test_version_that_another_process_has_made_meanwhile_is_not_made_again(self):
        other = self.connect()

        class Overtaken(sqlite3.Connection):
            def execute(self, statement, *args):
                if statement == "BEGIN IMMEDIATE":
                    migrate(other, "", NOW, STEPS)
                return super().execute(statement, *args)

        with closing(sqlite3.connect(self.path, isolation_level=None, factory=Overtaken)) as slow:
            self.migrate(connection=slow)
        self.assertEqual(self.connection.execute("SELECT x FROM a").fetchall(), [(2,)])

    def test_newer_database_is_refused_and_left_alone(self):
        self.migrate()
        error = self.assertRaises(StoreUnavailable, self.migrate, {1: STEPS[1]})
        self.assertIn("version 2, this calltrack knows up to 1", str(error))
        self.assertEqual(self.tables(), ["a", "b"])

    def test_database_of_another_program_is_refused_and_left_alone(self):
        self.connection.execute("CREATE TABLE theirs (x)")
        error = self.assertRaises(StoreUnavailable, self.migrate)
        self.assertIn("another program", str(error))
        self.assertEqual(self.tables(), ["theirs"])

    def test_failed_copy_leaves_no_file_and_nothing_changed(self):
        self.migrate({1: STEPS[1]})
        error = self.assertRaises(
            StoreUnavailable, backup, self.connection, os.path.join(self.mktemp(), "none", "copy")
        )
        self.assertIn("cannot be written", str(error))
        self.assertEqual(self.tables(), ["a"])

    def test_scripts_are_numbered_without_a_gap_and_give_our_files_their_mark(self):
        self.assertEqual(list(scripts()), list(range(1, len(scripts()) + 1)))
        migrate(self.connection, self.path, NOW)
        self.assertEqual(self.connection.execute("PRAGMA application_id").fetchone(), (APPLICATION_ID,))
        self.assertEqual(self.connection.execute("PRAGMA foreign_key_check").fetchall(), [])


class DatabaseTestCase(TestCase):
    def setUp(self):
        self.path = self.mktemp()
        self.patch(sqlite, "BUSY_TIMEOUT", 0.01)
        self.database = self.open()

    def open(self):
        database = Database(self.path, reactor)
        self.addCleanup(database.close)
        return database

    async def unavailable(self, operation, *words):
        error = await self.assertFailure(operation, StoreUnavailable)
        for word in (self.path, *words):
            self.assertIn(word, str(error))


class DatabaseTests(DatabaseTestCase):
    async def test_writes_survive_the_process_and_readers_do_not_wait(self):
        await self.database.migrate()
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        found = await self.database.read(
            lambda cursor: [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
        )
        self.assertEqual(found, ["wal", 1, 1])

    async def test_function_that_raises_changes_nothing(self):
        await self.database.migrate()

        def fail_half_way(cursor):
            cursor.execute("INSERT INTO project (key, value) VALUES ('k', '{}')")
            raise ZeroDivisionError

        await self.assertFailure(self.database.write(fail_half_way), ZeroDivisionError)
        count = await self.database.read(lambda cursor: cursor.execute("SELECT count(*) FROM project").fetchone())
        self.assertEqual(count, (0,))

    async def test_broken_rule_is_a_bug_not_an_outage(self):
        await self.database.migrate()
        orphan = self.database.write(lambda cursor: cursor.execute("INSERT INTO number VALUES ('1', 99, NULL)"))
        await self.assertFailure(orphan, sqlite3.IntegrityError)

    async def test_backup_holds_what_was_committed(self):
        await self.database.migrate()
        target = self.mktemp()
        await self.database.backup(target)
        with closing(sqlite3.connect(target)) as copy:
            self.assertEqual(copy.execute("SELECT version FROM catalog_version").fetchall(), [(1,)])

    async def test_examine_gives_the_schema_version_and_makes_none(self):
        self.assertEqual(await self.database.examine(), 0)
        await self.database.migrate()
        self.assertEqual(await self.database.examine(), max(scripts()))

    def test_close_is_idempotent(self):
        self.database.close()
        self.database.close()


class OutageTests(DatabaseTestCase):
    async def test_lock_of_another_program(self):
        await self.database.migrate()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await self.unavailable(self.database.write(lambda cursor: None), "is locked")
            await self.unavailable(self.database.examine(), "is locked")
        await self.database.write(lambda cursor: None)

    async def test_directory_that_does_not_exist(self):
        self.path = os.path.join(self.path, "none", "calltrack.db")
        await self.unavailable(self.open().migrate(), "cannot be opened", "directory exists")

    async def test_file_that_is_no_database(self):
        Path(self.path).write_bytes(b"to be or not to be " * 100)
        await self.unavailable(self.database.migrate(), "is no SQLite database")

    async def test_full_disk(self):
        await self.database.migrate()
        await self.database.read(lambda cursor: cursor.execute("PRAGMA max_page_count = 1").fetchall())
        grow = self.database.write(lambda cursor: cursor.execute("CREATE TABLE t AS SELECT zeroblob(1000000)"))
        await self.unavailable(grow, "the disk is full")

    async def test_tables_that_are_missing(self):
        await self.database.write(lambda cursor: cursor.execute("DROP TABLE call"))
        await self.unavailable(
            self.database.read(lambda cursor: cursor.execute("SELECT * FROM call")), "calltrack check"
        )

    async def test_damage_is_found(self):
        await self.database.migrate()
        numbers = "json_array(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)"
        fill = f"INSERT INTO project (key, value) SELECT value, hex(zeroblob(500)) FROM json_each({numbers})"
        await self.database.write(lambda cursor: cursor.execute(fill))
        self.database.close()
        content = bytearray(Path(self.path).read_bytes())
        content[4096 * 4 :] = b"\xa5" * (len(content) - 4096 * 4)
        Path(self.path).write_bytes(content)
        self.database = self.open()
        await self.unavailable(self.database.examine(), "damaged")

    async def test_database_that_could_not_be_made_at_the_start_is_made_later(self):
        os.mkdir(self.path)
        await self.unavailable(self.database.migrate(), "cannot be opened")
        os.rmdir(self.path)
        await SQLiteCallRecords(self.database).write([call_record("a")])
        self.assertEqual(await self.database.examine(), max(scripts()))

    async def test_database_that_was_put_back_is_used_without_a_restart(self):
        await self.database.migrate()
        good = self.mktemp()
        await self.database.backup(good)
        self.database.close()
        Path(self.path).write_bytes(b"rubbish " * 1000)
        self.database = self.open()
        for _ in range(2):
            await self.unavailable(self.database.examine(), "is no SQLite database")
        os.replace(good, self.path)
        self.assertEqual(await self.database.examine(), max(scripts()))


class TwoProcessesTests(TestCase):
    async def test_change_of_one_raises_the_version_that_the_other_sees(self):
        path = self.mktemp()
        ours, theirs = (open_stores(f"sqlite:{path}", reactor) for _ in range(2))
        for stores in (ours, theirs):
            self.addCleanup(stores.close)
            await stores.migrate()
        before = await ours.catalog.version()
        project = await theirs.catalog.add_project(project=Project(id=0, name="Shop", key="k"))
        await theirs.catalog.add_number(number=Number(number="11231234567", project=project.id))
        version, projects, _, numbers = await ours.catalog.snapshot()
        self.assertEqual(version, before + 2)
        self.assertEqual(([p.name for p in projects], len(numbers)), (["Shop"], 1))

    async def test_call_of_one_is_listed_by_the_other(self):
        path = self.mktemp()
        ours, theirs = (open_stores(f"sqlite:{path}", reactor) for _ in range(2))
        for stores in (ours, theirs):
            self.addCleanup(stores.close)
            await stores.migrate()
        await ours.records.write(records=[call_record("a")])
        self.assertEqual(await theirs.records.list(), [call_record("a")])


class Explaining:
    """A cursor that asks SQLite how it would list calls, and finds none."""

    def __init__(self, cursor, plans):
        self.cursor, self.plans = cursor, plans

    def execute(self, query, values):
        if not query.startswith("SELECT value"):
            return self.cursor.execute(query, values)
        rows = self.cursor.execute("EXPLAIN QUERY PLAN " + query, values).fetchall()
        self.plans.append(" ".join(row[3] for row in rows))
        return ()


class QueryPlanTests(DatabaseTestCase):
    async def test_lists_read_an_index_and_sort_nothing(self):
        await self.database.migrate()
        await SQLiteCallRecords(self.database).write([call_record("a")])
        plans = []
        filters = [(None, None, None), (1, None, None), (None, "BUSY", None), (None, None, "a"), (1, None, "a")]
        for values in filters:
            await self.database.read(lambda cursor, *values: _list_records(Explaining(cursor, plans), 10, *values), *values)
        self.assertEqual(len(plans), len(filters))
        for plan in plans:
            self.assertIn("USING INDEX call_by_", plan)
            self.assertNotIn("TEMP B-TREE", plan)

    async def test_whether_a_caller_is_new_is_one_search_of_an_index(self):
        """A partial index is used only by who says that what it lacks is not asked for."""
        await self.database.migrate()
        values = ("74951234567", 1, 2, "a")
        [plan] = await self.database.read(
            lambda cursor: cursor.execute("EXPLAIN QUERY PLAN " + sqlite_stores._CALLED_BEFORE, values).fetchall()
        )
        self.assertIn("SEARCH call USING INDEX call_by_caller (caller=? AND project=?", plan[3])
