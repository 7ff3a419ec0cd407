#!/usr/bin/env python3
"""Run calltrack's relay alone, with N calls open between two parties, until SIGTERM.

One JSON request on stdin: {"calls": N, "address": OURS, "a": [host, port], "b": [host, port]}; one JSON answer on
stdout: {"ports": [[towards a, towards b], ...], "us_per_call": ...}. On SIGTERM a second line: the figures of the
first call, summed packets and losses. --profile FILE: cProfile's statistics of the time between.
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

from calltrack.media.relay import TwistedRelay  # noqa: E402
from calltrack.media.settings import MediaSettings  # noqa: E402


def description(host: str, port: int) -> bytes:
    text = (
        "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )
    return text.format(host, port).encode()


def audio_port(deferred) -> int:
    return int(deferred.result.split(b"m=audio ")[1].split(b" ")[0])


def open_call(relay: TwistedRelay, name: str, a, b):
    """A connected call; its session, and the ports towards a and b."""
    session = relay.open(name, None)
    towards_b = audio_port(session.offer("caller", "target-1", description(*a), a[0], b[0]))
    towards_a = audio_port(session.answer("target-1", "caller", description(*b), b[0], a[0]))
    session.connect("target-1")
    return session, (towards_a, towards_b)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--profile")
    profile = options.parse_args().profile
    request = json.loads(sys.stdin.readline())
    relay = TwistedRelay(reactor, MediaSettings(listen=(request["address"],), ports=(10000, 59999), timeout=3600))
    relay.start()
    started = time.process_time()
    calls = [open_call(relay, f"call-{n}", request["a"], request["b"]) for n in range(request["calls"])]
    spent = time.process_time() - started
    answer = {"ports": [ports for _, ports in calls], "us_per_call": round(spent * 1e6 / len(calls), 1)}
    print(json.dumps(answer), flush=True)
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(reactor.run)
        profiler.dump_stats(profile)
    else:
        reactor.run()
    figures = [session.close() for session, _ in calls]
    both = [stream for figure in figures for stream in (figure.caller, figure.target)]
    summary = {
        "packets": sum(stream.packets for stream in both),
        "lost": sum(stream.lost for stream in both),
        "jitter_ms": max(stream.jitter_ms for stream in both),
        "strangers": sum(stream.strangers for stream in both),
    }
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    main()
