"""All calls of one process: lets INVITEs in, finds calls, ends them all when the service stops.

Knows the agent, the stores' front ends and the relay by their interfaces; decides nothing about a call.
"""

from __future__ import annotations

import random
import secrets
from collections import Counter
from typing import Any, Callable, Iterable

from twisted.logger import Logger

from calltrack.calls.admission import Admissions, is_scanner
from calltrack.calls.call import Call
from calltrack.calls.forwarding import Destinations
from calltrack.calls.limits import Limits
from calltrack.calls.lookup import Lookup
from calltrack.errors import MalformedMessage
from calltrack.sip.agent import Agent
from calltrack.sip.flows import Flow
from calltrack.sip.layer import Refusal
from calltrack.sip.message import Request
from calltrack.sip.transactions import ServerTransaction
from calltrack.timers import Timers
from calltrack.tracking.model import CallRecord

log = Logger()

STOPPING = "engine-stop"


class CallEngine:
    """`wall_ms()`: milliseconds since the Unix epoch. `settings`: CallsSettings. `connect` gives it its agent."""

    def __init__(
        self,
        timers: Timers,
        wall_ms: Callable[[], int],
        settings: Any,
        trunks: Iterable[Any],
        scenarios: Any,
        relay: Any,
        ledger: Any,
    ) -> None:
        trunks = tuple(trunks)
        self.timers = timers
        self.wall_ms = wall_ms
        self.settings = settings
        self.relay = relay
        self.ledger = ledger
        self.limits = Limits(timers.now)
        self.lookup = Lookup(scenarios, timers, settings.lookup_budget)
        self.destinations = Destinations(trunks)
        self.calls: dict[str, Call] = {}
        self.counters: Counter[str] = Counter()
        self.agent: Agent = None  # type: ignore[assignment]  # until `connect`
        self._admissions = Admissions(trunks)
        self._watched: dict[bytes, tuple[Call, str]] = {}  # by Call-ID: whose ladder, which party
        self._pending: dict[tuple[bytes, bytes, int], Call] = {}  # by what a merged INVITE has in common
        self._stopping = False

    def connect(self, agent: Agent) -> None:
        """Take the agent whose user this is."""
        self.agent = agent
        agent.layer.tap = self._tap

    # From the agent

    def admit(self, invite: Request, flow: Flow) -> Refusal | None:
        """As AgentUser.admit: strangers get 403, scanners nothing."""
        if is_scanner(invite):
            self.counters["scanners"] += 1
            return Refusal(0)
        host = flow.remote.host
        if self._admissions.trunk_of(host) is None:
            self.counters["strangers"] += 1
            log.info(
                "refused a call from {host}: no [[trunk]] lists it in `sources` (it dialled {uri})",
                host=host,
                uri=invite.uri[:80],
            )
            return Refusal(403)
        if self._stopping:
            return Refusal(503, (b"Retry-After: %d" % self.retry_after(),))
        if (invite.call_id, invite.from_.tag, invite.cseq[0]) in self._pending:
            return Refusal(482)  # section 8.2.2.2: the same INVITE by another way
        return None

    def invited(self, transaction: ServerTransaction) -> None:
        """As AgentUser.invited: a call begins."""
        request = transaction.request
        try:
            admission = self._admissions.admit(request, transaction.flow.remote.host)
            if admission is None:
                self.agent.respond(transaction, 403)
                return
            call = Call(self, new_id(self.wall_ms()), transaction, admission)
        except MalformedMessage as problem:
            log.info("refused an INVITE from {flow}: {problem}", flow=transaction.flow, problem=problem)
            self.agent.respond(transaction, 400, to_tag=secrets.token_hex(8).encode())
            return
        self.counters["calls"] += 1
        self.calls[call.id] = call
        self._pending[_merge_key(request)] = call
        self.watch(request.call_id, call, "caller")
        call.ladder.add(self.timers.now(), "caller", False, b"INVITE", b"INVITE", bool(request.body))
        call.begin()

    # For the calls

    def new_call_id(self) -> bytes:
        return secrets.token_hex(12).encode()

    def retry_after(self) -> int:
        """Seconds after which a refused caller may try again; random, so that they do not come together."""
        return random.randint(2, 10)

    def watch(self, call_id: bytes, call: Call, party: str) -> None:
        """Messages with this Call-ID belong into the ladder of `call`."""
        self._watched[call_id] = (call, party)
        call.call_ids.append(call_id)

    def ended(self, call: Call, record: CallRecord) -> None:
        """A call is over: keep its record, forget the call."""
        self.ledger.finish(record)
        del self.calls[call.id]
        self._pending.pop(_merge_key(call.caller.request), None)
        for call_id in call.call_ids:
            self._watched.pop(call_id, None)
        self.counters[record.status] += 1
        log.info(
            "call {id} {caller} -> {callee} by {trunk} to {target}: {status} {code} {reason} {seconds:.1f} s",
            id=record.id,
            caller=record.caller or "withheld",
            callee=record.callee,
            trunk=record.trunk,
            target=record.target or "-",
            status=record.status,
            code=record.sip_code,
            reason=record.reason,
            seconds=record.answer_duration,
        )

    def _tap(self, call_id: bytes, sent: bool, data: bytes, method: bytes, flow: Flow) -> None:
        watched = self._watched.get(call_id)
        if watched is not None:
            call, party = watched
            start = data[: data.find(b"\r\n")]
            call.ladder.add(self.timers.now(), party, sent, start, method, data[-4:] != b"\r\n\r\n")

    # The end

    def stop(self) -> None:
        """Take no more calls and end those there are, with BYE or 503; their records are finished."""
        self._stopping = True
        for call in list(self.calls.values()):
            call.hang_up(STOPPING)


def _merge_key(request: Request) -> tuple[bytes, bytes, int]:
    return request.call_id, request.from_.tag, request.cseq[0]


def new_id(wall_ms: int) -> str:
    """An identifier of a call that sorts by time: RFC 9562 UUID version 7, without hyphens."""
    randomness = secrets.randbits(74)
    value = (wall_ms & (2**48 - 1)) << 80 | 7 << 76 | (randomness >> 62) << 64 | 2 << 62 | (randomness & (2**62 - 1))
    return f"{value:032x}"
