"""The state two user agents share (RFC 3261 section 12). Knows messages; no transactions, no calls."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from calltrack.errors import MalformedMessage
from calltrack.sip.flows import Flow
from calltrack.sip.message import Message, Request, Response
from calltrack.sip.uri import URI, parse_name_addr, parse_uri


class Dialog:
    """One dialog: identified by Call-ID, local tag and remote tag.

    `local` and `remote` are From and To values as they stand in our requests, with their tags.
    `flow` is the flow its first message came or went by.

    With a registered device at the other end, `moved` gives the flow that it has registered over since, None when it
    has not: requests take that flow, or the last one that the device has sent over, wherever its URI points to
    (RFC 5626 section 5.3).
    """

    __slots__ = (
        "call_id",
        "flow",
        "local",
        "local_cseq",
        "local_tag",
        "moved",
        "remote",
        "remote_cseq",
        "remote_tag",
        "remote_target",
        "route_set",
    )

    def __init__(
        self,
        call_id: bytes,
        local: bytes,
        local_tag: bytes,
        remote: bytes,
        remote_tag: bytes,
        remote_target: bytes,
        route_set: tuple[bytes, ...],
        flow: Flow,
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.local_tag = local_tag
        self.remote = remote
        self.remote_tag = remote_tag
        self.remote_target = remote_target
        self.route_set = route_set
        self.flow = flow
        self.moved: Callable[[], Flow | None] | None = None
        self.local_cseq = 0
        self.remote_cseq = -1  # none yet: the first may be 0

    @classmethod
    def of_server(cls, request: Request, local_tag: bytes, flow: Flow) -> Dialog:
        """The UAS side (section 12.1.1); raises MalformedMessage when the request has no usable Contact or a
        Record-Route that cannot be followed."""
        target = _target(request)
        dialog = cls(
            request.call_id,
            (request.get(b"to") or b"") + b";tag=" + local_tag,
            local_tag,
            request.get(b"from") or b"",
            request.from_.tag,
            target,
            _route_set(request),
            flow,
        )
        dialog.remote_cseq = request.cseq[0]
        return dialog

    @classmethod
    def of_client(
        cls, response: Response, local: bytes, local_tag: bytes, cseq: int, flow: Flow, target: bytes = b""
    ) -> Dialog:
        """The UAC side (section 12.1.2); raises MalformedMessage as `of_server` does. `target`: the remote target
        when the response has no Contact header; b"" when it must have one."""
        if not target or response.contact is not None:
            target = _target(response)
        dialog = cls(
            response.call_id,
            local,
            local_tag,
            response.get(b"to") or b"",
            response.to.tag,
            target,
            _route_set(response)[::-1],
            flow,
        )
        dialog.local_cseq = cseq
        return dialog

    @property
    def id(self) -> tuple[bytes, bytes, bytes]:
        return self.call_id, self.local_tag, self.remote_tag

    def refresh(self, message: Message) -> None:
        """Take the remote target of a target refresh (sections 12.2.1.2, 12.2.2). One without a usable
        Contact leaves the target as it was."""
        try:
            self.remote_target = _target(message)
        except MalformedMessage:
            pass  # RFC 3261 12.2.2: the target is replaced if the Contact is there; the old one still serves

    def establish(self, response: Response) -> None:
        """Take remote target and route set of the 2xx that confirms an early dialog (section 13.2.2.4); what
        cannot be followed leaves those of the early dialog."""
        self.refresh(response)
        try:
            self.route_set = _route_set(response)[::-1]
        except MalformedMessage:
            pass  # the way the early dialog went still leads there

    def routes(self) -> tuple[bytes, list[bytes]]:
        """Request-URI and Route header lines of a request in this dialog (section 12.2.1.1)."""
        if not self.route_set:
            return self.remote_target, []
        first = parse_name_addr(self.route_set[0]).uri
        if b"lr" in parse_uri(first).params:
            return self.remote_target, [b"Route: " + route for route in self.route_set]
        rest = (*self.route_set[1:], b"<%b>" % self.remote_target)  # a strict router
        return first.partition(b"?")[0], [b"Route: " + route for route in rest]

    def lines(self, method: bytes, cseq: int | None = None) -> tuple[bytes, list[bytes]]:
        """Request-URI and header lines (all but Via, Contact and body) of a request in this dialog. Takes the
        next sequence number unless one is given, as an ACK does."""
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri, lines = self.routes()
        lines += (
            b"From: " + self.local,
            b"To: " + self.remote,
            b"Call-ID: " + self.call_id,
            b"CSeq: %d %b" % (cseq, method),
            b"Max-Forwards: 70",
        )
        return uri, lines

    def next_hop(self) -> URI:
        """Where its requests go first: the first route, else the remote target."""
        return parse_uri(parse_name_addr(self.route_set[0]).uri if self.route_set else self.remote_target)

    def device_flow(self) -> Flow | None:
        """The flow that leads to a registered device; None when there is none, or it is another kind of peer."""
        if self.moved is None:
            return None
        flow = self.moved() or self.flow
        return flow if flow.open else None

    def keeps_flow(self, hop: URI) -> bool:
        """Whether requests take the dialog's own flow instead of the address of `hop`: it leads there, or
        the peer stands behind a NAT and names an address of its private network."""
        flow = self.flow
        host = hop.host.decode("ascii")
        if not flow.open:
            return False
        if host == flow.remote.host and (flow.reliable or (hop.port or 5060) == flow.remote.port):
            return not hop.transport or hop.transport.decode("ascii", "replace") == flow.transport
        return not self.route_set and behind_nat(host, flow.remote.host)


def behind_nat(named: str, source: str) -> bool:
    """Whether a peer that names `named` as its address while its messages come from `source` is behind a NAT."""
    try:
        inner, outer = ip_address(named), ip_address(source)
    except ValueError:
        return False
    return inner != outer and inner.is_private and not inner.is_loopback and not outer.is_private


def _target(message: Message) -> bytes:
    uri = message.contact
    if uri is None:
        raise MalformedMessage("no Contact header")
    if parse_uri(uri).scheme == b"tel":
        raise MalformedMessage("a Contact that is no SIP URI")
    return uri.partition(b"?")[0]


def _route_set(message: Message) -> tuple[bytes, ...]:
    """The values of Record-Route, each with a URI that a request can be sent to."""
    routes = tuple(message.items(b"record-route"))
    for route in routes:
        if parse_uri(parse_name_addr(route).uri).scheme == b"tel":
            raise MalformedMessage("a Record-Route that is no SIP URI")
    return routes
