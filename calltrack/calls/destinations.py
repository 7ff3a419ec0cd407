"""Where one INVITE of a call goes, and what it says: values. Knows nothing of how it is sent."""

from __future__ import annotations

from typing import Callable, NamedTuple

from twisted.internet import defer

from calltrack.sip.digest import Credentials
from calltrack.sip.flows import Flow


class Destination(NamedTuple):
    """Where one INVITE goes: configured, never taken from the network."""

    uri: bytes  # Request-URI
    next_hop: bytes  # URI that the next hop is found by; usually `uri` itself
    trunk: str = ""  # name of the trunk it leaves by
    credentials: Credentials | None = None
    flow: Flow | None = None  # of a registered contact; then no next hop is looked for
    route: tuple[bytes, ...] = ()  # Route values, of a contact that registered through proxies (RFC 3327)
    moved: Callable[[], Flow | None] | None = None  # of a registered contact: as `Dialog.moved`


class Forwarded(NamedTuple):
    """What the forwarded INVITE says, whichever way it goes. `lines(sent_by)`: From without tag, To, and the
    header lines that depend on our address."""

    call_id: bytes
    caller_user: bytes  # user part of our Contact
    lines: Callable[[bytes], tuple[bytes, bytes, list[bytes]]]


# The offer for a next hop: (address literal of the hop) -> Deferred of a description, b"" for none.
Offer = Callable[[str], "defer.Deferred[bytes]"]
