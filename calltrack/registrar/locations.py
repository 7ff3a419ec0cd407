"""Every contact binding in memory: found by project or by connection, gone when its time is over.

Look-ups cost the same with one binding as with 100,000. Knows a clock that only goes forward, so that a step of the
wall clock drops nobody; must not know stores, requests or who may register.
"""

from __future__ import annotations

from typing import Callable

from calltrack.sip.flows import Flow
from calltrack.timers import Timers
from calltrack.tracking.bindings import Binding

SWEEP = 1.0  # seconds between two looks for what has expired


class Entry:
    """A binding as it is held here."""

    __slots__ = ("binding", "expires", "flow", "keep_open")

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.expires = 0.0  # by the clock of the timers
        self.flow: Flow | None = None  # its connection; None over UDP
        self.keep_open = False


class Locations:
    """`expired(bindings)` is told of those whose time is over, after they are gone from here."""

    def __init__(self, timers: Timers, expired: Callable[[list[Binding]], None]) -> None:
        self._timers = timers
        self._expired = expired
        self._count = 0
        self._by_project: dict[int, list[Entry]] = {}
        self._by_flow: dict[Flow, set[Entry]] = {}
        self._due: dict[int, set[Entry]] = {}  # by the second in which they expire
        self._swept = int(timers.now())  # the last second that was looked at
        self._sweeping = False

    def __len__(self) -> int:
        return self._count

    def projects(self) -> list[int]:
        """The projects that have bindings."""
        return list(self._by_project)

    def of(self, project: int) -> list[Entry]:
        """The entries of a project, the first registered first."""
        return list(self._by_project.get(project, ()))

    def over(self, flow: Flow) -> list[Binding]:
        """The bindings that came by a connection."""
        return [entry.binding for entry in self._by_flow.get(flow, ())]

    def put(self, binding: Binding, lifetime: float, flow: Flow | None = None, keep_open: bool = False) -> None:
        """Hold a binding for `lifetime` seconds, in the place of the one with its id. `flow`: its connection;
        `keep_open`: whether its way would close unless something is sent over it."""
        entry = self.find(binding)
        if entry is None:
            entry = Entry(binding)
            self._by_project.setdefault(binding.project, []).append(entry)
            self._count += 1
        else:
            self._unlink(entry)
        entry.binding, entry.expires = binding, self._timers.now() + lifetime
        entry.flow, entry.keep_open = flow, keep_open
        self._due.setdefault(_second(entry), set()).add(entry)
        if flow is not None:
            self._by_flow.setdefault(flow, set()).add(entry)
        if not self._sweeping:
            self._sweeping = True
            self._swept = int(self._timers.now())
            self._timers.after(SWEEP, self._sweep)

    def remove(self, binding: Binding) -> bool:
        """Forget a binding, whatever its state; False when it was gone already."""
        entry = self.find(binding)
        if entry is None:
            return False
        self._unlink(entry)
        entries = self._by_project[binding.project]
        entries.remove(entry)
        if not entries:
            del self._by_project[binding.project]
        self._count -= 1
        return True

    def find(self, binding: Binding) -> Entry | None:
        """What is held now of a binding, by project and id."""
        for entry in self._by_project.get(binding.project, ()):
            if entry.binding.id == binding.id:
                return entry
        return None

    def _unlink(self, entry: Entry) -> None:
        """Take an entry out of everything that it is found by but its project."""
        due = self._due[_second(entry)]
        due.remove(entry)
        if not due:
            del self._due[_second(entry)]
        if entry.flow is not None:
            entries = self._by_flow[entry.flow]
            entries.remove(entry)
            if not entries:
                del self._by_flow[entry.flow]

    def _sweep(self, _: None) -> None:
        """One look for all bindings: what was due since the last one."""
        now = int(self._timers.now())
        gone = [entry.binding for second in range(self._swept, now + 1) for entry in self._due.get(second, ())]
        self._swept = now
        for binding in gone:
            self.remove(binding)
        self._sweeping = bool(self._due)
        if self._sweeping:
            self._timers.after(SWEEP, self._sweep)
        if gone:
            self._expired(gone)


def _second(entry: Entry) -> int:
    """The first whole second that is not before its end."""
    return -int(-entry.expires // 1)
