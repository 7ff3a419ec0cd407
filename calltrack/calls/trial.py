"""A test call: rings one target as a call would, hangs up soon after the answer, and says in words what happened.

Knows attempts, outbound sides, the relay, and how many a project may make; leaves no record, for there was no caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.calls import events
from calltrack.calls.attempt import Attempt
from calltrack.calls.destinations import Destination
from calltrack.calls.forwarding import CallerID, forwarded
from calltrack.calls.limits import shared_limit
from calltrack.calls.outbound import OutboundSide
from calltrack.calls.outcomes import Outcome
from calltrack.errors import CalltrackError, MediaUnavailable, Sentence, TooManyRequests
from calltrack.tracking.model import Attribution, MediaFigures, Route, Target
from calltrack.tracking.visit_limits import Buckets

if TYPE_CHECKING:
    from calltrack.calls.engine import CallEngine

log = Logger()

TALK_TIME = 2.0  # seconds from the answer to our BYE
MAX_FORWARDS = 70
A_MINUTE = 6  # test calls of one project: they may go over trunks that are paid for

_CALLER = CallerID("calltrack", b"calltrack test call")
_OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=calltrack test call\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 9 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-16\r\na=sendrecv\r\n"
)
_FAILED = {"BUSY": Sentence("It is busy."), "NOANSWER": Sentence("Nobody answered.")}  # by the status of a call
_UNREACHED = Sentence("It cannot be reached.")


class TrialCalls:
    """The test calls of every project, and how many each has made lately."""

    def __init__(self, engine: CallEngine) -> None:
        self._engine = engine
        self._made = Buckets(engine.timers.now, A_MINUTE)

    def call(self, project: int, target: Target, dialled: str) -> defer.Deferred[tuple[bool, str]]:
        """Make one; see `TrialCall`. Raises TooManyRequests, and then rings nobody."""
        wait = self._made.take(project)
        if wait:
            raise TooManyRequests(
                Sentence(
                    "a project may make {most} test calls a minute; try again in {seconds} s", most=A_MINUTE, seconds=wait
                ),
                wait,
            )
        return TrialCall(self._engine, project, target, dialled).begin()


class TrialCall:
    """One test call to `target` of a project; `begin()` fires with whether it was answered, and what happened, in words."""

    def __init__(self, engine: CallEngine, project: int, target: Target, dialled: str) -> None:
        """`dialled`: the number that the call pretends to have come for."""
        self.id = "test-call-" + engine.new_call_id().decode()
        self._engine = engine
        attribution = Attribution(marker="test_call", reason="test call")
        self._route = Route(dialled=dialled, project=project, targets=(target,), attribution=attribution)
        self._attempt = Attempt(self, 0, target, engine.timers)
        self._verdict: defer.Deferred[tuple[bool, str]] = defer.Deferred()
        self._sides: list[OutboundSide] = []
        self._answered: OutboundSide | None = None
        self._media: Any = None
        self._began = engine.timers.now()
        self._rang: float | None = None  # seconds until it did
        self._took = 0.0  # seconds until the answer

    def begin(self) -> defer.Deferred[tuple[bool, str]]:
        """Ring. Fires when it is over; never fails."""
        engine = self._engine
        try:
            self._media = engine.relay.open(self.id, lambda: None)
        except MediaUnavailable as problem:
            return defer.succeed((False, Sentence("There is no room for media: {problem}", problem=str(problem))))
        self._attempt.start()
        rounds = engine.destinations.of(self._attempt.target, self._route)
        rounds.addCallback(self._attempt.ring).addErrback(self._no_destination).addErrback(self._bug)
        return self._verdict

    def _no_destination(self, failure: Failure) -> None:
        failure.trap(CalltrackError)
        self._attempt.fail(Outcome("CHANUNAVAIL", 480, str(failure.value), 20))

    # As attempt.AttemptUser

    def side_for(self, attempt: Attempt, destination: Destination) -> OutboundSide | Outcome:
        engine, who = self._engine, _CALLER
        limits: tuple[Any, ...] = ()
        if destination.trunk:
            trunk = engine.destinations.trunk(destination.trunk)
            limits = (shared_limit(f"trunk:{trunk.name}", trunk.max_calls, trunk.max_rate),)
            who = CallerID(trunk.caller_id if trunk.caller_id.startswith("+") else "")
        reached = engine.limits.take(limits)
        if reached:
            return Outcome("CONGESTION", 503, f"limit:{reached}", 34)
        party = f"target-{len(self._sides) + 1}"
        said = forwarded(engine.new_call_id(), attempt.target, destination, self._route, who, MAX_FORWARDS)

        def offer(host: str) -> defer.Deferred[bytes]:
            return self._media.offer("caller", party, _OFFER, "127.0.0.1", host, attempt.target.allow)

        side = OutboundSide(self, engine.agent, party, destination, said, offer, limits)
        self._sides.append(side)
        return side

    def attempt_failed(self, attempt: Attempt, outcome: Outcome) -> None:
        what, said = _FAILED.get(outcome.status, _UNREACHED), outcome.reason
        if self._rang is None:
            self._finish(False, Sentence("{what} What it said: {said}", what=what, said=said))
        else:
            rang = f"{self._rang:.1f}"
            words = Sentence("{what} It rang after {rang} s. What it said: {said}", what=what, rang=rang, said=said)
            self._finish(False, words)

    def dropped(self, side: OutboundSide) -> None:
        self._engine.limits.give_back(side.limits)
        self._media.drop(side.party)
        side.release()

    # As sides.Hearer

    def heard(self, side: OutboundSide, event: events.Event) -> None:
        """A side has news; see `events`."""
        match event:
            case events.Ringing() if self._rang is None:
                self._rang = self._engine.timers.now() - self._began
            case events.Failed():
                self._attempt.heard_failure(side, event)
            case events.Answered() if self._answered is None and not self._attempt.over:
                self._take(side, event)
            case events.Answered():
                side.end()
            case events.Reoffered() | events.Informed():
                event.reply.refuse(488)
            case events.Ended() if side is self._answered:
                self._hang_up(Sentence("It hung up at once."))

    def _take(self, side: OutboundSide, event: events.Answered) -> None:
        self._answered, self._took = side, self._engine.timers.now() - self._began
        self._attempt.stop(side)
        side.acknowledge()
        described = self._media.answer(side.party, "caller", event.sdp, side.host, "127.0.0.1")
        described.addCallback(self._talk, side).addErrback(self._unusable).addErrback(self._bug)

    def _talk(self, _: bytes, side: OutboundSide) -> None:
        self._media.connect(side.party)
        self._engine.timers.after(TALK_TIME, lambda _: self._hang_up(None))

    def _unusable(self, failure: Failure) -> None:
        failure.trap(CalltrackError)
        self._hang_up(Sentence("Its answer cannot be used: {problem}.", problem=str(failure.value)))

    def _hang_up(self, problem: Sentence | None) -> None:
        side, self._answered = self._answered, None
        if side is None:
            return
        side.end()
        figures = defer.maybeDeferred(self._media.figures)
        figures.addCallback(self._counted, side, problem).addErrback(self._bug)

    def _counted(self, figures: MediaFigures, side: OutboundSide, problem: Sentence | None) -> None:
        self.dropped(side)
        packets = figures.target.packets
        sound = Sentence("{packets} packets of sound came.", packets=packets) if packets else Sentence("No sound came from it.")
        took = f"{self._took:.1f}"
        words = Sentence("It answered after {took} s. {sound}", took=took, sound=problem or sound)
        self._finish(problem is None, words)

    def _bug(self, failure: Failure) -> None:
        log.failure("a test call failed on a bug", failure=failure, call_id=self.id)
        side, self._answered = self._answered, None
        self._attempt.stop(side)
        if side is not None:
            side.end()
            self.dropped(side)
        self._finish(False, Sentence("The test call failed on a bug of calltrack's; its log says more."))

    def _finish(self, ok: bool, words: str) -> None:
        self._media.close()
        if not self._verdict.called:
            self._verdict.callback((ok, words))
