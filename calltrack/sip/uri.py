"""SIP URIs and name-addr values (RFC 3261 sections 19.1 and 20.10). Knows no messages."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from calltrack.errors import MalformedMessage
from calltrack.sip.grammar import LWS, end_of_quoted, parse_params, parse_uint, unquote

_HOST = bytes(sorted(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"))
_HEX = b"0123456789abcdefABCDEF"
_UNSAFE = b'<>" \t\r\n\0'


class URI(NamedTuple):
    """A sip, sips or tel URI. `user` is percent-decoded; `host` is lower case, IPv6 without brackets.

    Of a tel URI `user` is the number and `host` is empty.
    """

    scheme: bytes
    user: bytes
    host: bytes
    port: int | None = None
    params: dict[bytes, bytes | None] = {}

    @property
    def transport(self) -> bytes | None:
        value = self.params.get(b"transport")
        return value.lower() if value else None


class NameAddr(NamedTuple):
    """A From, To, Contact, Route ... value; `uri` is as it came, `display` without quotes."""

    display: bytes
    uri: bytes
    params: dict[bytes, bytes | None]

    @property
    def tag(self) -> bytes:
        return self.params.get(b"tag") or b""


def percent_decode(text: bytes) -> bytes:
    """Undo percent-escapes; an escape that is none is left as it is."""
    if b"%" not in text:
        return text
    first, *rest = text.split(b"%")
    out = [first]
    for part in rest:
        digits = part[:2]
        if len(digits) == 2 and not digits.translate(None, _HEX):  # fromhex would skip white space
            out.append(bytes.fromhex(digits.decode("ascii")) + part[2:])
        else:
            out.append(b"%" + part)
    return b"".join(out)


_PLAIN_USER = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,?/"


def escape_user(text: bytes) -> bytes:
    """`text` fit for the user part of a URI (RFC 3261 section 25.1, user-unreserved)."""
    if not text.translate(None, _PLAIN_USER):
        return text
    return b"".join(bytes((c,)) if c in _PLAIN_USER else b"%%%02X" % c for c in text)


def parse_host_port(text: bytes) -> tuple[bytes, int | None]:
    """`host[:port]` with an IPv6 reference in brackets; raises MalformedMessage."""
    if text[:1] == b"[":
        host, bracket, rest = text[1:].partition(b"]")
        try:
            if not bracket or ip_address(host.decode("ascii")).version != 6:
                raise ValueError
        except ValueError:
            raise MalformedMessage("an IPv6 reference is not one") from None
        if rest and rest[:1] != b":":
            raise MalformedMessage("text after an IPv6 reference")
        port_text = rest[1:] if rest else None
    else:
        host, colon, after = text.partition(b":")
        port_text = after if colon else None
        if not host or host.translate(None, _HOST):
            raise MalformedMessage("a host name has characters that no host name has")
    if port_text is None:
        return host.lower(), None
    port = parse_uint(port_text.strip(LWS), "port", 65535)
    if port == 0:
        raise MalformedMessage("port 0")
    return host.lower(), port


@lru_cache(maxsize=4096)
def parse_uri(text: bytes) -> URI:
    """Parse a URI; raises MalformedMessage for anything that is not a usable sip, sips or tel URI.

    URI headers (`?name=value`) are ignored: nothing from the network may add header fields to a request.
    """
    scheme, colon, rest = text.partition(b":")
    scheme = scheme.lower()
    if not colon or scheme not in (b"sip", b"sips", b"tel"):
        raise MalformedMessage("a URI scheme that is not sip, sips or tel")
    if rest.translate(None, _UNSAFE) != rest:
        raise MalformedMessage("a URI with white space, quotes or angle brackets")
    if scheme == b"tel":
        number, _, params = rest.partition(b";")
        if not number:
            raise MalformedMessage("an empty tel URI")
        return URI(scheme, percent_decode(number), b"", None, parse_params(params))
    at = rest.rfind(b"@")
    userinfo, hostpart = (rest[:at], rest[at + 1 :]) if at >= 0 else (b"", rest)
    hostpart = hostpart.partition(b"?")[0]
    hostport, _, params = hostpart.partition(b";")
    host, port = parse_host_port(hostport)
    user = percent_decode(userinfo.partition(b":")[0])
    return URI(scheme, user, host, port, parse_params(params) if params else {})


_COMPARED = (b"user", b"ttl", b"method", b"maddr", b"transport")  # differ when only one URI has them


def equivalent(one: URI, other: URI) -> bool:
    """Whether two URIs name the same resource (section 19.1.4). Their headers, which are never read, do not count."""
    if (one.scheme, one.user, one.host, one.port) != (other.scheme, other.user, other.host, other.port):
        return False
    both = one.params.keys() & other.params.keys()
    one_sided = one.params.keys() ^ other.params.keys()
    return not any(name in one_sided for name in _COMPARED) and all(
        (one.params[name] or b"").lower() == (other.params[name] or b"").lower() for name in both
    )


@lru_cache(maxsize=1024)  # From and To of one call, while it is set up: hardly one is met again after that
def parse_name_addr(value: bytes) -> NameAddr:
    """Parse one name-addr or addr-spec with its parameters; raises MalformedMessage.

    Without angle brackets, parameters belong to the header and not to the URI (section 20.10).
    """
    address, bracket, rest = value.partition(b">")
    if address[:1] == b"<" and len(address) > 1 and value.translate(None, b' \t"') == value:  # as nearly all are
        if rest[:5] == b";tag=" and b";" not in rest[5:]:
            return NameAddr(b"", address[1:], {b"tag": rest[5:]})
        if bracket and not rest:
            return NameAddr(b"", address[1:], {})
    value = value.strip(LWS)
    if value[:1] == b'"':
        end = end_of_quoted(value, 0)
        display, rest = unquote(value[:end]), value[end:].lstrip(LWS)
        if rest[:1] != b"<":
            raise MalformedMessage("a display name is not followed by <")
        opening = 0
    else:
        rest, opening = value, value.find(b"<")
        display = rest[:opening].strip(LWS) if opening > 0 else b""
    if opening >= 0:
        closing = rest.find(b">", opening)
        if closing < 0:
            raise MalformedMessage("a < is not closed")
        uri, params = rest[opening + 1 : closing], rest[closing + 1 :]
        if params.strip(LWS)[:1] not in (b"", b";"):
            raise MalformedMessage("text after >")
    else:
        uri, _, params = rest.partition(b";")
        uri = uri.strip(LWS)
    if not uri or b" " in uri or b"\t" in uri:
        raise MalformedMessage("an address without a URI")
    return NameAddr(display, uri, parse_params(params) if params else {})


@lru_cache(maxsize=4096)
def is_literal(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address literal (without brackets)."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def host_port(host: str, port: int | None = None) -> str:
    """`host:port` as it stands in a URI or Via, IPv6 in brackets."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"
