"""Match, retransmit and time out requests (RFC 3261 section 17, RFC 6026). Knows flows; no dialogs.

What moves a transaction from state to state stands in the four tables below, whole. A table does not know messages;
its actions do, and each is a few lines.

A transaction user gets, from a client transaction: `responded(transaction, response)` for each
response that is not a retransmission (for INVITE: every 2xx), and `failed(transaction, error)` once,
with TransportFailure or TransactionTimeout, when there will be no final response. From an INVITE server
transaction: `cancelled(cancel)` when the client gives up before a final response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Protocol

from calltrack.errors import CalltrackError, TransportFailure
from calltrack.sip.flows import Flow
from calltrack.sip.message import Request, Response, respond, serialise, to_is_tagged
from calltrack.timers import Timer

if TYPE_CHECKING:
    from calltrack.sip.layer import TransactionLayer

# States
CALLING, TRYING, PROCEEDING, ACCEPTED = "Calling", "Trying", "Proceeding", "Accepted"
COMPLETED, CONFIRMED, TERMINATED = "Completed", "Confirmed", "Terminated"

# Events of servers
REQUEST, ACK = "request again", "ACK"
SEND_1XX, SEND_2XX, SEND_FAILURE = "send 1xx", "send 2xx", "send 300-699"
# Events of clients
GET_1XX, GET_2XX, GET_FAILURE = "1xx", "2xx", "300-699"
# Events of both
RESEND_DUE, EXPIRED, LINGERED, TRANSPORT_ERROR = "resend due", "expired", "lingered", "transport error"


class TransactionTimeout(CalltrackError):
    """No final response came (Timer B or F, section 17.1)."""


class Settings:
    """Timer values in seconds (section 17.1.1.1, table 4)."""

    __slots__ = ("linger", "t1", "t2", "t4", "timeout")

    def __init__(self, t1: float = 0.5, t2: float = 4.0, t4: float = 5.0) -> None:
        self.t1, self.t2, self.t4 = t1, t2, t4
        self.timeout = self.linger = 64 * t1  # Timers B, F, H; D, J, L, M


class ClientUser(Protocol):
    def responded(self, transaction: ClientTransaction, response: Response) -> None: ...
    def failed(self, transaction: ClientTransaction, error: CalltrackError) -> None: ...


class Transaction:
    """What the four machines share: a state, a table, one timer that resends and one that ends."""

    __slots__ = ("_delay", "_ending", "_resending", "_table", "flow", "layer", "state")

    def __init__(self, layer: TransactionLayer, flow: Flow, table: dict, state: str) -> None:
        self.layer = layer
        self.flow = flow
        self.state = state
        self._table = table
        self._delay = layer.settings.t1
        self._resending: Timer | None = None
        self._ending: Timer | None = None

    def event(self, event: str, message: Any = None) -> bool:
        """Take a step; False when the table has no such step, that is, the event means nothing now."""
        step = self._table.get((self.state, event))
        if step is None:
            return False
        self.state = step[0]
        for action in step[1]:
            action(self, message)
        return True

    # Timers

    def _resend_after_t1(self, _: Any) -> None:
        if not self.flow.reliable:
            self._resending = self.layer.timers.after(self._delay, self._resend_due)

    def _resend_after_twice(self, _: Any) -> None:
        """Timer A: doubled without a bound (section 17.1.1.2)."""
        self._delay *= 2
        self._resending = self.layer.timers.after(self._delay, self._resend_due)

    def _resend_after_t2(self, _: Any) -> None:
        """Timers E and G: doubled up to T2 (sections 17.1.2.2, 17.2.1)."""
        self._delay = min(self._delay * 2, self.layer.settings.t2)
        self._resending = self.layer.timers.after(self._delay, self._resend_due)

    def _resend_slowly(self, _: Any) -> None:
        """Timer E in Proceeding: T2 (section 17.1.2.2)."""
        self._resending = self.layer.timers.after(self.layer.settings.t2, self._resend_due)

    def _resend_due(self, _: Any) -> None:
        self._resending = None
        self.event(RESEND_DUE)

    def _stop_resending(self, _: Any) -> None:
        if self._resending is not None:
            self._resending.cancel()
            self._resending = None

    def _expire_later(self, _: Any) -> None:
        """Timers B, F, H: 64*T1."""
        self._end_after(self.layer.settings.timeout, EXPIRED)

    def _linger(self, _: Any) -> None:
        """Timers D, J (0 when reliable), L and M (always): absorb what is still under way."""
        self._stop_resending(None)
        settled = self.flow.reliable and self.state == COMPLETED
        self._end_after(0.0 if settled else self.layer.settings.linger, LINGERED)

    def _linger_t4(self, _: Any) -> None:
        """Timers I and K: T4, 0 when reliable."""
        self._stop_resending(None)
        self._end_after(0.0 if self.flow.reliable else self.layer.settings.t4, LINGERED)

    def _end_after(self, seconds: float, event: str) -> None:
        self._no_deadline(None)
        if seconds:
            self._ending = self.layer.timers.after(seconds, self.event, event)
        else:
            self.event(event)

    def _no_deadline(self, _: Any) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def _forget(self, _: Any) -> None:
        self._stop_resending(None)
        self._no_deadline(None)
        self.layer.forget(self)


class ServerTransaction(Transaction):
    """A request that somebody sent us, until its answer has arrived. `request` is gone once a final one was sent."""

    __slots__ = ("_last", "call_id", "key", "method", "request", "sent_by", "to_tag", "user")

    def __init__(self, layer: TransactionLayer, flow: Flow, request: Request, key: tuple[bytes, ...]) -> None:
        invite = request.method == b"INVITE"
        super().__init__(layer, flow, INVITE_SERVER if invite else SERVER, PROCEEDING if invite else TRYING)
        self.request = request  # until it has its final response: what lingers after that must be small
        self.method = request.method
        self.call_id = request.call_id
        self.sent_by = request.via.host, request.via.port
        self.key = key
        self.to_tag = b""  # of its responses, when the request has none: its dialog's, else the layer's choice
        self.user: Any = None
        self._last = b""  # the last response, as sent

    @property
    def answered(self) -> bool:
        """Whether a final response has been sent."""
        return self.state not in (TRYING, PROCEEDING)

    def respond(
        self,
        status: int,
        lines: list[bytes] | tuple[bytes, ...] = (),
        body: bytes = b"",
        *,
        reason: bytes = b"",
    ) -> bool:
        """Answer (section 8.2.6.2). `lines` are whole header lines; To gets `to_tag` when it has no tag.
        False, and nothing sent, when a final response has been sent already."""
        event = SEND_1XX if status < 200 else SEND_2XX if status < 300 else SEND_FAILURE
        if (self.state, event) not in self._table:
            return False
        if not self.to_tag and status > 100 and not to_is_tagged(self.request):
            self.to_tag = self.layer.tag_of(self.request)
        data = respond(self.request, status, lines, body, to_tag=self.to_tag, reason=reason)
        if status >= 200:
            self.request = None
        return self.event(event, data)

    def send_again(self) -> None:
        """Send the last response once more: a 2xx to INVITE is resent by the dialog usage (section 13.3.1.4)."""
        self._send_again(None)

    def settle(self) -> None:
        """The 2xx has been acknowledged and will not be sent again; nobody is told anything any more."""
        self._last = b""
        self.user = None

    def _send(self, data: bytes) -> None:
        self._last = data
        self._transmit(data)

    def _send_again(self, _: Any) -> None:
        if self._last:
            self.layer.counters["resent_responses"] += 1
            self._transmit(self._last)

    def _transmit(self, data: bytes) -> None:
        if self.layer.tap is not None:
            self.layer.tap(self.call_id, True, data, self.method, self.flow)
        try:
            self.flow.send(data)
        except TransportFailure as error:
            self.layer.undeliverable(self, data, error)

    def _acknowledged_2xx(self, ack: Request) -> None:
        """An ACK to a 2xx with the INVITE's branch, as RFC 2543 peers send it: the dialog's business."""
        self.layer.user.acknowledged(ack)


class ClientTransaction(Transaction):
    """A request that we sent, until its final response."""

    __slots__ = ("_cancel", "_request", "branch", "call_id", "method", "user")

    def __init__(
        self,
        layer: TransactionLayer,
        flow: Flow,
        branch: bytes,
        method: bytes,
        call_id: bytes,
        data: bytes,
        user: ClientUser,
    ) -> None:
        invite = method == b"INVITE"
        super().__init__(layer, flow, INVITE_CLIENT if invite else CLIENT, CALLING if invite else TRYING)
        self.branch = branch
        self.call_id = call_id
        self.method = method
        self.user = user
        self._request = data  # as sent
        self._cancel: tuple[bytes, ...] | None = None  # header lines of a CANCEL that waits

    def start(self) -> None:
        """Send the request and start the timers (Timer A or E, B or F)."""
        self._expire_later(None)
        self._resend_after_t1(None)
        self._transmit(self._request)

    def cancel(self, *lines: bytes) -> None:
        """Ask for an end to an INVITE that has no final response (section 9.1), with header `lines` such as Reason;
        held back before the first provisional response."""
        if self.state == PROCEEDING:
            self._cancel = None
            self.layer.cancel(self, lines)
            # A peer that never answers 487: give up 64*T1 after the CANCEL (section 9.1).
            self._expire_later(None)
        elif self.state == CALLING:
            self._cancel = lines

    def header(self, name: bytes) -> list[bytes]:
        """Header lines of the request as sent that begin with `name`."""
        head = self._request[: self._request.find(b"\r\n\r\n")]
        return [line for line in head.split(b"\r\n") if line.startswith(name)]

    def received(self, response: Response) -> None:
        status = response.status
        self.event(GET_1XX if status < 200 else GET_2XX if status < 300 else GET_FAILURE, response)

    def flow_closed(self, flow: Flow) -> None:
        """Its connection is gone: for a request without final response as if it could not be sent."""
        self.event(TRANSPORT_ERROR, TransportFailure(f"the connection to {flow.remote.host} was closed"))

    def _transmit(self, data: bytes) -> None:
        if self.layer.tap is not None:
            self.layer.tap(self.call_id, True, data, self.method, self.flow)
        try:
            self.flow.send(data)
        except TransportFailure as error:
            # Not from within `start`: the user has not got the transaction yet.
            self.layer.timers.after(0.0, self._could_not_send, error)

    def _could_not_send(self, error: TransportFailure) -> None:
        self.event(TRANSPORT_ERROR, error)

    def _send_again(self, _: Any) -> None:
        self.layer.counters["resent_requests"] += 1
        self._transmit(self._request)

    def _drop_request(self, _: Any) -> None:
        """It will not be sent again, and no ACK or CANCEL is made from it: what lingers must be small."""
        self._request = b""

    def _pass_up(self, response: Response) -> None:
        self.user.responded(self, response)

    def _send_held_cancel(self, _: Any) -> None:
        if self._cancel is not None:
            self.cancel(*self._cancel)

    def _send_ack(self, response: Response) -> None:
        """ACK to a failure response: the INVITE's branch, Request-URI and routes (section 17.1.1.3)."""
        start, lines = self.derived(b"ACK")
        to = next(i for i, line in enumerate(lines) if line.startswith(b"To: "))
        lines[to] = b"To: " + (response.get(b"to") or b"")
        self.layer.send(self.flow, serialise(start, lines), b"ACK", self.call_id)

    def derived(self, method: bytes) -> tuple[bytes, list[bytes]]:
        """Start line and header lines of an ACK or CANCEL that belongs to this INVITE (sections 9.1, 17.1.1.3)."""
        lines = [
            line
            for name in (b"Via: ", b"Route: ", b"From: ", b"To: ", b"Call-ID: ", b"Max-Forwards: ")
            for line in self.header(name)
        ]
        number = self.header(b"CSeq: ")[0].split(b" ")[1]
        lines.append(b"CSeq: %b %b" % (number, method))
        return b"%b %b SIP/2.0" % (method, self._request.split(b" ", 2)[1]), lines

    def _timed_out(self, _: Any) -> None:
        self.user.failed(self, TransactionTimeout(f"no answer to {self.method.decode()} from {self.flow.remote.host}"))

    def _transport_failed(self, error: Any) -> None:
        self.user.failed(self, error)


class _Nobody:
    """The user of a transaction whose outcome no longer matters."""

    def responded(self, transaction: ClientTransaction, response: Response) -> None:
        pass

    def failed(self, transaction: ClientTransaction, error: CalltrackError) -> None:
        pass


NOBODY = _Nobody()

S, C, T = ServerTransaction, ClientTransaction, Transaction

# RFC 3261 figure 7, with RFC 6026 section 8.7. The transaction user has sent 100 Trying itself.
INVITE_SERVER: dict[tuple[str, str], tuple[str, tuple[Callable[..., None], ...]]] = {
    (PROCEEDING, REQUEST): (PROCEEDING, (S._send_again,)),
    (PROCEEDING, SEND_1XX): (PROCEEDING, (S._send,)),
    (PROCEEDING, SEND_2XX): (ACCEPTED, (S._send, T._linger)),  # RFC 6026 7.1: start Timer L
    (PROCEEDING, SEND_FAILURE): (COMPLETED, (S._send, T._resend_after_t1, T._expire_later)),  # Timers G, H
    (ACCEPTED, REQUEST): (ACCEPTED, ()),  # RFC 6026 7.1: absorbed without a response
    (ACCEPTED, ACK): (ACCEPTED, (S._acknowledged_2xx,)),
    (ACCEPTED, LINGERED): (TERMINATED, (T._forget,)),  # Timer L
    (COMPLETED, REQUEST): (COMPLETED, (S._send_again,)),
    (COMPLETED, RESEND_DUE): (COMPLETED, (S._send_again, T._resend_after_t2)),  # Timer G
    (COMPLETED, ACK): (CONFIRMED, (T._linger_t4,)),  # Timer I
    (COMPLETED, EXPIRED): (TERMINATED, (T._forget,)),  # Timer H
    (CONFIRMED, ACK): (CONFIRMED, ()),
    (CONFIRMED, LINGERED): (TERMINATED, (T._forget,)),  # Timer I
}

# RFC 3261 figure 8.
SERVER = {
    (TRYING, REQUEST): (TRYING, ()),  # "any retransmitted requests are discarded"
    (TRYING, SEND_1XX): (PROCEEDING, (S._send,)),
    (TRYING, SEND_2XX): (COMPLETED, (S._send, T._linger)),  # Timer J
    (TRYING, SEND_FAILURE): (COMPLETED, (S._send, T._linger)),
    (PROCEEDING, REQUEST): (PROCEEDING, (S._send_again,)),
    (PROCEEDING, SEND_1XX): (PROCEEDING, (S._send,)),
    (PROCEEDING, SEND_2XX): (COMPLETED, (S._send, T._linger)),
    (PROCEEDING, SEND_FAILURE): (COMPLETED, (S._send, T._linger)),
    (COMPLETED, REQUEST): (COMPLETED, (S._send_again,)),
    (COMPLETED, LINGERED): (TERMINATED, (T._forget,)),
}

# RFC 3261 figure 5, with RFC 6026 section 8.4.
INVITE_CLIENT = {
    (CALLING, RESEND_DUE): (CALLING, (C._send_again, T._resend_after_twice)),  # Timer A
    (CALLING, EXPIRED): (TERMINATED, (T._forget, C._timed_out)),  # Timer B
    (CALLING, TRANSPORT_ERROR): (TERMINATED, (T._forget, C._transport_failed)),
    (CALLING, GET_1XX): (PROCEEDING, (T._stop_resending, T._no_deadline, C._pass_up, C._send_held_cancel)),
    (CALLING, GET_2XX): (ACCEPTED, (T._linger, C._drop_request, C._pass_up)),  # Timer M
    (CALLING, GET_FAILURE): (COMPLETED, (C._send_ack, T._linger, C._pass_up)),  # Timer D
    (PROCEEDING, GET_1XX): (PROCEEDING, (C._pass_up,)),
    (PROCEEDING, GET_2XX): (ACCEPTED, (T._linger, C._drop_request, C._pass_up)),
    (PROCEEDING, GET_FAILURE): (COMPLETED, (C._send_ack, T._linger, C._pass_up)),
    (PROCEEDING, EXPIRED): (TERMINATED, (T._forget, C._timed_out)),  # only after CANCEL (section 9.1)
    (PROCEEDING, TRANSPORT_ERROR): (ACCEPTED, (T._linger, C._drop_request, C._transport_failed)),  # a 2xx may come yet
    (ACCEPTED, GET_2XX): (ACCEPTED, (C._pass_up,)),  # a retransmission or another fork's: the user knows
    (ACCEPTED, LINGERED): (TERMINATED, (T._forget,)),
    (COMPLETED, GET_FAILURE): (COMPLETED, (C._send_ack,)),
    (COMPLETED, LINGERED): (TERMINATED, (T._forget,)),
}

# RFC 3261 figure 6.
CLIENT = {
    (TRYING, RESEND_DUE): (TRYING, (C._send_again, T._resend_after_t2)),  # Timer E
    (TRYING, EXPIRED): (TERMINATED, (T._forget, C._timed_out)),  # Timer F
    (TRYING, TRANSPORT_ERROR): (TERMINATED, (T._forget, C._transport_failed)),
    (TRYING, GET_1XX): (PROCEEDING, (C._pass_up,)),  # Timer E goes on
    (TRYING, GET_2XX): (COMPLETED, (T._linger_t4, C._pass_up)),  # Timer K
    (TRYING, GET_FAILURE): (COMPLETED, (T._linger_t4, C._pass_up)),
    (PROCEEDING, RESEND_DUE): (PROCEEDING, (C._send_again, T._resend_slowly)),
    (PROCEEDING, EXPIRED): (TERMINATED, (T._forget, C._timed_out)),
    (PROCEEDING, TRANSPORT_ERROR): (TERMINATED, (T._forget, C._transport_failed)),
    (PROCEEDING, GET_1XX): (PROCEEDING, (C._pass_up,)),
    (PROCEEDING, GET_2XX): (COMPLETED, (T._linger_t4, C._pass_up)),
    (PROCEEDING, GET_FAILURE): (COMPLETED, (T._linger_t4, C._pass_up)),
    (COMPLETED, LINGERED): (TERMINATED, (T._forget,)),
}
