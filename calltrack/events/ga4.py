"""Calls as conversions in Google Analytics 4: an event as the body of its measurement protocol, and its rules. Pure.

    {"client_id": "111.222", "events": [{"name": "call_ended", "params": {"call_status": "ANSWER", "value": 1, ...}}]}

The protocol answers 204 to whatever it is given, so its rules are kept here: what it would drop silently is refused
in words before it is sent.
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping
from urllib.parse import urlencode

from calltrack.errors import InvalidField, Sentence
from calltrack.events.model import CallEnded, CallEvent, Event

COLLECT = "https://www.google-analytics.com/mp/collect"
# Limits of the protocol: see "Limitations" in its reference.
MAX_PARAMS, MAX_NAME, MAX_VALUE, MAX_BODY = 25, 40, 100, 130_000
MAX_AGE_MS = 72 * 3_600_000  # older events are not taken
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_RESERVED_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
_RESERVED_NAMES = {
    "ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data",
    "app_exception", "app_install", "app_remove", "app_store_refund", "app_update", "app_upgrade",
    "dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error", "first_open", "first_visit",
    "in_app_purchase", "notification_dismiss", "notification_foreground", "notification_open", "notification_receive",
    "os_update", "session_start", "user_engagement",
}  # fmt: skip
_MEASUREMENT_ID = re.compile(r"G-[A-Z0-9]{4,20}\Z")


def check_stream(measurement_id: str, api_secret: str) -> None:
    """A web stream of Google Analytics. Raises InvalidField."""
    if not _MEASUREMENT_ID.match(measurement_id):
        raise InvalidField(
            "measurement_id",
            Sentence("{measurement_id} is none; it looks like G-ABC123DEF4", measurement_id=ascii(measurement_id)[:40]),
        )
    if not api_secret or not api_secret.isprintable() or not api_secret.isascii() or len(api_secret) > 100:
        raise InvalidField("api_secret", "is missing; make one in Admin, Data streams, Measurement Protocol API secrets")


def address(url: str, measurement_id: str, api_secret: str) -> str:
    """Where to post."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode({'measurement_id': measurement_id, 'api_secret': api_secret})}"


def measurement(event: Event, visit: Mapping[str, Any]) -> bytes:
    """The body for an event. Raises InvalidField with everything that the protocol would not take."""
    params = {name: value for name, value in _params(event).items() if value not in (None, "")}
    body = {
        "client_id": visit.get("google_client_id") or _client_id(event),
        "timestamp_micros": event.at * 1000,
        "non_personalized_ads": True,
        "events": [{"name": event.type.replace(".", "_"), "params": params}],
    }
    wrong = problems(body)
    if wrong:
        raise InvalidField("ga4", "; ".join(wrong))
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def problems(body: Mapping[str, Any]) -> list[str]:
    """What the protocol would not take, a sentence for each field."""
    wrong = []
    if not isinstance(body.get("client_id"), str) or not body["client_id"]:
        wrong.append("client_id: is missing; Google Analytics drops events that belong to no client")
    for number, event in enumerate(body.get("events", ())):
        where, name, params = f"events[{number}]", event.get("name", ""), event.get("params", {})
        if not _NAME.match(name) or len(name) > MAX_NAME:
            wrong.append(f"{where}.name: {ascii(name)[:60]} is not a letter and up to {MAX_NAME - 1} letters, digits, _")
        elif name in _RESERVED_NAMES or name.startswith(_RESERVED_PREFIXES):
            wrong.append(f"{where}.name: {name} is reserved by Google Analytics")
        if len(params) > MAX_PARAMS:
            wrong.append(f"{where}.params: {len(params)} are more than {MAX_PARAMS}")
        for key, value in params.items():
            if not _NAME.match(key) or len(key) > MAX_NAME or key.startswith(_RESERVED_PREFIXES):
                wrong.append(f"{where}.params.{ascii(key)[1:-1][:60]}: is no name that Google Analytics takes")
            if isinstance(value, str) and len(value) > MAX_VALUE:
                wrong.append(f"{where}.params.{ascii(key)[1:-1][:60]}: {len(value)} characters are more than {MAX_VALUE}")
    return wrong


def explained(answer: bytes) -> list[str]:
    """What the debug server says of a body, a sentence a field; empty when it would take it."""
    try:
        messages = json.loads(answer).get("validationMessages", [])
        return [
            f"{one.get('fieldPath') or 'body'}: {one.get('description', '')} ({one.get('validationCode', 'no code')})"
            for one in messages
        ]
    except (ValueError, AttributeError, TypeError):
        return ["the debug server's answer cannot be read"]


def _params(event: Event) -> dict[str, Any]:
    if not isinstance(event, CallEvent):
        return {}
    params: dict[str, Any] = {
        "call_id": event.call,
        "dialled_number": event.callee,
        "marker": event.marker[:MAX_VALUE],
        "visit": None if event.visit is None else str(event.visit),
        "engagement_time_msec": 1,
    }
    if isinstance(event, CallEnded):
        params |= {
            "call_status": event.status,
            "call_duration": round(event.answer_duration),
            "target_call": int(event.target_call),
            "new_caller": None if event.new_caller is None else int(event.new_caller),
            "value": event.cost,
            "currency": event.currency,
        }
    return params


def _client_id(event: Event) -> str:
    """Of a visitor whose browser is not known: the same for all events of one visit, or else of one call."""
    if isinstance(event, CallEvent) and event.visit is not None:
        return f"calltrack.{event.project}.{event.visit}"
    return f"calltrack.{event.subject}"
