"""The visits that are on a site now, and the cookie by which their browsers are known.

Knows memory only; must not know pools or stores.
"""

from __future__ import annotations

import re
from heapq import heappop, heappush
from hmac import compare_digest
from typing import Callable

from twisted.internet.defer import Deferred

from calltrack.tracking.leases import Held
from calltrack.tracking.model import Visit

IDLE = 900.0  # seconds without a sign of life after which a visit is forgotten; its cookie brings it back
FLED = 60.0  # the same for one that has not stayed

_COOKIE = re.compile(r"([1-9][0-9]{0,14})\.([0-9a-f]{8,64})\Z")


class Presence:
    """A visit whose browser has been seen lately."""

    __slots__ = ("_waiting", "address", "busy", "held", "missed", "seen", "since", "stayed", "visit")

    def __init__(self, visit: Visit, address: str, since: float) -> None:
        self.visit = visit
        self.address = address  # as limits count it
        self.since = since  # monotonic seconds; when it came
        self.seen = since  # when it last gave a sign of life
        self.stayed = False  # it has come back with its secret after a while
        self.held: dict[int, Held] = {}  # by scenario; may be over
        self.missed: set[int] = set()  # scenarios that had no number for the page that is shown
        self.busy = False
        self._waiting: list[Deferred[None]] = []

    async def enter(self) -> None:
        """Wait until nobody else changes this visit's leases, then be the one who does."""
        while self.busy:
            turn: Deferred[None] = Deferred()
            self._waiting.append(turn)
            await turn
        self.busy = True

    def leave(self) -> None:
        """Let the next one in."""
        self.busy = False
        if self._waiting:
            self._waiting.pop(0).callback(None)

    @property
    def cookie(self) -> str:
        return f"{self.visit.number}.{self.visit.secret}"


class Presences:
    """Present visits by project and number."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._present: dict[tuple[int, int], Presence] = {}
        self._due: list[tuple[float, int, Presence]] = []  # heap: when to look whether they have gone; may be early
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._present)

    def add(self, presence: Presence) -> None:
        visit = presence.visit
        self._present[visit.project, visit.number] = presence
        self._look_later(presence)

    def discard(self, presence: Presence) -> None:
        visit = presence.visit
        if self._present.get((visit.project, visit.number)) is presence:
            del self._present[visit.project, visit.number]

    def get(self, project: int, number: int) -> Presence | None:
        return self._present.get((project, number))

    def sweep(self) -> None:
        """Forget who has gone and holds nothing."""
        now = self._now()
        while self._due and self._due[0][0] <= now:
            _, _, presence = heappop(self._due)
            visit = presence.visit
            if self._present.get((visit.project, visit.number)) is not presence:
                continue
            if now >= _forgotten_at(presence) and not presence.busy and all(one.over for one in presence.held.values()):
                self.discard(presence)
            else:
                self._look_later(presence)

    def _look_later(self, presence: Presence) -> None:
        self._pushed += 1
        heappush(self._due, (max(_forgotten_at(presence), self._now() + 1), self._pushed, presence))


def _forgotten_at(presence: Presence) -> float:
    return presence.seen + (IDLE if presence.stayed else FLED)


def read_cookie(cookie: str) -> tuple[int, str] | None:
    """Visit number and secret, or None when that is no cookie of ours."""
    found = _COOKIE.match(cookie)
    return (int(found[1]), found[2]) if found else None


def knows_secret(visit: Visit, secret: str) -> bool:
    """Whether `secret` is the visit's, in constant time."""
    return compare_digest(visit.secret, secret)
