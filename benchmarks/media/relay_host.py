#!/usr/bin/env python3
"""Run a relay of calltrack's alone, with N calls open between two parties, until SIGTERM.

One JSON request on stdin: {"relay": NAME, "calls": N, "address": OURS, "a": [[host, port], ...], "b": the same}, where
calls are shared among the a's and b's alike; one JSON answer on stdout: {"ports": [[towards a, towards b], ...],
"us_per_call": ..., "why": ...}. On SIGTERM a second line: packets and losses of all calls, and what handing a call over to the
kernel has cost. --profile FILE: cProfile's statistics of the time between.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from twisted.internet import reactor  # noqa: E402

from calltrack.media.relays import make_relay  # noqa: E402
from calltrack.media.settings import MediaSettings  # noqa: E402


def description(host: str, port: int) -> bytes:
    text = (
        "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )
    return text.format(host, port).encode()


def audio_port(deferred) -> int:
    return int(deferred.result.split(b"m=audio ")[1].split(b" ")[0])


def open_call(relay, name: str, a, b):
    """A connected call; its session, and the ports towards a and b."""
    session = relay.open(name, None)
    towards_b = audio_port(session.offer("caller", "target-1", description(*a), a[0], b[0]))
    towards_a = audio_port(session.answer("target-1", "caller", description(*b), b[0], a[0]))
    session.connect("target-1")
    return session, (towards_a, towards_b)


class Costs:
    """CPU time of handing streams over, and of closing calls."""

    def __init__(self) -> None:
        self.handing_over = 0.0

    def watch(self, bypasses) -> None:
        begin = bypasses.begin

        def timed(streams) -> None:
            before = time.process_time()
            begin(streams)
            self.handing_over += time.process_time() - before

        bypasses.begin = timed


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--profile")
    profile = options.parse_args().profile
    request = json.loads(sys.stdin.readline())
    settings = MediaSettings(relay=request["relay"], listen=(request["address"],), ports=(10000, 59999), timeout=3600)
    relay = make_relay(reactor, settings)
    costs, calls = Costs(), []

    def open_calls(_) -> None:
        if getattr(relay, "_bypasses", None) is not None:
            costs.watch(relay._bypasses)
        sides = list(zip(request["a"], request["b"]))
        started = time.process_time()
        for number in range(request["calls"]):
            a, b = sides[number * len(sides) // request["calls"]]
            calls.append(open_call(relay, f"call-{number}", a, b))
        spent = time.process_time() - started
        answer = {"ports": [ports for _, ports in calls], "us_per_call": round(spent * 1e6 / len(calls), 1)}
        print(json.dumps({**answer, "why": relay.status().get("why", "")}), flush=True)

    def close_calls():
        handed_over, in_kernel = (relay.status().get(name, 0) for name in ("handed_over", "in_kernel"))
        started = time.process_time()
        figures = [session.close() for session, _ in calls]
        closing = time.process_time() - started
        both = [stream for figure in figures for stream in (figure.caller, figure.target)]
        summary = {
            "packets": sum(stream.packets for stream in both),
            "lost": sum(stream.lost for stream in both),
            "jitter_ms": max((stream.jitter_ms for stream in both), default=0.0),
            "strangers": sum(stream.strangers for stream in both),
            "handing_over_us": round(costs.handing_over * 1e6 / max(1, handed_over), 1),
            "closing_us": round(closing * 1e6 / max(1, len(calls)), 1),
            "in_kernel": in_kernel,
        }
        print(json.dumps(summary), flush=True)
        return relay.stop()  # nothing of it may be in the way of the relay that is measured next

    reactor.callWhenRunning(lambda: relay.start().addCallback(open_calls))
    reactor.addSystemEventTrigger("before", "shutdown", close_calls)
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(reactor.run)
        profiler.dump_stats(profile)
    else:
        reactor.run()


if __name__ == "__main__":
    main()
