"""Refuse new calls before there are too many to serve any (RFC 6357; the occupancy algorithm of Cyr, Kaufman and
Lee, 1990). Knows how busy the process is; no SIP.

An engine that takes every INVITE spends its time on calls that time out, and answers fewer than it could. So
the share of new calls that is let in follows how busy the reactor's thread has been: what is refused costs a
stateless 503. Requests within a call are never refused.
"""

from __future__ import annotations

import random
import time
from typing import Callable

from twisted.logger import Logger

from calltrack.timers import Timer, Timers

log = Logger()

INTERVAL = 0.1  # seconds from one look to the next
TARGET = 0.9  # share of its time that the thread may be busy
LEAST = 0.02  # share that is always let in, so that the end of an overload is noticed
MOST_CHANGE = 2.0  # the factor by which the share changes at most from one look to the next
WARN_EVERY = 60.0  # seconds


def occupied_seconds() -> float:
    """Seconds that the calling thread has run, or waited for a processor that another program had (Linux's
    schedstat); where that is not told, those that it has run."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            running, waiting, _ = file.read().split()
    except OSError:
        return time.thread_time()
    return (int(running) + int(waiting)) / 1e9


class Overload:
    """`busy()`: seconds that the reactor's thread has run or waited for a processor; it never goes back."""

    def __init__(self, timers: Timers, busy: Callable[[], float], chance: Callable[[], float] = random.random) -> None:
        self._timers = timers
        self._busy = busy
        self._chance = chance
        self._looked = self._used = 0.0
        self._warned: float | None = None
        self._timer: Timer | None = None
        self.share = 1.0  # of new calls that is let in
        self.refused = 0

    def start(self) -> None:
        self._looked, self._used = self._timers.now(), self._busy()
        self._timer = self._timers.after(INTERVAL, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def admits(self) -> bool:
        """Whether one more new call may come in."""
        if self.share >= 1.0 or self._chance() < self.share:
            return True
        self.refused += 1
        return False

    def _look(self, _: None) -> None:
        now, used = self._timers.now(), self._busy()
        passed = max(now - self._looked, 0.001)
        occupied = (used - self._used) / passed
        self._looked, self._used = now, used
        change = TARGET / max(occupied, 0.01)
        change = min(MOST_CHANGE, max(1 / MOST_CHANGE, change))
        self.share = min(1.0, max(LEAST, self.share * change))
        if self.share < 0.9 and (self._warned is None or now - self._warned > WARN_EVERY):
            self._warned = now
            log.warn(
                "overloaded: {busy:.0%} busy, {share:.0%} of new calls are let in, the rest get 503; calls in progress go on",
                busy=min(occupied, 1.0),
                share=self.share,
            )
        self._timer = self._timers.after(INTERVAL, self._look)
