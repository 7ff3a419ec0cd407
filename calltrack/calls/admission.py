"""Who may place a call, by its source, and what number was dialled (PRODUCT section 2.1, 2.2). Knows trunks and requests.

`CallEngine.admit` asks here, in `registrations` and in `proving`, and there is no way past these three: an INVITE that is
no trunk's goes nowhere, whatever it dials.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import Iterable, NamedTuple, Protocol

from calltrack.calls.registering import LINE
from calltrack.errors import MalformedMessage
from calltrack.sip.grammar import LWS
from calltrack.sip.message import Request
from calltrack.sip.uri import parse_name_addr, parse_uri
from calltrack.tracking.markers import clean_marker
from calltrack.tracking.numbers import dialled_digits

MAX_DIVERSIONS = 10  # header lines of one name that are passed on
MAX_DIVERSION = 512  # bytes of one of them

_DIVERTED = ((b"diversion", b"Diversion: "), (b"history-info", b"History-Info: "))
_WITHHELD = {b"id", b"user", b"header"}
_HISTORY_WITHHELD = {b"history", b"header", b"session"}
_WHERE = {"to": b"to", "p-called-party-id": b"p-called-party-id", "diversion": b"diversion"}


class Trunk(Protocol):
    """What is read of a trunk's settings here."""

    name: str
    sources: tuple
    number_from: str
    country: str
    register: bool
    trust_identity: bool
    pass_diversion: bool


class Admission(NamedTuple):
    """An INVITE that may become a call."""

    trunk: Trunk
    dialled: str  # E.164 digits; "" when the INVITE names no number
    caller: str  # E.164 digits, or the user as it came; "" when withheld
    caller_name: bytes  # display name in UTF-8, as safe and short as a marker
    diverted: tuple[bytes, ...] = ()  # header lines that tell of earlier forwardings, when they are passed on


class Sources:
    """Finds the trunk of a source address; the first that lists it."""

    def __init__(self, trunks: Iterable[Trunk]) -> None:
        self._trunks = tuple(trunks)
        self.trunk_of = lru_cache(maxsize=8192)(self._trunk_of)

    def _trunk_of(self, host: str) -> Trunk | None:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return None
        mapped = getattr(address, "ipv4_mapped", None)
        for trunk in self._trunks:
            for network in trunk.sources:
                if address in network or (mapped is not None and mapped in network):
                    return trunk
        return None


def admit(invite: Request, trunk: Trunk) -> Admission:
    """The call that `invite` of `trunk` asks for. Raises MalformedMessage when the place of the dialled number cannot
    be read."""
    caller, name = caller_of(invite, trunk.country, trunk.trust_identity)
    diverted = diversions_of(invite) if trunk.pass_diversion else ()
    return Admission(trunk, dialled_of(invite, trunk), caller, name, diverted)


def dialled_of(invite: Request, trunk: Trunk) -> str:
    """The dialled number, from where this trunk puts it; from the Request-URI when that place is empty. Where the
    Request-URI should have it but is our own contact, as it is for calls over a registration, it stands in
    P-Called-Party-ID (RFC 7315 section 4.2) or To."""
    uri = invite.uri
    key = _WHERE.get(trunk.number_from)
    places: tuple[bytes, ...] = (key,) if key is not None else ()
    if not places and trunk.register and LINE in parse_uri(uri).params:
        places = (b"p-called-party-id", b"to")
    for place in places:
        values = invite.items(place)
        if values:
            dialled = _digits(parse_name_addr(values[0]).uri, trunk)
            if dialled or key is not None:
                return dialled
    return _digits(uri, trunk)


def _digits(uri: bytes, trunk: Trunk) -> str:
    return dialled_digits(parse_uri(uri).user.decode("utf-8", "replace"), trunk.country)


def caller_of(invite: Request, country: str, trusted: bool = True) -> tuple[str, bytes]:
    """Number (or user) and display name of the caller: what the trunk asserts if it is trusted to (RFC 3325), else
    From. "" and b"" when the caller wants to stay unknown."""
    if b"privacy" in invite.names() and wants_privacy(invite):
        return "", b""
    asserted = invite.items(b"p-asserted-identity") if trusted else []
    try:
        who = parse_name_addr(asserted[0]) if asserted else invite.from_
        uri = parse_uri(who.uri)
    except MalformedMessage:
        return "", b""
    user = uri.user.decode("utf-8", "replace")
    if uri.host == b"anonymous.invalid" or user.lower() in ("anonymous", "unknown", "unavailable", ""):
        return "", b""
    name = clean_marker(who.display.decode("utf-8", "replace")).encode() if who.display else b""
    return dialled_digits(user, country) or clean_marker(user)[:64], name


def wants_privacy(invite: Request) -> bool:
    """Whether a Privacy header asks for the caller to be withheld (RFC 3323 section 4.2, RFC 3325 section 9.3)."""
    values = _privacy(invite)
    return bool(values & _WITHHELD) and b"none" not in values


def _privacy(invite: Request) -> set[bytes]:
    return {value.strip(LWS) for item in invite.tokens(b"privacy") for value in item.split(b";")}


def diversions_of(invite: Request) -> tuple[bytes, ...]:
    """The header lines that say by whom the call was forwarded before (RFC 5806, RFC 7044), as they came; what is
    unreasonably long or many is left out, and all of it when the caller wants the history kept private (RFC 7044
    section 10.1.2)."""
    if _privacy(invite) & _HISTORY_WITHHELD:
        return ()
    return tuple(
        name + value
        for key, name in _DIVERTED
        for value in invite.all(key)[:MAX_DIVERSIONS]
        if len(value) <= MAX_DIVERSION
    )
