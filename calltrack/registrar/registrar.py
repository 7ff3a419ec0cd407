"""The registrar: who may log in to a project's account, who is logged in, and where calls to it ring.

A REGISTER (RFC 3261 section 10.3) is judged before anything is kept of it, changes the bindings in memory, and is
answered when the change is durable. Knows SIP, accounts and the parts beside it; must not know calls.
"""

from __future__ import annotations

import random
from collections import Counter
from email.utils import formatdate
from typing import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import MalformedMessage, SIPError, StoreUnavailable, TransportFailure
from calltrack.events.derived import of_binding
from calltrack.events.model import Event
from calltrack.interfaces import IAccountStore, ILocationStore
from calltrack.registrar.directory import Directory
from calltrack.registrar.guard import Guard, is_public
from calltrack.registrar.journal import BindingJournal
from calltrack.registrar.keepalive import KeepAlive
from calltrack.registrar.locations import Entry, Locations
from calltrack.registrar.offers import Offers, offered_after
from calltrack.registrar.reach import Network, Reach, Reachable
from calltrack.registrar.registration import read
from calltrack.registrar.settings import RegistrarSettings
from calltrack.registrar.update import Origin, behind_nat, update
from calltrack.sip.agent import Agent
from calltrack.sip.challenger import Challenger
from calltrack.sip.flows import Flow
from calltrack.sip.grammar import quote
from calltrack.sip.layer import Refusal
from calltrack.sip.message import Request
from calltrack.sip.transactions import ServerTransaction
from calltrack.sip.uri import parse_uri
from calltrack.timers import Timers
from calltrack.tracking.bindings import Binding

log = Logger()

EXTENSIONS = (b"path", b"outbound")
FLOW_TIMER = 120  # seconds within which a device that keeps its flow open sends something (RFC 5626 section 4.4.1)
RESTORE_AGAIN = 1.0  # seconds after which the store is asked again for the bindings of an earlier run


class Registrar:
    """`wall`: seconds since the Unix epoch; everything else is timed by `timers`. `secret` signs nonces.
    `trusted(host)`: whether a source is a trunk, which is never shut out. Devices that come and go are told in the log of
    events, by the store of their bindings and with them."""

    def __init__(
        self,
        timers: Timers,
        wall: Callable[[], float],
        settings: RegistrarSettings,
        domain: str,
        accounts: IAccountStore,
        locations: ILocationStore,
        network: Network,
        secret: bytes,
        trusted: Callable[[str], bool] = lambda host: False,
    ) -> None:
        self.timers = timers
        self.settings = settings
        self.domain = domain
        self.counters: Counter[str] = Counter()
        self.directory = Directory(accounts, timers, domain, self._drop_disabled)
        self.locations = Locations(timers, self._expired)
        self.guard = Guard(timers.now, trusted)
        self.offers = Offers(timers.now)
        self._reach = Reach(self.locations, network)
        self._keep_alive = KeepAlive(timers, self.locations, self._reach, settings.nat_keepalive)
        self._wall = wall
        self._store = locations
        self._network = network
        self._journal = BindingJournal(locations, timers)
        self.challenger = Challenger(timers, domain, secret, self.guard, self._refuse, self._counted)
        self._domains = {name.encode() for name in (domain, *settings.domains)}
        self._restored = False
        self._agent: Agent = None  # type: ignore[assignment]  # until `connect`
        network.closed = self._closed

    # Life

    def connect(self, agent: Agent) -> None:
        """Take the agent whose registrar this is."""
        self._agent = agent
        agent.registrar = self

    def start(self) -> Deferred[None]:
        """Read accounts and the bindings of an earlier run. Fires with None after the first attempt; as long as the
        store is away it is asked again, and devices are told to come later."""
        self._keep_alive.start()
        return self.directory.start().addCallback(self._restore)

    def stop(self) -> Deferred[None]:
        """Bring what is still to be written into the store. Fires with None. Connections that close from now on are
        no news: the next start knows that they are gone."""
        self._network.closed = lambda flow: None
        self.directory.stop()
        self._keep_alive.stop()
        return self._journal.stop()

    def _restore(self, _: None) -> Deferred[None]:
        return Deferred.fromCoroutine(self._read_bindings())

    async def _read_bindings(self) -> None:
        try:
            bindings = await self._store.list() if self.directory.loaded else None
        except StoreUnavailable as error:
            log.error("bindings of an earlier run cannot be read: {error}", error=error)
            bindings = None
        if bindings is None:
            self.timers.after(RESTORE_AGAIN, lambda _: self._restore(None).addErrback(_bug))
            return
        now = self._wall()
        gone = []
        for binding in bindings:
            left = min(binding.expires_at - now, self.settings.max_expires)
            if left <= 0 or binding.transport != "udp":  # connections ended with the process that had them
                gone.append((binding, "expired" if left <= 0 else "engine restarted"))
            else:
                self._hold(binding, left)
        self._restored = True
        self._journal.write((), [binding for binding, _ in gone], [self._news(*one) for one in gone])
        self._drop_disabled()
        if bindings:
            log.info("{count} devices are registered from an earlier run", count=len(self.locations))

    # Judging a REGISTER: nothing is kept of one that is refused

    def admit(self, register: Request, flow: Flow) -> Refusal | None:
        """As RegistrarUser.admit. Sources that are shut out get no answer."""
        host = flow.remote.host
        if self.guard.shut_out(host):
            self.counters["ignored"] += 1
            return Refusal(0)
        if self.settings.require_public_source and not is_public(host):
            self.counters["private"] += 1
            if self.guard.worth_telling(host):
                log.info("refused a registration from {host}: require_public_source is set", host=host)
            return Refusal(403, (), b"Registrations From Private Addresses Are Refused (%b)" % host.encode())
        try:
            return self._judge(register, flow)
        except MalformedMessage as problem:
            return Refusal(400, (), b"Bad Request (%b)" % problem.detail.encode("ascii", "replace"))

    def _judge(self, register: Request, flow: Flow) -> Refusal | None:
        if not self._is_ours(parse_uri(register.uri).host, flow):
            return Refusal(404)  # section 21.4.5: the domain in the Request-URI is none of ours
        unknown = [tag for tag in register.tokens(b"require") if tag not in EXTENSIONS]
        if unknown:
            return Refusal(420, (b"Unsupported: " + b", ".join(unknown),))
        if not self._restored:
            return Refusal(503, (_retry_after(),))
        return self._authenticate(register, flow)

    def _authenticate(self, register: Request, flow: Flow) -> Refusal | None:
        host, challenger = flow.remote.host, self.challenger
        values = challenger.credentials(register)
        if not values:
            return challenger.challenge(flow, lambda: self.offers.for_request(register, host))
        self.offers.answered(register, host)
        proved = challenger.judge(register, flow, values, self.directory.ha1, offered_after(values))
        if isinstance(proved, Refusal):
            return proved
        to = parse_uri(register.to.uri)
        if not self._is_ours(to.host, flow):
            return Refusal(404)  # section 10.3 step 5
        if to.user.decode("utf-8", "replace") != proved:
            return Refusal(403, (), b"Another User's Account")  # section 10.3 step 4
        return None

    def _refuse(self, request: Request, flow: Flow, refusal: Refusal) -> None:
        self._agent.layer.refuse(request, flow, refusal)

    def _counted(self, what: str) -> None:
        self.counters[what] += 1

    def _is_ours(self, host: bytes, flow: Flow) -> bool:
        """Whether a domain is served here: by name, or as the address that the device reached us at."""
        if host in self._domains or host.decode("ascii", "replace") == flow.local.host:
            return True
        try:
            shown = self._network.sent_by(flow)
        except TransportFailure:  # no route back: whatever we are asked, nobody will hear it
            return False
        return shown.rpartition(b":")[0].strip(b"[]") == host

    def speaks_for_account(self, request: Request, flow: Flow) -> bool:
        """Whether a request says that it comes from a device of an account here."""
        try:
            who = parse_uri(request.from_.uri)
        except MalformedMessage:
            return False
        return self.directory.account(who.user.decode("utf-8", "replace")) is not None and self._is_ours(who.host, flow)

    # Serving it

    def registering(self, transaction: ServerTransaction) -> None:
        """As RegistrarUser.registering: of a user whose credentials were right."""
        request, flow = transaction.request, transaction.flow
        try:
            account = self.directory.account(parse_uri(request.to.uri).user.decode())
            assert account is not None  # or its credentials could not have been right
            registration = read(request, self.settings)
            origin = self._origin(account.project, request, flow)
            current = [entry.binding for entry in self.locations.of(account.project)]
            change = update(current, registration, origin, self.settings.max_contacts)
        except SIPError as problem:
            lines = tuple(b"%b: %b" % header for header in problem.headers)
            log.info("refused a registration from {flow}: {problem}", flow=flow, problem=problem)
            reason = f"{problem.reason} ({problem.detail})" if problem.detail else problem.reason
            self._agent.respond(transaction, problem.status, lines, reason=reason.encode("ascii", "replace"))
            return
        for binding in change.removed:
            self.locations.remove(binding)
        for binding in change.saved:
            self._hold(binding, binding.expires_at - origin.now, flow if flow.reliable else None)

        def done(durable: bool) -> None:
            self._answer(transaction, account.project, registration.outbound, durable)

        if change.saved or change.removed:
            self.counters["registrations"] += 1
            events = [self._news(binding) for binding in change.came]
            events += [self._news(binding, "logged out") for binding in change.left]
            self._journal.write(change.saved, change.removed, events, done)
        else:
            done(True)

    def _hold(self, binding: Binding, lifetime: float, connection: Flow | None = None) -> None:
        natted = connection is None and behind_nat(binding.contact, binding.host)
        self.locations.put(binding, lifetime, connection, keep_open=natted)

    def _origin(self, project: int, request: Request, flow: Flow) -> Origin:
        return Origin(
            project=project,
            transport=flow.transport,
            host=flow.remote.host,
            port=flow.remote.port,
            local=f"{flow.local.host}:{flow.local.port}",
            symmetric=flow.reliable or b"rport" in request.via.params,
            now=self._wall(),
        )

    def _answer(self, transaction: ServerTransaction, project: int, outbound: bool, durable: bool) -> None:
        if not durable:
            self._agent.respond(transaction, 503, (_retry_after(),))
            return
        now = self.timers.now()
        lines = [_contact_line(entry, now) for entry in self.locations.of(project)]
        lines += [b"Path: " + value for value in transaction.request.all(b"path")]
        if outbound:
            lines += (b"Require: outbound", b"Flow-Timer: %d" % FLOW_TIMER)
        lines += (b"Supported: " + b", ".join(EXTENSIONS), b"Date: " + formatdate(self._wall(), usegmt=True).encode())
        self._agent.respond(transaction, 200, tuple(lines))

    # What ends bindings besides REGISTER

    def _expired(self, bindings: list[Binding]) -> None:
        self._gone(bindings, "expired")

    def _closed(self, flow: Flow) -> None:
        """A connection is gone, and with it the devices that were reached over it."""
        self._drop(self.locations.over(flow), "connection closed")

    def _drop_disabled(self) -> None:
        for project in self.locations.projects():
            account = self.directory.account_of(project)
            if account is None or not account.enabled:
                self._drop([entry.binding for entry in self.locations.of(project)], "account disabled")

    def _drop(self, bindings: list[Binding], reason: str) -> None:
        for binding in bindings:
            self.locations.remove(binding)
        if bindings:
            self._gone(bindings, reason)

    def _gone(self, bindings: list[Binding], reason: str) -> None:
        self._journal.write((), bindings, [self._news(binding, reason) for binding in bindings])

    def _news(self, binding: Binding, reason: str = "") -> Event:
        """The event of a device's coming, or of its going with the `reason`; counted and logged."""
        account = self.directory.account_of(binding.project)
        event = of_binding(binding, account.user if account is not None else "", round(self._wall() * 1000), reason)
        self.counters[event.type] += 1
        log.info(
            "{event.type} {event.user} of project {event.project}: {device} from {event.source} by {event.transport}"
            " {reason}",
            event=event,
            device=binding.device or "a device without a name",
            reason=reason,
        )
        return event

    # For calls

    def reachable(self, project: int) -> list[Reachable]:
        """As `Reach.reachable`."""
        return self._reach.reachable(project)


def _contact_line(entry: Entry, now: float) -> bytes:
    """A binding as the answer lists it, with the whole seconds that it has left."""
    binding = entry.binding
    line = b"Contact: <%b>;expires=%d" % (binding.contact.encode(), max(0, -int(-(entry.expires - now) // 1)))
    if binding.q != 1000:
        line += b";q=%.3f" % (binding.q / 1000)
    if binding.instance:
        line += b";+sip.instance=" + quote(binding.instance.encode())
    if binding.reg_id:
        line += b";reg-id=%d" % binding.reg_id
    return line


def _retry_after() -> bytes:
    return b"Retry-After: %d" % random.randint(5, 20)


def _bug(failure: Failure) -> None:
    log.failure("restoring bindings failed", failure=failure)
