"""What stands in for routing, media, records and DNS when calls are tested: each checks how it is used, so that a
wrong use fails the test, and remembers what it was told. Knows the interfaces; no SIP.
"""

from __future__ import annotations

from typing import Any, Iterable

from twisted.internet import defer
from twisted.internet.task import Clock
from zope.interface import implementer

from calltrack.errors import Unresolvable, UnusableSDP
from calltrack.interfaces import IMediaRelay, IMediaSession, IScenarioSource
from calltrack.sip.locating import NextHop, literal
from calltrack.sip.uri import is_literal
from calltrack.tracking.model import CallRecord, MediaFigures, Route


@implementer(IScenarioSource)
class FixedScenarios:
    """Routes by dialled number. `delay`: seconds that look-ups take; `failure`: what they fail with."""

    def __init__(self, clock: Clock, routes: Iterable[Route] = ()) -> None:
        self.routes = {route.dialled: route for route in routes}
        self.known = dict(self.routes)  # what `last_known` tells
        self.delay = 0.0
        self.failure: Exception | None = None
        self.asked: list[tuple[str, str, float]] = []
        self.cancelled = 0
        self._clock = clock
        self._pending: set[defer.Deferred] = set()

    @property
    def pending(self) -> int:
        """Look-ups that nobody has answered or cancelled."""
        return len(self._pending)

    def lookup(self, dialled: str, caller: str, at: float) -> defer.Deferred[Route | None]:
        self.asked.append((dialled, caller, at))
        answer: defer.Deferred[Route | None] = defer.Deferred(self._count_cancel)
        answer.addBoth(self._settled, answer)
        self._pending.add(answer)
        if self.delay:
            self._clock.callLater(self.delay, self._answer, answer, dialled)
        else:
            self._answer(answer, dialled)
        return answer

    def last_known(self, dialled: str) -> Route | None:
        return self.known.get(dialled)

    def _answer(self, answer: defer.Deferred, dialled: str) -> None:
        if answer.called:
            return
        if self.failure is not None:
            answer.errback(self.failure)
        else:
            answer.callback(self.routes.get(dialled))

    def _count_cancel(self, answer: defer.Deferred) -> None:
        self.cancelled += 1

    def _settled(self, result: Any, answer: defer.Deferred) -> Any:
        self._pending.discard(answer)
        return result


@implementer(IMediaRelay)
class FakeRelay:
    """Rewrites every connection address to `host` and every port to one of its own; relays nothing.

    `delay`: seconds that rewriting and closing take. `failures`: exceptions for the next rewritings, by the method's name;
    `full`: what `open` raises, if anything.
    """

    def __init__(self, clock: Clock, host: str = "192.0.2.1") -> None:
        self.host = host
        self.delay = 0.0
        self.failures: dict[str, list[Exception]] = {"offer": [], "answer": []}
        self.full: Exception | None = None
        self.sessions: list[FakeMediaSession] = []
        self.clock = clock
        self._port = 20_000

    def start(self) -> defer.Deferred[None]:
        return defer.succeed(None)

    def stop(self) -> defer.Deferred[None]:
        return defer.succeed(None)

    def open(self, call_id: str, on_timeout: Any) -> FakeMediaSession:
        assert call_id and callable(on_timeout)
        assert all(session.call_id != call_id for session in self.sessions), f"{call_id} has a session already"
        if self.full is not None:
            raise self.full
        session = FakeMediaSession(self, call_id, on_timeout)
        self.sessions.append(session)
        return session

    def status(self) -> dict[str, Any]:
        return {"relay": "fake", "sessions": self.open_sessions}

    @property
    def open_sessions(self) -> int:
        return sum(not session.closed for session in self.sessions)

    def take_port(self) -> int:
        self._port += 2
        return self._port


@implementer(IMediaSession)
class FakeMediaSession:
    """`said`: what was asked of it, in order: ("offer", source, target), ("answer", source, target),
    ("connect", party), ("drop", party), ("close",)."""

    def __init__(self, relay: FakeRelay, call_id: str, on_timeout: Any) -> None:
        self.call_id = call_id
        self.on_timeout = on_timeout
        self.said: list[tuple[str, ...]] = []
        self.allowed: list[tuple[str, ...]] = []
        self.closed = False
        self.connected = ""
        self.observer: Any = None  # what taps it
        self._relay = relay
        self._offered: set[tuple[str, str]] = set()  # (who offered, to whom), unanswered
        self._ports: dict[tuple[str, int], int] = {}

    def offer(
        self, source: str, target: str, sdp: bytes, source_host: str, target_host: str, allow: tuple = ()
    ) -> defer.Deferred[bytes]:
        self._check(source, target, sdp, source_host, target_host)
        assert isinstance(allow, tuple)
        self.said.append(("offer", source, target))
        self.allowed.append(allow)
        self._offered.add((source, target))
        return self._rewrite("offer", target, sdp)

    def answer(
        self, source: str, target: str, sdp: bytes, source_host: str, target_host: str
    ) -> defer.Deferred[bytes]:
        self._check(source, target, sdp, source_host, target_host)
        assert (target, source) in self._offered, f"{source} answers what {target} never offered"
        self.said.append(("answer", source, target))
        return self._rewrite("answer", target, sdp)

    def connect(self, party: str) -> None:
        assert not self.closed and not self.connected or self.connected == party
        self.said.append(("connect", party))
        self.connected = party

    def drop(self, party: str) -> None:
        assert not self.closed and party != "caller"
        self.said.append(("drop", party))

    def tap(self, observer: Any) -> None:
        assert not self.closed
        self.observer = observer

    def figures(self) -> MediaFigures:
        return MediaFigures()

    def close(self) -> MediaFigures | defer.Deferred[MediaFigures]:
        if not self.closed:
            self.said.append(("close",))
            self.closed = True
        if not self._relay.delay:
            return MediaFigures()
        closed: defer.Deferred[MediaFigures] = defer.Deferred()
        self._relay.clock.callLater(self._relay.delay, closed.callback, MediaFigures())
        return closed

    def time_out(self) -> None:
        """Say that no packet has come for the configured time."""
        assert self.connected and not self.closed
        self.on_timeout()

    def _check(self, source: str, target: str, sdp: bytes, source_host: str, target_host: str) -> None:
        assert not self.closed, f"{source} -> {target} after the session was closed"
        assert source != target and "caller" in (source, target)
        assert isinstance(sdp, bytes) and is_literal(source_host) and is_literal(target_host)

    def _rewrite(self, what: str, target: str, sdp: bytes) -> defer.Deferred[bytes]:
        relay = self._relay
        failures = relay.failures[what]
        if failures:
            return defer.fail(failures.pop(0))
        if b"m=" not in sdp:
            return defer.fail(UnusableSDP("no stream"))
        done: defer.Deferred[bytes] = defer.Deferred()
        try:
            result = self._rewritten(target, sdp)
        except ValueError:
            return defer.fail(UnusableSDP("an m= line that is none"))
        if relay.delay:
            relay.clock.callLater(relay.delay, done.callback, result)
        else:
            done.callback(result)
        return done

    def _rewritten(self, target: str, sdp: bytes) -> bytes:
        lines, stream = [], 0
        for line in sdp.split(b"\r\n"):
            if line.startswith(b"c=IN ") and b"0.0.0.0" not in line:
                line = b"c=IN IP4 " + self._relay.host.encode()
            elif line.startswith(b"m="):
                kind, port, rest = line.split(b" ", 2)
                if port != b"0":
                    key = target, stream
                    if key not in self._ports:
                        self._ports[key] = self._relay.take_port()
                    line = b"%b %d %b" % (kind, self._ports[key], rest)
                stream += 1
            lines.append(line)
        return b"\r\n".join(lines)


class FakeLedger:
    """Takes records as the ledger does; a record after the final one fails the test. `finals`: in order."""

    def __init__(self) -> None:
        self.begun: dict[str, CallRecord] = {}
        self.finals: list[CallRecord] = []

    def begin(self, record: CallRecord) -> None:
        assert record.status == "ACTIVE"
        assert all(final.id != record.id for final in self.finals), "begun again after its end"
        self.begun[record.id] = record

    def finish(self, record: CallRecord) -> None:
        assert record.status != "ACTIVE"
        assert all(final.id != record.id for final in self.finals), "a second final record"
        self.finals.append(record)

    def add_ladder(self, record: CallRecord) -> None:
        place = [final.id for final in self.finals].index(record.id)
        self.finals[place] = record

    @property
    def unfinished(self) -> int:
        ended = {final.id for final in self.finals}
        return sum(call_id not in ended for call_id in self.begun)


class FixedResolver:
    """Next hops by host name; address literals are their own, as RFC 3263 says. Names that are not given fail."""

    def __init__(self, names: dict[str, list[NextHop]] | None = None) -> None:
        self.names = names or {}

    def resolve(
        self, host: str, port: int | None = None, transport: str | None = None, secure: bool = False
    ) -> defer.Deferred[list[NextHop]]:
        try:
            hop = literal(host, port, transport, secure)
        except Unresolvable:
            return defer.fail()
        if hop is not None:
            return defer.succeed([hop])
        if host not in self.names:
            return defer.fail(Unresolvable(f"{host}: there is no such name"))
        return defer.succeed(list(self.names[host]))
