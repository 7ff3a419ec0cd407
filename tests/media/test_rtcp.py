"""What receivers report is read, whatever stands around it, and nothing else is taken for it."""

from __future__ import annotations

from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.media.rtcp import Report, reports
from calltrack.testing.media_peers import receiver_report


def sender_report(*blocks: bytes) -> bytes:
    return pack(">BBHI", 0x80 | len(blocks), 200, 6 + 6 * len(blocks), 0x99) + bytes(20) + b"".join(blocks)


class ReportTests(SynchronousTestCase):
    def test_a_receiver_report_is_read(self) -> None:
        self.assertEqual(list(reports(receiver_report(ssrc=7, lost=3, jitter=160))), [Report(7, 3, 160)])

    def test_blocks_of_a_sender_report_and_of_packets_behind_it_are_read(self) -> None:
        block = receiver_report(ssrc=7, lost=3, jitter=160)[8:]
        description = pack(">BBHI", 0x81, 202, 2, 0x99) + b"\x01\x02me"  # SDES
        packet = sender_report(block, block) + description + receiver_report(ssrc=8, lost=0, jitter=1)
        self.assertEqual(list(reports(packet)), [Report(7, 3, 160), Report(7, 3, 160), Report(8, 0, 1)])

    def test_more_duplicates_than_losses_are_no_loss(self) -> None:
        self.assertEqual(list(reports(receiver_report(ssrc=7, lost=0xFFFFFE, jitter=0))), [Report(7, 0, 0)])

    def test_a_packet_that_is_cut_short_or_says_more_than_it_has_gives_nothing(self) -> None:
        whole = receiver_report(ssrc=7, lost=3, jitter=160)
        for size in range(len(whole)):
            self.assertEqual(list(reports(whole[:size])), [], size)
        self.assertEqual(list(reports(b"\x9f" + whole[1:])), [Report(7, 3, 160)])

    @given(st.binary(max_size=300))
    def test_no_packet_is_too_strange(self, packet: bytes) -> None:
        for report in reports(packet):
            self.assertTrue(0 <= report.lost < 0x800000)
