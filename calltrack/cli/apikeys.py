"""`calltrack apikey`."""

from __future__ import annotations

from typing import Awaitable, Callable, TypeVar

import click

from calltrack.access.keys import Keys
from calltrack.access.model import SCOPES, APIKey, published_key
from calltrack.cli.environment import Environment, wall_ms
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import OBJECT_ID, project_option

Result = TypeVar("Result")


@click.group()
def apikey() -> None:
    """Add, list, remove the keys that programs use the REST API with."""


@apikey.command()
@click.option("--project", type=OBJECT_ID, metavar="ID", help="The project that it opens.")
@click.option("--all-projects", is_flag=True, help="It opens every project, and may add new ones.")
@click.option("--name", default="", help="What it is for, to be told from others.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(list(SCOPES)), help="Only this; may be repeated."
)
@json_option
@click.pass_obj
def add(
    environment: Environment, project: int | None, all_projects: bool, name: str, scopes: tuple[str, ...], as_json: bool
) -> None:
    """Add a key. It is shown this once."""
    if (project is None) != all_projects:
        raise click.UsageError("Give either --project ID or --all-projects.")
    key, text = _with_keys(environment, lambda keys: keys.add(project, name, scopes))
    fields = {"key": text, **published_key(key)}
    if as_json:
        print_json(fields)
        return
    print_fields(fields.items())
    click.echo("Nobody can see this key again. Programs send it as   Authorization: Bearer KEY")


@apikey.command("list")
@project_option
@json_option
@click.pass_obj
def list_(environment: Environment, project: int | None, as_json: bool) -> None:
    """List keys, by what they begin with."""
    shown = [published_key(key) for key in _with_keys(environment, lambda keys: keys.keys(project))]
    if as_json:
        print_json(shown)
        return
    columns = ("id", "name", "project", "scopes", "begins", "created", "last_used")
    rows = [[fields[column] for column in columns] for fields in shown]
    print_table(columns, rows, "No keys yet: calltrack apikey add --project ID")


@apikey.command()
@click.argument("key", type=OBJECT_ID)
@json_option
@click.pass_obj
def remove(environment: Environment, key: int, as_json: bool) -> None:
    """Let KEY, an id, open nothing any more."""
    removed: APIKey = _with_keys(environment, lambda keys: keys.remove(key))
    print_json(published_key(removed)) if as_json else click.echo(f"Removed key {removed.id} ({removed.name}).")


def _with_keys(environment: Environment, work: Callable[[Keys], Awaitable[Result]]) -> Result:
    return environment.with_stores(lambda stores: work(Keys(stores.access, wall_ms)))
