"""A real rtpengine for tests, forwarding in user space, with ports of its own. Knows its command line."""

from __future__ import annotations

import os

from twisted.trial.unittest import TestCase

from tests.interop.processes import Child, eventually, free_port, installed, listening

CONTROL = "127.0.0.1"


class RTPEngine(Child):
    """The daemon of Debian's package. Media on `hosts`; `ready()` when it takes commands."""

    def __init__(
        self,
        test: TestCase,
        *more: str,
        hosts: tuple[str, ...] = ("127.0.0.1", "::1"),
        port: int = 0,
        ports: tuple[int, int] | None = None,
    ) -> None:
        program = installed("rtpengine", "rtpengine-daemon")
        self.port = port or free_port(CONTROL)
        low = 10000 + os.getpid() % 24 * 400
        low, high = ports or (low, low + 399)
        self.ports = range(low, high + 1)
        interfaces = [part for host in hosts for part in ("--interface", host)]
        arguments = [
            *("--foreground", "--log-stderr", "--log-level=5", "--table=-1"),
            # One thread: two hand over what came to one socket in either order.
            *("--num-threads=1", "--delete-delay=0", "--timeout=600"),
            *(f"--listen-ng={CONTROL}:{self.port}", f"--port-min={low}", f"--port-max={high}"),
        ]
        super().__init__(test, "rtpengine", [program, "--config-file=none", *arguments, *interfaces, *more])

    async def ready(self) -> RTPEngine:
        def up() -> bool:
            if self.status is not None:
                raise AssertionError(f"rtpengine did not start:\n{self.output[-2000:]}")
            return listening("udp", CONTROL, self.port)

        await eventually(up, "rtpengine takes commands")
        return self
