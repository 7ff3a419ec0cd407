"""Text of a configuration file -> frozen settings, all errors at once.

Knows syntax, and how sections limit each other; what stands in a section, `config.sections` says. Opens, resolves and
binds nothing: a port in use or an unreachable database is the service's to report.
"""

from __future__ import annotations

import tomllib
from typing import Any

from msgspec.structs import replace

from calltrack import checks
from calltrack.calls.settings import TrunkSettings
from calltrack.checks import Check
from calltrack.errors import ConfigErrors
from calltrack.registrar.settings import RegistrarSettings
from calltrack.config.backends import CHOSEN, read_choice, take_relay
from calltrack.config.sinks import read_sinks
from calltrack.config.sections import SECTIONS, TRUNK, Settings, SIPSettings, TLSSettings, WebSettings


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
        elif name == "sink":
            sections["sinks"] = read_sinks(table, errors, _values)
        elif name not in SECTIONS and name not in CHOSEN:
            known = [*SECTIONS, *CHOSEN, "trunk", "sink"]
            errors.append(checks.unknown(f"[{checks.key(name)}]", "section", name, known))
        elif not isinstance(table, dict):
            errors.append(f"[{name}]: {checks.shown(table)} is no section; write [{name}] and its keys below")
        else:
            sections[name] = _section(name, table, errors)
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
    web = sections.get("web", WebSettings())
    if web.tls and not tls.certificate and not _has_error(errors, "[tls] certificate:"):
        errors.append("[tls] certificate: is missing, but [web] tls is true")
    registrar = sections.get("registrar", RegistrarSettings())
    for key in ("max_expires", "default_expires"):
        if getattr(registrar, key) < registrar.min_expires:
            given, least = getattr(registrar, key), registrar.min_expires
            errors.append(f"[registrar] {key}: {given} is less than min_expires, which is {least} (seconds)")
    if errors:
        raise ConfigErrors(errors)
    return Settings(**sections)


def _section(name: str, table: dict[str, Any], errors: list[str]) -> Any:
    if name in CHOSEN:
        return read_choice(name, table, errors)
    kind, known = SECTIONS[name]
    if name != "media":
        return kind(**_values(table, known, f"[{name}]", errors))
    table, relay = take_relay(table, errors)
    media = kind(**_values(table, known, "[media]", errors))
    return replace(media, relay=relay.name, options=relay.options) if relay is not None else media


def _values(table: dict[str, Any], known: dict[str, Any], where: str, errors: list[str]) -> dict[str, Any]:
    """The values of a section that pass their checks; the others go to `errors`."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            errors.append(checks.unknown(f"{where} {checks.key(key)}", "key", key, list(known)))
            continue
        check = known[key]
        if isinstance(check, tuple):
            inner = f"{where[:-1]}.{key}]"
            if isinstance(value, dict):
                kind, keys = check
                values[key] = kind(**_values(value, keys, inner, errors))
            else:
                errors.append(f"{inner}: {checks.shown(value)} is no section; write {inner} and its keys below")
            continue
        try:
            values[key] = check(value)
        except ValueError as error:
            errors.append(f"{where} {key}: {error}")
    return values


def _has_error(errors: list[str], start: str) -> bool:
    return any(error.startswith(start) for error in errors)


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
        values = _values(table, TRUNK, where, errors)
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
    if not trunk.sources and not trunk.outbound and not trunk.inbound_username:
        errors.append("sources: is missing; a trunk without sources, inbound_username and outbound carries no call")
    if bool(trunk.inbound_username) != bool(trunk.inbound_password):
        errors.append("inbound_username: inbound_username and inbound_password go together")
    if (trunk.username or trunk.password) and not trunk.outbound:
        errors.append("outbound: is missing, but there is a username or password for it")
    if bool(trunk.username) != bool(trunk.password):
        errors.append("username: username and password go together")
    if trunk.register and not (trunk.outbound and trunk.username):
        missing = "username" if trunk.outbound else "outbound"
        errors.append(f"{missing}: is missing, but register is set; a registration needs outbound, username and password")
    if (trunk.aor or trunk.register_expires != 3600) and not trunk.register:
        errors.append("register: is not set, but there is an aor or register_expires for it")
    for other in others:
        if other.name == trunk.name:
            errors.append("name: another trunk has it already")
        if trunk.inbound_username and other.inbound_username == trunk.inbound_username:
            errors.append(f'inbound_username: trunk "{other.name}" has it already; it must tell the trunk of a call')
        for source in trunk.sources:
            errors.extend(
                f'sources: {source} overlaps {theirs} of trunk "{other.name}"; a call\'s source must tell its trunk'
                for theirs in other.sources
                if source.version == theirs.version and source.overlaps(theirs)
            )
    return errors
