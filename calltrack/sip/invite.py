"""The INVITE usage of one dialog (RFC 3261 sections 13 to 15, RFC 3262, 3311, 4028, 5057). Knows one dialog and the
agent that sends for it; not the other side of a call.

Its user gets: `reoffered(exchange)` for a re-INVITE or UPDATE, `informed` for an INFO, `referred` for a REFER, `acknowledged(sdp)` for the ACK to a 2xx of ours, `unacknowledged()` when that never came, and
`hung_up(cause)` once, when the peer has ended the dialog or lost it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Protocol

from calltrack.errors import CalltrackError
from calltrack.sip import session_timer
from calltrack.sip.dialogs import Dialog
from calltrack.sip.exchanges import SDP, DialogRequest, Exchange, Unacknowledged, retry_after
from calltrack.sip.flows import Flow
from calltrack.sip.message import Request, Response
from calltrack.sip.transactions import ServerTransaction

if TYPE_CHECKING:
    from calltrack.sip.agent import Agent
    from calltrack.sip.digest import DigestClient
    from calltrack.sip.reliable import ReliableResponses
    from calltrack.sip.session_timer import SessionTimer


class UsageUser(Protocol):
    def reoffered(self, exchange: Exchange) -> None: ...
    def informed(self, exchange: Exchange) -> None: ...
    def referred(self, exchange: Exchange) -> None: ...
    def acknowledged(self, sdp: bytes) -> None: ...
    def unacknowledged(self) -> None: ...
    def hung_up(self, cause: str) -> None: ...


class _Unheard:
    """The user of a usage that only has to end."""

    def reoffered(self, exchange: Exchange) -> None:
        exchange.refuse(481)

    informed = referred = reoffered

    def acknowledged(self, sdp: bytes) -> None:
        pass

    def unacknowledged(self) -> None:
        pass

    def hung_up(self, cause: str) -> None:
        pass


UNHEARD = _Unheard()


class InviteUsage:
    """See the module. `contact` is the Contact line of everything sent in this dialog, as a 1-tuple."""

    __slots__ = (
        "_acks",
        "_farewell",
        "_inviting",
        "_unacked",
        "_updating",
        "agent",
        "authorization",
        "contact",
        "credentials",
        "dialog",
        "ended",
        "offer",
        "reliable",
        "theirs",
        "timer",
        "user",
    )

    def __init__(
        self,
        agent: Agent,
        dialog: Dialog,
        user: UsageUser,
        contact: tuple[bytes, ...],
        credentials: DigestClient | None = None,
    ) -> None:
        self.agent = agent
        self.dialog = dialog
        self.user = user
        self.contact = contact
        self.credentials = credentials
        self.authorization: tuple[bytes, ...] = ()  # header lines of the INVITE that made the dialog
        self.ended = False
        self.offer: Exchange | None = None  # the peer's re-INVITE or UPDATE that is not answered yet
        self.reliable: ReliableResponses | None = None  # our provisional responses, where they need a PRACK
        self.timer: SessionTimer | None = None  # once both sides have agreed on one
        self.theirs: bytes | None = None  # the peer's last description; None: it is not kept
        self._inviting: DialogRequest | None = None  # our re-INVITE, until it is answered
        self._updating = False
        self._farewell: tuple[bytes, ...] | None = None  # header lines of a BYE that waits for an ACK
        self._unacked: dict[int, Unacknowledged] | None = None  # by CSeq
        self._acks: dict[int, tuple[Flow, bytes]] | None = None  # ACKs of ours by CSeq, for repeated 2xx
        agent.dialogs[dialog.id] = self

    # From the peer

    def requested(self, transaction: ServerTransaction) -> None:
        """A request within the dialog, other than ACK and CANCEL."""
        request, dialog = transaction.request, self.dialog
        number = request.cseq[0]
        if number <= dialog.remote_cseq:  # section 12.2.2
            self.agent.respond(transaction, 500)
            return
        dialog.remote_cseq = number
        if dialog.moved is not None:
            dialog.flow = transaction.flow
        if request.method == b"BYE":  # also when ours is under way: both get 200
            self._bye(transaction)
        elif self.ended:
            self.agent.respond(transaction, 481)
        elif request.method in (b"INVITE", b"UPDATE"):
            self._reoffered(transaction)
        elif request.method == b"INFO":
            self.user.informed(Exchange(self, transaction))
        elif request.method == b"PRACK":
            if self.reliable is not None:
                self.reliable.acknowledged(transaction)
            else:
                self.agent.respond(transaction, 481)
        elif request.method == b"OPTIONS":
            self.agent.answer_options(transaction)
        elif request.method == b"REFER":
            self.user.referred(Exchange(self, transaction))
        else:
            self.agent.respond(transaction, 405)

    def _bye(self, transaction: ServerTransaction) -> None:
        self._refuse_pending()
        reason = transaction.request.get(b"reason") or b""
        self.agent.respond(transaction, 200)
        known = self.ended  # our own BYE waits for an ACK: the call is over already
        self.discard()
        if not known:
            self.user.hung_up(reason.decode("utf-8", "replace"))

    def _refuse_pending(self) -> None:
        """Of a dialog that ends: requests that wait for an answer get 487 (section 15.1.2)."""
        if self.offer is not None:
            self.offer.refuse(487)

    def _reoffered(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if self.offer is not None:  # section 14.2; RFC 3311 5.2
            self.agent.respond(transaction, 500, retry_after())
        elif self._inviting or (self._updating and request.sdp):
            self.agent.respond(transaction, 491)
        elif too_brief := session_timer.too_brief(request, self.agent.sessions):
            self.agent.respond(transaction, 422, too_brief)
        else:
            if request.method == b"INVITE":
                transaction.respond(100)
            self.dialog.refresh(request)
            self.offer = Exchange(self, transaction)
            answer = self.timer.answer_to(request.sdp) if self.timer is not None else b""
            if answer or (request.method == b"UPDATE" and not request.sdp):
                self.offer.accept(answer)  # a session refresh or a new Contact: nothing anybody else must know
            else:
                self.user.reoffered(self.offer)

    def acknowledged(self, ack: Request) -> None:
        """An ACK within the dialog: for the 2xx with its CSeq number."""
        waiting = self._unacked.pop(ack.cseq[0], None) if self._unacked else None
        if waiting is not None:
            self._stop_resending(waiting)
            waiting.transaction.settle()
            self._unacked = self._unacked or None  # a call may last for hours
            self._describe(b"", ack.sdp)
            if self._farewell is not None and not self._unacked:
                self._send_bye(self._farewell)
            else:
                self.user.acknowledged(ack.sdp)

    def settled(self, exchange: Exchange) -> None:
        exchange.transaction.user = None
        if self.offer is exchange:
            self.offer = None

    # 2xx to INVITE, of the first one and of re-INVITEs

    def accept(self, transaction: ServerTransaction, sdp: bytes, described: bool = True) -> None:
        """200 to an INVITE, resent from T1 up to T2 until acknowledged, for 64*T1. Nothing when it has been
        answered already: taken back by the peer, or refused because the dialog is over. Not `described`: the
        peer has the description, it is left out."""
        if transaction.answered:
            return
        cseq = transaction.request.cseq[0]
        head = (*self.contact, *self.refreshed(transaction.request, sdp))
        if sdp and described:
            self.agent.respond(transaction, 200, (*head, SDP), sdp)
        else:
            self.agent.respond(transaction, 200, head)
        timers, t1 = self.agent.timers, self.agent.settings.t1
        waiting = Unacknowledged(transaction, cseq, t1, timers.now())
        self._unacked = (self._unacked or {}) | {cseq: waiting}
        waiting.resend = timers.after(t1, self._resend_2xx, waiting)

    def _resend_2xx(self, waiting: Unacknowledged) -> None:
        settings, timers = self.agent.settings, self.agent.timers
        left = waiting.since + settings.timeout - timers.now()
        if left <= 0.001:
            assert self._unacked is not None
            del self._unacked[waiting.cseq]
            if self._farewell is not None:
                self._send_bye(self._farewell)
            else:
                self.user.unacknowledged()
            return
        waiting.transaction.send_again()
        waiting.delay = min(2 * waiting.delay, settings.t2)
        waiting.resend = timers.after(min(waiting.delay, left), self._resend_2xx, waiting)

    def _stop_resending(self, waiting: Unacknowledged) -> None:
        if waiting.resend is not None:
            waiting.resend.cancel()
            waiting.resend = None

    # To the peer

    def ack(self, cseq: int, sdp: bytes = b"") -> None:
        """ACK the 2xx to our INVITE with this number (section 13.2.2.4), along the route set."""
        uri, lines = self.dialog.lines(b"ACK", cseq)
        lines += self.authorization  # section 22.1: the ACK repeats the INVITE's credentials
        if sdp:
            lines.append(SDP)
            self._describe(sdp, b"")

        def send(flow: Flow) -> None:
            layer = self.agent.layer
            data = layer.build(flow, layer.branch(), b"ACK", uri, lines, sdp)
            if self._acks is None:
                self._acks = {}
            elif len(self._acks) > 1:  # a repeated 2xx is the last one's, or at most the one's before it
                del self._acks[min(self._acks)]
            self._acks[cseq] = (flow, data)
            layer.send(flow, data, b"ACK", self.dialog.call_id)

        self.agent.with_flow(self.dialog, send, self._lost)

    def repeat_ack(self, cseq: int) -> bool:
        """ACK a repeated 2xx again; False when it has not been acknowledged yet."""
        if self._acks is None or cseq not in self._acks:
            return False
        flow, data = self._acks[cseq]

        def send(flow: Flow) -> None:
            self._acks[cseq] = (flow, data)
            self.agent.layer.send(flow, data, b"ACK", self.dialog.call_id)

        if flow.open:
            send(flow)
        else:  # the ACK went down with its connection
            self.agent.with_flow(self.dialog, send, self._lost)
        return True

    def reinvite(self, sdp: bytes, done: Callable[[Response | None], None]) -> None:
        """Offer a change. `done` gets the final response, None when there is none; after a 2xx the user
        must call `ack`. One at a time: a second one is answered 491 by ourselves."""

        def answered(response: Response | None) -> None:
            self._inviting = None
            self._change_answered(response, sdp)
            done(response)

        self._inviting = self.request(b"INVITE", self._change_lines(sdp), sdp, answered)

    def update(self, sdp: bytes, done: Callable[[Response | None], None]) -> None:
        """As `reinvite`, by UPDATE (RFC 3311); needs no ACK."""
        self._updating = bool(sdp)

        def answered(response: Response | None) -> None:
            self._updating = False
            self._change_answered(response, sdp)
            done(response)

        self.request(b"UPDATE", self._change_lines(sdp), sdp, answered)

    def _change_lines(self, sdp: bytes) -> tuple[bytes, ...]:
        timer = self.timer.lines() if self.timer is not None else ()
        lines = (*self.contact, *self.agent.abilities_but_reliable, *timer)
        return (*lines, SDP) if sdp else lines

    def _change_answered(self, response: Response | None, sdp: bytes) -> None:
        if response is not None and response.status < 300:
            self.dialog.refresh(response)
            session_timer.accepted(self, response)
            self._describe(sdp, response.sdp)

    # The session timer

    def established(self, response: Response, sdp: bytes) -> None:
        """Take the 2xx to our INVITE that carried the offer `sdp` (section 13.2.2.4)."""
        self.dialog.establish(response)
        session_timer.accepted(self, response)
        self._describe(sdp, response.sdp)

    def refreshed(self, request: Request, sdp: bytes) -> tuple[bytes, ...]:
        """Take a re-INVITE or UPDATE, or the first INVITE, that is accepted with `sdp`: header lines for its 2xx."""
        lines = session_timer.accepting(self, request)
        self._describe(sdp, request.sdp)
        return lines

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.stop()
            self.timer = None

    def _describe(self, ours: bytes, theirs: bytes) -> None:
        if self.timer is not None:
            self.timer.ours = ours or self.timer.ours
            self.timer.theirs = theirs or self.timer.theirs
        if self.theirs is not None:
            self.theirs = theirs or self.theirs

    @property
    def busy(self) -> bool:
        """Whether an INVITE or offer of either side is under way (section 14.1), also one that waits for its ACK
        or PRACK."""
        held = self.reliable is not None and self.reliable.holding
        return bool(self.offer or self._inviting or self._updating or self._unacked or held)

    def withdraw(self) -> None:
        """Take our re-INVITE back (section 9.1), if there is one that has no final response."""
        if self._inviting is not None:
            self._inviting.cancel()

    def bye(self, *lines: bytes) -> None:
        """End the dialog; nothing the peer answers changes that. A callee may not send BYE before it has
        the ACK to its 2xx (section 15), so the BYE waits for that, or for its time-out."""
        if self.ended:
            return
        self.ended = True
        self.stop_timer()
        self.withdraw()
        if self._unacked:
            self._farewell = lines
        else:
            self._send_bye(lines)
        self._refuse_pending()

    def _send_bye(self, lines: tuple[bytes, ...]) -> None:
        self._farewell = None
        self.request(b"BYE", lines, b"", self._bye_answered)

    def discard(self) -> None:
        """The dialog never came to be, or is over on the peer's word: forget it without BYE."""
        self.ended = True
        self.stop_timer()
        if self.reliable is not None:
            self.reliable.stop()
        self.withdraw()
        self._farewell = None
        if self._unacked:
            for waiting in self._unacked.values():
                self._stop_resending(waiting)
            self._unacked = None
        self._forget(None)

    def _bye_answered(self, response: Response | None) -> None:
        # A BYE of the peer that crossed ours may still be repeated.
        self.agent.timers.after(self.agent.settings.t4, self._forget)

    def request(
        self,
        method: bytes,
        extra: tuple[bytes, ...],
        body: bytes,
        done: Callable[[Response | None], None],
    ) -> DialogRequest:
        """Send a request within the dialog. `done` gets its final response, or None when none came or it
        could not be sent. 408 and 481 end the dialog (section 12.2.1.2)."""
        uri, lines = self.dialog.lines(method)
        lines += extra
        if self.credentials is not None:
            lines += [name + b": " + value for name, value in self.credentials.begin(method, uri)]
        attempt = DialogRequest(self, method, uri, lines, body, done)
        self.agent.with_flow(self.dialog, attempt.send, attempt.unsendable)
        return attempt

    def _lost(self, error: CalltrackError) -> None:
        self.peer_lost(str(error))

    def peer_lost(self, why: str) -> None:
        """The peer says that it does not know the dialog, or says nothing any more."""
        if not self.ended:
            self.bye()
            self.user.hung_up(why)

    def _forget(self, _: None) -> None:
        self.agent.dialogs.pop(self.dialog.id, None)
