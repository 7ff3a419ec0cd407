"""Visit numbers, from blocks that the store has set aside, so that no visit waits for a counter.

Knows `IVisitStore.reserve`. What is left of a block when the process ends is never used.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from calltrack.interfaces import IVisitStore

BLOCK = 100  # numbers at first; a project that uses them up soon gets more at once
LARGEST = 10_000


class Numbering:
    """The next visit number of each project."""

    def __init__(self, store: IVisitStore) -> None:
        self._store = store
        self._left: dict[int, tuple[int, int]] = {}  # project: next number, and the one after the block's last
        self._block: dict[int, int] = {}  # project: size of its next block
        self._waiting: dict[int, list[Deferred[None]]] = {}

    async def next(self, project: int) -> int:
        """A number that no other visit of the project has. Raises StoreUnavailable."""
        while True:
            number, end = self._left.get(project, (0, 0))
            if number < end:
                self._left[project] = (number + 1, end)
                return number
            await self._reserve(project)

    async def _reserve(self, project: int) -> None:
        waiting = self._waiting.get(project)
        if waiting is not None:
            turn: Deferred[None] = Deferred()
            waiting.append(turn)
            await turn
            return
        waiting = self._waiting[project] = []
        size = self._block.get(project, BLOCK)
        try:
            first = await self._store.reserve(project, size)
            self._left[project] = (first, first + size)
            self._block[project] = min(size * 2, LARGEST)
        finally:
            del self._waiting[project]
            for turn in waiting:  # after a failure each asks for itself, and is told of its own
                turn.callback(None)
