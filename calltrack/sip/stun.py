"""STUN Binding on the SIP port, by which devices keep their NAT open and see it change (RFC 5626 section 4.4.2).

Knows the wire format of RFC 5389; no sockets.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

BINDING_REQUEST = b"\x00\x01"  # the first bytes; no SIP message begins with them

_COOKIE = 0x2112A442
_HEADER = struct.Struct(">HHI12s")  # type, length of the attributes, cookie, transaction id
_BINDING_SUCCESS = 0x0101
_XOR_MAPPED_ADDRESS = 0x0020


def binding_response(request: bytes, host: str, port: int) -> bytes | None:
    """The answer to a Binding request from this address; None when it is none. Attributes of the request are not
    read: none is defined for this use."""
    if len(request) < _HEADER.size or request[:2] != BINDING_REQUEST:
        return None
    _, length, cookie, transaction = _HEADER.unpack_from(request)
    if cookie != _COOKIE or length != len(request) - _HEADER.size or length % 4:
        return None
    address = ip_address(host.partition("%")[0]).packed
    mask = struct.pack(">I12s", _COOKIE, transaction)
    hidden = bytes(a ^ b for a, b in zip(address, mask))
    family = 1 if len(address) == 4 else 2
    attribute = struct.pack(">HHBBH", _XOR_MAPPED_ADDRESS, 4 + len(address), 0, family, port ^ (_COOKIE >> 16)) + hidden
    return _HEADER.pack(_BINDING_SUCCESS, len(attribute), _COOKIE, transaction) + attribute
