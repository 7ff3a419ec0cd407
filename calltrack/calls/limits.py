"""Calls at once and calls a second (PRODUCT section 2). Knows names and numbers only."""

from __future__ import annotations

from functools import lru_cache
from typing import Callable, Iterable, NamedTuple


class Limit(NamedTuple):
    """What holds for one thing that calls go through; 0 = no limit."""

    name: str  # "trunk:provider", "project:1", "target:sip:office@example.com", "engine"
    at_once: int = 0
    per_second: float = 0.0


shared_limit = lru_cache(maxsize=4096)(Limit)  # all calls under a limit hold the same one


class _Use:
    __slots__ = ("calls", "credit", "full_at", "since")

    def __init__(self, now: float, credit: float) -> None:
        self.calls = 0
        self.credit = credit  # of a token bucket that holds one second's worth, at least one call
        self.since = now
        self.full_at = now  # when the bucket is full again, if nobody takes of it


class Limits:
    """Counts calls under each name; forgets a name when no call is under it and its bucket is full."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._uses: dict[str, _Use] = {}
        self._sweep_at = 256  # names

    def take(self, limits: Iterable[Limit]) -> str:
        """Count one call under all `limits`, or under none of them: returns the name of the limit that is
        reached, "" when the call may go on. Give it back with `give_back`."""
        now, taken = self._now(), []
        for limit in limits:
            if not limit.at_once and not limit.per_second:
                continue
            use = self._uses.get(limit.name)
            if use is None:
                if len(self._uses) >= self._sweep_at:
                    self._sweep(now)
                use = self._uses[limit.name] = _Use(now, max(1.0, limit.per_second))
            if limit.per_second:
                burst = max(1.0, limit.per_second)
                use.credit = min(burst, use.credit + (now - use.since) * limit.per_second)
                use.since = now
            if (limit.at_once and use.calls >= limit.at_once) or (limit.per_second and use.credit < 1.0):
                for name in taken:
                    self._uses[name].calls -= 1
                    self._uses[name].credit += 1.0
                return limit.name
            use.calls += 1
            use.credit -= 1.0
            if limit.per_second:
                use.full_at = now + (burst - use.credit) / limit.per_second
            taken.append(limit.name)
        return ""

    def _sweep(self, now: float) -> None:
        self._uses = {name: use for name, use in self._uses.items() if use.calls > 0 or use.full_at > now}
        self._sweep_at = max(256, 2 * len(self._uses))

    def give_back(self, limits: Iterable[Limit]) -> None:
        """A call that `take` let in under the same `limits` is over."""
        for limit in limits:
            use = self._uses.get(limit.name)
            if use is None or not (limit.at_once or limit.per_second):
                continue
            use.calls -= 1
            if use.calls <= 0 and not limit.per_second:
                del self._uses[limit.name]

    def calls(self, name: str) -> int:
        """Calls at once under `name`, as far as it has a limit."""
        use = self._uses.get(name)
        return use.calls if use is not None else 0
