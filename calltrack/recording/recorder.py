"""All recordings of one process: which there are, and when their packets go to the writer.

Knows sessions, takes and the writer; no SIP, no sockets, and files only through takes.
"""

from __future__ import annotations

from typing import Callable

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.interfaces import IMediaSession
from calltrack.recording.channel import RATE
from calltrack.recording.session import RecordedSession
from calltrack.recording.settings import RecordingSettings
from calltrack.recording.take import Plan, Take
from calltrack.writer import Writer
from calltrack.timers import Timer, Timers
from calltrack.tracking.model import Recording

PIECE = 0.5  # seconds of a call that go to the writer at once
SLOW = "the disk does not keep up"
BUG = "a bug, see the log"

log = Logger()


class Recorder:
    """`record` wraps the media session of a call. `wall_ms()`: milliseconds since the Unix epoch; `directory`: where
    the files go."""

    def __init__(
        self, timers: Timers, wall_ms: Callable[[], int], settings: RecordingSettings, directory: str, writer: Writer
    ) -> None:
        self.now = timers.now
        self._timers = timers
        self._wall_ms = wall_ms
        self._settings = settings
        self._directory = directory
        self._writer = writer
        self._takes: dict[RecordedSession, Take] = {}
        self._tick: Timer | None = None

    def __len__(self) -> int:
        """How many calls are being recorded."""
        return len(self._takes)

    def record(self, call: str, session: IMediaSession) -> RecordedSession:
        """A session in the place of `session`, whose sound is recorded."""
        return RecordedSession(self, call, session)

    def stop(self) -> Deferred[bool]:
        """Asked when all calls have ended. Fires with True when everything is written, with False when the disk takes
        too long: then the next start finishes the files."""
        if self._tick is not None:
            self._tick.cancel()
        return self._writer.stop()

    def use_settings(self, settings: RecordingSettings) -> None:
        """What holds for calls that begin from now on."""
        self._settings = settings

    # For sessions

    def begun(self, session: RecordedSession) -> Recording:
        """The first packet has come, or the call was answered: the timeline begins now."""
        settings = self._settings
        now, wall_ms = self.now(), self._wall_ms()
        began_ms = wall_ms - round((now - session.began) * 1000)
        longest = settings.max_time * 3600
        plan = Plan(session.call, self._directory, session.began, began_ms, longest, settings.min_free)
        self._takes[session] = Take(plan)
        if self._tick is None:
            self._tick = self._timers.after(PIECE, self._hand_on)
        return Recording(began=began_ms)

    def close(self, session: RecordedSession) -> None:
        """The call is over."""
        take = self._takes.pop(session, None)
        if take is None:
            session.finish(session.recording)
            return
        now = self.now()
        if not session.answered:
            self._writer.do(take.discard).addErrback(self._failed, take.plan.call).addBoth(session.finish)
            return
        events, size = session.collected()
        seconds = round(round((now - take.plan.began) * RATE) / RATE, 3)
        name, capture = take.names(events)  # webhooks link to them at once
        session.recording = msgspec.structs.replace(session.recording, seconds=seconds, name=name, capture=capture)
        finished = self._writer.do(take.finish, events, now, size=size)
        finished.addErrback(self._failed, take.plan.call).addCallback(session.finish)

    # Inside

    def _hand_on(self, _: None) -> None:
        """Give the writer what has come in all calls."""
        now = self.now()
        for session, take in list(self._takes.items()):
            if session.deaf:
                continue
            if take.over:
                session.deafen()  # the writer has ended it; the record says why when the call is over
                continue
            events, size = session.collected()
            if self._writer.full:
                session.deafen()
                self._writer.do(take.stop, SLOW).addErrback(self._failed, take.plan.call)
            else:
                self._writer.do(take.feed, events, now, size=size).addErrback(self._broke, take)
        self._tick = self._timers.after(PIECE, self._hand_on) if self._takes else None

    def _broke(self, failure: Failure, take: Take) -> None:
        self._failed(failure, take.plan.call)
        self._writer.do(take.stop, BUG).addErrback(self._failed, take.plan.call)

    def _failed(self, failure: Failure, call: str) -> Recording:
        log.failure("the recording of call {call} failed; the call does not", failure=failure, call=call, call_id=call)
        return Recording(state="failed", reason=BUG)
