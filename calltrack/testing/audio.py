"""One end of an audio stream: RTP with G.711 µ-law, a packet every 20 ms (RFC 3550, RFC 3551).

Knows its UDP socket and a clock; knows no SDP and no calls.
"""

from __future__ import annotations

import secrets
from struct import Struct
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol

from calltrack.testing import tones

FRAME = 160  # samples in a packet
INTERVAL = FRAME / tones.RATE  # seconds between packets
PCMU = 0  # payload type (RFC 3551 table 4)

_HEADER = Struct(">BBHII")
_VERSION_2 = 0x80


class AudioStream(DatagramProtocol):
    """Sends a tone, or silence, to where it is aimed, and keeps what it receives.

    `sent`, `received`: packets; `lost`: packets of the far end that never came, by their sequence numbers.
    """

    noisy = False

    def __init__(self, reactor: Any, host: str) -> None:
        """Listens at once on a free port of `host`, an address literal. Raises CannotListenError."""
        self.sent = self.received = 0
        self.muted = False  # while the far end does not want to hear
        self._remote: tuple[str, int] | None = None
        self._frequency = 0.0
        self._played = 0  # samples, so that a tone goes on smoothly from packet to packet
        self._encoded = bytearray()
        self._sequences: tuple[int, int] | None = None  # first and highest one received, extended beyond 16 bits
        self._ssrc = secrets.randbits(32)
        self._sequence, self._timestamp = secrets.randbits(16), secrets.randbits(32)
        self._closed: Deferred[None] | None = None
        self._reactor = reactor
        self._next: IDelayedCall | None = None  # frame to be sent
        self._due = 0.0  # when
        self._port = reactor.listenUDP(0, self, interface=host, maxPacketSize=65535)
        self.port = self._port.getHost().port


    def aim(self, host: str, port: int) -> None:
        """Send to this address from now on."""
        self._remote = (host, port)
        if self._next is None:
            self._due = self._reactor.seconds()
            self._next = self._reactor.callLater(0, self._send)

    def play(self, frequency: float) -> None:
        """Play a tone of `frequency` Hz; 0 is silence, which is sent too."""
        self._frequency = frequency

    def listened(self) -> tones.Heard:
        """The tone that was received for longest."""
        return tones.listen(self.samples)

    @property
    def samples(self) -> list[int]:
        """All that was received, in the order of arrival."""
        return tones.decode(self._encoded)

    @property
    def lost(self) -> int:
        if self._sequences is None:
            return 0
        first, highest = self._sequences
        return max(0, highest - first + 1 - self.received)

    def close(self) -> Deferred[None]:
        """Stop. Fires with None when the port is free again; idempotent."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._closed is None:
            self._closed = maybeDeferred(self._port.stopListening)
        return self._closed

    def _send(self) -> None:
        """Send a frame and have the next one follow in time, also when the reactor was busy elsewhere."""
        self._due += INTERVAL
        self._next = self._reactor.callLater(max(0.0, self._due - self._reactor.seconds()), self._send)
        self._send_frame()

    def _send_frame(self) -> None:
        timestamp, self._timestamp = self._timestamp, self._timestamp + FRAME & 0xFFFFFFFF
        if self.muted:
            return
        header = _HEADER.pack(_VERSION_2, PCMU, self._sequence, timestamp, self._ssrc)
        self._sequence = self._sequence + 1 & 0xFFFF
        if self._frequency:
            payload = tones.encode(tones.tone(self._frequency, self._played, FRAME))
        else:
            payload = tones.SILENCE * FRAME
        self._played += FRAME
        self.sent += 1
        self.transport.write(header + payload, self._remote)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if len(datagram) <= _HEADER.size:
            return
        first, kind, sequence, _, _ = _HEADER.unpack_from(datagram)
        if first != _VERSION_2 or kind & 0x7F != PCMU:
            return  # another codec, or a header with extensions: nobody was offered either
        self.received += 1
        self._encoded += datagram[_HEADER.size :]
        if self._sequences is None:
            self._sequences = (sequence, sequence)
        else:
            start, highest = self._sequences
            ahead = (sequence - highest + 0x8000 & 0xFFFF) - 0x8000  # of the highest so far; negative: a late one
            self._sequences = (start, highest + max(0, ahead))

    def connectionRefused(self) -> None:
        """The far end has hung up and closed its port; the call's signalling says so too."""
