"""Redis Streams with a real redis-server, stopped and started. Its client reads by plain RESP."""

import json
import os

from twisted.internet import defer, reactor
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import TestCase

from calltrack.events.feed import Feed
from calltrack.events.redis_streams import RedisFailed, RedisStreams
from calltrack.events.sinks import make_sink
from calltrack.storage.url import open_stores
from calltrack.testing.event_contract import EventSinkContract
from calltrack.timers import Timers
from tests.events.case import trunk_events
from tests.events.test_json_lines import logged
from tests.interop.processes import Child, eventually, free_port, installed, listening

HOST = "127.0.0.1"


class Client(Protocol):
    """Sends one inline command, collects what comes until it is whole: `END` is asked for behind it."""

    def __init__(self, command):
        self.command = command
        self.read = b""
        self.done = defer.Deferred()

    def connectionMade(self):
        self.transport.write(self.command + b"\r\nECHO it-is-over\r\n")

    def dataReceived(self, data):
        self.read += data
        if b"it-is-over\r\n" in self.read and not self.done.called:
            self.done.callback(self.read)
            self.transport.loseConnection()


class RedisTestCase(TestCase):
    timeout = 30

    def setUp(self):
        self.program = installed("redis-server", "redis-server")
        self.port = free_port(HOST)
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)

    async def start_redis(self, *more):
        arguments = [self.program, "--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "yes"]
        redis = Child(self, "redis-server", [*arguments, "--dir", self.folder, *more])
        await eventually(lambda: listening("tcp", HOST, self.port), "redis listens")
        return redis

    async def ask(self, command):
        client = Client(command)
        await connectProtocol(HostnameEndpoint(reactor, HOST, self.port), client)
        return await client.done

    async def entries(self, stream=b"calltrack:events"):
        answer = await self.ask(b"XRANGE %b - +" % stream)
        lines = answer.split(b"\r\n")
        return [lines[number + 2].decode() for number, line in enumerate(lines) if line == b"id"]


class ContractTests(EventSinkContract, RedisTestCase):
    async def make_sink(self):
        await self.start_redis()
        return RedisStreams(HOST, self.port)

    async def delivered(self):
        return await self.entries()


class RedisTests(RedisTestCase):
    def feed(self, **options):
        sink = make_sink("redis", {"url": f"redis://{HOST}:{self.port}/0", **options})
        store = open_stores("memory:", None).events
        timers = Timers(reactor)
        feed = Feed("sink:redis", sink, store, reactor, timers)
        store.observers.append(feed.wake)
        feed.start()

        async def stop():
            await feed.stop()
            timers.stop()

        self.addCleanup(lambda: defer.Deferred.fromCoroutine(stop()))
        return feed, store

    async def test_events_are_entries_of_the_stream_with_their_fields(self):
        await self.start_redis()
        feed, store = self.feed()
        await store.append(trunk_events("a", "b"))
        await eventually(lambda: feed.delivered == 2, "both are delivered")
        self.assertEqual(await self.entries(), ["a", "b"])
        answer = await self.ask(b"XRANGE calltrack:events - + COUNT 1")
        [value] = [line for line in answer.split(b"\r\n") if line.startswith(b"{")]
        self.assertEqual((json.loads(value)["type"], json.loads(value)["trunk"]), ("trunk.up", "a"))

    async def test_redis_that_is_stopped_and_started_gets_what_it_missed(self):
        redis = await self.start_redis()
        feed, store = self.feed()
        await store.append(trunk_events("a"))
        await eventually(lambda: feed.delivered == 1, "the first is delivered")
        await redis.kill()
        await store.append(trunk_events("b", "c"))
        await eventually(lambda: feed.failing, "the sink fails")
        self.assertIn("no Redis at", feed.failing)
        await self.start_redis()
        await eventually(lambda: feed.delivered >= 3, "the rest is delivered")
        self.assertEqual(await self.entries(), ["a", "b", "c"])

    async def test_stream_of_another_type_is_told_in_redis_words(self):
        await self.start_redis()
        await self.ask(b"SET calltrack:events x")
        sink = RedisStreams(HOST, self.port)
        sink.start(reactor)
        error = await self.assertFailure(sink.deliver(logged("a")), RedisFailed)
        self.assertIn("WRONGTYPE", str(error))
        await sink.close()

    async def test_password_and_database_are_used(self):
        await self.start_redis("--requirepass", "geheim")
        for password, number in (("wrong", 0), ("", 0)):
            sink = RedisStreams(HOST, self.port, number, password)
            sink.start(reactor)
            await self.assertFailure(sink.deliver(logged("a")), RedisFailed)
            await defer.maybeDeferred(sink.close)
        sink = RedisStreams(HOST, self.port, 3, "geheim")
        sink.start(reactor)
        await sink.deliver(logged("a"))
        await sink.close()
        answer = await self.ask(b"AUTH geheim\r\nSELECT 3\r\nXLEN calltrack:events")
        self.assertIn(b":1\r\n", answer)

    async def test_nobody_listens(self):
        sink = RedisStreams(HOST, self.port)
        sink.start(reactor)
        error = await self.assertFailure(sink.deliver(logged("a")), RedisFailed)
        self.assertIn(f"{HOST}:{self.port}", str(error))
