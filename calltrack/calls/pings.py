"""Which trunks and outside targets answer: each is sent OPTIONS now and then (RFC 3261 section 11). Knows the agent and
SIP addresses; not the calls, and what becomes of the news.
"""

from __future__ import annotations

import random
import secrets
from typing import Any, Callable, Iterable

from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.calls.sides import contact_line
from calltrack.calls.standing import Kind, Standing
from calltrack.errors import CalltrackError
from calltrack.sip.agent import Agent
from calltrack.sip.capabilities import ACCEPT, ALLOW, SUPPORTED
from calltrack.sip.flows import Flow
from calltrack.sip.locating import NextHop
from calltrack.sip.message import Response
from calltrack.sip.transactions import EXPIRED, NOBODY, ClientTransaction
from calltrack.sip.uri import parse_uri
from calltrack.timers import Timer, Timers

log = Logger()

PATIENCE = 8.0  # seconds that a next hop has to answer in: over UDP it is asked five times
MAX_HOPS = 4  # next hops of one address that are asked
MISSES = 2  # in a row that make a peer count as down


class Pings:
    """Asks every trunk that calls leave by, and every address of `targets()`, each `interval` seconds.

    Any answer means that it is there, but for 503; two misses in a row mean that it is not. `standing` is told.
    """

    def __init__(
        self,
        timers: Timers,
        agent: Agent,
        interval: float,
        trunks: Iterable[Any],
        standing: Standing,
        targets: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._timers = timers
        self._agent = agent
        self._interval = interval
        self._trunks = [trunk for trunk in trunks if trunk.outbound]
        self._standing = standing
        self._targets = targets
        self._watches: dict[tuple[Kind, str], _Watch] = {}
        self._looking: Timer | None = None

    def start(self) -> None:
        """Ask the trunks now and the targets soon. Nothing when `interval` is 0."""
        if not self._interval:
            return
        for trunk in self._trunks:
            self._watch("trunk", trunk.name, trunk.outbound, 0.0)
        self._look(None)

    def stop(self) -> None:
        """Ask nobody any more; no event follows."""
        if self._looking is not None:
            self._looking.cancel()
        for watch in self._watches.values():
            watch.stop()
        self._watches.clear()

    def use_trunks(self, trunks: Iterable[Any]) -> None:
        """Ask these trunks from now on; what is known of those that stay is kept."""
        wanted = {trunk.name: trunk for trunk in trunks if trunk.outbound}
        before = {trunk.name: trunk for trunk in self._trunks}
        self._trunks = list(wanted.values())
        if self._looking is None:
            return
        for name, trunk in before.items():
            if name not in wanted or wanted[name].outbound != trunk.outbound:
                self._watches.pop(("trunk", name)).stop()
                self._standing.forget("trunk", name)
        for name, trunk in wanted.items():
            if ("trunk", name) not in self._watches:
                self._watch("trunk", name, trunk.outbound, 0.0)

    def state(self, kind: Kind, name: str) -> bool | None:
        """Whether a peer answers; None when that is not known."""
        watch = self._watches.get((kind, name))
        return None if watch is None else watch.up

    def _look(self, _: None) -> None:
        """Targets come and go while the service runs."""
        wanted = set(self._targets())
        for kind, name in list(self._watches):
            if kind == "target" and name not in wanted:
                self._watches.pop((kind, name)).stop()
                self._standing.forget(kind, name)
        for name in wanted:
            if ("target", name) not in self._watches:
                self._watch("target", name, name, random.uniform(0, self._interval))
        self._looking = self._timers.after(self._interval, self._look)

    def _watch(self, kind: Kind, name: str, uri: str, delay: float) -> None:
        watch = _Watch(self._agent, uri.encode(), self._interval, lambda up, why: self._changed(kind, name, up, why))
        self._watches[kind, name] = watch
        watch.start(delay)

    def _changed(self, kind: Kind, name: str, up: bool, why: str) -> None:
        self._standing.tell(kind, name, "ping", "" if up else why)


class _Watch:
    """One peer: asked again `interval` seconds after the last answer or miss."""

    def __init__(self, agent: Agent, uri: bytes, interval: float, changed: Callable[[bool, str], None]) -> None:
        self.up: bool | None = None
        self._agent = agent
        self._uri = uri
        self._interval = interval
        self._changed = changed
        self._misses = 0
        self._next: Timer | None = None
        self._ping: _Ping | None = None

    def start(self, delay: float) -> None:
        self._next = self._agent.timers.after(delay, self._ask)

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
        if self._ping is not None:
            self._ping.stop()

    def _ask(self, _: None) -> None:
        self._ping = _Ping(self._agent, self._uri, self._heard)
        self._ping.start()

    def _heard(self, miss: str) -> None:
        """`miss`: why there was no good answer; "" when there was one."""
        self._ping = None
        self._misses = self._misses + 1 if miss else 0
        self._next = self._agent.timers.after(self._interval, self._ask)
        if not miss and not self.up:
            self.up = True
            self._changed(True, "")
        elif self._misses >= MISSES and self.up is not False:
            self.up = False
            self._changed(False, miss)


class _Ping:
    """One OPTIONS request, put to one next hop after the other until one answers."""

    def __init__(self, agent: Agent, uri: bytes, heard: Callable[[str], None]) -> None:
        self._agent = agent
        self._uri = uri
        self._heard: Callable[[str], None] | None = heard
        self._hops: list[NextHop] = []
        self._transaction: ClientTransaction | None = None
        self._patience: Timer | None = None

    def start(self) -> None:
        hops = self._agent.next_hops(parse_uri(self._uri))
        hops.addCallbacks(self._resolved, self._unreachable).addErrback(_bug)

    def stop(self) -> None:
        """No answer is needed any more."""
        self._heard = None
        self._forget_hop()

    def _resolved(self, hops: list[NextHop]) -> None:
        self._hops = list(hops[:MAX_HOPS])
        self._next_hop("no next hop")

    def _unreachable(self, failure: Failure) -> None:
        failure.trap(CalltrackError)
        self._next_hop(str(failure.value))

    def _next_hop(self, why: str) -> None:
        self._forget_hop()
        if self._heard is None:
            return
        if not self._hops:
            self._finish(why)
            return
        flow = self._agent.transports.flow_to(self._hops.pop(0))
        flow.addCallback(self._send).addErrback(self._unreachable).addErrback(_bug)

    def _send(self, flow: Flow) -> None:
        if self._heard is None:
            return
        agent = self._agent
        sent_by = agent.transports.sent_by(flow)
        call_id = secrets.token_hex(12).encode()
        lines = [
            b"From: <sip:%b>;tag=%b" % (sent_by, secrets.token_hex(8).encode()),
            b"To: <%b>" % self._uri,
            b"Call-ID: " + call_id,
            b"CSeq: 1 OPTIONS",
            contact_line(b"", sent_by, flow.transport),
            b"Max-Forwards: 70",
            ACCEPT,
            ALLOW,
            SUPPORTED,
            agent.user_agent,
        ]
        self._transaction = agent.layer.request(flow, b"OPTIONS", self._uri, lines, b"", self, call_id)
        self._patience = agent.timers.after(PATIENCE, self._late, flow)

    def _late(self, flow: Flow) -> None:
        self._next_hop(f"no answer from {flow.remote.host}")

    def responded(self, transaction: ClientTransaction, response: Response) -> None:
        if response.status == 503:
            self._next_hop("it answers 503")
        elif response.status >= 200:
            self._finish("")

    def failed(self, transaction: ClientTransaction, error: CalltrackError) -> None:
        self._next_hop(str(error))

    def _forget_hop(self) -> None:
        if self._transaction is not None:
            self._transaction.user = NOBODY
            self._transaction.event(EXPIRED)  # where it still waits: it is not sent again
            self._transaction = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _finish(self, miss: str) -> None:
        heard, self._heard = self._heard, None
        self._forget_hop()
        if heard is not None:
            heard(miss)


def _bug(failure: Failure) -> None:
    log.failure("pinging a peer failed on a bug", failure=failure)
