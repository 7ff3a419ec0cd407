"""One trial: a fresh peer, a sipp that calls and a sipp that answers, each on a core of its own.

    sipp 127.0.0.2:15061  ->  peer 127.0.0.1:15060  ->  sipp 127.0.0.3:15062

Knows processes and sipp's statistics; not which trials make a result.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
from peers import HERE, Command, Peer

CALLER, PEER, TARGET = ("127.0.0.2", 15061), ("127.0.0.1", 15060), ("127.0.0.3", 15062)
PEER_CORE = int(os.environ.get("PEER_CORE", "0"))
SIPP_CORE = int(os.environ.get("SIPP_CORE", "1"))
NUMBERS = range(1000, 2000)
REFUSED, GOOD = "GenericCounter1", "GenericCounter2"  # of uac.xml

_LOOK = 0.1  # seconds between looks at what sipp has used


class Failed(Exception):
    """A program did not start or do what it must; says what it printed."""


class Trial:
    """Use as a context manager: leaves no process behind, and its directory with all logs only after an error.
    `peer`: None for sipp straight to sipp."""

    def __init__(self, peer: Peer | None, work: Path) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="trial.", dir=work))
        self._peer = peer
        self._processes: list[subprocess.Popen] = []
        self._target = TARGET

    def __enter__(self) -> Trial:
        numbers = self.directory / "numbers.csv"
        numbers.write_text("SEQUENTIAL\n" + "".join(f"{number};\n" for number in NUMBERS))
        try:
            if self._peer is not None:
                self._start_peer(self._peer(self.directory))
            self._sipp("uas", TARGET, "-aa")
            self._wait_for(TARGET, self._processes[-1])
        except BaseException as error:
            self.__exit__(error)
            raise
        return self

    def __exit__(self, *problem: object) -> None:
        for process in reversed(self._processes):
            _kill(process, signal.SIGTERM)
        deadline = time.monotonic() + 8
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill(process, signal.SIGKILL)
                process.wait()
        if not any(problem):
            shutil.rmtree(self.directory)

    def peer_processes(self) -> list[int]:
        """The peer's process ids; none when there is no peer."""
        return measure.family(self._processes[0].pid) if self._peer is not None else []

    def load(self, rate: int, seconds: float, hold: float = 1.0) -> dict[str, Any]:
        """Place `rate` calls a second for `seconds`, each held for `hold` seconds. What came of it: see the README."""
        idle = self._idle(2.0)
        calls = max(1, int(rate * seconds))
        before = measure.cpu(self.peer_processes()), measure.core(PEER_CORE), measure.core(SIPP_CORE), time.monotonic()
        answering = [process.pid for process in self._processes[-1:]]
        sipp_before = measure.cpu(answering).exact
        caller = self.call(rate, calls, hold, timeout=seconds + hold + 14)
        sipp_used = 0.0
        while caller.poll() is None:
            sipp_used = max(sipp_used, measure.cpu([caller.pid, *answering]).exact - sipp_before)
            time.sleep(_LOOK)
        wall = (time.monotonic() - before[3]) * 1000
        used, busiest = measure.cpu(self.peer_processes()).since(before[0])
        peer_core, sipp_core = measure.core(PEER_CORE), measure.core(SIPP_CORE)
        done = self.statistics("uac")
        rates = [number(row, "CallRate(P)") for row in self.rows("uac")]
        steady = sorted(rates[2 : -3 - int(hold)] or rates or [0.0])
        answered, refused = int(number(done, f"{GOOD}(C)")), int(number(done, f"{REFUSED}(C)"))
        per_call = 1 / answered if answered else float("nan")
        return {
            "rate": rate,
            "calls": calls,
            "ok": answered,
            "refused": refused,
            "failed": int(number(done, "FailedCall(C)")),
            "rate_seen": round(steady[len(steady) // 2], 1),
            "retransmissions": int(
                number(done, "Retransmissions(C)") + number(self.statistics("uas"), "Retransmissions(C)")
            ),
            "ms_per_call": round(used * per_call, 4),
            "ms_per_call_busiest_thread": round(busiest * per_call, 4),
            "ms_per_call_net": round((used - idle * wall) * per_call, 4),
            "invite_200_ms": duration(done, "ResponseTime1(C)"),
            "bye_200_ms": duration(done, "ResponseTime3(C)"),
            "peer_core": round(used / wall, 3),
            "sipp_core": round(sipp_used / wall, 3),
            "foreign": [
                round((peer_core.busy - before[1].busy - used) / wall, 3),
                round((sipp_core.busy - before[2].busy - sipp_used) / wall, 3),
            ],
            "steal": round((peer_core.stolen - before[1].stolen + sipp_core.stolen - before[2].stolen) / 2 / wall, 3),
        }

    def call(self, rate: int, calls: int, hold: float, timeout: float) -> subprocess.Popen:
        """Start the calling sipp."""
        return self.place("uac", "uac", CALLER, rate, calls, hold, timeout)

    def place(
        self, name: str, scenario: str, address: tuple[str, int], rate: float, calls: int, hold: float, timeout: float,
        patience: float = 10.0,
    ) -> subprocess.Popen:  # fmt: skip
        """Start a sipp that calls, from an address of its own, under a name of its own. `patience`: seconds that it
        waits for each answer before its call has failed."""
        return self._sipp(
            scenario, address, "-inf", "numbers.csv", "-r", rate, "-m", calls, "-l", 15_000, "-d", int(hold * 1000),
            "-max_retrans", 7, "-recv_timeout", int(patience * 1000), "-timeout", int(timeout), "%s:%d" % self._target,
            name=name,
        )  # fmt: skip

    def steal(self, share: float, period: float) -> subprocess.Popen:
        """Take a share of the peer's core away from it, `period` seconds being a turn, until the trial ends."""
        return self._start([sys.executable, str(HERE / "steal.py"), *map(str, (PEER_CORE, share, period))], PEER_CORE, "steal", {})

    def statistics(self, name: str) -> dict[str, str]:
        """The last line of the statistics of the sipp called `name`."""
        return (self.rows(name) or [{}])[-1]

    def _start_peer(self, command: Command) -> None:
        if measure.listens(*PEER):
            raise Failed(f"{PEER[0]} port {PEER[1]} is taken, by a peer of an earlier trial perhaps: end that first")
        process = self._start(command.arguments, PEER_CORE, "peer", command.environment)
        self._wait_for(PEER, process)
        time.sleep(1.5)  # until it has settled
        self._target = PEER

    def _wait_for(self, address: tuple[str, int], process: subprocess.Popen) -> None:
        deadline = time.monotonic() + 20
        while not measure.listens(*address):
            if process.poll() is not None or time.monotonic() > deadline:
                said = "\n".join(path.read_text(errors="replace")[-2000:] for path in self.directory.glob("*.out"))
                raise Failed(f"nobody listens on {address[0]} port {address[1]}; see {self.directory}\n{said}")
            time.sleep(0.1)

    def _sipp(self, scenario: str, address: tuple[str, int], *more: object, name: str = "") -> subprocess.Popen:
        host, port = address
        name = name or scenario
        arguments = [
            "sipp", "-sf", HERE / "sipp" / f"{scenario}.xml", "-i", host, "-p", port, "-mi", host, "-nostdin",
            "-trace_stat", "-stf", f"{name}.csv", "-fd", 1, "-trace_err", "-error_file", f"{name}.err",
            "-buff_size", 4_194_304, "-default_behaviors", "all,-bye,-abortunexp", *more,
        ]  # fmt: skip
        return self._start([str(argument) for argument in arguments], SIPP_CORE, name, {})

    def _start(self, arguments: list[str], core: int, name: str, environment: dict[str, str]) -> subprocess.Popen:
        # nice says so in the output and goes on when the user may not be preferred.
        placed = ["nice", "-n", "-15", "taskset", "-c", str(core), *arguments]
        with (self.directory / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                placed,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                env=os.environ | environment,
                start_new_session=True,
            )
        self._processes.append(process)
        group = Path(f"/proc/{process.pid}/autogroup")
        if os.geteuid() == 0 and group.exists():
            group.write_text("-15")  # nice counts only within the session that each program has (sched(7), autogroup)
        return process

    def _idle(self, seconds: float) -> float:
        """What the peer uses without calls, in milliseconds a millisecond."""
        before = measure.cpu(self.peer_processes())
        time.sleep(seconds)
        return measure.cpu(self.peer_processes()).since(before)[0] / (seconds * 1000)

    def rows(self, name: str) -> list[dict[str, str]]:
        """The statistics of the sipp called `name`, a line for each second."""
        try:
            with (self.directory / f"{name}.csv").open(errors="replace") as file:
                return list(csv.DictReader(file, delimiter=";"))
        except FileNotFoundError:
            return []


def _kill(process: subprocess.Popen, number: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)


def number(row: dict[str, str], key: str) -> float:
    """A figure of a line of statistics; 0 where it has none."""
    try:
        return float(row.get(key) or 0)
    except ValueError:
        return 0.0


def duration(row: dict[str, str], key: str) -> float | None:
    """sipp's HH:MM:SS:uuuuuu in milliseconds."""
    parts = (row.get(key) or "").split(":")
    if len(parts) != 4:
        return None
    hours, minutes, seconds, micros = map(int, parts)
    return round(((hours * 60 + minutes) * 60 + seconds) * 1000 + micros / 1000, 2)
