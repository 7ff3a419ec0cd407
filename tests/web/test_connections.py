"""Bounds of HTTP connections: slow clients, many clients, long bodies, pipelines. In memory, with a clock of the test;
once over real sockets with 2,300 idle connections."""

import resource
import socket

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from calltrack.web.connections import KEPT, LAST_WORDS, BoundedSite
from calltrack.web.site import LONGEST_BODY, longest_body, put_together
from tests.interop.processes import eventually
from tests.web.browser import HOST
from tests.web.browser_case import stop

HELLO = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"


class Echo(Resource):
    """Answers with the length of the body; /waits not before it is told to."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.waiting = []
        self.seen = 0

    def render(self, request):
        self.seen += 1
        if request.path == b"/waits":
            self.waiting.append(request)
            return NOT_DONE_YET
        return b"%d bytes" % len(request.content.read())


class Wire(StringTransport):
    """A transport that tells how it was closed."""

    aborted = False

    def abortConnection(self):
        self.aborted = True
        self.disconnecting = True


class ConnectionTestCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.echo = Echo()
        self.site = BoundedSite(self.echo, 10.0, lambda path: 100 if path.startswith(b"/t/") else 1000)
        self.site.reactor = self.clock
        self.site.log = lambda request: None

    def connect(self):
        channel = self.site.buildProtocol(None)
        self.assertIsNotNone(channel)
        wire = Wire()
        channel.makeConnection(wire)
        return channel, wire


class SlowClientTests(ConnectionTestCase):
    def test_byte_now_and_then_does_not_keep_a_connection(self):
        channel, wire = self.connect()
        for byte in HELLO[:9]:
            channel.dataReceived(bytes((byte,)))
            self.clock.advance(1)
        self.assertFalse(wire.aborted)
        self.clock.advance(1)
        self.assertTrue(wire.aborted)

    def test_body_that_never_ends_does_not_keep_a_connection(self):
        channel, wire = self.connect()
        channel.dataReceived(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n")
        for _ in range(9):
            channel.dataReceived(b"x")
            self.clock.advance(1)
        self.assertFalse(wire.aborted)
        self.clock.advance(1)
        self.assertTrue(wire.aborted)
        self.assertEqual(self.echo.seen, 0)

    def test_connection_that_was_answered_is_kept_for_a_while(self):
        channel, wire = self.connect()
        for _ in range(3):
            wire.clear()
            channel.dataReceived(HELLO)
            self.assertIn(b"0 bytes", wire.value())
            self.clock.advance(KEPT - 1)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(1)
        self.assertTrue(wire.disconnecting)
        self.assertFalse(wire.aborted)  # it may be reading the answer still
        self.clock.advance(LAST_WORDS)
        self.assertTrue(wire.aborted)

    def test_next_request_on_a_kept_connection_has_no_more_time_than_the_first(self):
        for begun in (HELLO + HELLO[:5], HELLO):
            channel, wire = self.connect()
            channel.dataReceived(begun)
            if begun == HELLO:
                self.clock.advance(30)
                channel.dataReceived(HELLO[:5])
            self.clock.advance(9)
            self.assertFalse(wire.disconnecting)
            self.clock.advance(1)
            self.assertTrue(wire.disconnecting)

    def test_answer_that_takes_its_time_is_not_cut_off(self):
        channel, wire = self.connect()
        channel.dataReceived(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
        self.clock.advance(600)
        self.assertFalse(wire.disconnecting)
        self.echo.waiting[0].write(b"now")
        self.echo.waiting[0].finish()
        self.assertIn(b"now", wire.value())


class BodyTests(ConnectionTestCase):
    def refused(self, wire):
        self.assertTrue(wire.value().startswith(b"HTTP/1.1 413 "), wire.value())
        self.assertEqual(wire.value().count(b"HTTP/1.1"), 1)
        self.assertIn(b'"field":"body"', wire.value())
        self.assertTrue(wire.disconnecting)

    def test_body_that_is_announced_too_long_is_refused_before_it_comes(self):
        channel, wire = self.connect()
        channel.dataReceived(b"POST /t/x HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n")
        self.refused(wire)
        channel.dataReceived(b"x" * 101 + HELLO)
        self.refused(wire)
        self.assertEqual(self.echo.seen, 0)

    def test_body_in_chunks_is_refused_when_it_is_too_long(self):
        channel, wire = self.connect()
        channel.dataReceived(b"POST /t/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(11):
            channel.dataReceived(b"a\r\n" + b"x" * 10 + b"\r\n")
        channel.dataReceived(b"0\r\n\r\n" + HELLO)
        self.refused(wire)
        self.assertEqual(self.echo.seen, 0)

    def test_length_of_thousands_of_digits_is_no_number(self):
        channel, wire = self.connect()
        channel.dataReceived(b"POST /t/x HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 8000 + b"\r\n\r\n")
        self.refused(wire)

    def test_body_of_the_longest_length_is_taken(self):
        channel, wire = self.connect()
        channel.dataReceived(b"POST /t/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 100)
        self.assertIn(b"100 bytes", wire.value())

    def test_paths_of_browsers_take_less_than_others(self):
        self.assertEqual(longest_body(b"/t/0123456789abcdef/visit"), 8192)
        self.assertEqual(longest_body(b"//t/0123456789abcdef/visit"), 8192)
        self.assertEqual(longest_body(b"/api/v1/numbers"), LONGEST_BODY)

    def test_garbage_is_refused_without_a_traceback(self):
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50 + b"\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 600 + b"\r\n",
            b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx\r\n",
            b"GET / HTTP/1.1\r\nX\x00: y\r\n\r\n",
        ):
            channel, wire = self.connect()
            channel.dataReceived(garbage)
            self.assertTrue(wire.disconnecting, garbage[:40])
            self.assertIn(wire.value()[:12], (b"", b"HTTP/1.1 400"), garbage[:40])
        self.assertEqual(self.echo.seen, 0)


class PipelineTests(ConnectionTestCase):
    def test_requests_in_one_packet_are_answered_in_their_order(self):
        channel, wire = self.connect()
        body = b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        channel.dataReceived(HELLO + body + HELLO)
        self.assertEqual(wire.value().count(b"HTTP/1.1 200"), 3)
        self.assertLess(wire.value().index(b"0 bytes"), wire.value().index(b"3 bytes"))

    def test_requests_behind_one_that_waits_are_not_begun(self):
        channel, wire = self.connect()
        channel.dataReceived(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n" + HELLO)
        channel.dataReceived(HELLO * 599)
        self.assertEqual(self.echo.seen, 1)
        self.assertEqual(wire.producerState, "paused")
        self.echo.waiting[0].finish()
        self.assertEqual(self.echo.seen, 601)

    def test_long_body_behind_an_answered_request_is_refused_after_its_answer(self):
        channel, wire = self.connect()
        channel.dataReceived(HELLO + b"POST /t/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
        self.assertLess(wire.value().index(b"200 OK"), wire.value().index(b"413 "))


class CrowdTests(ConnectionTestCase):
    def test_oldest_idle_connection_makes_room_for_a_new_one(self):
        self.site.most = 3
        (first, _), (_, second), (_, third) = [self.connect() for _ in range(3)]
        first.dataReceived(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
        fourth, wire = self.connect()
        self.assertTrue(second.aborted)
        self.assertFalse(third.aborted)
        fourth.dataReceived(HELLO)
        self.assertIn(b"0 bytes", wire.value())
        self.assertEqual(self.site.connections, 3)

    def test_connection_is_refused_when_all_others_wait_for_answers(self):
        self.site.most = 2
        for channel, _ in [self.connect() for _ in range(2)]:
            channel.dataReceived(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIsNone(self.site.buildProtocol(None))

    def test_no_more_than_a_quarter_of_the_files_that_may_be_open(self):
        self.assertLessEqual(put_together({}).most * 4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


class SocketTests(TestCase):
    timeout = 60

    async def test_clients_are_served_while_2300_idle_connections_are_open(self):
        idle = 2300
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * idle + 200:
            raise SkipTest("2,300 connections to oneself need 4,800 open files: ulimit -n 8192")
        site = put_together({b"hello": Echo()})
        site.most = 2000
        port = reactor.listenTCP(0, site, interface=HOST, backlog=512)
        self.addCleanup(stop, port)
        opened = []
        self.addCleanup(lambda: [one.close() for one in opened])
        for number in range(idle):
            one = socket.socket()
            opened.append(one)
            one.setblocking(False)
            one.connect_ex((HOST, port.getHost().port))
            if number % 100 == 99:
                taken = min(number + 1, site.most)
                await eventually(lambda: site.connections >= taken, f"{taken} connections are open")
        agent = Agent(reactor, HTTPConnectionPool(reactor, persistent=False))
        for _ in range(20):
            answer = await agent.request(b"GET", f"http://{HOST}:{port.getHost().port}/hello".encode())
            self.assertEqual((answer.code, await readBody(answer)), (200, b"0 bytes"))
        self.assertLessEqual(site.connections, site.most)
