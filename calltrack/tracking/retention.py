"""Take away what visits say about people when its time is over, field by field.

Knows how long each field is kept and `IVisitStore.expire`; must not know how that is done.
"""

from __future__ import annotations

from typing import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import StoreUnavailable
from calltrack.interfaces import IVisitStore
from calltrack.timers import Timer, Timers
from calltrack.tracking.privacy import PRIVATE
from calltrack.tracking.settings import PrivacySettings

log = Logger()

FIRST = 60.0  # seconds after the start
INTERVAL = 3600.0  # seconds
PAUSE = 0.5  # seconds between two pages: visitors are written to the same store
PAGE = 2000  # visits at once
DAY = 86_400_000  # milliseconds


class Retention:
    """Looks every hour for what has become old since the last time; the first time at everything."""

    def __init__(
        self, timers: Timers, wall_ms: Callable[[], int], store: IVisitStore, settings: PrivacySettings
    ) -> None:
        self._timers = timers
        self._wall_ms = wall_ms
        self._store = store
        kept = {"visit": settings.visits} | {field: getattr(settings, field) for field in PRIVATE}
        self._kept = {field: days for field, days in kept.items() if days}
        self._done: dict[str, int] = {}  # field: visits that started before have none
        self._timer: Timer | None = None
        self._pause: Deferred[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Look from now on."""
        if self._kept:
            self._timer = self._timers.after(FIRST, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, _: None) -> None:
        self._timer = self._timers.after(INTERVAL, self._look)
        if self._pause is None:  # the last look may still be at work
            Deferred.fromCoroutine(self._expire_all()).addErrback(self._failed)

    async def _expire_all(self) -> None:
        for field, days in self._kept.items():
            before = self._wall_ms() - round(days * DAY)
            since: int | None = self._done.get(field, 0)
            while since is not None and since < before and not self._stopped:
                since = await self._store.expire(field, since, before, PAGE)
                if since is not None:
                    self._done[field] = since
                    await self._breathe()
            if since is None:
                self._done[field] = before

    async def _breathe(self) -> None:
        self._pause = Deferred()
        self._timers.after(PAUSE, self._pause.callback, None)
        try:
            await self._pause
        finally:
            self._pause = None

    def _failed(self, failure: Failure) -> None:
        if failure.check(StoreUnavailable):
            log.error("what is old cannot be taken from visits, it is tried again in an hour: {e}", e=failure.value)
        else:
            log.failure("taking what is old from visits failed", failure=failure)
