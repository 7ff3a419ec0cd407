"""Numbers that people call who were not shown them: they stand in a directory, a cached page, somebody's phone book.

Knows calls and what they were attributed to; bounded in memory. Must not know pools.
"""

from __future__ import annotations

from calltrack.tracking.attribution import NEVER
from calltrack.tracking.model import Attribution, Lease, NumberAlert

STALE = 86_400_000  # milliseconds after the end of a lease: who calls now has the number from elsewhere, or called before
WEEK = 7 * 86_400_000  # milliseconds in which callers are counted
CALLERS = 3  # different ones that make a leak: one may be a visitor who took a week to think
SILENCE = 86_400_000  # milliseconds between two alerts of one number
MOST_NUMBERS = 10_000
MOST_CALLERS = 100  # of a number; beyond them it is told that there are so many


class Leaks:
    """Watches the calls to numbers of pools."""

    def __init__(self) -> None:
        self._callers: dict[str, dict[str, int]] = {}  # number: caller: when; the one called longest ago first
        self._told: dict[str, int] = {}  # number: when

    def call(
        self, number: str, caller: str, at: int, attribution: Attribution, last: Lease | None, project: int, scenario: int
    ) -> NumberAlert | None:
        """A call to a number of a pool, its latest lease being `last`. Returns what is to be told of it, if anything.
        `at`: milliseconds since the Unix epoch."""
        never = attribution.reason == NEVER
        stale = last is not None and last.ended is not None and at - last.ended > STALE
        if not (never or stale):
            return None
        callers = self._callers.pop(number, {})
        callers[caller] = at
        callers = {who: when for who, when in callers.items() if when > at - WEEK}
        while len(callers) > MOST_CALLERS:
            del callers[next(iter(callers))]
        self._callers[number] = callers
        if len(self._callers) > MOST_NUMBERS:
            forgotten = next(iter(self._callers))
            del self._callers[forgotten]
            self._told.pop(forgotten, None)
        if at - self._told.get(number, at - SILENCE) < SILENCE or (not never and len(callers) < CALLERS):
            return None
        self._told[number] = at
        return NumberAlert(
            kind="never-leased" if never else "leaked",
            number=number,
            project=project,
            scenario=scenario,
            at=at,
            callers=len(callers),
        )
