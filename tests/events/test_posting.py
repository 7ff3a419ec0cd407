"""Real sockets: what an endpoint may do, and which addresses are never connected to."""

from twisted.internet import defer, reactor
from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from calltrack.events.posting import KEPT, READ, Poster, PostFailed, is_public
from tests.events.servers import HOST, Endpoint, RawFactory, listen


class PostingTestCase(TestCase):
    timeout = 20

    def poster(self, resolve=None, **options):
        self.asked = []

        def resolved(host):
            self.asked.append(host)
            return succeed([HOST])

        poster = Poster(reactor, resolve or resolved, **{"allow_private": True, "timeout": 5.0, **options})
        self.addCleanup(poster.close)
        return poster

    async def failure(self, poster, url):
        return str(await self.assertFailure(poster.post(url, [], b"{}"), PostFailed))


class PostingTests(PostingTestCase):
    async def test_body_and_headers_arrive_and_the_answer_comes_back(self):
        endpoint = Endpoint(201, body=b"thanks")
        port = listen(self, endpoint)
        answer = await self.poster().post(f"http://hooks.example:{port}/a?b=c", [("x-a", "b")], '{"é":1}'.encode())
        self.assertEqual((answer.status, answer.body), (201, b"thanks"))
        [request] = endpoint.received
        self.assertEqual((request.path, request.headers["x-a"], request.body), ("/a?b=c", "b", '{"é":1}'.encode()))
        self.assertEqual(request.headers["host"], f"hooks.example:{port}")
        self.assertEqual(self.asked, ["hooks.example"])

    async def test_redirect_is_an_answer_and_is_not_followed(self):
        elsewhere = Endpoint()
        target = listen(self, elsewhere)
        endpoint = Endpoint(307, headers=[("location", f"http://{HOST}:{target}/")])
        port = listen(self, endpoint)
        answer = await self.poster().post(f"http://{HOST}:{port}/", [], b"{}")
        self.assertEqual(answer.status, 307)
        self.assertEqual(elsewhere.received, [])

    async def test_dead_endpoint_is_told_with_address_and_port(self):
        port = reactor.listenTCP(0, RawFactory(b"", "close"), interface=HOST)
        number = port.getHost().port
        await port.stopListening()
        self.assertIn(f"no connection to {HOST} port {number}", await self.failure(self.poster(), f"http://{HOST}:{number}/"))

    async def test_endpoint_that_never_answers_is_given_up_in_time(self):
        port = listen(self, RawFactory(b"", "wait"))
        why = await self.failure(self.poster(timeout=0.2), f"http://{HOST}:{port}/")
        self.assertIn("no whole answer within 0.2 s", why)

    async def test_endpoint_that_never_ends_its_answer_is_given_up_in_time(self):
        port = listen(self, RawFactory(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeg", "wait"))
        why = await self.failure(self.poster(timeout=0.2), f"http://{HOST}:{port}/")
        self.assertIn("no whole answer", why)

    async def test_endpoint_that_says_200_and_resets_has_not_taken_it(self):
        factory = RawFactory(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeg", "reset")
        port = listen(self, factory)
        self.assertIn("connection was lost", await self.failure(self.poster(), f"http://{HOST}:{port}/"))
        self.assertEqual(factory.requests, 1)

    async def test_reset_without_an_answer_is_a_failure(self):
        port = listen(self, RawFactory(b"", "reset"))
        self.assertIn("connection was lost", await self.failure(self.poster(), f"http://{HOST}:{port}/"))

    async def test_answer_that_ends_with_its_connection_counts(self):
        port = listen(self, RawFactory(b"HTTP/1.0 200 OK\r\n\r\nfine", "close"))
        answer = await self.poster().post(f"http://{HOST}:{port}/", [], b"{}")
        self.assertEqual((answer.status, answer.body), (200, b"fine"))

    async def test_endless_answer_is_read_no_further_than_is_needed(self):
        port = listen(self, RawFactory(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (READ * 2), "wait"))
        answer = await self.poster().post(f"http://{HOST}:{port}/", [], b"{}")
        self.assertEqual((answer.status, len(answer.body)), (200, KEPT))

    async def test_what_is_no_http_is_a_failure_in_words(self):
        port = listen(self, RawFactory(b"SSH-2.0-OpenSSH_9.2\r\n", "close"))
        self.assertTrue(await self.failure(self.poster(), f"http://{HOST}:{port}/"))

    async def test_https_to_a_server_without_tls_is_a_failure_in_words(self):
        port = listen(self, RawFactory(b"HTTP/1.1 400 Bad Request\r\n\r\n", "close"))
        self.assertTrue(await self.failure(self.poster(), f"https://hooks.example:{port}/"))

    async def test_connection_is_used_again(self):
        endpoint = Endpoint()
        port = listen(self, endpoint)
        poster = self.poster()
        for _ in range(3):
            await poster.post(f"http://hooks.example:{port}/", [], b"{}")
        self.assertEqual((len(endpoint.received), self.asked), (3, ["hooks.example"]))

    async def test_cancelled_post_is_cancelled_and_no_failure_of_the_endpoint(self):
        port = listen(self, RawFactory(b"", "wait"))
        posted = self.poster().post(f"http://{HOST}:{port}/", [], b"{}")
        posted.cancel()
        await self.assertFailure(posted, defer.CancelledError)


class PrivateAddressTests(PostingTestCase):
    async def test_private_address_is_not_connected_to_whatever_name_leads_there(self):
        endpoint = Endpoint()
        port = listen(self, endpoint)
        poster = self.poster(allow_private=False)
        for host in (HOST, "hooks.example"):
            why = await self.failure(poster, f"http://{host}:{port}/")
            self.assertIn("no address of the public internet", why)
            self.assertIn("allow_private", why)
        self.assertEqual(endpoint.received, [])

    async def test_name_is_judged_by_what_is_connected_to_not_by_an_earlier_answer(self):
        """DNS rebinding: a public address first, a private one when it counts."""
        endpoint = Endpoint()
        port = listen(self, endpoint)
        answers = [["192.0.0.9"], [HOST]]
        poster = self.poster(lambda host: succeed(answers.pop(0)), allow_private=False, timeout=0.2)
        for _ in range(2):
            await self.assertFailure(poster.post(f"http://hooks.example:{port}/", [], b"{}"), PostFailed)
        self.assertEqual((endpoint.received, answers), ([], []))

    async def test_only_public_addresses_of_a_name_are_tried(self):
        endpoint = Endpoint()
        port = listen(self, endpoint)
        poster = self.poster(lambda host: succeed([HOST, "::1", "10.0.0.1"]), allow_private=False)
        self.assertIn("no address of the public", await self.failure(poster, f"http://hooks.example:{port}/"))
        self.assertEqual(endpoint.received, [])

    async def test_name_without_an_address(self):
        self.assertIn("has no address", await self.failure(self.poster(lambda host: succeed([])), "http://x.example/"))


class AddressTests(SynchronousTestCase):
    def test_addresses_that_lead_into_private_networks(self):
        for address in (
            "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
            "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
            "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::", "2001:db8::1",
            "64:ff9b:1::7f00:1", "::ffff:0:7f00:1", "::7f00:1", "fec0::1", "3fff::1", "5f00::1", "192.0.0.8", "192.88.99.1",
            "2001:0:7f00:1::", "2001:4860::5efe:7f00:1", "2001:4860::200:5efe:a00:1",
        ):  # fmt: skip
            self.assertFalse(is_public(address), address)

    def test_addresses_of_the_public_internet(self):
        for address in ("8.8.8.8", "212.116.121.63", "2a00:1450:4001:81b::200e", "::ffff:8.8.8.8", "64:ff9b::808:808", "2001:4860::5efe:808:808"):
            self.assertTrue(is_public(address), address)
