"""What processes and the machine have used: CPU time, memory. Knows Linux's /proc; knows no SIP and no peer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PER_CORE = Path("/sys/fs/cgroup/cpuacct/cpuacct.usage_percpu")


class CPU(NamedTuple):
    """CPU time of some processes, user and system, in milliseconds."""

    exact: float  # from the scheduler, in nanoseconds; loses threads that have ended
    counted: float  # in ticks of 10 ms; keeps them
    busiest: float  # of the one thread that used most

    def since(self, before: CPU) -> tuple[float, float]:
        """Milliseconds used since `before`: by all threads, and by the busiest."""
        exact, counted = self.exact - before.exact, self.counted - before.counted
        return (counted if exact < counted - 30 else exact), self.busiest - before.busiest


class Memory(NamedTuple):
    """Memory of some processes in kB; `proportional` counts shared pages once."""

    resident: int
    proportional: int


class Core(NamedTuple):
    """One core since boot, in milliseconds: what all tasks used, and what the host took away."""

    busy: float
    stolen: float


def family(root: int) -> list[int]:
    """The process ids of `root` and all its descendants."""
    children: dict[int, list[int]] = {}
    for process in _processes():
        try:
            parent = int(_stat(process)[1])
        except (OSError, IndexError):
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(process)
    found, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += children.get(process, ())
    return found


def cpu(processes: Iterable[int]) -> CPU:
    """What `processes` have used until now; those that have ended count nothing."""
    exact = counted = busiest = 0.0
    for process in processes:
        try:
            fields = _stat(process)
            threads = [
                int(Path(f"/proc/{process}/task/{thread}/schedstat").read_text().split()[0]) / 1e6
                for thread in os.listdir(f"/proc/{process}/task")
            ]
        except OSError:
            continue
        counted += sum(map(int, fields[11:15])) * 1000 / _TICKS
        exact += sum(threads)
        busiest = max(busiest, *threads)
    return CPU(exact, counted, busiest)


def memory(processes: Iterable[int]) -> Memory:
    """What `processes` hold now."""
    resident = proportional = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().split("\n")
        except OSError:
            continue
        sizes = {name: rest for name, colon, rest in (line.partition(":") for line in lines) if colon}
        resident += int(sizes["Rss"].split()[0])
        proportional += int(sizes["Pss"].split()[0])
    return Memory(resident, proportional)


def core(number: int) -> Core:
    """What core `number` has done since boot."""
    for line in Path("/proc/stat").read_text().split("\n"):
        name, *fields = line.split() or [""]
        if name == f"cpu{number}":
            user, nice, system, _idle, _iowait, irq, softirq, stolen, *_ = map(int, fields)
            busy = (user + nice + system + irq + softirq) * 1000 / _TICKS
            if _PER_CORE.exists():  # exact to the nanosecond
                busy = int(_PER_CORE.read_text().split()[number]) / 1e6
            return Core(busy, stolen * 1000 / _TICKS)
    raise LookupError(f"there is no core {number}")


def listens(host: str, port: int) -> bool:
    """Whether anybody has the UDP port at an IPv4 address."""
    packed = int.from_bytes(bytes(map(int, host.split("."))), "little")
    return f"{packed:08X}:{port:04X}" in Path("/proc/net/udp").read_text()


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat from `state` on (proc(5)): the name before them may hold anything."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
