"""Tones written to and found in WAV files (16 bit, one channel)."""

import array
import math
import wave

RATE = 8000  # samples a second


def write_tone(path: str, frequency: float, seconds: float) -> None:
    """A sine at a third of full scale."""
    samples = (int(11000 * math.sin(2 * math.pi * frequency * n / RATE)) for n in range(int(RATE * seconds)))
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(array.array("h", samples).tobytes())


def read(path: str) -> list[int]:
    """The samples of a recording, also of one that was not closed (its header then says nothing of its length)."""
    with open(path, "rb") as file:
        content = file.read()
    start = content.index(b"data") + 8
    usable = (len(content) - start) // 2 * 2
    return array.array("h", content[start : start + usable]).tolist()


def seconds_of_tone(samples: list[int], frequency: float) -> float:
    """For how long the frequency fills the sound, judged in windows of 50 ms: a window counts when at least 80 %
    of its energy is at `frequency` (Goertzel) and it is not silent."""
    size = RATE // 20
    windows = 0
    for start in range(0, len(samples) - size + 1, size):
        window = samples[start : start + size]
        energy = sum(sample * sample for sample in window)
        if energy > size * 500**2 and _power(window, frequency) > 0.8 * energy:
            windows += 1
    return windows * size / RATE


def _power(window: list[int], frequency: float) -> float:
    """The energy at one frequency (Goertzel); of a pure tone, that of the whole window."""
    coefficient = 2 * math.cos(2 * math.pi * frequency / RATE)
    last = before = 0.0
    for sample in window:
        last, before = sample + coefficient * last - before, last
    return (last * last + before * before - coefficient * last * before) * 2 / len(window)
