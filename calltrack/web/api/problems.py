"""What went wrong, as problem details (RFC 9457): errors of the services -> a status and words for a person.

Knows errors and HTTP statuses, no requests.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec

from calltrack.access.people import TooManyTries
from calltrack.errors import CalltrackError, InvalidField, NoSuchObject, NotAllowed, StoreUnavailable, TooManyRequests

MEDIA_TYPE = "application/problem+json"

_AT = re.compile(r" - at `\$\.?([^`]*)`\Z")
_NAMED = re.compile(r"(?:missing required|unknown) field `([^`]*)`")


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Problem details (RFC 9457). `field` names what was refused, where it was a single value."""

    type: str
    title: str
    status: int
    detail: str
    field: str = ""
    headers: dict[str, str] = {}  # of the response, not of its body

    def body(self) -> bytes:
        return msgspec.json.encode(msgspec.structs.replace(self, headers={}))


def problem(status: int, kind: str, detail: str, field: str = "", headers: dict[str, str] | None = None) -> Problem:
    """A problem of a kind of ours, ``urn:calltrack:KIND``."""
    title = HTTPStatus(status).phrase
    return Problem(
        type=f"urn:calltrack:{kind}", title=title, status=status, detail=detail, field=field, headers=headers or {}
    )


def of_error(error: CalltrackError) -> Problem:
    """What an error of a service means over HTTP."""
    match error:
        case InvalidField():
            return problem(422, "invalid-field", error.message, error.field)
        case NoSuchObject():
            return problem(404, "not-found", str(error))
        case TooManyTries():
            return problem(429, "too-many-tries", str(error), headers={"Retry-After": str(max(1, round(error.wait)))})
        case TooManyRequests():
            return problem(429, "too-many-requests", str(error), headers={"Retry-After": str(error.retry_after)})
        case NotAllowed():
            return problem(403, "not-allowed", str(error))
        case StoreUnavailable():
            return problem(503, "store-unavailable", str(error), headers={"Retry-After": "2"})
    return problem(500, "failed", "calltrack could not do that; its log says why")


def of_value(error: msgspec.ValidationError) -> InvalidField:
    """A value of the wrong type or shape, by the field it stands in."""
    text = str(error)
    at = _AT.search(text)
    named = _NAMED.search(text)
    path = at[1] if at else ""
    if named:
        path = f"{path}.{named[1]}" if path else named[1]
    words = text[: at.start()] if at else text
    return InvalidField(path or "body", words[:1].lower() + words[1:].replace("`", '"'))


def not_json(error: Any) -> Problem:
    """A body that is no JSON."""
    return problem(400, "not-json", f"the body is no JSON: {error}", "body")
