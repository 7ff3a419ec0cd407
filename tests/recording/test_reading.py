"""RTP packets, session descriptions and G.711: what a stranger sends is read, or left alone."""

from array import array

from hypothesis import given, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.recording import formats, rtp
from calltrack.recording.g711 import CURVES
from calltrack.testing import tones
from calltrack.testing.media_peers import describe
from calltrack.testing.media_peers import rtp as packet
from tests.exploring import explored


class RTPTests(SynchronousTestCase):
    def test_payload_stands_behind_contributors_and_extension_and_before_padding(self):
        plain = packet(7, 160, 5, b"sound")
        self.assertEqual(rtp.read(plain), rtp.Packet(8, 7, 160, 5, b"sound"))
        contributors = bytes([0x82]) + plain[1:12] + bytes(8) + b"sound"
        extension = bytes([0x90]) + plain[1:12] + b"\xbe\xde\0\1" + bytes(4) + b"sound"
        padding = bytes([0xA0]) + plain[1:] + b"\0\0\3"
        for data in (contributors, extension, padding):
            self.assertEqual(rtp.read(data).payload, b"sound")

    def test_marker_is_no_part_of_the_payload_type(self):
        self.assertEqual(rtp.read(b"\x80\x88" + packet(1)[2:]).kind, 8)

    def test_what_is_cut_short_or_no_rtp_is_nothing(self):
        plain = packet(1)
        for data in (
            b"",
            plain[:11],
            b"\0" + plain[1:],
            b"\x8f" + plain[1:20],
            b"\x90" + plain[1:14],
            b"\x90" + plain[1:12] + b"\0\0\xff\xff" + bytes(8),
            b"\xa0" + plain[1:-1] + b"\0",
            b"\xa0" + plain[1:-1] + b"\xff",
        ):
            self.assertIsNone(rtp.read(data))

    @explored(300)
    @given(st.binary(max_size=100))
    def test_any_bytes_are_read_without_a_fault(self, data):
        found = rtp.read(data)
        if found is not None:
            self.assertLessEqual(len(found.payload), len(data) - 12)


class FormatTests(SynchronousTestCase):
    def test_payload_types_mean_what_the_description_says(self):
        sdp = describe("192.0.2.7", 4000, media="audio {port} RTP/AVP 96 8 97", extra=("a=rtpmap:96 opus/48000/2", "a=fmtp:96 useinbandfec=1", "a=rtpmap:97 PCMU/8000"))
        said = formats.read(sdp)
        self.assertEqual(said.names, {96: "opus/48000/2", 8: "PCMA/8000", 97: "PCMU/8000"})
        self.assertEqual(said.lines, (b"a=rtpmap:96 opus/48000/2", b"a=fmtp:96 useinbandfec=1", b"a=rtpmap:97 PCMU/8000"))
        self.assertEqual([formats.meaning(kind, said) for kind in (96, 8, 97, 0)], ["opus/48000/2", "PCMA", "PCMU", ""])

    def test_digits_and_comfort_noise_are_no_sound(self):
        said = formats.read(describe("192.0.2.7", 4000, media="audio {port} RTP/AVP 8 101 13"))
        self.assertEqual([formats.meaning(kind, said) for kind in (101, 13)], ["", ""])

    def test_static_types_need_no_description(self):
        self.assertEqual([formats.meaning(kind, formats.NONE) for kind in (0, 8, 18, 13, 96)], ["PCMU", "PCMA", "G729/8000", "", ""])

    def test_the_first_that_names_a_type_counts(self):
        one, other = formats.Formats({96: "opus/48000/2"}), formats.Formats({96: "PCMU/8000", 97: "PCMA/8000"})
        self.assertEqual((formats.meaning(96, one, other), formats.meaning(97, one, other)), ("opus/48000/2", "PCMA"))

    def test_g711_at_another_rate_is_another_codec(self):
        self.assertEqual(formats.meaning(96, formats.Formats({96: "PCMU/16000"})), "PCMU/16000")

    def test_types_of_a_later_stream_do_not_count(self):
        sdp = describe("192.0.2.7", 4000, media="audio {port} RTP/AVP 8", extra=("m=video 5000 RTP/AVP 99", "a=rtpmap:99 VP8/90000"))
        self.assertEqual(formats.read(sdp).names, {8: "PCMA/8000"})

    def test_encryption_is_seen(self):
        for protocol, encrypted in (("RTP/AVP", False), ("RTP/SAVP", True), ("UDP/TLS/RTP/SAVPF", True)):
            self.assertEqual(formats.read(describe("192.0.2.7", 4, media=f"audio {{port}} {protocol} 8")).encrypted, encrypted)

    def test_description_without_audio_says_nothing(self):
        for sdp in (b"", b"v=0\r\n", describe("192.0.2.7", 4, media="image {port} udptl t38")):
            self.assertEqual(formats.read(sdp), formats.NONE)

    @explored(200)
    @given(st.text("m=audio 0123\r\nartpmp:/", max_size=200))
    def test_any_description_is_read_without_a_fault(self, text):
        formats.read(text.encode())


class G711Tests(SynchronousTestCase):
    def test_every_value_of_mu_law_is_as_the_independent_decoder_has_it(self):
        everything = bytes(range(256))
        self.assertEqual(array("h", bytes(CURVES["PCMU"].decode(everything))).tolist(), tones.decode(everything))

    def test_a_law_has_the_values_of_the_recommendation(self):
        """ITU-T G.711 table 1a: both ends, and both values nearest to 0."""
        values = array("h", bytes(CURVES["PCMA"].decode(bytes([0xD5, 0x55, 0xAA, 0x2A, 0x80, 0x00])))).tolist()
        self.assertEqual(values, [8, -8, 32256, -32256, 5504, -5504])
        everything = array("h", bytes(CURVES["PCMA"].decode(bytes(range(256))))).tolist()
        self.assertEqual(sorted(everything), sorted(-value for value in everything))
