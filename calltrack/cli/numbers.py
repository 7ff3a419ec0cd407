"""`calltrack number`."""

from __future__ import annotations

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import OBJECT_ID, project_option, with_catalog
from calltrack.tracking.published import published


@click.group()
def number() -> None:
    """Add, assign, list, remove substitution numbers, as 11231234567 or +1 123 123 4567."""


@number.command()
@click.argument("number")
@click.option("--project", type=OBJECT_ID, required=True, metavar="ID", help="Whose number it is.")
@click.option("--scenario", type=OBJECT_ID, metavar="ID", help="Where its calls go.")
@json_option
@click.pass_obj
def add(environment: Environment, number: str, project: int, scenario: int | None, as_json: bool) -> None:
    """Give NUMBER to a project."""
    country = environment.country
    _show(with_catalog(environment, lambda catalog: catalog.add_number(number, project, scenario, country)), as_json)


@number.command()
@click.argument("number")
@click.option("--scenario", type=OBJECT_ID, metavar="ID", help="Another scenario of the same project; none without.")
@json_option
@click.pass_obj
def assign(environment: Environment, number: str, scenario: int | None, as_json: bool) -> None:
    """Let NUMBER lead to another scenario, or to the project's default target."""
    country = environment.country
    _show(with_catalog(environment, lambda catalog: catalog.assign_number(number, scenario, country)), as_json)


@number.command("list")
@project_option
@json_option
@click.pass_obj
def list_(environment: Environment, project: int | None, as_json: bool) -> None:
    """List numbers."""
    numbers = with_catalog(environment, lambda catalog: catalog.numbers(project))
    if as_json:
        print_json([published(number) for number in numbers])
        return
    print_table(
        ("number", "project", "scenario"), [(n.number, n.project, n.scenario) for n in numbers], "No numbers yet."
    )


@number.command()
@click.argument("number")
@json_option
@click.pass_obj
def remove(environment: Environment, number: str, as_json: bool) -> None:
    """Take NUMBER away from its project."""
    _show(with_catalog(environment, lambda catalog: catalog.remove_number(number, environment.country)), as_json)


def _show(number, as_json: bool) -> None:
    fields = published(number)
    print_json(fields) if as_json else print_fields(fields.items())
