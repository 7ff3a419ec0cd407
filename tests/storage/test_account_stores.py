"""Both kinds of stores keep the contracts of accounts and locations."""

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

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
        return (await self.make_stores()).locations


class MemoryAccountsTests(InMemory, WithProjects, AccountStoreContract, TestCase):
    pass


class SQLiteAccountsTests(InSQLite, WithProjects, AccountStoreContract, TestCase):
    pass


class MemoryLocationsTests(InMemory, WithLocations, LocationStoreContract, TestCase):
    pass


class SQLiteLocationsTests(InSQLite, WithLocations, LocationStoreContract, TestCase):
    async def test_bindings_are_there_when_the_file_is_opened_again(self):
        store = await self.make_locations()
        await store.write(saved=[binding(1, 1)], removed=[])
        again = open_stores(f"sqlite:{self.path}", reactor)
        self.addCleanup(again.close)
        self.assertEqual(await again.locations.list(), [binding(1, 1)])
