"""Which target rings when (PRODUCT section 2.4). A pure machine: no clock, no SIP, no I/O."""

from __future__ import annotations

from calltrack.calls.outcomes import Outcome, best


class Hunt:
    """Rings `count` targets, numbered from 0, one after another or all at once.

    Each method returns the targets to ring now. When none is ringing and none is left, `exhausted` is true
    and `outcome` says what the caller is told.
    """

    __slots__ = ("_all", "_failures", "_ringing", "_waiting")

    def __init__(self, count: int, all_at_once: bool) -> None:
        self._waiting = list(range(count))
        self._all = all_at_once
        self._ringing: set[int] = set()
        self._failures: list[Outcome] = []

    def start(self) -> list[int]:
        return self._next()

    def failed(self, target: int, outcome: Outcome) -> list[int]:
        """`target` did not take the call. Busy stops hunting in order: somebody is there and says no; when
        all ring at once, one busy phone does not silence the others."""
        if target not in self._ringing:
            return []
        self._ringing.discard(target)
        self._failures.append(outcome)
        if outcome.status == "BUSY" and not self._all:
            self._waiting.clear()
        return self._next()

    def _next(self) -> list[int]:
        if self._ringing or not self._waiting:
            return []
        now = self._waiting if self._all else self._waiting[:1]
        self._waiting = self._waiting[len(now) :]
        self._ringing.update(now)
        return now

    @property
    def exhausted(self) -> bool:
        return not self._ringing and not self._waiting

    @property
    def outcome(self) -> Outcome:
        return best(self._failures) if self._failures else Outcome("CHANUNAVAIL", 404, "no-target", 1)
