"""Put the packets of one party on a timeline: a small jitter buffer that nothing has to play in time.

Where a packet belongs its RTP timestamp says, where the timeline stands its arrival: the two are tied together by the
first packet of a source and again whenever they have come apart (another source, a hold during which the sender's clock
stood still, a jump, a drift). Positions are samples since the recording began. Knows no codec, no clock and no file.
"""

from __future__ import annotations

RATE = 8000  # samples a second
SAMPLE = 2  # bytes
DEPTH = RATE * 3 // 10  # samples: what is older is final; more than `_APART`, so that no packet comes after that
_APART = RATE // 5  # samples between timestamp and arrival that no jitter explains
_DRIFT = RATE // 25  # samples: the average of it that is put right
_SMOOTH = 64  # packets of that average
_LONGEST = RATE // 2  # samples of one packet; longer ones are cut


class Channel:
    """`place` what comes; `take` what is final."""

    __slots__ = ("_base", "_buffer", "_drift", "_newest", "_odd", "_ssrc", "_timestamp", "done")

    def __init__(self) -> None:
        self.done = 0  # position up to which everything has been taken
        self._buffer = bytearray()  # samples from there on
        self._ssrc = -1
        self._timestamp = self._base = 0  # an RTP timestamp and the position that it belongs to
        self._newest = 0  # the newest timestamp, relative to `_timestamp`
        self._drift = 0.0  # samples that packets come later than where they belong, on average
        self._odd = -1  # sequence number after that of a packet that came far too late

    def place(self, ssrc: int, sequence: int, timestamp: int, samples: bytes | bytearray, arrival: int) -> None:
        """`samples` (16 bit, little-endian) of a packet that came at the position `arrival`."""
        ahead = (timestamp - self._timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        late = arrival - self._base - ahead
        if ssrc != self._ssrc:
            self._tie(ssrc, timestamp, arrival)
            ahead = 0
        elif abs(late) > _APART:
            if ahead <= self._newest and sequence != self._odd:  # a straggler, unless another one follows on it
                self._odd = sequence + 1 & 0xFFFF
                return
            self._tie(ssrc, timestamp, arrival)
            ahead = 0
        else:
            self._drift += (late - self._drift) / _SMOOTH
            if abs(self._drift) > _DRIFT:
                self._base += round(self._drift)
                self._drift = 0.0
        self._newest = max(self._newest, ahead)
        if self._newest > 0x40000000:  # keep far from the point where 32 bits turn over
            self._tie(ssrc, timestamp, self._base + ahead)
            ahead = 0
        self._lay(self._base + ahead, samples[: _LONGEST * SAMPLE])

    def take(self, until: int) -> bytes:
        """The samples up to the position `until`, silence where nothing came."""
        size = (until - self.done) * SAMPLE
        if size <= 0:
            return b""
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self.done = until
        return taken.ljust(size, b"\0")

    def _tie(self, ssrc: int, timestamp: int, position: int) -> None:
        self._ssrc = ssrc
        self._timestamp = timestamp
        self._base = position
        self._newest = 0
        self._drift = 0.0
        self._odd = -1

    def _lay(self, position: int, samples: bytes | bytearray) -> None:
        start = (position - self.done) * SAMPLE
        if start < 0:  # its beginning has been taken as silence
            samples = samples[-start:]
            start = 0
        end = start + len(samples)
        if len(self._buffer) < end:
            self._buffer.extend(bytes(end - len(self._buffer)))
        self._buffer[start:end] = samples
