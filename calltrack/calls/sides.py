"""What the two kinds of sides of a call have in common: a dialog whose events go up to the call."""

from __future__ import annotations

from typing import Protocol

from calltrack.calls.events import Acknowledged, Ended, Event, Informed, Referred, Reoffered
from calltrack.sip.exchanges import Exchange
from calltrack.sip.invite import UNHEARD, InviteUsage
from calltrack.sip.uri import escape_user


class Hearer(Protocol):
    """A call, as its sides see it."""

    def heard(self, side: object, event: Event) -> None: ...


class _Silence:
    """Hears what nobody needs to hear any more."""

    def heard(self, side: object, event: Event) -> None:
        pass


SILENCE = _Silence()


def call_id_of(hearer: Hearer) -> str:
    """The id of the call that a side belongs to, for the log; "" where none is left."""
    return getattr(hearer, "id", "")


class UsageSide:
    """What both sides of a call do with a dialog: passes on what happens in it."""

    __slots__ = ("call", "host", "party", "usage")

    def __init__(self, call: Hearer, party: str, host: str) -> None:
        self.call = call
        self.party = party  # its name in the media session and the ladder
        self.host = host  # address literal that its signalling goes to
        self.usage: InviteUsage | None = None

    def release(self) -> None:
        """Tell the call nothing any more, and hold on to nothing of it: a side outlives its call for as long
        as its transactions linger."""
        self.call = SILENCE
        if self.usage is not None:
            self.usage.user = UNHEARD  # no longer each other's: both are freed without the garbage collector

    def reoffered(self, exchange: Exchange) -> None:
        self.call.heard(self, Reoffered(exchange))

    def informed(self, exchange: Exchange) -> None:
        self.call.heard(self, Informed(exchange))

    def referred(self, exchange: Exchange) -> None:
        self.call.heard(self, Referred(exchange))

    def acknowledged(self, sdp: bytes) -> None:
        self.call.heard(self, Acknowledged(sdp))

    def unacknowledged(self) -> None:
        """Our acceptance never arrived: the session is over (section 13.3.1.4)."""
        assert self.usage is not None
        self.usage.bye()
        self.call.heard(self, Ended("no ACK to our 200"))

    def hung_up(self, cause: str) -> None:
        self.call.heard(self, Ended(cause))


def contact_line(user: bytes, sent_by: bytes, transport: str) -> bytes:
    """Our Contact in a dialog (section 8.1.1.8)."""
    suffix = b"" if transport == "udp" else b";transport=" + transport.encode()
    at = escape_user(user) + b"@" if user else b""
    return b"Contact: <sip:%b%b%b>" % (at, sent_by, suffix)
