"""Which calls' events are in the log already. Knows records by their ids; a saving, not a promise: the log keeps each
event once, whatever is written again."""

from __future__ import annotations

from calltrack.tracking.model import CallRecord


class Told:
    """The calls whose end was told of lately: their records are written again, with ladders, and tell nothing new."""

    def __init__(self, most: int = 5_000) -> None:
        self._most = most
        self._ids: dict[str, None] = {}  # oldest first

    def news(self, records: list[CallRecord]) -> list[CallRecord]:
        """The records that may tell something new."""
        return [record for record in records if record.id not in self._ids]

    def remember(self, records: list[CallRecord]) -> None:
        """These have been written, events and all."""
        self._ids.update((record.id, None) for record in records if record.final)
        while len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]
