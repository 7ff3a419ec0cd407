"""`calltrack scenario`."""

from __future__ import annotations

from typing import Any, Callable

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import OBJECT_ID, given, project_option, with_catalog
from calltrack.tracking.catalog import with_addressing
from calltrack.tracking.model import Scenario
from calltrack.tracking.published import published
from calltrack.tracking.targets import FORMS


@click.group()
def scenario() -> None:
    """Add, edit, list, show, remove scenarios: where the calls of a channel's numbers go."""


def _options(command: Callable) -> Callable:
    """What can be set of a scenario when it is added and later."""
    for option in reversed(
        [
            click.option(
                "--static", "marker", metavar="MARKER", help="The channel's marker, as in direct_search_1234567."
            ),
            click.option("--forward", "forwards", multiple=True, metavar="TARGET", help=f"{FORMS}; may be repeated."),
            click.option("--ring", type=click.Choice(["in-order", "all"]), help="One after another, or all at once."),
            click.option("--ring-time", type=float, metavar="SECONDS", help="How long a target rings: 1 to 300."),
            click.option("--max-calls", type=int, help="Calls at once to a target; 0 = no limit."),
            click.option("--record/--no-record", default=None, help="Record the calls: tell callers and office so."),
            click.option("--allow", multiple=True, metavar="CODEC", help="Offer these codecs only; may be repeated."),
            click.option(
                "--request-user",
                type=click.Choice(["address", "dialled"]),
                help="Who is called at the target: its address, or the number that was dialled.",
            ),
            click.option(
                "--dialled-in",
                multiple=True,
                type=click.Choice(["to", "diversion", "p-called-party-id"]),
                help="Where the dialled number stands too; may be repeated.",
            ),
            click.option(
                "--caller-id",
                multiple=True,
                type=click.Choice(["p-asserted-identity", "remote-party-id"]),
                help="Where the caller stands beside From; may be repeated.",
            ),
        ]
    ):
        command = option(command)
    return command


@scenario.command()
@click.argument("name")
@click.option("--project", type=OBJECT_ID, required=True, metavar="ID")
@_options
@json_option
@click.pass_obj
def add(environment: Environment, name: str, project: int, as_json: bool, **options: Any) -> None:
    """Add a static scenario NAME."""
    for option, parameter in (("marker", "--static"), ("forwards", "--forward")):
        if not options[option]:
            raise click.UsageError(f"Missing option '{parameter}'.")
    settings = with_addressing(given(options))
    marker, forwards = settings.pop("marker"), settings.pop("forwards")
    added = with_catalog(environment, lambda catalog: catalog.add_scenario(name, project, marker, forwards, **settings))
    _show(added, as_json)


@scenario.command()
@click.argument("scenario", type=OBJECT_ID)
@click.option("--name")
@_options
@click.option(
    "--enable/--disable", "enabled", default=None, help="A disabled scenario's calls go to the default target."
)
@json_option
@click.pass_obj
def edit(environment: Environment, scenario: int, as_json: bool, **options: Any) -> None:
    """Change what is given of SCENARIO. New targets take the place of the old ones."""

    changes = given(options)
    _show(with_catalog(environment, lambda catalog: catalog.edit_scenario(scenario, **changes)), as_json)


@scenario.command("list")
@project_option
@json_option
@click.pass_obj
def list_(environment: Environment, project: int | None, as_json: bool) -> None:
    """List scenarios."""
    scenarios = with_catalog(environment, lambda catalog: catalog.scenarios(project))
    if as_json:
        print_json([published(scenario) for scenario in scenarios])
        return
    rows = [(s.id, s.project, s.name, s.marker, [t.label for t in s.targets], s.ring, s.enabled) for s in scenarios]
    print_table(("id", "project", "name", "marker", "targets", "ring", "enabled"), rows, "No scenarios yet.")


@scenario.command()
@click.argument("scenario", type=OBJECT_ID)
@json_option
@click.pass_obj
def show(environment: Environment, scenario: int, as_json: bool) -> None:
    """Show SCENARIO."""
    _show(with_catalog(environment, lambda catalog: catalog.scenario(scenario)), as_json)


@scenario.command()
@click.argument("scenario", type=OBJECT_ID)
@json_option
@click.pass_obj
def remove(environment: Environment, scenario: int, as_json: bool) -> None:
    """Remove SCENARIO; its numbers stay with the project."""
    _show(with_catalog(environment, lambda catalog: catalog.remove_scenario(scenario)), as_json)


def _show(scenario: Scenario, as_json: bool) -> None:
    if as_json:
        print_json(published(scenario))
        return
    print_fields((name, value) for name, value in published(scenario).items() if name != "targets")
    columns = ("target", "ring time", "calls at once", "codecs", "user", "dialled number in", "caller in")
    rows = [
        (
            target.label,
            f"{target.ring_time:g} s",
            target.max_calls or "no limit",
            target.allow or "as offered",
            target.addressing.request_user,
            target.addressing.dialled_in,
            ("From", *target.addressing.caller_id),
        )
        for target in scenario.targets
    ]
    print_table(columns, rows, "No targets.")
