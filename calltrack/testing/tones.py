"""Tones in G.711 µ-law, and how to recognise them again (ITU-T G.711, RFC 3551 section 4.5.14).

Knows samples: 8000 a second, 16 bit, signed. Must not know RTP or who plays them.
"""

from __future__ import annotations

import math
import wave
from struct import pack
from typing import NamedTuple, Sequence

RATE = 8000  # samples a second
LOUDNESS = 9000  # peak of a tone, of 32767: loud enough to hear, far from clipping

_BIAS = 132  # G.711: what keeps the segments of the curve joined
_CLIP = 32635
_WINDOW = RATE // 20  # samples in which a tone is looked for: 50 ms, so the grid of frequencies is 20 Hz
_QUIET = 300  # root mean square below which nothing is to be heard
_PURE = 0.8  # share of a window's energy that a tone must have


def _compressed(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _CLIP) + _BIAS
    segment = magnitude.bit_length() - 8
    return ~(sign | segment << 4 | magnitude >> (segment + 3) & 0x0F) & 0xFF


def _expanded(code: int) -> int:
    magnitude = (((~code & 0x0F) << 3) + _BIAS << (~code >> 4 & 0x07)) - _BIAS
    return magnitude if code & 0x80 else -magnitude


_EXPANDED = [_expanded(code) for code in range(256)]
SILENCE = bytes((_compressed(0),))


def encode(samples: Sequence[int]) -> bytes:
    """Samples from -32768 to 32767 as µ-law, one byte each."""
    return bytes(map(_compressed, samples))


def decode(encoded: bytes) -> list[int]:
    """The samples that µ-law stands for."""
    return [_EXPANDED[code] for code in encoded]


def tone(frequency: float, start: int, count: int) -> list[int]:
    """`count` samples of a sine of `frequency` Hz, from its sample number `start` on."""
    step = 2 * math.pi * frequency / RATE
    return [round(LOUDNESS * math.sin(step * n)) for n in range(start, start + count)]


def write_wav(path: str, samples: Sequence[int]) -> None:
    """Keep samples in a file that any player plays."""
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pack(f"<{len(samples)}h", *samples))


class Heard(NamedTuple):
    """What was to be heard in some samples."""

    frequency: int  # Hz, to the nearest 20; 0 = no tone
    seconds: float  # for how long it filled the sound


def listen(samples: Sequence[int]) -> Heard:
    """The tone that fills the most of `samples`, found without being told what was played.

    Judged in windows of 50 ms: a window has a tone when at least 80 % of its energy is at one multiple of 20 Hz
    between 100 and 3400 Hz, and when it is not quiet.
    """
    found: dict[int, int] = {}
    for start in range(0, len(samples) - _WINDOW + 1, _WINDOW):
        frequency = _loudest(samples[start : start + _WINDOW], found)
        if frequency:
            found[frequency] = found.get(frequency, 0) + 1
    if not found:
        return Heard(0, 0.0)
    frequency = max(found, key=found.__getitem__)
    return Heard(frequency, found[frequency] * _WINDOW / RATE)


def _loudest(window: Sequence[int], likely: dict[int, int]) -> int:
    """The frequency that has most of the energy of `window`, 0 when none has; the `likely` ones are tried first."""
    energy = sum(sample * sample for sample in window)
    if energy < len(window) * _QUIET**2:
        return 0
    for frequency in (*likely, *range(100, 3401, 20)):
        if _energy_at(frequency, window) > _PURE * energy:
            return frequency
    return 0


def _energy_at(frequency: int, window: Sequence[int]) -> float:
    """The energy of `window` at one frequency (Goertzel); of a pure tone, the energy of the whole window."""
    turn = 2 * math.cos(2 * math.pi * frequency / RATE)
    last = before = 0.0
    for sample in window:
        last, before = sample + turn * last - before, last
    return (last * last + before * before - turn * last * before) * 2 / len(window)
