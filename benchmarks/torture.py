#!/usr/bin/env python3
"""CPU that hostile datagrams cost: every message of RFC 4475, monsters made to be slow, and mutations of them. Prints
the slowest. ROBUSTNESS promises at most 10 ms for any datagram.

    python benchmarks/torture.py [--mutations 5000] [--seed 1]

Each datagram goes to an engine on the in-memory network, from a trunk; what is measured is one call of the UDP
socket's `datagramReceived`, in CPU time of the thread, best of three (each time with a new engine).
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from twisted.internet.task import Clock  # noqa: E402

from calltrack.testing.engine import NUMBER, TestEngine, sip_target  # noqa: E402
from calltrack.testing.network import MemoryNetwork  # noqa: E402
from tests.torture.case import ReadingRelay  # noqa: E402

TORTURES = Path(__file__).resolve().parents[1] / "tests" / "torture" / "rfc4475"
TRUNK = ("198.51.100.7", 5060)
LINES = (
    b"Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKx",
    b"From: <sip:a@b>;tag=1",
    b"To: <sip:c@d>",
    b"Call-ID: x",
    b"CSeq: 1 INVITE",
    b"Contact: <sip:a@198.51.100.7>",
    b"Content-Type: application/sdp",
)


def monsters() -> dict[str, bytes]:
    """Messages that are as large as they may be, in one place each."""
    head, full = 15_000, 65_000

    def invite(*lines: bytes, body: bytes = b"", replace: bytes = b"") -> bytes:
        kept = [line for line in LINES if not replace or not line.startswith(replace)]
        start = b"INVITE sip:%b@192.0.2.1 SIP/2.0" % NUMBER.encode()
        return b"\r\n".join([start, *kept, *lines]) + b"\r\n\r\n" + body

    found = {
        "a long body": invite(body=b"v=0\r\n" + b"a=" * (full // 2)),
        "a body of lines": invite(body=b"v=0\r\n" * (full // 6)),
        "a body of streams": invite(body=b"v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\n" + b"m=audio 4000 RTP/AVP 0\r\n" * (full // 26)),
        "a body of one byte lines": invite(body=b"v=0\r\n" + b"\n" * full),
        "headers": invite(*[b"X-%d: y" % number for number in range(head // 9)]),
        "one header many times": invite(*[b"A:"] * (head // 4)),
        "folds": invite(b"Subject: x" + b"\r\n x" * (head // 4)),
        "CRs": invite(b"Subject: " + b"\r" * head),
        "no empty line": b"INVITE sip:a SIP/2.0\r\n" + b"A: b\r\n" * (full // 6),
        "no line ends": b"INVITE sip:a SIP/2.0" + b"x" * full,
        "only line ends": b"\r\n" * (full // 2),
        "a long method": b"A" * head + b" sip:a SIP/2.0\r\n\r\n",
        "a long URI": b"INVITE sip:" + b"%41" * (head // 3) + b"@b SIP/2.0\r\n" + b"\r\n".join(LINES) + b"\r\n\r\n",
        "a response with nothing": b"SIP/2.0 200 " + b"x" * head + b"\r\n\r\n",
    }
    for name, text in {
        "commas": b"," * head,
        "quotes": b'"' * head,
        "backslashes": b'"' + b"\\" * head,
        "an open quote of backslashes and quotes": b'"' + b'\\"' * (head // 2),
        "brackets": b"<" * head,
        "closed brackets": b"<>" * (head // 2),
        "semicolons": b"<sip:a@b>" + b";" * head,
        "parameters": b"<sip:a@b>" + b";a=b" * (head // 4),
        "quoted parameters": b"<sip:a@b>" + b';a="b"' * (head // 6),
        "an open quoted parameter": b"<sip:a@b>" + b';a="b' * (head // 5),
        "addresses": b"<sip:a@b>," * (head // 10),
        "colons": b":" * head,
        "a long host": b"<sip:a@" + b"a." * (head // 2) + b">",
        "percents": b"<sip:" + b"%" * head + b"@b>",
        "spaces": b" " * head + b"x",
        "digits": b"1" * head,
        "slashes": b"SIP/2.0/" + b"/" * head,
    }.items():
        for header in (b"Via", b"From", b"To", b"Contact", b"CSeq", b"Call-ID", b"Record-Route", b"Route", b"Require"):
            found[f"{header.decode()}: {name}"] = invite(b"%b: %b" % (header, text), replace=header + b":")
        for header in (b"P-Asserted-Identity", b"Privacy", b"Session-Expires", b"Accept", b"Supported", b"Diversion"):
            found[f"{header.decode()}: {name}"] = invite(b"%b: %b" % (header, text))
    return found


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to four pieces of `data` changed, dropped or repeated."""
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(data) + 1), chance.randint(1, 60)
        piece = data[at : at + length]
        change = chance.choice((b"", piece * 2, piece * chance.choice((3, 100, 1000)), chance.randbytes(3), b"\r\n", b'"', b"<", b","))
        data = (data[:at] + change + data[at + (0 if change[:1] != piece[:1] else length) :])[:65_507]
    return data


def cost(data: bytes) -> float:
    """Seconds of CPU."""
    network = MemoryNetwork(Clock())
    engine = TestEngine(network, [sip_target("203.0.113.20")])
    engine.scenarios.routes[""] = engine.route
    engine.relay = engine.calls.relay = ReadingRelay(network.clock)
    received = network._udp["192.0.2.1", 5060].protocol.datagramReceived
    gc.disable()
    before = time.thread_time()
    received(data, TRUNK)
    spent = time.thread_time() - before
    gc.enable()
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    cases = {path.stem: path.read_bytes() for path in sorted(TORTURES.glob("*.dat"))} | monsters()
    originals = list(cases.items())
    for number in range(arguments.mutations):
        name, data = chance.choice(originals)
        cases[f"{name}, mutation {number}"] = mutate(data, chance)
    spent = {name: cost(data) for name, data in cases.items()}
    for name in sorted(spent, key=spent.get, reverse=True)[:40]:
        spent[name] = min(spent[name], cost(cases[name]), cost(cases[name]))
    print(f"{len(cases)} datagrams, the slowest:")
    for name in sorted(spent, key=spent.get, reverse=True)[:10]:
        print(f"{spent[name] * 1000:8.2f} ms  {len(cases[name]):6} bytes  {name}")


if __name__ == "__main__":
    main()
