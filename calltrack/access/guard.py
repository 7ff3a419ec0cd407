"""Who guesses passwords: slows down, then shuts out, an address and a name. Knows a clock that only goes forward."""

from __future__ import annotations

from typing import Callable

FREE = 5  # failures that cost nothing but themselves
FIRST_WAIT = 2.0  # seconds after the next one; doubles with each
LONGEST_WAIT = 300.0  # seconds
FORGOTTEN = 900.0  # seconds after the last failure
KEPT = 10_000  # addresses and names remembered at once: a flood of them pushes out the oldest


class LogInGuard:
    """Counts failures by address and by name. `now`: seconds that only go forward."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures: dict[str, tuple[int, float]] = {}  # (how many, when the last was); oldest first

    def wait(self, *whoever: str) -> float:
        """Seconds until one of them may try again; 0 when they may now."""
        now = self._now()
        return max(0.0, *(self._until(one, now) - now for one in whoever))

    def failed(self, *whoever: str) -> None:
        """A wrong password, or a name that nobody has."""
        now = self._now()
        for one in whoever:
            count, last = self._failures.pop(one, (0, now))
            self._failures[one] = (1 if now - last > FORGOTTEN else count + 1, now)
        while len(self._failures) > KEPT:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, *whoever: str) -> None:
        """The right password: their failures are forgotten."""
        for one in whoever:
            self._failures.pop(one, None)

    def _until(self, one: str, now: float) -> float:
        count, last = self._failures.get(one, (0, 0.0))
        if count < FREE or now - last > FORGOTTEN:
            return now
        return last + min(FIRST_WAIT * 2.0 ** min(count - FREE, 20), LONGEST_WAIT)
