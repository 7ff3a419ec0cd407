"""The user agent core (RFC 3261 section 8): what is in front of transactions and dialogs.

Refuses what cannot be served, gives requests within dialogs to their usage and new INVITEs to its user,
finds the flow a request leaves by. Knows no call, no trunk, no media.
"""

from __future__ import annotations

from typing import Any, Callable, Protocol

from twisted.internet import defer
from twisted.logger import Logger
from twisted.python.failure import Failure

from calltrack.errors import CalltrackError, MalformedMessage, TransportFailure, Unresolvable
from calltrack.sip.capabilities import ALLOW, SUPPORTED, SUPPORTED_BUT_RELIABLE, told, unsupported
from calltrack.sip.dialogs import Dialog
from calltrack.sip.flows import Address, Flow
from calltrack.sip.grammar import LWS, is_token
from calltrack.sip.invite import UNHEARD, InviteUsage
from calltrack.sip.layer import Refusal, TransactionLayer
from calltrack.sip.locating import NextHop, literal
from calltrack.sip.message import Request, Response
from calltrack.sip.resolver import Resolver
from calltrack.sip.scanners import is_scanner
from calltrack.sip.session_timer import SessionSettings, too_brief
from calltrack.sip.transactions import ClientTransaction, ServerTransaction, Settings
from calltrack.sip.transports import Transports
from calltrack.sip.uri import URI, parse_uri
from calltrack.timers import Timers

log = Logger()

LARGE = 1300  # bytes of a request that want a reliable transport (section 18.1.1)
VIA_ROOM = 160  # bytes that Via, start line and Content-Length add to what is asked about
TCP_REFUSAL = 600.0  # seconds that a peer which does not take TCP is not asked again
_IN_DIALOG_ONLY = (b"BYE", b"UPDATE", b"INFO", b"REFER", b"NOTIFY", b"PRACK")


class AgentUser(Protocol):
    """Who gets the new calls."""

    def admit(self, invite: Request, flow: Flow) -> Refusal | None:
        """Asked for each INVITE outside a dialog, before anything is kept of it: None lets it in."""

    def invited(self, transaction: ServerTransaction) -> None:
        """A new INVITE that was admitted; the transaction is the user's to answer."""


class RegistrarUser(Protocol):
    """Who gets REGISTER requests."""

    def admit(self, register: Request, flow: Flow) -> Refusal | None:
        """Asked for each REGISTER, before anything is kept of it: None lets it in."""

    def registering(self, transaction: ServerTransaction) -> None:
        """A REGISTER that was admitted; the transaction is the user's to answer."""


class Agent:
    """One SIP user agent over `transports`, its transaction layer and its dialogs."""

    def __init__(
        self,
        timers: Timers,
        transports: Transports,
        resolver: Resolver,
        settings: Settings,
        user: AgentUser,
        product: str = "calltrack",
        sessions: SessionSettings = SessionSettings(),
    ) -> None:
        self.timers = timers
        self.transports = transports
        self.resolver = resolver
        self.settings = settings
        self.sessions = sessions
        self.user = user
        self.serving = True  # False: nothing new is taken on, because the service is not ready yet
        self.draining = False  # True: OPTIONS are answered 503, so that others send new calls elsewhere
        self.registrar: RegistrarUser | None = None  # without one REGISTER is not allowed
        self.layer = TransactionLayer(timers, transports, settings, self)
        self.dialogs: dict[tuple[bytes, bytes, bytes], InviteUsage] = {}
        self._no_tcp: dict[Address, float] = {}  # peers that refused TCP, and until when that counts
        self.server = b"Server: " + product.encode()
        self.user_agent = b"User-Agent: " + product.encode()
        # What our INVITEs say of us, where we acknowledge provisional responses and where we do not.
        self.abilities = (ALLOW, SUPPORTED, self.user_agent)
        self.abilities_but_reliable = (ALLOW, SUPPORTED_BUT_RELIABLE, self.user_agent)
        self.session_lines = sessions.lines()

    # From the transaction layer

    def screen(self, request: Request, flow: Flow) -> Refusal | None:
        """What can be refused before anything is kept (sections 8.2.1 to 8.2.3)."""
        method = request.method
        if method == b"CANCEL":
            return None
        tag = request.to.tag
        if tag:
            known = (request.call_id, tag, request.from_.tag) in self.dialogs
            refusal = None if known else Refusal(481)
        else:
            refusal = self._screen_new(request, flow)
        if refusal is None or not refusal.status:
            return refusal
        return refusal._replace(lines=(*refusal.lines, *told(method, refusal.status), self.server))

    def _screen_new(self, request: Request, flow: Flow) -> Refusal | None:
        method = request.method
        if is_scanner(request):
            self.layer.counters["scanners"] += 1
            return Refusal(0)
        if not self.serving:
            return Refusal(503, (b"Retry-After: 2",))
        if method == b"OPTIONS":
            return _bad_scheme(request) or _bad_extension(request) or Refusal(503 if self.draining else 200)
        if method == b"REGISTER" and self.registrar is not None:
            return self.registrar.admit(request, flow)
        if method != b"INVITE":
            return Refusal(481 if method in _IN_DIALOG_ONLY else 405)
        try:
            problem = self._unacceptable(request)
        except MalformedMessage:
            problem = Refusal(400)
        return problem if problem is not None else self.user.admit(request, flow)

    def _unacceptable(self, invite: Request) -> Refusal | None:
        problem = _bad_scheme(invite)
        if problem is not None:
            return problem
        if invite.max_forwards == 0:
            return Refusal(483)
        own = b"branch=" + self.layer.branch_prefix
        if any(own in via for via in invite.all(b"via")):
            return Refusal(482)
        problem = _bad_extension(invite)
        if problem is not None:
            return problem
        if invite.body and invite.content_type != b"application/sdp":
            return Refusal(415)
        if invite.body and (invite.get(b"content-encoding") or b"identity").lower() != b"identity":
            return Refusal(415, (b"Accept-Encoding: identity",))
        if b"accept" in invite.names() and not _takes_sdp(invite):
            return Refusal(406)
        parse_uri(invite.uri)
        if invite.contact is None:
            return Refusal(400)
        if b"replaces" in invite.names():  # RFC 3891 section 3: no call of ours may be replaced, so none matches
            return Refusal(481)
        brief = too_brief(invite, self.sessions)
        return Refusal(422, brief) if brief else None

    def requested(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        if not request.to.tag:
            if request.method == b"REGISTER":
                self.registrar.registering(transaction)
            else:
                self.user.invited(transaction)
            return
        usage = self.dialogs.get((request.call_id, request.to.tag, request.from_.tag))
        if usage is None:
            self.respond(transaction, 481)
        elif request.method in (b"INVITE", b"UPDATE") and (problem := _bad_extension(request)):
            self.respond(transaction, *problem[:2])
        else:
            usage.requested(transaction)

    def acknowledged(self, ack: Request) -> None:
        usage = self.dialogs.get((ack.call_id, ack.to.tag, ack.from_.tag))
        if usage is not None:
            usage.acknowledged(ack)

    def cancelled(self, cancel: ServerTransaction, invite: ServerTransaction | None) -> None:
        if invite is None:
            self.respond(cancel, 481)
            return
        request = cancel.request
        cancel.to_tag = invite.to_tag  # section 9.2
        self.respond(cancel, 200)
        if not invite.answered and invite.user is not None:  # section 9.2: else it has no effect
            invite.user.cancelled(request)

    def unmatched(self, response: Response, flow: Flow) -> None:
        """A late 2xx to an INVITE of ours is acknowledged once more (section 13.2.2.4)."""
        number, method = response.cseq
        if method == b"INVITE" and 200 <= response.status < 300:
            usage = self.dialogs.get((response.call_id, response.from_.tag, response.to.tag))
            if usage is not None:
                usage.repeat_ack(number)

    # For the transaction users

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        lines: tuple[bytes, ...] = (),
        body: bytes = b"",
        *,
        reason: bytes = b"",
    ) -> bool:
        """Answer with what every answer of ours carries: Server, and what `capabilities` tells."""
        own = (*told(transaction.method, status), self.server) if status > 100 else ()
        return transaction.respond(status, (*lines, *own), body, reason=reason)

    def answer_options(self, transaction: ServerTransaction) -> None:
        self.respond(transaction, 200)

    def flow_now(self, uri: URI) -> Flow | None:
        """The flow to a SIP URI when no name has to be looked up and no connection to be made; else None."""
        if not uri.host or uri.scheme != b"sip" or (uri.transport or b"udp") != b"udp":
            return None
        try:
            hop = literal(uri.host.decode("ascii"), uri.port, "udp" if uri.transport else None)
        except Unresolvable:
            return None
        return self.transports.flow_now(hop) if hop is not None else None

    def decline(self, response: Response, flow: Flow) -> None:
        """End the dialog of a 2xx to an INVITE of ours that nobody waits for any more, such as another fork's
        after the call (section 13.2.2.4): ACK, and BYE. All that it takes is in the response."""
        try:
            local, tag = response.get(b"from") or b"", response.from_.tag
            number = response.cseq[0]
            usage = self.dialogs.get((response.call_id, tag, response.to.tag))
            if usage is not None:  # the same 2xx again, whatever it has lost on the way
                usage.repeat_ack(number)
                return
            dialog = Dialog.of_client(response, local, tag, number, flow)
        except MalformedMessage:
            return  # it makes no dialog, and its sender will give up without ACK
        usage = InviteUsage(self, dialog, UNHEARD, ())
        usage.ack(number)
        usage.bye()

    # As the user of client transactions whose call is over

    def responded(self, transaction: ClientTransaction, response: Response) -> None:
        if 200 <= response.status < 300:
            self.decline(response, transaction.flow)

    def failed(self, transaction: ClientTransaction, error: CalltrackError) -> None:
        """Nobody waits for it."""

    def next_hops(self, uri: URI) -> defer.Deferred[list[NextHop]]:
        """The next hops of a SIP URI, best first (RFC 3263). Fails with Unresolvable."""
        transport = uri.transport.decode("ascii", "replace") if uri.transport else None
        return self.resolver.resolve(uri.host.decode("ascii"), uri.port, transport, uri.scheme == b"sips")

    def with_room(self, flow: Flow, lines: list[bytes], body: bytes, send: Callable[[Flow], Any]) -> None:
        """Call `send` with the flow for one request: `flow`, or for one too large for a datagram a TCP
        connection to the same peer where that can be had (section 18.1.1), and `flow` again where not."""
        if flow.reliable or sum(map(len, lines)) + 2 * len(lines) + len(body) + VIA_ROOM <= LARGE:
            send(flow)
            return
        remote = flow.remote
        if self.timers.now() < self._no_tcp.get(remote, 0.0):
            send(flow)
            return

        def refused(failure: Failure) -> Flow:
            failure.trap(TransportFailure)
            if len(self._no_tcp) > 10_000:
                self._no_tcp.clear()
            self._no_tcp[remote] = self.timers.now() + TCP_REFUSAL
            return flow

        connected = self.transports.flow_to(NextHop("tcp", *remote))
        connected.addErrback(refused).addCallback(send).addErrback(_bug)

    def with_flow(
        self, dialog: Dialog, send: Callable[[Flow], Any], failed: Callable[[CalltrackError], Any]
    ) -> None:
        """Call `send(flow)` with the flow that requests of `dialog` take, now or when it is there;
        `failed(error)` when there is none: Unresolvable, TransportFailure, or a route that is no URI."""
        try:
            uri = dialog.next_hop()
        except MalformedMessage as problem:
            failed(problem)
            return
        flow = dialog.device_flow() or (dialog.flow if dialog.keeps_flow(uri) else None)
        if flow is None and not dialog.flow.reliable:
            flow = self.flow_now(uri)
        if flow is not None:
            send(flow)
            return

        def connect(hops: list[NextHop]) -> defer.Deferred[Flow]:
            # A dialog over TCP stays on TCP unless its peer says otherwise.
            hop = hops[0]
            if dialog.flow.reliable and uri.transport is None and hop.transport == "udp":
                hop = hop._replace(transport=dialog.flow.transport)
            if dialog.flow.verified and hop.host == dialog.flow.remote.host:  # its Contact may name an address only
                hop = hop._replace(name=dialog.flow.verified)
            return self.transports.flow_to(hop)

        def lost(failure: Failure) -> None:
            failure.trap(CalltrackError)
            failed(failure.value)

        self.next_hops(uri).addCallback(connect).addCallbacks(send, lost).addErrback(_bug)


def _bad_scheme(request: Request) -> Refusal | None:
    """Why its Request-URI cannot be served (section 8.2.2.1), when its scheme already says so."""
    scheme = request.uri.partition(b":")[0].lower()
    if scheme in (b"sip", b"sips", b"tel"):
        return None
    return Refusal(416 if is_token(scheme) else 400)


def _takes_sdp(invite: Request) -> bool:
    """Whether its sender accepts a session description in an answer (section 20.1)."""
    ranges = [item.partition(b";")[0].strip(LWS) for item in invite.tokens(b"accept")]
    return any(item in ranges for item in (b"application/sdp", b"application/*", b"*/*"))


def _bad_extension(request: Request) -> Refusal | None:
    """420 when an extension is required that is not spoken here (section 8.2.2.3)."""
    unknown = unsupported(request)
    return Refusal(420, (b"Unsupported: " + b", ".join(unknown),)) if unknown else None


def _bug(failure: Failure) -> None:
    log.failure("sending within a dialog failed", failure=failure)


