"""A site of its own for each test: real HTTP on a loopback port, stores in memory, a clock that tests turn."""

import json
from typing import NamedTuple

from argon2 import PasswordHasher
from klein import Klein
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

from calltrack.access.guard import LogInGuard
from calltrack.access.keys import Keys
from calltrack.access.passwords import Passwords
from calltrack.access.people import People
from calltrack.events.hooks import Webhooks
from calltrack.storage.url import open_stores
from calltrack.tracking.accounts import Accounts
from calltrack.tracking.catalog import Catalog
from calltrack.tracking.pool_advice import PoolAdvice
from calltrack.tracking.search import CallLog
from calltrack.web.services import Services, TrunkState
from calltrack.web.site import put_together

NOW = 1_795_457_000_000  # milliseconds since the Unix epoch: 2026-11-23T18:03:20Z
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Posted(NamedTuple):
    """An answer to what was posted."""

    status: int
    body: bytes


class _Bytes:
    """A body to send."""

    def __init__(self, body):
        self.body, self.length = body, len(body)

    def startProducing(self, consumer):
        from twisted.internet.defer import succeed

        consumer.write(self.body)
        return succeed(None)

    def pauseProducing(self):
        pass

    def stopProducing(self):
        pass


class Answer:
    """A response: `status`, `headers` (names in lower case; the last one counts), `text`, `json`."""

    def __init__(self, response, body):
        self.status = response.code
        self.raw = response.headers
        self.headers = {
            name.decode().lower(): values[-1].decode() for name, values in response.headers.getAllRawHeaders()
        }
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.body)


class WebTestCase(TestCase):
    """`services` on memory stores and `site_resources()`, at `url`."""

    timeout = 30

    async def setUp(self):
        self.clock = Clock()
        self.stores = open_stores("memory:", reactor)
        self.services = self.make_services()
        port = reactor.listenTCP(0, put_together(self.site_resources()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}"
        self.pool = HTTPConnectionPool(reactor)
        self.addCleanup(self.pool.closeCachedConnections)
        self.agent = Agent(reactor, pool=self.pool)
        await self.fill()

    def make_services(self, **changes):
        stores = self.stores
        catalog = Catalog(stores.catalog)
        self.posted = []
        fields = {
            "catalog": catalog,
            "webhooks": Webhooks(stores.webhooks, stores.catalog, self.wall_ms),
            "post": self.post,
            "visits": stores.visits,
            "pools": PoolAdvice(catalog, stores.visits, self.wall_ms),
            "events": stores.events,
            "accounts": Accounts(stores.accounts, stores.locations, "calltrack.example"),
            "calls": CallLog(stores.records),
            "keys": Keys(stores.access, self.wall_ms),
            "people": People(stores.access, self.wall_ms, Passwords(reactor, CHEAP), LogInGuard(self.clock.seconds)),
            "wall_ms": self.wall_ms,
            "domain": "calltrack.example",
            "listen": (("udp", "0.0.0.0", 5060), ("tcp", "0.0.0.0", 5060)),
            "country": "US",
            "trunks": lambda: [TrunkState(name="provider", state="up", delivers=True, sources=("198.51.100.0/24",))],
        }
        return Services(**{**fields, **changes})

    async def post(self, url, headers, body):
        """What a webhook's endpoint answers."""
        self.posted.append((url, body))
        return Posted(200, b"taken")

    def site_resources(self):
        return {b"nothing": Klein().resource()}

    async def fill(self):
        """What a test finds in the stores."""

    def wall_ms(self):
        return NOW + round(self.clock.seconds() * 1000)

    async def ask(self, method, path, body=None, **headers):
        """The answer to one request; redirects are not followed. A dict is sent as JSON."""
        sent = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            sent.setRawHeaders("content-type", ["application/json"])
        producer = None if body is None else _Bytes(body)
        response = await self.agent.request(method.encode(), (self.url + path).encode(), sent, producer)
        return Answer(response, await readBody(response))
