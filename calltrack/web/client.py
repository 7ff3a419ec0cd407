"""Who asks: the address of a client, also behind reverse proxies that the operator trusts. Knows no limits."""

from __future__ import annotations

import ipaddress
import re
from typing import Iterable

from twisted.web.iweb import IRequest

_HOP = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?\Z|([0-9.]+):[0-9]+\Z")  # some proxies write the port too
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(request: IRequest, proxies: Iterable[Network]) -> str:
    """The address literal that a request comes from; "" when it has none (a local socket). An IPv4 address that an IPv6
    socket has met is told as IPv4.

    X-Forwarded-For is believed as far as `proxies` wrote it: from its end, the first address that is no proxy's.
    """
    address = peer_address(request)
    if not proxies or not among(address, proxies):
        return address
    said = b",".join(request.requestHeaders.getRawHeaders(b"x-forwarded-for", ())).decode("ascii", "replace")
    for hop in reversed(said.split(",")[-16:]):
        hop = hop.strip(" \t")
        written = _HOP.match(hop)
        try:
            address = plain(str(ipaddress.ip_address(written[1] or written[2] if written else hop)))
        except ValueError:
            break
        if not among(address, proxies):
            break
    return address


def peer_address(request: IRequest) -> str:
    """The address literal of whoever is connected, proxy or not; "" when it has none."""
    return plain(getattr(request.getClientAddress(), "host", "") or "")


def among(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address literal lies in one of `networks`."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def plain(address: str) -> str:
    """An address literal as IPv4 where an IPv6 socket has met IPv4."""
    if address[:7].lower() != "::ffff:":
        return address
    try:
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return str(mapped) if mapped is not None else address
