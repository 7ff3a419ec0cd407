"""Traced messages as a capture that Wireshark opens, and shows as SIP without being told.

Knows the pcap format; reads nothing in a message.
"""

from __future__ import annotations

from typing import Iterable

from calltrack import pcap
from calltrack.tracing.message import Address, Traced

_SEGMENT = 1400  # bytes of a TCP segment
_TLS_PORT, _SIP_PORT = 5061, 5060


def capture(messages: Iterable[Traced]) -> bytes:
    """A whole capture. Messages of TLS stand in it as they were before they were encrypted, on TCP; port 5061 becomes
    5060, because Wireshark would look for TLS there."""
    sent: dict[tuple[Address, Address], int] = {}  # bytes of each way over TCP
    packets = [pcap.header()]
    for message in messages:
        source, target = _alike(message.source, message.target)
        if message.transport == "udp":
            packets.append(pcap.packet(message.at_us, pcap.udp(source, target, message.data)))
            continue
        if message.transport == "tls":
            source, target = _plain(source), _plain(target)
        for start in range(0, len(message.data), _SEGMENT):
            piece = message.data[start : start + _SEGMENT]
            ours, theirs = sent.get((source, target), 1), sent.get((target, source), 1)
            packets.append(pcap.packet(message.at_us, pcap.tcp(source, target, ours, theirs, piece)))
            sent[source, target] = ours + len(piece)
    return b"".join(packets)


def _plain(place: Address) -> Address:
    return (place[0], _SIP_PORT) if place[1] == _TLS_PORT else place


def _alike(source: Address, target: Address) -> tuple[Address, Address]:
    """Both of one family: an address that we only show may be of the other."""
    if (":" in source[0]) == (":" in target[0]):
        return source, target
    return (_mapped(source[0]), source[1]), (_mapped(target[0]), target[1])


def _mapped(host: str) -> str:
    return host if ":" in host else f"::ffff:{host}"
