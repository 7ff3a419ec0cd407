"""How many numbers a dynamic scenario needs, from its own history: predicted by Erlang B, replayed, observed.

Pure: leases and misses in, figures out. Knows no store and no clock.

Visitors do not come evenly over the day, so each hour of the history has a load of its own, and the misses of all hours
together are what counts. A replay runs the same arrivals through a pool of another size, or with another hold time.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import sqrt
from typing import Iterable, NamedTuple, Sequence

import msgspec

from calltrack.tracking.erlang import MOST, erlang_b
from calltrack.tracking.model import Lease, Miss

ENOUGH = 0.01  # share of visitors without a number that is put up with
HOUR = 3_600_000  # milliseconds


class Ask(NamedTuple):
    """Somebody wanted a number."""

    at: int  # milliseconds since the Unix epoch
    stayed: float  # seconds on the site, without the hold time; of those who got none, what is usual
    confirmed: bool  # False: left at once, so that the hold time does not count
    missed: bool


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool of so many numbers does."""

    numbers: int
    predicted: float  # share of visitors without a number, by Erlang B
    replayed: float  # the same, when the history is run through such a pool


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What the history says."""

    days: float  # that it covers
    visitors: int  # who stayed and wanted a number
    misses: int  # who got none
    observed: float  # share of visitors without a number
    hold: float  # seconds, that predictions and replays count with
    held: float  # seconds that a number was held for a visitor who stayed, on average
    busiest: float  # erlangs in the busiest hour
    numbers: int  # in the pool now
    advised: int  # the fewest numbers with predicted misses under `wanted`
    wanted: float
    rows: tuple[Row, ...] = ()


def asks_of(leases: Iterable[Lease], misses: Iterable[Miss], hold: float, now: int) -> list[Ask]:
    """Who wanted a number and how long they stayed, in order; `hold`: seconds that were in force then. Leases that are
    active still count up to `now`."""
    found = []
    for lease in leases:
        held = ((lease.ended if lease.ended is not None else now) - lease.begun) / 1000
        confirmed = lease.confirmed or lease.ended is None or held > hold
        found.append(Ask(lease.begun, max(0.0, held - hold) if confirmed else held, confirmed, False))
    stays = [ask.stayed for ask in found if ask.confirmed] or [0.0]
    usual = sum(stays) / len(stays)
    found += [Ask(miss.at, usual, True, True) for miss in misses]
    return sorted(found)


def advise(
    asks: Sequence[Ask], numbers: int, hold: float, sizes: Iterable[int] = (), wanted: float = ENOUGH
) -> Advice:
    """What a scenario with `numbers` now needs, held for `hold` seconds after the last sign of life. `sizes`: further
    pools to say something of."""
    stayers = [ask for ask in asks if ask.confirmed]
    misses = sum(ask.missed for ask in stayers)
    loads = _loads(asks, hold)
    advised = _enough(loads, wanted) if stayers else 0
    shown = sorted({numbers, advised, *sizes, *_around(numbers, advised)} - {0})
    return Advice(
        days=(asks[-1].at - asks[0].at) / (24 * HOUR) if asks else 0.0,
        visitors=len(stayers),
        misses=misses,
        observed=misses / len(stayers) if stayers else 0.0,
        hold=hold,
        held=sum(ask.stayed + hold for ask in stayers) / len(stayers) if stayers else 0.0,
        busiest=max((load for _, load in loads), default=0.0),
        numbers=numbers,
        advised=advised,
        wanted=wanted,
        rows=tuple(Row(numbers=n, predicted=predicted(loads, n), replayed=replay(asks, n, hold)) for n in shown),
    )


def replay(asks: Sequence[Ask], numbers: int, hold: float) -> float:
    """The share of visitors who stay and get none, when they all come again to a pool of `numbers`."""
    busy: list[float] = []  # heap of the instants at which numbers are free again
    stayers = missed = 0
    for ask in asks:
        at = ask.at / 1000
        while busy and busy[0] <= at:
            heappop(busy)
        if not ask.confirmed:
            if 4 * (numbers - len(busy)) >= numbers > len(busy):  # as `tracking.leases` has it
                heappush(busy, at + ask.stayed)
            continue
        stayers += 1
        if len(busy) < numbers:
            heappush(busy, at + ask.stayed + hold)
        else:
            missed += 1
    return missed / stayers if stayers else 0.0


def predicted(loads: Sequence[tuple[int, float]], numbers: int) -> float:
    """The share of visitors without a number by Erlang B, over hours of `(visitors, erlangs)`."""
    visitors = sum(count for count, _ in loads)
    return sum(count * erlang_b(numbers, load) for count, load in loads) / visitors if visitors else 0.0


def _loads(asks: Sequence[Ask], hold: float) -> list[tuple[int, float]]:
    """Of each hour in which anybody came: visitors who stayed, and the erlangs that were asked for.

    Few visitors an hour make a count that chance moves up and down, and as misses grow faster than the load, that alone
    would make for more of them. So loads are drawn towards their mean by the share of their variance that chance
    explains: sums of independent stays have a variance of about the sum of their squares."""
    hours: dict[int, tuple[int, float, float]] = {}
    for ask in asks:
        if ask.confirmed:  # who leaves at once takes a number only where there is room, and soon gives it back
            count, seconds, squares = hours.get(ask.at // HOUR, (0, 0.0, 0.0))
            length = ask.stayed + hold
            hours[ask.at // HOUR] = (count + 1, seconds + length, squares + length * length)
    first, last = (asks[0].at, asks[-1].at) if asks else (0, 0)
    measured = []
    for hour, (count, seconds, squares) in hours.items():
        length = _length(hour, first, last)
        measured.append((count, seconds / length, squares / length**2, length))
    time = sum(length for *_, length in measured)
    if not time:
        return []
    mean = sum(load * length for _, load, _, length in measured) / time
    spread = sum((load - mean) ** 2 * length for _, load, _, length in measured) / time
    by_chance = sum(variance * length for _, _, variance, length in measured) / time
    kept = sqrt(max(0.0, 1 - by_chance / spread)) if spread else 0.0
    return [(count, mean + (load - mean) * kept) for count, load, _, _ in measured]


def _length(hour: int, first: int, last: int) -> float:
    """Seconds of an hour that the history covers; a sliver at its edge is no measure of a load."""
    begin, end = max(hour * HOUR, first), min((hour + 1) * HOUR, last)
    return max((end - begin) / 1000, 900.0)


def _enough(loads: Sequence[tuple[int, float]], wanted: float) -> int:
    low, high = 0, 1
    while predicted(loads, high) > wanted and high < MOST:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if predicted(loads, middle) <= wanted else (middle, high)
    return high


def _around(numbers: int, advised: int) -> set[int]:
    step = max(1, advised // 10)
    return {max(1, advised + step * position) for position in (-3, -2, -1, 1, 2)} if advised else set()
