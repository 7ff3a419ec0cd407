#!/usr/bin/env python3
"""CPU time per RTP packet of a relay: calltrack's, rtpengine's in user space, or none.

    net.sh up                                              (once, root)
    relaybench.py calltrack,rtpengine,direct --calls 300 --rounds 3

Relays take turns within a round, so that the drift of the machine's speed hits them alike; compare the medians of
one run only. The relay runs on CPU 1, the generator on CPU 0. Columns:

    proc    user + system time of the relay's process per relayed packet, us. It holds one receive interrupt, that of
            the packet it sends, because veth delivers on the sender's CPU.
    all     generator + relay + kernel threads per packet, us; less the same of `direct` it is what relaying adds.

A run during which the machine was used by others is marked NOISE, repeated (twice at most), and left out of the medians
while a quiet one exists. Every measured run holds the lock /tmp/bench.lock.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ng
from relay_host import description  # the same for every relay

HERE = Path(__file__).resolve().parent
RTPLOAD = Path(os.environ.get("RTPLOAD", "/tmp/calltrack-rtpload"))
LOCK = "/tmp/bench.lock"
RELAY, GENERATOR = "10.77.0.2", "10.77.0.1"
A, B = (GENERATOR, 7000), (GENERATOR, 7002)


def in_namespace(name: str, *argv: str) -> list[str]:
    return ["ip", "netns", "exec", name, "nice", "-n", "-10", "prlimit", "--nofile=20000:20000", *argv]


class Relay:
    """A relay under test; `set_up` gives the ports towards A and B of each call."""

    process: subprocess.Popen | None = None
    report = ""

    def set_up(self, calls: int) -> list[tuple[int, int]]:
        raise NotImplementedError

    def spawn(self, *argv: str, **streams) -> subprocess.Popen:
        self.process = subprocess.Popen(in_namespace("ctm-rel", "taskset", "-c", "1", *argv), **streams)
        return self.process

    def tear_down(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Direct(Relay):
    """No relay: B listens in the relay's namespace. What the generator and the kernel cost by themselves."""

    def set_up(self, calls):
        return [(B[1], A[1])] * calls


class Calltrack(Relay):
    options: tuple[str, ...] = ()

    def set_up(self, calls):
        argv = (sys.executable, str(HERE / "relay_host.py"), *self.options)
        process = self.spawn(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdin.write(json.dumps({"calls": calls, "address": RELAY, "a": A, "b": B}) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        self.report = f"opening a call {answer['us_per_call']:.0f} us"
        return answer["ports"]

    def tear_down(self):
        super().tear_down()
        self.report += ", figures " + self.process.stdout.readline().strip()


class RTPEngine(Relay):
    def set_up(self, calls):
        argv = (
            f"rtpengine --foreground --log-stderr --log-level=1 --table=-1 --interface={RELAY} --listen-ng={RELAY}:2223"
        )
        argv += " --num-threads=1 --port-min=10000 --port-max=60000 --timeout=3600 --silent-timeout=3600"
        argv += " --delete-delay=0 --config-file=none"
        self.spawn(*argv.split(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = self._client()
        return [self._open(client, f"call-{number}") for number in range(calls)]

    def _client(self) -> ng.NG:
        client = ng.NG((RELAY, 2223))
        for _ in range(50):
            time.sleep(0.1)
            try:
                client.command("ping")
            except OSError:
                continue
            return client
        raise TimeoutError("rtpengine did not start")

    def _open(self, client: ng.NG, call_id: str) -> tuple[int, int]:
        common = {"call_id": call_id, "from_tag": "f", "replace": ["origin"], "flags": ["trust-address"]}
        offer = client.command("offer", sdp=description(*A), **common)
        answer = client.command("answer", sdp=description(*B), to_tag="t", **common)
        return tuple(int(reply[b"sdp"].split(b"m=audio ")[1].split(b" ")[0]) for reply in (answer, offer))


RELAYS = {"direct": Direct, "calltrack": Calltrack, "rtpengine": RTPEngine}


def measure(name: str, calls: int, seconds: float, profile: str) -> dict:
    """One run; the generator's JSON with `all` added."""
    relay = RELAYS[name]()
    if profile and name == "calltrack":
        relay.options = ("--profile", profile)
    with open(LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            ports = relay.set_up(calls)
            result = generate(relay, ports, seconds, direct=name == "direct")
        finally:
            relay.tear_down()
    process = result["relay_proc"]
    spent = result["gen_cpu"] * result["secs"] + process["user_s"] + process["sys_s"] + result["kthreads_s"]
    result.update(relay=name, all=spent * 1e6 / max(1, result["recv"]), report=relay.report)
    result["noise"] = result["foreign_s"] + result["exited_s"] > 0.1 * result["secs"] or any(
        cpu["steal"] > 0.04 for cpu in result["cpus"]
    )
    return result


def generate(relay: Relay, ports: list[tuple[int, int]], seconds: float, direct: bool) -> dict:
    far = GENERATOR if direct else RELAY
    with tempfile.NamedTemporaryFile("w", prefix="rtpload") as table:
        table.writelines(f"{RELAY}:{a} {far}:{b}\n" for a, b in ports)
        table.flush()
        b = f"{RELAY if direct else GENERATOR}:{B[1]}"
        argv = f"{RTPLOAD} -a {GENERATOR}:{A[1]} -b {b} -m {table.name} -w 1.5 -d {seconds} -t 500 -c 0 -C 1".split()
        if direct:
            argv += ["-N", "ctm-rel"]
        if relay.process is not None:
            argv += ["-p", str(relay.process.pid)]
        run = subprocess.run(in_namespace("ctm-gen", *argv), check=True, stdout=subprocess.PIPE, timeout=seconds + 20)
    return json.loads(run.stdout)


def show(result: dict) -> None:
    process, delay = result["relay_proc"], result["lat_us"]
    print(
        f"{result['relay']:10} {result['calls']:5} calls  proc {process['us_per_pkt']:6.2f} us"
        f"  (user {process['user_s']:.2f} s, system {process['sys_s']:.2f} s)  all {result['all']:6.2f} us"
        f"  loss {result['loss_pct']:.4f} %  delay p50 {delay['p50']:.0f} p99 {delay['p99']:.0f} max {delay['max']} us"
        f"  {result['report']}{'  NOISE' if result['noise'] else ''}",
        flush=True,
    )
    faults = {key: result[key] for key in ("silent_streams", "dup", "wrong_src", "alien", "send_err") if result[key]}
    if faults:
        print(f"           ! {faults}", flush=True)


def summarise(results: list[dict]) -> None:
    by_relay: dict[str, list[dict]] = {}
    for result in results:
        by_relay.setdefault(result["relay"], []).append(result)
    medians = {}
    for name, runs in by_relay.items():
        runs = [run for run in runs if not run["noise"]] or runs
        medians[name] = statistics.median(run["relay_proc"]["us_per_pkt"] for run in runs)
        delay = statistics.median(run["lat_us"]["p50"] for run in runs)
        everything = statistics.median(run["all"] for run in runs)
        print(f"{name:10} median of {len(runs)}: proc {medians[name]:.2f} us/packet, all {everything:.2f}", end="")
        print(f", delay p50 {delay:.0f} us")
    if medians.get("rtpengine") and "calltrack" in medians:
        print(f"calltrack / rtpengine: {medians['calltrack'] / medians['rtpengine']:.2f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("relays", help=", ".join(RELAYS) + "; several with commas")
    options.add_argument("--calls", type=int, default=300)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=4, help="measured, of each run")
    options.add_argument("--json", help="every result goes to this file")
    options.add_argument("--profile", default="", help="cProfile statistics of calltrack's relay go to this file")
    chosen = options.parse_args()
    if os.environ.get("RELAYBENCH") != "inside":
        os.environ["RELAYBENCH"] = "inside"  # rtpengine is commanded from its own namespace
        os.execvp("ip", in_namespace("ctm-rel", sys.executable, *sys.argv))
    results = []
    for _ in range(chosen.rounds):
        for name in chosen.relays.split(","):
            for _ in range(3):
                result = measure(name, chosen.calls, chosen.seconds, chosen.profile)
                show(result)
                results.append(result)
                if not result["noise"]:
                    break
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(results))
    summarise(results)


if __name__ == "__main__":
    main()
