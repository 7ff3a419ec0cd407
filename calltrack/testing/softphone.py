"""A softphone in code: places and takes calls with audio, for demonstrations, tests and plugins.

    phone = Softphone(reactor, "127.0.0.1", user="12025550143")
    phone.start()
    call = phone.call("sip:11231234567@127.0.0.1:5060")
    await call.when_answered()
    call.audio.play(440)

Built from the engine's own SIP, so what it shows of itself is one more proof of that. Knows one call's dialog at a
time and its audio; knows nothing of call tracking.
"""

from __future__ import annotations

import secrets
from typing import Any, Callable

from twisted.internet import defer
from twisted.names import hosts

from calltrack.calls import events
from calltrack.calls.inbound import InboundSide
from calltrack.calls.destinations import Destination, Forwarded
from calltrack.calls.outbound import OutboundSide
from calltrack.errors import CalltrackError, MalformedMessage, SIPError, UnusableSDP
from calltrack.media.sdp import Document, Section
from calltrack.sip.agent import Agent
from calltrack.sip.flows import Flow
from calltrack.sip.message import Request, Response
from calltrack.sip.resolver import Resolver
from calltrack.sip.transactions import ServerTransaction, Settings
from calltrack.sip.transports import Transports
from calltrack.sip.uri import escape_user, host_port
from calltrack.testing.audio import PCMU, AudioStream
from calltrack.timers import Timers

STOP_TIME = 2.0  # seconds in which the far end may still answer our BYE when a phone is stopped


class CallFailed(CalltrackError):
    """A call, or a change of one, that the far end did not take. `status` 0: nothing was heard of it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Milestone:
    """Something that happens once, or fails to. Asked before, it tells when; asked after, at once."""

    def __init__(self) -> None:
        self.settled = False
        self._result: Any = None
        self._waiting: list[defer.Deferred] = []

    def settle(self, result: Any = None) -> None:
        """`result`: what waiters get; an exception is what they fail with. Only the first time counts."""
        if self.settled:
            return
        self.settled, self._result = True, result
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            self._tell(waiter)

    def when(self) -> defer.Deferred:
        """A Deferred of the caller's own."""
        waiter: defer.Deferred = defer.Deferred()
        if self.settled:
            self._tell(waiter)
        else:
            self._waiting.append(waiter)
        return waiter

    def _tell(self, waiter: defer.Deferred) -> None:
        if isinstance(self._result, Exception):
            waiter.errback(self._result)
        else:
            waiter.callback(self._result)


class PhoneCall:
    """One call of a softphone. `audio` plays and listens; `invite` is the INVITE of a call that came in."""

    def __init__(self, reactor: Any, host: str) -> None:
        self.invite: Request | None = None
        self.audio = AudioStream(reactor, host)
        self._host = host
        self._side: Any = None  # InboundSide or OutboundSide
        self._rung, self._answered, self._ended = Milestone(), Milestone(), Milestone()
        self._session = secrets.randbits(31)
        self._version = 1
        self._direction = b"sendrecv"

    # What happens

    def when_ringing(self) -> defer.Deferred[int]:
        """Fires with the status (180 to 199) when the far end is being alerted; fails with CallFailed when the call
        is over without that."""
        return self._rung.when()

    def when_answered(self) -> defer.Deferred[None]:
        """Fires with None when both sides have agreed to talk: the answer is there (call placed), or our answer
        was acknowledged (call taken). Fails with CallFailed when it comes to nothing."""
        return self._answered.when()

    def when_ended(self) -> defer.Deferred[str]:
        """Fires with who or what ended the call, in words; also for a call that was never answered."""
        return self._ended.when()

    @property
    def ended(self) -> bool:
        return self._ended.settled

    # What to do

    def ring(self) -> None:
        """Let the caller know that somebody is being alerted."""
        self._side.ring(180, b"")

    def answer(self) -> None:
        """Take the call; `when_answered` tells when the caller knows. Refuses it with 488 when it offers nothing
        that we speak."""
        assert self.invite is not None
        try:
            description = self._answer_to(self.invite.sdp) if self.invite.sdp else self.offer()
        except UnusableSDP as problem:
            self.refuse(problem.status)
        else:
            self._side.answer(description)

    def refuse(self, status: int = 486) -> None:
        """Do not take the call."""
        self._side.refuse(status)
        self._over("refused here", status)

    def hold(self) -> defer.Deferred[None]:
        """Ask the far end to be silent, by a re-INVITE. Fires with None when it is; fails with CallFailed."""
        return self._change(b"sendonly")

    def resume(self) -> defer.Deferred[None]:
        """Talk again after `hold`; outcomes as there."""
        return self._change(b"sendrecv")

    def hang_up(self) -> None:
        """End the call, whatever state it is in."""
        if not self.ended:
            self._side.end()
            self._over("hung up here")

    def _change(self, direction: bytes) -> defer.Deferred[None]:
        changed: defer.Deferred[None] = defer.Deferred()

        def done(response: Response | None) -> None:
            if response is None or response.status >= 300:
                status = response.status if response is not None else 0
                changed.errback(CallFailed(status, f"the change was answered with {status or 'nothing'}"))
                return
            self._side.usage.ack(response.cseq[0])
            self._take(response.sdp)
            changed.callback(None)

        self._face(direction)
        self._side.usage.reinvite(self.offer(), done)
        return changed

    # From the dialog

    def begin(self, side: Any) -> None:
        """`side` is what the call is led over."""
        self._side = side

    def fail(self, problem: SIPError) -> None:
        """The INVITE makes no dialog."""
        self._over(str(problem), problem.status)

    def heard(self, side: Any, event: events.Event) -> None:
        """As `calls.sides.Hearer`."""
        if self.ended:
            return
        match event:
            case events.Ringing(status=status):
                self._rung.settle(status)
            case events.Answered(sdp=sdp):
                side.acknowledge()
                self._settle(sdp)
            case events.Acknowledged(sdp=sdp):
                self._settle(sdp)
            case events.Reoffered(reply=reply):
                self._reoffered(reply)
            case events.Informed(reply=reply):
                reply.accept()
            case events.Failed(status=status, reason=reason):
                self._over(reason, status)
            case events.Cancelled():
                side.refuse(487)
                self._over("the caller gave up", 487)
            case events.Ended(cause=cause):
                self._over(cause or "the far end hung up")

    def _settle(self, sdp: bytes) -> None:
        """The dialog stands; `sdp`: the far end's answer, when the offer was ours."""
        try:
            if sdp:
                self._take(sdp)
        except UnusableSDP as problem:
            self._side.end()
            self._over(str(problem), problem.status)
        else:
            self._answered.settle()

    def _reoffered(self, reply: events.Reply) -> None:
        try:
            reply.accept(self._answer_to(reply.sdp) if reply.sdp else self.offer())
        except UnusableSDP as problem:
            reply.refuse(problem.status)

    def _over(self, cause: str, status: int = 0) -> None:
        self._rung.settle(CallFailed(status, cause))
        self._answered.settle(CallFailed(status, cause))
        self._ended.settle(cause)
        self.audio.close()

    # What is said about media (RFC 3264)

    def _face(self, direction: bytes) -> None:
        if direction != self._direction:
            self._direction = direction
            self._version += 1

    def offer(self) -> bytes:
        """What we ask for: one stream of G.711 µ-law."""
        return self._described([self._audio_line])

    def _answer_to(self, offer: bytes) -> bytes:
        """Our answer; its other m-lines are refused, in their places. Raises UnusableSDP."""
        sections = Document(offer).sections
        chosen = self._take(offer)
        self._face({b"sendonly": b"recvonly", b"inactive": b"inactive"}.get(chosen.direction, b"sendrecv"))
        lines = []
        for section in sections:
            kind, _, protocol, *formats = section.fields
            refused = b"m=%b 0 %b %b" % (kind, protocol, formats[0])
            lines.append(self._audio_line if section.line == chosen.line else refused)
        return self._described(lines)

    def _take(self, sdp: bytes) -> Section:
        """Send to where the far end's description says; the m-line that says so. Raises UnusableSDP."""
        for section in Document(sdp).sections:
            if section.port and section.fields[0] == b"audio" and b"%d" % PCMU in section.fields[3:]:
                self.audio.muted = section.held
                if not section.silenced:
                    self.audio.aim(section.host, section.port)
                return section
        raise UnusableSDP("no audio in G.711 µ-law")

    @property
    def _audio_line(self) -> bytes:
        return b"m=audio %d RTP/AVP %d\r\na=rtpmap:%d PCMU/8000\r\na=ptime:20\r\na=%b" % (
            self.audio.port,
            PCMU,
            PCMU,
            self._direction,
        )

    def _described(self, media: list[bytes]) -> bytes:
        address = b"IN %b %b" % (b"IP6" if ":" in self._host else b"IP4", self._host.encode())
        head = [b"v=0", b"o=- %d %d %b" % (self._session, self._version, address), b"s=-", b"c=" + address, b"t=0 0"]
        return b"\r\n".join((*head, *media, b""))


class Softphone:
    """A SIP phone at one address, over UDP and TCP.

    `on_call(call)` is told of each call that comes in, a `PhoneCall` to `ring`, `answer` or `refuse`; unless given, it
    is answered at once.
    """

    def __init__(
        self,
        reactor: Any,
        host: str = "127.0.0.1",
        *,
        user: str = "softphone",
        on_call: Callable[[PhoneCall], Any] = PhoneCall.answer,
        product: str = "calltrack softphone",
        resolver: Resolver | None = None,
    ) -> None:
        """`host`: an address literal. `resolver`: finds named hosts; without one, address literals and the names
        in /etc/hosts can be called."""
        self.host = host
        self.user = user
        self.on_call = on_call
        self.calls: list[PhoneCall] = []  # that are not over
        self._reactor = reactor
        self._timers = timers = Timers(reactor)
        self._transports = Transports(reactor, timers, [("udp", host, 0), ("tcp", host, 0)])
        resolver = resolver or Resolver(hosts.Resolver(), reactor)
        self._agent = Agent(timers, self._transports, resolver, Settings(), self, product)

    def start(self) -> None:
        """Listen. Raises CannotListenError."""
        self._transports.start()

    @property
    def address(self) -> str:
        """`host:port` of its UDP side, once started."""
        place = self._transports.listening()[0]
        return host_port(place.host, place.port)

    @property
    def uri(self) -> str:
        """Its own SIP address, once started."""
        return f"sip:{self.user}@{self.address}"

    def call(self, uri: str, headers: tuple[bytes, ...] = ()) -> PhoneCall:
        """Call a SIP URI. `headers`: whole header lines besides the usual ones."""
        call = self._new_call()
        call_id = secrets.token_hex(12).encode()
        user = escape_user(self.user.encode())

        def lines(sent_by: bytes) -> tuple[bytes, bytes, list[bytes]]:
            return b"<sip:%b@%b>" % (user, sent_by), b"<%b>" % target.partition(b";")[0], [b"Max-Forwards: 70", *headers]

        target = uri.encode()
        offer = call.offer()
        side = OutboundSide(
            call,
            self._agent,
            "far end",
            Destination(target, target),
            Forwarded(call_id, user, lines),
            lambda host: defer.succeed(offer),
        )
        call.begin(side)
        side.start()
        return call

    def stop(self) -> defer.Deferred[None]:
        """Hang up and stop listening. Fires with None when all is closed, within `STOP_TIME` and a little more."""
        return defer.Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        calls = list(self.calls)
        for call in calls:
            call.hang_up()
        await defer.gatherResults([call.audio.close() for call in calls])
        patience = self._reactor.seconds() + STOP_TIME
        while self._agent.layer.unanswered() and self._reactor.seconds() < patience:
            moment: defer.Deferred[None] = defer.Deferred()
            self._reactor.callLater(0.02, moment.callback, None)
            await moment
        await self._transports.stop()
        self._timers.stop()

    def _new_call(self) -> PhoneCall:
        call = PhoneCall(self._reactor, self.host)
        self.calls.append(call)
        call.when_ended().addCallback(lambda _: self.calls.remove(call))
        return call

    # As sip.agent.AgentUser

    def admit(self, invite: Request, flow: Flow) -> None:
        return None

    def invited(self, transaction: ServerTransaction) -> None:
        call = self._new_call()
        call.invite = transaction.request
        try:
            side = InboundSide(call, self._agent, transaction)
        except MalformedMessage as problem:
            self._agent.respond(transaction, problem.status)
            call.fail(problem)
            return
        call.begin(side)
        self.on_call(call)
