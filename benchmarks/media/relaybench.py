#!/usr/bin/env python3
"""What it costs to relay RTP: calltrack's relays, rtpengine in user space, rtpproxy, or none at all.

    net.sh up                                              (once, root)
    relaybench.py direct,twisted,kernel,rtpengine,rtpproxy --calls 300 --rounds 3

Relays take turns within a round, so that the drift of the machine's speed hits them alike; compare the medians of
one run only. The relay runs on CPU 1, the generator on CPU 0. Columns:

    proc    user + system time of the relay's process per relayed packet, us. It holds one receive interrupt, that of
            the packet it sends, because veth delivers on the sender's CPU.
    all     generator + relay + kernel threads per packet, us; less the same of `direct` it is what relaying adds.

--generators 2: one on each CPU, for relays that have no process, at more packets than one generator can send.
--begin 500: so many calls begin each second, as signalling lets them; else all begin at once.
--steer: what arrives at the relay's end of the wire is dealt with on CPU 1 too (receive packet steering), so that all of
    the relay's work is there, the kernel's included, and none of the generator's sending.

A run during which the machine was used by others is marked NOISE, repeated (twice, unless told), and left out of the medians
while a quiet one exists. Every measured run holds the lock /tmp/bench.lock.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
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
STEERING = Path("/sys/class/net/cmr0/queues/rx-0/rps_cpus")  # as a mask of CPUs
RELAY, GENERATOR = "10.77.0.2", "10.77.0.1"
A, B = ((GENERATOR, 7000), (GENERATOR, 7100)), ((GENERATOR, 7002), (GENERATOR, 7102))  # of each generator


def in_namespace(name: str, *argv: str) -> list[str]:
    return ["ip", "netns", "exec", name, "nice", "-n", "-10", "prlimit", "--nofile=20000:20000", *argv]


class Relay:
    """A relay under test; `set_up` gives the ports towards A and B of each call."""

    process: subprocess.Popen | None = None
    report = ""
    generators = 1
    begin = 0.0  # calls a second; 0: all at once
    warm_up = 1.5  # seconds after the last call has begun

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
        sides = list(zip(A, B))[: self.generators]
        return [(b[1], a[1]) for a, b in sides for _ in range(calls // len(sides))]


class Calltrack(Relay):
    name = "twisted"
    options: tuple[str, ...] = ()

    def set_up(self, calls):
        argv = (sys.executable, str(HERE / "relay_host.py"), *self.options)
        process = self.spawn(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        sides = {"a": A[: self.generators], "b": B[: self.generators]}
        process.stdin.write(json.dumps({"relay": self.name, "calls": calls, "address": RELAY, **sides}) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        if answer["why"]:
            raise SystemExit(f"relay = {self.name} is not in force: {answer['why']}")
        self.report = f"opening a call {answer['us_per_call']:.0f} us"
        return answer["ports"]

    def tear_down(self):
        super().tear_down()
        self.report += ", figures " + self.process.stdout.readline().strip()


class Kernel(Calltrack):
    name = "kernel"

    def set_up(self, calls):
        self.warm_up = 3 if self.begin else 3 + calls / 400  # what came before they were handed over is worked off
        return super().set_up(calls)


class RTPProxy(Relay):
    """Sippy's rtpproxy as PyPI's rtp.io carries it: for the interpreter in $RTPPROXY_PYTHON, or this one."""

    def set_up(self, calls):
        python = os.environ.get("RTPPROXY_PYTHON", sys.executable)
        process = self.spawn(python, str(HERE / "rtpproxy_host.py"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdin.write(json.dumps({"calls": calls, "address": RELAY, "a": A[0], "b": B[0]}) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline() or "{}")
        if "ports" not in answer:
            raise SystemExit(f"rtpproxy does not run; {python} -m pip install rtp.io")
        self.report = f"opening a call {answer['us_per_call']:.0f} us"
        return answer["ports"]


class RTPEngine(Relay):
    def set_up(self, calls):
        argv = (
            f"rtpengine --foreground --log-stderr --log-level=1 --table=-1 --interface={RELAY} --listen-ng={RELAY}:2223"
        )
        argv += " --num-threads=1 --port-min=10000 --port-max=60000 --timeout=3600 --silent-timeout=3600"
        argv += " --delete-delay=0 --config-file=none"
        self.spawn(*argv.split(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = self._client()
        before = cpu_time(self.process.pid)
        ports = [self._open(client, f"call-{number}") for number in range(calls)]
        self.report = f"opening a call {(cpu_time(self.process.pid) - before) * 1e6 / calls:.0f} us"
        return ports

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
        offer = client.command("offer", sdp=description(*A[0]), **common)
        answer = client.command("answer", sdp=description(*B[0]), to_tag="t", **common)
        return tuple(int(reply[b"sdp"].split(b"m=audio ")[1].split(b" ")[0]) for reply in (answer, offer))


RELAYS = {"direct": Direct, "twisted": Calltrack, "kernel": Kernel, "rtpengine": RTPEngine, "rtpproxy": RTPProxy}


def cpu_time(pid: int) -> float:
    """Seconds of CPU that a process and its threads have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, calls: int, seconds: float, profile: str, generators: int, begin: float) -> dict:
    """One run; the generator's JSON with `all` added."""
    relay = RELAYS[name]()
    relay.generators = generators
    relay.begin = begin
    if profile and isinstance(relay, Calltrack):
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
    """Run a generator, or two at once, each with its share of the calls; their results as one."""
    share = len(ports) // relay.generators
    runs = []
    with tempfile.TemporaryDirectory(prefix="rtpload") as directory:
        for number in range(relay.generators):
            table = Path(directory, str(number))
            far = GENERATOR if direct else RELAY
            some = ports[number * share : (number + 1) * share]
            table.write_text("".join(f"{RELAY}:{a} {far}:{b}\n" for a, b in some))
            a, b = A[number], (RELAY if direct else GENERATOR, B[number][1])
            warm_up = relay.warm_up + (len(ports) / relay.begin if relay.begin else 0)
            argv = f"{RTPLOAD} -a {a[0]}:{a[1]} -b {b[0]}:{b[1]} -m {table} -w {warm_up} -d {seconds} -t 500"
            argv += f" -r {relay.begin / relay.generators}" if relay.begin else ""
            argv += f" -c {number} -C 1" + (" -N ctm-rel" if direct else "")
            argv += f" -p {relay.process.pid}" if relay.process is not None else ""
            runs.append(subprocess.Popen(in_namespace("ctm-gen", *argv.split()), stdout=subprocess.PIPE))
        found = [json.loads(run.communicate(timeout=seconds + warm_up + 20)[0]) for run in runs]
    result = found[0]
    for other in found[1:]:
        for key in ("calls", "sent", "recv", "lost", "silent_streams", "dup", "wrong_src", "alien", "send_err", "gen_cpu"):
            result[key] += other[key]
        result["lat_us"] = {key: max(value, other["lat_us"][key]) for key, value in result["lat_us"].items()}
        process = result["relay_proc"]
        process["us_per_pkt"] = (process["user_s"] + process["sys_s"]) * 1e6 / max(1, result["recv"])
    result["loss_pct"] = 100 * result["lost"] / max(1, result["sent"])
    return result


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

        def median(*keys: str) -> float:
            return statistics.median(functools.reduce(lambda found, key: found[key], keys, run) for run in runs)

        medians[name] = median("relay_proc", "us_per_pkt"), median("all")
        print(f"{name:10} median of {len(runs)}: proc {medians[name][0]:.2f} us/packet, all {medians[name][1]:.2f}", end="")
        if "direct" in medians:
            print(f" (adds {medians[name][1] - medians['direct'][1]:.2f})", end="")
        print(f", loss {median('loss_pct'):.4f} %, delay p50 {median('lat_us', 'p50'):.0f} p99 {median('lat_us', 'p99'):.0f} us")
    if "rtpengine" in medians and "twisted" in medians:
        print(f"twisted / rtpengine, proc: {medians['twisted'][0] / medians['rtpengine'][0]:.2f}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("relays", help=", ".join(RELAYS) + "; several with commas")
    options.add_argument("--calls", type=int, default=300)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=4, help="measured, of each run")
    options.add_argument("--generators", type=int, choices=(1, 2), default=1)
    options.add_argument("--begin", type=float, default=0, help="calls that begin each second; else all at once")
    options.add_argument("--steer", action="store_true", help="the kernel's part of relaying is done on CPU 1 too")
    options.add_argument("--retries", type=int, default=2, help="of a run that others disturbed")
    options.add_argument("--json", help="every result goes to this file")
    options.add_argument("--profile", default="", help="cProfile statistics of calltrack's relay go to this file")
    chosen = options.parse_args()
    if os.environ.get("RELAYBENCH") != "inside":
        os.environ["RELAYBENCH"] = "inside"  # rtpengine is commanded from its own namespace
        os.execvp("ip", in_namespace("ctm-rel", sys.executable, *sys.argv))
    STEERING.write_text("2" if chosen.steer else "0")
    results = []
    for _ in range(chosen.rounds):
        for name in chosen.relays.split(","):
            for _ in range(1 + chosen.retries):
                result = measure(name, chosen.calls, chosen.seconds, chosen.profile, chosen.generators, chosen.begin)
                show(result)
                results.append(result)
                if not result["noise"]:
                    break
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(results))
    summarise(results)


if __name__ == "__main__":
    main()
