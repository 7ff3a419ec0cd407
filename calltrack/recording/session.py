"""The media of a call that is recorded: another media session, listened to.

Knows sessions by their interface, and who has named which formats; packets are collected here, in the reactor's thread,
and handed on in pieces. Must not know files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from calltrack.errors import MediaUnavailable
from calltrack.interfaces import IMediaSession, IMediaTap
from calltrack.recording import formats
from calltrack.recording.formats import Formats
from calltrack.recording.take import Event
from calltrack.tracking.model import MediaFigures, Recording

if TYPE_CHECKING:
    from calltrack.recording.recorder import Recorder

CALLER, TARGET = "caller", "target"
MOST = 2000  # events in one piece, 4000 a second: more is no telephony
_EVENT_SIZE = 120  # bytes of memory beside the datagram


@implementer(IMediaSession, IMediaTap)
class RecordedSession:
    """See IMediaSession; everything goes on to `session`. `recording`: what the call's record says now, None as long as
    there is nothing to say. `ended`: fires with it when nothing about it changes any more."""

    def __init__(self, recorder: Recorder, call: str, session: IMediaSession) -> None:
        self.call = call
        self.recording: Recording | None = None
        self.ended: Deferred[Recording | None] = Deferred()
        self.answered = False
        self.deaf = False
        self.began: float | None = None  # seconds of the monotonic clock
        self._recorder = recorder
        self._session = session
        self._events: list[Event] = []
        self._size = 0
        self._offers: dict[tuple[str, str], Formats] = {}  # by (source, target), until they are answered
        self._said: dict[str, Formats] = {}  # by party
        self._first: Recording | None = None
        self._closed = False
        self._refusal = ""  # why there is nothing to hear
        try:
            session.tap(self)
        except MediaUnavailable as problem:
            self._refusal = str(problem)

    # IMediaSession

    def offer(
        self, source: str, target: str, sdp: bytes, source_host: str, target_host: str, allow: tuple = ()
    ) -> Deferred[bytes]:
        self._offers[source, target] = formats.read(sdp)
        return self._session.offer(source, target, sdp, source_host, target_host, allow)

    def answer(self, source: str, target: str, sdp: bytes, source_host: str, target_host: str) -> Deferred[bytes]:
        offered = self._offers.pop((target, source), None)
        if offered is not None:
            self._say(target, offered)
        self._say(source, formats.read(sdp))
        return self._session.answer(source, target, sdp, source_host, target_host)

    def connect(self, party: str) -> None:
        self._session.connect(party)
        if party in self._said:
            self._add(Event(TARGET, self._said[party], self._recorder.now()))
        self.answered = True
        if self._refusal:
            self.recording = Recording(state="failed", reason=self._refusal)
            return
        self._begin(self._recorder.now())
        self.recording = self._first

    def drop(self, party: str) -> None:
        self._session.drop(party)
        self._said.pop(party, None)

    def tap(self, observer: IMediaTap | None) -> None:
        """There is one observer, and it is this session."""
        raise MediaUnavailable("the call is being recorded")

    def figures(self) -> MediaFigures:
        return self._session.figures()

    def close(self) -> MediaFigures:
        figures = self._session.close()
        if not self._closed:
            self._closed = True
            place = getattr(self._session, "recording", "")
            if self._refusal and self.answered and place:
                self.recording = Recording(name=place, state="elsewhere", reason=self._refusal)
            self._recorder.close(self)
        return figures

    # IMediaTap

    def packet(self, party: str, data: bytes, at: float) -> None:
        if self.began is None:
            self._begin(at)
        if len(self._events) < MOST:
            self._events.append(Event(party, data, at))
            self._size += len(data)

    # For the recorder

    def collected(self) -> tuple[list[Event], int]:
        """What has happened since the last time, and how many bytes of memory that is."""
        events, size = self._events, self._size + _EVENT_SIZE * len(self._events)
        self._events, self._size = [], 0
        return events, size

    def finish(self, recording: Recording | None) -> None:
        """The last word about it."""
        self.recording = recording if self.answered else None
        self.ended.callback(self.recording)

    def deafen(self) -> None:
        """Listen no longer."""
        self.deaf = True
        if not self._closed:
            self._session.tap(None)
        self._events.clear()
        self._size = 0

    # Inside

    def _begin(self, at: float) -> None:
        if self.began is None:
            self.began = at
            self._first = self._recorder.begun(self)

    def _say(self, party: str, said: Formats) -> None:
        """`party` has named its formats."""
        if said != self._said.get(party):
            self._said[party] = said
            self._add(Event(CALLER if party == CALLER else TARGET, said, self._recorder.now()))

    def _add(self, event: Event) -> None:
        self._events.append(event)
