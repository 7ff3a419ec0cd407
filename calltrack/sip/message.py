"""Requests and responses: bytes <-> values, lazily (RFC 3261 section 7). Knows no transport, no state.

A message is split into header lines once. What a header means is worked out when somebody asks for
it, and kept. `parse` accepts whatever has a start line; `defect` and `validate` say what is wrong
with the rest, so that a malformed request can still be answered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Iterable

from calltrack.errors import CalltrackError, MalformedMessage, SIPError
from calltrack.sip.grammar import HEADER_KEYS, LWS, header_key, is_token, parse_uint, split_list
from calltrack.sip.status import REASONS
from calltrack.sip.uri import NameAddr, parse_name_addr
from calltrack.sip.via import Via, parse_via

MAX_MESSAGE = 65535  # bytes
MAX_HEAD = 16384  # bytes up to and including the empty line
MAX_HEADERS = 256  # lines


class UnsafeHeader(CalltrackError):
    """A value would have put CR, LF or NUL into a header; the message is not sent."""


class VersionNotSupported(SIPError):
    status, reason = 505, "Version Not Supported"


@lru_cache(maxsize=1024)
def _parse_cseq(value: bytes) -> tuple[int, bytes]:
    number, _, method = value.replace(b"\t", b" ").partition(b" ")
    method = method.strip(LWS)
    if not is_token(method):
        raise MalformedMessage("a CSeq without a method")
    return parse_uint(number, "CSeq", 2**31 - 1), method


class Message:
    """What requests and responses share. Header names are asked for in lower case, in full."""

    __slots__ = ("_branch", "_cseq", "_from", "_index", "_repeated", "_to", "_via", "body", "defect")

    def __init__(self, index: dict[bytes, bytes], repeated: dict[bytes, list[bytes]], body: bytes, defect: str):
        self._index = index
        self._repeated = repeated
        self.body = body
        self.defect = defect  # what `parse` found wrong; "" when nothing
        self._via: Via | None = None
        self._branch: bytes | None = None
        self._cseq: tuple[int, bytes] | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None

    def get(self, key: bytes) -> bytes | None:
        """The value of the first header with this lower-case name, or None."""
        return self._index.get(key)

    def all(self, key: bytes) -> list[bytes]:
        """The values of all headers with this name, in order, one per header line."""
        values = self._repeated.get(key)
        if values is not None:
            return values
        value = self._index.get(key)
        return [] if value is None else [value]

    def replace_first(self, key: bytes, value: bytes) -> None:
        """Put `value` in the place of the first header of this name. What was parsed of it stays as it was."""
        self._index[key] = value
        if key in self._repeated:
            self._repeated[key][0] = value

    def items(self, key: bytes) -> list[bytes]:
        """The values of all headers with this name, comma lists taken apart (section 7.3.1)."""
        if key not in self._index:  # as most of what is asked for
            return []
        return [item for value in self.all(key) for item in split_list(value)]

    def tokens(self, key: bytes) -> list[bytes]:
        """As `items`, in lower case: option tags, methods are compared this way in practice."""
        return [item.lower() for item in self.items(key)]

    def names(self) -> Iterable[bytes]:
        """The lower-case names of all headers that are present."""
        return self._index.keys()

    @property
    def via(self) -> Via:
        """The topmost Via; raises MalformedMessage."""
        if self._via is None:
            value = self._index.get(b"via")
            if value is None:
                raise MalformedMessage("no Via header")
            items = split_list(value)
            if not items:
                raise MalformedMessage("an empty Via header")
            self._via = parse_via(items[0])
        return self._via

    @property
    def branch(self) -> bytes:
        """The branch of the topmost Via; raises MalformedMessage. All that a response is matched by."""
        if self._branch is None:
            value = self._index.get(b"via", b"")
            start = value.find(b";branch=z9hG4bK")
            if self._via is not None or start < 0 or b"," in value or b'"' in value:
                self._branch = self.via.branch
            else:
                end = value.find(b";", start + 8)
                self._branch = (value[start + 8 :] if end < 0 else value[start + 8 : end]).rstrip(LWS)
        return self._branch

    @property
    def cseq(self) -> tuple[int, bytes]:
        """Sequence number and method; raises MalformedMessage."""
        if self._cseq is None:
            value = self._index.get(b"cseq")
            if value is None:
                raise MalformedMessage("no CSeq header")
            self._cseq = _parse_cseq(value)
        return self._cseq

    @property
    def call_id(self) -> bytes:
        value = self._index.get(b"call-id")
        if not value:
            raise MalformedMessage("no Call-ID header")
        return value

    @property
    def from_(self) -> NameAddr:
        if self._from is None:
            value = self._index.get(b"from")
            if value is None:
                raise MalformedMessage("no From header")
            self._from = parse_name_addr(value)
        return self._from

    @property
    def to(self) -> NameAddr:
        if self._to is None:
            value = self._index.get(b"to")
            if value is None:
                raise MalformedMessage("no To header")
            self._to = parse_name_addr(value)
        return self._to

    @property
    def contact(self) -> bytes | None:
        """The URI of the first Contact as it came, or None; raises MalformedMessage."""
        items = self.items(b"contact")
        return parse_name_addr(items[0]).uri if items else None

    @property
    def content_type(self) -> bytes:
        """Media type of the body in lower case without parameters; b"" when not given."""
        return (self._index.get(b"content-type") or b"").partition(b";")[0].strip(LWS).lower()

    @property
    def sdp(self) -> bytes:
        """The body when it is application/sdp, else b""."""
        return self.body if self.body and self.content_type == b"application/sdp" else b""

    def validate(self) -> None:
        """Check what every message must have (section 8.1.1); raises MalformedMessage."""
        if self.defect:
            raise MalformedMessage(self.defect)
        if self._repeated:
            for key in (b"from", b"to", b"call-id", b"cseq", b"content-length"):  # these stand once; Via may repeat
                if key in self._repeated:
                    raise MalformedMessage(f"more than one {key.decode()} header")
        self.branch, self.cseq, self.call_id, self.from_, self.to  # noqa: B018 - read for their errors


class Request(Message):
    __slots__ = ("method", "uri", "version")

    def __init__(self, method: bytes, uri: bytes, version: bytes, *parts) -> None:
        super().__init__(*parts)
        self.method = method
        self.uri = uri
        self.version = version

    @property
    def summary(self) -> str:
        return self.method.decode("ascii", "replace")

    def validate(self) -> None:
        """As of any message; besides, raises VersionNotSupported."""
        super().validate()
        self.via  # noqa: B018 - answers go by all of it
        if b"," in self._index[b"via"]:
            for value in self.items(b"via"):
                parse_via(value)
        if self.version != b"SIP/2.0" and self.version.upper() != b"SIP/2.0":
            raise VersionNotSupported("only SIP/2.0 is spoken here")
        if self.cseq[1] != self.method:
            raise MalformedMessage("the CSeq method is not the request's method")

    def read_foreign_via(self) -> None:
        """Of a request in another version of SIP, whose Via says so too: read it as ours, so that its sender
        can be told (section 21.5.6)."""
        value = self._index.get(b"via", b"")
        if value.startswith(self.version + b"/"):
            try:
                self._via = parse_via(split_list(b"SIP/2.0" + value[len(self.version) :])[0])
            except MalformedMessage:
                pass  # whoever asks for it is told

    @property
    def max_forwards(self) -> int:
        """Hops left; 70 when not given (section 8.1.1.6); raises MalformedMessage."""
        value = self._index.get(b"max-forwards")
        return 70 if value is None else parse_uint(value, "Max-Forwards", 255)


class Response(Message):
    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: bytes, *parts) -> None:
        super().__init__(*parts)
        self.status = status
        self.reason = reason

    @property
    def summary(self) -> str:
        method = self._cseq[1].decode("ascii", "replace") if self._cseq else "?"
        return f"{self.status} {self.reason.decode('utf-8', 'replace')} ({method})"


def parse(data: bytes) -> Request | Response:
    """One whole message as it came in a datagram or out of a `framing.Framer`.

    Raises MalformedMessage when there is no start line to go by. Anything else that is wrong is in
    `defect`. The body is cut to Content-Length; one that is shorter is a defect (section 18.3).
    """
    end, defect = data.find(b"\r\n\r\n", 0, MAX_HEAD), ""
    if end < 0:
        end, defect = data.rfind(b"\r\n", 0, MAX_HEAD), "no empty line after the headers"
        if data.find(b"\r\n", 0, end) < 0:
            raise MalformedMessage(defect)
    head, body = data[:end], data[end + 4 :]
    if b"\r\n " in head or b"\r\n\t" in head:  # folded lines (section 7.3.1)
        head = unfold(head)
    start, *lines = head.split(b"\r\n")
    index: dict[bytes, bytes] = {}
    repeated: dict[bytes, list[bytes]] = {}
    if len(lines) > MAX_HEADERS:
        defect = "too many header lines"
    if b"\0" in head or head.count(b"\r") != len(lines) or head.count(b"\n") != len(lines):
        defect = "a CR, LF or NUL within a line"
    # White space around values is rare: one look at the whole head spares two at each line.
    padded = b"  " in head or b" \r" in head or b"\t" in head or head[-1:] == b" "
    for line in lines:
        name, colon, value = line.partition(b": ")
        key = HEADER_KEYS.get(name)
        if key is None or padded:
            name, colon, value = line.partition(b":")
            key, value = header_key(name), value.strip(LWS)
            if not colon or not key:
                defect = defect or "a header line without a name and a colon"
                continue
        if key not in index:
            index[key] = value
        elif key in repeated:
            repeated[key].append(value)
        else:
            repeated[key] = [index[key], value]
    length = index.get(b"content-length")
    if length is not None:
        try:
            size = parse_uint(length, "Content-Length", MAX_MESSAGE)
        except MalformedMessage as error:
            defect = defect or error.detail
        else:
            if size > len(body):
                defect = defect or "the body is shorter than Content-Length"
            body = body[:size]
    return _start(start, index, repeated, body, defect)


def unfold(head: bytes) -> bytes:
    """A head with each of its folded lines in one (section 7.3.1)."""
    lines = head.split(b"\r\n")
    out = [lines[0]]
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            out[-1] = out[-1].rstrip(LWS) + b" " + line.lstrip(LWS)
        else:
            out.append(line)
    return b"\r\n".join(out)


@lru_cache(maxsize=256)
def _parse_status(line: bytes) -> tuple[int, bytes]:
    code, _, reason = line[8:].partition(b" ")
    if len(code) != 3:
        raise MalformedMessage("a status code that has not three digits")
    status = parse_uint(code, "status code", 699)
    if status < 100:
        raise MalformedMessage("a status code under 100")
    return status, reason


def _start(line: bytes, *parts) -> Request | Response:
    if line[:8] == b"SIP/2.0 ":
        return Response(*_parse_status(line), *parts)
    words = line.split(b" ")
    method, uri, version = words[0], words[1] if len(words) > 1 else b"", words[-1]
    if not version:
        version = line.rstrip(b" ").rpartition(b" ")[2]
    if not is_token(method) or version[:4].upper() != b"SIP/":
        raise MalformedMessage("a start line that is neither a request nor a response")
    request = Request(method, uri, version, *parts)
    if len(words) != 3 or not uri:
        request.defect = request.defect or "a request line that is not three words"
    if version != b"SIP/2.0":
        request.read_foreign_via()
    return request


def serialise(start: bytes, lines: list[bytes], body: bytes = b"", *, echo: bool = False) -> bytes:
    """Join a start line, whole header lines (`Name: value`) and a body; adds Content-Length.

    Raises UnsafeHeader when any of them contains CR, LF or NUL: the one place that stands between text from a
    web page and a forged header. `echo`: the lines go back to their sender, with its own quoted NUL (section 25.1).
    """
    head = b"%b\r\n%b\r\nContent-Length: %d\r\n\r\n" % (start, b"\r\n".join(lines), len(body))
    ends = len(lines) + 3
    nul = b"\0" in head and not (echo and head.count(b"\0") == head.count(b"\\\0"))
    if nul or head.count(b"\n") != ends or head.count(b"\r") != ends:
        raise UnsafeHeader("a header value contains CR, LF or NUL")
    return head + body


def respond(
    request: Request,
    status: int,
    lines: list[bytes] | tuple[bytes, ...] = (),
    body: bytes = b"",
    *,
    to_tag: bytes = b"",
    reason: bytes = b"",
) -> bytes:
    """The bytes of a response to `request` (section 8.2.6.2): Via, From, To, Call-ID, CSeq are copied,
    and Record-Route into responses that make a dialog. `to_tag` is added to To where it has none, but for 100."""
    head = [b"Via: " + via for via in request.all(b"via")]
    to = request.get(b"to") or b""
    if status > 100 and to_tag and not to_is_tagged(request):
        to += b";tag=" + to_tag
    head.append(b"From: " + (request.get(b"from") or b""))
    head.append(b"To: " + to)
    head.append(b"Call-ID: " + (request.get(b"call-id") or b""))
    head.append(b"CSeq: " + (request.get(b"cseq") or b""))
    if status == 100:  # section 8.2.6.1
        head += [b"Timestamp: " + stamp for stamp in request.all(b"timestamp")]
    elif status < 300:
        head += [b"Record-Route: " + route for route in request.all(b"record-route")]
    head += lines
    return serialise(b"SIP/2.0 %d %b" % (status, reason or REASONS.get(status, b"Unknown")), head, body, echo=True)


def to_is_tagged(request: Request) -> bool:
    try:
        return bool(request.to.tag)
    except MalformedMessage:
        return False
