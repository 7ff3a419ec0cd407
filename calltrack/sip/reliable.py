"""Provisional responses that arrive (RFC 3262): ours are sent until their PRACK comes, a peer's are acknowledged in
order. Knows the usage of an early dialog; not the call. Exists only for INVITEs that use it.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Callable

from calltrack.errors import MalformedMessage
from calltrack.sip.capabilities import RELIABLE
from calltrack.sip.exchanges import SDP
from calltrack.sip.grammar import parse_uint
from calltrack.sip.message import Message, Response
from calltrack.sip.transactions import ServerTransaction
from calltrack.timers import Timer

if TYPE_CHECKING:
    from calltrack.sip.invite import InviteUsage

REQUIRE = b"Require: " + RELIABLE


class ReliableResponses:
    """Our provisional responses to one INVITE in one early dialog, one at a time, each with the next RSeq, resent
    from T1 on, twice as late each time, until its PRACK comes (section 3).

    `given_up()`: called when 64*T1 have passed without a PRACK.
    """

    __slots__ = (
        "_accepting",
        "_delay",
        "_given_up",
        "_invite_cseq",
        "_number",
        "_queue",
        "_resend",
        "_since",
        "_transaction",
        "_usage",
        "_waiting",
        "answer",
    )

    def __init__(self, usage: InviteUsage, transaction: ServerTransaction, given_up: Callable[[], None]) -> None:
        self._usage = usage
        self._transaction = transaction
        self._given_up = given_up
        self._invite_cseq = transaction.request.cseq[0]
        self._number = secrets.randbelow(2**30)  # of the last one; section 3: they begin anywhere below 2**31
        self._waiting: tuple[int, bytes] | None = None  # status and description that has no PRACK yet
        self._queue: list[tuple[int, bytes]] = []
        self._accepting: bytes | None = None  # description of a 200 that waits for a PRACK
        self._resend: Timer | None = None
        self._delay = self._since = 0.0
        self.answer = b""  # that was sent; there can be only one in a dialog

    @property
    def holding(self) -> bool:
        """Whether a 200 waits for a PRACK."""
        return self._accepting is not None

    def send(self, status: int, sdp: bytes) -> None:
        """Send a provisional response, when those before it are acknowledged. `sdp`: an answer or b""."""
        if sdp:
            self._queue = [(earlier, b"") for earlier, _ in self._queue]
        self._queue.append((status, sdp))
        if self._waiting is None:
            self._send_next()

    def accept(self, sdp: bytes) -> None:
        """200, as soon as no answer waits for its PRACK (section 3); without a description when the same has
        been sent reliably (section 5)."""
        self._queue.clear()
        self._accepting = sdp
        if self._waiting is None or not self._waiting[1]:
            self._accept()

    def stop(self) -> None:
        """Send nothing any more; a PRACK that is under way is still answered."""
        self._queue.clear()
        self._accepting = None
        self._stop_resending()

    def acknowledged(self, prack: ServerTransaction) -> None:
        """A PRACK in the dialog. Whether it is one of ours is in its RAck (section 3)."""
        agent = self._usage.agent
        try:
            right = _rack(prack.request) == (self._number, self._invite_cseq, b"INVITE")
        except MalformedMessage:
            agent.respond(prack, 400)
            return
        if not right or self._waiting is None:
            agent.respond(prack, 481)
            return
        self._waiting = None
        self._stop_resending()
        # A second offer, before the call is answered: the caller may repeat it then.
        agent.respond(prack, 488 if prack.request.sdp else 200)
        if self._accepting is not None:
            self._accept()
        elif self._queue:
            self._send_next()

    def _send_next(self) -> None:
        status, sdp = self._waiting = self._queue.pop(0)
        usage = self._usage
        self._number += 1
        lines = (*usage.contact, REQUIRE, b"RSeq: %d" % self._number)
        if sdp:
            self.answer = sdp
            lines += (SDP,)
        usage.agent.respond(self._transaction, status, lines, sdp)
        timers = usage.agent.timers
        self._since = timers.now()
        self._delay = usage.agent.settings.t1
        self._resend = timers.after(self._delay, self._resend_due)

    def _resend_due(self, _: None) -> None:
        settings, timers = self._usage.agent.settings, self._usage.agent.timers
        left = self._since + settings.timeout - timers.now()
        if left <= 0.001:
            self._resend = None
            self._given_up()
            return
        self._transaction.send_again()
        self._delay *= 2
        self._resend = timers.after(min(self._delay, left), self._resend_due)

    def _accept(self) -> None:
        sdp, self._accepting = self._accepting, None
        self._stop_resending()
        self._usage.accept(self._transaction, sdp, described=sdp != self.answer)

    def _stop_resending(self) -> None:
        if self._resend is not None:
            self._resend.cancel()
            self._resend = None


class Acknowledgements:
    """Of a peer's reliable provisional responses to one INVITE of ours, which may have forked (section 4)."""

    __slots__ = ("_answers", "_last")

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}  # RSeq, by remote tag
        self._answers: dict[bytes, bytes] = {}

    def take(self, usage: InviteUsage, response: Response) -> bool:
        """Acknowledge a provisional response of the early dialog `usage`. False for one that is not the next
        in order, which must not be looked at: it was here before, or another is missing before it."""
        try:
            number = parse_uint(response.get(b"rseq") or b"", "RSeq")
        except MalformedMessage:
            return False
        tag = usage.dialog.remote_tag
        last = self._last.get(tag)
        if last is not None and number != last + 1:
            return False
        self._last[tag] = number
        if response.sdp:
            self._answers.setdefault(tag, response.sdp)
        usage.request(b"PRACK", (b"RAck: %d %d INVITE" % (number, response.cseq[0]),), b"", _indifferent)
        return True

    def answer(self, usage: InviteUsage) -> bytes:
        """The answer that came reliably in this dialog: a 2xx need not repeat it. b"" when none did."""
        return self._answers.get(usage.dialog.remote_tag, b"")


def is_reliable(response: Response) -> bool:
    """Whether a provisional response wants a PRACK."""
    return b"rseq" in response.names() and RELIABLE in response.tokens(b"require")


def _rack(prack: Message) -> tuple[int, int, bytes]:
    """RSeq, CSeq number and method of the response that a PRACK is for (section 7.2)."""
    words = [word for word in (prack.get(b"rack") or b"").replace(b"\t", b" ").split(b" ") if word]
    if len(words) != 3:
        raise MalformedMessage("a RAck that is not three words")
    return parse_uint(words[0], "RAck"), parse_uint(words[1], "RAck"), words[2]


def _indifferent(response: Response | None) -> None:
    """What the peer answers to a PRACK changes nothing: without one it repeats its response."""
