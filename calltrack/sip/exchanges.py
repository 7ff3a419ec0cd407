"""Single requests within a dialog: those of the peer that wait for an answer, and our own (RFC 3261 section
12.2). Knows the usage they belong to; not what they mean for a call.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Callable

from calltrack.errors import CalltrackError
from calltrack.sip.flows import Flow
from calltrack.sip.message import Request, Response
from calltrack.sip.transactions import ClientTransaction, ServerTransaction
from calltrack.sip.warning import Warning
from calltrack.timers import Timer

if TYPE_CHECKING:
    from calltrack.sip.invite import InviteUsage

SDP = b"Content-Type: application/sdp"


def retry_after() -> tuple[bytes]:
    """With a 500 to an offer that came before the one in front of it was answered (RFC 3261 section 14.2, RFC 3311
    section 5.2)."""
    return (b"Retry-After: %d" % random.randint(0, 10),)


class Exchange:
    """A request of the peer within the dialog that its user answers once, by `accept` or `refuse`. `withdrawn()`,
    when the user has set it, is called if the peer takes it back; it is answered then."""

    __slots__ = ("transaction", "usage", "withdrawn")

    def __init__(self, usage: InviteUsage, transaction: ServerTransaction) -> None:
        self.usage = usage
        self.transaction = transaction
        self.withdrawn: Callable[[], None] | None = None
        transaction.user = self

    @property
    def request(self) -> Request:
        return self.transaction.request

    @property
    def method(self) -> bytes:
        return self.transaction.method

    @property
    def sdp(self) -> bytes:
        return self.transaction.request.sdp

    @property
    def answered(self) -> bool:
        """Whether it has its answer, be it because the peer took it back or hung up."""
        return self.transaction.answered

    def accept(self, sdp: bytes = b"") -> None:
        """2xx, with a description when there is one to give. Nothing when it has its answer: rewriting a description
        takes time, in which the peer may take the question back or the call may end."""
        if self.answered:
            return
        if self.method == b"INVITE":
            self.usage.accept(self.transaction, sdp)
        elif self.method == b"UPDATE":
            lines = (*self.usage.contact, *self.usage.refreshed(self.request, sdp), *((SDP,) if sdp else ()))
            self.usage.agent.respond(self.transaction, 200, lines, sdp)
        elif self.method == b"REFER":  # RFC 3515 section 2.4.2
            self.usage.agent.respond(self.transaction, 202, self.usage.contact)
        else:
            self.usage.agent.respond(self.transaction, 200)
        self.usage.settled(self)

    def refuse(self, status: int, lines: tuple[bytes, ...] = (), warning: Warning | None = None) -> None:
        if warning is not None:
            lines += (warning.line(self.usage.agent.transports.sent_by(self.transaction.flow)),)
        self.usage.agent.respond(self.transaction, status, lines)
        self.usage.settled(self)

    def cancelled(self, cancel: Request) -> None:
        """The peer takes a re-INVITE back (section 9.2)."""
        self.refuse(487)
        if self.withdrawn is not None:
            self.withdrawn()


class Unacknowledged:
    """A 2xx to INVITE that is resent until its ACK comes (section 13.3.1.4)."""

    __slots__ = ("cseq", "delay", "resend", "since", "transaction")

    def __init__(self, transaction: ServerTransaction, cseq: int, delay: float, since: float) -> None:
        self.transaction = transaction
        self.cseq = cseq
        self.delay = delay
        self.since = since
        self.resend: Timer | None = None


class DialogRequest:
    """One request within a dialog, sent again once when it is challenged and we have credentials."""

    __slots__ = ("_body", "_cancelled", "_done", "_flow", "_lines", "_method", "_transaction", "_uri", "_usage")

    def __init__(
        self,
        usage: InviteUsage,
        method: bytes,
        uri: bytes,
        lines: list[bytes],
        body: bytes,
        done: Callable[[Response | None], None],
    ) -> None:
        self._usage = usage
        self._method = method
        self._uri = uri
        self._lines = lines
        self._body = body
        self._done = done
        self._transaction: ClientTransaction | None = None
        self._cancelled = False

    def send(self, flow: Flow) -> None:
        usage = self._usage
        if self._cancelled:
            self._finish(None, "")
            return
        self._flow = flow
        usage.agent.with_room(flow, self._lines, self._body, self._send_over)

    def _send_over(self, flow: Flow) -> None:
        usage = self._usage
        self._transaction = usage.agent.layer.request(
            flow, self._method, self._uri, self._lines, self._body, self, usage.dialog.call_id
        )
        if self._cancelled:
            self._transaction.cancel()

    def cancel(self) -> None:
        """Of a re-INVITE: CANCEL it, now or before it is sent at all."""
        self._cancelled = True
        if self._transaction is not None:
            self._transaction.cancel()

    def unsendable(self, error: CalltrackError) -> None:
        self._finish(None, str(error))

    def failed(self, transaction: ClientTransaction, error: CalltrackError) -> None:
        self._finish(None, str(error))

    def responded(self, transaction: ClientTransaction, response: Response) -> None:
        status = response.status
        usage = self._usage
        if status < 200:
            return
        if transaction.method == b"INVITE" and status < 300 and usage.repeat_ack(response.cseq[0]):
            return
        if status in (401, 407) and not self._cancelled and self._answer_challenge(response):
            return
        self._finish(response, f"{status} within the call" if status in (408, 481) else "")

    def _answer_challenge(self, response: Response) -> bool:
        credentials = self._usage.credentials
        if credentials is None:
            return False
        name = b"www-authenticate" if response.status == 401 else b"proxy-authenticate"
        other = b"proxy-authenticate" if response.status == 401 else b"www-authenticate"
        answer = credentials.answer(
            self._method, self._uri, response.status, response.all(name), response.all(other)
        )
        if answer is None:
            return False
        dialog = self._usage.dialog
        dialog.local_cseq += 1
        replaced = (b"CSeq: ", *(header + b": " for header, _ in answer))
        self._lines = [line for line in self._lines if not line.startswith(replaced)]
        self._lines.append(b"CSeq: %d %b" % (dialog.local_cseq, self._method))
        self._lines += [header + b": " + value for header, value in answer]
        self.send(self._flow)
        return True

    def _finish(self, response: Response | None, lost: str) -> None:
        self._transaction = None  # which holds us while it lingers
        self._done(response)
        if lost and self._method not in (b"BYE", b"PRACK", b"NOTIFY"):  # these may come after what they are for is over
            self._usage.peer_lost(lost)
