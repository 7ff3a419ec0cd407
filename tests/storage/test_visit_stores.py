"""Both kinds of stores keep the contract of visits; the rules that only the database can keep."""

import sqlite3

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from calltrack.storage.url import open_stores
from calltrack.testing.visit_contract import AT, VisitStoreContract, lease, visit


class MemoryVisitsTests(VisitStoreContract, TestCase):
    async def make_visits(self):
        return open_stores("memory:", reactor).visits


class SQLiteVisitsTests(VisitStoreContract, TestCase):
    async def make_visits(self):
        self.path = self.mktemp()
        stores = open_stores(f"sqlite:{self.path}", reactor)
        self.addCleanup(stores.close)
        await stores.migrate()
        return stores.visits

    def run_sql(self, statement):
        connection = sqlite3.connect(self.path)
        try:
            with connection:
                connection.execute(statement)
        finally:
            connection.close()

    async def test_history_is_append_only_for_every_program(self):
        store = await self.make_visits()
        await store.write([visit(1)], [lease(ended=AT + 5)], [], [])
        for statement in (
            "UPDATE lease SET visit = 2",
            "UPDATE lease SET ended = ended + 1",
            "UPDATE lease SET ended = NULL",
            "DELETE FROM lease",
        ):
            error = self.assertRaises(sqlite3.IntegrityError, self.run_sql, statement)
            self.assertIn("append-only", str(error))

    async def test_active_lease_may_be_ended_and_nothing_else(self):
        store = await self.make_visits()
        await store.write([], [lease()], [], [])
        self.assertRaises(sqlite3.IntegrityError, self.run_sql, "UPDATE lease SET visit = 2, ended = begun")
        self.assertRaises(sqlite3.IntegrityError, self.run_sql, "UPDATE lease SET marker = 'x'")
        self.assertRaises(sqlite3.IntegrityError, self.run_sql, "UPDATE lease SET ended = begun - 1")
        self.run_sql("UPDATE lease SET ended = begun + 5")
        self.assertEqual((await store.history(["12025550100"], 1))[0].ended, AT + 5)

    async def test_no_program_can_put_two_visits_on_one_number(self):
        store = await self.make_visits()
        await store.write([], [lease()], [], [])
        statement = f"INSERT INTO lease VALUES ('12025550100', {AT + 1}, NULL, 1, 3, 2, 'x', 0)"
        self.assertRaises(sqlite3.IntegrityError, self.run_sql, statement)
