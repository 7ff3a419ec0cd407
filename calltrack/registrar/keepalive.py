"""Keep the way to devices behind NATs open: an empty line every few seconds to each (RFC 5626 section 3.5.1 has the
form). Knows bindings in memory and their flows; sends a few a second instead of all at once.
"""

from __future__ import annotations

from calltrack.errors import TransportFailure
from calltrack.registrar.locations import Locations
from calltrack.registrar.reach import Reach
from calltrack.sip.flows import Flow
from calltrack.timers import Timer, Timers

EMPTY = b"\r\n\r\n"  # what every SIP element ignores
STEP = 1.0  # seconds


class KeepAlive:
    """Sends to each entry of `locations` that is to be kept open, once in `period` seconds; 0 = never."""

    def __init__(self, timers: Timers, locations: Locations, reach: Reach, period: float) -> None:
        self._timers = timers
        self._locations = locations
        self._reach = reach
        self._period = period
        self._left: list[int] = []  # projects whose turn is still to come in this round
        self._share = 0  # projects a step
        self._round_at = 0.0  # when the next round may begin
        self._next: Timer | None = None

    def start(self) -> None:
        if self._period:
            self._next = self._timers.after(STEP, self._step)

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()

    def _step(self, _: None) -> None:
        if not self._left and self._timers.now() >= self._round_at:
            self._round_at = self._timers.now() + self._period - STEP / 2
            self._left = self._locations.projects()
            self._share = -int(-len(self._left) * STEP // self._period)
        for _ in range(min(self._share, len(self._left))):
            for entry in self._locations.of(self._left.pop()):
                if entry.keep_open:
                    self._send(self._reach.flow(entry))
        self._next = self._timers.after(STEP, self._step)

    def _send(self, flow: Flow | None) -> None:
        try:
            if flow is not None:
                flow.send(EMPTY)
        except TransportFailure:
            pass  # the device may be unreachable; it is called all the same as long as it is registered
