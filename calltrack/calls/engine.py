"""All calls of one process: lets INVITEs in, finds calls, ends them all when the service stops.

Knows the agent, the stores' front ends and the relay by their interfaces; decides nothing about a call.
"""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any, Callable, Iterable

import msgspec
from twisted.logger import Logger

from calltrack.calls.admission import Sources, Trunk, admit
from calltrack.calls.call import Call
from calltrack.calls.contacts import AccountContacts, LocationService
from calltrack.calls.forwarding import Destinations
from calltrack.calls.ladder import Ladder
from calltrack.calls.limits import Limits
from calltrack.calls.lookup import Lookup
from calltrack.calls.proving import FORBIDDEN, Proofs
from calltrack.calls.registrations import Registrations
from calltrack.errors import MalformedMessage
from calltrack.sip.agent import Agent
from calltrack.sip.flows import Flow
from calltrack.sip.layer import Refusal, try_later
from calltrack.sip.message import Request
from calltrack.sip.transactions import ServerTransaction
from calltrack.timers import Timers
from calltrack.tracking.model import CallRecord, Route
from calltrack.tracking.tariff import Tariff

log = Logger()

STOPPING = "engine-stop"
LADDER_WAIT = 0.3  # seconds from one look to the next whether a ladder still grows
LADDER_LOOKS = 10
STRANGER_SILENCE = 60.0  # seconds until the log tells of the same stranger again
MOST_CALLED_FROM = 1000  # addresses of no trunk's `sources` that are remembered because a call was let in from them


class _LastMessages:
    """A call that is over while its last messages are still under way."""

    __slots__ = ("call_ids", "count", "ladder", "looks", "record", "recorded")

    def __init__(self, record: CallRecord, ladder: Ladder, call_ids: list[bytes], recorded: Any) -> None:
        self.record = record
        self.recorded = recorded  # as of the call
        self.ladder = ladder
        self.call_ids = call_ids
        self.count = len(ladder)  # its length at the last look
        self.looks = 0


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
        phones: LocationService | None = None,
        recorder: Any = None,
        tracer: Any = None,
    ) -> None:
        trunks = tuple(trunks)
        self.timers = timers
        self.wall_ms = wall_ms
        self.settings = settings
        self.relay = relay
        self.ledger = ledger
        self.tariff = Tariff()  # what calls to phone numbers cost
        self.recorder = recorder  # recording.recorder.Recorder, or None: no call is recorded
        self.tracer = tracer  # tracing.tracer.Tracer, or None: nothing is traced
        self.limits = Limits(timers.now)
        self.lookup = Lookup(scenarios, timers, settings.lookup_budget)
        self.destinations = Destinations(trunks, AccountContacts(phones) if phones is not None else None)
        self.calls: dict[str, Call] = {}
        self.counters: Counter[str] = Counter()
        self.observers: list[Callable[[CallRecord], None]] = []  # told of each call that is over; must not raise
        self.agent: Agent = None  # type: ignore[assignment]  # until `connect`
        self._sources = Sources(trunks)
        self._phones = phones
        self.registrations: Registrations | None = None  # with trunks, where there are some
        self.proofs: Proofs | None = None  # of trunks that prove who they are
        self._admitted: tuple[Request, Trunk] | None = None  # between `admit` and `invited`
        self._watched: dict[bytes, tuple[Ladder, tuple[str, str]]] = {}  # by Call-ID: ladder; call and party
        self._newest: tuple | None = None  # the INVITE that came last, as `_tap` was told of it
        self._pending: dict[tuple[bytes, bytes, int], Call] = {}  # by what a merged INVITE has in common
        self._stopping = False
        self._told: dict[str, float] = {}  # strangers that the log has told of, and when
        self._called_from: dict[str, None] = {}  # as MOST_CALLED_FROM, the oldest first

    def connect(self, agent: Agent) -> None:
        """Take the agent whose user this is."""
        self.agent = agent
        agent.layer.tap = self._tap
        agent.layer.transports.arrivals.knows = self.knows

    # From the agent

    def admit(self, invite: Request, flow: Flow) -> Refusal | None:
        """As AgentUser.admit: strangers get 403."""
        host = flow.remote.host
        if self._phones is not None and self._phones.speaks_for_account(invite, flow):
            self.counters["calls_from_phones"] += 1
            log.info("refused a call from {flow}: devices of an account can only be called", flow=flow)
            return Refusal(403, (), b"Devices Of This Account Can Only Be Called")
        trunk = self._whose(invite, flow)
        if isinstance(trunk, Refusal):
            if trunk.status == 403:
                self.counters["strangers"] += 1
                self._tell_of_stranger(host, invite.uri)
            return trunk
        if self._stopping or self.draining:
            return Refusal(503, (try_later(),))
        if (invite.call_id, invite.from_.tag, invite.cseq[0]) in self._pending:
            return Refusal(482)  # section 8.2.2.2: the same INVITE by another way
        self._admitted = invite, trunk
        if not self.is_trunk(host):
            self._remember(host)
        return None

    def _whose(self, invite: Request, flow: Flow) -> Trunk | Refusal:
        """The trunk that an INVITE comes from: it was sent to a contact of ours that only that trunk knows, or its source
        is the trunk's, or the server that we are registered at, or it proves it by digest. Else what to answer it."""
        registrations = self.registrations
        trunk = registrations.by_contact(invite) if registrations is not None else None
        if trunk is None:
            trunk = self._sources.trunk_of(flow.remote.host)
            if trunk is None and registrations is not None:
                trunk = registrations.by_server(invite, flow)
        if self.proofs is not None:
            return self.proofs.judge(invite, flow, trunk)
        return trunk if trunk is not None else FORBIDDEN

    def _tell_of_stranger(self, host: str, uri: bytes) -> None:
        """Once a minute for each source: a flood must not fill the log."""
        now = self.timers.now()
        if now - self._told.get(host, -STRANGER_SILENCE) < STRANGER_SILENCE:
            return
        if len(self._told) >= 1000:
            self._told.clear()
        self._told[host] = now
        log.info(
            "refused a call from {host}: no [[trunk]] lists it in `sources` (it dialled {uri})",
            host=host,
            uri=ascii(uri[:80].decode("utf-8", "replace")),  # a stranger must not steer a terminal
        )

    def invited(self, transaction: ServerTransaction) -> None:
        """As AgentUser.invited: a call begins."""
        request = transaction.request
        (admitted, trunk), self._admitted = self._admitted, None
        assert admitted is request  # the agent asks `admit` for each request just before it hands it over
        try:
            admission = admit(request, trunk)
            call = Call(self, new_id(self.wall_ms()), transaction, admission)
        except MalformedMessage as problem:
            log.info("refused an INVITE from {flow}: {problem}", flow=transaction.flow, problem=problem)
            self.agent.respond(transaction, 400)
            return
        self.counters["calls"] += 1
        self.calls[call.id] = call
        call.merge_key = _merge_key(request)
        self._pending[call.merge_key] = call
        self.watch(request.call_id, call, "caller")
        call.call_ids.append(request.call_id)
        call.ladder.add(self.timers.now(), "caller", False, b"INVITE", b"INVITE", bool(request.body))
        if self._newest is not None and self.tracer.on:
            data, flow = self._newest
            self._newest = None
            self.tracer.entries.append((self.timers.now(), (call.id, "caller"), False, data, flow))
        call.begin()

    def is_trunk(self, host: str) -> bool:
        """Whether a source address is that of a trunk."""
        return self._sources.trunk_of(host) is not None

    def knows(self, host: str) -> bool:
        """Whether INVITEs from a source address go first when there are too many: it is a trunk's, or one of them has
        been let in, by a registration or a password."""
        return self.is_trunk(host) or host in self._called_from

    def _remember(self, host: str) -> None:
        self._called_from.pop(host, None)
        self._called_from[host] = None
        if len(self._called_from) > MOST_CALLED_FROM:
            del self._called_from[next(iter(self._called_from))]

    # For the calls

    def open_media(self, call: Call, route: Route, on_timeout: Callable[[], None]) -> Any:
        """An IMediaSession for a call; that of a recorded one is `call.recorded` too. Raises MediaUnavailable."""
        session = self.relay.open(call.id, on_timeout)
        if route.record and self.recorder is not None:
            session = call.recorded = self.recorder.record(call.id, session)
        return session

    def new_call_id(self) -> bytes:
        return secrets.token_hex(12).encode()

    def watch(self, call_id: bytes, call: Call, party: str) -> None:
        """Messages with this Call-ID belong into the ladder of `call`, and into its trace."""
        self._watched[call_id] = (call.ladder, (call.id, party))

    def ended(self, call: Call, record: CallRecord) -> None:
        """A call is over: keep its record, forget the call."""
        if record.target.startswith("phone:") and self.tariff:
            record = priced(record, self.tariff)
        self.ledger.finish(record)
        del self.calls[call.id]
        self._pending.pop(call.merge_key, None)
        last = _LastMessages(record, call.ladder, call.call_ids, call.recorded)
        self.timers.after(LADDER_WAIT, self._close_ladder, last)
        self.counters[record.status] += 1
        for observer in self.observers:
            observer(record)
        # One field only: formatting nine of them costs more than parsing a message.
        log.info("{call}", call=in_a_line(record), call_id=record.id)

    def _tap(self, call_id: bytes, sent: bool, data: bytes, method: bytes, flow: Flow) -> None:
        watched, tracer = self._watched.get(call_id), self.tracer
        if watched is not None:
            now = self.timers.now()
            ladder, party = watched
            start = data[: data.find(b"\r\n")]
            ladder.add(now, party[1], sent, start, method, data[-4:] != b"\r\n\r\n")
            if tracer is not None and tracer.on:
                tracer.entries.append((now, party, sent, data, flow))
        elif tracer is not None:
            if method == b"INVITE" and not sent:
                self._newest = (data, flow)  # its call begins with the next step
            elif tracer.everything:
                tracer.entries.append((self.timers.now(), None, sent, data, flow))

    def _close_ladder(self, last: _LastMessages) -> None:
        """Keep the ladder once nothing has been added to it for a moment."""
        count = len(last.ladder)
        if count != last.count and last.looks < LADDER_LOOKS:
            last.count, last.looks = count, last.looks + 1
            self.timers.after(LADDER_WAIT, self._close_ladder, last)
            return
        for call_id in last.call_ids:
            self._watched.pop(call_id, None)
        record = msgspec.structs.replace(last.record, ladder=last.ladder.steps())
        if last.recorded is not None:
            record = msgspec.structs.replace(record, recording=last.recorded.recording)
            if not last.recorded.ended.called:  # the disk is slow
                last.recorded.ended.addCallback(self._add_recording, record)
        self.ledger.add_ladder(record)

    def _add_recording(self, recording: Any, record: CallRecord) -> None:
        self.ledger.add_ladder(msgspec.structs.replace(record, recording=recording))

    # The end

    @property
    def draining(self) -> bool:
        """Whether no new call is taken, while those there are go on."""
        return self.agent.draining

    def drain(self, on: bool) -> None:
        self.agent.draining = on
        log.info("new calls are {what}", what="refused with 503" if on else "taken again")

    def use_trunks(self, trunks: Iterable[Any]) -> None:
        """Calls come from these trunks and leave by them from now on; calls in progress keep theirs."""
        self._sources = Sources(trunks)
        self._called_from.clear()
        self.destinations.use_trunks(trunks)

    def stop(self) -> None:
        """Take no more calls and end those there are, with BYE or 503; their records are finished."""
        self._stopping = True
        for call in list(self.calls.values()):
            call.hang_up(STOPPING)

    @property
    def settling(self) -> bool:
        """Whether last messages of ended calls are still waited for."""
        return bool(self._watched)


def priced(record: CallRecord, tariff: Tariff) -> CallRecord:
    """The record of a call to a phone number, with what it cost."""
    cost = tariff.cost(record.target.removeprefix("phone:"), record.answer_duration)
    return record if cost is None else msgspec.structs.replace(record, cost=cost, currency=tariff.currency)


def _merge_key(request: Request) -> tuple[bytes, bytes, int]:
    return request.call_id, request.from_.tag, request.cseq[0]


def in_a_line(record: CallRecord) -> str:
    """What the log says of a call that is over."""
    return (
        f"call {record.id} {record.caller or 'withheld'} -> {record.callee} by {record.trunk} "
        f"to {record.target or '-'}: {record.status} {record.sip_code} {record.reason} {record.answer_duration:.1f} s"
    )


def new_id(wall_ms: int) -> str:
    """An identifier of a call that sorts by time: RFC 9562 UUID version 7, without hyphens."""
    randomness = secrets.randbits(74)
    value = (wall_ms & (2**48 - 1)) << 80 | 7 << 76 | (randomness >> 62) << 64 | 2 << 62 | (randomness & (2**62 - 1))
    return f"{value:032x}"
