"""The kernel's connection tracking as a relay: one entry with address translation forwards a stream both ways
(linux/netfilter/nfnetlink_conntrack.h).

Knows how an entry is written; knows neither our table nor who may be forwarded to whom.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from calltrack.media.netlink import CREATE, EXCLUSIVE, NESTED, Request, attribute, attributes

_SUBSYSTEM = 1  # NFNL_SUBSYS_CTNETLINK
_NEW, _GET, _DELETE = 0, 1, 2  # IPCTNL_MSG_CT_*
_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS, _NAT_SOURCE, _TIMEOUT, _NAT_DESTINATION = 1, 2, 3, 6, 7, 13  # CTA_*
_ADDRESSES, _PROTOCOL = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_FORWARDED = attribute(_STATUS, Struct(">I").pack(2 | 4 | 8))  # IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED
_SECONDS = Struct(">I")
_PORT = Struct(">H")
# Nested attributes, each with its length and kind: addresses, then protocol (UDP), source and destination port.
_TUPLE_4, _TUPLE_6 = (Struct(f"=HHHHHH{n}sHH{n}sHHHHB3xHH2s2xHH2s2x").pack for n in (4, 16))
_NAT_4, _NAT_6 = (Struct(f"=HHHH{n}sHH{n}sHHHH2s2xHH2s2x").pack for n in (4, 16))

Address = tuple[str, int]


class Path(NamedTuple):
    """One stream between two parties: the far ends `a` and `b`, and our own address towards each."""

    a: Address
    towards_a: Address
    b: Address
    towards_b: Address

    @property
    def version(self) -> int:
        return 6 if ":" in self.a[0] else 4


def insert(path: Path, seconds: int) -> Request:
    """Forward what `a` sends to `towards_a` on to `b`, from `towards_b`; and the other way round. The entry lasts
    `seconds` until the first packet, then what the kernel gives to UDP. Refused with EEXIST where packets have made
    entries of their own."""
    family = socket.AF_INET6 if path.version == 6 else socket.AF_INET
    body = (
        _tuple(_TUPLE_ORIGINAL, path.a, path.towards_a),
        _tuple(_TUPLE_REPLY, path.towards_a, path.a),
        _translation(_NAT_SOURCE, path.towards_b),
        _translation(_NAT_DESTINATION, path.b),
        attribute(_TIMEOUT, _SECONDS.pack(seconds)),
        _FORWARDED,
    )
    return Request(_SUBSYSTEM, _NEW, family, b"".join(body), CREATE | EXCLUSIVE)


def delete(source: Address, destination: Address) -> Request:
    """End the entry of these packets, whichever direction of it they are. Refused with ENOENT when there is none."""
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    return Request(_SUBSYSTEM, _DELETE, family, _tuple(_TUPLE_ORIGINAL, source, destination))


def look_up(source: Address, destination: Address) -> Request:
    """Ask for the entry of these packets; `read` takes the answer."""
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    return Request(_SUBSYSTEM, _GET, family, _tuple(_TUPLE_ORIGINAL, source, destination))


def read(answer: bytes) -> Path | None:
    """The path that an entry forwards; None when it is none of `insert`'s."""
    found = dict(attributes(answer))
    try:
        (a, towards_a), (b, towards_b) = (_addresses(found[kind]) for kind in (_TUPLE_ORIGINAL, _TUPLE_REPLY))
    except (KeyError, ValueError):
        return None
    return None if (towards_b, b) == (a, towards_a) else Path(a, towards_a, b, towards_b)


def _addresses(payload: bytes) -> tuple[Address, Address]:
    """Source and destination in a tuple."""
    parts = dict(attributes(payload))
    hosts, ports = dict(attributes(parts[_ADDRESSES])), dict(attributes(parts[_PROTOCOL]))
    family, first = (socket.AF_INET6, 3) if 3 in hosts else (socket.AF_INET, 1)
    source, destination = (socket.inet_ntop(family, hosts[kind]) for kind in (first, first + 1))
    return (source, int.from_bytes(ports[2], "big")), (destination, int.from_bytes(ports[3], "big"))


@lru_cache(maxsize=1024)
def _packed(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def _tuple(kind: int, source: Address, destination: Address) -> bytes:
    """Addresses and ports of one direction. Written at one go: a call needs a dozen of them."""
    host, at = _packed(source[0]), _packed(destination[0])
    size = 4 + len(host)
    first, pack = (3, _TUPLE_6) if size == 20 else (1, _TUPLE_4)  # CTA_IP_V6_SRC, CTA_IP_V4_SRC; the next is ..._DST
    addresses = (4 + 2 * size, _ADDRESSES | NESTED, size, first, host, size, first + 1, at)
    ports = (28, _PROTOCOL | NESTED, 5, 1, 17, 6, 2, _PORT.pack(source[1]), 6, 3, _PORT.pack(destination[1]))
    return pack(4 + 4 + 2 * size + 28, kind | NESTED, *addresses, *ports)


def _translation(kind: int, address: Address) -> bytes:
    """From `address` to `address`: the least and the largest that may be taken are the same."""
    host, port = _packed(address[0]), _PORT.pack(address[1])
    size = 4 + len(host)
    first, pack = (4, _NAT_6) if size == 20 else (1, _NAT_4)  # CTA_NAT_V6_MINIP, CTA_NAT_V4_MINIP; the next is ..._MAXIP
    ports = (20, 3 | NESTED, 6, 1, port, 6, 2, port)  # CTA_NAT_PROTO
    return pack(4 + 2 * size + 20, kind | NESTED, size, first, host, size, first + 1, host, *ports)
