"""The neutral events that the sides of a call speak. Knows no SIP beyond status numbers.

A side tells its call what happened there by `call.heard(side, event)`; the call tells the other side what
to do. So a side can be a trunk, a registered phone, or a test.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Protocol

from calltrack.sip.warning import Warning


class Reply(Protocol):
    """A question of the peer that waits for an answer."""

    method: bytes
    sdp: bytes
    answered: bool  # also when the peer has taken the question back or is gone
    withdrawn: Callable[[], None] | None  # to be called when the peer does not want an answer any more

    def accept(self, sdp: bytes = b"") -> None: ...
    def refuse(self, status: int, lines: tuple[bytes, ...] = (), warning: Warning | None = None) -> None: ...


class Ringing(NamedTuple):
    """The far end is being alerted, perhaps with early media. `status` 180 to 199; `sdp` b"" or an answer."""

    status: int
    sdp: bytes


class Answered(NamedTuple):
    """The far end took the call. `sdp`: its answer, or its offer when it got none."""

    sdp: bytes


class Failed(NamedTuple):
    """The far end did not take the call, for good. `status` 0: nothing was heard of it at all."""

    status: int
    reason: str  # in words, for the record and the log
    q850: int = 0  # as the peer gave it; 0 = it did not
    warning: Warning | None = None  # why media could not be agreed on


class Acknowledged(NamedTuple):
    """The peer has our acceptance of its offer. `sdp`: its answer, when the offer was ours."""

    sdp: bytes


class Reoffered(NamedTuple):
    """The peer wants to change the session."""

    reply: Reply


class Informed(NamedTuple):
    """The peer sends information within the call, such as DTMF (RFC 6086)."""

    reply: Reply


class Referred(NamedTuple):
    """The peer wants the other side to talk with somebody else (RFC 3515)."""

    reply: Reply


class Cancelled(NamedTuple):
    """The caller gave up before an answer."""

    reason: str


class Ended(NamedTuple):
    """The peer ended the call, or was lost. `status`: what its INVITE is told where that still waits."""

    cause: str
    status: int = 487


Event = Ringing | Answered | Failed | Acknowledged | Reoffered | Informed | Referred | Cancelled | Ended
