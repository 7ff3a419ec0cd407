#!/usr/bin/env python3
"""CPU time and memory of a call through a SIP program, measured with sipp over UDP on loopback.

    bench.py cpu calltrack sippy kamailio --rate 50 --rate 500 --repeat 3
    bench.py max calltrack --from 600
    bench.py rss calltrack sippy kamailio
    bench.py profile calltrack --rate 500

Peers take turns within a round, so that the drift of the machine's speed hits them alike. The README says how to
read the figures.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pstats
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import measure
import peers
from trial import Failed, Trial

WORK = Path(os.environ.get("BENCH_WORK") or Path(tempfile.gettempdir()) / "calltrack-bench")
LOCK = Path(tempfile.gettempdir()) / "bench.lock"  # held by every trial: two at once measure each other

FOREIGN = (0.05, 0.15)  # what others may use of the peer's core and of sipp's, and the host of both, in a quiet trial
STEAL = 0.06
TRIES = 3  # of a trial that is not quiet
CLOSE_ENOUGH = 0.04  # where the search for the highest rate ends

Result = dict[str, Any]


@contextmanager
def one_at_a_time() -> Iterator[None]:
    with LOCK.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cpu(name: str, rate: int, seconds: float, tries: int = TRIES) -> Result:
    """CPU time per call at one rate; the quietest of `tries` trials, the first that is quiet enough."""
    results = []
    for _ in range(tries):
        with one_at_a_time(), Trial(peers.find(name), WORK) as trial:
            result = trial.load(rate, seconds)
        result["quiet"] = result["steal"] < STEAL and all(map(float.__lt__, result["foreign"], FOREIGN))
        results.append(result)
        if result["quiet"]:
            break
    return kept("cpu", name, min(results, key=lambda result: (not result["quiet"], sum(result["foreign"]))))


def sustained(result: Result) -> bool:
    """No call failed or was refused, the rate was reached, and at most one call in a thousand saw a retransmission, that
    is: 99.9 % were answered in less than half a second."""
    return (
        result["failed"] == 0
        and result["ok"] == result["calls"]
        and result["rate_seen"] >= 0.97 * result["rate"]
        and result["retransmissions"] <= max(2, result["calls"] / 1000)
    )


def highest_rate(name: str, start: int, seconds: float) -> Result | None:
    """The best sustained trial, found by bisection; None when not even a few calls a second are sustained."""
    low, high, rate, best = 0, 0, start, None
    while rate >= 2:
        result = cpu(name, rate, seconds, tries=1)
        if not sustained(result) and not result["quiet"]:
            result = cpu(name, rate, seconds, tries=1)  # perhaps it was the others' doing
        show(result, "sustained" if sustained(result) else "NOT sustained")
        if sustained(result):
            low, best = rate, result
        else:
            high = rate
        if high and high - low <= max(1, CLOSE_ENOUGH * high):
            break
        rate = (low + high) // 2 if low and high else int(rate * (0.6 if high else 1.5))
    return kept("max", name, best) if best else None


def memory(name: str, calls: int, rate: int) -> Result:
    """Memory of the peer with `calls` established calls, over what it holds without any."""
    with one_at_a_time(), Trial(peers.find(name), WORK) as trial:
        empty = measure.memory(trial.peer_processes())
        trial.call(rate, calls, hold=60, timeout=50)
        time.sleep(calls / rate + 6)
        full = measure.memory(trial.peer_processes())
        established = int(float(trial.statistics("uac").get("CurrentCall") or 0))
    result = {
        "calls": calls,
        "established": established,
        "empty_kb": empty.proportional,
        "full_kb": full.proportional,
        "kb_per_call": round((full.proportional - empty.proportional) / max(1, established), 2),
    }
    return kept("rss", name, result)


def profile(rate: int, seconds: float, lines: int) -> None:
    """Run calltrack under cProfile and print what takes the time, in microseconds per call."""
    figures = WORK / "calltrack.pstats"
    with one_at_a_time(), Trial(lambda directory: peers.calltrack(directory, figures), WORK) as trial:
        result = trial.load(rate, seconds)
    show({"peer": "calltrack", **result}, "under cProfile, which about doubles the cost of Python")
    calls = result["ok"]
    rows = [
        (own * 1e6 / calls, total * 1e6 / calls, count / calls, _place(where))
        for where, (_, count, own, total, _) in pstats.Stats(str(figures)).stats.items()
    ]
    for column, title in ((0, "own"), (1, "cumulative")):
        print(f"\nby {title} time\n{'own us':>9} {'cum us':>9} {'calls':>8}  function")
        for row in sorted(rows, key=lambda row: -row[column])[:lines]:
            print("%9.1f %9.1f %8.2f  %s" % row)


def _place(where: tuple[str, int, str]) -> str:
    path, line, name = where
    short = "/".join(Path(path).parts[-3:])
    return f"{short}:{line} {name}" if line else name


def kept(kind: str, name: str, result: Result) -> Result:
    """`result` with its title, also written as a line of the results."""
    result = {"kind": kind, "peer": name, "at": time.strftime("%F %T"), **result}
    with (WORK / "results.jsonl").open("a") as file:
        file.write(json.dumps(result) + "\n")
    return result


def show(result: Result, remark: str = "") -> None:
    shown = (
        f"{key}={value}" for key, value in result.items() if key not in ("kind", "peer", "at", "quiet", "calls")
    )
    noisy = "" if result.get("quiet", True) else "  NOISE"
    print(f"{result['peer']:10} {' '.join(shown)}{noisy}  {remark}", flush=True)


def compare(results: list[Result]) -> None:
    """Medians by rate and peer; of the quiet trials where there are any."""
    print(f"\n{'rate':>6}  {'peer':10} {'ms a call':>9}  {'from':>6} {'to':>6}  trials")
    for rate in sorted({result["rate"] for result in results}):
        for name in dict.fromkeys(result["peer"] for result in results):
            group = [result for result in results if result["peer"] == name and result["rate"] == rate]
            quiet = [result for result in group if result["quiet"]]
            costs = sorted(result["ms_per_call"] for result in quiet or group)
            said = f"{len(costs)}{'' if quiet else ' NOISE'}{'' if all(map(sustained, group)) else ', not sustained'}"
            print(f"{rate:6}  {name:10} {statistics.median(costs):9.3f}  {costs[0]:6.3f} {costs[-1]:6.3f}  {said}")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cpu", "max", "rss", "profile"))
    parser.add_argument("peer", nargs="+", help=f"{', '.join(peers.PEERS)}, none, or cmd:'PROGRAM ARGUMENTS'")
    parser.add_argument("--rate", type=int, action="append", help="calls a second; may be repeated")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--repeat", type=int, default=1, help="rounds")
    parser.add_argument("--from", type=int, default=100, dest="start", help="first rate of the search")
    parser.add_argument("--calls", type=int, default=1000, help="established calls")
    parser.add_argument("--lines", type=int, default=40, help="of a profile")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    WORK.mkdir(parents=True, exist_ok=True)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # every program inherits it; a call takes four
    if chosen.what == "cpu":
        results = []
        for _ in range(chosen.repeat):
            for rate in chosen.rate or [50]:
                for name in chosen.peer:
                    results.append(cpu(name, rate, chosen.seconds))
                    show(results[-1])
        compare(results)
    elif chosen.what == "max":
        for _ in range(chosen.repeat):
            for name in chosen.peer:
                best = highest_rate(name, chosen.start, chosen.seconds)
                print(f"{name}: {best['rate'] if best else 0} calls a second")
    elif chosen.what == "rss":
        for _ in range(chosen.repeat):
            for name in chosen.peer:
                show(memory(name, chosen.calls, (chosen.rate or [50])[0]))
    elif chosen.peer != ["calltrack"]:
        sys.exit("only calltrack can be profiled")
    else:
        profile((chosen.rate or [500])[0], chosen.seconds, chosen.lines)


if __name__ == "__main__":
    try:
        main()
    except (Failed, peers.NotInstalled) as problem:
        sys.exit(str(problem))
