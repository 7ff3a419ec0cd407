"""One timer wheel for everything that waits in SIP. Knows an `IReactorTime`; no SIP, no calls.

A call arms about a dozen timers and cancels nearly all of them, so both must be cheap: arming appends
to a slot's list, cancelling empties the timer in place. One `callLater` exists for the earliest slot.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Callable

from twisted.logger import Logger

log = Logger()

SLOTS_PER_SECOND = 50


class Timer:
    """A pending call of `function(argument)`; `cancel()` is idempotent and safe after it has fired."""

    __slots__ = ("argument", "function")

    def __init__(self, function: Callable[[Any], None], argument: Any) -> None:
        self.function: Callable[[Any], None] | None = function
        self.argument = argument

    def cancel(self) -> None:
        self.function = self.argument = None

    @property
    def active(self) -> bool:
        return self.function is not None


class Timers:
    """Timers with a resolution of 20 ms: never early, at most one slot late, first armed first fired."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.now: Callable[[], float] = clock.seconds
        self._slots: dict[int, list[Timer]] = {}
        self._order: list[int] = []  # heap of the keys of _slots
        self._wakeup: Any = None  # the one IDelayedCall, for slot _order[0]

    def after(self, seconds: float, function: Callable[[Any], None], argument: Any = None) -> Timer:
        """Call `function(argument)` once, `seconds` from now."""
        timer = Timer(function, argument)
        slot = int((self.now() + seconds) * SLOTS_PER_SECOND + 0.999)
        waiting = self._slots.get(slot)
        if waiting is not None:
            waiting.append(timer)
        else:
            self._slots[slot] = [timer]
            heappush(self._order, slot)
            if self._order[0] == slot:
                self._schedule()
        return timer

    def stop(self) -> None:
        """Forget everything that is armed."""
        self._slots.clear()
        self._order.clear()
        if self._wakeup is not None and self._wakeup.active():
            self._wakeup.cancel()

    def pending(self) -> int:
        """How many timers are armed; walks all of them, for tests and diagnosis."""
        return sum(timer.active for slot in self._slots.values() for timer in slot)

    def _schedule(self) -> None:
        delay = max(0.0, self._order[0] / SLOTS_PER_SECOND - self.now())
        if self._wakeup is not None and self._wakeup.active():
            self._wakeup.reset(delay)
        else:
            self._wakeup = self.clock.callLater(delay, self._fire)

    def _fire(self) -> None:
        self._wakeup = None
        due = int(self.now() * SLOTS_PER_SECOND + 0.001)
        while self._order and self._order[0] <= due:
            for timer in self._slots.pop(heappop(self._order)):
                function = timer.function
                if function is None:
                    continue
                argument, timer.function, timer.argument = timer.argument, None, None
                try:
                    function(argument)
                except Exception:  # one broken timer must not take the others with it
                    log.failure("timer {function} failed", function=function)
        if self._order:
            self._schedule()
