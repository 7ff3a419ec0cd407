"""Text of a configuration file -> frozen settings, all errors at once.

Knows every section and key, their defaults and limits. Opens, resolves and binds nothing: a port in
use or an unreachable database is the service's to report.
"""

from __future__ import annotations

import difflib
import tomllib
from typing import Any

import msgspec

from calltrack import checks
from calltrack.calls.settings import CallsSettings, TrunkSettings
from calltrack.checks import Check, HostPort, Listen
from calltrack.errors import ConfigErrors
from calltrack.media.settings import MediaSettings
from calltrack.registrar.settings import RegistrarSettings


class SIPSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[sip]``: where SIP listens and how it is timed."""

    listen: tuple[Listen, ...] = (Listen("udp", "0.0.0.0", 5060), Listen("tcp", "0.0.0.0", 5060))
    domain: str = "calltrack.local"  # AOR domain and digest realm
    advertise: str = ""  # address literal peers reach us at; "" = the local address of the flow
    t1: float = 0.5  # seconds: round-trip estimate (RFC 3261 section 17.1.1.1)
    t2: float = 4.0  # seconds: longest retransmission interval
    t4: float = 5.0  # seconds: longest life of a message in the network
    session_expires: int = 1800  # seconds that a session lasts without a refresh (RFC 4028); 0 = not asked for
    min_se: int = 90  # seconds: shorter ones are refused with 422
    ping: float = 30.0  # seconds from one OPTIONS to the next, to each outbound trunk; 0 = none
    ping_targets: bool = False  # whether outside targets are asked too


class TLSSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[tls]``: what TLS listens with. The files are opened by the service."""

    certificate: str = ""  # PEM file: the certificate and its chain
    key: str = ""  # PEM file: the private key


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[storage]``: where the catalog and the call records are kept."""

    url: str = "sqlite:calltrack.db"  # "sqlite:FILE" or "memory:"
    spool: str = ""  # directory that keeps records while the database is away; "" = FILE-spool


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[web]``: where HTTP listens."""

    listen: HostPort = HostPort("127.0.0.1", 8080)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured."""

    sip: SIPSettings = SIPSettings()
    tls: TLSSettings = TLSSettings()
    media: MediaSettings = MediaSettings()
    calls: CallsSettings = CallsSettings()
    registrar: RegistrarSettings = RegistrarSettings()
    storage: StorageSettings = StorageSettings()
    web: WebSettings = WebSettings()
    trunks: tuple[TrunkSettings, ...] = ()


_SECTIONS: dict[str, tuple[type, dict[str, Check]]] = {
    "sip": (
        SIPSettings,
        {
            "listen": checks.each(checks.listen, empty=False),
            "domain": checks.host_name,
            "advertise": checks.address_literal,
            "t1": checks.number(0.01, 5, "seconds"),
            "t2": checks.number(0.05, 60, "seconds"),
            "t4": checks.number(0.05, 60, "seconds"),
            "session_expires": checks.whole(0, 86400),
            "min_se": checks.whole(90, 86400),
            "ping": checks.number(0, 3600, "seconds"),
            "ping_targets": checks.flag,
        },
    ),
    "tls": (
        TLSSettings,
        {
            "certificate": checks.some_text,
            "key": checks.some_text,
        },
    ),
    "media": (
        MediaSettings,
        {
            "relay": checks.one_of("twisted"),
            "listen": checks.each(checks.address_literal, alone=True, empty=False),
            "advertise": checks.each(checks.address_literal, alone=True),
            "ports": checks.port_range,
            "timeout": checks.number(0, 86400, "seconds"),
            "quarantine": checks.number(0, 3600, "seconds"),
        },
    ),
    "calls": (
        CallsSettings,
        {
            "lookup_budget": checks.number(0.01, 5, "seconds"),
            "max_calls": checks.whole(0, 1_000_000),
            "stop_time": checks.number(0.1, 60, "seconds"),
            "header_prefix": checks.header_prefix,
        },
    ),
    "registrar": (
        RegistrarSettings,
        {
            "domains": checks.each(checks.host_name, alone=True),
            "min_expires": checks.whole(1, 3600),
            "max_expires": checks.whole(1, 604800),
            "default_expires": checks.whole(1, 604800),
            "max_contacts": checks.whole(1, 1000),
            "nat_keepalive": checks.number(0, 300, "seconds"),
            "require_public_source": checks.flag,
        },
    ),
    "storage": (
        StorageSettings,
        {
            "url": checks.store_url,
            "spool": checks.some_text,
        },
    ),
    "web": (
        WebSettings,
        {
            "listen": checks.host_port,
        },
    ),
}

_TRUNK: dict[str, Check] = {
    "name": checks.some_text,
    "sources": checks.each(checks.network),
    "number_from": checks.one_of("request-uri", "to", "p-called-party-id", "diversion"),
    "country": checks.country,
    "outbound": checks.next_hop,
    "username": checks.some_text,
    "password": checks.text,
    "realm": checks.some_text,
    "max_calls": checks.whole(0, 1_000_000),
    "max_rate": checks.number(0, 100_000, "calls a second"),
    "caller_id": checks.shown_number,
    "number_format": checks.one_of("plus", "digits", "national"),
    "trust_identity": checks.flag,
    "pass_diversion": checks.flag,
}


def defaults() -> Settings:
    """What holds without a configuration file."""
    return Settings()


def load(text: str, source: str = "calltrack.toml") -> Settings:
    """The settings that the TOML `text` gives; `source` names it in a syntax error.

    Raises ConfigErrors with everything that is wrong, one sentence an entry.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigErrors([f"{source}: {error}"]) from None
    errors: list[str] = []
    sections: dict[str, Any] = {}
    for name, table in document.items():
        if name == "trunk":
            sections["trunks"] = _trunks(table, errors)
        elif name not in _SECTIONS:
            errors.append(_unknown(f"[{_key(name)}]", "section", name, [*_SECTIONS, "trunk"]))
        elif not isinstance(table, dict):
            errors.append(f"[{name}]: {checks.shown(table)} is no section; write [{name}] and its keys below")
        else:
            kind, known = _SECTIONS[name]
            sections[name] = kind(**_values(table, known, f"[{name}]", errors))
    sip: SIPSettings | None = sections.get("sip")
    if sip and sip.t2 < sip.t1:
        errors.append(f"[sip] t2: {sip.t2:g} is less than t1, which is {sip.t1:g} (seconds)")
    if sip and 0 < sip.session_expires < sip.min_se:
        errors.append(f"[sip] session_expires: {sip.session_expires} is less than min_se, which is {sip.min_se} (seconds)")
    tls = sections.get("tls", TLSSettings())
    place = next((place for place in (sip.listen if sip else ()) if place.transport == "tls"), None)
    for key in ("certificate", "key"):
        if not getattr(tls, key) and (place or tls.certificate or tls.key) and not _has_error(errors, f"[tls] {key}:"):
            errors.append(f"[tls] {key}: is missing" + (f", but [sip] listen has {place}" if place else ""))
    registrar = sections.get("registrar", RegistrarSettings())
    for key in ("max_expires", "default_expires"):
        if getattr(registrar, key) < registrar.min_expires:
            given, least = getattr(registrar, key), registrar.min_expires
            errors.append(f"[registrar] {key}: {given} is less than min_expires, which is {least} (seconds)")
    if errors:
        raise ConfigErrors(errors)
    return Settings(**sections)


def _values(table: dict[str, Any], known: dict[str, Check], where: str, errors: list[str]) -> dict[str, Any]:
    """The values of a section that pass their checks; the others go to `errors`."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            errors.append(_unknown(f"{where} {_key(key)}", "key", key, list(known)))
            continue
        try:
            values[key] = known[key](value)
        except ValueError as error:
            errors.append(f"{where} {key}: {error}")
    return values


def _has_error(errors: list[str], start: str) -> bool:
    return any(error.startswith(start) for error in errors)


def _unknown(where: str, what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"{where}: unknown {what}; {hint}"


def _key(name: str) -> str:
    """A key as TOML would spell it, on one line."""
    return name if name and name.replace("_", "").replace("-", "").isalnum() else checks.shown(name)


def _trunks(tables: Any, errors: list[str]) -> tuple[TrunkSettings, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        errors.append("[trunk]: trunks are a list; write [[trunk]]")
        return ()
    trunks: list[TrunkSettings] = []
    for position, table in enumerate(tables, 1):
        name = table.get("name")
        where = (
            f'[[trunk]] "{name}"' if isinstance(name, str) and name.isprintable() else f"[[trunk]] number {position}"
        )
        before = len(errors)
        values = _values(table, _TRUNK, where, errors)
        if "name" not in table:
            errors.append(f"{where} name: is missing")
        if len(errors) == before:
            trunk = TrunkSettings(**values)
            errors.extend(f"{where} {error}" for error in _trunk_errors(trunk, trunks))
            trunks.append(trunk)
    return tuple(trunks)


def _trunk_errors(trunk: TrunkSettings, others: list[TrunkSettings]) -> list[str]:
    """What is wrong with a trunk whose single values are right, beside the trunks above it."""
    errors = []
    if not trunk.sources and not trunk.outbound:
        errors.append("sources: is missing; a trunk without sources and outbound carries no call")
    if (trunk.username or trunk.password) and not trunk.outbound:
        errors.append("outbound: is missing, but there is a username or password for it")
    if bool(trunk.username) != bool(trunk.password):
        errors.append("username: username and password go together")
    for other in others:
        if other.name == trunk.name:
            errors.append("name: another trunk has it already")
        for source in trunk.sources:
            errors.extend(
                f'sources: {source} overlaps {theirs} of trunk "{other.name}"; a call\'s source must tell its trunk'
                for theirs in other.sources
                if source.version == theirs.version and source.overlaps(theirs)
            )
    return errors
