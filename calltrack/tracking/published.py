"""What values of call tracking look like outside: field by field, ready for JSON.

The command line, the page, the API and webhooks show the same. Knows names and formats; not where they go.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from calltrack.tracking.model import CallRecord, LadderStep, Lease, Recording, Visit

_TIMES = ("created", "ringing", "answered", "ended")


class PublishedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A SIP message of a call: when, between whom, which."""

    at_ms: int  # milliseconds since the call was created
    side: str
    sent: bool
    text: str
    sdp: bool


_OTHERWISE: dict[str, Any] = {
    **{name: str | None for name in _TIMES},
    "created": str,
    "recording": Recording | Literal[""] | None,
    "ladder": tuple[PublishedStep, ...] | UnsetType,
}

PublishedCall = msgspec.defstruct(
    "Call",
    [(field.name, _OTHERWISE.get(field.name, field.type), UNSET) if field.name == "ladder" else
     (field.name, _OTHERWISE.get(field.name, field.type)) for field in msgspec.structs.fields(CallRecord)],
    frozen=True,
    kw_only=True,
)  # fmt: skip
"""The shape that `published_call` gives: a `CallRecord` with its times as text."""


def published(value: Any) -> dict[str, Any]:
    """A project, scenario or number with its fields as they are."""
    return msgspec.to_builtins(value)


def published_call(record: CallRecord, ladder: bool = True) -> dict[str, Any]:
    """A call record: times in ISO 8601, UTC, with milliseconds; durations in seconds; `ladder`: whether to
    show the SIP messages, each as an object."""
    fields = msgspec.to_builtins(record)
    for name in _TIMES:
        fields[name] = None if fields[name] is None else iso_time(fields[name])
    del fields["ladder"]
    if ladder:
        fields["ladder"] = [
            dict(zip(LadderStep.__struct_fields__, msgspec.structs.astuple(step))) for step in record.ladder
        ]
    return fields


def published_visit(visit: Visit) -> dict[str, Any]:
    """A visit without its secret; the time in ISO 8601, UTC."""
    fields = msgspec.to_builtins(visit)
    del fields["secret"]
    fields["started"] = iso_time(visit.started)
    return fields


def published_lease(lease: Lease) -> dict[str, Any]:
    """A lease with times in ISO 8601, UTC; `ended` is None while it is active."""
    fields = msgspec.to_builtins(lease)
    fields["begun"] = iso_time(lease.begun)
    fields["ended"] = None if lease.ended is None else iso_time(lease.ended)
    return fields


def iso_time(milliseconds: int) -> str:
    """Milliseconds since the Unix epoch as ``2026-11-23T18:00:00.123Z``."""
    seconds, fraction = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{fraction:03d}Z"
