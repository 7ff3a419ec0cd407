"""G.711 -> 16-bit samples (ITU-T G.711). Knows nothing but the two curves."""

from __future__ import annotations

from struct import pack


def _ulaw(byte: int) -> int:
    byte ^= 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return -magnitude if byte & 0x80 else magnitude


def _alaw(byte: int) -> int:
    byte ^= 0x55
    segment, step = byte >> 4 & 7, (byte & 0x0F) << 4
    magnitude = step + 0x108 << segment - 1 if segment else step + 8
    return magnitude if byte & 0x80 else -magnitude


class Curve:
    """One of the two. `decode`: bytes -> little-endian samples, twice as many bytes."""

    __slots__ = ("_high", "_low")

    def __init__(self, expand) -> None:
        whole = b"".join(pack("<h", expand(byte)) for byte in range(256))
        self._low, self._high = whole[::2], whole[1::2]

    def decode(self, payload: bytes) -> bytearray:
        samples = bytearray(2 * len(payload))
        samples[::2] = payload.translate(self._low)
        samples[1::2] = payload.translate(self._high)
        return samples


CURVES = {"PCMU": Curve(_ulaw), "PCMA": Curve(_alaw)}
