"""Session descriptions: what is read, what is rewritten, and that all else keeps its bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import UnusableSDP
from calltrack.media.sdp import MAX_SECTIONS, MAX_SIZE, Document, Origin

SESSION = [b"v=0", b"o=alice 2890844526 2890844526 IN IP4 10.1.1.1", b"s=a call", b"c=IN IP4 10.1.1.1", b"t=0 0"]
AUDIO = b"m=audio 49170 RTP/AVP 0 8 18 96 101"


def sdp(*lines: bytes, session: list[bytes] = SESSION, end: bytes = b"\r\n") -> bytes:
    return end.join([*session, *lines, b""])


def rewrite(text: bytes, host: str = "192.0.2.1", allow: tuple = (), origin: Origin | None = None) -> list[bytes]:
    """The lines of `text` rewritten, streams on ports 2000 and 2001, 2002 and 2003 ..."""
    document = Document(text)
    if allow:
        document.restrict(allow)
    ports = [(2000 + 2 * n, 2001 + 2 * n) if s.port else None for n, s in enumerate(document.sections)]
    return document.render(origin or Origin(77), host, ports).split(b"\r\n")


def m_lines(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line.startswith(b"m=")]


class ReadTests(SynchronousTestCase):
    def section(self, *lines: bytes, **kwargs):
        return Document(sdp(*lines, **kwargs)).sections[0]

    def test_stream_has_the_session_address_unless_it_names_its_own(self) -> None:
        self.assertEqual(self.section(AUDIO).host, "10.1.1.1")
        self.assertEqual(self.section(AUDIO, b"c=IN IP6 2001:DB8::0:1").host, "2001:db8::1")
        self.assertEqual(self.section(AUDIO, b"c=IN IP4 10.1.1.2", session=SESSION[:3]).host, "10.1.1.2")

    def test_rtcp_is_on_the_next_port_unless_told(self) -> None:
        self.assertEqual(self.section(AUDIO).rtcp, ("10.1.1.1", 49171))
        self.assertEqual(self.section(AUDIO, b"a=rtcp:53020").rtcp, ("10.1.1.1", 53020))
        self.assertEqual(self.section(AUDIO, b"a=rtcp:53020 IN IP4 10.9.9.9").rtcp, ("10.9.9.9", 53020))
        self.assertIsNone(self.section(b"m=audio 65535 RTP/AVP 0").rtcp)

    def test_direction_is_the_stream_s_else_the_session_s_else_both_ways(self) -> None:
        self.assertFalse(self.section(AUDIO).held)
        self.assertTrue(self.section(AUDIO, b"a=sendonly").held)
        self.assertTrue(self.section(AUDIO, b"a=inactive").held)
        self.assertFalse(self.section(AUDIO, b"a=recvonly").held)
        self.assertTrue(self.section(AUDIO, session=[*SESSION, b"a=inactive"]).held)
        self.assertFalse(self.section(AUDIO, b"a=sendrecv", session=[*SESSION, b"a=inactive"]).held)

    def test_zero_address_is_hold(self) -> None:  # edge case 22
        self.assertTrue(self.section(AUDIO, b"c=IN IP4 0.0.0.0").held)

    def test_mux_and_protocol(self) -> None:
        self.assertTrue(self.section(AUDIO, b"a=rtcp-mux").mux)
        self.assertTrue(self.section(b"m=audio 5000 UDP/TLS/RTP/SAVPF 0").rtp)
        self.assertFalse(self.section(b"m=image 5000 udptl t38").rtp)

    def test_clock_rate_is_the_first_payload_type_s(self) -> None:
        for formats, rate in ((b"9 96", 8000), (b"96 0", 48000), (b"97", 8000), (b"10", 44100)):
            document = Document(
                sdp(b"m=audio 5000 RTP/AVP " + formats, b"a=rtpmap:96 opus/48000/2", b"a=rtpmap:97 x/0")
            )
            self.assertEqual(document.sections[0].clock_rate, rate, formats)

    def test_streams_without_a_unicast_literal_or_udp_are_not_usable(self) -> None:
        for lines in (
            (AUDIO, b"c=IN IP4 media.example"),
            (AUDIO, b"c=IN IP4 224.2.1.1/127"),
            (AUDIO, b"c=IN IP4 224.2.1.1"),
            (AUDIO, b"c=IN IP6 ff15::101"),
            (AUDIO, b"c=IN IP4 10.1.1.01"),
            (AUDIO, b"c=IN IP4 \xd9\xa1.1.1.1"),
            (AUDIO, b"c=ATM NSAP 47"),
            (b"m=audio 49170/2 RTP/AVP 0",),
            (b"m=message 2855 TCP/MSRP *",),
            (b"m=image 2855 TCP t38",),
            (b"m=audio 0 RTP/AVP 0",),
        ):
            self.assertFalse(Document(sdp(*lines)).usable, lines)

    def test_what_is_no_description_is_refused(self) -> None:
        for text in (
            b"",
            b"v=1\r\n",
            b"o=x\r\nv=0\r\n",
            sdp(AUDIO, session=[b"v=0"]),
            sdp(b"m=audio"),
            sdp(b"m=audio 5000 RTP/AVP"),
            sdp(b"m=audio 65536 RTP/AVP 0"),
            sdp(b"m=audio +5 RTP/AVP 0"),
            sdp(b"m=audio 5_0 RTP/AVP 0"),
            sdp(b"m=audio -1 RTP/AVP 0"),
            sdp("m=audio \u0665 RTP/AVP 0".encode()),
            sdp(AUDIO, b"a=rtcp:99999"),
            sdp(AUDIO, b"a=rtcp"),
            sdp(b"m=audio 5000 RTP/AVP" + b" 0" * 200),
        ):
            self.assertRaises(UnusableSDP, Document, text)

    def test_size_and_number_of_streams_are_bounded(self) -> None:
        Document(sdp(*[AUDIO] * MAX_SECTIONS))
        self.assertRaises(UnusableSDP, Document, sdp(*[AUDIO] * (MAX_SECTIONS + 1)))
        self.assertRaises(UnusableSDP, Document, sdp(AUDIO).ljust(MAX_SIZE + 1, b"\n"))


class RewriteTests(SynchronousTestCase):
    def test_addresses_and_ports_are_ours_and_other_lines_stay(self) -> None:  # edge case 31
        lines = [AUDIO, b"i=\xff\x00\x85\x0b text", b"a=rtcp:53020 IN IP4 10.1.1.1", b"a=fmtp:96 x", b"", b"garbage"]
        self.assertEqual(
            rewrite(sdp(*lines)),
            [
                b"v=0", b"o=- 77 1 IN IP4 192.0.2.1", b"s=a call", b"c=IN IP4 192.0.2.1", b"t=0 0",
                b"m=audio 2000 RTP/AVP 0 8 18 96 101", b"i=\xff\x00\x85\x0b text", b"a=rtcp:2001 IN IP4 192.0.2.1",
                b"a=fmtp:96 x", b"", b"garbage", b"",
            ],
        )  # fmt: skip

    def test_lines_that_end_in_lf_alone_keep_their_ends(self) -> None:
        text = Document(sdp(AUDIO, end=b"\n")).render(Origin(7), "192.0.2.1", [(2000, 2001)])
        self.assertNotIn(b"\r", text)
        self.assertIn(b"\nm=audio 2000 RTP/AVP 0 8 18 96 101\n", text)

    def test_family_of_the_new_address_is_written(self) -> None:  # edge case 34
        lines = rewrite(sdp(AUDIO, b"c=IN IP4 10.1.1.2"), "2001:db8::7")
        self.assertEqual(lines.count(b"c=IN IP6 2001:db8::7"), 2)
        self.assertIn(b"o=- 77 1 IN IP6 2001:db8::7", lines)
        self.assertIn(b"c=IN IP6 ::", rewrite(sdp(AUDIO, b"c=IN IP4 0.0.0.0"), "2001:db8::7"))

    def test_rejected_and_unknown_streams_keep_their_place_with_port_0(self) -> None:  # edge case 31
        lines = rewrite(sdp(b"m=video 0 RTP/AVP 99", b"m=message 2855 TCP/MSRP *", AUDIO))
        self.assertEqual(
            m_lines(lines),
            [b"m=video 0 RTP/AVP 99", b"m=message 0 TCP/MSRP *", b"m=audio 2004 RTP/AVP 0 8 18 96 101"],
        )

    def test_muxed_rtcp_attribute_follows_the_stream_s_port(self) -> None:
        self.assertIn(b"a=rtcp:2000 IN IP4 192.0.2.1", rewrite(sdp(AUDIO, b"a=rtcp:49170", b"a=rtcp-mux")))

    def test_rtcp_attribute_goes_where_there_is_no_port_for_it(self) -> None:
        lines = rewrite(sdp(b"m=audio 0 RTP/AVP 0", b"a=rtcp:53020", session=[*SESSION, b"a=rtcp:4 IN IP4 10.1.1.1"]))
        self.assertEqual([line for line in lines if b"rtcp" in line], [])

    def test_ice_goes_whole_and_srtp_stays(self) -> None:  # edge case 36
        ice = [
            b"a=ice-ufrag:abc", b"a=ice-pwd:def", b"a=candidate:1 1 UDP 1 10.1.1.1 49170 typ host",
            b"a=remote-candidates:1 10.1.1.9 5000", b"a=end-of-candidates", b"a=ice-mismatch", b"a=ice-pacing:50",
        ]  # fmt: skip
        kept = [b"a=fingerprint:sha-256 AA", b"a=setup:actpass", b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"]
        session = [*SESSION, b"a=ice-lite", b"a=ice-options:trickle"]
        lines = rewrite(sdp(b"m=audio 5000 RTP/SAVP 0", *ice, *kept, session=session))
        self.assertEqual(lines[5:], [b"m=audio 2000 RTP/SAVP 0", *kept, b""])

    def test_version_is_raised_when_and_only_when_what_we_say_changes(self) -> None:  # edge case 31
        origin = Origin(5)
        said = [
            rewrite(text, origin=origin)[1]
            for text in (
                sdp(AUDIO),
                sdp(AUDIO, session=[b"v=0", b"o=alice 1 999 IN IP4 10.1.1.1", *SESSION[2:]]),  # only theirs is raised
                sdp(AUDIO.replace(b"49170", b"4000")),  # we show the same port as before
                sdp(AUDIO, b"a=sendonly"),
                sdp(AUDIO),
            )
        ]
        self.assertEqual(said, [b"o=- 5 %d IN IP4 192.0.2.1" % version for version in (1, 1, 1, 2, 3)])


class RestrictTests(SynchronousTestCase):
    OFFER = sdp(
        AUDIO,
        b"a=rtpmap:8 PCMA/8000",
        b"a=fmtp:18 annexb=no",
        b"a=rtpmap:96 opus/48000/2",
        b"a=fmtp:96 useinbandfec=1",
        b"a=rtcp-fb:96 nack",
        b"a=rtcp-fb:* trr-int 100",
        b"a=rtpmap:101 telephone-event/8000",
        b"a=fmtp:101 0-16",
    )

    def test_allowed_codecs_come_in_order_with_events_and_lose_their_other_lines(self) -> None:
        self.assertEqual(
            rewrite(self.OFFER, allow=("G729", "pcmu", "PCMA"))[5:],
            [
                b"m=audio 2000 RTP/AVP 18 0 8 101", b"a=rtpmap:8 PCMA/8000", b"a=fmtp:18 annexb=no",
                b"a=rtcp-fb:* trr-int 100", b"a=rtpmap:101 telephone-event/8000", b"a=fmtp:101 0-16", b"",
            ],
        )  # fmt: skip

    def test_dynamic_codecs_are_known_by_their_rtpmap(self) -> None:
        lines = rewrite(self.OFFER, allow=("OPUS",))
        self.assertEqual(m_lines(lines), [b"m=audio 2000 RTP/AVP 96 101"])
        self.assertIn(b"a=rtcp-fb:96 nack", lines)
        self.assertNotIn(b"a=fmtp:18 annexb=no", lines)

    def test_comfort_noise_goes_along(self) -> None:
        lines = rewrite(sdp(b"m=audio 5000 RTP/AVP 13 0 3"), allow=("PCMU",))
        self.assertEqual(m_lines(lines), [b"m=audio 2000 RTP/AVP 0 13"])

    def test_nothing_left_is_refused(self) -> None:
        for allow in (("G722",), ("telephone-event",)):
            self.assertRaises(UnusableSDP, rewrite, self.OFFER, allow=allow)

    def test_a_stream_without_allowed_codecs_is_rejected_beside_one_that_has_some(self) -> None:
        lines = rewrite(
            sdp(b"m=audio 5000 RTP/AVP 3", b"m=audio 5002 RTP/AVP 0", b"m=video 5004 RTP/AVP 31"), allow=("PCMU",)
        )
        self.assertEqual(
            m_lines(lines), [b"m=audio 0 RTP/AVP 3", b"m=audio 2002 RTP/AVP 0", b"m=video 2004 RTP/AVP 31"]
        )


LINES = st.lists(
    st.one_of(
        st.sampled_from([
            AUDIO, b"m=video 0 RTP/AVP 99", b"m=image 4000 udptl t38", b"o=x",
            b"c=IN IP4 10.0.0.1", b"c=IN IP6 ::1", b"c=IN IP4 x", b"a=rtcp:5", b"a=rtcp:x", b"a=inactive",
            b"a=candidate:1", b"a=rtpmap:96 opus/48000", b"a=rtpmap:", b"a=",
        ]),
        st.binary(max_size=30),
    ),
    max_size=20,
)  # fmt: skip


class HostileTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(LINES)
    def test_nothing_but_unusable_sdp_is_ever_raised(self, lines: list[bytes]) -> None:
        text = sdp(*lines)
        for allow in ((), ("PCMU",)):
            try:
                self.assertTrue(rewrite(text, allow=allow)[1].startswith(b"o=- 77 1 IN IP4"))
            except UnusableSDP as error:
                self.assertTrue(str(error))

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_bytes_that_are_no_description_are_refused(self, text: bytes) -> None:
        self.assertRaises(UnusableSDP, Document, b"x" + text)

    @settings(deadline=None)
    @given(
        st.lists(
            st.binary(max_size=30).filter(lambda line: b"\n" not in line and line[:2] not in (b"m=", b"c=", b"o="))
        )
    )
    def test_lines_that_mean_nothing_to_us_keep_their_bytes_and_place(self, lines: list[bytes]) -> None:  # edge case 31
        lines = [
            line for line in lines if not line.startswith((b"a=rtcp", b"a=candidate", b"a=ice", b"a=remote", b"a=end"))
        ]
        self.assertEqual(b"\r\n".join(rewrite(sdp(AUDIO, *lines))[6:]), b"\r\n".join([*lines, b""]))
