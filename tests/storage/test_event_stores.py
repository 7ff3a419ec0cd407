"""Both kinds of logs keep the contract, and records bring their events with them."""

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from calltrack.errors import StoreUnavailable
from calltrack.storage import sqlite_stores
from calltrack.storage.url import open_stores
from calltrack.testing.event_contract import EventStoreContract
from calltrack.testing.store_contract import LADDER, call_record
from calltrack.testing.visit_contract import AT, lease, visit


class InMemory:
    async def make_stores(self):
        return open_stores("memory:", reactor)

    async def make_events(self):
        return (await self.make_stores()).events


class InSQLite(InMemory):
    async def make_stores(self):
        stores = open_stores(f"sqlite:{self.mktemp()}", reactor)
        self.addCleanup(stores.close)
        await stores.migrate()
        return stores


class MemoryEventsTests(InMemory, EventStoreContract, TestCase):
    pass


class SQLiteEventsTests(InSQLite, EventStoreContract, TestCase):
    pass


class RecordContract:
    """What records bring with them, whatever keeps them."""

    async def told(self, stores):
        _, found = await stores.events.read(0)
        return [one.event.id for one in found]

    async def test_events_stand_in_the_log_with_their_record(self):
        stores = await self.make_stores()
        record = call_record("a", ringing=1_795_457_000_200)
        await stores.records.write([record])
        self.assertEqual(await self.told(stores), ["a.started", "a.ringing"])
        final = replace(record, status="ANSWER", answered=1_795_457_001_000, ended=1_795_457_002_000)
        await stores.records.write([final])
        self.assertEqual(await self.told(stores), ["a.started", "a.ringing", "a.answered", "a.ended"])

    async def test_record_that_is_written_again_tells_nothing_again(self):
        stores = await self.make_stores()
        record = call_record("a", status="BUSY")
        for again in (record, replace(record, ladder=LADDER), call_record("a"), record):
            await stores.records.write([again])
        self.assertEqual(await self.told(stores), ["a.started", "a.ended", "a.missed"])

    async def test_observers_hear_of_new_events_once(self):
        stores = await self.make_stores()
        heard = []
        stores.events.observers.append(lambda: heard.append(1))
        await stores.records.write([call_record("a", status="BUSY")])
        await stores.records.write([call_record("a", status="BUSY", ladder=LADDER)])
        self.assertEqual(len(heard), 1)

    async def test_final_record_says_whether_its_caller_is_new_to_the_project(self):
        stores = await self.make_stores()
        calls = [
            call_record("b", 2, caller="1", status="BUSY"),
            call_record("a", 1, caller="1", status="BUSY"),
            call_record("c", 3, caller="2", status="BUSY"),
            call_record("d", 4, caller="1", status="BUSY", project=2),
            call_record("e", 5, caller="", status="BUSY"),
            call_record("f", 6, caller="3"),
        ]
        await stores.records.write(calls)
        await stores.records.write([call_record("g", 7, caller="2", status="BUSY")])
        await stores.records.write([calls[0], calls[2]])
        new = {record.id: record.new_caller for record in await stores.records.list()}
        expected = {"a": True, "b": False, "c": True, "d": True, "e": None, "f": None, "g": False}
        self.assertEqual(new, expected)


class VisitContract:
    """What visits and leases bring with them, whatever keeps them."""

    async def test_visits_and_leases_tell_of_themselves_once(self):
        stores = await self.make_stores()
        store, held, given_back = stores.visits, lease(), lease(ended=AT + 5, confirmed=True)
        await store.write([visit(1)], [held], [], [])
        await store.write([visit(1)], [held], [], [])
        await store.write([], [], [given_back], [])
        _, found = await stores.events.read(0)
        self.assertEqual([one.event.type for one in found], ["visit.started", "number.leased", "number.released"])
        self.assertEqual((found[1].event.number, found[1].event.visit), (held.number, held.visit))

    async def test_lease_that_was_refused_tells_nothing(self):
        stores = await self.make_stores()
        await stores.visits.write([], [lease()], [], [])
        await stores.visits.write([], [lease(begun=AT + 1, visit=2)], [], [])
        _, found = await stores.events.read(0)
        self.assertEqual(len(found), 1)


class MemoryVisitTests(InMemory, VisitContract, TestCase):
    pass


class SQLiteVisitTests(InSQLite, VisitContract, TestCase):
    pass


class MemoryRecordTests(InMemory, RecordContract, TestCase):
    pass


class SQLiteRecordTests(InSQLite, RecordContract, TestCase):
    async def test_record_and_events_are_written_both_or_not_at_all(self):
        stores = await self.make_stores()

        def full(cursor, events):
            raise StoreUnavailable("disk full")

        self.patch(sqlite_stores, "append_events", full)
        await self.assertFailure(stores.records.write([call_record("a", status="BUSY")]), StoreUnavailable)
        self.assertEqual(await stores.records.list(), [])
        self.flushLoggedErrors(StoreUnavailable)

    async def test_record_that_failed_tells_its_events_when_it_is_written_after_all(self):
        stores = await self.make_stores()

        def full(cursor, events):
            raise StoreUnavailable("disk full")

        patched = self.patch(sqlite_stores, "append_events", full)
        await self.assertFailure(stores.records.write([call_record("a", status="BUSY")]), StoreUnavailable)
        patched.restore()
        await stores.records.write([call_record("a", status="BUSY")])
        self.assertEqual(await self.told(stores), ["a.started", "a.ended", "a.missed"])
        self.flushLoggedErrors(StoreUnavailable)
