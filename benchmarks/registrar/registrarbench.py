"""What 100,000 registered devices cost: memory a binding, time a look-up, REGISTERs a second.

    python benchmarks/registrar/registrarbench.py            # all three
    python benchmarks/registrar/registrarbench.py memory lookups --bindings 1000000

`registers` starts an engine as twistd runs it, with its SQLite database in a temporary directory, and registers
devices over UDP on the loopback interface: each REGISTER is authenticated, stored and answered with 200.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import resource
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from hashlib import md5, sha256

from twisted.internet.task import Clock

from calltrack.registrar.locations import Locations
from calltrack.registrar.reach import Reach
from calltrack.sip.flows import Address, Flow
from calltrack.timers import Timers
from calltrack.tracking.bindings import Binding

DOMAIN, PASSWORD = "calltrack.example", "GoodPass1"
HOST = "127.0.0.1"


class NoNetwork:
    """Flows as `Transports` makes them, without sockets."""

    closed = None

    def udp_flow(self, local: Address, remote: Address) -> Flow:
        return Flow("udp", local, remote, lambda data, to: None)


def binding(number: int) -> Binding:
    """What a phone behind a NAT registers: one an account."""
    host = f"203.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return Binding(
        project=number + 1,
        id=random.getrandbits(53),
        contact=f"sip:kxq7wd{number:06x}@192.168.1.{number % 250}:5060;transport=udp;rinstance={number:016x}",
        expires_at=1_795_460_600.25,
        registered_at=1_795_457_000_000 + number,
        call_id=f"{number:032x}@192.168.1.{number % 250}",
        cseq=number,
        transport="udp",
        host=host,
        port=1024 + number % 60000,
        reach=1024 + number % 60000,
        local=sys.intern("192.0.2.1:5060"),
        instance=f"<urn:uuid:00000000-0000-1000-8000-{number:012x}>",
        device=sys.intern(f"Phone {number % 50}"),
    )


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def filled(count: int) -> Locations:
    clock = Clock()
    locations = Locations(Timers(clock), lambda gone: None)
    for number in range(count):
        locations.put(binding(number), random.uniform(60, 3600))
    return locations


def memory(count: int) -> None:
    gc.collect()
    before = resident()
    locations = filled(count)
    gc.collect()
    print(f"memory: {(resident() - before) / len(locations):.0f} bytes a binding, {count} bindings")


def lookups(count: int) -> None:
    """The time from a project to the contacts and flows that its call rings."""
    for size in sorted({1, 100, 10_000, count}):
        reach = Reach(filled(size), NoNetwork())
        projects = [random.randint(1, size) for _ in range(20_000)]
        rounds = []
        for _ in range(5):
            began = time.perf_counter()
            for project in projects:
                reach.reachable(project)
            rounds.append((time.perf_counter() - began) / len(projects) * 1e6)
        print(f"look-up: {statistics.median(rounds):.2f} us among {size} bindings")


class Devices(asyncio.DatagramProtocol):
    """Devices that register again and again; each has one request under way."""

    def __init__(self, users: list[str], algorithm: str) -> None:
        self.hash = sha256 if algorithm == "SHA-256" else md5
        self.algorithm = algorithm
        self.users = users
        self.ha1 = [self.digest(f"{user}:{DOMAIN}:{PASSWORD}") for user in users]
        self.ha2 = self.digest(f"REGISTER:sip:{DOMAIN}")
        self.nonces = [("", 0)] * len(users)
        self.sent_at = [0.0] * len(users)
        self.cseq = 0
        self.times: list[float] = []

    def digest(self, text: str) -> str:
        return self.hash(text.encode()).hexdigest()

    def connection_made(self, transport) -> None:
        self.transport = transport

    def register(self, number: int) -> None:
        user, self.cseq = self.users[number], self.cseq + 1
        nonce, count = self.nonces[number]
        credentials = ""
        if nonce:
            self.nonces[number] = (nonce, count + 1)
            response = self.digest(f"{self.ha1[number]}:{nonce}:{count:08x}:c:auth:{self.ha2}")
            credentials = (
                f'Authorization: Digest username="{user}", realm="{DOMAIN}", nonce="{nonce}", uri="sip:{DOMAIN}", '
                f'response="{response}", algorithm={self.algorithm}, cnonce="c", qop=auth, nc={count:08x}\r\n'
            )
        self.sent_at[number] = time.perf_counter()
        self.transport.sendto(
            (
                f"REGISTER sip:{DOMAIN} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 192.168.1.5:5060;branch=z9hG4bK{self.algorithm}{self.cseq};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag=bench\r\nTo: <sip:{user}@{DOMAIN}>\r\n"
                f"Call-ID: {number}@{self.algorithm}\r\nCSeq: {self.cseq} REGISTER\r\nUser-Agent: Bench 1.0\r\n"
                f"Contact: <sip:{user}@192.168.1.5:5060>\r\nExpires: 600\r\n{credentials}Content-Length: 0\r\n\r\n"
            ).encode()
        )

    def datagram_received(self, data: bytes, address) -> None:
        if not data.startswith(b"SIP/2.0 "):
            return  # a keep-alive
        at = data.index(b"Call-ID: ") + 9
        number = int(data[at : data.index(b"@", at)])
        if data.startswith(b"SIP/2.0 200"):
            self.times.append(time.perf_counter() - self.sent_at[number])
        elif data.startswith(b"SIP/2.0 503"):  # it has just started
            asyncio.get_running_loop().call_later(0.2, self.register, number)
            return
        elif not data.startswith(b"SIP/2.0 401"):
            raise SystemExit(data.decode())
        else:
            line = next(x for x in data.split(b"\r\n") if x.startswith(b"WWW-") and self.algorithm.encode() in x)
            self.nonces[number] = (line.split(b'nonce="')[1].split(b'"')[0].decode(), 1)
        self.register(number)


async def drive(users: list[str], algorithm: str, seconds: float, engine: int, port: int) -> None:
    devices = Devices(users, algorithm)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: devices, remote_addr=(HOST, port))
    for number in range(len(users)):
        devices.register(number)
        await asyncio.sleep(0.001)
    await asyncio.sleep(1.0)
    used, began = cpu(engine), time.perf_counter()
    devices.times.clear()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    rate, share = len(devices.times) / took, (cpu(engine) - used) / took
    times = sorted(devices.times)
    print(
        f"registers, {algorithm}: {rate:.0f} a second with {len(users)} devices, answered in "
        f"{times[len(times) // 2] * 1000:.1f} ms (99 %: {times[len(times) * 99 // 100] * 1000:.1f} ms), "
        f"engine at {share * 100:.0f} % of a core: {share / rate * 1e6:.0f} us each"
    )
    transport.close()


def cpu(process: int) -> float:
    """Seconds of a core that a process has used."""
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def registers(devices: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config, database = os.path.join(folder, "c.toml"), os.path.join(folder, "calltrack.db")
        port, web = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
        with open(config, "w") as file:
            file.write(
                f'[sip]\nlisten = ["udp:{HOST}:{port}"]\ndomain = "{DOMAIN}"\n[media]\nlisten = "{HOST}"\n'
                f'[storage]\nurl = "sqlite:{database}"\n[web]\nlisten = "{HOST}:{web}"\n'
            )
        cli = [sys.executable, "-c", "from calltrack.cli import main; main()", "--config", config]
        subprocess.run([*cli, "db", "migrate"], check=True, capture_output=True)
        users = [f"user{number:05d}" for number in range(devices)]
        with sqlite3.connect(database) as connection:
            for number, user in enumerate(users, 1):
                secret = f"{user}:{DOMAIN}:{PASSWORD}".encode()
                value = f'{{"id":{number},"name":"p","key":"{number}"}}'
                connection.execute("INSERT INTO project VALUES (?, ?, ?)", (number, str(number), value))
                hashes = (md5(secret).hexdigest(), sha256(secret).hexdigest())
                connection.execute("INSERT INTO account VALUES (?, ?, ?, ?, ?)", (number, user, DOMAIN, *hashes))
        twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
        with open(os.path.join(folder, "log"), "w") as log:
            engine = subprocess.Popen([*twistd, "calltrack", "--config", config], cwd=folder, stdout=log, stderr=log)
        try:
            wait_for_engine(web)
            for algorithm in ("SHA-256", "MD5"):
                asyncio.run(drive(users, algorithm, seconds, engine.pid, port))
        finally:
            engine.terminate()
            engine.wait()


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def wait_for_engine(port: int) -> None:
    for _ in range(200):
        time.sleep(0.1)
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return
        except OSError:
            continue
    raise SystemExit("the engine does not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["memory", "lookups", "registers"])
    parser.add_argument("--bindings", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=200, help="that register at once")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    for what in options.what:
        if what == "memory":
            memory(options.bindings)
        elif what == "lookups":
            lookups(options.bindings)
        elif what == "registers":
            registers(options.devices, options.seconds)
        else:
            parser.error(f"{what} is none of memory, lookups, registers")


if __name__ == "__main__":
    main()
