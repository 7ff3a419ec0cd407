"""What rtpengine is told of a party's streams, and what it says back: addresses and ports, by m-line.

rtpengine is told only what it needs to carry packets; the description that a party gets is rewritten by `media.sdp`, as with
every relay. So nothing is transcoded, reordered or left out, whatever a version of rtpengine makes of it. Knows no commands.
"""

from __future__ import annotations

from typing import NamedTuple

from calltrack.errors import UnusableSDP
from calltrack.media.latching import is_public
from calltrack.media.sdp import Document, Section

_SILENT = "inactive"


class Told(NamedTuple):
    """One m-line as rtpengine is told of it. `port` 0: no stream."""

    host: str
    port: int
    rtcp: tuple[str, int] | None  # where RTCP goes when that is not the next port
    mux: bool
    direction: str
    formats: tuple[bytes, ...]  # payload types (RTP only)
    names: tuple[bytes, ...]  # values of a=rtpmap

    @property
    def ip(self) -> str:
        return "IP6" if ":" in self.host else "IP4"


NOTHING = Told("", 0, None, False, _SILENT, (), ())


def told_of(section: Section, signalling: str, before: Told | None) -> Told:
    """What a section says, for a party whose signalling goes to `signalling`. `before`: what it said last; a party that
    holds by c=0.0.0.0 names no address, so its old one stays."""
    if not section.port:
        return NOTHING
    if section.silenced:
        return (before or NOTHING)._replace(direction=_SILENT)
    # Behind a NAT it cannot be reached where it says, but its packets come from where its signalling does.
    host = signalling if natted(section.host, signalling) else section.host
    rtcp = section.rtcp if section.rtp else None
    if rtcp is not None and rtcp == (section.host, section.port + 1):
        rtcp = None
    formats = tuple(payload for payload in section.fields[3:] if payload.isdigit()) if section.rtp else ()
    names = tuple(value.rstrip(b"\r") for _, token, value in section.about if token == b"a=rtpmap")
    return Told(host, section.port, rtcp, section.mux, section.direction.decode("ascii"), formats, names)


def natted(host: str, signalling: str) -> bool:
    """Whether a party that names the address `host` is behind a NAT: packets cannot come from there."""
    return host != signalling and not is_public(host) and (":" in host) == (":" in signalling) and is_public(signalling)


def description(streams: list[Told]) -> bytes:
    """The session description that rtpengine gets. Every stream is plain RTP to it, so that it looks into none:
    SRTP, T.38 and what else there is pass as they are."""
    lines = ["v=0", "o=calltrack 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    for stream in streams:
        formats = b" ".join(stream.formats).decode("ascii") or "0"
        lines.append(f"m=audio {stream.port} RTP/AVP {formats}")
        lines.append(f"c=IN {stream.ip} {stream.host}" if stream.port else "c=IN IP4 0.0.0.0")
        if not stream.port:
            continue
        lines += [f"a=rtpmap:{name.decode('ascii', 'replace')}" for name in stream.names]
        if stream.rtcp is not None:
            host, port = stream.rtcp
            lines.append(f"a=rtcp:{port} IN {'IP6' if ':' in host else 'IP4'} {host}")
        if stream.mux:
            lines.append("a=rtcp-mux")
        lines.append(f"a={stream.direction}")
    return "\r\n".join([*lines, ""]).encode("ascii", "replace")


def places(sdp: bytes, count: int) -> list[tuple[str, int, int] | None]:
    """Where rtpengine listens for each of `count` m-lines: address, RTP port, RTCP port; None where it has none. Raises
    ValueError when the description says something else."""
    try:
        document = Document(sdp)
    except UnusableSDP as problem:
        raise ValueError(str(problem)) from None
    if len(document.sections) != count:
        raise ValueError(f"it has {len(document.sections)} m= lines and not {count}")
    found: list[tuple[str, int, int] | None] = []
    for section in document.sections:
        if not section.port or section.silenced:
            found.append(None)
            continue
        rtcp = section.rtcp
        found.append((section.host, section.port, rtcp[1] if rtcp is not None else section.port + 1))
    return found
