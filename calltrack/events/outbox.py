"""Delivers events to webhooks: at least once, in order per call, patient with endpoints that are down.

Each webhook has a `Line` of its own: a window of deliveries in memory, the rest in the store. What becomes of them is
written down in batches; what was delivered but not written down when the process dies is delivered again, with the
same id. Knows the stores by what it asks of them, and time; no HTTP beyond `post`.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import StoreUnavailable
from calltrack.events.line import Line, Post
from calltrack.events.webhooks import Settled, Webhook
from calltrack.timers import Timer, Timers

log = Logger()

LOOK = 1.0  # seconds from one look to the next for changes of webhooks and for what other processes have added
GATHER = 0.1  # seconds that outcomes gather before they are written
RETRY = 1.0  # seconds after which a store that is away is asked again

# (project, visit number) -> Deferred of what the visit tells, by `payloads.VISIT_FIELDS`
VisitFields = Callable[[int, int], Awaitable[dict[str, Any]]]


async def nothing_of_visits(project: int, visit: int) -> dict[str, Any]:
    """As long as there are no visits."""
    return {}


class Outbox:
    """`webhooks`: as `storage.sqlite_webhooks.SQLiteWebhooks`; `post(url, headers, body)`: as `posting.Poster.post`;
    `give_up`: seconds from an event to the end of trying; `link(event)`: where the recording of its call is."""

    def __init__(
        self,
        webhooks: Any,
        timers: Timers,
        wall_ms: Callable[[], int],
        post: Post,
        give_up: float,
        visit_fields: VisitFields = nothing_of_visits,
        link: Callable[[Any], str] = lambda event: "",
    ) -> None:
        self.lines: dict[int, Line] = {}
        self.timers = timers
        self.wall_ms = wall_ms
        self.post = post
        self.give_up_ms = int(give_up * 1000)
        self.visit_fields = visit_fields
        self.link = link
        self.store = webhooks
        self._version: int | None = None
        self._outcomes: list[Settled] = []
        self._written: list[defer.Deferred[None]] = []  # who waits for the outcomes up to now
        self._writing = False
        self._looking: defer.Deferred[None] | None = None
        self._timer: Timer | None = None
        self._gathering: Timer | None = None
        self._running = False
        self._away = False

    def start(self) -> None:
        """Read the webhooks and follow them, and deliver."""
        self._running = True
        self._look(None)

    def wake(self) -> None:
        """There may be new events."""
        if self._running:
            for line in self.lines.values():
                line.refill()

    async def stop(self) -> None:
        """Give up what is under way, it comes again; write down what is known."""
        self._running = False
        for timer in (self._timer, self._gathering):
            if timer is not None:
                timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
        for line in self.lines.values():
            line.stop()
        if self._outcomes or self._writing:
            written: defer.Deferred[None] = defer.Deferred()
            self._written.append(written)
            self._flush(None)
            await written

    # For the lines

    def settle(self, outcome: Settled) -> None:
        """Write down what became of a delivery, soon; the line is told by `settled`."""
        self._outcomes.append(outcome)
        if self._gathering is None and not self._writing:
            self._gathering = self.timers.after(GATHER, self._flush)

    # Inside

    def _look(self, _: None) -> None:
        self._looking = defer.Deferred.fromCoroutine(self._follow())
        self._looking.addErrback(_bug)

    async def _follow(self) -> None:
        try:
            version = await self.store.version()
            if version != self._version:
                self._version, webhooks = await self.store.snapshot()
                self._take(webhooks)
            self._returned()
        except StoreUnavailable as problem:
            self._gone(problem)
        except defer.CancelledError:
            return
        finally:
            self._looking = None
        if self._running:
            for line in list(self.lines.values()):
                line.refill()
            self._timer = self.timers.after(LOOK, self._look)

    def _take(self, webhooks: list[Webhook]) -> None:
        """Webhooks have been added or removed, or deliveries planned from outside."""
        found = {webhook.id: webhook for webhook in webhooks}
        for number in list(self.lines):
            if number not in found:
                self.lines.pop(number).stop()
        for webhook in webhooks:
            line = self.lines.get(webhook.id)
            if line is None:
                self.lines[webhook.id] = Line(self, webhook)
            else:
                line.webhook = webhook
                line.look_again()

    def _flush(self, _: None) -> None:
        self._gathering = None
        if self._writing:
            return
        outcomes, self._outcomes = self._outcomes, []
        waiting, self._written = self._written, []
        self._writing = True
        writing = defer.maybeDeferred(self.store.settle, outcomes)
        writing.addCallbacks(self._have_written, self._not_written, (outcomes, waiting), None, (outcomes, waiting), None)
        writing.addErrback(_bug)

    def _have_written(self, _: None, outcomes: list[Settled], waiting: list[defer.Deferred[None]]) -> None:
        self._writing = False
        self._returned()
        for outcome in outcomes:
            line = self.lines.get(outcome.webhook)
            if line is not None:
                line.settled(outcome)
        for one in waiting:
            one.callback(None)
        if self._outcomes or self._written:
            self._flush(None)

    def _not_written(self, failure: Failure, outcomes: list[Settled], waiting: list[defer.Deferred[None]]) -> None:
        self._writing = False
        self._outcomes = outcomes + self._outcomes
        if failure.check(StoreUnavailable):
            self._gone(failure.value)
        else:
            log.failure("deliveries cannot be written down, they wait", failure=failure)
        for one in [*waiting, *self._written]:  # they stop: what is not written down is delivered again
            one.callback(None)
        self._written = []
        if self._running:
            self._gathering = self.timers.after(RETRY, self._flush)

    def _gone(self, problem: Exception) -> None:
        if not self._away:
            self._away = True
            log.error("webhooks wait for the store: {problem}", problem=problem)

    def _returned(self) -> None:
        if self._away:
            self._away = False
            log.info("the store answers webhooks again")


def _bug(failure: Failure) -> None:
    if not failure.check(defer.CancelledError):
        log.failure("webhooks failed on a bug", failure=failure)
