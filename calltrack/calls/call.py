"""A call: one inbound dialog and the outbound dialogs made for it; leaves exactly one record.

ROUTING -> HUNTING -> TALKING -> ENDED. Its sides tell it what happens by neutral events; it decides, and
tells the other side what to do. Knows no transactions and no headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.calls import events
from calltrack.calls.admission import Admission
from calltrack.calls.attempt import Attempt
from calltrack.calls.destinations import Destination
from calltrack.calls.hunting import Hunt
from calltrack.calls.inbound import InboundSide
from calltrack.calls.ladder import Ladder
from calltrack.calls.limits import Limit, shared_limit
from calltrack.calls.making import make_side
from calltrack.calls.outbound import ELSEWHERE, OutboundSide
from calltrack.calls.outcomes import NO_TARGET, UNKNOWN_NUMBER, Outcome, of_unusable_answer
from calltrack.calls.record import Ending, Times, added, last_figures, record_of
from calltrack.calls.renegotiation import Renegotiation
from calltrack.calls.sides import UsageSide
from calltrack.calls.transfer import Transfer, take_on
from calltrack.errors import MediaUnavailable, SIPError
from calltrack.sip.exchanges import retry_after
from calltrack.sip.layer import try_later
from calltrack.sip.transactions import ServerTransaction
from calltrack.tracking.model import MediaFigures, Route

if TYPE_CHECKING:
    from calltrack.calls.engine import CallEngine

log = Logger()

ROUTING, HUNTING, TALKING, ENDED = "routing", "hunting", "talking", "ended"
NORMAL_CLEARING = 16  # Q.850


class Call:
    """See the module. Made by `CallEngine` for an admitted INVITE; `begin` starts it.

    Raises MalformedMessage from the constructor when the INVITE cannot make a dialog.
    """

    __slots__ = (
        "_attempts", "_carried", "_changes", "_engine", "_give_up_lookup", "_hunt", "_limits", "_media", "_parties",
        "_sides", "_transfer", "admission", "call_ids", "caller", "id", "ladder", "merge_key", "recorded", "route", "state",
        "target", "times", "winner",
    )  # fmt: skip

    def __init__(self, engine: CallEngine, call_id: str, transaction: ServerTransaction, admission: Admission):
        self._engine = engine
        self.id = call_id
        self.times = Times(engine.timers.now(), engine.wall_ms())
        self.admission = admission
        self.call_ids: list[bytes] = []  # of its dialogs, for the ladder
        self.merge_key: tuple[bytes, bytes, int] | None = None  # what a merged INVITE has in common with its own
        self.state = ROUTING
        self.route: Route | None = None
        self.target = ""  # label of the target that answered, or of the last one tried
        self.ladder = Ladder(self.times.born)
        self.caller = InboundSide(self, engine.agent, transaction)
        self.winner: OutboundSide | None = None
        self.recorded: Any = None  # the media session, when it is recorded
        self._give_up_lookup: Callable[[], None] | None = None
        self._limits: list[tuple[Limit, ...]] = []
        self._media: Any = None  # IMediaSession
        self._hunt: Hunt | None = None
        self._attempts: dict[int, Attempt] = {}  # those not over, by number of the target
        self._sides: dict[OutboundSide, Attempt] = {}
        self._parties = 0
        self._changes: Renegotiation | None = None
        self._transfer: Transfer | None = None  # while one is under way
        self._carried: MediaFigures | None = None  # of the media before a transfer

    # Routing

    def begin(self) -> None:
        engine, admission = self._engine, self.admission
        self.caller.transaction.respond(100)
        trunk = admission.trunk
        limits = (
            shared_limit("engine", engine.settings.max_calls),
            shared_limit(f"trunk:{trunk.name}", trunk.max_calls, trunk.max_rate),
        )
        if not self._take(limits, 503):
            return
        give_up = engine.lookup.ask(admission.dialled, admission.caller, self.times.created_ms / 1000, self._routed, self.id)
        if self.state == ROUTING:
            self._give_up_lookup = give_up

    def _take(self, limits: tuple[Limit, ...], status: int) -> bool:
        """Count the call under `limits`; when one is reached, the call is refused."""
        reached = self._engine.limits.take(limits)
        if not reached:
            self._limits.append(limits)
            return True
        kind = "CONGESTION" if status == 503 else "BUSY"
        self._refuse(Outcome(kind, status, f"limit:{reached}", 34 if status == 503 else 17), retry=status == 503)
        return False

    def _routed(self, route: Route | None) -> None:
        self._give_up_lookup = None
        if self.state != ROUTING:
            return
        if route is None:
            self._refuse(UNKNOWN_NUMBER)
            return
        self.route = route
        project = shared_limit(f"project:{route.project}", route.project_max_calls, route.project_max_rate)
        if not self._take((project,), 486):
            return
        if not route.targets:
            self._refuse(NO_TARGET)
            return
        try:
            self._media = self._engine.open_media(self, route, self.media_timeout)
        except MediaUnavailable as problem:
            self._refuse(Outcome("CONGESTION", 503, f"media: {problem}", 34), retry=True)
            return
        self.state = HUNTING
        self._engine.ledger.begin(record_of(self, self._engine.timers.now()))
        self._hunt = Hunt(len(route.targets), route.ring == "all")
        self._ring(self._hunt.start())

    # Hunting

    def _ring(self, numbers: list[int]) -> None:
        assert self.route is not None
        targets, timers = self.route.targets, self._engine.timers
        attempts = [Attempt(self, number, targets[number], timers) for number in numbers]
        self._attempts.update((attempt.number, attempt) for attempt in attempts)
        for attempt in attempts:
            if attempt.over or self.state != HUNTING:
                continue
            self.target = attempt.target.label
            attempt.start()
            rounds = self._engine.destinations.of(attempt.target, self.route)
            rounds.addCallback(attempt.ring).addErrback(attempt.nowhere).addErrback(_bug, self.id)

    def side_for(self, attempt: Attempt, destination: Destination) -> OutboundSide | Outcome:
        """A side for one destination of a target."""
        counts = attempt not in self._sides.values()  # the devices of an account ring together and are one call
        side = make_side(self, self._engine, self, attempt.target, destination, self._offer, counts)
        if isinstance(side, OutboundSide):
            self._sides[side] = attempt
        return side

    def next_party(self) -> str:
        """A name for one more party of the call."""
        self._parties += 1
        return f"target-{self._parties}"

    def _offer(self, party: str, allow: tuple[str, ...], host: str) -> defer.Deferred[bytes]:
        sdp = self.caller.sdp
        if not sdp:
            return defer.succeed(b"")
        return self._media.offer("caller", party, sdp, self.caller.host, host, allow)

    def attempt_failed(self, attempt: Attempt, outcome: Outcome) -> None:
        self._attempts.pop(attempt.number, None)
        if self.state != HUNTING or self._hunt is None:
            return
        hunt = self._hunt
        self._ring(hunt.failed(attempt.number, outcome))  # all that is left may fail in there, and the call be over
        if hunt.exhausted and self.state == HUNTING and self.winner is None:
            self._refuse(hunt.outcome)

    def dropped(self, side: OutboundSide) -> None:
        """A side did not get the call."""
        attempt = self._sides.pop(side, None)
        if attempt is not None:
            beside = next((other for other, its in self._sides.items() if its is attempt and not other.limits), None)
            if beside is not None:
                beside.limits = side.limits
            else:
                self._engine.limits.give_back(side.limits)
            if self._media is not None:
                self._media.drop(side.party)
            side.release()

    # What the sides say

    def heard(self, side: UsageSide, event: events.Event) -> None:
        """A side has news; see `events`."""
        _HEARD[type(event)](self, side, event)

    def _ringing(self, side: OutboundSide, event: events.Ringing) -> None:
        if self.state != HUNTING or self.winner is not None or side not in self._sides:
            return
        if self.times.ringing is None:
            self.times.ringing = self._engine.timers.now()
        if not event.sdp or not self.caller.sdp:
            self.caller.ring(event.status, b"")
            return
        answer = self._media.answer(side.party, "caller", event.sdp, side.host, self.caller.host)
        answer.addCallback(lambda sdp: self.caller.ring(event.status, sdp))
        answer.addErrback(self._no_early_media, event).addErrback(_bug, self.id)

    def _no_early_media(self, failure: Failure, event: events.Ringing) -> None:
        failure.trap(SIPError)
        self.caller.ring(event.status, b"")

    def _failed(self, side: OutboundSide, event: events.Failed) -> None:
        attempt = self._sides.get(side)
        if attempt is not None:
            attempt.heard_failure(side, event)

    def _answered(self, side: OutboundSide, event: events.Answered) -> None:
        attempt = self._sides.get(side)
        if attempt is None or self.winner is not None or self.state != HUNTING:
            side.end(ELSEWHERE)
            return
        self.winner = side
        self.target = attempt.target.label
        self._hunt = None  # nobody else is rung
        for other in list(self._attempts.values()):
            other.stop(side, ELSEWHERE)
        self._attempts.clear()
        self._changes = Renegotiation(self._media)
        if self.caller.sdp:
            side.acknowledge()
            described = self._media.answer(side.party, "caller", event.sdp, side.host, self.caller.host)
        else:
            self._changes.expect_answer(self.caller, side, side.acknowledge)
            described = self._media.offer(side.party, "caller", event.sdp, side.host, self.caller.host)
        described.addCallbacks(self._talk, self._unusable_answer).addErrback(_bug, self.id)

    def _talk(self, sdp: bytes) -> None:
        if self.state != HUNTING:
            return  # the caller gave up meanwhile
        self.state = TALKING
        self.times.answered = self._engine.timers.now()
        self._media.connect(self.winner.party)
        self._engine.ledger.begin(record_of(self, self._engine.timers.now()))
        self.caller.answer(sdp, keep=bool(self.route.transfers))

    def _unusable_answer(self, failure: Failure) -> None:
        if failure.check(SIPError):
            self._refuse(of_unusable_answer(failure.value))
        else:
            self._refuse(Outcome("CONGESTION", 500, "a bug, see the log", 41))
            failure.raiseException()

    def _cancelled(self, side: InboundSide, event: events.Cancelled) -> None:
        if self.state in (ROUTING, HUNTING):
            side.refuse(487)
            self.end("CANCEL", "caller", 487, event.reason and "cancelled: " + event.reason, NORMAL_CLEARING)

    def _acknowledged(self, side: UsageSide, event: events.Acknowledged) -> None:
        if self._changes is not None:
            self._changes.acknowledged(side, event.sdp)

    def _reoffered(self, side: UsageSide, event: events.Reoffered) -> None:
        other = self.other(side)
        if other is not None:
            self._changes.reoffered(side, other, event.reply)
        elif side is self.caller:  # its first offer has no answer yet
            event.reply.refuse(500, retry_after())
        else:  # it has not answered our first offer, or the caller cannot be asked yet
            event.reply.refuse(491)

    def _informed(self, side: UsageSide, event: events.Informed) -> None:
        other = self.other(side)
        if other is None:
            event.reply.refuse(481)
        else:
            self._changes.informed(other, event.reply)

    def other(self, side: UsageSide) -> UsageSide | None:
        """The side that `side` talks with; None when nobody does."""
        if self.state != TALKING or side not in (self.caller, self.winner):
            return None
        return self.winner if side is self.caller else self.caller

    def _ended(self, side: UsageSide, event: events.Ended) -> None:
        """A peer hung up or was lost. The caller's BYE before our 200 counts as giving up; a target that has handed the
        caller on may go."""
        if self.state == ENDED or side not in (self.caller, self.winner):
            return
        who = "caller" if side is self.caller else "target"
        if self._transfer is not None and who == "target":
            return
        if self.state == TALKING:
            self.end("ANSWER", who, 200, event.cause, NORMAL_CLEARING)
        elif who == "caller":
            self.caller.refuse(event.status)
            self.end("CANCEL", who, event.status, event.cause, NORMAL_CLEARING)
        else:
            self._refuse(Outcome("CONGESTION", 480, event.cause, 31))

    # Transfers

    def _referred(self, side: UsageSide, event: events.Referred) -> None:
        """REFER: only of the target that was called, and where the project allows it."""
        if self.state != TALKING or side is not self.winner or self._transfer is not None or not self.route.transfers:
            event.reply.refuse(603)
            return
        self._transfer = take_on(self, self._engine, event.reply)
        if self._transfer is not None:
            self._transfer.begin()

    def transferred(self, transfer: Transfer) -> None:
        """The caller talks with whom it was transferred to."""
        self._engine.limits.give_back(self.winner.limits)
        self.winner, self.target, self._transfer = transfer.side, transfer.target.label, None
        self.winner.call = self
        last_figures(self._media).addCallback(self._carry).addErrback(_bug, self.id)
        self._media, self._changes = transfer.media, Renegotiation(transfer.media)
        self._engine.ledger.begin(record_of(self, self._engine.timers.now()))

    def not_transferred(self, reason: str) -> None:
        """The caller stays with the target that it talks with, if that has not hung up."""
        self._transfer = None
        if self.winner.usage.ended:
            self.end("ANSWER", "target", 200, f"transfer failed: {reason}", 31)

    def _carry(self, media: MediaFigures) -> None:
        self._carried = media if self._carried is None else added(self._carried, media)

    # The end

    def media_timeout(self) -> None:
        """No packet has come for the configured time."""
        if self.state == TALKING:
            self.end("ANSWER", "engine", 200, "media-timeout", 102)

    def hang_up(self, reason: str) -> None:
        """End the call from inside, such as when the service stops. `reason` goes into the record."""
        if self.state == TALKING:
            self.end("ANSWER", "engine", 200, reason, 31)
        elif self.state != ENDED:
            self._refuse(Outcome("CONGESTION", 503, reason, 41), hangup="engine")

    def _refuse(self, outcome: Outcome, retry: bool = False, hangup: str = "") -> None:
        """Tell the caller that nobody took the call."""
        lines = (b"Reason: Q.850;cause=%d" % outcome.q850,) if outcome.q850 else ()
        if retry:
            lines += (try_later(),)
        self.caller.refuse(outcome.sip_code, lines, outcome.warning)
        self.end(outcome.status, hangup, outcome.sip_code, outcome.reason, outcome.q850)

    def end(self, status: str, hangup: str, sip_code: int, reason: str, q850: int) -> None:
        """The one way out: ends what is left of every side, frees everything, finishes the record."""
        if self.state == ENDED:
            return
        self.state = ENDED
        engine = self._engine
        self.times.ended = engine.timers.now()
        if self._give_up_lookup is not None:
            self._give_up_lookup()
        for attempt in (*self._attempts.values(), *((self._transfer,) if self._transfer is not None else ())):
            attempt.stop()
        self._attempts.clear()
        if self._changes is not None:
            self._changes.abandon()
        line = (b"Reason: Q.850;cause=%d" % q850,) if q850 else ()
        self.caller.end(*line)
        if self.winner is not None:
            self.winner.end(*line)
            self._sides.pop(self.winner, None)
            engine.limits.give_back(self.winner.limits)
        for limits in self._limits:
            engine.limits.give_back(limits)
        ending = Ending(status, hangup, sip_code, reason, q850)
        last_figures(self._media).addCallback(self._measured, ending).addErrback(_bug, self.id)
        self.caller.release()
        if self.winner is not None:
            self.winner.release()
        self._media = self._hunt = self._changes = self._transfer = None

    def _measured(self, media: MediaFigures, ending: Ending) -> None:
        if self._carried is not None:
            media = added(self._carried, media)
        self._engine.ended(self, record_of(self, self.times.ended, ending, media))


_HEARD: dict[type, Callable[..., None]] = {
    events.Ringing: Call._ringing,
    events.Failed: Call._failed,
    events.Answered: Call._answered,
    events.Cancelled: Call._cancelled,
    events.Acknowledged: Call._acknowledged,
    events.Reoffered: Call._reoffered,
    events.Informed: Call._informed,
    events.Ended: Call._ended,
    events.Referred: Call._referred,
}


def _bug(failure: Failure, call_id: str) -> None:
    log.failure("a call failed on a bug", failure=failure, call_id=call_id)
