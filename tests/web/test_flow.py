"""Answers that are long or have no end: they wait for clients that do not read."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from calltrack.web.flow import Flow


class Asking:
    """A request as `Flow` knows it."""

    def __init__(self):
        self.over, self.producer = Deferred(), None

    def notifyFinish(self):
        return self.over

    def registerProducer(self, producer, streaming):
        assert streaming
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None


class FlowTests(SynchronousTestCase):
    def setUp(self):
        self.request = Asking()
        self.flow = Flow(self.request)

    def test_who_reads_is_not_waited_for(self):
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.flow.room())))
        self.flow.end()
        self.assertIsNone(self.request.producer)

    def test_who_does_not_read_is_waited_for(self):
        self.request.producer.pauseProducing()
        room = Deferred.fromCoroutine(self.flow.room())
        self.assertNoResult(room)
        self.assertTrue(self.flow.full)
        self.request.producer.resumeProducing()
        self.assertIsNone(self.successResultOf(room))
        self.assertFalse(self.flow.full)

    def test_nobody_waits_for_who_has_gone(self):
        self.request.producer.pauseProducing()
        room = Deferred.fromCoroutine(self.flow.room())
        self.request.over.errback(ConnectionError())
        self.assertIsNone(self.successResultOf(room))
        self.assertTrue(self.flow.gone)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.flow.room())))
        self.flow.end()
        self.assertIsNotNone(self.request.producer, "a request that is over is left alone")
