"""In which order messages that have arrived are served, and which new calls are refused when there are too many
(RFC 6357, RFC 5390). Knows bytes, flows and a clock; no transactions.

A program that takes every INVITE in its turn ends up serving none: each waits behind the messages of calls that have
been given up. So everything but new INVITEs is served as it is read. New ones wait until nothing else is there, which
lets in as many as there is time for, whatever a call costs today; those that have waited too long are refused, which
costs a twentieth of a call. There is no rate to be guessed and nothing to be set.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from calltrack.sip.flows import Flow, UDPSocket
from calltrack.sip.invitations import is_new_invite

log = Logger()

PROMPT = 0.1  # seconds that a new INVITE may wait while others always do
BURST = 0.4  # the same after a time when none waited: a burst is served before its callers ask again (T1)
STALE = 2.0  # seconds after which it is dropped: its caller has sent it again, and that is another one
SLICE = 0.003  # seconds for new INVITEs before the reactor, with the media of calls, has its turn again
MOST = 10_000  # messages that wait
AT_ONCE = 100  # INVITEs that are refused before others have their turn
OVER = 5.0  # seconds without a refusal that end an overload
SPAN = 1.0  # seconds over which `share` is taken


class Served(Protocol):
    """Where messages go (implemented by `transports.Transports`)."""

    def deliver(self, data: bytes, flow: Flow) -> None:
        """Do what a message asks for."""

    def refuse(self, invites: list[tuple[bytes, Flow]]) -> None:
        """Answer new INVITEs 503, for little."""


class Arrivals:
    """The order of what has arrived, for `owner` to serve."""

    def __init__(self, clock: IReactorTime, owner: Served) -> None:
        self._owner = owner
        self.refused = 0  # new INVITEs with 503
        self.dropped = 0  # new INVITEs that were stale
        self._clock = clock
        self._now = clock.seconds
        self._new: deque[tuple[float, bytes, Flow]] = deque()  # when it came, what, over what
        self._none_waited = self._now()  # when the queue was last seen empty
        self._unread: set[UDPSocket | None] = set()  # sockets that have more than they were let read
        self._next_turn: Any = None  # an IDelayedCall, as the next one
        self._look: Any = None  # whether an overload is over
        self._began = 0.0  # of the overload; `_refused_before` counts to then
        self._refused_before = 0
        self._last_refusal: float | None = None  # None: no overload
        self._span_began = self._now()
        self._span = [0, 0]  # new INVITEs served and not, since then
        self._share = 1.0

    @property
    def share(self) -> float:
        """The share of new INVITEs that was let in over the last seconds."""
        self._count(self._now(), 0, 0)
        return self._share

    def stop(self) -> None:
        """Forget what waits."""
        self._new.clear()
        for pending in (self._next_turn, self._look):
            if pending is not None:
                pending.cancel()
        self._next_turn = self._look = None

    def arrived(self, data: bytes, flow: Flow, socket: UDPSocket | None = None) -> None:
        """A message; `socket` knows how long it has lain unread. `turn` has to follow."""
        new = self._new
        # A CANCEL must not come before its INVITE.
        if is_new_invite(data) or (new and data[:7] == b"CANCEL "):
            if len(new) >= MOST:
                new.popleft()
                self.dropped += 1
            new.append((self._now() - (socket.waited() if socket is not None else 0.0), data, flow))
        else:
            self._owner.deliver(data, flow)

    def turn(self, socket: UDPSocket | None = None, unread: bool = False) -> None:
        """What `socket` was let read has arrived; `unread`: it has more. Serve new INVITEs for a moment: one at
        least, and no more than that while messages of calls in progress may lie unread."""
        if unread:
            self._unread.add(socket)
        else:
            self._unread.discard(socket)
        new = self._new
        if not new:
            self._none_waited = self._now()
            return
        now = self._now()
        self._refuse_late(now)
        end = now if self._unread else now + SLICE
        while new:
            _, data, flow = new.popleft()
            self._count(now, 1, 0)
            self._serve(data, flow)
            now = self._now()
            if now >= end:
                break
        if not new:
            self._none_waited = now
        elif self._next_turn is None:
            self._next_turn = self._clock.callLater(0, self._turn_again)

    def _serve(self, data: bytes, flow: Flow) -> None:
        try:
            self._owner.deliver(data, flow)
        except Exception:  # a bug of ours must cost one message
            log.failure("could not process an INVITE from {flow}", flow=flow)

    def _turn_again(self) -> None:
        self._next_turn = None
        self.turn()

    def _refuse_late(self, now: float) -> None:
        """Refuse those that have waited too long, some at a time."""
        new, late = self._new, []
        limit = now - (PROMPT if now - self._none_waited > BURST else BURST)
        while new and new[0][0] < limit and len(late) < AT_ONCE:
            came, data, flow = new.popleft()
            if data[:7] == b"CANCEL ":
                self._serve(data, flow)
            elif came < now - STALE and not flow.reliable:
                self.dropped += 1
                self._count(now, 0, 1)
            else:
                late.append((data, flow))
        if not late:
            return
        self._count(now, 0, len(late))
        if self._last_refusal is None:
            self._overload_begins(now)
        self._last_refusal = now
        self.refused += len(late)
        try:
            self._owner.refuse(late)
        except Exception:
            log.failure("could not refuse INVITEs")

    def _count(self, now: float, served: int, lost: int) -> None:
        counts, passed = self._span, now - self._span_began
        if passed >= SPAN:
            total = sum(counts)
            self._share = counts[0] / total if total and passed < OVER else 1.0
            counts[:] = 0, 0
            self._span_began = now
        counts[0] += served
        counts[1] += lost

    def _overload_begins(self, now: float) -> None:
        self._began, self._refused_before = now, self.refused
        log.warn("overloaded: new calls are let in as far as there is time, the rest get 503; calls in progress go on")
        self._look = self._clock.callLater(OVER, self._is_it_over)

    def _is_it_over(self) -> None:
        quiet = self._now() - self._last_refusal
        if quiet < OVER:
            self._look = self._clock.callLater(OVER - quiet, self._is_it_over)
            return
        log.info(
            "the overload is over: {refused} new calls were refused in {seconds:.0f} s",
            refused=self.refused - self._refused_before,
            seconds=self._last_refusal - self._began,
        )
        self._last_refusal = self._look = None
