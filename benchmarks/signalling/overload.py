#!/usr/bin/env python3
"""What is left of a peer's capacity when it is offered many times as many calls.

    overload.py calltrack --from 600
    overload.py calltrack --capacity 850 --times 2 --times 10
    overload.py calltrack --capacity 850 --times 5 --times 10 --strangers

Each trial: calls are set up and held, then comes the flood, then a load of half the capacity. With --strangers the flood
comes from an address of no trunk, and the load of half the capacity beside it. The README says how to read the figures.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time

import bench
import measure
import peers
from trial import CALLER, GOOD, PEER_CORE, REFUSED, SIPP_CORE, Failed, Trial, duration, number

HELD, AFTER = (CALLER[0], 15063), (CALLER[0], 15064)  # where the calls that are held come from, and those afterwards
STRANGER = ("127.0.0.4", 15065)  # which is no trunk's address
HELD_RATE = 100  # a second
PATIENCE = 4.0  # seconds that a caller waits for each answer
SECONDS_AFTER = 10  # of the load after the flood
PROMPT = 500.0  # ms from INVITE to 200 that are normal; a retransmission comes as late


def trial(
    name: str, capacity: int, times: float, seconds: float, held: int, steal: tuple[float, float] | None
) -> bench.Result:
    """One flood at `times` the capacity. `steal`: the share of the peer's core that something else takes, and the seconds of
    its turn."""
    with bench.one_at_a_time(), Trial(peers.find(name), bench.WORK) as running:
        keeping = running.place("held", "held", HELD, HELD_RATE, held, 0, timeout=seconds + 40)
        time.sleep(held / HELD_RATE + 1)
        processes = running.peer_processes()
        if steal is not None:
            running.steal(*steal)
        before, memory, began = measure.cpu(processes), measure.memory(processes), time.monotonic()
        cores = measure.core(PEER_CORE), measure.core(SIPP_CORE)
        flood = running.place(
            "flood", "uac", CALLER, capacity * times, 10_000_000, 1.0, timeout=seconds + 30, patience=PATIENCE
        )
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        wall = (time.monotonic() - began) * 1000
        flood.send_signal(signal.SIGUSR1)  # no more new calls; those there are go on
        used = measure.cpu(processes).since(before)[0]
        busy = measure.core(SIPP_CORE).busy - cores[1].busy
        grown = measure.memory(processes).proportional - memory.proportional
        after = running.place("after", "uac", AFTER, capacity / 2, capacity * SECONDS_AFTER // 2, 1.0, timeout=40)
        for process in (after, flood, keeping):
            process.wait(60)
        offered, kept, target = running.statistics("flood"), running.statistics("held"), running.statistics("uas")
        good = number(offered, f"{GOOD}(C)") / (wall / 1000)
        return bench.kept("overload", name, {
            "capacity": capacity,
            "times": times,
            "stolen": steal[0] if steal is not None else 0,
            "offered": round(number(offered, "TotalCallCreated") / (wall / 1000)),
            "good": round(good),
            "goodput": round(good / capacity, 3),
            "refused": int(number(offered, f"{REFUSED}(C)")),
            "failed": int(number(offered, "FailedCall(C)")),
            "retransmissions": int(number(offered, "Retransmissions(C)")),
            "target_retransmissions": int(number(target, "Retransmissions(C)")),
            "invite_200_ms": duration(offered, "ResponseTime1(C)"),
            "held": held,
            "held_well": int(number(kept, "SuccessfulCall(C)")),
            "held_hurt": int(number(kept, "FailedCall(C)")),
            "held_retransmissions": int(number(kept, "Retransmissions(C)")),
            "held_answer_ms": duration(kept, "ResponseTime3(C)"),
            "normal_after_s": normal_after(running.rows("after")),
            "peer_core": round(used / wall, 3),
            "sipp_core": round(busy / wall, 3),
            "grown_kb": grown,
        })  # fmt: skip


def beside_strangers(name: str, capacity: int, times: float, seconds: float) -> bench.Result:
    """A trunk dials at half the capacity while strangers flood the peer at `times` the capacity."""
    with bench.one_at_a_time(), Trial(peers.find(name), bench.WORK) as running:
        processes = running.peer_processes()
        flood = running.place(
            "strangers", "uac", STRANGER, capacity * times, 10_000_000, 0, timeout=seconds + 40, patience=PATIENCE
        )
        time.sleep(1)
        before, began = measure.cpu(processes), time.monotonic()
        stolen = measure.core(PEER_CORE).stolen
        calls = int(capacity / 2 * seconds)
        trunk = running.place("trunk", "uac", CALLER, capacity / 2, calls, 1.0, timeout=seconds + 30, patience=PATIENCE)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        wall = (time.monotonic() - began) * 1000
        flood.send_signal(signal.SIGUSR1)
        used = measure.cpu(processes).since(before)[0]
        stolen = measure.core(PEER_CORE).stolen - stolen
        for process in (trunk, flood):
            process.wait(60)
        theirs, ours = running.statistics("strangers"), running.statistics("trunk")
        return bench.kept("strangers", name, {
            "capacity": capacity,
            "times": times,
            "offered_by_strangers": round(number(theirs, "TotalCallCreated") / (wall / 1000 + 1)),
            "strangers_refused": int(number(theirs, f"{REFUSED}(C)")),
            "strangers_retransmissions": int(number(theirs, "Retransmissions(C)")),
            "trunk_calls": int(number(ours, "TotalCallCreated")),
            "good": int(number(ours, f"{GOOD}(C)")),
            "refused": int(number(ours, f"{REFUSED}(C)")),
            "failed": int(number(ours, "FailedCall(C)")),
            "retransmissions": int(number(ours, "Retransmissions(C)")),
            "invite_200_ms": duration(ours, "ResponseTime1(C)"),
            "peer_core": round(used / wall, 3),
            "stolen": round(stolen / wall, 3),
        })  # fmt: skip


def normal_after(rows: list[dict[str, str]]) -> int | None:
    """Seconds, a row each, after which no call is refused, fails or is answered late any more; None when the end was not
    normal either."""
    unwell = 0
    for second, row in enumerate(rows, 1):
        slow = (duration(row, "ResponseTime1(P)") or 0.0) > PROMPT
        if slow or number(row, f"{REFUSED}(P)") or number(row, "FailedCall(P)"):
            unwell = second
    return unwell if unwell < min(len(rows), SECONDS_AFTER) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", help=f"{', '.join(peers.PEERS)}, or cmd:'PROGRAM ARGUMENTS'")
    parser.add_argument("--capacity", type=int, help="calls a second; looked for where it is not given")
    parser.add_argument("--from", type=int, default=600, dest="start", help="first rate of that search")
    parser.add_argument("--times", type=float, action="append", help="the capacity; may be repeated")
    parser.add_argument("--seconds", type=float, default=15, help="of each flood")
    parser.add_argument("--held", type=int, default=200, help="calls that are held meanwhile")
    parser.add_argument("--strangers", action="store_true", help="flood from an address of no trunk, beside a trunk's calls")
    parser.add_argument("--steal", type=float, nargs=2, metavar=("SHARE", "SECONDS"), help="of the peer's core, each turn")
    chosen = parser.parse_args()
    if chosen.strangers and chosen.steal:
        parser.error("--steal goes with the other floods only")
    bench.WORK.mkdir(parents=True, exist_ok=True)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    capacity = chosen.capacity
    if capacity is None:
        best = bench.highest_rate(chosen.peer, chosen.start, 15)
        if best is None:
            raise Failed(f"{chosen.peer} sustains no rate at all")
        capacity = best["rate"]
    for times in chosen.times or ((5, 10) if chosen.strangers else (1, 2, 5, 10)):
        if chosen.strangers:
            bench.show(beside_strangers(chosen.peer, capacity, times, chosen.seconds))
        else:
            bench.show(trial(chosen.peer, capacity, times, chosen.seconds, chosen.held, chosen.steal))


if __name__ == "__main__":
    try:
        main()
    except (Failed, peers.NotInstalled) as problem:
        sys.exit(str(problem))
