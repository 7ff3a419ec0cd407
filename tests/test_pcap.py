"""Captures, as the programs that people open them with read them."""

import shutil
import subprocess

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from calltrack import pcap

FOUR = ("192.0.2.1", 4000), ("192.0.2.2", 5060)
SIX = ("2001:db8::1", 4000), ("2001:db8::2", 5060)


def tshark(path, *arguments):
    """What tshark prints about a capture."""
    program = shutil.which("tshark")
    if program is None:
        raise SkipTest("tshark is not installed: apt-get install tshark")
    done = subprocess.run([program, "-n", "-r", path, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fields(path, *names, only=""):
    """The values of these fields in each packet, as tshark has them."""
    arguments = [part for name in names for part in ("-e", name)]
    out = tshark(path, "-T", "fields", *arguments, *(("-Y", only) if only else ()), "-o", "udp.check_checksum:TRUE",
                 "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")  # fmt: skip
    return [tuple(line.split("\t")) for line in out.rstrip("\n").split("\n")]


class CaptureTests(SynchronousTestCase):
    def write(self, *packets):
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(pcap.header() + b"".join(pcap.packet(1_795_457_000_123_456 + n, one) for n, one in enumerate(packets)))
        return path

    def test_datagrams_and_segments_have_right_checksums_addresses_and_times(self):
        for payload in (b"", b"odd", b"even", b"\xff" * 1000, bytes(100)):
            for source, target in (FOUR, SIX):
                path = self.write(pcap.udp(source, target, payload), pcap.tcp(source, target, 7, 9, payload))
                family = "ipv6" if ":" in source[0] else "ip"
                names = (f"{family}.src", f"{family}.dst", "udp.srcport", "udp.dstport", "udp.checksum.status", "frame.time_epoch")
                datagram, segment = fields(path, *names)
                self.assertEqual(datagram[:5], (source[0], target[0], "4000", "5060", "1"))
                self.assertTrue(datagram[5].startswith("1795457000.123456"))
                names = ("tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.checksum.status")
                self.assertEqual(fields(path, *names)[1], ("4000", "5060", "7", "9", "1"))
        self.assertEqual(fields(self.write(pcap.udp(*FOUR, b"x")), "ip.checksum.status"), [("1",)])

    def test_what_is_too_long_for_a_packet_is_cut(self):
        path = self.write(pcap.udp(*FOUR, bytes(70_000)), pcap.tcp(*FOUR, 0, 0, bytes(70_000)))
        self.assertEqual(len(fields(path, "frame.len")), 2)

    def test_whole_packets_of_a_capture_that_was_cut_off(self):
        whole = pcap.header() + pcap.packet(1, b"abc") + pcap.packet(2, b"defg")
        self.assertEqual(pcap.whole_packets(whole), len(whole))
        for cut in range(len(whole) - 4 - 16, len(whole)):
            self.assertEqual(pcap.whole_packets(whole[:cut]), len(whole) - 4 - 16)
        self.assertEqual(pcap.whole_packets(whole + b"\xff" * 40), len(whole))
