"""Ask the scenario source within a time budget, and fail open (PRODUCT section 2.3).

Knows `IScenarioSource`; no SIP. Telephony goes on when attribution, the database or the web side does not.
"""

from __future__ import annotations

from typing import Any, Callable

import msgspec
from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import CalltrackError
from calltrack.timers import Timer, Timers
from calltrack.tracking.model import Attribution, Route

log = Logger()


class Lookup:
    """`found(route)` is called once, soon or at the latest after `budget` seconds, with a Route or None for
    a number that is nobody's. A source that is late or fails is overruled by its last known route."""

    def __init__(self, source: Any, timers: Timers, budget: float) -> None:
        self._source = source
        self._timers = timers
        self.budget = budget

    def ask(
        self, dialled: str, caller: str, at: float, found: Callable[[Route | None], None], call_id: str = ""
    ) -> Callable[[], None]:
        """Returns a function that gives the question up: `found` is not called any more. `call_id` is for the log."""
        question = _Question(self._source, dialled, found, call_id)
        question.put(caller, at, self._timers, self.budget)
        return question.give_up


class _Question:
    __slots__ = ("_answer", "_call_id", "_deadline", "_dialled", "_found", "_source")

    def __init__(self, source: Any, dialled: str, found: Callable[[Route | None], None], call_id: str) -> None:
        self._call_id = call_id
        self._source = source
        self._dialled = dialled
        self._found: Callable[[Route | None], None] | None = found
        self._deadline: Timer | None = None
        self._answer: defer.Deferred[Route | None] | None = None

    def put(self, caller: str, at: float, timers: Timers, budget: float) -> None:
        answer = defer.maybeDeferred(self._source.lookup, self._dialled, caller, at)
        answer.addCallbacks(self._settle, self._failed)
        answer.addErrback(_bug, self._call_id)
        if self._found is not None:  # no answer yet
            self._answer = answer
            self._deadline = timers.after(budget, self._late)

    def give_up(self) -> None:
        self._found = None
        self._stop()

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.cancel()

    def _settle(self, route: Route | None) -> None:
        found, self._found = self._found, None
        self._answer = None
        self._stop()
        if found is not None:
            found(route)

    def _late(self, _: None) -> None:
        self._deadline = None
        self._fall_back("timeout")
        self._stop()

    def _failed(self, failure: Failure) -> None:
        if self._found is None:
            return  # cancelled by ourselves
        if failure.check(CalltrackError):
            words = "scenario lookup of {number} failed: {error}"
            log.warn(words, number=self._dialled, error=failure.value, call_id=self._call_id)
        else:
            log.failure(
                "scenario lookup of {number} failed", failure=failure, number=self._dialled, call_id=self._call_id
            )
        self._fall_back("failed")

    def _fall_back(self, why: str) -> None:
        if self._found is None:
            return
        route: Route | None = self._source.last_known(self._dialled)
        if route is not None:
            route = _unattributed(route, why)
        found, self._found = self._found, None
        if route is None:
            log.error(
                "no last known route for {number} ({why})", number=self._dialled, why=why, call_id=self._call_id
            )
        found(route)


def _unattributed(route: Route, why: str) -> Route:


    return msgspec.structs.replace(route, attribution=Attribution(reason=f"lookup {why}"))


def _bug(failure: Failure, call_id: str) -> None:
    log.failure("placing a call after its lookup failed", failure=failure, call_id=call_id)
