"""The capture of what cannot be decoded, as Wireshark's engine sees it."""

import os

from calltrack.recording.formats import read
from calltrack.recording.take import Event
from calltrack.testing.media_peers import describe, rtp
from tests.recording.test_take import TakeCase
from tests.test_pcap import fields, tshark

OPUS = read(describe("192.0.2.7", 4000, media="audio {port} RTP/AVP 96", extra=("a=rtpmap:96 opus/48000/2",)))
G729 = read(describe("192.0.2.7", 4000, media="audio {port} RTP/AVP 18"))


class WiresharkTests(TakeCase):
    def packets(self, party, kind, start, count, ssrc, step):
        for n in range(count):
            data = bytes([0x80, kind]) + rtp(n, n * step, ssrc, b"\x12" * 20)[2:]
            yield Event(party, data, self.began + start + n * 0.02)

    def test_both_streams_are_rtp_of_the_codec_that_was_spoken_without_any_setting(self):
        take = self.take()
        events = [Event("caller", OPUS, self.began), Event("target", OPUS, self.began)]
        events += [*self.packets("caller", 96, 0, 100, 0xA, 960), *self.packets("target", 96, 0, 100, 0xB, 960)]
        path = self.path(self.fed(take, events, 2.0).name)
        streams = tshark(path, "-q", "-z", "rtp,streams")
        for ssrc in ("0x0000000A", "0x0000000B"):
            [line] = [line for line in streams.split("\n") if ssrc in line]
            self.assertIn("opus", line)
            self.assertEqual(line.split()[line.split().index(ssrc) + 2], "100")
            self.assertIn("0 (0.0%)", line)
        self.assertEqual(fields(path, "sip.Method", only="sip.Request-Line"), [("INVITE",)])
        self.assertEqual(fields(path, "_ws.expert.message", only="_ws.malformed and not rtp"), [("",)])

    def test_change_of_codec_is_told_by_another_invite(self):
        take = self.take()
        events = [Event("caller", OPUS, self.began), Event("target", OPUS, self.began)]
        events += self.packets("caller", 96, 0, 50, 0xA, 960)
        events += [Event("caller", G729, self.began + 1), Event("target", G729, self.began + 1)]
        events += self.packets("caller", 18, 1, 50, 0xC, 160)
        path = self.path(self.fed(take, events, 2.0).name)
        streams = tshark(path, "-q", "-z", "rtp,streams")
        self.assertIn("g729", next(line for line in streams.split("\n") if "0x0000000C" in line).lower())
        self.assertIn("opus", next(line for line in streams.split("\n") if "0x0000000A" in line))

    def test_capture_that_grows_is_one_that_can_be_read(self):
        take = self.take()
        events = [Event("caller", OPUS, self.began), Event("target", OPUS, self.began)]
        take.feed(events + list(self.packets("caller", 96, 0, 50, 0xA, 960)), self.began + 1)
        path = self.path("2026-11-23/call1.pcap") + ".part"
        self.assertEqual(len(fields(path, "rtp.seq", only="rtp")), 50)
        take.discard()
        self.assertFalse(os.path.exists(path))
