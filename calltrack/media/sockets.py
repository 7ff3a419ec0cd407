"""UDP sockets, with the three things about them that Python's socket module leaves to the kernel's manual
(udp(7), connect(2), socket(7)): dissolving an association, emptying a queue, counting what overflowed.

Knows Linux; knows nothing of RTP or of who sends.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from select import POLLIN, poll

_libc = ctypes.CDLL(None, use_errno=True)
_UNSPECIFIED = bytes(16)  # a struct sockaddr whose family is AF_UNSPEC

_SO_MEMINFO = 55  # asm-generic/socket.h; missing in the socket module
_MEMINFO = struct.Struct("9I")  # linux/sock_diag.h: SK_MEMINFO_DROPS is the last

MOST_QUEUED = 1024  # datagrams taken out at once: more than a default queue of small packets holds


def bind(address: str, port: int, shared: bool = False) -> socket.socket:
    """A non-blocking UDP socket on an address literal and a port. `shared`: beside one of our own that has
    been opened to that by `share`. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            share(sock)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def share(sock: socket.socket) -> None:
    """Let another socket of ours have the same port. Set after bind(), so that taking the port was exclusive."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def disconnect(sock: socket.socket) -> None:
    """Dissolve what connect() made: the socket hears everybody again (connect(2), AF_UNSPEC)."""
    if _libc.connect(sock.fileno(), _UNSPECIFIED, len(_UNSPECIFIED)):
        raise OSError(ctypes.get_errno(), "cannot disconnect a UDP socket")


def waits(sock: socket.socket) -> bool:
    """Whether something waits in the socket, be it an ICMP error. To ask costs a quarter of being told by an exception."""
    queue = poll()
    queue.register(sock, POLLIN)
    return bool(queue.poll(0))


def drain(sock: socket.socket) -> list[tuple]:
    """Take out all that waits in the socket, and the ICMP errors with it; the senders' addresses, in order."""
    sources = []
    if not waits(sock):  # as nearly always
        return sources
    for _ in range(MOST_QUEUED):
        try:
            sources.append(sock.recvfrom(1)[1])
        except BlockingIOError:
            break
        except OSError:
            continue  # ICMP said something about what we sent; saying it takes it out
    return sources


def overflowed(sock: socket.socket) -> int:
    """How many datagrams the kernel threw away because the socket's queue was full."""
    return _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8]


def local_address_towards(host: str) -> str:
    """The address that packets to `host` (a literal) leave from. Raises OSError when there is no route or
    `host` is no literal."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.inet_pton(family, host)  # connect() would ask the DNS for a name, and wait for it
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((host, 9))  # sends nothing
        return sock.getsockname()[0]
