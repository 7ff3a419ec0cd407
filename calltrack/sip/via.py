"""Via values: where a message came by and where its answers go (RFC 3261 section 20.42). Knows no messages."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from calltrack.errors import MalformedMessage
from calltrack.sip.grammar import LWS, is_token, parse_params
from calltrack.sip.uri import parse_host_port


class Via(NamedTuple):
    """One Via value (section 20.42). `host` is without brackets; `port` None when not given."""

    transport: bytes
    host: bytes
    port: int | None
    params: dict[bytes, bytes | None]

    @property
    def branch(self) -> bytes:
        return self.params.get(b"branch") or b""


def parse_via(value: bytes) -> Via:
    """Parse one Via value; raises MalformedMessage."""
    protocol_and_sent_by, _, params = value.partition(b";")
    transport, host, port = _parse_sent_by(protocol_and_sent_by)
    return Via(transport, host, port, parse_params(params))


@lru_cache(maxsize=4096)
def _parse_sent_by(value: bytes) -> tuple[bytes, bytes, int | None]:
    """The part of a Via that every request of a peer has in common: transport, host, port."""
    if value[:8] == b"SIP/2.0/":
        transport, _, rest = value[8:].partition(b" ")
    else:  # white space is allowed around the slashes
        name, version, tail = (value.split(b"/", 2) + [b"", b""])[:3]
        if name.strip(LWS).upper() != b"SIP" or version.strip(LWS) != b"2.0":
            raise MalformedMessage("a Via that is not SIP/2.0")
        tail = tail.strip(LWS)
        cut = min((i for i in (tail.find(b" "), tail.find(b"\t")) if i >= 0), default=-1)
        transport, rest = (tail[:cut], tail[cut + 1 :]) if cut >= 0 else (tail, b"")
    if not is_token(transport):
        raise MalformedMessage("a Via without a transport")
    sent_by = rest.strip(LWS)
    host, colon, port = sent_by.partition(b":")
    if colon and (host[-1:] in LWS or port[:1] in (b" ", b"\t")):
        sent_by = host.rstrip(LWS) + b":" + port.lstrip(LWS)
    return transport.upper(), *parse_host_port(sent_by)
