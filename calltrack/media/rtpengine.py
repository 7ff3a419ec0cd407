"""The relay that hands media to rtpengine: one or several nodes, here or on other machines.

Knows where nodes, sessions and the clock come together. A call stays on its node; the next one goes to a node that answers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from calltrack.errors import MediaUnavailable
from calltrack.interfaces import IMediaRelay
from calltrack.media.rtpengine_nodes import Nodes
from calltrack.media.rtpengine_session import RTPEngineSession
from calltrack.media.settings import MediaSettings

_CHECK = 0.25  # seconds between looks at which calls are to be asked about
_LOOKS = 10  # times that a node is asked about a call in the time that ends a silent one
_RAREST = 30.0  # seconds between two looks at a call, at the most

_log = Logger()


@implementer(IMediaRelay)
class RTPEngineRelay:
    """See IMediaRelay. Nodes are asked by the reactor's own clock."""

    def __init__(self, reactor: Any, settings: MediaSettings, clock: Any = None) -> None:
        """`reactor`: IReactorUDP and IReactorTime. `clock`: the IReactorTime of timeouts when it is not the reactor's;
        commands are timed by the reactor's own."""
        self.clock = clock or reactor
        self.settings = settings.rtpengine
        self.nodes = Nodes(reactor, reactor, self.settings)
        self._timeout = settings.timeout
        self._interval = min(settings.timeout / _LOOKS, _RAREST) if settings.timeout else _RAREST
        self.counters: Counter[str] = Counter()  # what happened to calls: "failovers", "undone"
        self._sessions: set[RTPEngineSession] = set()
        self._checking = LoopingCall(self._check)
        self._checking.clock = self.clock
        self._session_id = random.getrandbits(31)

    def start(self) -> Deferred[None]:
        self.nodes.start()
        checking = self._checking.start(_CHECK, now=False)
        checking.addErrback(lambda failure: _log.failure("silent calls are no longer looked for", failure))
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Close what is open: the nodes are told of the end of every call, but not waited for."""
        for session in list(self._sessions):
            session.close()
        if self._checking.running:
            self._checking.stop()
        return self.nodes.stop()

    def open(self, call_id: str, on_timeout: Callable[[], object] | None) -> RTPEngineSession:
        if not self._checking.running:
            raise MediaUnavailable("the relay is not running")
        self.nodes.take()  # raises, with the reason, when there is none
        session = RTPEngineSession(self, call_id, on_timeout)
        self._sessions.add(session)
        return session

    def status(self) -> dict[str, Any]:
        """Beside the counters: `nodes`, a list of what each is and does."""
        nodes = self.nodes.nodes
        counters = sum((node.client.counters for node in nodes), self.counters)
        told = {"relay": "rtpengine", "sessions": len(self._sessions), **counters}
        told["nodes"] = [{"node": str(node), "up": node.up, "calls": node.calls, "weight": node.weight} for node in nodes]
        down = [node for node in nodes if not node.up]
        if down:
            told["why"] = "; ".join(node.why for node in down)
        return told

    def idle(self) -> Deferred[None]:
        """Fires when no call waits for a node."""
        turns = [session.turn() for session in self._sessions]
        return gatherResults(turns).addCallback(lambda _: None)

    # For sessions

    def forget(self, session: RTPEngineSession) -> None:
        self._sessions.discard(session)

    def next_session_id(self) -> int:
        """A number for an o= line that no other description of ours has."""
        self._session_id += 1
        return self._session_id

    def _check(self) -> None:
        now = self.clock.seconds()
        for session in list(self._sessions):
            session.check(now, self._timeout, self._interval)
