"""One call's packets become its files. Works in the writer's thread, on what the reactor's thread has collected.

Sound that can be decoded goes into a stereo WAV, both sides on one timeline; when another codec is spoken, every packet
from then on goes into a capture too. A fault of the disk ends the recording and nothing else. Knows packets, formats and
files; no reactor, no clock, no call.
"""

from __future__ import annotations

from typing import Callable, Iterable, NamedTuple

from calltrack.recording import files, formats, rtp
from calltrack.recording.capture import Capture
from calltrack.recording.channel import DEPTH, RATE, SAMPLE, Channel
from calltrack.recording.formats import Formats
from calltrack.recording.g711 import CURVES
from calltrack.tracking.model import Recording

PARTIES = ("caller", "target")  # left and right
LOOK_AT_DISK = 10 * RATE  # samples of a recording from one look at the room that is left to the next
_PIECE = 10 * RATE  # samples that are made at once
FULL = "the disk has less than {min_free} MB left"


class Event(NamedTuple):
    """What happened in a call: `what` is a datagram of `party`, or the Formats it has named now."""

    party: str
    what: bytes | Formats
    at: float  # seconds of the monotonic clock


class Plan(NamedTuple):
    """What holds for a recording from the beginning."""

    call: str
    directory: str
    began: float  # the first sample, in seconds of the monotonic clock
    began_ms: int  # the same in milliseconds since the Unix epoch
    longest: float = 0.0  # seconds; 0 = without end
    min_free: int = 0  # megabytes


class Take:
    """`feed` it until `finish` or `discard`. `over`: nothing more is taken; `reason` says why, if not the call's end."""

    def __init__(self, plan: Plan, room: Callable[[str], int] = files.room) -> None:
        self.plan = plan
        self.over = False
        self.reason = ""
        self._room = room
        self._channels = {party: Channel() for party in PARTIES}
        self._formats = {party: formats.NONE for party in PARTIES}
        self._wav: files.WAV | None = None
        self._capture: Capture | None = None
        self._looked = -LOOK_AT_DISK
        self._heard = False
        self._name = self._captured = ""

    def feed(self, events: list[Event], now: float) -> None:
        """Take what happened up to `now`, monotonic."""
        if self.over:
            return
        try:
            for event in events:
                if isinstance(event.what, Formats):
                    self._describe(event)
                else:
                    self._hear(event)
            self._write(self._position(now) - DEPTH)
        except OSError as error:
            self._stop(error.strerror or str(error))

    def finish(self, events: list[Event], now: float) -> Recording:
        """The end of the call: what is kept of it."""
        self.feed(events, now)
        if not self.over:
            try:
                self._write(self._position(now))
                self._complete()
            except OSError as error:
                self._stop(error.strerror or str(error))
        return self.told(final=True)

    def stop(self, reason: str) -> None:
        """End the recording before the call."""
        if not self.over:
            self._stop(reason)

    def discard(self) -> None:
        """Keep nothing: nobody answered the call."""
        self.over = True
        for file in (self._wav, self._capture):
            if file is not None:
                file.discard()
        self._wav = self._capture = None
        self._name = self._captured = ""

    def told(self, final: bool = False) -> Recording:
        """What the record says."""
        name, capture = self.names()
        state = "active" if not final else "partial" if self.reason else "complete"
        reason = self.reason
        if final and not name:
            state = "failed"
            encrypted = any(said.encrypted for said in self._formats.values())
            reason = reason or ("the media is encrypted from end to end" if encrypted else "no audio came")
        return Recording(
            name=name,
            capture=capture,
            seconds=round(self._channels["caller"].done / RATE, 3) if name else 0.0,
            state=state,
            reason=reason,
            began=self.plan.began_ms,
        )

    def names(self, events: Iterable[Event] = ()) -> tuple[str, str]:
        """The names of the recording and of the capture beside it, once these events are taken too and the disk lets it. The
        reactor's thread may ask too: names that have been given are final."""
        sound, captured, said = self._name, self._captured, dict(self._formats)
        if sound or captured:
            events = ()
        for event in events:
            if isinstance(event.what, Formats):
                said[event.party] = event.what
                continue
            _, kind = self._read(event, said)
            if kind in CURVES:
                sound = self._file("wav")
            elif kind:
                captured = self._file("pcap")
        return (sound, captured) if sound else (captured, "")

    # Inside

    def _file(self, ending: str) -> str:
        return files.name_of(self.plan.call, self.plan.began_ms, ending)

    def _read(self, event: Event, said: dict[str, Formats]) -> tuple[rtp.Packet | None, str]:
        """The packet, and what it carries, after what both parties have said: "" when that cannot be kept."""
        packet = rtp.read(event.what)
        own, heard = said[event.party], said["target" if event.party == "caller" else "caller"]
        if packet is None or own.encrypted or heard.encrypted:
            return None, ""
        return packet, formats.meaning(packet.kind, heard, own)  # what is sent is named by who hears it

    def _position(self, at: float) -> int:
        position = max(0, round((at - self.plan.began) * RATE))
        return min(position, round(self.plan.longest * RATE)) if self.plan.longest else position

    def _describe(self, event: Event) -> None:
        self._formats[event.party] = event.what
        if self._capture is not None:
            self._capture.describe(self._wall_us(event.at), self._formats["caller"], self._formats["target"])

    def _hear(self, event: Event) -> None:
        packet, kind = self._read(event, self._formats)
        if packet is None:
            return
        curve = CURVES.get(kind)
        if curve is not None:
            if self._wav is None:
                self._open_wav()
            samples = curve.decode(packet.payload)
            channel = self._channels[event.party]
            channel.place(packet.ssrc, packet.sequence, packet.timestamp, samples, self._position(event.at))
        elif kind and self._capture is None:
            self._heard = True
            self._look_at_disk()
            name = self._file("pcap")
            self._capture = Capture(self.plan.directory, name, self.plan.call)
            self._captured = name
            self._capture.describe(self._wall_us(event.at), self._formats["caller"], self._formats["target"])
        if self._capture is not None:
            self._capture.add(self._wall_us(event.at), event.party, event.what)

    def _open_wav(self) -> None:
        self._heard = True
        self._look_at_disk()
        name = self._file("wav")
        self._wav = files.WAV(self.plan.directory, name)
        self._name = name
        silence = self._channels["caller"].done  # what was before it is silence
        while silence > 0:
            self._wav.append(bytes(files.FRAME * min(silence, _PIECE)))
            silence -= _PIECE

    def _write(self, until: int) -> None:
        """Bring the files up to the position `until`."""
        caller, target = (self._channels[party] for party in PARTIES)
        while caller.done < until:
            upto = min(until, caller.done + _PIECE)
            left, right = caller.take(upto), target.take(upto)
            if self._wav is not None:
                self._wav.append(_interleaved(left, right))
        if self._capture is not None:
            self._capture.flush()
        if self._heard and caller.done - self._looked >= LOOK_AT_DISK:
            self._look_at_disk()
        if self.plan.longest and caller.done >= round(self.plan.longest * RATE):
            self._stop(f"the longest time that is recorded, {self.plan.longest / 3600:g} hours")

    def _look_at_disk(self) -> None:
        self._looked = self._channels["caller"].done
        if not self.plan.min_free:
            return
        try:
            room = self._room(self.plan.directory)
        except FileNotFoundError:
            return  # the first recording of all makes the directory
        if room < self.plan.min_free * 1_000_000:
            raise OSError(0, FULL.format(min_free=self.plan.min_free))

    def _stop(self, reason: str) -> None:
        """Keep what there is, and take no more."""
        self.over = True
        self.reason = reason
        try:
            self._complete()
        except OSError as error:
            self.reason = f"{reason}; the file could not be finished: {error.strerror or error}"

    def _complete(self) -> None:
        self.over = True
        wav, self._wav = self._wav, None
        capture, self._capture = self._capture, None
        try:
            if wav is not None and not _closed(wav):
                self._name = ""
        finally:
            if capture is not None and not _closed(capture):
                self._captured = ""

    def _wall_us(self, at: float) -> int:
        return self.plan.began_ms * 1000 + round((at - self.plan.began) * 1_000_000)


def _closed(file: files.Growing) -> bool:
    """Whether there is a file now; nothing is kept of an empty one."""
    if file.empty:
        file.discard()
        return False
    file.complete()
    return True


def _interleaved(left: bytes, right: bytes) -> bytes:
    """Two channels as one; each sample is two bytes."""
    both = bytearray(2 * len(left))
    for byte in range(SAMPLE):
        both[byte :: files.FRAME] = left[byte::SAMPLE]
        both[SAMPLE + byte :: files.FRAME] = right[byte::SAMPLE]
    return bytes(both)
