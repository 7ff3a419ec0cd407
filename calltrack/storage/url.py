"""A `[storage] url` -> the stores behind it. Knows which kinds there are; not what they keep."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from calltrack.access.interfaces import IAccessStore
from calltrack.interfaces import IAccountStore, ICallRecordStore, ICatalogStore, ILocationStore, IVisitStore
from calltrack.storage.memory import MemoryCallRecords, MemoryCatalog
from calltrack.storage.memory_access import MemoryAccess
from calltrack.storage.memory_accounts import MemoryAccounts, MemoryLocations
from calltrack.storage.memory_database import MemoryDatabase
from calltrack.storage.memory_visits import MemoryVisits
from calltrack.storage.migrations import Migration
from calltrack.storage.sqlite import Database
from calltrack.storage.sqlite_access import SQLiteAccess
from calltrack.storage.sqlite_accounts import SQLiteAccounts, SQLiteLocations
from calltrack.storage.sqlite_events import SQLiteEvents
from calltrack.storage.sqlite_stores import SQLiteCallRecords, SQLiteCatalog
from calltrack.storage.sqlite_visits import SQLiteVisits
from calltrack.storage.sqlite_webhooks import SQLiteWebhooks


class Stores:
    """Everything that is kept behind one url."""

    def __init__(
        self,
        catalog: ICatalogStore,
        records: ICallRecordStore,
        accounts: IAccountStore,
        locations: ILocationStore,
        events: SQLiteEvents,
        webhooks: SQLiteWebhooks,
        access: IAccessStore,
        visits: IVisitStore,
        database: Database | None,
    ) -> None:
        self.catalog = catalog
        self.records = records
        self.accounts = accounts
        self.locations = locations
        self.events = events
        self.webhooks = webhooks
        self.access = access
        self.visits = visits
        self._database = database

    @property
    def spool_path(self) -> str | None:
        """Where call records are spooled unless configured otherwise: beside the database, or nowhere."""
        return f"{self._database.path}-spool" if self._database is not None else None

    @property
    def recordings_path(self) -> str:
        """Where recordings are kept unless configured otherwise: beside the database, or in the working directory."""
        return f"{self._database.path}-recordings" if self._database is not None else "calltrack-recordings"

    @property
    def control_path(self) -> str:
        """Where the socket of `calltrack ctl` is unless configured otherwise; as `recordings_path`."""
        return f"{self._database.path}-control" if self._database is not None else "calltrack-control"

    @property
    def traces_path(self) -> str:
        """Where SIP traces are kept unless configured otherwise; as `recordings_path`."""
        return f"{self._database.path}-traces" if self._database is not None else "calltrack-traces"

    def migrate(self) -> Deferred[Migration]:
        """Make the stores ready for use; asked before anything else is. Fires with what was done;
        fails with StoreUnavailable, which says what to do."""
        return self._database.migrate() if self._database is not None else succeed(Migration(0, 0))

    def backup(self, target: str) -> Deferred[None]:
        """Copy the database to the file `target`. Fires with None; fails with StoreUnavailable.
        Raises ValueError when there is no database."""
        if self._database is None:
            raise ValueError("stores in memory cannot be backed up")
        return self._database.backup(target)

    def close(self) -> None:
        """End after the operation that is running. Idempotent."""
        if self._database is not None:
            self._database.close()


def open_stores(url: str, reactor: Any) -> Stores:
    """The stores of ``sqlite:FILE`` or ``memory:`` (a url that `config` has let pass). Opens nothing yet."""
    if url == "memory:":
        catalog = MemoryCatalog()
        memory = MemoryDatabase()
        events = SQLiteEvents(memory)
        return Stores(
            catalog,
            MemoryCallRecords(events),
            MemoryAccounts(catalog),
            MemoryLocations(events),
            events,
            SQLiteWebhooks(memory),
            MemoryAccess(catalog),
            MemoryVisits(events),
            None,
        )
    database = Database(url.removeprefix("sqlite:"), reactor)
    events = SQLiteEvents(database)
    return Stores(
        SQLiteCatalog(database),
        SQLiteCallRecords(database, events),
        SQLiteAccounts(database),
        SQLiteLocations(database, events),
        events,
        SQLiteWebhooks(database),
        SQLiteAccess(database),
        SQLiteVisits(database, events),
        database,
    )
