"""Read forwarding targets and SIP addresses that a person typed.

Knows the part of RFC 3261's URI grammar that may name a target (section 25.1) and the words to
refuse the rest with. Must not know SIP messages, DNS or what is reachable.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import msgspec

from calltrack.errors import InvalidField, Sentence
from calltrack.tracking.model import Target

TRANSPORTS = ("udp", "tcp", "tls")
FORMS = "office@domain.com, sip:office@192.0.2.7:5062;transport=tcp, phone:+74951234567 or account"

_USER = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})+\Z")  # `user` of section 25.1
_ESCAPED_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
_PHONE = re.compile(r"\+[1-9][0-9]{4,14}\Z")
_SEPARATORS = str.maketrans("", "", " -.()/\u00a0")
_QUOTED_AT_MOST = 60  # characters of a refused text that are shown back


class SIPAddress(msgspec.Struct, frozen=True):
    """A SIP URI without headers or password; `str()` of it is the URI in its canonical spelling."""

    user: str  # "" = none; escapes as written
    host: str  # lower-case name or address literal, an IPv6 one without brackets
    port: int | None = None
    transport: str = ""  # "udp", "tcp", "tls", or "" = RFC 3263 decides

    def __str__(self) -> str:
        text = "sip:" + (self.user + "@" if self.user else "")
        text += f"[{self.host}]" if ":" in self.host else self.host
        if self.port is not None:
            text += f":{self.port}"
        return text + (f";transport={self.transport}" if self.transport else "")


def parse_target(text: str, field: str = "forward", **settings: Any) -> Target:
    """The `Target` that `text` names: ``office@domain.com``, ``sip:office@192.0.2.7:5062;transport=tcp``,
    ``phone:+74951234567`` or ``account``. `settings` are further fields of the target.

    Raises InvalidField naming `field` and what is allowed.
    """
    text = text.strip(" \t")
    scheme, colon, rest = text.partition(":")
    if text.lower() == "account":
        return Target(kind="account", address="", **settings)
    if colon and scheme.lower() == "phone":
        return Target(kind="phone", address=_phone(rest, field), **settings)
    address = parse_sip_address(text, field)
    if not address.user:
        raise InvalidField(
            field,
            Sentence(
                "{text} {why}; allowed: {forms}", text=quoted(text), why=Sentence("names no user"), forms=Sentence(FORMS)
            ),
        )
    return Target(kind="sip", address=str(address), **settings)


def parse_sip_address(text: str, field: str) -> SIPAddress:
    """The address that `text` spells, with or without ``sip:``, with or without a user.

    Raises InvalidField naming `field` and what is wrong.
    """

    def refuse(why: str) -> InvalidField:
        return InvalidField(
            field, Sentence("{text} {why}; allowed: {forms}", text=quoted(text), why=Sentence(why), forms=Sentence(FORMS))
        )

    if any(not char.isprintable() or char == " " for char in text):
        raise refuse("holds a space or control character")
    if text[:5].lower() == "sips:":
        raise refuse("is a sips: address; write sip:...;transport=tls")
    if text[:4].lower() == "tel:":
        raise refuse("is a tel: address; write phone:+...")
    rest = text[4:] if text[:4].lower() == "sip:" else text
    user, at, hostport = rest.rpartition("@")
    if at:
        _check_user(user, refuse)
    if "?" in hostport:
        raise refuse("holds header fields (?...)")
    hostport, *parameters = hostport.split(";")
    host, port = _split_port(hostport, refuse)
    return SIPAddress(user, _check_host(host, refuse), port, _transport(parameters, refuse))


def quoted(text: str) -> str:
    """`text` as an error message may show it: escaped, in quotes, not endless."""
    return ascii(text if len(text) <= _QUOTED_AT_MOST else text[:_QUOTED_AT_MOST] + "...")


def _phone(text: str, field: str) -> str:
    number = text.translate(_SEPARATORS)
    if not _PHONE.match(number):
        raise InvalidField(
            field,
            Sentence(
                "{text} is no E.164 number; write + and 5 to 15 digits, as in phone:+74951234567",
                text=quoted("phone:" + text),
            ),
        )
    return number


def _check_user(user: str, refuse) -> None:
    if not user:
        raise refuse("has nothing before the @")
    if ":" in user:
        raise refuse("has a password or a scheme that is unknown before the @")
    if not _USER.match(user):
        raise refuse("has a character before the @ that a SIP user may not hold (RFC 3261: write it as %HH)")
    if _ESCAPED_CONTROL.search(user):
        raise refuse("hides a control character before the @")


def _split_port(hostport: str, refuse) -> tuple[str, int | None]:
    if hostport.startswith("["):
        host, bracket, port = hostport.partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise refuse("has an address in brackets that does not end well")
        host, colon, port = host + bracket, port[:1], port[1:]
    else:
        host, colon, port = hostport.partition(":")
        if ":" in port:
            raise refuse("has more than one colon after the @; an IPv6 address stands in brackets")
    if not colon:
        return host, None
    if not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise refuse(Sentence("has port {port}, which is outside 1 to 65535", port=quoted(port)))
    return host, int(port)


def _check_host(host: str, refuse) -> str:
    if host.startswith("["):
        try:
            literal = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise refuse(Sentence("has {host}, which is no IPv6 address", host=quoted(host))) from None
        if literal.scope_id:
            raise refuse("has an IPv6 address with a zone (%...), which means nothing to others")
        return str(literal)
    if not host:
        raise refuse("names no host")
    if not host.isascii():
        raise refuse("has a host that is not ASCII; write its xn-- form")
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdigit():
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise refuse(Sentence("has {host}, which is no IPv4 address", host=quoted(host))) from None
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        raise refuse(Sentence("has {host}, which is no host name", host=quoted(host)))
    return host.lower()


def _transport(parameters: list[str], refuse) -> str:
    transport = ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.lower() != "transport" or transport:
            raise refuse(
                Sentence("has the parameter {parameter}; only one ;transport= may stand there", parameter=quoted(parameter))
            )
        transport = value.lower()
        if transport not in TRANSPORTS:
            raise refuse(
                Sentence("has transport {value}; it is one of {allowed}", value=quoted(value), allowed=", ".join(TRANSPORTS))
            )
    return transport
