"""Packets made up, files read back, and a disk that does what a test wants."""

import array
import math
import wave

from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from calltrack.recording.g711 import CURVES
from calltrack.testing.media_peers import rtp

RATE = 8000
MS = 1_795_457_000_000  # wall time of second 0, milliseconds since the Unix epoch


def _table(curve):
    """sample -> byte, by trying them all: slow, and right if the decoder is."""
    values = array.array("h", bytes(curve.decode(bytes(range(256)))))
    return sorted((value, byte) for byte, value in enumerate(values))


_TABLES = {name: _table(curve) for name, curve in CURVES.items()}


def encode(samples, name="PCMA"):
    """The nearest byte for each sample."""
    table = _TABLES[name]
    return bytes(min(table, key=lambda entry: abs(entry[0] - sample))[1] for sample in samples)


def tone(frequency, start, count=160, loud=9000):
    return [int(loud * math.sin(2 * math.pi * frequency * n / RATE)) for n in range(start, start + count)]


_CACHE = {}


def tone_packet(frequency, index, name="PCMA", ssrc=1, first=0):
    """The packet number `index` of a tone: 20 ms of it."""
    key = frequency, index % 50, name
    if key not in _CACHE:  # every second of a whole number of hertz is alike
        _CACHE[key] = encode(tone(frequency, index % 50 * 160), name)
    packet = bytearray(rtp(first + index, (first + index) * 160, ssrc, _CACHE[key]))
    packet[1] = {"PCMA": 8, "PCMU": 0}[name]
    return bytes(packet)


def read_wav(path):
    """The samples of the caller and of the target."""
    with wave.open(path, "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        samples = array.array("h", file.readframes(file.getnframes()))
    return samples[::2].tolist(), samples[1::2].tolist()


class PatientWriter:
    """A Writer whose thread works when `work` is called; `hung`: it does not."""

    def __init__(self):
        self.hung = False
        self.full = False
        self.waiting = []

    def do(self, work, *arguments, size=0):
        done = defer.Deferred()
        self.waiting.append((work, arguments, done))
        if not self.hung:
            self.work()
        return done

    def work(self):
        waiting, self.waiting = self.waiting, []
        for work, arguments, done in waiting:
            try:
                result = work(*arguments)
            except Exception:
                result = Failure()
            done.callback(result)

    def stop(self, seconds=5.0):
        return self.do(lambda: True)


class ClockFrom(Clock):
    """A clock that does not begin at 0, as no monotonic clock does."""

    def __init__(self, seconds=100.0):
        super().__init__()
        self.advance(seconds)
