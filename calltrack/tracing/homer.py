"""Hand messages to a Homer server over UDP. Blocks while it looks the name up: belongs into the writer's thread.

Messages that cannot be sent are lost, as datagrams are; nothing waits for the server.
"""

from __future__ import annotations

import socket
import time
from typing import Iterable

from twisted.logger import Logger

from calltrack.tracing import hep
from calltrack.tracing.message import Traced

AGAIN = 60.0  # seconds until a name that was not found is looked up again
FRESH = 300.0  # seconds that an address of the server's name is used

log = Logger()


class Homer:
    """`server`: "host:port". `lost`: messages that were not sent."""

    def __init__(self, server: str, capture_id: int, password: str) -> None:
        self.lost = 0
        self._host, _, port = server.rpartition(":")
        self._port = int(port)
        self._capture_id = capture_id
        self._password = password
        self._socket: socket.socket | None = None
        self._until = 0.0  # monotonic: when the name is looked up next
        self._troubled = False

    def send(self, messages: Iterable[Traced]) -> None:
        """Never raises OSError."""
        if time.monotonic() >= self._until:
            self._connect()
        for message in messages:
            if self._socket is None or len(message.data) > hep.LARGEST:
                self.lost += 1
                continue
            try:
                self._socket.send(hep.encode(message, self._capture_id, self._password))
            except OSError:  # nobody listens, or the queue is full
                self.lost += 1

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        try:
            found = socket.getaddrinfo(self._host.strip("[]"), self._port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, place = found[0]
            opened = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
            opened.connect(place)
        except OSError as problem:
            self._until = time.monotonic() + (FRESH if self._socket is not None else AGAIN)
            if not self._troubled:
                log.warn("Homer at {host} cannot be reached: {problem}", host=self._host, problem=problem)
            self._troubled = True
            return
        self.close()
        self._socket = opened
        self._until = time.monotonic() + FRESH
        self._troubled = False
