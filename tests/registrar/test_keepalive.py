"""The way to devices behind NATs stays open, from both ends."""

import struct

from calltrack.registrar.keepalive import EMPTY
from calltrack.sip.stun import binding_response
from calltrack.testing.account_contract import binding
from calltrack.testing.peers import ENGINE
from tests.registrar.case import PHONE, RegistrarTestCase

REQUEST = bytes.fromhex("000100002112a442") + bytes(range(12))


class EmptyLineTests(RegistrarTestCase):
    def sent(self, to):
        return [at for at, source, place, data in self.network.trace if (source, place, data) == (ENGINE, to, EMPTY)]

    def test_phone_behind_a_nat_hears_from_us_every_period(self):
        self.start(nat_keepalive=20.0)
        phone = self.phone(port=40123, shown=("192.168.1.5", 5060))
        self.registered(phone)
        phone._received = lambda data: None
        phone.udp.protocol._received = phone._received
        self.network.run(200)
        self.assertIn(len(self.sent((PHONE, 40123))), (9, 10, 11))

    def test_other_devices_are_left_alone(self):
        self.start(nat_keepalive=5.0)
        self.registered(self.phone())
        self.registered(self.phone(transport="tcp", port=5070, shown=("192.168.1.5", 5060)))
        self.network.run(100)
        self.assertEqual([data for _, source, _, data in self.network.trace if data == EMPTY], [])

    def test_nothing_is_sent_where_it_is_turned_off(self):
        self.start(nat_keepalive=0.0)
        self.registered(self.phone(port=40123, shown=("192.168.1.5", 5060)))
        self.network.run(100)
        self.assertEqual(self.sent((PHONE, 40123)), [])

    def test_devices_take_turns(self):
        self.start(nat_keepalive=10.0)
        for project in range(1, 51):
            self.registrar.locations.put(binding(project, 1, local="192.0.2.1:5060"), 3600, keep_open=True)
        self.network.run(40.5)
        times = [round(at) for at, source, place, data in self.network.trace if data == EMPTY]
        self.assertEqual(len(times), 4 * 50)
        self.assertEqual({times.count(second) for second in set(times)}, {5})


class STUNTests(RegistrarTestCase):
    def test_binding_request_is_answered_with_where_it_came_from(self):
        self.start()
        phone = self.phone(port=40123)
        answers = []
        phone.udp.protocol._received = answers.append
        phone.send(REQUEST)
        self.network.run(0.1)
        (answer,) = answers
        kind, length, cookie, transaction = struct.unpack_from(">HHI12s", answer)
        self.assertEqual((kind, length, cookie, transaction), (0x0101, 12, 0x2112A442, REQUEST[8:]))
        attribute, size, _, family, port = struct.unpack_from(">HHBBH", answer, 20)
        self.assertEqual((attribute, size, family, port ^ 0x2112), (0x0020, 8, 1, 40123))
        self.assertEqual(struct.unpack_from(">I", answer, 28)[0] ^ cookie, int.from_bytes(bytes([203, 0, 113, 9]), "big"))

    def test_ipv6_is_masked_with_the_transaction_too(self):
        answer = binding_response(REQUEST, "2001:db8::9", 5060)
        mask = REQUEST[4:20]
        self.assertEqual(bytes(a ^ b for a, b in zip(answer[28:], mask)).hex(), "20010db8" + "0" * 23 + "9")
        self.assertEqual(answer[25], 2)

    def test_what_is_no_binding_request_gets_nothing(self):
        cases = (
            REQUEST[:19],
            REQUEST + b"\0",
            b"\x00\x01\x00\x04" + REQUEST[4:],
            b"\x00\x01\x00\x00\x00\x00\x00\x00" + REQUEST[8:],
            b"\x01\x01" + REQUEST[2:],
        )
        for data in cases:
            self.assertIsNone(binding_response(data, "192.0.2.1", 1))
