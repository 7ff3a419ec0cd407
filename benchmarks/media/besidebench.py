#!/usr/bin/env python3
"""What callers hear while others dial: the delay that the default relay adds to the media of calls that talk, beside so
many new calls a second in the same process.

    besidebench.py --calls 100 --rates 0,20,100

The whole engine (database, records, log, relay) runs on CPU 0 with its defaults; sipp sets the talking calls up and
places the others, and the generator of relaybench.py sends the talking calls' RTP, both on CPU 1, on loopback. Needs sipp and
the generator (README.md). Prints a line a rate: loss, and the delay of RTP through the engine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIGNALLING = HERE.parent / "signalling"
sys.path.insert(0, str(SIGNALLING))

import peers  # noqa: E402

RTPLOAD = os.environ.get("RTPLOAD", "/tmp/calltrack-rtpload")
ENGINE, CALLER, OFFICE = ("127.0.0.1", 15060), ("127.0.0.2", 15061), ("127.0.0.3", 15062)
OTHERS = ("127.0.0.2", 15071)  # who dials beside them
CALLER_MEDIA, OFFICE_MEDIA = 17000, 17002  # ports of the generator
SET_UP = 50  # talking calls begun each second
MESSAGE = re.compile(r"-{20,}")  # between two in sipp's trace
AUDIO = re.compile(r"^m=audio (\d+)", re.MULTILINE)


class Beside:
    """The engine, sipp, and the talking calls. Use as a context manager: leaves no process behind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes: list[subprocess.Popen] = []

    def __enter__(self) -> Beside:
        command = peers.calltrack(self.directory)
        for name, port in (("uac", CALLER_MEDIA), ("uas", OFFICE_MEDIA)):
            scenario = (SIGNALLING / "sipp" / f"{name}.xml").read_text()
            (self.directory / f"{name}.xml").write_text(scenario)
            (self.directory / f"{name}-media.xml").write_text(scenario.replace("[media_port]", str(port)))
        (self.directory / "numbers.csv").write_text("SEQUENTIAL\n" + "".join(f"{n};\n" for n in range(1000, 2000)))
        self.engine = self._start(0, "engine", command.arguments, command.environment)
        time.sleep(4)
        return self

    def __exit__(self, *problem: object) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def talk(self, calls: int) -> Path:
        """Set so many calls up and keep them; a file with the engine's two ports of each."""
        self._sipp("uas-media", OFFICE, "-aa", "-trace_msg", "-message_file", "uas.log")
        time.sleep(1)
        self._dial("uac-media", CALLER, SET_UP, calls, 600_000, "-trace_msg", "-message_file", "uac.log")
        time.sleep(calls / SET_UP + 3)
        offered = self._ports("uas.log", "INVITE sip:", r"^x-roistat-phone: (\d+)")
        answered = self._ports("uac.log", "SIP/2.0 200", r"^To: .*sip:(\d+)@")
        both = sorted(offered.keys() & answered.keys())
        if len(both) != calls:
            raise SystemExit(f"{len(both)} of {calls} calls talk; see {self.directory}")
        table = self.directory / "ports"
        table.write_text("".join(f"{ENGINE[0]}:{answered[n]} {ENGINE[0]}:{offered[n]}\n" for n in both))
        return table

    def measure(self, table: Path, rate: int, seconds: float) -> dict:
        """What the generator saw while others dialled at this rate."""
        dialling = self._dial("uac", OTHERS, rate, int(rate * (seconds + 3)), 1000) if rate else None
        argv = f"{RTPLOAD} -a {CALLER[0]}:{CALLER_MEDIA} -b {OFFICE[0]}:{OFFICE_MEDIA} -m {table} -w 2 -d {seconds} -t 500 -c 1"
        out = subprocess.run([*argv.split(), "-p", str(self.engine.pid)], check=True, capture_output=True, text=True)
        if dialling is not None and dialling.wait(60):
            raise SystemExit(f"not every call beside them was served; see {self.directory}/uac.out")
        return json.loads(out.stdout)

    def _ports(self, log: str, first: str, key: str) -> dict[str, str]:
        """By dialled number, the audio port in the messages received that begin so."""
        found = {}
        for message in MESSAGE.split((self.directory / log).read_text()):
            number, audio = re.search(key, message, re.MULTILINE | re.IGNORECASE), AUDIO.search(message)
            if "received" in message and first in message and number and audio:
                found[number[1]] = audio[1]
        return found

    def _dial(self, scenario: str, address: tuple[str, int], rate: int, calls: int, hold: int, *more: str):
        argv = ["-inf", "numbers.csv", "-r", rate, "-m", calls, "-l", 15_000, "-d", hold, *more, "%s:%d" % ENGINE]
        return self._sipp(scenario, address, *argv)

    def _sipp(self, scenario: str, address: tuple[str, int], *more: object) -> subprocess.Popen:
        argv = ["sipp", "-sf", f"{scenario}.xml", "-i", address[0], "-p", address[1], "-mi", address[0], "-nostdin"]
        argv += ["-mp", address[1] + 2000, "-default_behaviors", "all,-bye,-abortunexp", "-buff_size", 4_194_304, *more]
        return self._start(1, scenario, argv, {})

    def _start(self, core: int, name: str, argv: list, environment: dict[str, str]) -> subprocess.Popen:
        with (self.directory / f"{name}.out").open("w") as output:
            process = subprocess.Popen(
                ["nice", "-n", "-15", "taskset", "-c", str(core), *map(str, argv)],
                cwd=self.directory,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._processes.append(process)
        return process


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=100, help="that talk, 1,000 at most")
    options.add_argument("--rates", default="0,20,100", help="new calls a second, several with commas")
    options.add_argument("--seconds", type=float, default=8, help="measured, of each rate")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="beside") as directory, Beside(Path(directory)) as beside:
        table = beside.talk(chosen.calls)
        for rate in map(int, chosen.rates.split(",")):
            result = beside.measure(table, rate, chosen.seconds)
            delay, process = result["lat_us"], result["relay_proc"]
            print(
                f"{result['calls']} calls talk, {rate:3} begin each second: loss {result['loss_pct']:.4f} %, delay p50"
                f" {delay['p50']:.0f} p99 {delay['p99']:.0f} p99.9 {delay['p999']:.0f} max {delay['max']} us, the engine uses"
                f" {(process['user_s'] + process['sys_s']) / result['secs']:.2f} of a core"
                f"{'  NOISE: the host took a core away' if max(cpu['steal'] for cpu in result['cpus']) > 0.02 else ''}",
                flush=True,
            )


if __name__ == "__main__":
    main()
