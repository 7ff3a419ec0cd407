"""The rtpengine nodes there are: which of them answer, and which one takes the next call.

A node is up while it answers its pings; one that leaves a command unanswered is down until a ping comes back. New calls go to
nodes that are up, by weight; a call stays where it is. Knows no calls and no SDP.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import MediaUnavailable
from calltrack.media.ng import NGClient, NGRefused, NGSilence
from calltrack.media.rtpengine_settings import RTPEngineSettings

_log = Logger()


class Node:
    """One rtpengine. `up` until it is known not to be: the first call need not wait for the first ping."""

    def __init__(self, client: NGClient, weight: int) -> None:
        self.client = client
        self.weight = weight
        self.up = True
        self.calls = 0  # that have their media there
        self.why = ""  # it is down

    def __str__(self) -> str:
        return str(self.client)

    def command(self, name: str, fields: dict[str, Any] | None = None) -> Deferred[dict[str, Any]]:
        """As NGClient.command; what comes of it says whether the node is up."""
        return self.client.command(name, fields or {}).addCallbacks(self._answered, self._failed)

    def ping(self) -> Deferred[None]:
        return self.command("ping").addCallbacks(lambda _: None, lambda failure: failure.trap(NGSilence, NGRefused))

    def _answered(self, reply: dict[str, Any]) -> dict[str, Any]:
        self._is(True, "")
        return reply

    def _failed(self, failure: Failure) -> Failure:
        if self.client.running:
            self._is(bool(failure.check(NGRefused)), failure.getErrorMessage())
        return failure

    def _is(self, up: bool, why: str) -> None:
        self.why = why
        if up == self.up:
            return
        self.up = up
        if up:
            _log.info("rtpengine {node} answers again", node=self)
        else:
            _log.error("rtpengine {node} is down, new calls go elsewhere: {why}", node=self, why=why)


class Nodes:
    """All nodes of the configuration. `start` opens a socket for each; `stop` fires when they are closed."""

    def __init__(
        self,
        reactor: Any,
        clock: Any,
        settings: RTPEngineSettings,
        make: Callable[..., NGClient] = NGClient,
        choose: Callable[..., list[Node]] = random.choices,
    ) -> None:
        self._reactor = reactor
        self._choose = choose
        self.nodes = [Node(make(clock, host, port, settings.timeout), weight) for host, port, weight in settings.nodes]
        self._pinging = LoopingCall(self._ping)
        self._pinging.clock = clock
        self._interval = settings.ping

    def start(self) -> None:
        for node in self.nodes:
            node.client.start(self._reactor)
        pinging = self._pinging.start(self._interval)
        pinging.addErrback(lambda failure: _log.failure("rtpengine nodes are no longer pinged", failure))

    def stop(self) -> Deferred[None]:
        if self._pinging.running:
            self._pinging.stop()
        closed = gatherResults([maybeDeferred(node.client.stop) for node in self.nodes])
        return closed.addCallback(lambda _: None)

    @property
    def running(self) -> bool:
        return self._pinging.running

    def take(self, tried: Collection[Node] = ()) -> Node:
        """A node for a new call, by weight, none of those `tried`. Raises MediaUnavailable, with the reason, when no
        node is up."""
        ready = [node for node in self.nodes if node.up and node not in tried]
        if not ready:
            reasons = "; ".join(sorted({node.why for node in self.nodes if node.why}))
            raise MediaUnavailable(reasons or "no rtpengine node is left to try")
        return self._choose(ready, [node.weight for node in ready])[0]

    def _ping(self) -> None:
        for node in self.nodes:
            node.ping().addErrback(lambda failure: _log.failure("a ping failed on a bug", failure))
