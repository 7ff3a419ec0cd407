"""What becomes of a call, in the words of SIP (RFC 3261), of ISDN (Q.850, RFC 3398) and of the record."""

from __future__ import annotations

from typing import NamedTuple

from calltrack.calls.events import Failed
from calltrack.errors import MalformedMessage, MediaUnavailable, SIPError, UnusableSDP
from calltrack.sip.grammar import parse_params
from calltrack.sip.warning import Warning

# Best news first: the caller hears the best of what several targets said.
_ORDER = ("BUSY", "NOANSWER", "CONGESTION", "CHANUNAVAIL")

BUSY_STATUSES = (486, 600, 603)

# RFC 3398 section 8.2.6.1, and Asterisk's choice where that has none.
_Q850 = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127,
    414: 127, 415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25,
    484: 28, 485: 1, 486: 17, 487: 31, 488: 65, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127,
    513: 127, 600: 17, 603: 21, 604: 1, 606: 65,
}  # fmt: skip


class Outcome(NamedTuple):
    """Why a target, or a whole call, was not answered."""

    status: str  # of the record: BUSY, NOANSWER, CONGESTION, CHANUNAVAIL
    sip_code: int  # what the caller is told
    reason: str  # for the record
    q850: int = 0
    warning: Warning | None = None  # why media could not be agreed on, for the caller


UNKNOWN_NUMBER = Outcome("CHANUNAVAIL", 404, "unknown-number", 1)
NO_TARGET = Outcome("CHANUNAVAIL", 404, "no-target", 1)
NO_ANSWER = Outcome("NOANSWER", 480, "no answer in the ring time", 19)


def q850_of(sip_code: int) -> int:
    """The cause for a SIP final status (RFC 3398); 31 (normal, unspecified) when there is none."""
    return _Q850.get(sip_code, 31)


def q850_in(reasons: list[bytes]) -> int:
    """The cause of a `Reason: Q.850;cause=17` among these values (RFC 3326); 0 when there is none."""
    for reason in reasons:
        protocol, _, params = reason.partition(b";")
        if protocol.strip(b" \t").upper() == b"Q.850":
            try:
                cause = parse_params(params).get(b"cause") or b""
            except MalformedMessage:
                continue
            if cause.isdigit() and len(cause) <= 3 and int(cause) <= 127:
                return int(cause)
    return 0


def outcome_of(failure: Failed) -> Outcome:
    """What the failure of one destination means."""
    code = failure.status
    q850 = failure.q850 or q850_of(code or 503)
    if code in BUSY_STATUSES:
        return Outcome("BUSY", 486, failure.reason, q850)
    if code in (408, 480, 487):
        return Outcome("NOANSWER", 480, failure.reason, q850)
    if code == 0:
        return Outcome("CHANUNAVAIL", 503, failure.reason, q850)
    if 500 <= code < 600:
        # Section 16.7: another element's 503 is not ours, the caller must not shun us for it.
        return Outcome("CONGESTION", 500 if code == 503 else code, failure.reason, q850)
    # What is between us and the target, or our own fault, means nothing to the caller.
    told = 480 if code < 400 or code in (401, 407, 420, 421, 422, 481, 491) else code
    return Outcome("CHANUNAVAIL", told, failure.reason, q850, failure.warning)


def best(outcomes: list[Outcome]) -> Outcome:
    """What the caller is told when every target has failed; the first of equals."""
    return min(outcomes, key=lambda outcome: _ORDER.index(outcome.status))


def of_unusable_answer(problem: SIPError) -> Outcome:
    """Of a target's answer that cannot be passed on: its own fault, or the relay's that failed meanwhile."""
    if isinstance(problem, MediaUnavailable):
        return Outcome("CONGESTION", 503, f"media: {problem}", 34)
    return Outcome("CHANUNAVAIL", 488, f"the target's answer: {problem}", 65, warning_of(problem))


def warning_of(problem: SIPError) -> Warning | None:
    """What a Warning says of a description that cannot be used."""
    return Warning(problem.warning, problem.detail) if isinstance(problem, UnusableSDP) else None
