"""What a call leaves behind: its times and its record. Knows the values of a record; decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.tracking.model import Attribution, CallRecord, MediaFigures, Status, StreamFigures

if TYPE_CHECKING:
    from calltrack.calls.call import Call
    from calltrack.interfaces import IMediaSession

log = Logger()


class Ending(NamedTuple):
    """How a call ended."""

    status: Status
    hangup: str  # "caller", "target", "engine", or "" when nobody hung up
    sip_code: int
    reason: str  # in words, where the status does not say it all
    q850: int


class Times:
    """When what happened: `ringing`, `answered` and `ended` in seconds on the monotonic clock, None = never.

    Wall time is taken once, at the beginning: a step of the wall clock cannot turn a call around.
    """

    __slots__ = ("answered", "born", "created_ms", "ended", "ringing")

    def __init__(self, now: float, wall_ms: int) -> None:
        self.born = now
        self.created_ms = wall_ms  # milliseconds since the Unix epoch
        self.ringing: float | None = None
        self.answered: float | None = None
        self.ended: float | None = None

    def wall(self, at: float | None) -> int | None:
        """A moment as milliseconds since the Unix epoch."""
        return None if at is None else self.created_ms + round((at - self.born) * 1000)


def record_of(call: Call, now: float, ending: Ending | None = None, media: MediaFigures = MediaFigures()) -> CallRecord:
    """What is known of a call: ACTIVE without an `ending`, else its final record, its ladder still missing."""
    route, times, final = call.route, call.times, ending is not None
    answered = times.answered
    until = now if times.ended is None else times.ended
    talked = 0.0 if answered is None else until - answered
    status, hangup, sip_code, reason, q850 = ending or ("ACTIVE", "", 0, "", 0)
    return CallRecord(
        id=call.id,
        project=route.project if route else None,
        scenario=route.scenario if route else None,
        caller=call.admission.caller,
        callee=call.admission.dialled,
        target=call.target,
        trunk=call.admission.trunk.name,
        created=times.created_ms,
        ringing=times.wall(times.ringing),
        answered=times.wall(answered),
        ended=times.wall(times.ended),
        duration=round(until - times.born, 3) if final else 0.0,
        waiting_time=round((until if answered is None else answered) - times.born, 3),
        answer_duration=round(talked, 3) if final else 0.0,
        status=status,
        hangup=hangup,
        sip_code=sip_code,
        q850=q850,
        reason=reason,
        attribution=route.attribution if route else Attribution(),
        target_call=bool(route and final and answered is not None and talked >= route.target_call_time),
        media=media,
        recording=call.recorded.recording if call.recorded is not None else None,
    )


def added(before: MediaFigures, after: MediaFigures) -> MediaFigures:
    """The figures of a call whose media went through two sessions, one after the other."""

    def both(one: StreamFigures, other: StreamFigures) -> StreamFigures:
        return StreamFigures(
            packets=one.packets + other.packets,
            bytes=one.bytes + other.bytes,
            lost=one.lost + other.lost,
            jitter_ms=max(one.jitter_ms, other.jitter_ms),
            strangers=one.strangers + other.strangers,
        )

    verdict = before.verdict if after.verdict == "none" else after.verdict
    return MediaFigures(caller=both(before.caller, after.caller), target=both(before.target, after.target), verdict=verdict)


def last_figures(session: IMediaSession | None) -> Deferred[MediaFigures]:
    """Close a call's media; fires with what was counted, at once or when a relay elsewhere has said it. Never fails:
    the record is written without figures then."""

    def bug(failure: Failure) -> MediaFigures:
        log.failure("closing the media of a call failed on a bug", failure)
        return MediaFigures()

    return maybeDeferred(session.close if session is not None else MediaFigures).addErrback(bug)
