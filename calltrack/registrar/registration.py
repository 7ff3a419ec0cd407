"""What a REGISTER asks for: headers -> values (RFC 3261 section 10.3, RFC 3327, RFC 5626).

Knows the grammar and the limits of what is kept. Must not know what is registered already, nor who may register.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from calltrack.errors import MalformedMessage, SIPError
from calltrack.registrar.settings import RegistrarSettings
from calltrack.sip.grammar import parse_uint
from calltrack.sip.message import Request
from calltrack.sip.uri import parse_name_addr, parse_uri

MAX_URI = 1024  # bytes of a Contact URI, of a Path value, of an instance, of a Call-ID
MAX_PATH = 8  # Path values
MAX_DEVICE = 200  # characters of a User-Agent that are kept
MALFORMED_EXPIRES = 3600  # seconds: what an interval that is no number stands for (sections 10.2.1.1, 20.19)
LONG_ENOUGH = 3600  # seconds: an interval of an hour or more is never too brief (section 10.3)

_Q = re.compile(rb"0(?:\.([0-9]{0,3}))?\Z|1(?:\.0{0,3})?\Z")


class IntervalTooBrief(SIPError):
    status, reason = 423, "Interval Too Brief"


class TooManyContacts(SIPError):
    status, reason = 403, "Too Many Contacts"


class Contact(NamedTuple):
    """One contact of a REGISTER."""

    uri: str
    expires: int  # seconds that are granted; 0 = remove it
    q: int  # thousandths
    instance: str
    reg_id: int


class Registration(NamedTuple):
    """A REGISTER that makes sense. Neither `everything` nor `contacts`: it only asks what is registered."""

    call_id: str
    cseq: int
    everything: bool  # remove all bindings
    contacts: tuple[Contact, ...]
    path: tuple[str, ...]
    device: str
    outbound: bool  # its flows are to be used as RFC 5626 says


def read(request: Request, settings: RegistrarSettings) -> Registration:
    """Raises MalformedMessage, IntervalTooBrief and TooManyContacts; all or nothing."""
    values = request.items(b"contact")
    path = tuple(_text(value, "Path") for value in request.items(b"path"))
    if len(path) > MAX_PATH:
        raise MalformedMessage("too many Path values")
    for value in path:
        parse_uri(parse_name_addr(value.encode()).uri)
    everything = values == [b"*"]
    if everything and request.get(b"expires") != b"0":
        raise MalformedMessage("Contact: * without Expires: 0")
    if not everything and b"*" in values:
        raise MalformedMessage("Contact: * beside other contacts")
    if len(values) > settings.max_contacts:
        raise TooManyContacts(f"{len(values)} contacts in a request; {settings.max_contacts} are allowed")
    outbound = b"outbound" in request.tokens(b"supported") and _first_hop_keeps_flows(request, path)
    contacts = [] if everything else [_contact(value, request, settings, outbound) for value in values]
    return Registration(
        call_id=_text(request.call_id, "Call-ID"),
        cseq=request.cseq[0],
        everything=everything,
        contacts=tuple({contact.uri: contact for contact in contacts}.values()),
        path=path,
        device=_device(request.get(b"user-agent") or b""),
        outbound=any(contact.reg_id for contact in contacts),
    )


def _first_hop_keeps_flows(request: Request, path: tuple[str, ...]) -> bool:
    """Whether the flow ends at the device itself, or at a proxy that keeps flows (RFC 5626 section 6)."""
    if path:
        return b"ob" in parse_uri(parse_name_addr(path[-1].encode()).uri).params
    return len(request.items(b"via")) == 1


def _contact(value: bytes, request: Request, settings: RegistrarSettings, outbound: bool) -> Contact:
    address = parse_name_addr(value)
    uri = address.uri.partition(b"?")[0]  # header fields of a URI have no place in a request line
    if parse_uri(uri).scheme not in (b"sip", b"sips"):
        raise MalformedMessage("a Contact that is no SIP URI")
    instance = _text(address.params.get(b"+sip.instance") or b"", "+sip.instance")
    reg_id = 0
    if instance and outbound and address.params.get(b"reg-id") is not None:
        reg_id = parse_uint(address.params[b"reg-id"] or b"", "reg-id", 2**31 - 1)
    asked = address.params.get(b"expires", request.get(b"expires"))
    return Contact(_text(uri, "Contact"), _granted(asked, settings), _q(address.params.get(b"q")), instance, reg_id)


def _granted(asked: bytes | None, settings: RegistrarSettings) -> int:
    """The seconds that a contact gets; the same request always gets the same."""
    if asked is None:
        seconds = settings.default_expires
    else:
        try:
            seconds = parse_uint(asked, "Expires")
        except MalformedMessage:
            seconds = MALFORMED_EXPIRES
    if 0 < seconds < min(settings.min_expires, LONG_ENOUGH):
        minimum = b"%d" % settings.min_expires
        raise IntervalTooBrief(f"{seconds} s asked for", headers=((b"Min-Expires", minimum),))
    return min(seconds, settings.max_expires)


def _q(value: bytes | None) -> int:
    """A preference in thousandths; the highest when there is none."""
    if value is None:
        return 1000
    match = _Q.match(value)
    if match is None:
        raise MalformedMessage("q is not between 0 and 1")
    return 1000 if value[:1] == b"1" else int((match[1] or b"").ljust(3, b"0"))


def _text(value: bytes, what: str) -> str:
    if len(value) > MAX_URI:
        raise MalformedMessage(f"{what} is over {MAX_URI} bytes")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise MalformedMessage(f"{what} is not UTF-8") from None
    if not text.isprintable():
        raise MalformedMessage(f"{what} has a control character")
    return text


def _device(value: bytes) -> str:
    """A User-Agent as it may be shown: short, without control characters."""
    text = value[: 4 * MAX_DEVICE].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)[:MAX_DEVICE]
