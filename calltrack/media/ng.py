"""rtpengine's control protocol (NG): commands to one node over UDP, each with a cookie that its reply repeats.

A command is sent again with the same cookie, which the node answers from its memory, so that nothing is done twice. Whatever
else arrives, the wrong cookie, nonsense, a late reply, is counted and dropped. Knows no calls and no SDP.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from itertools import count
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from calltrack.errors import CalltrackError
from calltrack.media.ng_bencode import decode, encode

LARGEST = 65507  # bytes of a UDP datagram over IPv4
_RETRY_AT = (0.1, 0.3, 0.6)  # of the time that a node may take: when a command is sent again
_PER_MINUTE = 5  # lines that the log gets about datagrams that were dropped

_log = Logger()


class NGRefused(CalltrackError):
    """The node answered, and the answer is no: `str()` of it is the node's own reason."""


class NGSilence(CalltrackError):
    """The node did not answer in time, or cannot be reached."""


class _Pending:
    """A command that waits for its reply."""

    __slots__ = ("answer", "began", "name", "packet", "timer", "tries")

    def __init__(self, name: str, packet: bytes, began: float) -> None:
        self.name = name
        self.packet = packet
        self.began = began
        self.answer: Deferred[dict[str, Any]] = Deferred()
        self.tries = 0
        self.timer: IDelayedCall | None = None


class NGClient(DatagramProtocol):
    """Commands to the node at one address. `counters`: what happened, by name, for the metrics."""

    noisy = False

    def __init__(self, clock: IReactorTime, host: str, port: int, timeout: float) -> None:
        """`host`: an address literal. `timeout`: seconds that the node may take, repeats included."""
        self.clock = clock
        self.host = host
        self.port = port
        self.timeout = timeout
        self.counters: Counter[str] = Counter()
        self.round_trip = 0.0  # seconds that the last reply took
        self._prefix = secrets.token_hex(6)
        self._numbers = count(1)
        self._pending: dict[bytes, _Pending] = {}
        self._listening: Any = None
        self._told = 0
        self._told_since = 0.0

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def start(self, reactor: IReactorUDP) -> None:
        """Open the socket. It is not connected: a node that is not there must cost repeats, not the socket."""
        interface = "::" if ":" in self.host else ""
        self._listening = reactor.listenUDP(0, self, interface=interface, maxPacketSize=65535)

    def stop(self) -> Deferred | None:
        """Close the socket; whatever waits fails with NGSilence."""
        listening, self._listening = self._listening, None
        for pending in list(self._pending.values()):
            self._settle(pending, NGSilence(f"rtpengine {self}: calltrack is stopping"))
        return listening.stopListening() if listening is not None else None

    @property
    def running(self) -> bool:
        return self._listening is not None

    @property
    def waiting(self) -> int:
        """Commands without a reply yet."""
        return len(self._pending)

    def command(self, name: str, fields: Mapping[str, Any] = MappingProxyType({})) -> Deferred[dict[str, Any]]:
        """Have the node do something. `fields`: named as the protocol names them.

        Fires with the reply, a dictionary whose texts are bytes. Fails with NGRefused (`result` is `error`) or NGSilence.
        """
        if self._listening is None:
            return fail(NGSilence(f"rtpengine {self}: calltrack is not connected to it"))
        cookie = f"{self._prefix}-{next(self._numbers)}".encode()
        packet = b"%b %b" % (cookie, encode({"command": name, **fields}))
        if len(packet) > LARGEST:
            return fail(NGRefused(f"the description is too large for {name!r} by UDP: {len(packet)} bytes"))
        pending = self._pending[cookie] = _Pending(name, packet, self.clock.seconds())
        self.counters["commands"] += 1
        self._send(cookie, pending)
        return pending.answer

    # The wire

    def datagramReceived(self, datagram: bytes, address: Any) -> None:
        cookie, space, body = datagram.partition(b" ")
        if address[:2] != (self.host, self.port):
            self._dropped("strange", f"it came from {address[0]} port {address[1]}")
            return
        pending = self._pending.get(cookie)
        if pending is None:
            ours = cookie.startswith(self._prefix.encode() + b"-")
            self._dropped("late" if ours and space else "strange", "a reply to nothing that was asked")
            return
        try:
            reply = decode(body)
            if not isinstance(reply, dict) or not isinstance(reply.get("result"), bytes):
                raise ValueError("no dictionary with a result")
        except (ValueError, RecursionError) as problem:
            self._dropped("nonsense", f"the reply to {pending.name!r} cannot be read: {problem}")
            return  # a repeat may bring a better one
        self.round_trip = self.clock.seconds() - pending.began
        if reply["result"] == b"error":
            self.counters["refused"] += 1
            self._settle(pending, NGRefused(f"rtpengine {self}: {_words(reply.get('error-reason'))}"))
        else:
            self.counters["replies"] += 1
            self._settle(pending, reply)

    def _send(self, cookie: bytes, pending: _Pending) -> None:
        waited = self.clock.seconds() - pending.began
        if waited >= self.timeout * 0.999:
            self.counters["timeouts"] += 1
            words = f"rtpengine {self} has not answered {pending.name!r} within {self.timeout:g} s"
            self._settle(pending, NGSilence(words))
            return
        if pending.tries:
            self.counters["repeats"] += 1
        try:
            self.transport.write(pending.packet, (self.host, self.port))
        except OSError as problem:  # no route, no buffer: as if it were lost on the way
            self.counters["unsent"] += 1
            self._tell(f"cannot be sent to: {problem}")
        at = _RETRY_AT[pending.tries] if pending.tries < len(_RETRY_AT) else 1.0
        pending.tries += 1
        delay = max(0.0, at * self.timeout - waited)
        pending.timer = self.clock.callLater(delay, self._send, cookie, pending)

    def _settle(self, pending: _Pending, outcome: Any) -> None:
        cookie = pending.packet.partition(b" ")[0]
        del self._pending[cookie]
        if pending.timer is not None and pending.timer.active():
            pending.timer.cancel()
        pending.packet = b""
        if isinstance(outcome, Exception):
            pending.answer.errback(outcome)
        else:
            pending.answer.callback(outcome)

    def _dropped(self, kind: str, words: str) -> None:
        self.counters[kind] += 1
        self._tell("dropped a datagram: " + words)

    def _tell(self, words: str) -> None:
        """A line for the log, a few a minute: a node that lies must not fill it."""
        now = self.clock.seconds()
        if now - self._told_since > 60:
            self._told_since, self._told = now, 0
        self._told += 1
        if self._told <= _PER_MINUTE:
            _log.warn("rtpengine {node}: {words}", node=self, words=words)


def _words(reason: Any) -> str:
    """A node's words as they may stand in a log."""
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else "it gives no reason"
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])
