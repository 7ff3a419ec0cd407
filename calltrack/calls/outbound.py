"""A target's side of a call: an INVITE that goes out, its next hops, forks and dialog (RFC 3261 section 13.2).

Speaks neutral events upwards. Everything that may go wrong on the way ends in exactly one of Answered and
Failed, and after Answered in Ended.
"""

from __future__ import annotations

import secrets

from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.calls.destinations import Destination, Forwarded, Offer
from calltrack.calls.events import Answered, Failed, Ringing
from calltrack.calls.outcomes import q850_in, warning_of
from calltrack.calls.sides import Hearer, UsageSide, call_id_of, contact_line
from calltrack.errors import CalltrackError, MalformedMessage, SIPError
from calltrack.sip.agent import Agent
from calltrack.sip.dialogs import Dialog
from calltrack.sip.digest import DigestClient
from calltrack.sip.flows import Flow
from calltrack.sip.exchanges import SDP
from calltrack.sip.invite import InviteUsage
from calltrack.sip.locating import NextHop
from calltrack.sip.message import Response
from calltrack.sip.reliable import Acknowledgements, is_reliable
from calltrack.sip.session_timer import least_of
from calltrack.sip.transactions import ClientTransaction
from calltrack.sip.uri import parse_uri
from calltrack.sip.warning import read_warning

log = Logger()

ELSEWHERE = b'Reason: SIP;cause=200;text="Call completed elsewhere"'


class OutboundSide(UsageSide):
    """One INVITE to one destination, tried at each of its next hops."""

    __slots__ = (
        "_acknowledged",
        "_agent",
        "_cancelled",
        "_contact",
        "_cseq",
        "_credentials",
        "_done",
        "_early",
        "_extra",
        "_flow",
        "_forwarded",
        "_from",
        "_hops",
        "_offer",
        "_reliable",
        "_sdp",
        "_session",
        "_tag",
        "_transaction",
        "destination",
        "invite_cseq",
        "limits",
        "rang",
        "winner",
    )

    def __init__(
        self,
        call: Hearer,
        agent: Agent,
        party: str,
        destination: Destination,
        forwarded: Forwarded,
        offer: Offer,
        limits: tuple = (),
    ) -> None:
        super().__init__(call, party, "")
        self.limits = limits  # that it counts under, for whoever gives them back
        self.destination = destination
        self.rang = False
        self.winner = False
        self.invite_cseq = 0  # of the INVITE that was answered
        self._agent = agent
        self._forwarded: Forwarded | None = forwarded  # None: no INVITE is sent any more
        self._offer = offer
        self._hops: list[NextHop] = []
        self._tag = b""
        self._from = b""
        self._cseq = 0
        self._contact = b""
        self._sdp = b""
        self._flow: Flow | None = None  # of the dialog; a large INVITE alone may take another
        self._extra: list[bytes] = []  # answers to challenges
        self._early: dict[bytes, InviteUsage] = {}  # by remote tag
        self._reliable: Acknowledgements | None = None  # of reliable provisional responses, if any come
        self._session = agent.session_lines
        self._transaction: ClientTransaction | None = None
        self._acknowledged = False
        self._cancelled = False
        self._done = False  # Answered or Failed has been said
        self._credentials = DigestClient(destination.credentials) if destination.credentials else None

    # Going out

    def start(self) -> None:
        """Look for next hops and try them in turn."""
        try:
            uri = parse_uri(self.destination.next_hop)
        except MalformedMessage as problem:
            self._fail(Failed(0, str(problem)))
            return
        flow = self.destination.flow or self._agent.flow_now(uri)
        if flow is not None:
            self._invite_over(flow).addErrback(self._hop_failed).addErrback(_bug, self)
        else:
            hops = self._agent.next_hops(uri)
            hops.addCallbacks(self._resolved, self._unresolvable).addErrback(_bug, self)

    def _resolved(self, hops: list[NextHop]) -> None:
        self._hops = list(hops)
        self._next_hop("no next hop")

    def _unresolvable(self, failure: Failure) -> None:
        failure.trap(CalltrackError)
        self._fail(Failed(0, str(failure.value)))

    def _next_hop(self, why: str, status: int = 0) -> None:
        if self._cancelled:
            self._fail(Failed(487, "cancelled"))
        elif not self._hops:
            self._fail(Failed(status, why))
        else:
            flow = self._agent.transports.flow_to(self._hops.pop(0))
            flow.addCallback(self._invite_over).addErrback(self._hop_failed).addErrback(_bug, self)

    def _hop_failed(self, failure: Failure) -> None:
        """The hop cannot be reached (next one), or no description can be made for it (give up)."""
        if not failure.check(CalltrackError):
            self._fail(Failed(500, "a bug, see the log"))
            failure.raiseException()
        elif isinstance(failure.value, SIPError):
            self._fail(Failed(failure.value.status, str(failure.value), warning=warning_of(failure.value)))
        else:
            self._next_hop(str(failure.value))

    def _invite_over(self, flow: Flow) -> defer.Deferred[None]:
        self.host = flow.remote.host
        return self._offer(self.host).addCallback(self._offered, flow)

    def _offered(self, sdp: bytes, flow: Flow) -> None:
        if self._cancelled:
            self._fail(Failed(487, "cancelled"))
            return
        self._sdp = sdp
        self._tag = secrets.token_hex(8).encode()  # a new request to another element (section 8.1.3.5)
        self._send(flow)

    def _send(self, flow: Flow) -> None:
        agent = self._agent
        sent_by = agent.transports.sent_by(flow)
        from_, to, lines = self._forwarded.lines(sent_by)
        self._from = b"%b;tag=%b" % (from_, self._tag)
        self._cseq += 1
        self._contact = contact_line(self._forwarded.caller_user, sent_by, flow.transport)
        head = [
            b"From: " + self._from,
            b"To: " + to,
            b"Call-ID: " + self._forwarded.call_id,
            b"CSeq: %d INVITE" % self._cseq,
            self._contact,
            *lines,
            *(agent.abilities if self._sdp else agent.abilities_but_reliable),
            *self._session,
            *self._extra,
        ]
        if self._sdp:
            head.append(SDP)
        self._flow = flow
        if self.destination.flow is not None:
            self._send_over(flow, head)  # a registered contact is reached over its own flow alone
        else:
            agent.with_room(flow, head, self._sdp, lambda way: self._send_over(way, head))

    def _send_over(self, flow: Flow, head: list[bytes]) -> None:
        if self._cancelled:
            self._fail(Failed(487, "cancelled"))
            return
        self._transaction = self._agent.layer.request(
            flow, b"INVITE", self.destination.uri, head, self._sdp, self, self._forwarded.call_id
        )
        flow.watch(self._flow_closed)

    def _flow_closed(self, flow: Flow) -> None:
        """A phone that rings over a connection is not there any more when that is closed (RFC 5626 section 4.2.2), and
        an exchange that has closed it has most likely lost the call: try who is next, rather than wait for nothing."""
        transaction = self._transaction
        if transaction is not None and transaction.flow is flow:
            transaction.flow_closed(flow)

    def _forget_transaction(self) -> None:
        """What it still brings, the agent declines."""
        if self._transaction is not None:
            self._transaction.flow.unwatch(self._flow_closed)
            self._transaction.user, self._transaction = self._agent, None

    # What comes back

    def failed(self, transaction: ClientTransaction, error: CalltrackError) -> None:
        self._drop_early()
        self._forget_transaction()
        if self._cancelled:
            self._fail(Failed(487, "cancelled"))
        else:
            self._next_hop(str(error))

    def responded(self, transaction: ClientTransaction, response: Response) -> None:
        status = response.status
        if status < 200:
            self._provisional(transaction, response)
        elif status < 300:
            self._success(transaction, response)
        else:
            self._failure(transaction, response)

    def _provisional(self, transaction: ClientTransaction, response: Response) -> None:
        if response.status == 100 or self._done:
            return
        usage = self._early_usage(transaction, response)
        if is_reliable(response):
            if self._reliable is None:
                self._reliable = Acknowledgements()
            if usage is None or not self._reliable.take(usage, response):
                return
        self.rang = True
        if not self._cancelled:
            self.call.heard(self, Ringing(response.status, response.sdp))

    def _early_usage(self, transaction: ClientTransaction, response: Response) -> InviteUsage | None:
        """The usage of the dialog that a response makes, new or known (section 12.1); None when it makes none."""
        tag = response.to.tag
        usage = self._early.get(tag)
        if usage is None and (tag or response.status >= 200):  # section 12.1.2: a peer of RFC 2543 has no tag
            # Who wants a PRACK and names no Contact for it is where the INVITE went.
            target = self.destination.uri if response.status < 200 and is_reliable(response) else b""
            try:
                dialog = Dialog.of_client(response, self._from, self._tag, self._cseq, self._flow, target)
            except MalformedMessage:
                return None  # a provisional response may lack Contact; it makes no dialog then
            dialog.moved = self.destination.moved
            usage = InviteUsage(self._agent, dialog, self, (self._contact,), self._credentials)
            usage.authorization = tuple(self._extra)
            self._early[tag] = usage
        return usage

    def _success(self, transaction: ClientTransaction, response: Response) -> None:
        number = response.cseq[0]
        usage = self._early_usage(transaction, response)
        if usage is None:
            log.info("a 2xx without usable Contact from {host} makes no dialog", host=self.host, call_id=call_id_of(self.call))
            self._fail(Failed(502, "its 200 has no usable Contact"))
            return
        if usage.repeat_ack(number) or usage is self.usage:
            return  # a retransmission: acknowledged again, or to be acknowledged when the caller answers
        usage.established(response, self._sdp)
        if self._done or self._cancelled:  # another fork's, or it crossed our CANCEL
            usage.ack(number)
            usage.bye(ELSEWHERE)
            if not self._done:
                self._fail(Failed(487, "cancelled"))
            return
        self._done = self.winner = True
        transaction.flow.unwatch(self._flow_closed)
        self.usage = usage
        self.invite_cseq = number
        self._forget_offer()
        self._drop_early(keep=usage)
        answer = response.sdp
        if not answer and self._reliable is not None:
            answer = self._reliable.answer(usage)
        self.call.heard(self, Answered(answer))

    def _failure(self, transaction: ClientTransaction, response: Response) -> None:
        status = response.status
        self._forget_transaction()
        self._drop_early()
        if not self._cancelled:
            if status in (401, 407) and self._answer_challenge(transaction, response):
                return
            if status == 422 and self._lengthen_session(response):
                return
            if status == 503 and self._hops:
                self._next_hop("503", 503)
                return
        warning = read_warning(response.items(b"warning")) if status in (488, 606) else None
        self._fail(Failed(status, self._in_words(response), q850_in(response.items(b"reason")), warning))

    def _answer_challenge(self, transaction: ClientTransaction, response: Response) -> bool:
        if self._credentials is None:
            return False
        values = response.all(b"www-authenticate"), response.all(b"proxy-authenticate")
        mine, other = values if response.status == 401 else values[::-1]
        answer = self._credentials.answer(b"INVITE", self.destination.uri, response.status, mine, other)
        if answer is None:
            return False
        self._extra = [name + b": " + value for name, value in answer]
        self._send(self._flow)
        return True

    def _lengthen_session(self, response: Response) -> bool:
        """Ask again for as long a session as the peer wants, once (RFC 4028 section 7.3)."""
        lines = self._agent.sessions.lines(least_of(response))
        if self._session is not self._agent.session_lines or lines == self._session:
            return False
        self._session = lines
        self._send(self._flow)
        return True

    def _in_words(self, response: Response) -> str:
        status = response.status
        if status in (401, 407):
            if self._credentials is not None:
                return f"{status}: the user name or password of trunk {self.destination.trunk} is refused"
            return (
                f"{status}: the exchange asks for a password; it must accept calls from this address without one"
            )
        if 300 <= status < 400:
            return f"{status}: redirections are not followed"
        return f"{status} {response.reason.decode('utf-8', 'replace')}"

    def _fail(self, failure: Failed) -> None:
        if not self._done:
            self._done = True
            self._drop_early()
            self.call.heard(self, failure)

    def _drop_early(self, keep: InviteUsage | None = None) -> None:
        for usage in self._early.values():
            if usage is not keep:
                usage.discard()
        self._early = {keep.dialog.remote_tag: keep} if keep is not None else {}

    # From the call

    def acknowledge(self, sdp: bytes = b"") -> None:
        """ACK the answer, with the answer to its offer when it made one."""
        self._acknowledged = True
        self.usage.ack(self.invite_cseq, sdp)

    def cancel(self, *lines: bytes) -> None:
        """Give up on a target that has not answered; `Failed` follows at once for the call's sake, and
        whatever the peer still does is dealt with here. `lines`: such as Reason."""
        if self._done:
            return
        self._cancelled = True
        if self._transaction is not None:
            self._transaction.cancel(*lines)

    def release(self) -> None:
        super().release()
        self._forget_offer()
        self._drop_early(keep=self.usage)
        self._forget_transaction()

    def _forget_offer(self) -> None:
        """Hold on to nothing that only another INVITE would need: a call may last for hours."""
        self._sdp = b""
        self._offer = _no_offer
        self._hops = []
        self._forwarded = None

    def end(self, *lines: bytes) -> None:
        """BYE when answered (acknowledging it first), else CANCEL."""
        if not self.winner:
            self.cancel(*lines)
        elif not self.usage.ended:
            if not self._acknowledged:
                self.acknowledge()
            self.usage.bye(*lines)


def _no_offer(host: str) -> defer.Deferred[bytes]:
    """Of a side that has been released: nothing is offered any more."""
    return defer.succeed(b"")


def _bug(failure: Failure, side: OutboundSide) -> None:
    log.failure("an outbound call failed on a bug", failure=failure, call_id=call_id_of(side.call))
