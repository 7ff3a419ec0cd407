"""`calltrack plugins`: what can be chosen for each extension point, and a package to begin one's own from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_json, print_table
from calltrack.errors import ConfigErrors

if TYPE_CHECKING:
    from calltrack.config import Settings


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List the backends there are, built in and of plugins; exit status 1 when a plugin is broken."""
    if ctx.invoked_subcommand is not None:
        return
    from calltrack.plugins.discovery import built_in, from_plugins

    environment: Environment = ctx.obj
    try:
        used = in_use(environment.settings)
    except ConfigErrors:  # `check` tells of them; here is where one looks for the right names
        used = set()
    found = built_in() + from_plugins()
    rows = [
        {
            "name": one.name,
            "version": one.version,
            "interface": one.interface,
            "section": one.section,
            "origin": one.origin,
            "state": "broken" if one.why else "in use" if (one.section, one.name) in used else "ready",
            "why": one.why,
        }
        for one in found
    ]
    if as_json:
        print_json(rows)
    else:
        columns = ("name", "version", "interface", "chosen in", "state", "origin")
        print_table(columns, (_row(row) for row in rows), "nothing")
    if any(row["why"] for row in rows):
        ctx.exit(1)


def in_use(settings: Settings) -> set[tuple[str, str]]:
    """Section and name of each backend that the configuration names."""
    chosen = {(section, getattr(settings, section).name) for section in ("locations", "scenarios", "records")}
    return {*chosen, ("media", settings.media.relay), *(("sink", sink.kind) for sink in settings.sinks)}


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    from calltrack.plugins.points import POINTS

    point = POINTS.get(row["section"])
    place = f"[{point.section}] {point.key}" if point else ""
    if row["section"] == "sink":
        place = "[[sink]] kind"
    state = f"{row['state']}: {row['why']}" if row["why"] else row["state"]
    return row["name"], row["version"], row["interface"], place, state, row["origin"]


@plugins.command()
@click.argument("name")
@json_option
def new(name: str, as_json: bool) -> None:
    """Write a package calltrack-NAME into the directory of that name: a location store that works, with its tests."""
    from pathlib import Path

    from calltrack.plugins.new import write_package

    folder = Path(f"calltrack-{name}")
    written = write_package(name, folder)
    if as_json:
        print_json([str(path) for path in written])
        return
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(f"\nNow: cd {folder} && python3 -m pip install -e . && python3 -m twisted.trial tests")
