"""`calltrack db`."""

from __future__ import annotations

import os
import time

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_json
from calltrack.errors import InvalidField


@click.group()
def db() -> None:
    """Migrate the database, back it up."""


@db.command()
@json_option
@click.pass_obj
def migrate(environment: Environment, as_json: bool) -> None:
    """Bring the database to this version's schema, after a copy beside it. The engine does so when it starts."""
    done = environment.with_stores_as_they_are(lambda stores: stores.migrate())
    if as_json:
        print_json({"before": done.before, "after": done.after, "backup": done.backup or None})
        return
    if done.before == done.after:
        click.echo(f"Schema version {done.after}: nothing to do.")
        return
    click.echo(f"Schema version {done.before} -> {done.after}." + (f" As it was: {done.backup}" if done.backup else ""))


@db.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@json_option
@click.pass_obj
def backup(environment: Environment, file: str | None, as_json: bool) -> None:
    """Copy the database to FILE (unless given, beside itself) while calls go on."""
    target = file or time.strftime(f"{environment.database_path}.%Y%m%dT%H%M%SZ.backup", time.gmtime())
    if os.path.exists(target):
        raise InvalidField("file", f"{target} exists; name one that does not")
    environment.with_stores(lambda stores: stores.backup(target))
    size = os.path.getsize(target)
    print_json({"file": target, "bytes": size}) if as_json else click.echo(f"{target}: {size} bytes")
