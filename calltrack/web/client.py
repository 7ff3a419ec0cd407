"""Who asks: the address of a client, also behind reverse proxies that the operator trusts. Knows no limits."""

from __future__ import annotations

import ipaddress
import re
from typing import Iterable

from twisted.web.iweb import IRequest

_HOP = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?\Z|([0-9.]+):[0-9]+\Z")  # some proxies write the port too
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(request: IRequest, proxies: Iterable[Network]) -> str:
    """The address literal that a request comes from; "" when it has none (a local socket).

    X-Forwarded-For is believed as far as `proxies` wrote it: from its end, the first address that is no proxy's.
    """
    address = getattr(request.getClientAddress(), "host", "") or ""
    if not proxies or not among(address, proxies):
        return address
    said = b",".join(request.requestHeaders.getRawHeaders(b"x-forwarded-for", ())).decode("ascii", "replace")
    for hop in reversed(said.split(",")[-16:]):
        hop = hop.strip(" \t")
        written = _HOP.match(hop)
        hop = written[1] or written[2] if written else hop
        try:
            ipaddress.ip_address(hop)
        except ValueError:
            return address
        address = hop
        if not among(hop, proxies):
            break
    return address


def among(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address literal lies in one of `networks`."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
