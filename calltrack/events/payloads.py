"""What is posted to a webhook: an event as a body, in the webhook's format. Pure.

"roistat" has the field names of Roistat's notifications about calls, at the start and after the end, so that what was
made for those works with a changed address; "events" is the event itself.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Mapping
from urllib.parse import urlsplit

import msgspec

from calltrack.events.ga4 import measurement
from calltrack.events.model import CallAnswered, CallEnded, CallEvent, CallMissed, Event, encode
from calltrack.events.templates import render
from calltrack.events.webhooks import Webhook
from calltrack.tracking.model import Visit

# What a visit may tell of itself, null where it does not: Roistat's names.
VISIT_FIELDS = (
    "landing_page", "referrer", "domain", "ip", "city", "country", "first_visit", "google_client_id",
    "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content",
    "roistat_param_1", "roistat_param_2", "roistat_param_3", "roistat_param_4", "roistat_param_5",
)  # fmt: skip
MOST_LEVELS = 10  # of a marker that are told one by one


def body_of(webhook: Webhook, event: Event, visit: Mapping[str, Any], link: str) -> bytes:
    """The body of a request. `visit`: fields of `VISIT_FIELDS`; `link`: where the recording is, "" = nowhere.
    Raises InvalidField, as far as the format can refuse an event."""
    if webhook.format == "events":
        return encode(event)
    fields = roistat_fields(event, visit, link)
    if webhook.format == "template":
        return render(webhook.template, webhook.content_type, {**fields, **_plain(event)})
    if webhook.format == "ga4":
        return measurement(event, visit)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def roistat_fields(event: Event, visit: Mapping[str, Any], link: str) -> dict[str, Any]:
    """The event with Roistat's field names; what is not about a call keeps its own."""
    if not isinstance(event, CallEvent):
        return _plain(event)
    created = event.created if isinstance(event, CallEnded) else event.at
    fields: dict[str, Any] = {
        "id": event.call,
        "event": event.type,
        "event_id": event.id,
        "project": event.project,
        "caller": event.caller,
        "callee": event.callee,
        "visit_id": None if event.visit is None else str(event.visit),
        "marker": event.marker,
        "order_id": None,
        "date": roistat_time(created),
        "custom_fields": [],
        **{name: visit.get(name) for name in VISIT_FIELDS},
    }
    if fields["domain"] is None and fields["landing_page"]:
        fields["domain"] = _host(fields["landing_page"])
    levels = event.marker.split("_", MOST_LEVELS - 1) if event.marker else []
    fields |= {f"source_level_{number}": level for number, level in enumerate(levels, 1)}
    match event:
        case CallEnded():
            fields |= {
                "duration": round(event.duration),
                "waiting_time": round(event.waiting_time),
                "answer_duration": round(event.answer_duration),
                "status": event.status,
                "link": link,
                "target": event.target,
                "target_call": event.target_call,
                "new_caller": event.new_caller,
                "hangup": event.hangup,
                "reason": event.reason,
                "cost": event.cost,
                "currency": event.currency,
                "media": event.media.verdict,
            }
        case CallMissed():
            fields |= {"status": event.status, "waiting_time": round(event.waiting_time), "reason": event.reason}
        case CallAnswered():
            fields |= {"target": event.target, "waiting_time": round(event.waiting_time)}
    return fields


def fields_of_visit(visit: Visit) -> dict[str, Any]:
    """What a visit tells, by `VISIT_FIELDS`; what is empty, or was blanked, is null."""
    fields: dict[str, Any] = {
        "landing_page": visit.landing_page,
        "referrer": visit.referrer,
        "ip": visit.address,
        "first_visit": str(visit.number) if visit.previous is None else None,
        **{name: value for name, value in visit.utm.items() if name in VISIT_FIELDS},
    }
    return {name: value or None for name, value in fields.items()}


def roistat_time(milliseconds: int) -> str:
    """``2026-11-23 18:03:20``, UTC."""
    return f"{datetime.fromtimestamp(milliseconds // 1000, timezone.utc):%Y-%m-%d %H:%M:%S}"


def _host(page: str) -> str | None:
    try:
        return urlsplit(page if "//" in page else "//" + page).hostname
    except ValueError:
        return None


def _plain(event: Event) -> dict[str, Any]:
    return msgspec.to_builtins(event)
