"""New INVITEs as bytes: which message is one, and what its refusal copies (RFC 3261 sections 8.2.6.2, 8.2.7).

For those that are refused because too much is to be done: reading them whole would be the larger part of the work.
What is not written plainly is left to `message.parse`.
"""

from __future__ import annotations

import re

from calltrack.errors import MalformedMessage
from calltrack.sip.message import MAX_HEAD, Request, parse

# Whole lines as the copied ones are mostly written, with the CRLF before them; and the beginnings of folded lines and of
# what may be a Via that is written another way.
_LINES = re.compile(rb"\r\n(?:(?:Via|From|To|Call-ID|CSeq): [^\r\n\0]*|[ \tVv])")
_ALL = {b"\r\nVi", b"\r\nFr", b"\r\nTo", b"\r\nCa", b"\r\nCS"}


def is_new_invite(data: bytes) -> bool:
    """Whether a message is an INVITE outside of a dialog, perhaps one that came before."""
    if data[:7] != b"INVITE ":
        return False
    at = data.find(b"\r\nTo: ", 0, MAX_HEAD)
    end = data.find(b"\r\n", at + 6)
    if at > 0 and data[end + 2 : end + 3] not in b" \t" and at < data.find(b"\r\n\r\n"):
        if b"tag" not in data[at:end].lower():
            return True
    try:
        invite = parse(data)
        return type(invite) is Request and not invite.to.tag
    except MalformedMessage:
        return False  # it is answered without much work


def copied_lines(data: bytes) -> list[bytes] | None:
    """The header lines of a request that its answers copy, as they stand there, each with the CRLF before it. None when
    one is missing or there twice, or may be written in a way that is not looked for here: folded, or a Via as `v`.
    None of them has a CR, LF or NUL within."""
    lines = _LINES.findall(data, 0, data.find(b"\r\n\r\n", 0, MAX_HEAD) + 2)
    names = [line[:4] for line in lines]
    if len(names) - names.count(b"\r\nVi") != 4 or set(names) != _ALL:
        return None
    return lines
