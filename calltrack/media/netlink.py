"""Talk to the kernel's packet filter: messages of netlink's netfilter family, written and read
(linux/netlink.h, linux/netfilter/nfnetlink.h).

Requests are sent many at a time and answered at once: the kernel does the work inside send(), so nothing here waits.
Knows messages and attributes; knows neither tables nor connections.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from struct import Struct

_NETFILTER = 12  # NETLINK_NETFILTER
_REQUEST, _ACK = 0x1, 0x4
DUMP, CREATE, EXCLUSIVE = 0x300, 0x400, 0x200
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11  # nfnetlink's own messages
NESTED = 0x8000
_KIND = 0x3FFF  # without the flags for nested and network byte order
_SOL_NETLINK, _CAP_ACK = 270, 10  # NETLINK_CAP_ACK: a refusal need not repeat the whole request
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33  # asm-generic/socket.h
_BUFFER = 1 << 21  # bytes of answers that may wait
_ANSWER = 1 << 17  # bytes, more than the kernel writes at once
_AT_ONCE = 256  # requests asked at one go: their answers fit into the buffer

_HEADER = Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_FAMILY = Struct(">BBH")  # struct nfgenmsg: family, version, resource id
_ATTRIBUTE = Struct("=HH")  # struct nlattr: length, type
_CODE = Struct("=i")

_PADS = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4


class NetlinkError(OSError):
    """The kernel refused a request; `errno` says why."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(code, f"{what}: {os.strerror(code)}")


def attribute(kind: int, payload: bytes) -> bytes:
    size = 4 + len(payload)
    return _ATTRIBUTE.pack(size, kind) + payload + _PADS[size & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(attributes))


def attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in `payload` as (kind, payload); stops at one that is broken."""
    at, end = 0, len(payload)
    while at + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(payload, at)
        if size < 4:
            return
        yield kind & _KIND, payload[at + 4 : at + size]
        at += size + 3 & ~3


class Request:
    """One message: `kind` of the `subsystem`, for an address `family`."""

    __slots__ = ("body", "flags", "kind")

    def __init__(self, subsystem: int, kind: int, family: int, body: bytes = b"", flags: int = 0) -> None:
        self.kind = subsystem << 8 | kind
        self.flags = flags
        self.body = _FAMILY.pack(family, 0, 0) + body


class Netlink:
    """One socket. Needs CAP_NET_ADMIN to change things, each time. Raises OSError when the kernel has no such
    family."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        self._socket.bind((0, 0))
        for option in (_RCVBUFFORCE, _SNDBUFFORCE):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            except PermissionError:
                continue  # then nothing else will be permitted either, and that is where it is told
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setblocking(False)  # what the kernel has to say is there when send() returns
        self._sequence = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def ask(self, requests: Iterable[Request]) -> list[int | bytes]:
        """Send `requests`, each on its own. For each, in order: what the kernel answered (bytes behind struct
        nfgenmsg), 0 where it only acknowledged, or an errno where it refused. Raises OSError when it cannot be spoken to."""
        every = list(requests)
        outcomes: list[int | bytes] = []
        for start in range(0, len(every), _AT_ONCE):
            outcomes += self._ask(every[start : start + _AT_ONCE])
        return outcomes

    def change(self, subsystem: int, requests: list[Request], what: str) -> None:
        """Send `requests` as one transaction: all count or none. Raises NetlinkError with the first refusal."""
        if not requests:
            return
        packed = [self._mark(_BATCH_BEGIN, subsystem)]
        begin = self._sequence
        packed += [self._pack(request, _ACK) for request in requests]
        packed.append(self._mark(_BATCH_END, subsystem))
        self._send(b"".join(packed))
        refused, unanswered = 0, len(requests)
        while unanswered > 0:
            for kind, sequence, payload in self._receive():
                if kind != _ERROR or not begin <= sequence <= self._sequence:
                    continue
                refused = refused or -_CODE.unpack_from(payload)[0]
                # Where the transaction itself is refused, at its beginning, nothing in it is answered.
                unanswered = 0 if sequence == begin else unanswered - 1
        if refused:
            raise NetlinkError(refused, what)

    def dump(self, request: Request) -> Iterator[list[bytes]]:
        """Everything that `request` names, in portions (bytes behind struct nfgenmsg each): one to each step, so that
        a long one can be taken while other things go on, through other sockets: one that has begun must be taken to its
        end before the next request. Raises NetlinkError."""
        self._send(self._pack(request, DUMP))
        wanted = self._sequence
        while True:
            portion = []
            for kind, sequence, payload in self._receive():
                if sequence != wanted:
                    continue
                if kind == _DONE:
                    if portion:
                        yield portion
                    return
                if kind == _ERROR:
                    raise NetlinkError(-_CODE.unpack_from(payload)[0], "the kernel's list could not be read")
                portion.append(payload[_FAMILY.size :])
            yield portion

    # Inside

    def _ask(self, requests: list[Request]) -> list[int | bytes]:
        first = self._sequence + 1
        packed = [self._pack(request, _ACK) for request in requests]
        self._send(b"".join(packed))
        outcomes: list[int | bytes] = [0] * len(packed)
        acknowledged = 0
        while acknowledged < len(packed):
            for kind, sequence, payload in self._receive():
                place = sequence - first
                if not 0 <= place < len(packed):
                    continue  # of an earlier request that was given up
                if kind == _ERROR:
                    acknowledged += 1
                    code = -_CODE.unpack_from(payload)[0]
                    if code:
                        outcomes[place] = code
                elif kind != _DONE:
                    outcomes[place] = payload[_FAMILY.size :]
        return outcomes

    def _pack(self, request: Request, flags: int) -> bytes:
        self._sequence += 1
        size = _HEADER.size + len(request.body)
        header = _HEADER.pack(size, request.kind, _REQUEST | flags | request.flags, self._sequence, 0)
        return header + request.body + _PADS[size & 3]

    def _mark(self, kind: int, subsystem: int) -> bytes:
        self._sequence += 1
        return _HEADER.pack(_HEADER.size + _FAMILY.size, kind, _REQUEST, self._sequence, 0) + _FAMILY.pack(
            0, 0, subsystem
        )

    def _send(self, packed: bytes) -> None:
        self._socket.send(packed)

    def _receive(self) -> list[tuple[int, int, bytes]]:
        """The messages that wait: (kind, sequence, payload). Raises OSError when there is none, or some were lost."""
        try:
            answer = self._socket.recv(_ANSWER)
        except BlockingIOError:
            raise NetlinkError(errno.EPROTO, "the kernel did not answer") from None
        except OSError:
            self._forget()  # they would be in the way of the next answers
            raise
        messages = []
        at, end = 0, len(answer)
        while at + _HEADER.size <= end:
            size, kind, _, sequence, _ = _HEADER.unpack_from(answer, at)
            if size < _HEADER.size:
                break
            messages.append((kind, sequence, answer[at + _HEADER.size : at + size]))
            at += size + 3 & ~3
        return messages

    def _forget(self) -> None:
        """Take out whatever waits."""
        while True:
            try:
                self._socket.recv(_ANSWER)
            except BlockingIOError:
                return
            except OSError:
                continue  # says once more that some were lost, and by saying so forgets it
