"""The pieces of RFC 3261 section 25 that everything else is read with. Knows bytes; no messages.

Text from the network is hostile: white space is SP and HT only, integers are ASCII digits only, and
nothing here uses `strip()` without arguments, `splitlines()` or a bare `int()`.
"""

from __future__ import annotations

from calltrack.errors import MalformedMessage

LWS = b" \t"

# RFC 3261 section 25.1, and the compact forms of section 7.3.3, RFC 3265, 3515, 3892, 4028, 6665.
_CANONICAL = {
    name.lower(): name
    for name in (
        b"Accept Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Authentication-Info "
        b"Authorization Call-ID Call-Info Contact Content-Disposition Content-Encoding "
        b"Content-Language Content-Length Content-Type CSeq Date Diversion Error-Info Event Expires "
        b"From History-Info In-Reply-To Info-Package Max-Forwards Min-Expires Min-SE MIME-Version "
        b"Organization P-Asserted-Identity P-Called-Party-ID P-Preferred-Identity Path Priority "
        b"Privacy Proxy-Authenticate Proxy-Authorization Proxy-Require RAck Reason Record-Route "
        b"Recv-Info Refer-To Referred-By Remote-Party-ID Replaces Reply-To Require Retry-After Route "
        b"RSeq Server Session-Expires Subject Subscription-State Supported Timestamp To Unsupported "
        b"User-Agent Via Warning WWW-Authenticate"
    ).split()
}
_COMPACT = {
    b"i": b"call-id", b"m": b"contact", b"e": b"content-encoding", b"l": b"content-length",
    b"c": b"content-type", b"f": b"from", b"s": b"subject", b"k": b"supported", b"t": b"to",
    b"v": b"via", b"o": b"event", b"u": b"allow-events", b"r": b"refer-to", b"b": b"referred-by",
    b"x": b"session-expires", b"d": b"request-disposition", b"a": b"accept-contact",
    b"j": b"reject-contact", b"n": b"identity-info", b"y": b"identity",
}  # fmt: skip

# Every spelling that is common on the wire leads to its lower-case name with one look-up.
HEADER_KEYS: dict[bytes, bytes] = {}
for _lower, _name in _CANONICAL.items():
    HEADER_KEYS[_name] = HEADER_KEYS[_lower] = HEADER_KEYS[_name.upper()] = _lower
for _short, _lower in _COMPACT.items():
    HEADER_KEYS[_short] = HEADER_KEYS[_short.upper()] = _lower

_TOKEN = bytes(
    sorted(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~")
)
_DIGITS = b"0123456789"
MAX_PARAMS = 128  # semicolons in what is read as parameters
_CONTROLS = bytes((*range(0x20), 0x7F))
_COMMON = frozenset((b"branch", b"rport", b"received", b"tag", b"lr", b"transport", b"expires", b"q"))


def is_token(text: bytes) -> bool:
    """Whether `text` is a token: 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")."""
    return bool(text) and not text.translate(None, _TOKEN)


def header_key(name: bytes) -> bytes:
    """The lower-case full name of a header as it stands before the colon; "" when it is no token."""
    key = HEADER_KEYS.get(name)
    if key is None:
        name = name.rstrip(LWS)  # HCOLON allows white space before the colon
        key = HEADER_KEYS.get(name) or (name.lower() if is_token(name) else b"")
    return key


def header_name(key: bytes) -> bytes:
    """The usual spelling of a header name."""
    return _CANONICAL.get(key) or b"-".join(part.capitalize() for part in key.split(b"-"))


def parse_uint(text: bytes, what: str, limit: int = 2**32 - 1) -> int:
    """A decimal number of one to ten digits, at most `limit`; raises MalformedMessage naming `what`."""
    if not text or len(text) > 10 or text.translate(None, _DIGITS):
        raise MalformedMessage(f"{what} is not a number")
    value = int(text)
    if value > limit:
        raise MalformedMessage(f"{what} is over {limit}")
    return value


def split_list(value: bytes) -> list[bytes]:
    """Split at commas that are neither in a quoted string nor between angle brackets (section 7.3.1)."""
    if b"," not in value:
        return [value]
    if b'"' not in value and b"<" not in value:
        return [part for part in (piece.strip(LWS) for piece in value.split(b",")) if part]
    parts, start, quoted, angle, escaped = [], 0, False, False, False
    for position, char in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            if char == 0x5C:
                escaped = True
            elif char == 0x22:
                quoted = False
        elif char == 0x22:
            quoted = True
        elif char == 0x3C:
            angle = True
        elif char == 0x3E:
            angle = False
        elif char == 0x2C and not angle:
            parts.append(value[start:position].strip(LWS))
            start = position + 1
    parts.append(value[start:].strip(LWS))
    return [part for part in parts if part]


def end_of_quoted(value: bytes, start: int) -> int:
    """The index after the closing quote of the quoted string that opens at `start`."""
    position = start + 1
    while True:
        quote = value.find(b'"', position)
        if quote < 0:
            raise MalformedMessage("a quoted string is not closed")
        slash = value.find(b"\\", position, quote)
        if slash < 0:
            return quote + 1
        position = slash + 2


def parse_params(text: bytes) -> dict[bytes, bytes | None]:
    """`;name=value;flag` as a dict with lower-case names; quoted values without their quotes.

    The first of a repeated name counts. Raises MalformedMessage on a name that is no token, and on more parameters
    than anybody means.
    """
    params: dict[bytes, bytes | None] = {}
    if text.count(b";") > MAX_PARAMS:
        raise MalformedMessage("too many parameters")
    if b'"' not in text:
        for param in text.split(b";"):
            name, equals, value = param.partition(b"=")
            name = name.strip(LWS).lower()
            if name in _COMMON or is_token(name):
                params.setdefault(name, value.strip(LWS) if equals else None)
            elif param.strip(LWS):
                raise MalformedMessage("a parameter name is not a token")
        return params
    position, end = 0, len(text)
    while position < end:
        if text[position : position + 1] in (b" ", b"\t", b";"):
            position += 1
            continue
        semicolon, quote = text.find(b";", position), text.find(b'"', position)
        if quote >= 0 and (semicolon < 0 or quote < semicolon):
            semicolon = text.find(b";", end_of_quoted(text, quote))
        stop = end if semicolon < 0 else semicolon
        name, equals, value = text[position:stop].partition(b"=")
        name, value = name.strip(LWS).lower(), value.strip(LWS)
        if not is_token(name):
            raise MalformedMessage("a parameter name is not a token")
        if value[:1] == b'"':
            value = unquote(value)
        params.setdefault(name, value if equals else None)
        position = stop + 1
    return params


def unquote(value: bytes) -> bytes:
    """The text of a quoted string, or the value itself when it is not quoted."""
    if len(value) < 2 or value[:1] != b'"' or value[-1:] != b'"':
        return value
    inner = value[1:-1]
    if b"\\" not in inner:
        return inner
    out, position = bytearray(), 0
    while position < len(inner):
        if inner[position] == 0x5C and position + 1 < len(inner):
            position += 1
        out.append(inner[position])
        position += 1
    return bytes(out)


def quote(text: bytes) -> bytes:
    """`text` as a quoted string; control characters, which no escape makes legal, are left out."""
    return b'"' + text.translate(None, _CONTROLS).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
