"""Listening ports over real sockets: what the in-memory network cannot show."""

import socket

from twisted.internet import defer, reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import TestCase

from calltrack.sip import ports
from calltrack.sip.ports import SOON, listen_udp
from calltrack.sip.transports import Transports
from calltrack.timers import Timers
from tests.interop.processes import free_port

HERE = "127.0.0.1"


class FamilyTests(TestCase):
    def test_ipv6_leaves_ipv4_to_a_listener_of_its_own(self):
        for transport in ("udp", "tcp"):
            for first, second in (("0.0.0.0", "::"), ("::", "0.0.0.0")):
                port = free_port("::")  # which is free of both families
                transports = Transports(reactor, Timers(reactor), [(transport, first, port)])
                transports.start()
                self.addCleanup(transports.stop)
                both = Transports(reactor, Timers(reactor), [(transport, second, port)])
                both.start()
                self.addCleanup(both.stop)
                self.assertEqual([place[:] for place in both.listening()], [(transport, second, port)])


class _Datagrams(DatagramProtocol):
    def __init__(self):
        self.datagrams = []
        self.told = None  # of each one that arrives

    def datagramReceived(self, datagram, addr):
        self.datagrams.append(datagram)
        if self.told is not None:
            self.told()


class DatagramPortTests(TestCase):
    """What is sent over loopback has arrived when sending returns, so that reading needs no waiting."""

    timeout = 10

    def setUp(self):
        self.now = 100.0
        self.protocol = _Datagrams()
        self.port = listen_udp(reactor, 0, self.protocol, HERE, lambda: self.now)
        self.addCleanup(self.port.stopListening)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.sender.close)

    def send(self, *datagrams):
        for datagram in datagrams:
            self.sender.sendto(datagram, (HERE, self.port.getHost().port))

    def test_everything_that_has_arrived_is_read(self):
        self.send(b"1", b"2" * 65507, b"", b"3")
        self.port.read(self.now + 1)
        self.assertEqual(self.protocol.datagrams, [b"1", b"2" * 65507, b"", b"3"])

    def test_reading_ends_when_its_time_is_over_but_not_without_any(self):
        self.send(b"1", b"2", b"3")
        self.protocol.told = lambda: setattr(self, "now", self.now + 1)
        self.port.read(102.0)
        self.assertEqual(self.protocol.datagrams, [b"1", b"2"])
        self.port.read(0.0)
        self.assertEqual(self.protocol.datagrams, [b"1", b"2", b"3"])

    async def test_the_reactor_calls_when_there_is_something(self):
        ready = defer.Deferred()
        self.port.ready = lambda: (self.port.read(self.now), ready.called or ready.callback(None))
        self.send(b"1")
        await ready
        self.assertEqual(self.protocol.datagrams, [b"1"])

    def test_waiting_is_told_by_the_kernel(self):
        """It has waited for 3 s by the clock of the kernel, at least."""
        self.send(b"1")
        arrived = ports.time.time()
        self.patch(ports.time, "time", lambda: arrived + 3.0)
        self.now += 10.0
        waited = []
        self.protocol.told = lambda: waited.append(self.port.waited())
        self.port.read(self.now)
        self.assertTrue(3.0 <= waited[0] <= 10.0, waited)

    def test_a_clock_that_is_set_makes_nothing_older_than_the_last_look(self):
        for change, longest in ((3600.0, 5.0), (-3600.0, 0.0)):
            self.port.read(self.now)
            self.send(b"1")
            arrived = ports.time.time()
            self.patch(ports.time, "time", lambda at=arrived + change: at)
            self.now += 5.0
            waited = []
            self.protocol.told = lambda: waited.append(self.port.waited())
            self.port.read(self.now)
            self.assertEqual(waited, [longest])

    def test_nothing_is_asked_shortly_after_the_socket_was_empty(self):
        self.port.read(self.now)
        self.send(b"1")
        self.patch(ports, "ioctl", None)
        self.now += SOON / 2
        self.protocol.told = lambda: self.assertEqual(self.port.waited(), 0.0)
        self.port.read(self.now)
        self.assertEqual(self.protocol.datagrams, [b"1"])
