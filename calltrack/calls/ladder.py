"""The ladder of a call: every SIP message of its dialogs as one line each. Knows start lines only."""

from __future__ import annotations

from array import array
from functools import lru_cache

from calltrack.tracing.contents import status_of, title
from calltrack.tracking.model import LadderStep

MAX_STEPS = 400  # a call that sends DTMF by INFO all day must not fill the memory


@lru_cache(maxsize=1024)
def _what(party: str, sent: bool, status: bytes, method: bytes, body: bool) -> tuple[str, bool, str, bool]:
    """A step but for its time: all calls share the few there are."""
    return party, sent, title(status, method), body


class Ladder:
    """Collects steps cheaply; `steps()` makes them readable."""

    __slots__ = ("_at", "_began", "_what", "omitted")

    def __init__(self, began: float) -> None:
        self._began = began
        self._at = array("d")  # seconds, as `began`
        self._what: list[tuple[str, bool, str, bool]] = []
        self.omitted = 0

    def add(self, now: float, party: str, sent: bool, start: bytes, method: bytes, body: bool) -> None:
        """`start`: the start line; `method`: the request's, also of a response."""
        if len(self._what) < MAX_STEPS:
            self._at.append(now)
            self._what.append(_what(party, sent, status_of(start), method, body))
        else:
            self.omitted += 1

    def __len__(self) -> int:
        return len(self._what) + self.omitted

    def steps(self) -> tuple[LadderStep, ...]:
        return tuple(LadderStep(round((at - self._began) * 1000), *what) for at, what in zip(self._at, self._what))
