"""Captures and HEP as other programs read them."""

import socket
from struct import pack, unpack_from

from twisted.trial.unittest import SynchronousTestCase

from calltrack.tracing import export, hep
from calltrack.tracing.homer import Homer
from tests.test_pcap import fields
from tests.tracing.test_contents import INVITE
from tests.tracing.test_segments import HERE, MS, ONE, THERE, message

OK = (
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\n"
    b"Call-ID: abc\r\nCSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n"
)
LONG = OK.replace(b"Content-Length: 0\r\n\r\n", b"Subject: " + b"long " * 800 + b"\r\nContent-Length: 0\r\n\r\n")


class CaptureTests(SynchronousTestCase):
    def written(self, *messages):
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(export.capture(messages))
        return path

    def test_wireshark_sees_sip_with_addresses_ports_and_times(self):
        path = self.written(message(data=INVITE), message(data=OK, sent=True, at_ms=MS + 7))
        names = ("ip.src", "udp.srcport", "ip.dst", "udp.dstport", "sip.Method", "sip.Status-Code", "frame.time_epoch")
        first, second = fields(path, *names)
        self.assertEqual(first[:6], ("198.51.100.7", "5062", "192.0.2.1", "5060", "INVITE", ""))
        self.assertEqual(second[:6], ("192.0.2.1", "5060", "198.51.100.7", "5062", "", "200"))
        self.assertTrue(second[6].startswith("1795457000.007"))

    def test_any_port_and_transport_is_seen_as_sip(self):
        for transport, remote in (("udp", 33060), ("tcp", 5060), ("tcp", 33060), ("tls", 5061), ("tls", 33061)):
            local = ("192.0.2.1", 5061 if transport == "tls" else 23456)
            path = self.written(
                message(data=OK, transport=transport, local=local, remote=("198.51.100.7", remote)),
                message(data=OK, transport=transport, local=local, remote=("198.51.100.7", remote), sent=True),
            )
            self.assertEqual(fields(path, "sip.Status-Code", only="sip"), [("200",), ("200",)], (transport, remote))

    def test_long_messages_over_tcp_are_put_together_again(self):
        path = self.written(message(data=LONG, transport="tcp"), message(data=OK, transport="tcp"))
        self.assertEqual(len(fields(path, "sip.Status-Code", only="sip")), 2)
        self.assertEqual(fields(path, "tcp.analysis.flags", only="tcp.analysis.flags"), [("",)])

    def test_ipv6_and_an_address_of_the_other_family_are_written(self):
        path = self.written(
            message(data=OK, local=("2001:db8::1", 5060), remote=("2001:db8::7", 5060)),
            message(data=OK, local=("203.0.113.5", 5060), remote=("2001:db8::7", 5060)),
        )
        self.assertEqual(
            fields(path, "ipv6.src", "ipv6.dst", "sip.Status-Code"),
            [("2001:db8::7", "2001:db8::1", "200"), ("2001:db8::7", "::ffff:203.0.113.5", "200")],
        )


class HEPTests(SynchronousTestCase):
    def chunks(self, datagram):
        """By type, as the specification has them."""
        self.assertEqual((datagram[:4], int.from_bytes(datagram[4:6], "big")), (b"HEP3", len(datagram)))
        found, at = {}, 6
        while at < len(datagram):
            vendor, kind, size = unpack_from(">HHH", datagram, at)
            self.assertEqual((vendor, size >= 6, kind in found), (0, True, False))
            found[kind] = datagram[at + 6 : at + size]
            at += size
        self.assertEqual(at, len(datagram))
        return found

    def test_every_chunk_is_as_the_specification_has_it(self):
        sent = message(data=OK, sent=True, at_ms=MS + 1, transport="tcp")
        self.assertEqual(
            self.chunks(hep.encode(sent, 2001, "pass")),
            {
                1: b"\x02",  # IPv4
                2: b"\x06",  # TCP
                3: bytes([192, 0, 2, 1]),
                4: bytes([198, 51, 100, 7]),
                7: pack(">H", 5060),
                8: pack(">H", 5062),
                9: pack(">I", MS // 1000),
                10: pack(">I", 1000),
                11: b"\x01",  # SIP
                12: pack(">I", 2001),
                14: b"pass",
                15: OK,
                17: ONE.encode(),
            },
        )

    def test_ipv6_has_chunks_of_its_own_and_what_is_not_there_has_none(self):
        six = message(data=OK, call="", local=("2001:db8::1", 5060), remote=("2001:db8::7", 5060))
        found = self.chunks(hep.encode(six, 1, ""))
        self.assertEqual(sorted(found), [1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 15])
        self.assertEqual((found[1], found[5][-1], found[6][-1]), (b"\x0a", 7, 1))

    def test_server_that_is_not_there_costs_its_messages_and_nothing_else(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        homer = Homer(f"127.0.0.1:{port}", 1, "")
        for _ in range(5):
            homer.send([message(local=HERE, remote=THERE)])
        homer.send([message(data=bytes(70_000))])
        self.assertGreater(homer.lost, 0)
        homer.close()

    def test_name_that_does_not_exist_is_told_once(self):
        homer = Homer("homer.invalid:9060", 1, "")
        self.patch(socket, "getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(socket.gaierror(-2, "no such name")))
        homer.send([message()])
        homer.send([message()])
        self.assertEqual(homer.lost, 2)
