"""`calltrack trunk`."""

from __future__ import annotations

import time
from typing import Any

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_json, print_table

BULLETIN = "trunks.json"  # in the directory of the spool


@click.group()
def trunk() -> None:
    """List the trunks of the configuration, and what the running engine knows of them."""


@trunk.command("list")
@json_option
@click.pass_obj
def list_(environment: Environment, as_json: bool) -> None:
    """List all trunks: where calls come from, where they leave, whether the trunk answers, and our registration there."""
    known = _known(environment)
    now = time.time()
    found = [_fields(trunk, known, now) for trunk in environment.settings.trunks]
    if as_json:
        print_json(found)
        return
    rows = [(f["name"], f["calls_from"], f["outbound"], f["state"], _in_words(f)) for f in found]
    print_table(
        ("trunk", "calls from", "outbound", "state", "registration"), rows, "No [[trunk]] is in the configuration."
    )
    if known is None and found:
        click.echo("No engine is running on this configuration: nothing is known of their state.")


def _known(environment: Environment) -> dict[str, Any] | None:
    """What the running engine says, by name of the trunk; None when none is running."""
    from calltrack.storage.bulletin import read_bulletin
    from calltrack.storage.spool import in_use

    storage = environment.settings.storage
    scheme, _, path = storage.url.partition(":")
    spool = storage.spool or (path + "-spool" if scheme == "sqlite" else "")
    if not spool or not in_use(spool):
        return None
    said = read_bulletin(f"{spool}/{BULLETIN}")
    return said.get("trunks", {}) if isinstance(said, dict) else {}


def _fields(trunk: Any, known: dict[str, Any] | None, now: float) -> dict[str, Any]:
    said = (known or {}).get(trunk.name, {})
    sources = [str(source) for source in trunk.sources]
    if trunk.register:
        sources.append("its registrar")
    if trunk.inbound_username:
        sources.append(f"whoever proves to be {trunk.inbound_username}" if not sources else "with a password")
    until, next_at = said.get("registered_until", 0), said.get("next_attempt", 0)
    return {
        "name": trunk.name,
        "calls_from": sources,
        "outbound": trunk.outbound,
        "state": said.get("state", "unknown"),
        "reason": said.get("reason", ""),
        "register": trunk.register,
        "registered": trunk.register and until > now,
        "registered_for": max(0, round(until - now)) if trunk.register else None,
        "next_attempt_in": max(0, round(next_at - now)) if trunk.register and next_at else None,
    }


def _in_words(fields: dict[str, Any]) -> str:
    if not fields["register"]:
        return fields["reason"]
    words = f"registered for {fields['registered_for']} s" if fields["registered"] else "not registered"
    if fields["reason"]:
        words += f": {fields['reason']}"
    return words
