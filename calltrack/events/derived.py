"""What a value gives rise to: pure functions from records and news to events.

Ids are made of the values' own, so that a value which is written again adds nothing. Knows no stores, no clock.
"""

from __future__ import annotations

from typing import Any

from calltrack.events.model import (
    AccountRegistered,
    AccountUnregistered,
    CallAnswered,
    CallEnded,
    CallMissed,
    CallRinging,
    CallStarted,
    Event,
    NumberAlert,
    NumberLeased,
    NumberReleased,
    PoolExhausted,
    TargetDown,
    TargetUp,
    TrunkDown,
    TrunkUp,
    VisitStarted,
)
from calltrack.tracking import model
from calltrack.tracking.bindings import Binding
from calltrack.tracking.model import CallRecord, Lease, Visit


def of_call(record: CallRecord) -> list[Event]:
    """Everything that `record` tells up to now, in order; each later record of the call tells at least the same."""
    call, attribution = record.id, record.attribution
    common = {
        "call": call,
        "project": record.project,
        "caller": record.caller,
        "callee": record.callee,
        "scenario": record.scenario,
        "trunk": record.trunk,
        "visit": attribution.visit,
        "marker": attribution.marker,
        "attributed": attribution.reason,
    }
    found: list[Event] = [CallStarted(id=call + ".started", at=record.created, **common)]
    if record.ringing is not None:
        found.append(CallRinging(id=call + ".ringing", at=record.ringing, **common))
    if record.answered is not None:
        answered = CallAnswered(
            id=call + ".answered",
            at=record.answered,
            target=record.target,
            waiting_time=record.waiting_time,
            **common,
        )
        found.append(answered)
    if record.status != "ACTIVE":
        ended = record.created if record.ended is None else record.ended
        found.append(_ended(record, ended, common))
        if record.answered is None:
            missed = CallMissed(
                id=call + ".missed",
                at=ended,
                status=record.status,
                waiting_time=record.waiting_time,
                reason=record.reason,
                **common,
            )
            found.append(missed)
    return found


def _ended(record: CallRecord, ended: int, common: dict[str, Any]) -> CallEnded:
    return CallEnded(
        id=record.id + ".ended",
        at=ended,
        target=record.target,
        status=record.status,
        created=record.created,
        ringing=record.ringing,
        answered=record.answered,
        duration=record.duration,
        waiting_time=record.waiting_time,
        answer_duration=record.answer_duration,
        hangup=record.hangup,
        sip_code=record.sip_code,
        q850=record.q850,
        reason=record.reason,
        target_call=record.target_call,
        new_caller=record.new_caller,
        cost=record.cost,
        currency=record.currency,
        media=record.media,
        recording=record.recording,
        **common,
    )


def of_binding(binding: Binding, user: str, at: int, reason: str = "") -> Event:
    """A device's coming, or its going with the `reason` why: each binding does either once. `user`: of its account; `at`:
    milliseconds since the Unix epoch."""
    name = f"binding:{binding.project}:{binding.id}"
    fields = {what: getattr(binding, what) for what in ("project", "contact", "device", "source", "transport")}
    if reason:
        return AccountUnregistered(id=name + ".unregistered", at=at, user=user, reason=reason, **fields)
    return AccountRegistered(id=name + ".registered", at=at, user=user, **fields)


def of_peer(news: Any, event_id: str) -> Event:
    """A trunk or target that begins or ceases to answer. `news` has `type`, `at`, `name` and `reason`."""
    what, _, state = news.type.partition(".")
    kinds = {"trunk": (TrunkUp, TrunkDown), "target": (TargetUp, TargetDown)}[what]
    fields = {"id": event_id, "at": news.at, what: news.name}
    return kinds[0](**fields) if state == "up" else kinds[1](reason=news.reason, **fields)


def of_visit(visit: Visit) -> Event:
    """A visitor's coming."""
    name = f"visit:{visit.project}:{visit.number}.started"
    return VisitStarted(id=name, at=visit.started, project=visit.project, visit=visit.number, marker=visit.marker)


def of_lease(lease: Lease) -> Event:
    """A number's being given to a visit, or its coming back."""
    fields = {"project": lease.project, "number": lease.number, "visit": lease.visit, "scenario": lease.scenario}
    if lease.ended is None:
        return NumberLeased(id=f"lease:{lease.id}.leased", at=lease.begun, **fields)
    return NumberReleased(id=f"lease:{lease.id}.released", at=lease.ended, **fields)


def of_pool(news: Any, event_id: str) -> Event | None:
    """What is to be told of a pool of numbers; None when `news` is not of that sort. `event_id`: unique."""
    match news:
        case model.PoolExhausted():
            kind, names = PoolExhausted, ("at", "project", "scenario", "visit", "numbers")
        case model.NumberAlert():
            kind, names = NumberAlert, ("at", "project", "scenario", "kind", "number", "callers")
        case _:
            return None
    return kind(id=event_id, **{name: getattr(news, name) for name in names})
