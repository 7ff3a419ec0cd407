"""What visitors' browsers cost the engine: CPU a request, requests a second, and honest visitors during a flood.

    python benchmarks/web/webbench.py              # all
    python benchmarks/web/webbench.py cost flood

Starts an engine as twistd runs it, with SQLite in a temporary directory, a dynamic project and 200 numbers, and speaks
HTTP to it over loopback. Requests carry X-Forwarded-For, so that each visitor has an address of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HOST = "127.0.0.1"
SITE = "https://shop.example"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
NUMBERS = 200
CLI = [sys.executable, "-c", "from calltrack.cli import main; main()"]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return one.getsockname()[1]


class Engine:
    """A running engine with a project whose key is `key`."""

    def __init__(self, folder: str, numbers: int = NUMBERS) -> None:
        self.port = free_port()
        self.config = os.path.join(folder, "calltrack.toml")
        sip = free_port()
        with open(self.config, "w") as file:
            file.write(
                f'[sip]\nlisten = ["udp:{HOST}:{sip}"]\n[storage]\nurl = "sqlite:{folder}/calltrack.db"\n'
                f'[web]\nlisten = "{HOST}:{self.port}"\n'
            )
        project = self.cli("project", "add", "Bench", "--site", SITE)
        self.key = project["key"]
        ids = ("--project", str(project["id"]))
        how = ("--dynamic", "--replace", "19990000000", "--forward", "sip:office@192.0.2.7")
        scenario = self.cli("scenario", "add", "All", *ids, *how)
        listed = os.path.join(folder, "numbers.csv")
        with open(listed, "w") as file:
            file.write("number\n" + "".join(f"1202555{number:04d}\n" for number in range(numbers)))
        self.cli("number", "import", listed, *ids, "--scenario", str(scenario["id"]), as_json=False)
        self.log = open(os.path.join(folder, "log"), "wb")
        command = [*TWISTD, "-n", "--pidfile=", "calltrack", "--config", self.config]
        self.process = subprocess.Popen(command, cwd=folder, stdout=self.log, stderr=self.log)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((HOST, self.port)).close()
                break
            except ConnectionRefusedError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise SystemExit(f"the engine did not start: see {self.log.name}") from None
                time.sleep(0.05)
        time.sleep(1)

    def cli(self, *arguments: str, as_json: bool = True):
        command = [*CLI, "--config", self.config, *arguments, *(["--json"] if as_json else [])]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"calltrack {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout) if as_json else done.stdout

    def cpu(self) -> float:
        """Seconds of CPU that the process has used."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """Megabytes in memory."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        with open(self.log.name, errors="replace") as file:
            if "Traceback" in file.read():
                print(f"the engine's log has tracebacks: {self.log.name}")


class Client:
    """One connection that is kept, as a reverse proxy keeps it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, what: str, body: dict | None, address: str) -> tuple[int, bytes, float]:
        """`(status, body, seconds)`."""
        raw = b"" if body is None else json.dumps(body).encode()
        method, path = ("GET", f"{self.engine.key}.js") if body is None else ("POST", f"{self.engine.key}/{what}")
        head = (
            f"{method} /t/{path} HTTP/1.1\r\nHost: calls.example\r\nOrigin: {SITE}\r\nUser-Agent: {AGENT}\r\n"
            f"Accept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.9\r\n"
            f"X-Forwarded-For: {address}\r\nContent-Type: text/plain\r\nContent-Length: {len(raw)}\r\n\r\n"
        )
        began = time.perf_counter()
        for again in (False, True):
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection(HOST, self.engine.port)
            try:
                self.writer.write(head.encode() + raw)
                status, answer = await self._answer()
                return status, answer, time.perf_counter() - began
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if again:
                    raise
        raise AssertionError

    async def _answer(self) -> tuple[int, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length:
            return status, await self.reader.readexactly(int(length[1]))
        if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readline()
            await self.reader.readline()
            return status, body
        return status, b""

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def page(query: str = "?utm_source=direct&utm_medium=search&utm_term=buy%20glasses") -> dict:
    return {"v": 1, "page": f"{SITE}/{query}", "referrer": "https://search.example/", "visit": "", "consent": True}


async def many(engine: Engine, count: int, connections: int, question) -> tuple[list, float, float]:
    """`question(client, number)` for each of `count`; answers, wall seconds, CPU seconds of the engine."""
    waiting = iter(range(count))
    answers: list = []

    async def work() -> None:
        client = Client(engine)
        for number in waiting:
            answers.append(await question(client, number))
        client.close()

    cpu, began = engine.cpu(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(connections)))
    return answers, time.perf_counter() - began, engine.cpu() - cpu


def tell(name: str, answers: list, wall: float, cpu: float) -> None:
    times = sorted(one[2] for one in answers)
    statuses: dict[int, int] = {}
    for status, _, _ in answers:
        statuses[status] = statuses.get(status, 0) + 1
    print(
        f"{name}: {cpu / len(answers) * 1000:.2f} ms of CPU each, {len(answers) / wall:.0f} a second, "
        f"p50 {statistics.median(times) * 1000:.1f} ms, p99 {times[int(len(times) * 0.99)] * 1000:.1f} ms, {statuses}"
    )


def address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


async def cost(engine: Engine, count: int) -> None:
    """CPU of each question, by 20 connections that are kept."""
    cookies: list[str] = []

    async def script(client: Client, number: int):
        return await client.ask("", None, address(number))

    async def visit(client: Client, number: int):
        answer = await client.ask("visit", page(), address(number))
        cookies.append(json.loads(answer[1])["visit"])
        return answer

    async def again(client: Client, number: int):
        return await client.ask("visit", {**page(""), "visit": cookies[number]}, address(number))

    async def beat(client: Client, number: int):
        return await client.ask("beat", {"visit": cookies[number]}, address(number))

    async def leave(client: Client, number: int):
        return await client.ask("leave", {"visit": cookies[number]}, address(number))

    for name, question in (
        ("script", script),
        ("new visit", visit),
        ("next page of a visit", again),
        ("sign of life", beat),
        ("leave", leave),
    ):
        tell(name, *await many(engine, count, 20, question))
    print(f"memory: {engine.resident():.0f} MB with {count} visits present")


async def flood(engine: Engine, count: int) -> None:
    """`count` visits from 1,000 addresses as fast as they are taken, and honest visitors all the while: each opens a
    page, gives a sign of life after three seconds, and must hold a number of its own then."""
    honest: list[tuple[int, str, str, float]] = []
    over = asyncio.Event()

    async def visitor(number: int) -> None:
        client, mine = Client(engine), f"192.0.2.{number}" if number < 256 else f"198.51.100.{number - 256}"
        status, answer, first = await client.ask("visit", page(), mine)
        if status == 200:
            cookie = json.loads(answer)["visit"]
            await asyncio.sleep(3)
            status, answer, _ = await client.ask("beat", {"visit": cookie}, mine)
        swaps = json.loads(answer).get("swaps", [])
        honest.append((status, swaps[0]["number"] if swaps else "", mine, first))
        client.close()

    async def visitors() -> None:
        tasks, number = [], 0
        while not over.is_set() and number < 150:
            tasks.append(asyncio.create_task(visitor(number)))
            number += 1
            await asyncio.sleep(0.3)
        await asyncio.gather(*tasks)

    async def hostile(client: Client, number: int):
        return await client.ask("visit", page(f"?utm_source=flood{number}"), f"203.0.{number % 4}.{number // 4 % 250}")

    crowd = asyncio.create_task(visitors())
    answers, wall, cpu = await many(engine, count, 50, hostile)
    over.set()
    await crowd
    tell("flood", answers, wall, cpu)
    numbers = [number for _, number, _, _ in honest if number]
    slowest = max(first for *_, first in honest)
    print(
        f"honest visitors: {len(numbers)} of {len(honest)} hold a number, {len(set(numbers))} different ones, "
        f"slowest first answer {slowest * 1000:.0f} ms, refused {sum(status != 200 for status, *_ in honest)}"
    )


async def idle(engine: Engine, count: int) -> None:
    """Honest requests while `count` connections say nothing and as many say one byte a second."""
    crowd = []
    for _ in range(count):
        crowd.append(await asyncio.open_connection(HOST, engine.port))
    dripping = crowd[::2]

    async def drip() -> None:
        while True:
            for _, writer in dripping:
                if not writer.is_closing():
                    writer.write(b"G")
            await asyncio.sleep(1)

    drops = asyncio.create_task(drip())

    async def visit(client: Client, number: int):
        return await client.ask("visit", page(), address(1 << 20 | number))

    tell(f"with {count} idle connections, new visit", *await many(engine, 300, 5, visit))
    began = time.perf_counter()
    still = len(crowd)
    while still and time.perf_counter() - began < 15:
        await asyncio.sleep(0.5)
        still = sum(not reader.at_eof() and reader.exception() is None for reader, _ in crowd)
    drops.cancel()
    print(f"the last of them was closed after {time.perf_counter() - began:.1f} s more, {still} are open")
    for _, writer in crowd:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["cost", "flood", "idle", []], default=[])
    parser.add_argument("--count", type=int, default=3000, help="requests of each kind")
    parser.add_argument("--flood", type=int, default=100_000, help="visits of the flood")
    parser.add_argument("--idle", type=int, default=2300, help="idle connections")
    arguments = parser.parse_args()
    for what in arguments.what or ["cost", "flood", "idle"]:
        with tempfile.TemporaryDirectory() as folder:
            engine = Engine(folder)
            try:
                work = {"cost": (cost, arguments.count), "flood": (flood, arguments.flood), "idle": (idle, arguments.idle)}
                function, count = work[what]
                asyncio.run(function(engine, count))
            finally:
                engine.stop()


if __name__ == "__main__":
    main()
