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
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "signalling"))

import bench  # noqa: E402
import peers  # noqa: E402
from trial import CALLER, PEER, TARGET, Failed, Trial  # noqa: E402

RTPLOAD = os.environ.get("RTPLOAD", "/tmp/calltrack-rtpload")
OTHERS = (CALLER[0], 15071)  # who dials beside them
MEDIA = {"talking": 17000, "uas": 17002}  # the generator's ports, by the sipp that names one
SET_UP = 50  # talking calls begun each second
MESSAGE = re.compile(r"-{20,}")  # between two in sipp's trace
AUDIO = re.compile(r"^m=audio (\d+)", re.MULTILINE)


class Beside(Trial):
    """A trial whose `talking` calls are left to the generator: both of their sipps name its ports and write down what
    they hear, which has the engine's ports in it."""

    def talk(self, calls: int) -> Path:
        """Set so many calls up and keep them; a file with the engine's two ports of each."""
        self.place("talking", "uac", CALLER, SET_UP, calls, hold=600, timeout=900)
        time.sleep(calls / SET_UP + 3)
        offered = self._ports("uas", "INVITE sip:", r"^x-roistat-phone: (\d+)")
        answered = self._ports("talking", "SIP/2.0 200", r"^To: .*sip:(\d+)@")
        both = sorted(offered.keys() & answered.keys())
        if len(both) != calls:
            raise Failed(f"{len(both)} of {calls} calls talk; see {self.directory}")
        table = self.directory / "ports"
        table.write_text("".join(f"{PEER[0]}:{answered[n]} {PEER[0]}:{offered[n]}\n" for n in both))
        return table

    def measure(self, table: Path, rate: int, seconds: float) -> dict:
        """What the generator saw while others dialled at this rate."""
        dialling = None
        if rate:
            dialling = self.place("others", "uac", OTHERS, rate, int(rate * (seconds + 3)), hold=1.0, timeout=seconds + 60)
        argv = f"{RTPLOAD} -a {CALLER[0]}:{MEDIA['talking']} -b {TARGET[0]}:{MEDIA['uas']} -m {table} -w 2 -d {seconds} -t 500 -c 1"
        for process in self.peer_processes():
            argv += f" -p {process}"
        out = subprocess.run(argv.split(), check=True, capture_output=True, text=True)
        if dialling is not None and dialling.wait(60):
            raise Failed(f"not every call beside them was served; see {self.directory}/others.out")
        return json.loads(out.stdout)

    def _sipp(self, scenario: str, address: tuple[str, int], *more: object, name: str = "") -> subprocess.Popen:
        name = name or scenario
        if name in MEDIA:
            text = (peers.HERE / "sipp" / f"{scenario}.xml").read_text().replace("[media_port]", str(MEDIA[name]))
            own = self.directory / f"{name}.xml"
            own.write_text(text)
            scenario, more = str(own.with_suffix("")), (*more, "-trace_msg", "-message_file", f"{name}.log")
        return super()._sipp(scenario, address, *more, name=name)

    def _ports(self, name: str, first: str, key: str) -> dict[str, str]:
        """By dialled number, the audio port in the messages received that begin so."""
        found = {}
        for message in MESSAGE.split((self.directory / f"{name}.log").read_text()):
            number, audio = re.search(key, message, re.MULTILINE | re.IGNORECASE), AUDIO.search(message)
            if "received" in message and first in message and number and audio:
                found[number[1]] = audio[1]
        return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=100, help="that talk, 1,000 at most")
    options.add_argument("--rates", default="0,20,100", help="new calls a second, several with commas")
    options.add_argument("--seconds", type=float, default=8, help="measured, of each rate")
    chosen = options.parse_args()
    bench.WORK.mkdir(parents=True, exist_ok=True)
    with bench.one_at_a_time(), Beside(peers.calltrack, bench.WORK) as beside:
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
    try:
        main()
    except Failed as problem:
        sys.exit(str(problem))
