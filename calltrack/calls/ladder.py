"""The ladder of a call: every SIP message of its dialogs as one line each. Knows start lines only."""

from __future__ import annotations

from functools import lru_cache

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
            status = start[8:72] if start.startswith(b"SIP/2.0 ") else b""
            self._kept.append((now, party, sent, _text(status, method), body))
        else:
            self.omitted += 1

    def __len__(self) -> int:
        return len(self._kept) + self.omitted

    def steps(self) -> tuple[LadderStep, ...]:
        return tuple(
            LadderStep(round((at - self._began) * 1000), party, sent, text, body)
            for at, party, sent, text, body in self._kept
        )


@lru_cache(maxsize=1024)
def _text(status: bytes, method: bytes) -> str:
    """What a step says: all calls share the few there are. `status`: code and reason, b"" of a request."""
    name = method.decode("ascii", "replace")
    return f"{status.decode('utf-8', 'replace')} ({name})" if status else name
