"""Read session descriptions and rewrite what a relay has to change, line by line (RFC 8866, RFC 3264).

Everything that is not understood keeps its bytes and its place; only the origin, addresses, ports and
`a=rtcp` are written anew, ICE attributes are taken out whole, and codecs may be restricted. Works on
bytes that a stranger sent: raises UnusableSDP and nothing else. Knows no sockets, no parties, no calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from calltrack.errors import UnusableSDP

MAX_SIZE = 65536  # bytes of a description
MAX_LINES = 4096
MAX_SECTIONS = 64  # m-lines
_MAX_FORMATS = 128  # payload types there are (RFC 3551 section 6)

# What a line is to a relay. A flag attribute ends its line, so it is met with and without the CR.
_DIRECTION, _RTCP, _MUX, _ICE, _FORMAT = range(5)
_ATTRIBUTES = {b"a=rtcp": _RTCP, b"a=rtcp-mux": _MUX}
_ATTRIBUTES.update((b"a=" + name, _FORMAT) for name in (b"rtpmap", b"fmtp", b"rtcp-fb"))
_ATTRIBUTES.update((b"a=" + name, _DIRECTION) for name in (b"sendrecv", b"sendonly", b"recvonly", b"inactive"))
_ATTRIBUTES.update(
    (b"a=" + name, _ICE)
    for name in (
        b"candidate", b"remote-candidates", b"end-of-candidates",
        b"ice-ufrag", b"ice-pwd", b"ice-options", b"ice-lite", b"ice-mismatch", b"ice-pacing",
    )
)  # fmt: skip
_ATTRIBUTES.update([(token + b"\r", meaning) for token, meaning in _ATTRIBUTES.items()])

# RFC 3551 section 6: payload types that mean a codec without an rtpmap, with their clock rates.
_STATIC = {
    b"0": ("PCMU", 8000), b"3": ("GSM", 8000), b"4": ("G723", 8000), b"5": ("DVI4", 8000),
    b"6": ("DVI4", 16000), b"7": ("LPC", 8000), b"8": ("PCMA", 8000), b"9": ("G722", 8000),
    b"10": ("L16", 44100), b"11": ("L16", 44100), b"12": ("QCELP", 8000), b"13": ("CN", 8000),
    b"14": ("MPA", 90000), b"15": ("G728", 8000), b"16": ("DVI4", 11025), b"17": ("DVI4", 22050),
    b"18": ("G729", 8000), b"19": ("CN", 8000), b"26": ("JPEG", 90000), b"31": ("H261", 90000),
    b"34": ("H263", 90000),
}  # fmt: skip
_COMPANIONS = frozenset({"TELEPHONE-EVENT", "CN"})  # not codecs: they go with whatever codec is left

_UDP_TRANSPORTS = (b"RTP/", b"UDP", b"DTLS/")  # protocols that ride on UDP, udptl too; TCP/... does not

_HELD = frozenset({b"sendonly", b"inactive"})


class Section:
    """One m-section (RFC 8866 section 5.14) as its party described it.

    `port` 0: rejected, or nothing that can be relayed. `host`: the literal that packets go to, "" when
    the section names none. `held`: its party does not want to hear (sendonly, inactive, c=0.0.0.0).
    `rtcp` is the (host, port) of RTCP (RFC 3605), or None where there is none.
    """

    __slots__ = (
        "about", "connection", "direction", "fields", "host", "line", "mux", "port",
        "rtcp_host", "rtcp_line", "rtcp_port",
    )  # fmt: skip

    def __init__(self, line: int, fields: list[bytes], port: int) -> None:
        self.line = line  # index of its m-line in the document
        self.about: list[tuple[int, bytes, bytes]] = []  # line, attribute, value of what is said of single formats
        self.fields = fields  # of the m-line: media, port, proto, formats
        self.port = port
        self.connection: tuple[str, bool] | None = None
        self.host = ""
        self.direction = b""
        self.mux = False
        self.rtcp_line = -1
        self.rtcp_host = ""
        self.rtcp_port = port + 1 if 0 < port < 65535 else 0

    @property
    def rtp(self) -> bool:
        """Whether packets are RTP or SRTP, as against T.38 over UDPTL and the like."""
        return b"RTP/" in self.fields[2].upper()

    @property
    def rtcp(self) -> tuple[str, int] | None:
        return (self.rtcp_host or self.host, self.rtcp_port) if self.rtcp_port else None

    @property
    def clock_rate(self) -> int:
        """RTP clock rate, in Hz, of the first payload type; 8000 where nothing says it."""
        first = self.fields[3]
        if first in _STATIC:
            return _STATIC[first][1]
        for _, token, value in self.about:
            payload, _, encoding = value.partition(b" ")
            if token == b"a=rtpmap" and payload == first:
                rate = encoding.rstrip(b"\r").partition(b"/")[2].partition(b"/")[0]
                if 0 < len(rate) <= 6 and rate.isdigit() and int(rate):
                    return int(rate)
        return 8000

    @property
    def silenced(self) -> bool:
        """c=0.0.0.0: the old way to hold, which names no address to send to."""
        return self.host in ("0.0.0.0", "::")

    @property
    def held(self) -> bool:
        return self.direction in _HELD or self.silenced


class Document:
    """A description taken apart: edit it (`restrict`, `reject`), then `render` it for another party."""

    __slots__ = ("_connections", "_cr", "_dropped", "_origin", "lines", "sections")

    def __init__(self, sdp: bytes) -> None:
        """Raises UnusableSDP for what is no session description, or one with a fault in what we must read."""
        if len(sdp) > MAX_SIZE:
            raise UnusableSDP(f"the session description is larger than {MAX_SIZE} bytes")
        if sdp.count(b"\n") > MAX_LINES:
            raise UnusableSDP(f"the session description has more than {MAX_LINES} lines")
        if sdp[:4] not in (b"v=0\r", b"v=0\n"):
            raise UnusableSDP("the session description does not begin with v=0")
        self.lines = sdp.split(b"\n")
        self.sections: list[Section] = []
        self._cr = b"\r" if sdp[3:4] == b"\r" else b""
        self._dropped: set[int] = set()
        self._origin = 0
        self._connections: list[tuple[int, bool]] = []  # line, whether it says "hold"
        self._read()

    def _read(self) -> None:
        session = section = Section(0, [b""] * 4, 0)
        for number, line in enumerate(self.lines):
            kind = line[:2]
            if kind == b"a=":
                token, _, value = line.partition(b":")
                meaning = _ATTRIBUTES.get(token)
                if meaning is None:
                    continue
                if meaning == _FORMAT:
                    section.about.append((number, token, value))
                elif meaning == _DIRECTION:
                    section.direction = line[2:].rstrip(b"\r")
                elif meaning == _ICE:
                    self._dropped.add(number)
                elif meaning == _MUX:
                    section.mux = True
                else:
                    section.rtcp_line = number
                    section.rtcp_host, section.rtcp_port = _read_rtcp(line)
            elif kind == b"c=":
                connection = _read_connection(line)
                section.connection = section.connection or connection
                self._connections.append((number, connection[1]))
            elif kind == b"m=":
                section = self._begin_section(number, line)
            elif kind == b"o=" and not self._origin:
                self._origin = number
        if not self._origin:
            raise UnusableSDP("the session description has no o= line")
        if session.rtcp_line >= 0:
            self._dropped.add(session.rtcp_line)  # a=rtcp belongs to a stream (RFC 3605 section 2.1)
        for section in self.sections:
            self._resolve(section, session)

    def _begin_section(self, number: int, line: bytes) -> Section:
        if len(self.sections) == MAX_SECTIONS:
            raise UnusableSDP(f"the session description has more than {MAX_SECTIONS} m= lines")
        fields = [field for field in line[2:].rstrip(b"\r").split(b" ") if field]
        if not 4 <= len(fields) <= _MAX_FORMATS + 3:
            raise UnusableSDP("an m= line does not have a media type, a port, a protocol and its formats")
        port, several, count = fields[1].partition(b"/")
        section = Section(number, fields, _read_port(port, "m="))
        if several and count != b"1":
            section.port = 0  # hierarchical streams on consecutive ports: we relay one
        self.sections.append(section)
        return section

    def _resolve(self, section: Section, session: Section) -> None:
        """Let the session level speak where the section is silent; reject what cannot be relayed."""
        section.host = (section.connection or session.connection or ("", False))[0]
        section.direction = section.direction or session.direction or b"sendrecv"
        if not section.host or not section.fields[2].upper().startswith(_UDP_TRANSPORTS):
            section.port = 0

    @property
    def usable(self) -> bool:
        """Whether a stream is left that is neither rejected nor without an address."""
        return any(section.port for section in self.sections)

    @property
    def ended(self) -> bool:
        """Whether its sender itself has given every stream port 0; one without m-lines ends none."""
        asked = [section.fields[1].partition(b"/")[0].strip(b"0") for section in self.sections]
        return bool(asked) and not any(asked)

    def reject(self, index: int) -> None:
        """Have the m-line at `index` go out with port 0."""
        self.sections[index].port = 0

    def restrict(self, allow: Sequence[str]) -> None:
        """Keep only the audio codecs named in `allow` (case ignored), most wanted first, with telephone-event
        and comfort noise. An audio m-line that loses all its codecs is rejected. Raises UnusableSDP when no
        m-line is left."""
        order = {name.upper(): place for place, name in enumerate(allow)}
        for section in self.sections:
            if section.port and section.rtp and section.fields[0] == b"audio":
                self._restrict_section(section, order)
        if not self.usable:
            raise UnusableSDP("no allowed codec is offered; allowed: " + ", ".join(allow), 305)

    def _restrict_section(self, section: Section, order: dict[str, int]) -> None:
        formats = section.fields[3:]
        names = {payload: _STATIC[payload][0] for payload in formats if payload in _STATIC}
        for _, token, value in section.about:
            if token == b"a=rtpmap":
                payload, _, encoding = value.partition(b" ")
                names.setdefault(payload, encoding.partition(b"/")[0].decode("ascii", "replace").upper())
        kept = sorted((order[names[payload]], place, payload) for place, payload in enumerate(formats)
                      if names.get(payload) in order)  # fmt: skip
        if all(names[payload] in _COMPANIONS for _, _, payload in kept):
            section.port = 0
            return
        chosen = [payload for _, _, payload in kept]
        chosen += [payload for payload in formats if names.get(payload) in _COMPANIONS and payload not in chosen]
        section.fields[3:] = chosen
        gone = set(formats).difference(chosen)
        self._dropped.update(number for number, _, value in section.about if value.partition(b" ")[0] in gone)

    def render(self, origin: Origin, host: str, ports: Sequence[tuple[int, int] | None]) -> bytes:
        """The description as the party of `origin` gets it: `host` (an address literal) in the origin and
        every connection, and of each m-line the (RTP, RTCP) ports from `ports`, None = port 0."""
        lines = self.lines.copy()
        family, zero = (b"IP6", b"::") if ":" in host else (b"IP4", b"0.0.0.0")
        address = b"IN %b %b" % (family, host.encode("ascii"))
        connection = b"c=" + address + self._cr
        for number, held in self._connections:
            lines[number] = b"c=IN %b %b%b" % (family, zero, self._cr) if held else connection
        dropped = self._dropped.copy()
        for section, pair in zip(self.sections, ports, strict=True):
            kind, _, *rest = section.fields
            lines[section.line] = b"m=%b %d %b%b" % (kind, pair[0] if pair else 0, b" ".join(rest), self._cr)
            if section.rtcp_line >= 0:
                if pair:
                    rtcp = pair[section.rtcp_port != section.port]
                    lines[section.rtcp_line] = b"a=rtcp:%d %b%b" % (rtcp, address, self._cr)
                else:
                    dropped.add(section.rtcp_line)
        start = self._origin
        tail = b"\n".join([line for number, line in enumerate(lines) if number > start and number not in dropped]
                          if dropped else lines[start + 1 :])  # fmt: skip
        return b"%b\n%b%b\n%b" % (b"\n".join(lines[:start]), origin.line(address, tail), self._cr, tail)


class Origin:
    """The o= line (RFC 8866 section 5.2) of what we say to one party: one session id for the whole call,
    and a version that grows when, and only when, what we say has changed (RFC 3264 section 8)."""

    __slots__ = ("_last", "_session", "_version")

    def __init__(self, session: int) -> None:
        self._session = session
        self._version = 0
        self._last = 0

    def line(self, address: bytes, body: bytes) -> bytes:
        """The line, without its end, for a description whose other lines are `body`."""
        said = hash((address, body))
        if said != self._last or not self._version:
            self._last = said
            self._version += 1
        return b"o=- %d %d %b" % (self._session, self._version, address)


def _read_port(text: bytes, where: str) -> int:
    if not 0 < len(text) <= 5 or not text.isdigit() or int(text) > 65535:
        raise UnusableSDP(f"an {where} line has no port from 0 to 65535")
    return int(text)


def _read_rtcp(line: bytes) -> tuple[str, int]:
    """Host ("" = the stream's) and port of an a=rtcp line (RFC 3605 section 2.1)."""
    port, _, connection = line.partition(b":")[2].rstrip(b"\r").partition(b" ")
    host = _read_connection(b"c=" + connection)[0] if connection else ""
    return host, _read_port(port, "a=rtcp")


@lru_cache(maxsize=1024)
def _read_connection(line: bytes) -> tuple[str, bool]:
    """Host of a c= line ("" when it is no unicast literal) and whether it asks for silence (0.0.0.0)."""
    fields = line[2:].rstrip(b"\r").split(b" ")
    families = {b"IP4": AF_INET, b"IP6": AF_INET6}
    if len(fields) != 3 or fields[0] != b"IN" or fields[1] not in families:
        return "", False
    family = families[fields[1]]
    try:
        packed = inet_pton(family, fields[2].decode("ascii"))
    except (OSError, ValueError):
        return "", False  # a domain name, or nonsense
    if packed[0] == 0xFF if family == AF_INET6 else packed[0] >= 224:
        return "", False  # multicast and broadcast are not for phones
    return inet_ntop(family, packed), not any(packed)
