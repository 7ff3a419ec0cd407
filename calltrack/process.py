"""What is set for a whole process: its clocks and its garbage collector. Knows no part of the engine."""

from __future__ import annotations

import gc
import time
from typing import Any


def use_monotonic_time(reactor: Any) -> None:
    """Put the reactor on the monotonic clock. Twisted's own is wall time: a step of an hour back would stop
    every timer for an hour, a step forth would fire them all."""
    shift = time.monotonic() - reactor.seconds()
    for call in reactor.getDelayedCalls():  # scheduled before: keep what is left of them
        call.time += shift
    reactor.seconds = time.monotonic


def spare_the_collector() -> None:
    """Let Python's cycle collector look at what is new, rarely at everything. Calls leave no cycles, but transactions
    linger 32 s by the RFC, so at hundreds of calls a second a full collection would find nothing and stop the engine
    for 300 ms. Looks at few objects at a time cost a call no less than looks at many, but each stops the engine, and the
    media it relays, for a shorter time."""
    gc.freeze()
    gc.set_threshold(10_000, 1000, 1000)


def wall_ms() -> int:
    """Milliseconds since the Unix epoch, UTC."""
    return int(time.time() * 1000)
