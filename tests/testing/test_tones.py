"""G.711 µ-law and the recognition of tones are right by themselves."""

import os
import wave

from calltrack.testing import tones
from twisted.trial.unittest import SynchronousTestCase

SECOND = tones.RATE


class CodecTests(SynchronousTestCase):
    def test_codes_of_the_standard(self):
        # ITU-T G.711 table 2a: the ends of the curve and both zeros.
        pairs = {0x80: 32124, 0x00: -32124, 0xFF: 0, 0x7F: 0, 0x8F: 16764, 0xF0: 120, 0xEF: 132}
        self.assertEqual({code: tones.decode(bytes((code,)))[0] for code in pairs}, pairs)

    def test_every_code_survives_decoding_and_encoding(self):
        codes = bytes(code for code in range(256) if code != 0x7F)  # minus zero encodes as zero
        self.assertEqual(tones.encode(tones.decode(codes)), codes)

    def test_loudest_samples_are_clipped(self):
        self.assertEqual(tones.encode([32767, -32768]), bytes((0x80, 0x00)))


class ListeningTests(SynchronousTestCase):
    def heard(self, samples):
        return tones.listen(tones.decode(tones.encode(samples)))

    def test_tone_is_recognised_without_being_told(self):
        self.assertEqual(self.heard(tones.tone(440, 0, SECOND)), (440, 1.0))

    def test_longest_tone_wins(self):
        self.assertEqual(self.heard(tones.tone(440, 0, SECOND // 4) + tones.tone(880, 0, SECOND // 2)), (880, 0.5))

    def test_silence_and_whispers_are_no_tone(self):
        whisper = [sample // 100 for sample in tones.tone(440, 0, SECOND)]
        for samples in ([], [0] * SECOND, whisper):
            self.assertEqual(self.heard(samples), (0, 0.0))

    def test_two_tones_at_once_are_none(self):
        both = [(a + b) // 2 for a, b in zip(tones.tone(440, 0, SECOND), tones.tone(880, 0, SECOND))]
        self.assertEqual(self.heard(both).frequency, 0)

    def test_gap_does_not_count(self):
        gap = [0] * (SECOND // 2)
        self.assertEqual(self.heard(tones.tone(440, 0, SECOND // 2) + gap + tones.tone(440, 0, SECOND // 4)), (440, 0.75))

    def test_wav_keeps_the_samples(self):
        path = os.path.abspath(self.mktemp())
        samples = tones.tone(440, 0, 800)
        tones.write_wav(path, samples)
        with wave.open(path) as file:
            self.assertEqual((file.getframerate(), file.getnchannels(), file.getsampwidth()), (8000, 1, 2))
            frames = file.readframes(800)
        self.assertEqual([int.from_bytes(frames[n : n + 2], "little", signed=True) for n in range(0, 1600, 2)], samples)
