"""Checks of single configuration values: what came out of TOML in, the value of a settings field out.

A check returns the value to keep or raises ValueError with what is wrong and what is allowed, without
the key's name: `calltrack.config` knows where the value stood. Checks open, resolve and bind nothing.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from typing import Any, Callable, NamedTuple

from calltrack.errors import InvalidField
from calltrack.media.rtpengine_settings import NodeAddress
from calltrack.tracking.targets import parse_sip_address

Check = Callable[[Any], Any]

TRANSPORTS = ("udp", "tcp", "tls")  # that `[sip] listen` may name
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+\Z")


class HostPort(NamedTuple):
    """Where a TCP server listens."""

    host: str  # address literal
    port: int  # 0 = any

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Listen(NamedTuple):
    """Where SIP listens."""

    transport: str  # "udp", "tcp" or "tls"
    host: str  # address literal
    port: int  # 0 = any

    def __str__(self) -> str:
        return f"{self.transport}:{HostPort(self.host, self.port)}"


def shown(value: Any) -> str:
    """`value` as it may stand in a message: short, on one line, without control characters."""
    words = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    if words is None:
        words = ascii(value) if not isinstance(value, float) else f"{value:g}"
    return words if len(words) <= 80 else words[:77] + "..."


def key(name: str) -> str:
    """A key as TOML would spell it, on one line."""
    return name if name and name.replace("_", "").replace("-", "").isalnum() else shown(name)


def unknown(where: str, what: str, name: str, known: list[str]) -> str:
    """That there is no such key or section, with the names that come near."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"{where}: unknown {what}; {hint}"


def number(low: float, high: float, unit: str = "") -> Check:
    """A float from `low` to `high`; `unit` is for the message."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{shown(value)} is no number; allowed: {low:g} to {high:g}{after}")
        if not low <= value <= high:
            raise ValueError(f"{shown(value)} is outside {low:g} to {high:g}{after}")
        return float(value)

    after = f" ({unit})" if unit else ""
    return check


def whole(low: int, high: int) -> Check:
    """An int from `low` to `high`."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{shown(value)} is no whole number; allowed: {low} to {high}")
        if not low <= value <= high:
            raise ValueError(f"{value} is outside {low} to {high}")
        return value

    return check


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is neither true nor false")
    return value


def text(value: Any) -> str:
    """A string on one line."""
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no text; write it in quotes")
    if not value.isprintable():
        raise ValueError(f"{shown(value)} holds a control character or a line break")
    return value


def some_text(value: Any) -> str:
    """A string on one line that is not empty."""
    if not text(value):
        raise ValueError("is empty")
    return value


def one_of(*allowed: str) -> Check:
    """One of the words `allowed`, in any case; gives the word as spelled here."""

    def check(value: Any) -> str:
        if isinstance(value, str) and value.lower() in allowed:
            return value.lower()
        raise ValueError(f"{shown(value)} is none of {', '.join(allowed)}")

    return check


def each(check: Check, *, alone: bool = False, empty: bool = True) -> Check:
    """A list whose items pass `check`, as a tuple; with `alone` a single item stands for a list of one."""

    def check_all(value: Any) -> tuple:
        if alone and isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            raise ValueError(f"{shown(value)} is no list; write it in [ ]")
        if not value and not empty:
            raise ValueError("is an empty list")
        items: list[Any] = []
        errors: list[str] = []
        for given in value:
            try:
                item = check(given)
            except ValueError as error:
                errors.append(str(error))
                continue
            if item in items:
                errors.append(f"{item} stands in it twice")
            items.append(item)
        if errors:
            raise ValueError("; ".join(errors))
        return tuple(items)

    return check_all


def address_literal(value: Any) -> str:
    """An IPv4 or IPv6 address, in its canonical spelling."""
    try:
        return str(ipaddress.ip_address(text(value)))
    except ValueError:
        raise ValueError(f"{shown(value)} is no IPv4 or IPv6 address") from None


def host_name(value: Any) -> str:
    """A DNS name or an address, lower case."""
    if not _HOST_NAME.match(some_text(value)):
        raise ValueError(f"{shown(value)} is no host name")
    return value.lower()


def host_port(value: Any) -> HostPort:
    """``address:port``; an IPv6 address stands in brackets."""
    host, colon, port = text(value).rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"{shown(value)} has no port from 0 to 65535; write address:port, as in 127.0.0.1:8080")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed != (":" in host):
        raise ValueError(f"{shown(value)}: an IPv6 address stands in brackets, as in [::1]:8080")
    return HostPort(address_literal(host[1:-1] if bracketed else host), int(port))


def media_node(value: Any) -> NodeAddress:
    """``address:port`` of an rtpengine, with ``weight=N`` after it for another share of the calls than the others."""
    where, space, weight = text(value).partition(" ")
    place = host_port(where)
    if not place.port:
        raise ValueError(f"{shown(value)} has no port from 1 to 65535; write address:port, as in 127.0.0.1:2223")
    if space and not re.fullmatch("weight=[1-9][0-9]{0,3}", weight):
        raise ValueError(f"{shown(value)} has no weight from 1 to 9999; write it as in 10.0.0.5:2223 weight=2")
    return NodeAddress(place.host, place.port, int(weight[7:] or 1))


def interface_pair(value: Any) -> tuple[str, ...]:
    """Two names of rtpengine's interfaces: towards callers, towards targets; none for its default."""
    if not isinstance(value, list) or len(value) not in (0, 2):
        raise ValueError(f"{shown(value)} is no pair of names; write it as [\"external\", \"internal\"]")
    return tuple(some_text(name) for name in value)


def server(value: Any) -> str:
    """``host:port`` of a server that we send to: a DNS name or an address; an IPv6 address stands in brackets."""
    host, colon, port = some_text(value).rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"{shown(value)} has no port from 1 to 65535; write host:port, as in homer.example.com:9060")
    bracketed = host.startswith("[") and host.endswith("]")
    return f"[{address_literal(host[1:-1])}]:{port}" if bracketed else f"{host_name(host)}:{port}"


def listen(value: Any) -> Listen:
    """``transport:address:port``."""
    transport, _, rest = text(value).partition(":")
    if transport.lower() not in TRANSPORTS:
        raise ValueError(f"{shown(value)} does not begin with udp:, tcp: or tls:, as in udp:0.0.0.0:5060")
    where = host_port(rest)
    return Listen(transport.lower(), where.host, where.port)


def port_range(value: Any) -> tuple[int, int]:
    """``[low, high]``: at least one pair of an even RTP port and the RTCP port above it."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{shown(value)} is no pair of ports; write it as [20000, 29999]")
    low, high = whole(1024, 65535)(value[0]), whole(1024, 65535)(value[1])
    if high - low < 3:
        raise ValueError(f"{low} to {high} is too small; a call needs at least 4 ports")
    return low, high


def network(value: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """An address or a CIDR block."""
    try:
        return ipaddress.ip_network(text(value))
    except ValueError:
        pass
    try:
        block = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{shown(value)} is no address or CIDR block, as in 198.51.100.0/24") from None
    raise ValueError(f"{shown(value)} has bits set beyond its mask; write {block}")


def next_hop(value: Any) -> str:
    """A SIP address without a user, as in ``sip:198.51.100.10:5060;transport=tcp``; canonical."""
    try:
        address = parse_sip_address(some_text(value), "")
    except InvalidField as error:
        raise ValueError(error.message.rpartition("; allowed: ")[0]) from None
    if address.user:
        raise ValueError(f"{shown(value)} names a user; write sip:host, the user is the number dialled")
    return str(address)


def sip_user(value: Any) -> str:
    """A SIP address with a user and no more, as in ``sip:12025550143@provider.example``; canonical."""
    try:
        address = parse_sip_address(some_text(value), "")
    except InvalidField as error:
        raise ValueError(error.message.rpartition("; allowed: ")[0]) from None
    if not address.user or address.transport:
        raise ValueError(f"{shown(value)} is no address of a user; write sip:user@domain")
    return str(address)


def country(value: Any) -> str:
    """An ISO 3166 country code, upper case."""
    import phonenumbers  # half a second's worth of tables that most commands never need

    if text(value).upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"{shown(value)} is no country code of two letters, as in US")
    return value.upper()


def store_url(value: Any) -> str:
    """``sqlite:PATH`` or ``memory:``."""
    scheme, colon, rest = text(value).partition(":")
    if (scheme, colon) == ("sqlite", ":") and rest or value == "memory:":
        return value
    raise ValueError(f"{shown(value)} is no store; write sqlite:FILE or memory:")


def base_url(value: Any) -> str:
    """The beginning of web addresses, without a path: ``https://calls.example.com``."""
    if not re.fullmatch(r"https?://[A-Za-z0-9._-]+(?::[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?", text(value)):
        raise ValueError(f"{shown(value)} is no address of a site; write it as https://calls.example.com")
    return value


def header_prefix(value: Any) -> str:
    """The part that the names of calltrack's headers begin with."""
    if not re.fullmatch("x-[a-z0-9-]{1,40}", text(value).lower()):
        raise ValueError(f"{shown(value)} is no header prefix; write x- and letters, digits or dashes, as in x-roistat")
    return value.lower()


def shown_number(value: Any) -> str:
    """Which number an outbound call shows: ``caller``, ``withheld`` or one of ours with its plus."""
    if text(value).lower() in ("caller", "withheld"):
        return value.lower()
    if re.fullmatch(r"\+[1-9][0-9]{2,14}", value):
        return value
    raise ValueError(f"{shown(value)} is none of caller, withheld, or a number as +74951234567")


def prices(value: Any) -> dict[str, float]:
    """Prices by prefix: ``{ "7495" = 0.02, "" = 0.5 }``."""
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is no table; write prefixes and prices, as in \"7495\" = 0.02")
    for prefix, price in value.items():
        if not re.fullmatch("[0-9]{0,15}", prefix):
            raise ValueError(f"{shown(prefix)} is no prefix; write digits without a plus")
        try:
            number(0, 1_000_000)(price)
        except ValueError as error:
            raise ValueError(f"{shown(prefix)}: {error}") from None
    return {prefix: float(price) for prefix, price in value.items()}
