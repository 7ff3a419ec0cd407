"""Both kinds of stores keep the contracts."""

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from calltrack.storage.url import open_stores
from calltrack.testing.access_contract import AccessStoreContract
from calltrack.testing.search_contract import CallSearchContract
from calltrack.testing.store_contract import CallRecordStoreContract, CatalogStoreContract


class InMemory:
    async def make_records(self):
        return open_stores("memory:", reactor).records

    async def make_catalog(self):
        return open_stores("memory:", reactor).catalog

    async def make_access(self):
        stores = open_stores("memory:", reactor)
        return stores.access, stores.catalog


class InSQLite:
    async def make_stores(self):
        stores = open_stores(f"sqlite:{self.mktemp()}", reactor)
        self.addCleanup(stores.close)
        await stores.migrate()
        return stores

    async def make_records(self):
        return (await self.make_stores()).records

    async def make_catalog(self):
        return (await self.make_stores()).catalog

    async def make_access(self):
        stores = await self.make_stores()
        return stores.access, stores.catalog


class MemoryCallRecordsTests(InMemory, CallRecordStoreContract, TestCase):
    pass


class MemoryCatalogTests(InMemory, CatalogStoreContract, TestCase):
    pass


class SQLiteCallRecordsTests(InSQLite, CallRecordStoreContract, TestCase):
    pass


class SQLiteCatalogTests(InSQLite, CatalogStoreContract, TestCase):
    pass


class MemoryCallSearchTests(InMemory, CallSearchContract, TestCase):
    pass


class SQLiteCallSearchTests(InSQLite, CallSearchContract, TestCase):
    pass


class MemoryAccessTests(InMemory, AccessStoreContract, TestCase):
    pass


class SQLiteAccessTests(InSQLite, AccessStoreContract, TestCase):
    pass
