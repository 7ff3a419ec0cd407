"""HEP3, the protocol by which agents hand SIP messages to Homer (github.com/sipcapture/HEP, revision 11 and later).

Knows messages and addresses; no sockets.
"""

from __future__ import annotations

import socket
from struct import pack

from calltrack.tracing.message import Traced

LARGEST = 60_000  # bytes of a message: more does not fit into a datagram with what stands around it
_SIP = 1
_IP_PROTOCOLS = {"udp": 17, "tcp": 6, "tls": 6}


def encode(message: Traced, capture_id: int, password: str) -> bytes:
    """One datagram for the server."""
    source, target = message.source, message.target
    v6 = ":" in source[0]
    family = socket.AF_INET6 if v6 else socket.AF_INET
    seconds, fraction = divmod(message.at_us, 1_000_000)
    chunks = [
        _chunk(1, pack(">B", family)),
        _chunk(2, pack(">B", _IP_PROTOCOLS[message.transport])),
        _chunk(5 if v6 else 3, socket.inet_pton(family, source[0].partition("%")[0])),
        _chunk(6 if v6 else 4, socket.inet_pton(family, target[0].partition("%")[0])),
        _chunk(7, pack(">H", source[1])),
        _chunk(8, pack(">H", target[1])),
        _chunk(9, pack(">I", seconds & 0xFFFFFFFF)),
        _chunk(10, pack(">I", fraction)),
        _chunk(11, pack(">B", _SIP)),
        _chunk(12, pack(">I", capture_id)),
    ]
    if password:
        chunks.append(_chunk(14, password.encode()))
    if message.call:
        chunks.append(_chunk(17, message.call.encode()))
    chunks.append(_chunk(15, message.data))
    content = b"".join(chunks)
    return b"HEP3" + pack(">H", 6 + len(content)) + content


def _chunk(kind: int, value: bytes) -> bytes:
    """Vendor 0 (generic), type, length with these six bytes, value."""
    return pack(">HHH", 0, kind, 6 + len(value)) + value
