"""Make a marketing marker safe to store, log and send on. Knows Unicode; not where markers come from."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_BYTES = 255  # of UTF-8

# What may steer a terminal, a log or a header, or turn the text around it: C0 and C1 controls, line and
# paragraph separators, bidirectional marks, lone surrogates, the byte order mark.
_UNSAFE = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


@lru_cache(maxsize=4096)
def clean_marker(text: str) -> str:
    """`text` without unsafe characters and outer spaces, cut at 255 bytes between two characters."""
    text = _UNSAFE.sub("", text).strip(" ")
    return text.encode()[:MAX_BYTES].decode(errors="ignore").rstrip(" ")
