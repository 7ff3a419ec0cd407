"""The SIP accounts in memory, following their store: a password that is set by anyone counts within a moment.

Knows `IAccountStore`; no SIP, no bindings. While the store is away the last accounts hold.
"""

from __future__ import annotations

from typing import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import StoreUnavailable
from calltrack.interfaces import IAccountStore
from calltrack.timers import Timer, Timers
from calltrack.tracking.accounts import Account

log = Logger()

INTERVAL = 0.1  # seconds from one look at the store to the next


class Directory:
    """`changed()` is called after accounts have changed. `realm`: the one that passwords must have been set for."""

    def __init__(self, store: IAccountStore, timers: Timers, realm: str, changed: Callable[[], None]) -> None:
        self._store = store
        self._timers = timers
        self._realm = realm
        self._changed = changed
        self._version: int | None = None
        self._by_user: dict[str, Account] = {}
        self._by_project: dict[int, Account] = {}
        self._away = False
        self._next: Timer | None = None
        self._running = False

    @property
    def loaded(self) -> bool:
        """Whether accounts have ever been read: an unknown user cannot be told before."""
        return self._version is not None

    def account(self, user: str) -> Account | None:
        return self._by_user.get(user)

    def account_of(self, project: int) -> Account | None:
        return self._by_project.get(project)

    def ha1(self, user: str, algorithm: str) -> str | None:
        """The hash to verify credentials of `user` with; None when there is none."""
        account = self._by_user.get(user)
        return None if account is None else account.ha1(algorithm, self._realm)

    def start(self) -> Deferred[None]:
        """Follow the store. Fires with None after the first attempt, whether or not the store was there."""
        self._running = True
        return Deferred.fromCoroutine(self._follow())

    def stop(self) -> None:
        self._running = False
        if self._next is not None:
            self._next.cancel()

    async def _follow(self) -> None:
        try:
            if await self._refresh():
                self._changed()
        finally:
            if self._running:
                self._next = self._timers.after(INTERVAL, self._again)

    def _again(self, _: None) -> None:
        Deferred.fromCoroutine(self._follow()).addErrback(_bug)

    async def _refresh(self) -> bool:
        try:
            if await self._store.version() == self._version:
                changed = False
            else:
                self._version, accounts = await self._store.snapshot()
                self._by_user = {account.user: account for account in accounts}
                self._by_project = {account.project: account for account in accounts}
                changed = True
        except StoreUnavailable as error:
            if not self._away:
                log.error("accounts cannot be read, they stay as they were: {error}", error=error)
            self._away = True
            return False
        except Exception:
            if not self._away:
                log.failure("accounts cannot be read, they stay as they were")
            self._away = True
            return False
        if self._away:
            self._away = False
            log.info("accounts can be read again")
        return changed


def _bug(failure: Failure) -> None:
    log.failure("following the accounts failed", failure=failure)
