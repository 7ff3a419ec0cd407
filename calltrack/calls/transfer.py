"""A transfer that a target asks for by REFER, where its project allows it (RFC 3515, RFC 5589 section 6.1).

The target that is asked for rings while caller and referrer stay as they are. When it answers, the caller is offered its
description in a media session of its own; when the caller takes that, the call moves and the referrer gets its BYE. The
referrer hears of it by NOTIFY, also when it has hung up already. Knows sides and media; who may be asked for, `wanted` says.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Callable, Iterable

from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.calls import events
from calltrack.calls.attempt import Attempt
from calltrack.calls.destinations import Destination
from calltrack.calls.making import make_side
from calltrack.calls.outbound import ELSEWHERE, OutboundSide
from calltrack.calls.outcomes import Outcome
from calltrack.calls.record import last_figures
from calltrack.errors import CalltrackError, MalformedMessage, MediaUnavailable
from calltrack.sip.message import Request, Response
from calltrack.sip.status import REASONS
from calltrack.sip.uri import URI, parse_name_addr, parse_uri
from calltrack.timers import Timer
from calltrack.tracking.model import Target

if TYPE_CHECKING:
    from calltrack.calls.call import Call

log = Logger()

TRIES = 4  # of the change that the caller is asked for, when it is busy with one of its own
FAREWELL = 2.0  # seconds that the last NOTIFY has before the referrer gets its BYE
_DIRECTIONS = (b"a=recvonly", b"a=sendonly", b"a=inactive")
SUBSCRIPTION = 600  # seconds that a referrer is told it will hear of its transfer: longer than anything rings


class Transfer:
    """One REFER that has been taken on; of `call`, whose `winner` sent it. Ends once, by `call.transferred`,
    `call.not_transferred` or `stop`."""

    def __init__(self, call: Call, engine: Any, media: Any, exchange: Any, target: Target) -> None:
        self.target = target
        self.media = media
        self.side: OutboundSide | None = None  # that has answered
        self._call = call
        self._engine = engine
        self._referrer = call.winner
        self._timers = engine.timers
        self._counted = False  # whether a side of it counts under the target's limits
        self._over = False
        self._tries = 0
        self._again: Timer | None = None
        self._rung = False
        self._notices = Notices(self._referrer.usage, exchange)
        self._attempt = Attempt(self, 0, target, engine.timers)
        exchange.accept()

    def begin(self) -> None:
        """Ring the target."""
        self._notices.tell(100)
        self._attempt.start()
        rounds = self._engine.destinations.of(self.target, self._call.route)
        rounds.addCallback(self._attempt.ring).addErrback(self._attempt.nowhere).addErrback(_bug, self._call.id)

    def stop(self) -> None:
        """The call is over."""
        if self._end():
            self._notices.tell(487)
            self._abandon()

    # As the user of the attempt

    def side_for(self, attempt: Attempt, destination: Destination) -> OutboundSide | Outcome:
        side = make_side(self._call, self._engine, self, self.target, destination, self._offer, not self._counted)
        self._counted = True
        return side

    def _offer(self, party: str, allow: tuple[str, ...], host: str) -> defer.Deferred[bytes]:
        caller = self._call.caller
        sdp = talking(caller.usage.theirs)
        return self.media.offer("caller", party, sdp, caller.host, host, allow) if sdp else defer.succeed(b"")

    def attempt_failed(self, attempt: Attempt, outcome: Outcome) -> None:
        self._fail(outcome.sip_code, outcome.reason)

    def dropped(self, side: OutboundSide) -> None:
        self._let_go(side)

    # What its sides say

    def heard(self, side: OutboundSide, event: events.Event) -> None:
        if isinstance(event, events.Ringing):
            if not self._rung and not self._over:
                self._rung = True
                self._notices.tell(180)
        elif isinstance(event, events.Failed):
            self._attempt.heard_failure(side, event)
        elif isinstance(event, events.Answered):
            self._answered(side, event.sdp)
        elif isinstance(event, events.Ended):
            self._fail(480, event.cause or "the target hung up")
        elif not isinstance(event, events.Acknowledged):
            event.reply.refuse(491)  # the caller is being asked

    def _answered(self, side: OutboundSide, sdp: bytes) -> None:
        if self._over or self.side is not None:
            side.end(ELSEWHERE)
            return
        self.side = side
        self._attempt.stop(side, ELSEWHERE)
        side.acknowledge()
        caller = self._call.caller
        described = self.media.offer(side.party, "caller", sdp, side.host, caller.host)
        described.addCallbacks(self._ask_caller, self._unusable).addErrback(_bug, self._call.id)

    def _ask_caller(self, offer: bytes) -> None:
        if self._over:
            return
        usage = self._call.caller.usage
        self._tries += 1
        if not usage.busy:
            usage.reinvite(offer, lambda response: self._caller_said(offer, response))
        else:
            self._ask_later(offer)

    def _ask_later(self, offer: bytes) -> None:
        if self._tries >= TRIES:
            self._fail(491, "the caller was busy with a change of its own")
            return
        # Section 14.1: the Call-ID is the caller's.
        self._again = self._timers.after(random.uniform(0.1, 2.0), self._ask_caller, offer)

    def _caller_said(self, offer: bytes, response: Response | None) -> None:
        if response is not None and response.status < 300:
            self._call.caller.usage.ack(response.cseq[0])
        if self._over:
            return
        if response is None or response.status >= 300:
            if response is not None and response.status == 491:
                self._ask_later(offer)
            else:
                said = response.status if response is not None else 408
                self._fail(488 if said < 400 else said, f"{said}: the caller does not take the change")
            return
        caller, side = self._call.caller, self.side
        answer = self.media.answer("caller", side.party, response.sdp, caller.host, side.host)
        answer.addCallbacks(self._succeeded, self._unusable).addErrback(_bug, self._call.id)

    def _unusable(self, failure: Failure) -> None:
        if not failure.check(CalltrackError):
            _bug(failure, self._call.id)
        self._fail(488, str(failure.value))

    # The end

    def _succeeded(self, _: bytes) -> None:
        if not self._end():
            return
        self.media.connect(self.side.party)
        referrer = self._referrer
        self._call.transferred(self)

        def farewell() -> None:
            referrer.end()
            referrer.release()

        self._notices.tell(200, farewell)

    def _fail(self, status: int, reason: str) -> None:
        if not self._end():
            return
        self._notices.tell(status)
        self._abandon()
        self._call.not_transferred(reason)

    def _abandon(self) -> None:
        if self.side is not None:
            self.side.end()
            self._let_go(self.side)
        last_figures(self.media)

    def _let_go(self, side: OutboundSide) -> None:
        self._engine.limits.give_back(side.limits)
        side.release()

    def _end(self) -> bool:
        """False when it is over already."""
        if self._over:
            return False
        self._over = True
        self._attempt.stop()
        if self._again is not None:
            self._again.cancel()
        return True


class Notices:
    """What the referrer is told, one NOTIFY after the other (RFC 3515 section 2.4.4, RFC 6665 section 4.2.2)."""

    def __init__(self, usage: Any, exchange: Any) -> None:
        self._usage = usage
        self._event = b"Event: refer;id=%d" % exchange.request.cseq[0]
        self._waiting: list[int] = []  # statuses that are not told yet
        self._then: Callable[[], None] | None = None  # when all has been told
        self._patience: Timer | None = None
        self._telling = False
        self._refused = False  # it does not want to hear more

    def tell(self, status: int, then: Callable[[], None] | None = None) -> None:
        """Tell a status; a final one is the last. `then()` is called when that has been answered, or soon."""
        self._waiting = [one for one in self._waiting if one < 180] + [status]
        self._then = then
        if then is not None:
            self._patience = self._usage.agent.timers.after(FAREWELL, self._done)
        self._next()

    def _next(self) -> None:
        if self._telling:
            return
        if not self._waiting or self._refused:
            if not self._waiting or self._waiting[-1] >= 200:
                self._done(None)
            return
        status = self._waiting.pop(0)
        state = b"active;expires=%d" % SUBSCRIPTION if status < 200 else b"terminated;reason=noresource"
        lines = (
            *self._usage.contact,
            self._event,
            b"Subscription-State: " + state,
            b"Content-Type: message/sipfrag;version=2.0",
        )
        self._telling = True
        body = b"SIP/2.0 %d %b\r\n" % (status, REASONS.get(status, b"Unknown"))
        self._usage.request(b"NOTIFY", lines, body, self._answered)

    def _answered(self, response: Response | None) -> None:
        self._telling = False
        self._refused = response is None or response.status >= 300
        self._next()

    def _done(self, _: None) -> None:
        then, self._then = self._then, None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if then is not None:
            then()


def wanted(refer: Request, targets: Iterable[Target], ours: Iterable[bytes]) -> Target | None:
    """The one of `targets` that a REFER asks for; None when it is none of them, or more is asked than a plain call.
    `ours`: our own hosts, at which every target may be named by its user or number. Raises MalformedMessage when there
    is not exactly one Refer-To (RFC 3515 section 2.4.2)."""
    values = refer.items(b"refer-to")
    if len(values) != 1:
        raise MalformedMessage("not exactly one Refer-To")
    address = parse_name_addr(values[0]).uri
    uri = parse_uri(address)
    method = uri.params.get(b"method")
    if b"?" in address or method not in (None, b"INVITE"):  # such as ?Replaces=: no call of ours may be replaced
        return None
    return next((target for target in targets if _names(uri, target, set(ours))), None)


def _names(uri: URI, target: Target, ours: set[bytes]) -> bool:
    here = uri.scheme == b"tel" or uri.host in ours
    if target.kind == "phone":
        return here and uri.user.lstrip(b"+") == target.address.lstrip("+").encode()
    if target.kind == "account":
        return here and uri.user.lower() == b"account"
    theirs = parse_uri(target.address.encode())
    there = (uri.host, uri.port or 5060) == (theirs.host, theirs.port or 5060)
    return uri.user == theirs.user and (here or there)


def take_on(call: Call, engine: Any, exchange: Any) -> Transfer | None:
    """The transfer that a REFER of the call's winner asks for, or None after it has been refused."""
    usage = exchange.usage
    ours = {parse_uri(parse_name_addr(line.partition(b": ")[2]).uri).host for line in usage.contact}
    try:
        target = wanted(exchange.request, call.route.transfers, ours | {usage.dialog.flow.local.host.encode()})
    except MalformedMessage:
        exchange.refuse(400)
        return None
    if target is None:
        exchange.refuse(603)
        return None
    try:
        media = engine.relay.open(f"{call.id}-{call.next_party()}", call.media_timeout)
    except MediaUnavailable as problem:
        log.info("a transfer is refused: {problem}", problem=problem, call_id=call.id)
        exchange.refuse(503)
        return None
    return Transfer(call, engine, media, exchange, target)


def talking(sdp: bytes) -> bytes:
    """A description without what says that its party is on hold: who transfers a call has often put it there first."""
    return b"\r\n".join([line for line in sdp.split(b"\r\n") if line not in _DIRECTIONS])


def _bug(failure: Failure, call_id: str) -> None:
    log.failure("a transfer failed on a bug", failure=failure, call_id=call_id)
