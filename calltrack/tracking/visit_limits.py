"""How many new visits an address and a project may make: token buckets, bounded in memory.

Knows addresses; not what a visit is.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Callable

from calltrack.errors import TooManyRequests

MOST = 100_000  # addresses that are remembered; the ones that were quiet longest are forgotten


class Buckets:
    """For each key a bucket of `per_minute` tokens that fills again within a minute; 0 = no limit."""

    def __init__(self, now: Callable[[], float], per_minute: int, most: int = MOST) -> None:
        self._now = now
        self._size = float(per_minute)
        self._most = most
        self._buckets: dict[str | int, tuple[float, float]] = {}  # tokens, and when; the quietest first

    def take(self, key: str | int) -> int:
        """0 when there was a token, else the seconds until there is one."""
        if not self._size:
            return 0
        now = self._now()
        tokens, since = self._buckets.pop(key, (self._size, now))
        tokens = min(self._size, tokens + (now - since) * self._size / 60)
        granted = tokens >= 1
        self._buckets[key] = (tokens - 1 if granted else tokens, now)
        if len(self._buckets) > self._most:
            del self._buckets[next(iter(self._buckets))]
        return 0 if granted else int((1 - tokens) * 60 / self._size) + 1


class VisitLimits:
    """New visits a minute by address and by project."""

    def __init__(self, now: Callable[[], float], per_address: int, per_project: int) -> None:
        self._addresses = Buckets(now, per_address)
        self._projects = Buckets(now, per_project)

    def admit(self, project: int, address: str) -> None:
        """Raises TooManyRequests."""
        for wait, who in ((self._addresses.take(address), "address"), (self._projects.take(project), "project")):
            if wait:
                raise TooManyRequests(f"too many new visits from this {who}; try again in {wait} s", wait)


def neighbourhood(address: str) -> str:
    """What counts as one address: of IPv6 the first 64 bits, which one subscriber has to itself."""
    if ":" not in address:
        return address
    try:
        literal = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if literal.ipv4_mapped is not None:
        return str(literal.ipv4_mapped)
    return str(ip_address(int(literal) >> 64 << 64)) + "/64"
