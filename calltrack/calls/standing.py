"""Which trunks and outside targets are there, by what several sources say of them: pings, and our registrations.

Knows names and reasons; no SIP. A peer is up when every source that has said anything says so.
"""

from __future__ import annotations

from typing import Any, Callable, Literal

import msgspec
from twisted.logger import Logger

log = Logger()

Kind = Literal["trunk", "target"]
Source = Literal["ping", "registration"]


class PeerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A trunk or an outside target has begun to serve, or does not serve any more."""

    type: Literal["trunk.up", "trunk.down", "target.up", "target.down"]
    at: int  # milliseconds since the Unix epoch
    name: str  # of the trunk, or the target's address
    reason: str = ""  # why it is down
    version: int = 1  # of this layout


class Standing:
    """`down` holds the names of the trunks that are. `observers` are called with each `PeerEvent`, the first word about
    a peer included; what they raise is logged."""

    def __init__(self, wall_ms: Callable[[], int], down: set[str]) -> None:
        self.observers: list[Callable[[PeerEvent], Any]] = []
        self._wall_ms = wall_ms
        self._down = down
        self._said: dict[tuple[Kind, str], dict[Source, str]] = {}  # "" = it is there, else why not
        self._told: dict[tuple[Kind, str], bool] = {}

    def tell(self, kind: Kind, name: str, source: Source, why: str = "") -> None:
        """What one source says of a peer: `why` it is not there, "" when it is."""
        said = self._said.setdefault((kind, name), {})
        said[source] = why
        up = not any(said.values())
        if self._told.get((kind, name)) is not up:
            self._told[kind, name] = up
            self._changed(kind, name, up, self.why(kind, name))

    def forget(self, kind: Kind, name: str) -> None:
        """Nothing is known of a peer any more; no event follows."""
        self._said.pop((kind, name), None)
        self._told.pop((kind, name), None)

    def up(self, kind: Kind, name: str) -> bool | None:
        """Whether a peer is there; None when that is not known."""
        return self._told.get((kind, name))

    def why(self, kind: Kind, name: str) -> str:
        """Why it is not."""
        return "; ".join(why for why in self._said.get((kind, name), {}).values() if why)

    def _changed(self, kind: Kind, name: str, up: bool, why: str) -> None:
        if kind == "trunk":
            (self._down.discard if up else self._down.add)(name)
        if up:
            log.info("{kind} {name} answers", kind=kind, name=name)
        else:
            log.warn("{kind} {name} is down: {why}", kind=kind, name=name, why=why)
        event = PeerEvent(type=f"{kind}.{'up' if up else 'down'}", at=self._wall_ms(), name=name, reason=why)
        for observer in self.observers:
            try:
                observer(event)
            except Exception:
                log.failure("telling {observer} about {kind} failed", observer=observer, kind=event.type)
