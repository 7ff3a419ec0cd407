"""Stretches of time in which a wall clock is not put forward or back. Knows time zones; no calls."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

_DAY = 86_400_000  # milliseconds


class Stretch(NamedTuple):
    """All in milliseconds: two instants since the Unix epoch, and how far the wall clock is ahead of UTC between them."""

    since: int
    until: int
    offset: int


def stretches(since: int, until: int, zone: tzinfo) -> list[Stretch]:
    """The time from `since` to before `until`, cut where the wall clock of `zone` changes; changes less than a day apart
    that take each other back are not seen."""
    if isinstance(zone, timezone):  # never changes, and is good for every year
        return [Stretch(since, until, _milliseconds(zone.utcoffset(None)))]
    found, begun, at = [], since, since
    offset = _offset(since, zone)
    while at < until:
        before, at = at, min(at + _DAY, until)
        if _offset(at, zone) != offset:
            at = _change(before, at, zone)
            if at < until:
                found.append(Stretch(begun, at, offset))
                begun, offset = at, _offset(at, zone)
    return [*found, Stretch(begun, until, offset)]


def _change(before: int, after: int, zone: tzinfo) -> int:
    """The first instant at which the offset is no longer what it was at `before`."""
    old = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(at: int, zone: tzinfo) -> int:
    return _milliseconds(datetime.fromtimestamp(at / 1000, timezone.utc).astimezone(zone).utcoffset() or timedelta())


def _milliseconds(offset: timedelta) -> int:
    return round(offset.total_seconds() * 1000)
