"""What a relay costs on this machine: a few seconds of calls between made-up phones, in a process of its own.

    python -m calltrack.cli.relay_trial twisted|kernel       one JSON object on stdout, see `Result`

The Twisted relay is tried on loopback, by the CPU time of its process. The kernel's is tried between network namespaces that
belong to this process alone and go with it, by what it adds to the time of a send, which takes place in the sender's
system call all the way to the receiver's socket. The phones are a second process. Knows nothing of a running engine,
and touches neither its ports nor the machine's network.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol

from calltrack.media.relays import make_relay
from calltrack.media.settings import MediaSettings
from calltrack.media.sockets import bind

CALLS = 60
PACKETS_A_CALL = 100  # a second, both ways together
_LATCHING, _MEASURED = 1.5, 2.5  # seconds
_PORTS = (50000, 59999)  # of the relay on trial: away from those of an engine that runs here
_SLICES = 20  # of the 20 ms between two packets of a call
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_US, _PHONES = "10.87.9.1", "10.87.9.2"  # in namespaces of our own


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; `why` says why not, or why the relay does less than its name says."""

    relay: str
    why: str = ""
    process_us: float = 0.0  # CPU of calltrack's process for each packet, in microseconds
    kernel_us: float = 0.0  # what the kernel takes for each packet beyond that
    lost: int = 0  # packets
    packets: int = 0

    @property
    def calls_a_core(self) -> int:
        """Calls of 50 packets a second each way that one core carries, when it does nothing else."""
        cost = self.process_us + self.kernel_us
        return int(1e6 / (cost * PACKETS_A_CALL)) if cost else 0


class TrialFailed(Exception):
    """It could not be measured; the text says why."""


async def measure(relay: str, reactor: Any) -> Result:
    """Try a relay in a process of its own; takes about five seconds. Raises TrialFailed."""
    from twisted.internet.utils import getProcessOutputAndValue

    argv = ["-m", "calltrack.cli.relay_trial", relay]
    out, err, status = await getProcessOutputAndValue(sys.executable, argv, os.environ, reactor=reactor)
    try:
        return msgspec.json.decode(out, type=Result)
    except msgspec.DecodeError:
        last = err.decode(errors="replace").strip().split("\n")[-1]
        raise TrialFailed(f"the trial ended with status {status}: {last[:200]}") from None


# The relay's process


class Phones(ProcessProtocol):
    """The second process: told things in lines of JSON, answers each with one."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answers: list[Deferred] = []

    def ask(self, **words: Any) -> Deferred:
        self.transport.write(json.dumps(words).encode() + b"\n")
        self._answers.append(Deferred())
        return self._answers[-1]

    def outReceived(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._answers.pop(0).callback(json.loads(line))

    def errReceived(self, data: bytes) -> None:
        sys.stderr.write(data.decode(errors="replace"))

    def processEnded(self, reason: Any) -> None:
        for answer in self._answers:
            answer.errback(TrialFailed("the phones' process ended: " + reason.getErrorMessage()))
        if not self._answers:
            reason.trap(ProcessDone)


def description(host: str, port: int) -> bytes:
    return f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n".encode()


async def _port(described: Deferred) -> int:
    return int((await described).split(b"m=audio ")[1].split(b" ")[0])


async def _try(name: str, reactor: Any) -> Result:
    us, phones_at = (_US, _PHONES) if name == "kernel" else ("127.0.0.1", "127.0.0.1")
    if name == "kernel":
        _own_network()
    phones = Phones()
    argv = [sys.executable, "-m", "calltrack.cli.relay_trial", "phones"]
    reactor.spawnProcess(phones, sys.executable, argv, os.environ)
    if name == "kernel":
        theirs = await phones.ask(do="leave")
        _wire(theirs["pid"])
        await phones.ask(do="wire")
    said = await phones.ask(do="open", host=phones_at, relay=us)
    relay = make_relay(reactor, MediaSettings(relay=name, listen=(us,), ports=_PORTS))
    await relay.start()
    ports = []
    for number in range(CALLS):
        session = relay.open(f"trial-{number}", None)
        a, b = (description(phones_at, said[side]) for side in "ab")
        towards_b = await _port(session.offer("caller", "target-1", a, phones_at, phones_at))
        towards_a = await _port(session.answer("target-1", "caller", b, phones_at, phones_at))
        session.connect("target-1")
        ports.append((towards_a, towards_b))
    direct = await phones.ask(do="direct") if name == "kernel" else {"us": 0.0}
    await phones.ask(do="talk", ports=ports, seconds=_LATCHING)
    before = time.process_time()
    heard = await phones.ask(do="talk", ports=ports, seconds=_MEASURED)
    spent = time.process_time() - before
    status = relay.status()
    result = Result(
        relay=name,
        why=status.get("why", "") or _missed(name, status),
        process_us=round(spent * 1e6 / max(1, heard["heard"]), 2),
        kernel_us=round(max(0.0, heard["us"] - direct["us"]), 2) if name == "kernel" else 0.0,
        lost=heard["sent"] - heard["heard"],
        packets=heard["sent"],
    )
    await relay.stop()
    phones.transport.closeStdin()
    return result


def _missed(name: str, status: dict[str, Any]) -> str:
    if name != "kernel" or status["in_kernel"] == CALLS:
        return ""
    return f"only {status['in_kernel']} of {CALLS} calls were taken by the kernel"


def _own_network() -> None:
    _unshare()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
        file.write("1")


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        code = ctypes.get_errno()
        needs = "making a network of its own for the trial needs root" if code == errno.EPERM else os.strerror(code)
        raise TrialFailed(needs)


def _wire(pid: int) -> None:
    for command in (
        f"link add trial0 type veth peer name trial1 netns {pid}",
        f"addr add {_US}/24 dev trial0",
        "link set trial0 up",
    ):
        subprocess.run(["ip", *command.split()], check=True)


# The phones' process: plain sockets and a plain loop


def _phones() -> None:
    sides: list[socket.socket] = []
    far = relay = None
    for line in sys.stdin:
        words = json.loads(line)
        if words["do"] == "leave":
            far = bind("0.0.0.0", 0)  # stays on the other side of the wire
            _unshare()
            answer: dict[str, Any] = {"pid": os.getpid()}
        elif words["do"] == "wire":
            for command in (f"addr add {_PHONES}/24 dev trial1", "link set trial1 up", "link set lo up"):
                subprocess.run(["ip", *command.split()], check=True)
            answer = {}
        elif words["do"] == "open":
            relay = words["relay"]
            sides = [bind(words["host"], 0), bind(words["host"], 0)]
            for sock in sides:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            answer = {"a": sides[0].getsockname()[1], "b": sides[1].getsockname()[1]}
        elif words["do"] == "direct":
            answer = _talk([sides[0]], [[(relay, far.getsockname()[1])] * CALLS], [far], 0.5)
        else:
            places = [[(relay, ports[side]) for ports in words["ports"]] for side in (0, 1)]
            answer = _talk(sides, places, sides, words["seconds"])
        print(json.dumps(answer), flush=True)


def _talk(sides: list[socket.socket], places: list[list], hear: list[socket.socket], seconds: float) -> dict[str, Any]:
    """Send a packet to each place every 20 ms, from its side: how many were sent and heard, and the median time of
    a send, in microseconds."""
    turns = [(side, place) for number in range(CALLS) for side, some in zip(sides, places) for place in [some[number]]]
    share = max(1, len(turns) // _SLICES)
    packet, heard, sent, sequence = bytearray(b"\x80\x00" + bytes(10) + b"\xd5" * 160), 0, 0, 0
    times = []
    start = time.monotonic()
    slices = int(seconds / 0.02) * _SLICES
    for number in range(slices):
        if number % _SLICES == 0:
            sequence += 1
            packet[2:8] = (sequence & 0xFFFF).to_bytes(2, "big") + (sequence * 160).to_bytes(4, "big")
        some = turns[number % _SLICES * share :][:share]
        before = time.perf_counter()
        for side, place in some:
            side.sendto(packet, place)
        times.append((time.perf_counter() - before) / len(some))
        sent += len(some)
        heard += _heard(hear)
        wait = start + (number + 1) * 0.02 / _SLICES - time.monotonic()
        if wait > 0:
            time.sleep(wait)
    time.sleep(0.05)
    return {"sent": sent, "heard": heard + _heard(hear), "us": statistics.median(times) * 1e6}


def _heard(hear: list[socket.socket]) -> int:
    count = 0
    for sock in hear:
        try:
            while True:
                sock.recv(2048)
                count += 1
        except BlockingIOError:
            continue
    return count


def main() -> None:
    if sys.argv[1] == "phones":
        _phones()
        return
    from twisted.internet import reactor, task

    async def run(reactor: Any) -> None:
        try:
            result = await _try(sys.argv[1], reactor)
        except (TrialFailed, OSError, subprocess.CalledProcessError) as problem:
            result = Result(relay=sys.argv[1], why=str(problem))
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
        sys.stdout.flush()

    task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)), [], reactor)


if __name__ == "__main__":
    main()
