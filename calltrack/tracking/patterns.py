"""Patterns that people write: ``direct_*``. Knows one special character and no case; not what is matched."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Callable


def wildcard(pattern: str) -> Callable[[str], bool]:
    """What says whether a text is like `pattern`, in which ``*`` is anything and all else is itself, in any case. Takes
    time proportional to the text, however many stars there are."""
    escaped = pattern.lower().replace("[", "[[]").replace("?", "[?]")
    match = re.compile(translate(escaped)).match
    return lambda text: match(text.lower()) is not None
