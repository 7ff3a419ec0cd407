"""Changes of an established session: one side's re-INVITE, UPDATE or INFO is put to the other side
(RFC 3261 section 14, RFC 3311, RFC 6086), descriptions going through the media session on the way.
"""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.calls.events import Reply
from calltrack.calls.outcomes import warning_of
from calltrack.calls.sides import UsageSide, call_id_of
from calltrack.errors import SIPError
from calltrack.sip.grammar import header_name
from calltrack.sip.message import Message, Response
from calltrack.sip.warning import Warning, read_warning

log = Logger()

_PASSED_ON = (b"content-type", b"info-package", b"content-disposition")
_PASSED_BACK = (b"recv-info", b"accept")  # of a 469 (RFC 6086 section 4.2.2) and a 415


class Renegotiation:
    """Of one call in conversation. `media` is its IMediaSession."""

    __slots__ = ("_awaiting", "media")

    def __init__(self, media: Any) -> None:
        self.media = media
        # By the side that owes an answer in its ACK: what to do with it.
        self._awaiting: dict[UsageSide, Callable[[bytes], None]] = {}

    def reoffered(self, side: UsageSide, other: UsageSide, reply: Reply) -> None:
        """`side` wants a change; what `other` says to it is the answer."""
        sdp = reply.sdp
        if other.usage.busy or other.usage.ended or self._awaiting:
            reply.refuse(491)
        elif sdp:
            self._offer(side, other, reply, sdp)
        else:
            self._ask_for_offer(side, other, reply)

    def _offer(self, side: UsageSide, other: UsageSide, reply: Reply, sdp: bytes) -> None:
        def proposed(offer: bytes) -> None:
            if reply.answered:
                return  # taken back, or the call is over
            if other.usage.ended:  # it has handed the call on and hung up meanwhile
                reply.refuse(491)
                return
            by_update = reply.method == b"UPDATE"
            change = other.usage.update if by_update else other.usage.reinvite
            reply.withdrawn = other.usage.withdraw
            change(offer, answered)

        def answered(response: Response | None) -> None:
            if response is None or response.status >= 300:
                reply.refuse(_told(response), (), _warned(response))
                return
            if response.cseq[1] == b"INVITE":
                other.usage.ack(response.cseq[0])
            if reply.answered:
                return
            answer = self.media.answer(other.party, side.party, response.sdp, other.host, side.host)
            answer.addCallbacks(reply.accept, refuse).addErrback(_bug, side)

        def refuse(failure: Failure) -> None:
            _refuse(reply, failure, side)

        offer = self.media.offer(side.party, other.party, sdp, side.host, other.host)
        offer.addCallbacks(proposed, refuse).addErrback(_bug, side)

    def _ask_for_offer(self, side: UsageSide, other: UsageSide, reply: Reply) -> None:
        """A re-INVITE without a description: the offer is in the 200, the answer in the ACK."""

        def answered(response: Response | None) -> None:
            if response is None or response.status >= 300:
                reply.refuse(_told(response), (), _warned(response))
                return
            number = response.cseq[0]
            if reply.answered:
                other.usage.ack(number)
                return
            offer = self.media.offer(other.party, side.party, response.sdp, other.host, side.host)
            offer.addCallbacks(offered, refuse, callbackArgs=(number,), errbackArgs=(number,)).addErrback(_bug, side)

        def offered(offer: bytes, number: int) -> None:
            if reply.answered:
                other.usage.ack(number)
            else:
                self.expect_answer(side, other, lambda answer: other.usage.ack(number, answer))
                reply.accept(offer)

        def refuse(failure: Failure, number: int) -> None:
            other.usage.ack(number)
            _refuse(reply, failure, side)

        reply.withdrawn = other.usage.withdraw
        other.usage.reinvite(b"", answered)

    def expect_answer(self, side: UsageSide, other: UsageSide, deliver: Callable[[bytes], None]) -> None:
        """The next ACK of `side` answers an offer of `other`: `deliver(description for other)` gets it."""

        def rewrite(sdp: bytes) -> None:
            if sdp:
                answer = self.media.answer(side.party, other.party, sdp, side.host, other.host)
            else:
                answer = defer.succeed(b"")  # the peer broke the offer; the ACK must go out all the same
            answer.addErrback(unusable).addCallback(deliver).addErrback(_bug, side)

        def unusable(failure: Failure) -> bytes:
            failure.trap(SIPError)
            words = "{party}: the answer in its ACK is unusable: {error}"
            log.info(words, party=side.party, error=failure.value, call_id=call_id_of(side.call))
            return b""

        self._awaiting[side] = rewrite

    def acknowledged(self, side: UsageSide, sdp: bytes) -> None:
        deliver = self._awaiting.pop(side, None)
        if deliver is not None:
            deliver(sdp)

    def abandon(self) -> None:
        """The call is over: who waits for an answer in an ACK gets the ACK without it."""
        for side in list(self._awaiting):
            self.acknowledged(side, b"")

    @staticmethod
    def informed(other: UsageSide, reply: Any) -> None:
        """Pass an INFO on with what says how its body is meant, and the answer back."""
        request = reply.request

        def answered(response: Response | None) -> None:
            if response is not None and response.status < 300:
                reply.accept()
            else:
                reply.refuse(_told(response), _copied(response, _PASSED_BACK) if response is not None else ())

        if other.usage is None or other.usage.ended:
            reply.refuse(481)
        else:
            other.usage.request(b"INFO", _copied(request, _PASSED_ON), request.body, answered)


def _copied(message: Message, keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """These headers of a message, as lines for another."""
    return tuple(header_name(key) + b": " + value for key in keys for value in message.all(key))


def _refuse(reply: Reply, failure: Failure, side: UsageSide) -> None:
    """Of a description that cannot be used, or on a bug of ours."""
    if failure.check(SIPError):
        reply.refuse(failure.value.status, (), warning_of(failure.value))
    else:
        reply.refuse(500)
        _bug(failure, side)


def _warned(response: Response | None) -> Warning | None:
    """Why the other side does not take a description, for the one that made it."""
    return read_warning(response.items(b"warning")) if response is not None and response.status in (488, 606) else None


def _told(response: Response | None) -> int:
    """The failure that the asking side is told."""
    if response is None:
        return 408
    if response.status == 503:  # section 16.7: of another element, for which ours must not be shunned
        return 500
    return 488 if response.status in (401, 407, 422) or response.status < 400 else response.status


def _bug(failure: Failure, side: UsageSide) -> None:
    log.failure("changing a session failed on a bug", failure=failure, call_id=call_id_of(side.call))
