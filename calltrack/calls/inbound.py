"""The caller's side of a call: a server INVITE transaction and its dialog (RFC 3261 section 13.3, RFC 3262).

Speaks neutral events upwards; knows its call only as somebody who hears them.
"""

from __future__ import annotations

import secrets

from calltrack.calls.events import Cancelled, Ended
from calltrack.calls.sides import Hearer, UsageSide, contact_line
from calltrack.sip.agent import Agent
from calltrack.sip.capabilities import requires_reliability
from calltrack.sip.dialogs import Dialog
from calltrack.sip.exchanges import SDP
from calltrack.sip.invite import UNHEARD, InviteUsage
from calltrack.sip.message import Request
from calltrack.sip.reliable import ReliableResponses
from calltrack.sip.transactions import ServerTransaction
from calltrack.sip.uri import parse_uri
from calltrack.sip.warning import Warning


class InboundSide(UsageSide):
    """The caller. Raises MalformedMessage from its constructor when the INVITE has no usable Contact.

    A caller that requires it gets provisional responses reliably, but none when it makes no offer: the first
    would have to bring ours (RFC 3262 section 5), and the target's comes with its 200.
    """

    __slots__ = ("_agent", "_forsaken", "_rung", "max_forwards", "sdp", "transaction")

    def __init__(self, call: Hearer, agent: Agent, transaction: ServerTransaction) -> None:
        flow = transaction.flow
        super().__init__(call, "caller", flow.remote.host)
        self._agent = agent
        self._rung: tuple[int, bytes] = (0, b"")
        self.transaction = transaction
        transaction.user = self
        self._forsaken: list[InviteUsage] = []
        request = transaction.request
        self.sdp = request.sdp  # its offer; b"" = it wants ours
        self.max_forwards = request.max_forwards
        contact = contact_line(_user_of(request), agent.transports.sent_by(flow), flow.transport)
        self._begin_dialog((contact,))

    def _begin_dialog(self, contact: tuple[bytes]) -> None:
        transaction = self.transaction
        transaction.to_tag = secrets.token_hex(8).encode()
        dialog = Dialog.of_server(transaction.request, transaction.to_tag, transaction.flow)
        self.usage = InviteUsage(self._agent, dialog, self, contact)
        if requires_reliability(transaction.request):
            self.usage.reliable = ReliableResponses(self.usage, transaction, self._not_acknowledged)

    @property
    def answered(self) -> bool:
        return self.transaction.answered

    def ring(self, status: int, sdp: bytes) -> None:
        """Pass a provisional response on; the same one again is not news."""
        if self.answered or self._rung == (status, sdp):
            return
        self._rung = (status, sdp)
        if self.usage.reliable is None:
            lines = (*self.usage.contact, SDP) if sdp else self.usage.contact
            self._agent.respond(self.transaction, status, lines, sdp)
        elif self.sdp:
            self._dialog_for(sdp)
            self.usage.reliable.send(status, sdp)

    def answer(self, sdp: bytes, keep: bool = False) -> None:
        """200, resent until it is acknowledged: `Acknowledged` follows, or `Ended`. `keep`: the caller's descriptions will
        be asked for."""
        self.sdp = b""  # it has been answered, and a call may last for hours
        if self.usage.reliable is not None:
            self._dialog_for(sdp)
        if keep:
            self.usage.theirs = b""
        if self.usage.reliable is None:
            self.usage.accept(self.transaction, sdp)
        else:
            self.usage.reliable.accept(sdp)

    def _dialog_for(self, sdp: bytes) -> None:
        """An answer that was sent reliably holds for its dialog. Another target's belongs to a dialog of its own, as
        if the INVITE had forked (RFC 3261 section 12.1, RFC 3262 section 5)."""
        usage = self.usage
        if sdp and usage.reliable.answer not in (b"", sdp):
            usage.reliable.stop()
            usage.user = UNHEARD
            self._forsaken.append(usage)
            self._begin_dialog(usage.contact)

    def _not_acknowledged(self) -> None:
        """A provisional response has no PRACK in all its time (RFC 3262 section 3)."""
        self.refuse(504)
        self.call.heard(self, Ended("no PRACK to our provisional response", 504))

    def refuse(self, status: int, lines: tuple[bytes, ...] = (), warning: Warning | None = None) -> None:
        """A final failure; the dialog never comes to be."""
        if warning is not None:
            lines += (warning.line(self._agent.transports.sent_by(self.transaction.flow)),)
        self._agent.respond(self.transaction, status, lines)
        self.usage.discard()

    def cancelled(self, cancel: Request) -> None:
        reason = (cancel.get(b"reason") or b"").decode("utf-8", "replace")
        if self.usage.reliable is not None and self.usage.reliable.holding:  # to the call it is answered already
            self.refuse(487)
            self.call.heard(self, Ended(reason))
        else:
            self.call.heard(self, Cancelled(reason))

    def release(self) -> None:
        super().release()
        self.sdp = b""
        self.transaction.user = None
        for usage in self._forsaken:
            usage.discard()
        self._forsaken.clear()

    def end(self, *lines: bytes) -> None:
        """BYE when the call was answered, else a final failure."""
        if self.answered:
            self.usage.bye(*lines)
        else:
            self.refuse(480, lines)


def _user_of(request: Request) -> bytes:
    return parse_uri(request.uri).user
