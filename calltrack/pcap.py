"""Write captures that Wireshark opens (the pcap format, draft-ietf-opsawg-pcap), with IP, UDP and TCP headers made up
around what was carried.

Knows bytes and addresses; nothing of what the packets mean.
"""

from __future__ import annotations

import socket
from struct import Struct, pack
from functools import lru_cache

HEADER_SIZE = 24  # bytes in front of the first packet
LARGEST = 262_144  # bytes of a packet, by the header
_RAW_IP = 101  # link type: packets begin with their IP header
_FILE = Struct("<IHHiIII")
_PACKET = Struct("<IIII")
_MAGIC = 0xA1B2C3D4
_UDP, _TCP = 17, 6
_MOST = 65_535 - 40 - 20  # bytes that fit into one IP packet with its headers

Address = tuple[str, int]  # address literal, port


def header() -> bytes:
    """What a capture begins with."""
    return _FILE.pack(_MAGIC, 2, 4, 0, 0, LARGEST, _RAW_IP)


def packet(at_us: int, content: bytes) -> bytes:
    """One packet, caught at `at_us` microseconds since the Unix epoch."""
    seconds, fraction = divmod(at_us, 1_000_000)
    return _PACKET.pack(seconds & 0xFFFFFFFF, fraction, len(content), len(content)) + content


def udp(source: Address, target: Address, payload: bytes) -> bytes:
    """An IP packet with a UDP datagram. Its checksum is right; a payload that is too long for one is cut."""
    payload = payload[:_MOST]
    ports = pack(">HHH", source[1], target[1], 8 + len(payload))
    pseudo = _pseudo(source[0], target[0], _UDP, 8 + len(payload))
    checksum = _checksum(pseudo + ports + b"\0\0" + payload) or 0xFFFF
    return _ip(source[0], target[0], _UDP, ports + pack(">H", checksum) + payload)


def tcp(source: Address, target: Address, sequence: int, acknowledged: int, payload: bytes) -> bytes:
    """An IP packet with a TCP segment (PSH, ACK); as `udp`."""
    payload = payload[:_MOST]
    head = pack(">HHIIBBH", source[1], target[1], sequence & 0xFFFFFFFF, acknowledged & 0xFFFFFFFF, 0x50, 0x18, 65_535)
    pseudo = _pseudo(source[0], target[0], _TCP, 20 + len(payload))
    checksum = _checksum(pseudo + head + b"\0\0\0\0" + payload)
    return _ip(source[0], target[0], _TCP, head + pack(">HH", checksum, 0) + payload)


def whole_packets(content: bytes) -> int:
    """How many bytes of a capture's `content` are whole packets: what follows was being written when it ended."""
    end = HEADER_SIZE
    while end + _PACKET.size <= len(content):
        size = _PACKET.unpack_from(content, end)[2]
        if size > LARGEST or end + _PACKET.size + size > len(content):
            break
        end += _PACKET.size + size
    return end


def _ip(source: str, target: str, protocol: int, content: bytes) -> bytes:
    if ":" in source:
        head = pack(">IHBB", 0x60000000, len(content), protocol, 64)
        return head + _packed(source) + _packed(target) + content
    head = pack(">BBHHHBB", 0x45, 0, 20 + len(content), 0, 0x4000, 64, protocol)
    addresses = _packed(source) + _packed(target)
    return head + pack(">H", _checksum(head + b"\0\0" + addresses)) + addresses + content


def _pseudo(source: str, target: str, protocol: int, size: int) -> bytes:
    """What a checksum covers beside the segment (RFC 768, RFC 8200 section 8.1)."""
    return _packed(source) + _packed(target) + pack(">II", size, protocol)


def _checksum(content: bytes) -> int:
    """RFC 1071: whole numbers of any size are the same modulo 2**16 - 1."""
    if len(content) % 2:
        content += b"\0"
    total = int.from_bytes(content, "big")
    remainder = total % 0xFFFF
    return 0xFFFF - (remainder or (0xFFFF if total else 0))


@lru_cache(maxsize=1024)
def _packed(host: str) -> bytes:
    host = host.partition("%")[0]
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
