"""Who may come in how: addresses as sockets of both families tell them."""

from ipaddress import ip_network

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from calltrack.web.pages import gate


def request(client, host, forwarded="https"):
    kind = IPv6Address if ":" in client else IPv4Address
    asked = DummyRequest([b""])
    asked.getClientAddress = lambda: kind("TCP", client, 40000)
    asked.getHost = lambda: kind("TCP", host, 8080)
    asked.getHeader = lambda name: forwarded.encode() if name == b"x-forwarded-proto" else None
    asked.isSecure = lambda: False
    return asked


class GateTests(SynchronousTestCase):
    def test_ipv4_address_that_an_ipv6_socket_has_met_is_ipv4(self):
        proxies = (ip_network("192.0.2.0/24"),)
        for client in ("192.0.2.1", "::ffff:192.0.2.1"):
            self.assertTrue(gate.is_secure(request(client, "192.0.2.9"), proxies), client)
            self.assertFalse(gate.may_be_read(request(client, "192.0.2.9"), proxies), client)
        for host in ("127.0.0.1", "::ffff:127.0.0.1", "::1"):
            self.assertFalse(gate.may_be_read(request("::ffff:127.0.0.1", host), ()), host)
        for client, host in (("203.0.113.5", "192.0.2.9"), ("::ffff:203.0.113.5", "::ffff:192.0.2.9")):
            self.assertFalse(gate.is_secure(request(client, host), proxies), client)
            self.assertTrue(gate.may_be_read(request(client, host), proxies), client)
