"""Read RTP packets (RFC 3550 section 5.1). What comes in is a stranger's; what is no RTP gives None."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

_HEADER = Struct(">BBHII")
_EXTENSION = Struct(">2xH")


class Packet(NamedTuple):
    """What a recording needs of a packet."""

    kind: int  # payload type
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def read(data: bytes) -> Packet | None:
    """The packet in a datagram, without contributors, extension and padding."""
    if len(data) < _HEADER.size:
        return None
    first, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != 2:
        return None
    start, end = _HEADER.size + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if start + _EXTENSION.size > end:
            return None
        start += _EXTENSION.size + 4 * _EXTENSION.unpack_from(data, start)[0]
    if first & 0x20:
        padding = data[-1]
        if not padding:
            return None
        end -= padding
    if start > end:
        return None
    return Packet(kind & 0x7F, sequence, timestamp, ssrc, data[start:end])
