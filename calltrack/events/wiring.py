"""Everything that events need while the service runs: the journal, a feed for each sink, the outbox of webhooks,
forgetting what is old.

Knows the parts by their interfaces; decides nothing about any event.
"""

from __future__ import annotations

import secrets
from typing import Any, Callable

from twisted.internet import defer
from twisted.logger import Logger

from calltrack.errors import NoSuchObject, StoreUnavailable
from calltrack.events.derived import of_peer, of_pool
from calltrack.events.feed import DAY_MS, Feed
from calltrack.events.journal import EventJournal
from calltrack.events.model import Event
from calltrack.events.names import resolve_by
from calltrack.events.outbox import Outbox, VisitFields, nothing_of_visits
from calltrack.events.payloads import fields_of_visit
from calltrack.events.posting import Poster
from calltrack.events.sinks import make_sink
from calltrack.interfaces import IVisitStore
from calltrack.timers import Timers

log = Logger()

PRUNE_INTERVAL = 600.0  # seconds from one look for what is old to the next


class Events:
    """`settings` has `events`, `sinks`, `webhooks` and `web`; `store`: an IEventStore with `observers`, which are called when
    this process has added to it; `webhooks`: the store of those; `wall_ms()`: milliseconds since the Unix epoch;
    `visits`: where visits are looked up for the bodies of webhooks."""

    def __init__(
        self,
        settings: Any,
        store: Any,
        webhooks: Any,
        reactor: Any,
        timers: Timers,
        wall_ms: Callable[[], int],
        visits: IVisitStore | None = None,
    ) -> None:
        self._keep_ms = int(settings.events.keep * DAY_MS)
        undelivered = settings.events.keep_undelivered
        self._undelivered_ms = max(self._keep_ms, int(undelivered * DAY_MS)) if undelivered else 0
        self._store = store
        self._timers = timers
        self._wall_ms = wall_ms
        self.journal = EventJournal(store, timers)
        self.feeds = [
            Feed(f"sink:{sink.name}", make_sink(sink.kind, sink.options), store, reactor, timers, sink.events)
            for sink in settings.sinks
        ]
        limits = settings.webhooks
        self.poster = make_poster(reactor, limits)
        fields = visit_fields(visits) if visits is not None else nothing_of_visits
        link = recording_links(settings.web.public_url)
        self.outbox = Outbox(webhooks, timers, wall_ms, self.poster.post, limits.give_up * 3600, fields, link)
        self._pruning: defer.Deferred[None] | None = None
        self._running = False

    def publish(self, event: Event) -> None:
        """Tell of something that comes with no record of its own. Never waits and never raises."""
        self.journal.publish(event)

    def peer_news(self, news: Any) -> None:
        """An observer for the pings."""
        self.publish(of_peer(news, new_event_id(news.type)))

    def pool_news(self, news: Any) -> None:
        """An observer for the visits; what they write down themselves is in the log with it."""
        event = of_pool(news, new_event_id("pool"))
        if event is not None:
            self.publish(event)

    def start(self) -> None:
        self._running = True
        for feed in self.feeds:
            self._store.observers.append(feed.wake)
            feed.start()
        self._store.observers.append(self.outbox.wake)
        self.outbox.start()
        self._timers.after(PRUNE_INTERVAL, self._prune)

    async def stop(self) -> None:
        """Bring what waits into the log, then end the feeds."""
        self._running = False
        await self.journal.stop()
        for feed in self.feeds:
            if feed.wake in self._store.observers:
                self._store.observers.remove(feed.wake)
            await feed.stop()
        if self.outbox.wake in self._store.observers:
            self._store.observers.remove(self.outbox.wake)
        await self.outbox.stop()
        await self.poster.close()
        if self._pruning is not None:
            self._pruning.cancel()

    def _prune(self, _: None) -> None:
        if self._running:
            self._pruning = defer.Deferred.fromCoroutine(self._forget_old())
            self._pruning.addErrback(lambda failure: log.failure("forgetting old events failed", failure=failure))

    async def _forget_old(self) -> None:
        more, now = 0, self._wall_ms()
        overdue = now - self._undelivered_ms if self._undelivered_ms else 0
        try:
            pruned = await self._store.prune(now - self._keep_ms, {feed.name: feed.types for feed in self.feeds}, overdue)
            more = pruned.count
            for feed in self.feeds:
                if feed.name in pruned.lost:
                    feed.forget(pruned.lost[feed.name], overdue)
        except (StoreUnavailable, defer.CancelledError):
            pass  # there is a next time
        finally:
            self._pruning = None
        if not more:
            for feed in self.feeds:
                feed.look(now, self._undelivered_ms)
        if self._running:
            self._timers.after(1.0 if more else PRUNE_INTERVAL, self._prune)


def recording_links(public_url: str) -> Callable[[Event], str]:
    """Says where a call's recording is on the page that browsers reach at `public_url`; "" when there is none."""

    def link(event: Event) -> str:
        recording = getattr(event, "recording", None)
        if not public_url or not recording or not (recording.name or recording.capture):
            return ""
        return f"{public_url.rstrip('/')}/projects/{event.project}/calls/{event.subject}/recording"

    return link


def visit_fields(visits: IVisitStore) -> VisitFields:
    """Looks a visit up and says what it tells, with Roistat's names."""

    async def fields(project: int, number: int) -> dict[str, Any]:
        try:
            return fields_of_visit(await visits.get(project, number))
        except NoSuchObject:  # its time was over
            return {}

    return fields


def make_poster(reactor: Any, settings: Any) -> Poster:
    """What posts to webhooks, as ``[webhooks]`` says."""
    return Poster(reactor, resolve_by(reactor), allow_private=settings.allow_private, timeout=settings.timeout)


def new_event_id(kind: str) -> str:
    """Of an event that is told once, when it happens."""
    return f"{secrets.token_hex(12)}.{kind}"
