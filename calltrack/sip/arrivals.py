"""In which order messages that have arrived are served, and which new calls are refused when there are too many
(RFC 6357, RFC 5390). Knows bytes, flows and a clock; no transactions.

A program that takes every INVITE in its turn ends up serving none: each waits behind the messages of calls that have
been given up. So everything but new INVITEs is served as it is read. New ones wait until nothing else is there, which
lets in as many as there is time for, whatever a call costs today; those that have waited too long are refused, which
costs a twentieth of a call. There is no rate to be guessed and nothing to be set.

INVITEs of strangers wait in a line of their own, which is short: a flood of them takes a tenth of the turns, and what
is more than the line holds costs no more than being read.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Callable, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from calltrack.sip.episodes import OVER, Episode
from calltrack.sip.flows import Flow, UDPSocket
from calltrack.sip.invitations import is_new_invite

log = Logger()

PROMPT = 0.1  # seconds that a new INVITE may wait while others always do
BURST = 0.4  # seconds that some must have waited all the time: until then it is a burst, or the engine itself stood still
STALE = 2.0  # seconds after which it is dropped: its caller has sent it again, and that is another one
SLICE = 0.003  # seconds for new INVITEs before the reactor, with the media of calls, has its turn again
MOST = 10_000  # INVITEs that wait, and as many CANCELs
MOST_OF_STRANGERS = 100  # the same
AT_ONCE = 100  # INVITEs that are refused before others have their turn
AT_ONCE_OF_STRANGERS = 5
ONE_IN = 10  # INVITEs served is a stranger's, while others wait
SPAN = 1.0  # seconds over which `share` is taken

SERVED, REFUSED, STALE_ONES, FULL = "served", "refused", "stale", "full"  # what becomes of new INVITEs
OUTCOMES = (SERVED, REFUSED, STALE_ONES, FULL)

_BEGINS = (
    "overloaded: new calls are let in as far as there is time, the rest get 503 or are dropped; calls in progress go on."
    " Look at what else uses the processor, at calltrack_event_loop_lag_seconds, and at who calls so often (the last came"
    " from {host})"
)
_ENDS = (
    "the overload is over: in {seconds:.0f} s {served} new calls were let in, {refused} refused with 503; dropped were"
    " {stale} that had waited for 2 s and {full} for which there was no room"
)
_FLOOD_BEGINS = (
    "more INVITEs come from addresses of no trunk than there is time for, the last from {host}: those of trunks go first, the"
    " rest get 503 or are dropped. If a trunk of yours is among them, list its address in `sources`; else let the firewall"
    " stop them"
)
_FLOOD_ENDS = (
    "the flood of INVITEs from addresses of no trunk is over: in {seconds:.0f} s {served} were looked at, {refused} refused with"
    " 503, {stale} and {full} dropped"
)


class Served(Protocol):
    """Where messages go (implemented by `transports.Transports`)."""

    def deliver(self, data: bytes, flow: Flow) -> None:
        """Do what a message asks for."""

    def refuse(self, invites: list[tuple[bytes, Flow]]) -> None:
        """Answer new INVITEs 503, for little."""


class _Line:
    """New INVITEs that wait, with the CANCELs that must not come before them."""

    def __init__(self, clock: IReactorTime, most: int, at_once: int, begins: str, ends: str) -> None:
        self.most = most
        self.at_once = at_once
        self.waiting: deque[tuple[float, bytes, Flow]] = deque()  # when it came, what, over what
        self.cancels = 0  # among them
        self.none_waited = clock.seconds()  # when it was last seen empty
        self.outcomes: Counter[str] = Counter()
        self.episode = Episode(clock, self.outcomes, OUTCOMES[1:], begins, ends)

    def patience(self, now: float) -> float:
        """Seconds that those here may wait."""
        return PROMPT if now - self.none_waited > BURST else STALE


class Arrivals:
    """The order of what has arrived, for `owner` to serve."""

    def __init__(self, clock: IReactorTime, owner: Served) -> None:
        self._owner = owner
        self.knows: Callable[[str], bool] = lambda host: True  # whether calls from a source address go first
        self._clock = clock
        self._now = clock.seconds
        self._known = _Line(clock, MOST, AT_ONCE, _BEGINS, _ENDS)
        self._strangers = _Line(clock, MOST_OF_STRANGERS, AT_ONCE_OF_STRANGERS, _FLOOD_BEGINS, _FLOOD_ENDS)
        self._lines = self._known, self._strangers
        self._known_in_turn = 0  # of those that waited, served since the last of a stranger
        self._unread: set[UDPSocket | None] = set()  # sockets that have more than they were let read
        self._next_turn: Any = None  # an IDelayedCall
        self._span_began = self._now()
        self._span = [0, 0]  # new INVITEs of known addresses served and not, since then
        self._share = 1.0

    @property
    def outcomes(self) -> dict[str, Counter[str]]:
        """What became of new INVITEs (OUTCOMES), of "trunk" addresses and of "stranger" ones."""
        return {"trunk": self._known.outcomes, "stranger": self._strangers.outcomes}

    @property
    def share(self) -> float:
        """The share of new INVITEs that was let in over the last seconds; strangers do not count."""
        self._count(self._now(), 0, 0)
        return self._share

    def stop(self) -> None:
        """Forget what waits."""
        for line in self._lines:
            line.waiting.clear()
            line.cancels = 0
            line.episode.stop()
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None

    def arrived(self, data: bytes, flow: Flow, socket: UDPSocket | None = None) -> None:
        """A message; `socket` knows how long it has lain unread. `turn` has to follow."""
        if is_new_invite(data):
            self._wait(data, flow, socket)
        elif data[:7] == b"CANCEL " and self._waits_behind(data, flow):
            pass
        else:
            self._owner.deliver(data, flow)

    def _line_of(self, flow: Flow) -> _Line:
        return self._known if self.knows(flow.remote.host) else self._strangers

    def _wait(self, data: bytes, flow: Flow, socket: UDPSocket | None) -> None:
        line = self._line_of(flow)
        if not line.waiting:
            line.none_waited = self._now()
        if len(line.waiting) - line.cancels < line.most:
            unread = socket.waited() if socket is not None else 0.0
            line.waiting.append((self._now() - unread, data, flow))
        elif flow.reliable:  # it comes once
            self._refuse(line, [(data, flow)])
        else:
            self._lose(line, FULL, 1, flow)

    def _waits_behind(self, cancel: bytes, flow: Flow) -> bool:
        """Whether a CANCEL has been put behind the INVITE that may wait for its turn: it must not come before that.
        More of them than fit are served at once, since losing one makes a phone ring on."""
        line = self._line_of(flow)
        if not line.waiting or line.cancels >= line.most:
            return False
        line.waiting.append((self._now(), cancel, flow))
        line.cancels += 1
        return True

    def turn(self, socket: UDPSocket | None = None, unread: bool = False) -> None:
        """What `socket` was let read has arrived; `unread`: it has more. Serve new INVITEs for a moment: one at
        least, and no more than that while messages of calls in progress may lie unread."""
        if unread:
            self._unread.add(socket)
        else:
            self._unread.discard(socket)
        now = self._now()
        for line in self._lines:
            if line.waiting:
                self._refuse_late(line, now)
        end = now if self._unread else now + SLICE
        while (line := self._next_line()) is not None:
            _, data, flow = line.waiting.popleft()
            self._serve(line, data, flow)
            now = self._now()
            if now >= end:
                break
        for line in self._lines:
            if not line.waiting:
                line.none_waited = now
            elif self._next_turn is None:
                self._next_turn = self._clock.callLater(0, self._turn_again)

    def _next_line(self) -> _Line | None:
        """Whose turn it is; None when nobody waits."""
        known, strangers = self._known.waiting, self._strangers.waiting
        if known and (not strangers or self._known_in_turn < ONE_IN - 1):
            self._known_in_turn += bool(strangers)
            return self._known
        if strangers:
            self._known_in_turn = 0
            return self._strangers
        return None

    def _serve(self, line: _Line, data: bytes, flow: Flow) -> None:
        if data[:7] == b"CANCEL ":
            line.cancels -= 1
        else:
            line.outcomes[SERVED] += 1
            if line is self._known:
                self._count(self._now(), 1, 0)
        try:
            self._owner.deliver(data, flow)
        except Exception:  # a bug of ours must cost one message
            log.failure("could not process an INVITE from {flow}", flow=flow)

    def _turn_again(self) -> None:
        self._next_turn = None
        self.turn()

    def _refuse_late(self, line: _Line, now: float) -> None:
        """Refuse those that have waited too long, some at a time."""
        waiting, late = line.waiting, []
        limit = now - line.patience(now)
        while waiting and waiting[0][0] < limit and len(late) < line.at_once:
            came, data, flow = waiting.popleft()
            if data[:7] == b"CANCEL ":
                self._serve(line, data, flow)
            elif came < now - STALE and not flow.reliable:
                self._lose(line, STALE_ONES, 1, flow)
            else:
                late.append((data, flow))
        if late:
            self._refuse(line, late)

    def _refuse(self, line: _Line, invites: list[tuple[bytes, Flow]]) -> None:
        self._lose(line, REFUSED, len(invites), invites[-1][1])
        try:
            self._owner.refuse(invites)
        except Exception:
            log.failure("could not refuse INVITEs")

    def _lose(self, line: _Line, outcome: str, count: int, flow: Flow) -> None:
        line.episode.lost(outcome, count, flow.remote.host)
        if line is self._known:
            self._count(self._now(), 0, count)

    def _count(self, now: float, served: int, lost: int) -> None:
        counts, passed = self._span, now - self._span_began
        if passed >= SPAN:
            total = sum(counts)
            self._share = counts[0] / total if total and passed < OVER else 1.0
            counts[:] = 0, 0
            self._span_began = now
        counts[0] += served
        counts[1] += lost
