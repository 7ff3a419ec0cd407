"""SIP accounts and contact bindings in memory: for tests, demonstrations, and engines that forget. Knows no files."""

from __future__ import annotations

from typing import Sequence

from twisted.internet.defer import Deferred, execute, succeed
from zope.interface import implementer

from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.events.model import Event
from calltrack.interfaces import IAccountStore, ICatalogStore, IEventStore, ILocationStore
from calltrack.tracking.accounts import Account
from calltrack.tracking.bindings import Binding


@implementer(IAccountStore)
class MemoryAccounts:
    """Accounts in a dict, of the projects in `catalog`."""

    def __init__(self, catalog: ICatalogStore) -> None:
        self._catalog = catalog
        self._version = 1
        self._accounts: dict[int, Account] = {}

    def add(self, account: Account) -> Deferred[Account]:
        return self._catalog.snapshot().addCallback(self._add, account)

    def replace(self, account: Account) -> Deferred[Account]:
        return execute(self._replace, account)

    def snapshot(self) -> Deferred[tuple[int, list[Account]]]:
        return succeed((self._version, list(self._accounts.values())))

    def version(self) -> Deferred[int]:
        return succeed(self._version)

    def _add(self, catalog: tuple, account: Account) -> Account:
        _, projects, _, _ = catalog
        if account.project in self._accounts:
            return self._accounts[account.project]
        if not any(project.id == account.project for project in projects):
            raise NoSuchObject(Sentence("project {project} does not exist", project=account.project))
        if any(other.user == account.user for other in self._accounts.values()):
            raise InvalidField("user", Sentence("{user} belongs to another project", user=account.user))
        return self._put(account)

    def _replace(self, account: Account) -> Account:
        if account.project not in self._accounts:
            raise NoSuchObject(Sentence("project {project} has no account", project=account.project))
        return self._put(account)

    def _put(self, account: Account) -> Account:
        self._accounts[account.project] = account
        self._version += 1
        return account


@implementer(ILocationStore)
class MemoryLocations:
    """Contact bindings in a dict; the events that tell of them go into the log, if there is one, before them."""

    def __init__(self, events: IEventStore | None = None) -> None:
        self._bindings: dict[tuple[int, int], Binding] = {}
        self._events = events

    def write(self, saved: list[Binding], removed: list[tuple[int, int]], events: Sequence[Event] = ()) -> Deferred[None]:
        told = self._events.append(events) if events and self._events is not None else succeed(None)
        return told.addCallback(self._write, saved, removed)

    def _write(self, _: None, saved: list[Binding], removed: list[tuple[int, int]]) -> None:
        for key in removed:
            self._bindings.pop(key, None)
        self._bindings.update(((binding.project, binding.id), binding) for binding in saved)

    def list(self, project: int | None = None) -> Deferred[list[Binding]]:
        found = [binding for binding in self._bindings.values() if project in (None, binding.project)]
        return succeed(sorted(found, key=lambda binding: (binding.project, binding.registered_at, binding.id)))

    def forget(self, project: int) -> Deferred[None]:
        for key in [key for key in self._bindings if key[0] == project]:
            del self._bindings[key]
        return succeed(None)
