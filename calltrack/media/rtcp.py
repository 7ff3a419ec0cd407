"""Read what receivers say about the streams that they hear, in RTCP (RFC 3550 section 6.4).

Knows packets alone: whose they are, and whether to believe them, is for others.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

_SENDER_REPORT, _RECEIVER_REPORT = 200, 201
_BEFORE_BLOCKS = {_SENDER_REPORT: 28, _RECEIVER_REPORT: 8}  # bytes of a packet that come before its report blocks
_COMMON = Struct(">BBH")  # version, padding and count; packet type; length in words less one (section 6.4.1)
_BLOCK = Struct(">IIII8x")  # SSRC; fraction lost and cumulative number of packets lost; highest sequence; jitter
_NEGATIVE = 0x800000  # of the 24 bits of the cumulative number: duplicates make it so


class Report(NamedTuple):
    """What a receiver says of the source `ssrc`."""

    ssrc: int
    lost: int  # packets since it hears the source; more that came twice than were lost count as none
    jitter: int  # in units of the stream's clock rate


def reports(packet: bytes | bytearray) -> Iterator[Report]:
    """The report blocks of a compound packet; those behind something broken are left out."""
    at = 0
    while at + _COMMON.size <= len(packet):
        first, kind, words = _COMMON.unpack_from(packet, at)
        end = at + 4 * (words + 1)
        if first >> 6 != 2 or end > len(packet):
            return
        if kind in _BEFORE_BLOCKS:
            block = at + _BEFORE_BLOCKS[kind]
            for _ in range(first & 0x1F):
                if block + _BLOCK.size > end:
                    return
                ssrc, lost, _, jitter = _BLOCK.unpack_from(packet, block)
                lost &= 0xFFFFFF
                yield Report(ssrc, 0 if lost & _NEGATIVE else lost, jitter)
                block += _BLOCK.size
        at = end
