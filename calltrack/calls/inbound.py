"""The caller's side of a call: a server INVITE transaction and its dialog (RFC 3261 section 13.3).

Speaks neutral events upwards; knows its call only as somebody who hears them.
"""

from __future__ import annotations

import secrets

from calltrack.calls.events import Cancelled
from calltrack.calls.sides import Hearer, UsageSide, contact_line
from calltrack.sip.agent import Agent
from calltrack.sip.dialogs import Dialog
from calltrack.sip.exchanges import SDP
from calltrack.sip.invite import InviteUsage
from calltrack.sip.message import Request
from calltrack.sip.transactions import ServerTransaction
from calltrack.sip.uri import parse_uri


class InboundSide(UsageSide):
    """The caller. Raises MalformedMessage from its constructor when the INVITE has no usable Contact."""

    __slots__ = ("_agent", "_rung", "max_forwards", "sdp", "transaction")

    def __init__(self, call: Hearer, agent: Agent, transaction: ServerTransaction) -> None:
        flow = transaction.flow
        super().__init__(call, "caller", flow.remote.host)
        self._agent = agent
        self._rung: tuple[int, bytes] = (0, b"")
        self.transaction = transaction
        transaction.user = self
        request = transaction.request
        transaction.to_tag = secrets.token_hex(8).encode()
        dialog = Dialog.of_server(request, transaction.to_tag, flow)
        self.sdp = request.sdp  # its offer; b"" = it wants ours
        self.max_forwards = request.max_forwards
        contact = contact_line(_user_of(request), agent.transports.sent_by(flow), flow.transport)
        self.usage = InviteUsage(agent, dialog, self, (contact,))

    @property
    def answered(self) -> bool:
        return self.transaction.answered

    def ring(self, status: int, sdp: bytes) -> None:
        """Pass a provisional response on; the same one again is not news."""
        if self.answered or self._rung == (status, sdp):
            return
        self._rung = (status, sdp)
        lines = (*self.usage.contact, SDP) if sdp else self.usage.contact
        self._agent.respond(self.transaction, status, lines, sdp)

    def answer(self, sdp: bytes) -> None:
        """200, resent until it is acknowledged: `Acknowledged` follows, or `Ended`."""
        self.usage.accept(self.transaction, sdp)

    def refuse(self, status: int, lines: tuple[bytes, ...] = ()) -> None:
        """A final failure; the dialog never comes to be."""
        self._agent.respond(self.transaction, status, lines)
        self.usage.discard()

    def cancelled(self, cancel: Request) -> None:
        self.call.heard(self, Cancelled((cancel.get(b"reason") or b"").decode("utf-8", "replace")))

    def release(self) -> None:
        super().release()
        self.sdp = b""
        self.transaction.user = None

    def end(self, *lines: bytes) -> None:
        """BYE when the call was answered, else a final failure."""
        if self.answered:
            self.usage.bye(*lines)
        else:
            self.refuse(480, lines)


def _user_of(request: Request) -> bytes:
    return parse_uri(request.uri).user
