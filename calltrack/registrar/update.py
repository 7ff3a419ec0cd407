"""What a REGISTER makes of the bindings that an account has (RFC 3261 section 10.3 steps 6 and 7).

Pure: values in, values out. Knows which contacts belong to one device. Must not know requests, stores or timers.
"""

from __future__ import annotations

import secrets
from sys import intern
from typing import NamedTuple, Sequence

from calltrack.errors import SIPError
from calltrack.registrar.registration import Contact, Registration, TooManyContacts
from calltrack.sip.uri import URI, equivalent, is_literal, parse_uri
from calltrack.tracking.bindings import Binding


class OutOfOrder(SIPError):
    """A REGISTER that is older than what it would change: the update is aborted (section 10.3 step 7)."""

    status, reason = 500, "Registration Out Of Order"


class Origin(NamedTuple):
    """Where and when a REGISTER came in, and for whom."""

    project: int
    transport: str
    host: str  # address literal
    port: int
    local: str  # our end, "address:port"
    symmetric: bool  # it hears where it sends from: a connection, or Via with rport (RFC 3581)
    now: float  # seconds since the Unix epoch


class Update(NamedTuple):
    """`saved`: new and refreshed bindings; `removed`: those that are no more. `came` and `left` are the news: devices
    that were not there before, and those that are gone without another binding in their place."""

    saved: tuple[Binding, ...]
    removed: tuple[Binding, ...]
    came: tuple[Binding, ...]
    left: tuple[Binding, ...]


def update(current: Sequence[Binding], registration: Registration, origin: Origin, max_contacts: int) -> Update:
    """Raises OutOfOrder and TooManyContacts; then nothing changes."""
    if registration.everything:
        for binding in current:
            _check_order(binding, registration)
        return Update((), tuple(current), (), tuple(current))
    left = dict.fromkeys(current)  # what no contact of the request is about, in order
    saved: list[Binding] = []
    came: list[Binding] = []
    removed: list[Binding] = []
    gone: list[Binding] = []
    listed = [parse_uri(contact.uri.encode()) for contact in registration.contacts]
    for contact, uri in zip(registration.contacts, listed):
        others = [other for other in listed if other is not uri]
        mine = [binding for binding in left if not _is_among(binding, others)]
        same = [binding for binding in mine if _same(binding, contact, uri, registration, origin)]
        if contact.expires:
            same += [binding for binding in mine if binding not in same and _moved(binding, uri, registration, origin)]
        for binding in same:
            _check_order(binding, registration)
            del left[binding]
        if not contact.expires:
            gone += same
            continue
        binding = _binding(contact, registration, origin, same[0] if same else None)
        saved.append(binding)
        removed += same[1:]
        if not same:
            came.append(binding)
    if len(left) + len(saved) > max(max_contacts, len(current)):
        raise TooManyContacts(f"{len(left) + len(saved)} contacts; {max_contacts} are allowed")
    return Update(tuple(saved), (*removed, *gone), tuple(came), tuple(gone))


def same_device(one: Binding, other: Binding) -> bool:
    """Whether two bindings of an account that did not follow each other are of one device: of one instance, or, where
    neither names any, of one Call-ID."""
    if one.instance or other.instance:
        return one.instance == other.instance and one.reg_id == other.reg_id
    return one.call_id == other.call_id


def behind_nat(uri: str, host: str) -> bool:
    """Whether a device whose contact is `uri` and whose messages come from `host` has an address translated on
    the way, or names none: the URI alone does not tell it from others then."""
    named = parse_uri(uri.encode()).host.decode()
    return named != host or not is_literal(named)


def _check_order(binding: Binding, registration: Registration) -> None:
    if binding.call_id == registration.call_id and registration.cseq <= binding.cseq:
        raise OutOfOrder(f"CSeq {registration.cseq} after {binding.cseq}")


def _is_among(binding: Binding, uris: list[URI]) -> bool:
    known = parse_uri(binding.contact.encode())
    return any(equivalent(known, uri) for uri in uris)


def _same(binding: Binding, contact: Contact, uri: URI, registration: Registration, origin: Origin) -> bool:
    """Whether `contact` is about this binding: the same flow of the same device, or the same URI.

    Phones in two homes may both be sip:user@192.168.1.5 to themselves: such a URI counts only together with the
    Call-ID or the address it comes from.
    """
    if binding.instance and contact.instance:
        same_flow = binding.reg_id == contact.reg_id or not binding.reg_id or not contact.reg_id
        return binding.instance == contact.instance and same_flow
    if not equivalent(parse_uri(binding.contact.encode()), uri):
        return False
    known = binding.call_id == registration.call_id or binding.host == origin.host
    return known or not behind_nat(binding.contact, binding.host)


def _moved(binding: Binding, uri: URI, registration: Registration, origin: Origin) -> bool:
    """Whether a device comes again with a new contact and takes the place of what it was.

    From another address or port, it is known by its Call-ID, which is one for all REGISTERs of a device (section 10.2).
    From the very same address it may be a device that was started anew: nobody else can be reached there.
    """
    if binding.instance:
        return False
    known = parse_uri(binding.contact.encode())
    same_source = (binding.transport, binding.host, binding.port) == (origin.transport, origin.host, origin.port)
    if binding.call_id == registration.call_id:
        return not same_source and known.user == uri.user  # else one device with several contacts
    return same_source and not binding.path and (known.host, known.port) == (uri.host, uri.port)


def _binding(contact: Contact, registration: Registration, origin: Origin, before: Binding | None) -> Binding:
    return Binding(
        project=origin.project,
        id=before.id if before is not None else secrets.randbits(53),
        contact=contact.uri,
        expires_at=origin.now + contact.expires,
        registered_at=before.registered_at if before is not None else round(origin.now * 1000),
        call_id=registration.call_id,
        cseq=registration.cseq,
        transport=origin.transport,
        host=origin.host,
        port=origin.port,
        reach=_reach(contact.uri, origin),
        local=intern(origin.local),
        q=contact.q,
        path=registration.path,
        instance=contact.instance,
        reg_id=contact.reg_id,
        device=intern(registration.device),
    )


def _reach(uri: str, origin: Origin) -> int:
    """The port that calls go to: where the REGISTER came from, or what the contact names when the device is
    not behind a NAT and does not promise to hear there."""
    if origin.symmetric or behind_nat(uri, origin.host):
        return origin.port
    return parse_uri(uri.encode()).port or 5060
