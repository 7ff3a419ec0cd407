"""Why a session description is not accepted, in a Warning header (RFC 3261 section 20.43). Knows one header."""

from __future__ import annotations

import re
from typing import Iterable, NamedTuple

from calltrack.sip.grammar import quote, unquote

INCOMPATIBLE_ADDRESS, INCOMPATIBLE_FORMAT, MISCELLANEOUS = 301, 305, 399
MAX_TEXT = 150  # characters of somebody else's text that go on

_VALUE = re.compile(rb'(3[0-9]{2}) [^ "]{1,255} ("[^"\\]*(?:\\.[^"\\]*)*")\Z', re.DOTALL)


class Warning(NamedTuple):
    """What is wrong, by number and in words for a person."""

    code: int  # 300 to 399
    text: str

    def line(self, agent: bytes) -> bytes:
        """The header line; `agent`: who says so, as `host:port`. Whatever the text holds stays within its quotes."""
        text = "".join(char if char.isprintable() else "?" for char in self.text)
        return b"Warning: %d %b %b" % (self.code, agent, quote(text.encode()))


def read_warning(values: Iterable[bytes]) -> Warning | None:
    """The first of these Warning values that says why a description was refused. Who said so is left out."""
    for value in values:
        found = _VALUE.match(value)
        if found is not None:
            return Warning(int(found[1]), unquote(found[2]).decode("utf-8", "replace")[:MAX_TEXT])
    return None
