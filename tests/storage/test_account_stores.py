"""Both kinds of stores keep the contracts of accounts and locations."""

import sys

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from calltrack.events.derived import of_binding
from calltrack.storage.url import open_stores
from calltrack.testing.account_contract import AccountStoreContract, LocationStoreContract, binding
from calltrack.tracking.model import Project


class InMemory:
    async def make_stores(self):
        return open_stores("memory:", reactor)


class InSQLite:
    async def make_stores(self):
        self.path = self.mktemp()
        stores = open_stores(f"sqlite:{self.path}", reactor)
        self.addCleanup(stores.close)
        await stores.migrate()
        return stores


class WithProjects:
    async def make_accounts(self):
        stores = await self.make_stores()
        for key in ("k1", "k2"):
            await stores.catalog.add_project(Project(id=0, name="Glasses", key=key))
        return stores.accounts


class WithLocations:
    async def make_locations(self):
        stores = await self.make_stores()
        self.log = stores.events
        return stores.locations


class MemoryAccountsTests(InMemory, WithProjects, AccountStoreContract, TestCase):
    pass


class SQLiteAccountsTests(InSQLite, WithProjects, AccountStoreContract, TestCase):
    pass


class MemoryLocationsTests(InMemory, WithLocations, LocationStoreContract, TestCase):
    pass


# A process that registers a device and is killed at an instant of the transaction.
KILLED = """
import os, signal, sys
from twisted.internet import reactor
from calltrack.events.derived import of_binding
from calltrack.storage import sqlite_accounts
from calltrack.storage.url import open_stores
from calltrack.testing.account_contract import binding

when, path = sys.argv[1:]
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
append = sqlite_accounts.append_events

def between(cursor, events):
    kill() if when == "between" else append(cursor, events)
    if when == "uncommitted":
        kill()

sqlite_accounts.append_events = between
device = binding(1, 7)
locations = open_stores("sqlite:" + path, reactor).locations
reactor.callWhenRunning(lambda: locations.write([device], [], [of_binding(device, "u", 5)]).addBoth(kill))
reactor.run()
"""


class SQLiteLocationsTests(InSQLite, WithLocations, LocationStoreContract, TestCase):
    async def left_by_a_kill(self, when):
        """Devices and events that are in the store afterwards."""
        locations = await self.make_locations()
        running = getProcessOutputAndValue(sys.executable, ["-c", KILLED, when, self.path], env=None)
        _, errors, status = await running.addErrback(lambda killed: killed.value)
        self.assertEqual((status, errors), (9, b""))
        return [kept.id for kept in await locations.list()], await self.told()

    async def test_kill_at_any_instant_leaves_a_binding_with_its_event_or_neither(self):
        for when in ("between", "uncommitted"):
            self.assertEqual(await self.left_by_a_kill(when), ([], []), when)
        self.assertEqual(await self.left_by_a_kill("durable"), ([7], ["binding:1:7.registered"]))

    async def test_observers_hear_of_devices_that_come_and_go_and_not_of_refreshes(self):
        heard = []
        store = await self.make_locations()
        self.log.observers.append(lambda: heard.append(1))
        await store.write([binding(1, 1)], [], [of_binding(binding(1, 1), "u", 5)])
        await store.write([binding(1, 1)], [])
        self.assertEqual(heard, [1])

    async def test_bindings_are_there_when_the_file_is_opened_again(self):
        store = await self.make_locations()
        await store.write(saved=[binding(1, 1)], removed=[])
        again = open_stores(f"sqlite:{self.path}", reactor)
        self.addCleanup(again.close)
        self.assertEqual(await again.locations.list(), [binding(1, 1)])
