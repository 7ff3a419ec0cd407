"""How long a session lasts unless it is refreshed, and who refreshes it (RFC 4028). Knows one INVITE usage and the
requests within its dialog; not the call. Exists only where both sides have agreed on it.

The refresher sends UPDATE (where the peer allows it, else a re-INVITE with the description that holds) after half
the interval; the other side ends the dialog with BYE a little before the interval is over (section 10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from calltrack.errors import MalformedMessage
from calltrack.sip.capabilities import TIMER
from calltrack.sip.grammar import LWS, parse_params, parse_uint
from calltrack.sip.message import Message, Request, Response
from calltrack.timers import Timer

if TYPE_CHECKING:
    from calltrack.sip.invite import InviteUsage

LEAST = 90  # seconds: the shortest interval there may be (section 4)
LAST_CHANCE = 10.0  # seconds before the end of a session after which a refused refresh is not tried again


class SessionSettings(NamedTuple):
    """What is asked of peers."""

    expires: int = 1800  # seconds from one refresh to the end of a session; 0 = nothing is asked for
    least: int = LEAST  # seconds: shorter intervals are refused with 422

    def lines(self, least: int = 0) -> tuple[bytes, ...]:
        """Of an INVITE of ours. `least`: what a peer wants at least."""
        if not self.expires:
            return ()
        least = max(least, self.least)
        expires = b"Session-Expires: %d" % max(self.expires, least)
        return (expires,) if least == LEAST else (expires, b"Min-SE: %d" % least)


class _Wish(NamedTuple):
    interval: int  # seconds
    refresher: bytes  # b"uac" or b"uas", of the request that it is about; b"" = not said


def too_brief(request: Request, settings: SessionSettings) -> tuple[bytes, ...]:
    """Header lines of the 422 that a request gets; () when its interval will do (section 9)."""
    if b"session-expires" not in request.names():
        return ()
    wish = _wish(request)
    if wish is None or wish.interval >= settings.least or not _speaks_timer(request):
        return ()
    return (b"Min-SE: %d" % settings.least,)


def least_of(message: Message) -> int:
    """The least interval in seconds that a message asks for (section 5); that of the RFC when it says nothing."""
    try:
        return max(LEAST, parse_uint((message.get(b"min-se") or b"90").partition(b";")[0].strip(LWS), "Min-SE"))
    except MalformedMessage:
        return LEAST


def accepting(usage: InviteUsage, request: Request) -> tuple[bytes, ...]:
    """Agree with a request of the peer that is accepted now: header lines for its 2xx (section 9, table 2)."""
    names, settings = request.names(), usage.agent.sessions
    wish = _wish(request) if b"session-expires" in names else None
    able = b"supported" in names and _speaks_timer(request)
    if wish is None and not (able and settings.expires):
        usage.stop_timer()
        return ()
    least = max(least_of(request), settings.least)
    if wish is None:  # who asks refreshes
        interval, refresher = settings.expires, b"uas"
    else:
        interval = min(wish.interval, settings.expires) if settings.expires else wish.interval
        refresher = wish.refresher or b"uac"
    if not able:
        refresher = b"uas"
    interval = max(interval, least)
    _start(usage, request, interval, refresher == b"uas")
    line = b"Session-Expires: %d;refresher=%b" % (interval, refresher)
    return (line, b"Require: " + TIMER) if refresher == b"uac" else (line,)


def accepted(usage: InviteUsage, response: Response) -> None:
    """Take what the peer's 2xx to a request of ours says (section 7.2). Without Session-Expires nothing is
    agreed on, or not any more."""
    wish = _wish(response) if b"session-expires" in response.names() else None
    if wish is None:
        usage.stop_timer()
    else:
        _start(usage, response, max(wish.interval, LEAST), wish.refresher != b"uas")


def _start(usage: InviteUsage, message: Message, interval: int, refreshing: bool) -> None:
    if usage.ended:
        return
    if usage.timer is None:
        usage.timer = SessionTimer(usage)
    if b"allow" in message.names():
        usage.timer.updates = b"UPDATE" in message.items(b"allow")
    usage.timer.start(interval, refreshing)


class SessionTimer:
    """Of one usage. `ours` and `theirs`: what either side has described last, for a re-INVITE that changes nothing."""

    __slots__ = ("_due", "_ends_at", "_raised", "_usage", "interval", "least", "ours", "refreshing", "theirs", "updates")

    def __init__(self, usage: InviteUsage) -> None:
        self._usage = usage
        self._due: Timer | None = None
        self._ends_at = 0.0
        self._raised = False  # whether a 422 has made the interval longer since the last refresh
        self.interval = 0  # seconds
        self.least = usage.agent.sessions.least
        self.refreshing = False  # whether the refresher is us
        self.updates = False  # whether the peer allows UPDATE
        self.ours = b""
        self.theirs = b""

    def start(self, interval: int, refreshing: bool) -> None:
        """The session lasts `interval` seconds from now on."""
        self.stop()
        timers = self._usage.agent.timers
        self._raised = False
        self.interval = interval
        self.refreshing = refreshing
        self._ends_at = timers.now() + interval
        if refreshing:
            self._due = timers.after(interval / 2, self._refresh)
        else:
            self._due = timers.after(interval - min(32, interval / 3), self._expire)

    def stop(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def lines(self) -> tuple[bytes, ...]:
        """Of a request of ours that refreshes the session, whatever else it is for (section 7.4)."""
        refresher = b"uac" if self.refreshing else b"uas"
        expires = b"Session-Expires: %d;refresher=%b" % (self.interval, refresher)
        least = () if self.least == LEAST else (b"Min-SE: %d" % self.least,)
        return (expires, *least)

    def answer_to(self, offer: bytes) -> bytes:
        """The answer to a re-INVITE of the peer that only refreshes the session: it repeats its description, so we
        repeat ours (RFC 3264 section 8). b"" when it wants a change."""
        return self.ours if offer and offer == self.theirs else b""

    def _refresh(self, _: None) -> None:
        self._due = None
        usage = self._usage
        if self.updates or not self.ours:
            usage.update(b"", self._refreshed)
        elif usage.busy:
            self._try_later()
        else:
            usage.reinvite(self.ours, self._refreshed)

    def _refreshed(self, response: Response | None) -> None:
        """The usage has taken a 2xx in; 408, 481 and silence end the dialog without us."""
        if response is None or response.status in (408, 481):
            return
        if response.status < 300:
            if response.cseq[1] == b"INVITE":
                self._usage.ack(response.cseq[0])
        elif response.status == 422 and least_of(response) > self.interval and not self._raised:
            self._raised = True
            self.interval = self.least = least_of(response)
            self._refresh(None)
        elif response.status in (405, 501) and self.updates and self.ours:
            self.updates = False
            self._refresh(None)
        else:
            self._try_later()

    def _try_later(self) -> None:
        timers = self._usage.agent.timers
        left = self._ends_at - timers.now()
        if left > LAST_CHANCE:
            self._due = timers.after(left / 2, self._refresh)
        else:
            self._usage.peer_lost("session timer: the peer refuses to go on")

    def _expire(self, _: None) -> None:
        self._due = None
        self._usage.peer_lost(f"session timer: not refreshed within {self.interval} s")


def _speaks_timer(message: Message) -> bool:
    return TIMER in message.tokens(b"supported") or TIMER in message.tokens(b"require")


def _wish(message: Message) -> _Wish | None:
    """What Session-Expires says; None when that cannot be read: the session then has no timer."""
    interval, _, params = (message.get(b"session-expires") or b"").partition(b";")
    try:
        seconds = parse_uint(interval.strip(LWS), "Session-Expires")
        refresher = (parse_params(params).get(b"refresher") or b"").lower()
    except MalformedMessage:
        return None
    return _Wish(seconds, refresher if refresher in (b"uac", b"uas") else b"")
