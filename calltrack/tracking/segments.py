"""Which visits a scenario is for: ``source like direct_* and utm_term != cheap``.

Knows the little language and the fields of a visit; not what a match leads to.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Callable

from calltrack.errors import InvalidField, Sentence
from calltrack.tracking.model import Visit
from calltrack.tracking.patterns import wildcard
from calltrack.tracking.targets import quoted

FIELDS = (
    "source",
    "landing_page",
    "referrer",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
)
MAX_SEGMENT = 500  # characters
FORM = "'source like direct_*', 'utm_medium = cpc and utm_term not like *cheap*', conditions joined by and"

Match = Callable[[Visit], bool]

_AND = re.compile(r"""\s+and\s+(?=[a-z_]+\s+(?:not\s+like\b|like\b|=|!=))""", re.IGNORECASE)
_CONDITION = re.compile(r"(?P<field>[a-z_]+)\s*(?P<op>not\s+like\s|like\s|!=|=)\s*(?P<value>.*)\Z", re.IGNORECASE)


def check_segment(text: str) -> str:
    """A segment as a person wrote it, tidied. Raises InvalidField."""
    tidy = text.strip(" ")
    if not tidy or len(tidy) > MAX_SEGMENT or not tidy.isprintable():
        raise InvalidField(
            "segment",
            Sentence(
                "{text} is no segment; allowed: 1 to {most} characters, as {form}",
                text=quoted(text),
                most=MAX_SEGMENT,
                form=Sentence(FORM),
            ),
        )
    segment(tidy)
    return tidy


@lru_cache(maxsize=4096)
def segment(text: str) -> Match:
    """What says whether a visit belongs to the segment. Values compare without regard to case; ``*`` in one after
    `like` is anything. Raises InvalidField."""
    conditions = [_condition(part, text) for part in _AND.split(text)]
    if len(conditions) == 1:
        return conditions[0]
    return lambda visit: all(holds(visit) for holds in conditions)


def _condition(part: str, whole: str) -> Match:
    found = _CONDITION.match(part.strip(" "))
    if found is None:
        raise InvalidField(
            "segment",
            Sentence(
                "{part} in {whole} is no condition; allowed: {form}",
                part=quoted(part),
                whole=quoted(whole),
                form=Sentence(FORM),
            ),
        )
    field, operator = found["field"].lower(), " ".join(found["op"].lower().split())
    if field not in FIELDS:
        raise InvalidField(
            "segment",
            Sentence(
                "{field} is nothing that a visit has; allowed: {allowed}", field=quoted(field), allowed=", ".join(FIELDS)
            ),
        )
    value = found["value"].strip(" ")
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    value = value.lower()
    negated = operator in ("not like", "!=")
    if operator in ("like", "not like"):
        matches = wildcard(value)
        return lambda visit: matches(_value(visit, field)) is not negated
    return lambda visit: (_value(visit, field) == value) is not negated


def _value(visit: Visit, field: str) -> str:
    if field == "source":
        return visit.marker.lower()
    if field.startswith("utm_"):
        return visit.utm.get(field, "").lower()
    return getattr(visit, field).lower()
