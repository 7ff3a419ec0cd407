"""Who could read along, what counts as encrypted, which forms are ours."""

from ipaddress import ip_network

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from calltrack.web.pages import gate

PROXIES = (ip_network("10.0.0.5/32"),)


class FakeRequest:
    """A request that came to the address `at` from `peer`."""

    def __init__(self, at="203.0.113.5", peer="198.51.100.7", secure=False, **headers):
        self._host, self._peer, self._secure = at, peer, secure
        self._headers = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}

    def getHost(self):
        return IPv4Address("TCP", self._host, 8080)

    def getClientAddress(self):
        return IPv4Address("TCP", self._peer, 50000)

    def isSecure(self):
        return self._secure

    def getHeader(self, name):
        return self._headers.get(name)


class GateTests(SynchronousTestCase):
    def test_page_is_kept_from_open_lines(self):
        self.assertTrue(gate.may_be_read(FakeRequest(), PROXIES))
        self.assertTrue(gate.may_be_read(FakeRequest(x_forwarded_proto="https"), PROXIES))
        self.assertFalse(gate.may_be_read(FakeRequest(secure=True), PROXIES))
        self.assertFalse(gate.may_be_read(FakeRequest(at="127.0.0.1", peer="127.0.0.1"), PROXIES))
        self.assertFalse(gate.may_be_read(FakeRequest(peer="10.0.0.5"), PROXIES))

    def test_only_a_named_proxy_says_that_the_browsers_way_is_encrypted(self):
        self.assertTrue(gate.is_secure(FakeRequest(peer="10.0.0.5", x_forwarded_proto="https"), PROXIES))
        self.assertFalse(gate.is_secure(FakeRequest(peer="10.0.0.5", x_forwarded_proto="http"), PROXIES))
        self.assertFalse(gate.is_secure(FakeRequest(x_forwarded_proto="https"), PROXIES))
        self.assertTrue(gate.is_secure(FakeRequest(secure=True), ()))

    def test_forms_of_other_sites_are_told_by_what_the_browser_says(self):
        own = {"host": "calls.example.com"}
        for headers, ours in (
            ({}, True),
            ({"origin": "https://calls.example.com"}, True),
            ({"origin": "https://calls.example.com.evil.example"}, False),
            ({"origin": "null"}, False),
            ({"sec_fetch_site": "same-site"}, False),
            ({"sec_fetch_site": "none"}, True),
        ):
            self.assertEqual(gate.same_site(FakeRequest(**own, **headers)), ours, headers)

    def test_empty_token_is_never_the_right_one(self):
        self.assertFalse(gate.same_token("", ""))
        self.assertFalse(gate.same_token("a", ""))
        self.assertTrue(gate.same_token("a", "a"))
