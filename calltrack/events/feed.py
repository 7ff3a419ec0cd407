"""Brings the log of events to one sink, at the sink's own pace: a page, its answer, the next page.

Where the sink is stands in the store. A sink that fails is asked again later and later; one that does not answer is
given up for the moment; neither costs memory or holds up anybody else. Knows `IEventStore` and `IEventSink`.
"""

from __future__ import annotations

import random
from threading import Thread
from typing import Any, Iterable

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import CalltrackError
from calltrack.events.model import Logged, Lost
from calltrack.interfaces import IEventSink, IEventStore
from calltrack.timers import Timer, Timers
from calltrack.tracking.published import iso_time

log = Logger()

PAGE = 200  # events at once
PATIENCE = 30.0  # seconds that a sink has to take a page
FIRST_RETRY, LAST_RETRY = 1.0, 300.0  # seconds after a failure
DAY_MS = 86_400_000
LOOK = 1.0  # seconds from one look to the next for what other processes have added


class Feed:
    """`name` is what the sink's place in the log is kept under; `types`: the events it wants, all when empty."""

    def __init__(
        self,
        name: str,
        sink: IEventSink,
        store: IEventStore,
        reactor: Any,
        timers: Timers,
        types: Iterable[str] = (),
        patience: float = PATIENCE,
    ) -> None:
        self.name = name
        self.types = tuple(types)
        self.delivered = 0  # events
        self.lost = 0  # events that were forgotten before the sink took them
        self.failing = ""  # why the last page was not taken; "" = it was
        self._sink = sink
        self._store = store
        self._reactor = reactor
        self._timers = timers
        self._patience = patience
        self._seq: int | None = None
        self._page: list[Logged] = []  # read, not taken yet
        self._until = 0  # the place in the log when the page is taken
        self._retry = 0.0
        self._timer: Timer | None = None
        self._busy: Deferred[None] | None = None
        self._running = False
        self._woken = False
        self._untold: Lost | None = None  # what was lost since `look`
        self._warned = False  # that events will be lost
        self._in_thread = False  # a thread is at work on a page, perhaps one that was given up

    def start(self) -> None:
        """Go on where the sink was; a new one begins now."""
        self._running = True
        self._sink.start(self._reactor)
        self.wake()

    def wake(self) -> None:
        """There may be something new."""
        self._woken = True
        if self._running and self._busy is None and not self._retry:
            self._go(None)

    @property
    def oldest(self) -> int | None:
        """When the oldest event happened that the sink has not taken; milliseconds since the Unix epoch."""
        return min((one.event.at for one in self._page), default=None)

    def forget(self, lost: Lost, before: int) -> None:
        """Events that the sink has not taken are in the log no more: what happened before `before` (milliseconds since the
        Unix epoch)."""
        self.lost += lost.count
        self._untold = lost if self._untold is None else self._untold + lost
        self._page = [one for one in self._page if one.event.at >= before]
        if not self._page and self._timer is not None:
            self._go(None)

    def look(self, now: int, limit: int) -> None:
        """Say what was lost, and once when half the time is over within which the sink must take an event. `now`:
        milliseconds since the Unix epoch; `limit`: milliseconds, 0 = none."""
        lost, self._untold = self._untold, None
        if lost is not None:
            log.error(
                "event sink {name} has lost {lost.count} events of {first} to {last}: it did not take them within {days:g} days "
                "([events] keep_undelivered)",
                name=self.name,
                lost=lost,
                first=iso_time(lost.first),
                last=iso_time(lost.last),
                days=limit / DAY_MS,
            )
        oldest = self.oldest
        age = now - oldest if oldest is not None else 0
        if limit and age >= limit / 2 and not self._warned:
            self._warned = True
            log.warn(
                "event sink {name} is {age:.1f} days behind, and loses what it does not take within {days:g} days: see to it, take it "
                "out of the configuration, or set [events] keep_undelivered higher. {why}",
                name=self.name,
                age=age / DAY_MS,
                days=limit / DAY_MS,
                why=self.failing,
            )
        elif age < limit / 2 and not self.failing:
            self._warned = False

    async def stop(self) -> None:
        """Give up what is under way, it comes again, and close the sink."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._busy is not None:
            self._busy.cancel()
        try:
            await defer.maybeDeferred(self._sink.close)
        except Exception:
            log.failure("closing sink {name} failed", name=self.name)

    def _go(self, _: None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._busy is not None or not self._running:
            return
        self._woken = False
        self._busy = Deferred.fromCoroutine(self._round())
        self._busy.addCallbacks(self._done, self._failed).addErrback(_bug)

    async def _round(self) -> bool:
        """Whether there may be more at once."""
        if self._seq is None:
            self._seq = await self._store.position(self.name)
        if not self._page:
            self._until, self._page = await self._store.read(self._seq, PAGE, self.types)
        page = self._page
        if page:
            await self._give(page)
            self.delivered += len(page)
        more = bool(page)
        if self._until > self._seq:
            self._seq, self._page = self._until, []
            await self._store.advance(self.name, self._seq)
        return more

    def _give(self, page: list[Logged]) -> Deferred[Any]:
        given = self._deliver_in_thread(page) if self._sink.threaded else defer.maybeDeferred(self._sink.deliver, page)
        return given.addTimeout(self._patience, self._reactor, self._late)

    def _deliver_in_thread(self, page: list[Logged]) -> Deferred[Any]:
        """In a thread of this page's own: one that blocks for good keeps nobody waiting, the end of the process
        included."""
        if self._in_thread:
            return defer.fail(TookTooLong("is still busy with what it was given before"))
        self._in_thread = True
        given: Deferred[Any] = Deferred()

        def work() -> None:
            try:
                result = self._sink.deliver(page)
            except Exception:
                result = Failure()
            self._reactor.callFromThread(answer, result)

        def answer(result: Any) -> None:
            self._in_thread = False
            given.errback(result) if isinstance(result, Failure) else given.callback(None)

        Thread(target=work, name=f"sink {self.name}", daemon=True).start()
        return given

    def _late(self, result: Any, seconds: float) -> Any:
        raise TookTooLong(f"did not answer within {seconds:g} s")

    def _done(self, more: bool) -> None:
        self._busy = None
        if self.failing:
            self.failing = ""
            log.info("event sink {name} takes events again", name=self.name)
        self._retry = 0.0
        if self._running:
            self._timer = self._timers.after(0.0 if more or self._woken else LOOK, self._go)

    def _failed(self, failure: Failure) -> None:
        self._busy = None
        if not self._running:
            return
        if not self.failing:
            if failure.check(CalltrackError, OSError):
                log.error("event sink {name}: {why}; events wait for it", name=self.name, why=failure.value)
            else:
                log.failure("event sink {name} failed; events wait for it", failure=failure, name=self.name)
        self.failing = str(failure.value) or failure.type.__name__
        self._retry = min(max(FIRST_RETRY, self._retry * 2), LAST_RETRY)
        self._timer = self._timers.after(self._retry * random.uniform(0.8, 1.2), self._go)


class TookTooLong(CalltrackError):
    """A sink has had its time."""


def _bug(failure: Failure) -> None:
    log.failure("an event feed failed on a bug", failure=failure)
