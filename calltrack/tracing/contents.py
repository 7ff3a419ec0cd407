"""What people see of a traced message: its title, and its text without secrets. Reads start lines and a few headers.

Text from the network is shown as it came but for what could steer a terminal.
"""

from __future__ import annotations

import re
from functools import lru_cache

from calltrack.tracing.message import Traced
from calltrack.tracking.model import LadderStep

HIDDEN = "(hidden)"
_CREDENTIALS = re.compile(rb"(?im)^((?:proxy-)?authorization[ \t]*:[ \t]*)([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)")
_ANSWER = re.compile(rb'(?i)\b(response|rspauth)(\s*=\s*)("(?:[^"\\\r\n]|\\.)*"?|[^,\s]+)')
_KEYS = re.compile(rb"(?im)^(a=(?:crypto:[0-9]+ [!-~]+ |ice-pwd:|key-mgmt:[!-~]+ )|k=[a-z]+:)([^\r\n]+)")
_CSEQ = re.compile(rb"(?im)^cseq[ \t]*:[ \t]*[0-9]+[ \t]+([!-~]{1,32})")


@lru_cache(maxsize=1024)
def title(status: bytes, method: bytes) -> str:
    """What a step of a ladder says: all calls share the few there are. `status`: code and reason, b"" of a request."""
    name = method.decode("ascii", "replace")
    return f"{status.decode('utf-8', 'replace')} ({name})" if status else name


def status_of(start: bytes) -> bytes:
    """Code and reason of a status line, cut to what a ladder has room for; b"" of a request line."""
    return start[8:72] if start.startswith(b"SIP/2.0 ") else b""


def step(message: Traced, began_ms: int) -> LadderStep:
    """The message in a ladder that begins at `began_ms` (since the Unix epoch)."""
    head, _, body = message.data.partition(b"\r\n\r\n")
    start = head[: head.find(b"\r\n")]
    found = _CSEQ.search(head)
    method = found[1] if found else start.partition(b" ")[0][:32]
    at_ms = round(message.at_us / 1000) - began_ms
    return LadderStep(at_ms, message.side, message.sent, title(status_of(start), method), bool(body))


def masked(data: bytes) -> bytes:
    """The message without what would let somebody in: digests, credentials of other schemes, media keys."""
    data = _CREDENTIALS.sub(_without_answer, data)
    return _KEYS.sub(rb"\1" + HIDDEN.encode(), data)


def _without_answer(match: re.Match[bytes]) -> bytes:
    name, value = match[1], match[2]
    if not value.lower().startswith(b"digest"):
        scheme = value.partition(b" ")[0]
        return name + scheme + b" " + HIDDEN.encode()
    return name + _ANSWER.sub(rb'\1\2"' + HIDDEN.encode() + b'"', value)


def lines(message: Traced) -> list[str]:
    """The message as text, line by line."""
    text = masked(message.data).decode("utf-8", "replace").removesuffix("\r\n")
    return ["".join(char if char.isprintable() or char == "\t" else "?" for char in line) for line in text.split("\r\n")]
