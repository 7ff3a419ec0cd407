"""Figures of calls and of the reactor, counted as things happen: statuses, set-up times, media, lateness.

Knows call records and a clock; no HTTP and no exposition format.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from typing import Any, Callable, Iterable

from calltrack.tracking.model import CallRecord

SETUP_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # seconds
ANSWER_BOUNDS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0)  # seconds
LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds
MINUTES = 15  # that ratios are told of
SAMPLE = 0.1  # seconds from one look at the reactor's lateness to the next


class Histogram:
    """How many values were at most each of `bounds`, how many there were, and their sum."""

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, int]]:
        """`(upper bound, values up to it)`, the last one for all."""
        total, found = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self._counts):
            total += count
            found.append((bound, total))
        return found


class CallFigures:
    """`ended` is told of the record of each call that is over."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.statuses: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.packets: Counter[str] = Counter()  # by party
        self.lost: Counter[str] = Counter()
        self.setup = Histogram(SETUP_BOUNDS)
        self.answer = Histogram(ANSWER_BOUNDS)
        self.talked = 0.0  # seconds
        self._lately: deque[list[float]] = deque(maxlen=MINUTES)  # [minute, calls, answered, seconds talked]

    def ended(self, record: CallRecord) -> None:
        self.statuses[record.status] += 1
        first = record.ringing if record.ringing is not None else record.answered
        if first is not None:
            self.setup.add((first - record.created) / 1000)
        if record.answered is not None:
            self.answer.add((record.answered - record.created) / 1000)
            self.verdicts[record.media.verdict] += 1
        self.talked += record.answer_duration
        for party, figures in (("caller", record.media.caller), ("target", record.media.target)):
            self.packets[party] += figures.packets
            self.lost[party] += figures.lost
        minute = self._now() // 60
        if not self._lately or self._lately[-1][0] != minute:
            self._lately.append([minute, 0, 0, 0.0])
        latest = self._lately[-1]
        latest[1] += 1
        latest[2] += record.answered is not None
        latest[3] += record.answer_duration

    def lately(self) -> tuple[float | None, float | None]:
        """Answer-seizure ratio and average conversation (seconds) of the calls that ended in the last 15 minutes; None
        where there were none."""
        since = self._now() // 60 - MINUTES
        counted = [one for one in self._lately if one[0] > since]
        calls, answered, talked = (sum(one[part] for one in counted) for part in (1, 2, 3))
        return (answered / calls if calls else None), (talked / answered if answered else None)


class Lateness:
    """How late the reactor calls what is due: what every SIP timer and every packet waits."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._call: Any = None
        self.seen = Histogram(LAG_BOUNDS)

    def start(self) -> None:
        self._call = self._reactor.callLater(SAMPLE, self._look, self._reactor.seconds() + SAMPLE)

    def stop(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _look(self, due: float) -> None:
        now = self._reactor.seconds()
        self.seen.add(max(0.0, now - due))
        self._call = self._reactor.callLater(SAMPLE, self._look, now + SAMPLE)
