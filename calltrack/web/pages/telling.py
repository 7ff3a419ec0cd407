"""A call in words: what happened, which visit or channel it belongs to and why, how it sounded. Knows call records."""

from __future__ import annotations

import re
from typing import Any

from calltrack.tracking.model import CallRecord
from calltrack.web.pages.wording import Words, phone

_ENDED_BEFORE = re.compile(r"lease ended ([0-9.]+) s before(, its visitor left at once)?")
_REASONS = {
    "static channel": "The dialled number belongs to this channel alone.",
    "exact lease": "The dialled number was shown to this visitor alone at the moment of the call.",
    "shared": "The number is shown to many at once, so it stands for no visitor.",
    "the history of leases has not been read yet": "calltrack had just started and had not read its history yet.",
    "no visit": "No visitor was being shown this number.",
    "never leased": "Nobody was ever shown this number.",
    "no scenario": "The number leads to no scenario, so it stands for no channel.",
    "scenario disabled": "The scenario of this number is switched off.",
    "project disabled": "The project is switched off.",
}
_LEFT = "The visitor who was shown this number last had left {time} before."
_LEFT_AT_ONCE = "The visitor who was shown this number last had left {time} before, at once after coming."


def story(record: CallRecord, words: Words) -> list[str]:
    """What happened, one sentence a step."""
    say = words.say
    seconds = {"seconds": f"{record.waiting_time:.0f}"}
    lines = [say("{caller} dialled {callee}.", caller=phone(record.caller) if record.caller else say("Somebody with a withheld number"), callee=phone(record.callee))]  # fmt: skip
    if record.ringing is not None:
        rang = f"{(record.ringing - record.created) / 1000:.1f}"
        lines.append(say("{target} rang after {seconds} s.", target=record.target, seconds=rang))
    match record.status:
        case "ANSWER":
            lines.append(say("It was answered after {seconds} s.", **seconds))
        case "BUSY":
            lines.append(say("{target} was busy.", target=record.target or "?"))
        case "NOANSWER":
            lines.append(say("Nobody answered within {seconds} s.", **seconds))
        case "CANCEL":
            lines.append(say("The caller hung up after {seconds} s, before anybody answered.", **seconds))
        case "CONGESTION":
            lines.append(say("The network was too busy for it."))
        case "CHANUNAVAIL":
            lines.append(say("No target could be reached."))
        case "ACTIVE":
            lines.append(say("It is going on."))
    ends = {"caller": "The caller hung up.", "target": "The office hung up.", "engine": "calltrack ended it."}
    if record.status == "ANSWER" and record.hangup in ends:
        lines.append(say(ends[record.hangup]))
    if record.reason:
        lines.append(say("Reason: {reason}", reason=record.reason))
    if record.target_call:
        lines.append(say("It counts as a target call: the conversation was long enough."))
    if record.new_caller:
        lines.append(say("This number had never called before."))
    return lines


def attribution(record: CallRecord, words: Words) -> list[str]:
    """Why the call belongs to what it belongs to."""
    found = record.attribution
    lines = [words.say("Visit {number}.", number=found.visit)] if found.visit is not None else []
    return [*lines, because(found.reason, words)] if found.reason else lines


def because(reason: str, words: Words) -> str:
    """The reason of an attribution, or of a candidate for one, as a sentence."""
    ended, say = _ENDED_BEFORE.fullmatch(reason), words.say
    if reason in _REASONS:
        return say(_REASONS[reason])
    if ended:
        return say(_LEFT_AT_ONCE if ended[2] else _LEFT, time=words.duration(float(ended[1])))
    if reason.startswith("lookup "):
        return say("The call had to ring before its channel could be looked up ({reason}).", reason=reason)
    return say("Reason: {reason}", reason=reason)


def verdict(record: CallRecord, words: Words) -> str:
    """How it sounded."""
    return words.say(
        {
            "both-ways": "Both sides sent sound.",
            "caller-silent": "Nothing came from the caller: one-way audio.",
            "target-silent": "Nothing came from the office: one-way audio.",
        }.get(record.media.verdict, "No sound was carried.")
    )


def recording(record: CallRecord, words: Words, link: str) -> dict[str, Any] | None:
    """What can be played of a call; None when nothing was recorded."""
    kept = record.recording
    if not kept:
        return None
    sentences = {
        "active": "It is being recorded.",
        "partial": "The recording ended before the call did.",
        "interrupted": "The engine stopped during the call; what was recorded until then is here.",
        "failed": "It could not be recorded.",
        "deleted": "The recording was deleted when its time was over.",
    }
    told = words.say(sentences[kept.state]) if kept.state in sentences else ""
    reason = f" ({kept.reason})" if kept.reason else ""
    playable = kept.name.endswith(".wav") and kept.state in ("complete", "partial", "interrupted")
    return {"link": link if playable else "", "words": told + reason}
