"""The deliveries of one webhook: which may be tried now, which wait, what a failure means for the others.

An endpoint that fails again and again counts as down: it is then tried with one delivery at a time, later and later,
until it takes one. Knows deliveries and time; reads and writes nothing itself.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Callable, Iterable

from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack import __version__
from calltrack.errors import InvalidField, StoreUnavailable
from calltrack.events import ga4
from calltrack.events.payloads import body_of
from calltrack.events.posting import Answer, PostFailed
from calltrack.events.signing import signature_headers
from calltrack.events.webhooks import Attempt, Delivery, Settled, Webhook

if TYPE_CHECKING:
    from calltrack.events.outbox import Outbox
    from calltrack.timers import Timer

log = Logger()

WINDOW = 200  # deliveries of one webhook in memory
AT_ONCE = 8  # requests under way to one endpoint
DOWN_AFTER = 5  # failures in a row
FIRST_RETRY, LAST_RETRY = 2.0, 3600.0  # seconds: of one delivery
LAST_PROBE = 300.0  # seconds: of an endpoint that is down
VISIT_TIME = 2.0  # seconds that a visit's fields may take; without them the event goes all the same

Post = Callable[[str, Iterable[tuple[str, str]], bytes], "defer.Deferred[Answer]"]


def back_off(failures: int, longest: float) -> float:
    """Seconds to wait after so many failures in a row: doubled each time, spread by a quarter."""
    return min(FIRST_RETRY * 2 ** min(failures - 1, 30), longest) * random.uniform(0.75, 1.25)


class Line:
    """See the module. Told of new events by `refill`, of what was written down by `settled`."""

    def __init__(self, outbox: Outbox, webhook: Webhook) -> None:
        self.webhook = webhook
        self.failures = 0  # in a row, whichever deliveries
        self.held: dict[int, Delivery] = {}  # by seq: everything in memory, what is settled but not written included
        self._outbox = outbox
        self._waiting: dict[str, list[int]] = {}  # by subject: seqs in order, the one under way first
        self._under_way: dict[int, defer.Deferred[None]] = {}
        self._after = 0  # the highest seq that was read
        self._reading: defer.Deferred[None] | None = None
        self._again = False  # read once more when this reading is done
        self._going = self._go_again = False
        self._probe_at = 0  # while the endpoint is down: when it is tried next, milliseconds since the Unix epoch
        self._timer: Timer | None = None
        self._running = True

    @property
    def down(self) -> bool:
        return self.failures >= DOWN_AFTER

    @property
    def oldest(self) -> int | None:
        """When the oldest event happened that has not been delivered; milliseconds since the Unix epoch."""
        return min((delivery.logged.event.at for delivery in self.held.values()), default=None)

    def stop(self) -> None:
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()
        for posting in list(self._under_way.values()):
            posting.cancel()

    def look_again(self) -> None:
        """Deliveries may have been planned from outside, anywhere in the log."""
        self._after = 0
        self.refill()

    # Reading

    def refill(self) -> None:
        """Read what there is room for."""
        if not self._running or len(self.held) > WINDOW // 2:
            return
        if self._reading is not None:
            self._again = True
            return
        outbox = self._outbox
        room = WINDOW - (len(self.held) if self._after else 0)
        too_old = outbox.wall_ms() - outbox.give_up_ms if self.down else 0
        self._reading = defer.maybeDeferred(outbox.store.refill, self.webhook, self._after, room, too_old)
        self._reading.addCallback(self._take, room).addErrback(self._not_read)

    def _take(self, found: list[Delivery], room: int) -> None:
        self._reading = None
        if not self._running:
            return
        for delivery in found:
            self._after = max(self._after, delivery.seq)
            if delivery.seq not in self.held:
                self.held[delivery.seq] = delivery
                waiting = self._waiting.setdefault(delivery.logged.event.subject, [])
                waiting.append(delivery.seq)
                if len(waiting) > 1 and waiting[-2] > delivery.seq:  # a replay is older than what waits
                    first = waiting[:1] if waiting[0] in self._under_way else []
                    waiting[len(first) :] = sorted(waiting[len(first) :])
        again, self._again = self._again or len(found) == room, False
        self._go(None)
        if again and len(self.held) <= WINDOW // 2:
            self.refill()

    def _not_read(self, failure: Failure) -> None:
        self._reading = None
        if self._running and not failure.check(StoreUnavailable, defer.CancelledError):
            log.failure("deliveries of webhook {id} cannot be read", failure=failure, id=self.webhook.id)

    # Trying

    def _go(self, _: None) -> None:
        """Try what may be tried now; wait for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._going:  # an attempt that ended at once
            self._go_again = True
            return
        self._going = self._go_again = True
        try:
            while self._go_again and self._running:
                self._go_again = False
                self._try_what_is_due()
        finally:
            self._going = False

    def _try_what_is_due(self) -> None:
        now = self._outbox.wall_ms()
        at_once = 1 if self.down else AT_ONCE
        if self.down and self._probe_at > now:
            self._wait(self._probe_at - now)
            return
        heads = sorted(waiting[0] for waiting in self._waiting.values() if waiting[0] not in self._under_way)
        soonest = None
        for seq in heads:
            if len(self._under_way) >= at_once or self._go_again:
                return
            delivery = self.held[seq]
            if delivery.due <= now or self.down:
                self._try(delivery)
            elif soonest is None or delivery.due < soonest:
                soonest = delivery.due
        if soonest is not None:
            self._wait(soonest - self._outbox.wall_ms())

    def _wait(self, milliseconds: int) -> None:
        # Wall time may be set back: never longer than the longest wait that there is.
        self._timer = self._outbox.timers.after(min(max(milliseconds / 1000, 0.02), LAST_RETRY * 1.25), self._go)

    def _try(self, delivery: Delivery) -> None:
        self._under_way[delivery.seq] = defer.Deferred()  # a place that is taken, until it is known what by
        trying = defer.Deferred.fromCoroutine(self._deliver(delivery))
        if delivery.seq in self._under_way:
            self._under_way[delivery.seq] = trying
        trying.addErrback(self._bug, delivery)

    async def _deliver(self, delivery: Delivery) -> None:
        outbox, webhook, event = self._outbox, self.webhook, delivery.logged.event
        url, headers, body, error = webhook.url, (), b"", ""
        status, response, retry_after = 0, b"", ""
        visit = await self._visit(event)
        at, began = outbox.wall_ms(), outbox.timers.now()
        try:
            url, headers, body = request_of(webhook, event, visit, outbox.link(event), at)
        except InvalidField as problem:  # this event can never be sent so
            error = f"not sent: {problem}"
        else:
            try:
                answer = await outbox.post(url, headers, body)
                status, response, retry_after = answer.status, answer.body, answer.retry_after
                error = "" if 200 <= status < 300 else _refusal(status)
            except PostFailed as problem:
                error = str(problem)
        attempt = Attempt(
            webhook=webhook.id,
            event=event.id,
            type=event.type,
            number=delivery.attempts + 1,
            at=at,
            took=round((outbox.timers.now() - began) * 1000),
            status=status,
            error=error,
            url=webhook.url,
            request=body.decode("utf-8", "replace"),
            response=response.decode("utf-8", "replace"),
        )
        if not error:
            self._delivered(delivery, attempt)
        else:
            self._failed(delivery, attempt, retry_after, hopeless=error.startswith("not sent:"))

    async def _visit(self, event: Any) -> dict[str, Any]:
        visit = getattr(event, "visit", None)
        if visit is None or event.project is None or self.webhook.format == "events":
            return {}
        asking = defer.Deferred.fromCoroutine(self._outbox.visit_fields(event.project, visit))
        late = self._outbox.timers.after(VISIT_TIME, lambda _: asking.cancel())
        try:
            return await asking
        except (StoreUnavailable, defer.CancelledError):
            return {}
        finally:
            late.cancel()

    def _delivered(self, delivery: Delivery, attempt: Attempt) -> None:
        if self.down:
            log.info("webhook {id} takes events again", id=self.webhook.id)
            for seq, other in self.held.items():  # what failed because the endpoint was down need not wait longer
                self.held[seq] = Delivery(other.logged, other.attempts, 0)
        self.failures = 0
        self._finish(delivery, Settled(webhook=self.webhook.id, seq=delivery.seq, attempts=attempt.number, attempt=attempt))

    def _failed(self, delivery: Delivery, attempt: Attempt, retry_after: str, hopeless: bool) -> None:
        outbox, event = self._outbox, delivery.logged.event
        now = outbox.wall_ms()
        if not hopeless:
            self.failures += 1
            if self.failures == DOWN_AFTER:
                log.warn("webhook {id} is down: {why}", id=self.webhook.id, why=attempt.error)
        wait = back_off(attempt.number, LAST_RETRY)
        if retry_after.isdecimal() and len(retry_after) < 6:
            wait = max(wait, min(int(retry_after), LAST_RETRY))
        if self.down:
            self._probe_at = now + int(back_off(self.failures - DOWN_AFTER + 1, LAST_PROBE) * 1000)
        dead = hopeless or now - event.at >= outbox.give_up_ms
        outcome = Settled(
            webhook=self.webhook.id,
            seq=delivery.seq,
            attempts=attempt.number,
            due=None if dead else now + int(wait * 1000),
            dead=dead,
            attempt=attempt,
        )
        if dead:
            log.error(
                "webhook {id}: {event} is given up: {why}", id=self.webhook.id, event=event.id, why=attempt.error
            )
            self._finish(delivery, outcome)
            if self.down:
                self._bury(now)
            return
        self._under_way.pop(delivery.seq, None)
        self.held[delivery.seq] = Delivery(delivery.logged, attempt.number, outcome.due)
        outbox.settle(outcome)
        self._go(None)

    def _bury(self, now: int) -> None:
        """The endpoint is down: what is as old goes the same way, or each would be tried once more."""
        for seq, other in list(self.held.items()):
            subject = other.logged.event.subject
            waits = seq in self._waiting.get(subject, ()) and seq not in self._under_way
            if waits and now - other.logged.event.at >= self._outbox.give_up_ms:
                self._forget(seq, subject)
                self._outbox.settle(Settled(webhook=self.webhook.id, seq=seq, attempts=other.attempts, dead=True))

    def _finish(self, delivery: Delivery, outcome: Settled) -> None:
        """It is over for this delivery; it takes up room until that is written down."""
        self._under_way.pop(delivery.seq, None)
        self._forget(delivery.seq, delivery.logged.event.subject)
        self._outbox.settle(outcome)
        self._go(None)

    def _forget(self, seq: int, subject: str) -> None:
        waiting = self._waiting.get(subject, [])
        if seq in waiting:
            waiting.remove(seq)
            if not waiting:
                del self._waiting[subject]

    def settled(self, outcome: Settled) -> None:
        """An outcome is in the store."""
        if outcome.due is None:
            self.held.pop(outcome.seq, None)
            self.refill()

    def _bug(self, failure: Failure, delivery: Delivery) -> None:
        self._under_way.pop(delivery.seq, None)
        if not self._running or failure.check(defer.CancelledError):
            return
        log.failure("delivering {event} failed on a bug", failure=failure, event=delivery.logged.event.id)
        due = self._outbox.wall_ms() + int(LAST_PROBE * 1000)
        self.held[delivery.seq] = Delivery(delivery.logged, delivery.attempts, due)
        self._wait(int(LAST_PROBE * 1000))


def request_of(
    webhook: Webhook, event: Any, visit: dict[str, Any], link: str, now_ms: int
) -> tuple[str, tuple[tuple[str, str], ...], bytes]:
    """Where to post an event, with which header fields and which body. Raises InvalidField when the webhook's format
    cannot say it."""
    body = body_of(webhook, event, visit, link)
    if webhook.format == "ga4":
        if now_ms - event.at > ga4.MAX_AGE_MS:
            raise InvalidField("ga4", "timestamp_micros: Google Analytics takes no event that is older than 72 hours")
        url = ga4.address(webhook.url, webhook.measurement_id, webhook.api_secret)
        signed: tuple[tuple[str, str], ...] = ()
    else:
        url = webhook.url
        signed = signature_headers(webhook.secret, event.id, now_ms // 1000, body)
    content_type = webhook.content_type if webhook.format == "template" else "application/json"
    headers = (("content-type", content_type), ("user-agent", f"calltrack/{__version__}"), *signed, *webhook.headers)
    return url, headers, body


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"answered {status}: redirects are not followed; enter the address that it leads to"
    return f"answered {status}"
