"""Streams of events end with what opened them, by a clock that tests turn."""

from types import SimpleNamespace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.access.model import Principal
from calltrack.errors import StoreUnavailable
from calltrack.web.api.streams import KEY_LOOKS, LOOK_EVERY, EventFilters, EventStream


class Request:
    """A request as a stream knows it."""

    def __init__(self):
        self.over, self.written = Deferred(), b""

    def getHeader(self, name):
        return b"Bearer ct_a_b" if name == b"authorization" else None

    def setHeader(self, name, value):
        pass

    def write(self, text):
        self.written += text

    def notifyFinish(self):
        return self.over

    def registerProducer(self, producer, streaming):
        pass

    def unregisterProducer(self):
        pass


class StreamEndTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.grants = {1: ("calls:read",)}
        services = SimpleNamespace(keys=self, events=self)
        asked = SimpleNamespace(services=services, query=EventFilters(), who=Principal(name="a key", grants=self.grants))
        self.stream = EventStream(asked, Request(), 1)
        self.stream._looking.clock = self.clock
        self.running = Deferred.fromCoroutine(self.stream.run())
        self.turn(2 * KEY_LOOKS)
        self.assertNoResult(self.running)

    def turn(self, looks):
        self.clock.pump([LOOK_EVERY] * looks)

    # As the keys and the log of events

    async def principal(self, text):
        if isinstance(self.grants, Exception):
            raise self.grants
        return None if self.grants is None else Principal(name="a key", grants=self.grants)

    async def last(self):
        return 0

    async def read(self, after, limit, types, project):
        return after, []

    def test_stream_ends_within_seconds_of_its_key(self):
        self.grants = None
        self.turn(KEY_LOOKS)
        self.successResultOf(self.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stream_ends_when_its_key_loses_the_project_or_the_scope(self):
        self.grants = {2: ("calls:read",), 1: ("setup:read",)}
        self.turn(KEY_LOOKS)
        self.successResultOf(self.running)

    def test_stream_goes_on_while_nobody_can_tell_whether_its_key_lasts(self):
        self.grants = StoreUnavailable("locked")
        self.turn(3 * KEY_LOOKS)
        self.assertNoResult(self.running)
        self.grants = None
        self.turn(KEY_LOOKS)
        self.successResultOf(self.running)
