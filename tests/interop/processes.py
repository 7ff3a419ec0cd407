"""Child processes of a test: started, listened to, and gone when it ends. Knows no SIP and no calltrack."""

import itertools
import os
import random
import shutil
import socket
import struct
from collections.abc import Callable

from twisted.internet import defer, protocol, reactor, task
from twisted.trial.unittest import SkipTest, TestCase

LOOK_AGAIN = 0.02  # seconds between two looks at something that tells nobody when it changes


def installed(program: str, package: str) -> str:
    """The path of a real peer; SkipTest with what to install when it is missing."""
    path = shutil.which(program)
    if path is None:
        raise SkipTest(f"{program} is not installed: apt-get install {package}")
    return path


class Child(protocol.ProcessProtocol):
    """A process: `output` is what it wrote to both streams, `printed` to standard output alone, as text."""

    def __init__(self, test: TestCase, name: str, arguments: list[str], **options) -> None:
        self.name = name
        self.output = ""
        self.printed = ""
        self.status: int | None = None  # exit status; minus the signal when one ended it
        self._waiting: list[defer.Deferred[None]] = []
        environment = {**os.environ, "TERM": "vt100", "PYTHONUNBUFFERED": "1", **options.pop("env", {})}
        reactor.spawnProcess(self, arguments[0], arguments, environment, **options)
        test.addCleanup(self.kill)

    def outReceived(self, data: bytes) -> None:
        self.printed += data.decode("utf-8", "replace")
        self.errReceived(data)

    def errReceived(self, data: bytes) -> None:
        self.output += data.decode("utf-8", "replace")

    def processEnded(self, reason) -> None:
        value = reason.value
        self.status = -value.signal if value.signal else value.exitCode
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def writes(self, text: str) -> None:
        """Wait until `text` is in the output."""

        def written():
            if self.status is not None and text not in self.output:
                raise AssertionError(f"{self.name} ended before it wrote {text!r}:\n{self.output[-4000:]}")
            return text in self.output

        try:
            await eventually(written, f"{self.name} writes {text!r}", 20)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.output[-4000:]}") from None

    async def end(self, seconds: float = 60) -> int:
        """Wait until the process has ended; its exit status."""
        if self.status is None:
            waiting: defer.Deferred[None] = defer.Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            try:
                await waiting.addTimeout(seconds, reactor)
            except defer.TimeoutError:
                raise AssertionError(f"{self.name} goes on after {seconds:g} s:\n{self.output[-4000:]}") from None
        assert self.status is not None
        return self.status

    def signal(self, name: str) -> None:
        if self.status is None:
            self.transport.signalProcess(name)

    async def kill(self) -> None:
        self.signal("KILL")
        await self.end()


async def eventually(condition: Callable, what: str, seconds: float = 10.0):
    """The first true value of `condition()`, which may be a coroutine function; AssertionError after `seconds`."""
    until = reactor.seconds() + seconds
    while True:
        value = condition()
        if hasattr(value, "__await__"):
            value = await value
        if value:
            return value
        if reactor.seconds() > until:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await task.deferLater(reactor, LOOK_AGAIN)


def listening(transport: str, host: str, port: int) -> bool:
    """Whether some socket of this machine is bound to the address (TCP: and listens)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    words = struct.unpack("<IIII" if ":" in host else "<I", socket.inet_pton(family, host))
    local = "".join(f"{word:08X}" for word in words) + f":{port:04X}"
    with open(f"/proc/net/{transport}{'6' if ':' in host else ''}") as table:
        rows = [line.split() for line in table][1:]
    return any(row[1] == local and (transport == "udp" or row[3] == "0A") for row in rows)


def unread(ports: range) -> bool:
    """Whether something lies unread in a UDP socket of these ports, at whatever address."""
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        with open(table) as rows:
            for row in map(str.split, list(rows)[1:]):
                if int(row[1].rpartition(":")[2], 16) in ports and int(row[4].partition(":")[2], 16):
                    return True
    return False


_BLOCK = 4  # ports: a program takes the ones after its own, baresip for TLS, sipp for RTCP and video
_PORTS = range(23000, 32000, _BLOCK)
_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
_next = itertools.count(random.randrange(len(_PORTS)))


def free_port(host: str) -> int:
    """A port that is free for UDP and TCP at a local address, as are the three after it. None of them is given twice,
    and the kernel gives none to somebody else before its process binds it: they lie below those that it chooses from."""
    for number in itertools.islice(_next, len(_PORTS)):
        port = _PORTS[number % len(_PORTS)]
        if all(_bindable(host, port + after, kind) for after in range(_BLOCK) for kind in _KINDS):
            return port
    raise AssertionError(f"no port is free at {host}; is it an address of this machine?")


def _bindable(host: str, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def own_address(number: int) -> str:
    """The loopback address `number` (1 to 250) of this process, so that test runs at once do not meet."""
    pid = os.getpid()
    return f"127.{1 + (pid >> 8) % 250}.{pid % 256}.{number}"
