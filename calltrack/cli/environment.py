"""What every command works with: the settings, the stores, a reactor for as long as it takes, exit statuses.

Must not know any single command.
"""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Awaitable, Callable, TypeVar

import click

from calltrack.errors import CalltrackError, ConfigErrors, InvalidField, NoSuchObject

if TYPE_CHECKING:
    from calltrack.config import Settings
    from calltrack.storage.url import Stores

Result = TypeVar("Result")

BAD_INPUT = (ConfigErrors, InvalidField, NoSuchObject)


class Refused(click.ClickException):
    """What ends a command in words: status 2 for bad input, 1 for what cannot be done now."""

    def __init__(self, error: CalltrackError) -> None:
        super().__init__(str(error))
        self.exit_code = 2 if isinstance(error, BAD_INPUT) else 1


class Environment:
    """One run of the `calltrack` command."""

    def __init__(self, config_path: str | None) -> None:
        self.config_path = config_path

    @cached_property
    def settings(self) -> Settings:
        """The settings of the configuration file, or the defaults. Raises ConfigErrors."""
        from calltrack import config

        if self.config_path is None:
            return config.defaults()
        try:
            text = Path(self.config_path).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigErrors([f"{self.config_path}: is not UTF-8 (byte {error.start})"]) from error
        return config.load(text, self.config_path)

    @property
    def country(self) -> str:
        """The country by whose rules national numbers are read: that of the trunks, if they agree."""
        countries = {trunk.country for trunk in self.settings.trunks}
        return countries.pop() if len(countries) == 1 else ""

    @property
    def database_path(self) -> str:
        """The file that keeps everything. Raises ConfigErrors when nothing is kept in a file."""
        scheme, _, path = self.settings.storage.url.partition(":")
        if scheme != "sqlite":
            raise ConfigErrors(["[storage] url: what is in memory: is seen by the engine alone; write sqlite:FILE"])
        return path

    def with_stores(self, work: Callable[[Stores], Awaitable[Result]]) -> Result:
        """What `work(stores)` returns, the stores being open and of this version's schema."""

        async def migrated(stores: Stores) -> Result:
            await stores.migrate()
            return await work(stores)

        return self.with_stores_as_they_are(migrated)

    def with_stores_as_they_are(self, work: Callable[[Stores], Awaitable[Result]]) -> Result:
        """What `work(stores)` returns, of whatever schema they are."""
        url = f"sqlite:{self.database_path}"

        async def main(reactor: Any) -> Result:
            from calltrack.chosen import choose_stores, context_of
            from calltrack.storage.url import open_stores

            stores = open_stores(url, reactor)
            backends = choose_stores(stores, self.settings, context_of(stores, reactor, wall_ms))
            try:
                await backends.start()
                return await work(stores)
            finally:
                await backends.stop()
                stores.close()

        return run(main)


def wall_ms() -> int:
    """Milliseconds since the Unix epoch, UTC."""
    return int(time.time() * 1000)


def run(main: Callable[[Any], Awaitable[Result]]) -> Result:
    """What `main(reactor)` returns, the reactor running as long as that takes. Once in a process."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react
    from twisted.python.failure import Failure

    outcome: list[Any] = []

    def until_done(reactor: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(main(reactor)).addBoth(outcome.append)

    try:
        react(until_done)
    except SystemExit:
        if not outcome:  # stopped by a signal
            raise
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
