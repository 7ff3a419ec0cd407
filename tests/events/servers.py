"""Endpoints of webhooks with real sockets, good ones and bad ones."""

from twisted.internet import defer, reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

HOST = "127.0.0.1"


class Received:
    """One request."""

    def __init__(self, request):
        self.path = request.uri.decode()
        self.headers = {name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()}
        self.body = request.content.read()


class Endpoint(Resource):
    """Answers `statuses` in their order, the last one for ever; `headers` go with each."""

    isLeaf = True

    def __init__(self, *statuses, headers=(), body=b"ok"):
        super().__init__()
        self.statuses = list(statuses) or [200]
        self.headers = headers
        self.body = body
        self.received = []
        self._waiting = []

    def render(self, request):
        self.received.append(Received(request))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        for one in [one for one in self._waiting if one[0] <= len(self.received)]:
            self._waiting.remove(one)
            one[1].callback(None)
        if status is None:  # never
            return NOT_DONE_YET
        request.setResponseCode(status)
        for name, value in self.headers:
            request.setHeader(name, value)
        return self.body

    def count(self, number):
        """Fires when `number` requests have come."""
        done = defer.Deferred()
        if len(self.received) >= number:
            done.callback(None)
        else:
            self._waiting.append((number, done))
        return done


class Raw(Protocol):
    """Says `answer` when a request comes, then ends the connection as `end` says."""

    def __init__(self, answer, end):
        self.answer, self.end = answer, end

    def dataReceived(self, data):
        self.factory.requests += b"POST " in data
        self.transport.write(self.answer)
        if self.end == "reset":
            # The answer must leave before the reset does.
            reactor.callLater(0, self.transport.abortConnection)
        elif self.end == "close":
            self.transport.loseConnection()


class RawFactory(Factory):
    def __init__(self, answer, end):
        self.answer, self.end = answer, end
        self.requests = 0
        self.open = []

    def buildProtocol(self, address):
        protocol = Raw(self.answer, self.end)
        protocol.factory = self
        self.open.append(protocol)
        return protocol


def listen(test, factory, port=0, host=HOST):
    """A port that the test closes, its connections too; its number."""
    site = Site(factory) if isinstance(factory, Resource) else factory
    place = reactor.listenTCP(port, site, interface=host)

    async def close():
        await defer.maybeDeferred(place.stopListening)
        for protocol in getattr(site, "open", ()):
            if protocol.transport is not None:
                protocol.transport.abortConnection()

    test.addCleanup(lambda: defer.Deferred.fromCoroutine(close()))
    return place.getHost().port
