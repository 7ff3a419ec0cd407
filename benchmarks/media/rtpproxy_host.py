#!/usr/bin/env python3
"""Run Sippy's rtpproxy, as PyPI's rtp.io carries it, with N calls open between two parties, until it is ended.

Asked and answers as relay_host.py does, by JSON lines. Calls are opened by rtpproxy's own commands (U, then L).
"""

from __future__ import annotations

import json
import signal
import sys
import time

from rtp.io import rtpproxy

request = json.loads(sys.stdin.readline())
ours = ["-F", "-l", request["address"], "-m", "10000", "-M", "59999", "-L", "20000", "-d", "CRIT"]
proxy = rtpproxy(ttl=3600, setup_ttl=3600, extra_args=ours)  # stops when it is forgotten
commands = proxy.rtpp_sock
commands.settimeout(5)
answers = commands.makefile("rb")


def port(command: str) -> int:
    commands.sendall(command.encode() + b"\n")
    return int(answers.readline().split()[0])


ports = []
(a_host, a_port), (b_host, b_port) = request["a"], request["b"]
started = time.process_time()
for number in range(request["calls"]):
    towards_b = port(f"U call-{number} {a_host} {a_port} f;1")
    towards_a = port(f"L call-{number} {b_host} {b_port} f;1 t;1")
    ports.append((towards_a, towards_b))
spent = time.process_time() - started
print(json.dumps({"ports": ports, "us_per_call": round(spent * 1e6 / len(ports), 1)}), flush=True)
signal.pause()
