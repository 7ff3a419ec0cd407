"""Our own registration with a trunk's registrar: an endless attempt (RFC 3261 section 10.2). Knows the agent and one
trunk's settings; not the calls that come over it.

    ask -> 200            -> wait until shortly before it expires -> ask
        -> 401, 407       -> ask with credentials
        -> 423            -> ask for as long as the registrar wants
        -> 503, no answer -> the next server (RFC 3263)               -> wait a little, each time longer -> ask
        -> any refusal    -> wait long, each time longer              -> ask
"""

from __future__ import annotations

import random
import secrets
from hashlib import blake2s
from typing import Any, Callable, NamedTuple

from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.calls.sides import contact_line
from calltrack.errors import CalltrackError, MalformedMessage
from calltrack.sip.agent import Agent
from calltrack.sip.digest import Credentials, DigestClient
from calltrack.sip.flows import Flow
from calltrack.sip.grammar import parse_uint
from calltrack.sip.locating import NextHop
from calltrack.sip.message import Response
from calltrack.sip.transactions import NOBODY, ClientTransaction
from calltrack.sip.uri import URI, escape_user, host_port, parse_name_addr, parse_uri
from calltrack.timers import Timer

log = Logger()

UNREACHABLE = (2.0, 120.0)  # seconds to the next attempt at a registrar that does not serve: first, and longest
REFUSED = (60.0, 900.0)  # at one that said no: a provider shuts out who asks too often with a wrong password
STABLE = 30.0  # seconds for which a registration must have held before its loss is tried to mend at once
LONGEST_ASKED = 86400  # seconds, whatever a 423 wants
LONGEST_WAIT = 3600  # seconds, whatever a Retry-After wants
LINE = b"line"  # parameter of our Contact by which calls to it are known


class RegistrationState(NamedTuple):
    """How a registration stands. Times are by the clock of `timers`, in seconds."""

    registered: bool
    until: float  # when it ends unless it is refreshed; 0 = there is none
    why: str  # what the last attempt failed on; "" = it did not
    next_at: float  # of the next attempt; 0 = one is under way, or none follows


class Registration:
    """Keeps us registered with `trunk`, from `start` to `stop`. `changed(registration)` is called whenever its `state`
    has changed."""

    def __init__(self, agent: Agent, trunk: Any, changed: Callable[[Registration], None]) -> None:
        self.trunk = trunk
        self.flow: Flow | None = None  # of the last success, as long as it is open
        self.until = 0.0  # when the registration ends
        self.why = ""
        aor = parse_uri((trunk.aor or f"sip:{trunk.username}@{_host_of(trunk.outbound)}").encode())
        self.user = aor.user
        # Always the same, so that a new process replaces the contact of one that was killed, and known to nobody who
        # does not know the password, so that it can stand for the trunk.
        key, who = trunk.password.encode()[:32], trunk.name.encode() + b"\0" + self.user
        self.line = blake2s(who, key=key, digest_size=12).hexdigest().encode()
        self._agent = agent
        self._timers = agent.timers
        self._changed = changed
        self._next_hop_uri = parse_uri(trunk.outbound.encode())
        self._uri = b"sip:" + _host_port(aor)
        self._aor = b"<sip:%b@%b>" % (escape_user(self.user), _host_port(aor))
        self._tag = secrets.token_hex(8).encode()
        self._call_id = secrets.token_hex(12).encode()
        self._cseq = 0
        self._digest = DigestClient(Credentials(trunk.username, trunk.password, realm=trunk.realm or None))
        self._asked = trunk.register_expires
        self._hops: list[NextHop] = []
        self._transaction: ClientTransaction | None = None
        self._looking = False  # for next hops or a connection
        self._timer: Timer | None = None
        self._next_at = 0.0
        self._failures = 0  # in a row
        self._since = 0.0  # of the last success
        self._running = False
        self._leaving = False
        self._misses = 0  # since the last success
        self._refused = False  # by the last answer
        self._ending: Timer | None = None  # of the registration, unless it is refreshed

    # Life

    def start(self) -> None:
        """Register, now and from now on."""
        self._running = True
        self._ask_in(0.0)

    def stop(self) -> None:
        """Log out, if we are logged in; whoever stops waits for answers of the transaction layer. An attempt that is
        under way ends first (section 10.2: one at a time)."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        self._next_at = 0.0
        if self._transaction is None:
            self._leave()

    @property
    def registered(self) -> bool:
        return self.until > self._timers.now()

    @property
    def serves(self) -> bool:
        """Whether the registrar knows us and has not ceased to answer: one attempt that fails is not the end."""
        return self.registered and not self._refused and self._misses < 2

    @property
    def state(self) -> RegistrationState:
        return RegistrationState(self.registered, self.until, self.why, self._next_at)

    # One attempt

    def _ask_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_at = self._timers.now() + seconds
        self._timer = self._timers.after(seconds, self._ask)

    def _ask(self, _: None) -> None:
        if self._transaction is not None or self._looking:
            return
        self._next_at = 0.0
        self._hops = []
        self._looking = True
        if self.flow is not None:  # stay with the server that knows us
            known = defer.succeed(self.flow).addCallback(self._connected)
            known.addErrback(self._unreachable).addErrback(self._bug)
            return
        hops = defer.maybeDeferred(self._agent.next_hops, self._next_hop_uri)
        hops.addCallbacks(self._resolved, self._unreachable).addErrback(self._bug)

    def _resolved(self, hops: list[NextHop]) -> None:
        self._hops = list(hops)
        self._next_server("no next hop")

    def _unreachable(self, failure: Failure) -> None:
        failure.trap(CalltrackError)
        self._next_server(str(failure.value))

    def _next_server(self, why: str, wait: float = 0.0) -> None:
        if not self._running or not self._hops:
            self._looking = False
            self._failed(why, UNREACHABLE, wait)
            return
        self._looking = True
        flow = self._agent.transports.flow_to(self._hops.pop(0))
        flow.addCallback(self._connected).addErrback(self._unreachable).addErrback(self._bug)

    def _connected(self, flow: Flow) -> None:
        self._looking = False
        if self._running:
            self._send(flow)

    def _send(self, flow: Flow, credentials: list[tuple[bytes, bytes]] | None = None) -> None:
        agent = self._agent
        sent_by = agent.transports.sent_by(flow)
        if credentials is None:
            credentials = self._digest.begin(b"REGISTER", self._uri)
        self._cseq += 1
        seconds = 0 if self._leaving else self._asked
        contact = contact_line(self.user, sent_by, flow.transport)[:-1] + b";%b=%b>;expires=%d" % (LINE, self.line, seconds)
        lines = [
            b"From: %b;tag=%b" % (self._aor, self._tag),
            b"To: " + self._aor,
            b"Call-ID: " + self._call_id,
            b"CSeq: %d REGISTER" % self._cseq,
            contact,
            b"Expires: %d" % seconds,
            b"Max-Forwards: 70",
            agent.user_agent,
            *(name + b": " + value for name, value in credentials),
        ]
        flow.watch(self._flow_closed)
        self._transaction = agent.layer.request(flow, b"REGISTER", self._uri, lines, b"", self, self._call_id)

    # What comes of it

    def responded(self, transaction: ClientTransaction, response: Response) -> None:
        status = response.status
        if status < 200:
            return
        self._transaction = None
        if status in (401, 407):
            values = response.all(b"www-authenticate"), response.all(b"proxy-authenticate")
            mine, other = values if status == 401 else values[::-1]
            answer = self._digest.answer(b"REGISTER", self._uri, status, mine, other)
            if answer is not None:
                self._send(transaction.flow, answer)
                return
        if self._leaving:
            self._gone()
        elif status < 300:
            self._succeeded(transaction.flow, response)
        elif status == 423 and self._lengthen(response):
            self._send(transaction.flow)
        elif status == 503:
            self._lose(transaction.flow)
            self._next_server(_in_words(response), _retry_after(response))
        else:
            unreachable = status in (408, 480, 491) or 500 <= status < 600
            self._failed(_in_words(response), UNREACHABLE if unreachable else REFUSED, _retry_after(response))

    def failed(self, transaction: ClientTransaction, error: CalltrackError) -> None:
        """No answer, or the connection was lost."""
        self._transaction = None
        if self._leaving:
            self._gone()
            return
        self._lose(transaction.flow)
        transaction.flow.close()  # one that brings no answer leads nowhere
        self._next_server(str(error))

    def _lengthen(self, response: Response) -> bool:
        """Take the interval that the registrar wants (section 10.2.8); False when it wants nothing more."""
        try:
            least = parse_uint(response.get(b"min-expires") or b"", "Min-Expires")
        except MalformedMessage:
            return False
        if not self._asked < least <= LONGEST_ASKED:
            return False
        self._asked = least
        return True

    def _succeeded(self, flow: Flow, response: Response) -> None:
        now = self._timers.now()
        granted = self._granted(response)
        was = self.registered and not self.why
        if self.flow is not None and self.flow is not flow:
            self.flow.unwatch(self._flow_closed)
        self.flow = flow
        self.until = now + granted
        self.why = ""
        self._since = now
        self._misses, self._refused = 0, False
        if self._ending is not None:
            self._ending.cancel()
        self._ending = self._timers.after(granted, self._expired)
        if not flow.open:
            self._flow_closed(flow)
        elif self._running:
            margin = max(min(40.0, granted / 2), granted * random.uniform(0.05, 0.15))
            self._ask_in(max(1.0, granted - margin))
        else:
            self._leave()
            return
        if not was:
            log.info(
                "registered with trunk {name} for {seconds} s, over {flow}", name=self.trunk.name, seconds=granted, flow=flow
            )
        self._changed(self)

    def _expired(self, _: None) -> None:
        self._changed(self)

    def _granted(self, response: Response) -> int:
        """The seconds that our contact has got (section 10.2.4)."""
        ours = None
        try:
            for value in response.items(b"contact"):
                address = parse_name_addr(value)
                if parse_uri(address.uri).params.get(LINE) == self.line:
                    ours = address.params.get(b"expires")
            return max(1, parse_uint(ours or response.get(b"expires") or b"", "expires", LONGEST_ASKED))
        except MalformedMessage:  # a registrar that does not tell has taken what it was asked for
            return self._asked

    def _failed(self, why: str, pace: tuple[float, float], wait: float = 0.0) -> None:
        if not self._running:
            self._leave()
            return
        now = self._timers.now()
        if self._since and now - self._since > STABLE and not self.why:
            self._failures = 0
        self.why = why
        first, longest = pace
        delay = min(longest, first * 2 ** min(self._failures, 16)) * random.uniform(0.5, 1.0)
        self._failures += 1
        self._misses += 1
        self._refused = pace is REFUSED
        delay = max(delay, wait * random.uniform(1.0, 1.2))
        log.warn(
            "no registration with trunk {name}: {why}; the next attempt is in {seconds:.0f} s{still}",
            name=self.trunk.name,
            why=why,
            seconds=delay,
            still=f", the last one holds for {self.until - now:.0f} s more" if self.registered else "",
        )
        self._ask_in(delay)
        self._changed(self)

    # The flow

    def _flow_closed(self, flow: Flow) -> None:
        """The connection that calls come over is gone (RFC 5626 section 4.2.2): register over another one."""
        was, transaction = self.flow is flow, self._transaction
        self._lose(flow)
        if transaction is not None and transaction.flow is flow:
            transaction.flow_closed(flow)  # which ends in `failed`
        elif was and self._running and not self._looking and transaction is None:
            if self._timers.now() - self._since > STABLE:
                self._ask_in(random.uniform(0.0, 1.0))
            else:
                self._failed("the connection was closed", UNREACHABLE)

    def _lose(self, flow: Flow) -> None:
        if self.flow is flow:
            self.flow = None

    # The end

    def _leave(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        if self.registered and self.flow is not None:
            self._send(self.flow)
        else:
            self._gone()

    def _gone(self) -> None:
        if self.flow is not None:
            self.flow.unwatch(self._flow_closed)
        self.flow, self.until = None, 0.0
        if self._ending is not None:
            self._ending.cancel()
        if self._transaction is not None:
            self._transaction.user, self._transaction = NOBODY, None

    def _bug(self, failure: Failure) -> None:
        """It must go on whatever happens."""
        log.failure("registering with trunk {name} failed on a bug", failure=failure, name=self.trunk.name)
        self._looking = False
        self._failed("a bug, see the log", UNREACHABLE)


def _in_words(response: Response) -> str:
    """What the registrar said, fit for a log line and a terminal."""
    if response.status in (401, 407):
        return f"{response.status}: it refuses the user name or password"
    if 300 <= response.status < 400:
        return f"{response.status}: redirections are not followed"
    if response.status == 423:
        return "423: it wants a longer registration than any"
    reason = response.reason[:100].decode("utf-8", "replace")
    return f"{response.status} " + "".join(char if char.isprintable() else "?" for char in reason)


def _retry_after(response: Response) -> float:
    """The seconds for which it does not want to be asked; 0 when it does not say."""
    value = (response.get(b"retry-after") or b"").partition(b";")[0].partition(b"(")[0].strip(b" \t")
    try:
        return min(parse_uint(value, "Retry-After"), LONGEST_WAIT)
    except MalformedMessage:
        return 0.0


def _host_of(address: str) -> str:
    """Host of a SIP address, an IPv6 one in brackets."""
    return _host_port(parse_uri(address.encode())._replace(port=None)).decode("ascii")


def _host_port(uri: URI) -> bytes:
    return host_port(uri.host.decode("ascii"), uri.port).encode("ascii")
