"""Networks of a test's own: namespaces with wires between them, made by root and removed with the test.

    net = Network(self)                       # skips the test, with the reason, where there can be none
    net.wire("phones", "10.1.0.1/24", "10.1.0.2/24", "10.1.0.9/24")
    with net.inside("phones"):                # sockets that are made now belong to that namespace, for good
        ...

The thread that runs the test lives in the namespace `relay` from `Network(self)` on until the test is over; what it
starts lives there too. Nothing outside these namespaces is touched.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from unittest import SkipTest

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = count(1)

HERE = "relay"


def missing() -> str:
    """Why namespaces cannot be made here; "" when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        made = subprocess.run(["ip", "netns", "add", f"calltrack-try-{os.getpid()}"], capture_output=True, text=True)
    except OSError:
        return "network namespaces need ip; install Debian's iproute2"
    if made.returncode:
        return f"network namespaces cannot be made here: {made.stderr.strip()[:200]}"
    subprocess.run(["ip", "netns", "del", f"calltrack-try-{os.getpid()}"], check=True)
    return ""


class Network:
    """Namespaces by name, for one test case."""

    def __init__(self, case) -> None:
        why = missing()
        if why:
            raise SkipTest(why)
        self._prefix = f"calltrack-{os.getpid()}-{next(_numbers)}-"
        self._case = case
        self._made: list[str] = []
        self._wires = 0
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        case.addCleanup(self.close)
        self.add(HERE)
        self._enter(HERE)

    def close(self) -> None:
        self._set(self._home)
        os.close(self._home)
        for name in self._made:
            self.run("ip", "netns", "del", self._prefix + name)

    def add(self, name: str) -> None:
        self.run("ip", "netns", "add", self._prefix + name)
        self._made.append(name)
        self.run("ip", "-n", self._prefix + name, "link", "set", "lo", "up")

    def wire(self, name: str, here: tuple[str, ...], there: tuple[str, ...]) -> str:
        """A new namespace `name` and a wire to it, with addresses (with prefix lengths) at both ends. The name of the
        interface on this side."""
        self.add(name)
        self._wires += 1
        ours, theirs = f"here{self._wires}", f"there{self._wires}"
        peer = ("peer", "name", theirs, "netns", self._prefix + name)
        self.run("ip", "-n", self._prefix + HERE, "link", "add", ours, "type", "veth", *peer)
        for space, interface, addresses in ((HERE, ours, here), (name, theirs, there)):
            for address in addresses:
                nodad = ("nodad",) if ":" in address else ()
                self.run("ip", "-n", self._prefix + space, "addr", "add", address, "dev", interface, *nodad)
            self.run("ip", "-n", self._prefix + space, "link", "set", interface, "up")
        return ours

    def route(self, name: str, *route: str) -> None:
        """Add a route in a namespace, in the words of ip(8)."""
        self.run("ip", "-n", self._prefix + name, "route", "add", *route)

    def sysctl(self, **settings: int) -> None:
        """Set what stands under net, in this namespace: `ipv4__ip_forward=1` is net.ipv4.ip_forward."""
        for name, value in settings.items():
            with open("/proc/sys/net/" + name.replace("__", "/"), "w", encoding="ascii") as file:
                file.write(str(value))

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Be in another namespace; for what takes place at once."""
        self._enter(name)
        try:
            yield
        finally:
            self._enter(HERE)

    def prefix(self, name: str) -> list[str]:
        """What a program is started with that is to live in another namespace."""
        return ["ip", "netns", "exec", self._prefix + name]

    def run(self, *argv: str) -> str:
        """Run a program in the namespace where the test is now; its output. Raises when it fails."""
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def _enter(self, name: str) -> None:
        space = os.open(f"/run/netns/{self._prefix}{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._set(space)
        finally:
            os.close(space)

    def _set(self, space: int) -> None:
        if _libc.setns(space, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
