"""The instruments of the audio tests measure what they claim."""

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.interop import audio


class ToneTests(SynchronousTestCase):
    def tone(self, frequency, seconds=1.0):
        path = os.path.abspath(self.mktemp())
        audio.write_tone(path, frequency, seconds)
        return audio.read(path)

    def test_tone_is_found_at_its_frequency_and_nowhere_else(self):
        samples = self.tone(440)
        self.assertAlmostEqual(audio.seconds_of_tone(samples, 440), 1.0, delta=0.05)
        self.assertEqual(audio.seconds_of_tone(samples, 880), 0)

    def test_silence_is_no_tone(self):
        self.assertEqual(audio.seconds_of_tone([0] * audio.RATE, 440), 0)

    def test_two_tones_at_once_are_neither(self):
        mixed = [(a + b) // 2 for a, b in zip(self.tone(440), self.tone(880))]
        self.assertEqual(audio.seconds_of_tone(mixed, 440), 0)

    def test_half_the_time_counts_half(self):
        samples = self.tone(880, 0.5) + [0] * (audio.RATE // 2)
        self.assertAlmostEqual(audio.seconds_of_tone(samples, 880), 0.5, delta=0.05)
