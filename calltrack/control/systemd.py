"""Tell systemd how the service is (sd_notify(3)). Does nothing where nobody asked for it. Knows one datagram socket."""

from __future__ import annotations

import os
import socket
from typing import Callable, Mapping

from twisted.logger import Logger

from calltrack.timers import Timer, Timers

log = Logger()

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


class Notifier:
    """`environ`: where systemd says what it wants: NOTIFY_SOCKET, WATCHDOG_USEC."""

    def __init__(self, timers: Timers, environ: Mapping[str, str] = os.environ) -> None:
        self._timers = timers
        self._address = environ.get("NOTIFY_SOCKET", "")
        wanted = environ.get("WATCHDOG_USEC", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._interval = int(wanted) / 2_000_000 if wanted.isdigit() and ours else 0.0  # seconds: twice as often as asked
        self._timer: Timer | None = None

    def tell(self, *lines: str) -> None:
        """Say it, or leave it: nothing depends on it."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as problem:
            log.warn("systemd cannot be told {lines}: {problem}", lines=lines, problem=problem)

    def started(self, status: Callable[[], str]) -> None:
        """The service works; from now on the watchdog is told that the reactor turns, and how things are."""
        self.tell(READY, f"STATUS={status()}")
        if self._interval and self._address:
            self._beat(status)

    def stopping(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.tell(STOPPING)

    def _beat(self, status: Callable[[], str]) -> None:
        self.tell(ALIVE, f"STATUS={status()}")
        self._timer = self._timers.after(self._interval, self._beat, status)
