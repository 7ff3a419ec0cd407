"""One target being rung: its destinations, round by round, within its ring time. Knows sides as things that
start, ring, fail and answer; no SIP.
"""

from __future__ import annotations

from typing import Protocol

from twisted.python.failure import Failure

from calltrack.calls.events import Failed
from calltrack.calls.destinations import Destination
from calltrack.calls.outbound import OutboundSide
from calltrack.calls.outcomes import NO_ANSWER, Outcome, best, outcome_of
from calltrack.errors import CalltrackError
from calltrack.timers import Timer, Timers
from calltrack.tracking.model import Target


class AttemptUser(Protocol):
    """The call, as its attempts see it."""

    def side_for(self, attempt: Attempt, destination: Destination) -> OutboundSide | Outcome:
        """A side for a destination, or why there cannot be one (a limit)."""

    def attempt_failed(self, attempt: Attempt, outcome: Outcome) -> None:
        """The target did not take the call. Said once."""

    def dropped(self, side: OutboundSide) -> None:
        """A side that did not get the call."""


class Attempt:
    """`number`: of the target in the hunt. Ends by `attempt_failed`, or by `stop` from outside."""

    __slots__ = ("_failures", "_ring_time", "_rounds", "_sides", "_timers", "_user", "number", "over", "target")

    def __init__(self, user: AttemptUser, number: int, target: Target, timers: Timers) -> None:
        self.number = number
        self.target = target
        self._user = user
        self._timers = timers
        self._rounds: list[list[Destination]] = []
        self._sides: list[OutboundSide] = []
        self._failures: list[Outcome] = []
        self._ring_time: Timer | None = None
        self.over = False

    def start(self) -> None:
        """From now on the ring time counts: for finding the destinations and for all their rounds together."""
        self._ring_time = self._timers.after(self.target.ring_time, self._time_is_up)

    def ring(self, rounds: list[list[Destination]]) -> None:
        """Ring the first round."""
        self._rounds = [destinations for destinations in rounds if destinations]
        self._next_round()

    def fail(self, outcome: Outcome) -> None:
        """End it: the target cannot be rung at all, or not any longer."""
        if not self.over:
            self.stop()
            self._user.attempt_failed(self, outcome)

    def nowhere(self, failure: Failure) -> None:
        """No destination could be found."""
        if failure.check(CalltrackError):
            self.fail(Outcome("CHANUNAVAIL", 480, str(failure.value), 20))
        else:
            self.fail(Outcome("CONGESTION", 500, "a bug, see the log", 41))
            failure.raiseException()

    def heard_failure(self, side: OutboundSide, failure: Failed) -> None:
        """A destination did not take the call: the next round, unless somebody was reached and said no."""
        if self.over or side not in self._sides:
            return
        self._sides.remove(side)
        self._user.dropped(side)
        outcome = outcome_of(failure)
        self._failures.append(outcome)
        if outcome.status == "BUSY" or (side.rang and outcome.status == "NOANSWER"):
            self._rounds.clear()
        if not self._sides:
            self._next_round()

    def stop(self, winner: OutboundSide | None = None, *lines: bytes) -> None:
        """Cancel every side but the winner."""
        self.over = True
        if self._ring_time is not None:
            self._ring_time.cancel()
        sides, self._sides = self._sides, []
        for side in sides:
            if side is not winner:
                side.cancel(*lines)
                self._user.dropped(side)

    def _next_round(self) -> None:
        while self._rounds and not self._sides and not self.over:
            starting = []
            for destination in self._rounds.pop(0):
                side = self._user.side_for(self, destination)
                if isinstance(side, Outcome):
                    self._failures.append(side)
                else:
                    self._sides.append(side)
                    starting.append(side)
            for side in starting:
                side.start()
        if not self._sides and not self._rounds and not self.over:
            self.fail(best(self._failures) if self._failures else Outcome("CHANUNAVAIL", 480, "nobody to ring", 20))

    def _time_is_up(self, _: None) -> None:
        self.fail(NO_ANSWER)


