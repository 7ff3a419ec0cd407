"""The transaction layer: finds the transaction of each message and makes the new ones (RFC 3261
sections 17.1.3, 17.2.3, 18). Knows transports; no dialogs.
"""

from __future__ import annotations

import random
import secrets
from collections import Counter
from hashlib import blake2s
from typing import Any, Callable, NamedTuple, Protocol

from twisted.logger import Logger

from calltrack.errors import MalformedMessage, SIPError, TransportFailure
from calltrack.sip import transactions as tx
from calltrack.sip.flows import Flow
from calltrack.sip.grammar import split_list
from calltrack.sip.invitations import copied_lines
from calltrack.sip.locating import NextHop
from calltrack.sip.message import Request, Response, UnsafeHeader, Via, parse, respond, serialise
from calltrack.sip.transactions import ClientTransaction, ClientUser, ServerTransaction, Settings
from calltrack.sip.transports import Transports
from calltrack.sip.via import parse_via
from calltrack.timers import Timers

log = Logger()

MAGIC = b"z9hG4bK"  # begins every branch of RFC 3261 (section 8.1.1.7)
_SHED = b"SIP/2.0 503 Service Unavailable%b\r\n%b\r\nContent-Length: 0\r\n\r\n"


class Refusal(NamedTuple):
    """An answer without a transaction; status 0 = no answer at all."""

    status: int
    lines: tuple[bytes, ...] = ()
    reason: bytes = b""  # phrase in the place of the usual one


class LayerUser(Protocol):
    """The user agent core, as the transaction layer sees it."""

    def screen(self, request: Request, flow: Flow) -> Refusal | None:
        """Asked before anything is kept of a new request: None lets it in."""

    def requested(self, transaction: ServerTransaction) -> None:
        """A new request that is neither ACK nor CANCEL."""

    def acknowledged(self, ack: Request) -> None:
        """An ACK that belongs to no failure response."""

    def cancelled(self, cancel: ServerTransaction, invite: ServerTransaction | None) -> None:
        """A CANCEL, and the INVITE transaction that it names, if there is one."""

    def unmatched(self, response: Response, flow: Flow) -> None:
        """A response to none of our transactions: perhaps a late 2xx to an INVITE."""


class TransactionLayer:
    """Client and server transactions of one SIP engine.

    `tap(call_id, sent, data, method, flow)`, when set, sees every message that belongs to a
    transaction or dialog, as it is on the wire.
    """

    def __init__(self, timers: Timers, transports: Transports, settings: Settings, user: LayerUser) -> None:
        self.timers = timers
        self.transports = transports
        self.settings = settings
        self.user = user
        self.tap: Callable[[bytes, bool, bytes, bytes, Flow], None] | None = None
        self.counters: Counter[str] = Counter()
        self.servers: dict[tuple[bytes, ...], ServerTransaction] = {}
        self.clients: dict[tuple[bytes, bytes], ClientTransaction] = {}
        self._secret = secrets.token_bytes(16)
        self.branch_prefix = MAGIC + b"ct" + secrets.token_hex(3).encode()  # how we know our own Via
        self._shed_tag = b";tag=" + secrets.token_hex(4).encode() + b"-"  # begins the To tags of `shed`
        transports.deliver = self.receive
        transports.refuse = self.shed

    # Out

    def branch(self) -> bytes:
        return self.branch_prefix + secrets.token_hex(8).encode()

    def request(
        self,
        flow: Flow,
        method: bytes,
        uri: bytes,
        lines: list[bytes],
        body: bytes,
        user: ClientUser,
        call_id: bytes,
    ) -> ClientTransaction:
        """Send a request in a new client transaction. `lines`: whole header lines but Via.
        Raises UnsafeHeader. A transport failure comes to the user later, never from here."""
        branch = self.branch()
        data = self.build(flow, branch, method, uri, lines, body)
        transaction = ClientTransaction(self, flow, branch, method, call_id, data, user)
        self.clients[branch, method] = transaction
        transaction.start()
        return transaction

    def build(self, flow: Flow, branch: bytes, method: bytes, uri: bytes, lines: list[bytes], body: bytes) -> bytes:
        via = b"Via: SIP/2.0/%b %b;rport;branch=%b" % (
            flow.transport.upper().encode(),
            self.transports.sent_by(flow),
            branch,
        )
        return serialise(b"%b %b SIP/2.0" % (method, uri), [via, *lines], body)

    def send(self, flow: Flow, data: bytes, method: bytes, call_id: bytes) -> None:
        """Send what has no transaction of its own (an ACK): a failure is counted, the peer will ask again."""
        if self.tap is not None:
            self.tap(call_id, True, data, method, flow)
        try:
            flow.send(data)
        except TransportFailure as error:
            self.counters["undeliverable"] += 1
            words = "could not send {method} to {flow}: {error}"
            log.info(words, method=method, flow=flow, error=error, sip_call_id=call_id.decode("utf-8", "replace"))

    def cancel(self, invite: ClientTransaction, extra: tuple[bytes, ...]) -> None:
        """Send the CANCEL of `invite`, once: same branch, a transaction of its own (section 9.1)."""
        if (invite.branch, b"CANCEL") in self.clients:
            return
        start, lines = invite.derived(b"CANCEL")
        data = serialise(start, [*lines, *extra])
        cancel = ClientTransaction(self, invite.flow, invite.branch, b"CANCEL", invite.call_id, data, tx.NOBODY)
        self.clients[invite.branch, b"CANCEL"] = cancel
        cancel.start()

    def tag_of(self, request: Request) -> bytes:
        """The To tag of our responses to `request`: the same for the same request and for its CANCEL (sections
        8.2.7, 9.2), and nobody else can guess it (section 19.3)."""
        which = request.via.branch + b"\0" + (request.get(b"call-id") or b"")
        return blake2s(which, key=self._secret, digest_size=8).hexdigest().encode()

    def forget(self, transaction: Any) -> None:
        """A transaction has ended."""
        if isinstance(transaction, ClientTransaction):
            self.clients.pop((transaction.branch, transaction.method), None)
        else:
            self.servers.pop(transaction.key, None)

    def unanswered(self) -> int:
        """How many requests of ours wait for a final response."""
        waiting = (tx.CALLING, tx.TRYING, tx.PROCEEDING)
        return sum(transaction.state in waiting for transaction in self.clients.values())

    def undeliverable(self, transaction: ServerTransaction, data: bytes, error: TransportFailure) -> None:
        """A response could not be sent. A closed connection is opened again to the sent-by address
        (section 18.2.2); else the peer's retransmission will ask again."""
        self.counters["undeliverable"] += 1
        flow = transaction.flow
        if not flow.reliable or flow.open:
            log.info("could not answer {flow}: {error}", flow=flow, error=error)
            return
        hop = NextHop(flow.transport, flow.remote.host, transaction.sent_by[1] or 5060)

        def connected(again: Flow) -> None:
            transaction.flow = again
            again.send(data)

        def failed(failure: Any) -> None:
            failure.trap(TransportFailure)
            log.info("could not answer {flow}: {error}", flow=flow, error=failure.value)

        self.transports.flow_to(hop).addCallback(connected).addErrback(failed).addErrback(
            lambda bug: log.failure("answering over a new connection failed", failure=bug)
        )

    # In

    def receive(self, data: bytes, flow: Flow, shed: bool = False) -> None:
        """A message from the network. Nothing it contains makes this raise. `shed`: a new request is refused with 503."""
        if data[:4] == b"ACK " and self._shed_tag in data:
            return  # the end of what `shed` has refused
        try:
            message = parse(data)
            if type(message) is Response:
                self._response(message, flow, data)
            else:
                self._request(message, flow, data, shed)
        except MalformedMessage as problem:
            self.counters["malformed"] += 1
            log.debug("dropped a message from {flow}: {problem}", flow=flow, problem=problem)

    def _response(self, response: Response, flow: Flow, data: bytes) -> None:
        response.validate()
        method = response.cseq[1]
        transaction = self.clients.get((response.branch, method))
        if self.tap is not None:
            self.tap(response.call_id, False, data, method, flow)
        if transaction is not None:
            transaction.received(response)
        else:
            self.counters["unmatched_responses"] += 1
            self.user.unmatched(response, flow)

    def shed(self, invites: list[tuple[bytes, Flow]]) -> None:
        """Refuse INVITEs with 503, having read no more of them than the answers copy and keeping nothing (section 8.2.7).
        Those whose transaction is there already are answered by that. All are sent together: it wakes their reader once."""
        answers = [self._shed(data, flow) for data, flow in invites]
        for answer in answers:
            if answer is not None:
                try:
                    answer[0].send(answer[1])
                except TransportFailure:
                    self.counters["undeliverable"] += 1

    def _shed(self, data: bytes, flow: Flow) -> tuple[Flow, bytes] | None:
        lines = copied_lines(data)
        if lines is None:
            return self.receive(data, flow, shed=True)
        top, to = (next(at for at, line in enumerate(lines) if line[:4] == name) for name in (b"\r\nVi", b"\r\nTo"))
        value, comma, others = lines[top][7:].partition(b",")
        try:
            via = parse_via(value)
        except MalformedMessage:
            self.counters["malformed"] += 1
            return None
        branch = via.branch
        if (branch, b"INVITE") in self.servers or not branch.startswith(MAGIC) or b'"' in value:
            return self.receive(data, flow, shed=True)
        lines[top] = b"\r\nVia: %b%b%b" % (_stamped(value, via, flow), comma, others)
        lines[to] += self._shed_tag + blake2s(branch, key=self._secret, digest_size=8).hexdigest().encode()
        return _answering(flow, via, self.transports), _SHED % (b"".join(lines), try_later())

    def _request(self, request: Request, flow: Flow, data: bytes, shed: bool) -> None:
        via = request.via
        key = server_key(request)
        transaction = self.servers.get(key)
        if transaction is not None and not _same_sender(transaction, request, flow):
            key = (*key, sent_by(via))  # another client's branch, alike by chance or malice
            transaction = self.servers.get(key)
        if transaction is not None:
            if request.method == b"ACK":
                self._tap(request, data, flow)
                transaction.event(tx.ACK, request)
            else:
                self.counters["repeated_requests"] += 1
                transaction.event(tx.REQUEST)
            return
        try:
            request.validate()
        except SIPError as problem:
            self.counters["malformed"] += 1
            if request.method != b"ACK":
                _stamp(request, via, flow)
                self.refuse(request, flow, Refusal(problem.status), problem.detail)
            return
        _stamp(request, via, flow)
        if request.method == b"ACK":
            self._tap(request, data, flow)
            self.user.acknowledged(request)
            return
        refusal = Refusal(503, (try_later(),)) if shed else self.user.screen(request, flow)
        if refusal is not None:
            self.counters["refused"] += 1
            if refusal.status:
                self.refuse(request, flow, refusal)
            return
        self._tap(request, data, flow)
        transaction = ServerTransaction(self, _answering(flow, via, self.transports), request, key)
        self.servers[key] = transaction
        if request.method == b"CANCEL":
            self.user.cancelled(transaction, self._cancelled_invite(key, request, flow))
        else:
            self.user.requested(transaction)

    def _tap(self, request: Request, data: bytes, flow: Flow) -> None:
        if self.tap is not None:
            self.tap(request.call_id, False, data, request.method, flow)

    def _cancelled_invite(self, key: tuple[bytes, ...], cancel: Request, flow: Flow) -> ServerTransaction | None:
        invite = self.servers.get((key[0], b"INVITE"))
        if invite is not None and not _same_sender(invite, cancel, flow):
            invite = self.servers.get((key[0], b"INVITE", sent_by(cancel.via)))
        return invite

    def refuse(self, request: Request, flow: Flow, refusal: Refusal, detail: str = "") -> None:
        """Answer without keeping anything (section 8.2.7)."""
        reason = refusal.reason
        if detail and refusal.status == 400:
            reason = b"Bad Request (%b)" % detail.encode("ascii", "replace")
        try:
            data = respond(request, refusal.status, refusal.lines, to_tag=self.tag_of(request), reason=reason)
            _answering(flow, request.via, self.transports).send(data)
        except UnsafeHeader:  # what it wants copied is no header: nothing can be said to its sender
            self.counters["unanswerable"] += 1
        except TransportFailure:
            self.counters["undeliverable"] += 1


def sent_by(via: Via) -> bytes:
    return b"%b:%d" % (via.host, via.port or 0)


def server_key(request: Request) -> tuple[bytes, ...]:
    """What finds the server transaction of a request: branch and method, ACK counting as INVITE.

    A branch without the magic cookie is unique only together with what RFC 2543 matched by (section
    17.2.3): Request-URI, From tag, Call-ID, CSeq number, topmost Via. The To tag is left out, since ACK
    has one that the INVITE had not.
    """
    method = request.method
    if method == b"ACK":
        method = b"INVITE"
    branch = request.via.branch
    if branch.startswith(MAGIC) and len(branch) > len(MAGIC):
        return branch, method
    parts = (request.uri, request.from_.tag, request.call_id, b"%d" % request.cseq[0], request.all(b"via")[0])
    return b"\0".join(parts), method


def _same_sender(transaction: ServerTransaction, request: Request, flow: Flow) -> bool:
    """Sent-by, or the source when a NAT rewrites sent-by between INVITE and CANCEL. One NAT may have several devices
    behind it whose branches are alike, so the call must be the same then."""
    via = request.via
    if transaction.sent_by == (via.host, via.port):
        return True
    return transaction.flow.remote.host == flow.remote.host and transaction.call_id == request.call_id


def _stamp(request: Request, via: Via, flow: Flow) -> None:
    """Write down where the request really came from."""
    if not _names_source(via, flow):
        first, *others = split_list(request.get(b"via") or b"")
        request.replace_first(b"via", b", ".join((_stamped(first, via, flow), *others)))


def _names_source(via: Via, flow: Flow) -> bool:
    return via.host == flow.remote.host.encode("ascii") and b"rport" not in via.params


def _stamped(value: bytes, via: Via, flow: Flow) -> bytes:
    """A topmost Via value with where its request really came from (section 18.2.1, RFC 3581 section 4)."""
    if _names_source(via, flow):
        return value
    sent_by, *params = value.split(b";")
    params = [part for part in params if part.partition(b"=")[0].strip(b" \t").lower() not in (b"rport", b"received")]
    result = b";".join((sent_by, *params, b"received=" + flow.remote.host.encode("ascii")))
    return result + b";rport=%d" % flow.remote.port if b"rport" in via.params else result


def try_later() -> bytes:
    """The line with a 503: seconds after which who was refused may try again; random, so that they do not come together."""
    return b"Retry-After: %d" % (2 + int(9 * random.random()))  # a third of what randint costs


def _answering(flow: Flow, via: Via, transports: Transports) -> Flow:
    """The flow that responses take (section 18.2.2, RFC 3581 section 4): the one the request came by.

    Without `rport` the answer goes to the sent-by port, as the RFC says, but only when the peer stands at
    the address it names: behind a NAT that port means nothing.
    """
    if flow.reliable or b"rport" in via.params:
        return flow
    port = via.port or 5060
    if port == flow.remote.port or via.host != flow.remote.host.encode("ascii"):
        return flow
    return flow.to_port(port)

