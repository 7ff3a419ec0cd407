"""The ladder of a call: every SIP message of its dialogs as one line each. Knows start lines only."""

from __future__ import annotations

from calltrack.tracing.contents import status_of, title
from calltrack.tracking.model import LadderStep

MAX_STEPS = 400  # a call that sends DTMF by INFO all day must not fill the memory


class Ladder:
    """Collects steps cheaply; `steps()` makes them readable."""

    __slots__ = ("_began", "_kept", "omitted")

    def __init__(self, began: float) -> None:
        self._began = began
        self._kept: list[tuple[float, str, bool, str, bool]] = []
        self.omitted = 0

    def add(self, now: float, party: str, sent: bool, start: bytes, method: bytes, body: bool) -> None:
        """`start`: the start line; `method`: the request's, also of a response."""
        if len(self._kept) < MAX_STEPS:
            self._kept.append((now, party, sent, title(status_of(start), method), body))
        else:
            self.omitted += 1

    def __len__(self) -> int:
        return len(self._kept) + self.omitted

    def steps(self) -> tuple[LadderStep, ...]:
        return tuple(
            LadderStep(round((at - self._began) * 1000), party, sent, text, body)
            for at, party, sent, text, body in self._kept
        )
