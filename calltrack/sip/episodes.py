"""Overloads as the log tells of them: once when one begins, once when it is over, with what was lost in between.
Knows a clock; no messages.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

log = Logger()

OVER = 5.0  # seconds without a loss that end an episode


class Episode:
    """Tells of losses that `outcomes` counts. `begins` and `ends` are formats; `ends` may name `seconds` and, of the
    episode alone, each of `losses` and `served`."""

    def __init__(self, clock: IReactorTime, outcomes: Counter[str], losses: tuple[str, ...], begins: str, ends: str) -> None:
        self._clock = clock
        self._outcomes = outcomes
        self._losses = losses
        self._begins = begins
        self._ends = ends
        self._before: dict[str, int] = {}  # what had been counted when it began
        self._began = self._last = 0.0
        self._look: Any = None  # an IDelayedCall while an episode lasts

    def lost(self, outcome: str, count: int, host: str) -> None:
        """So many INVITEs, the last of them from `host`, have come to nothing."""
        self._last = self._clock.seconds()
        if self._look is None:
            self._began = self._last
            self._before = dict(self._outcomes)
            self._look = self._clock.callLater(OVER, self._is_it_over)
            log.warn(self._begins, host=host)
        self._outcomes[outcome] += count

    def stop(self) -> None:
        """Say nothing more."""
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _is_it_over(self) -> None:
        quiet = self._clock.seconds() - self._last
        if quiet < OVER:
            self._look = self._clock.callLater(OVER - quiet, self._is_it_over)
            return
        self._look = None
        counted = {name: self._outcomes[name] - self._before.get(name, 0) for name in ("served", *self._losses)}
        log.info(self._ends, seconds=self._last - self._began, **counted)
