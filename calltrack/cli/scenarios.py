"""`calltrack scenario`."""

from __future__ import annotations

from typing import Any, Callable

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import OBJECT_ID, given, project_option, with_catalog
from calltrack.tracking.catalog import with_addressing
from calltrack.tracking.model import Scenario
from calltrack.tracking.numbers import normalise
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
            click.option("--dynamic", is_flag=True, default=None, help="Each visitor is shown a number of their own."),
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
            click.option(
                "--segment",
                "segments",
                multiple=True,
                metavar="CONDITION",
                help="Whose visits it is for, as 'source like direct_*'; of several one must hold.",
            ),
            click.option(
                "--selector",
                "selectors",
                multiple=True,
                metavar="CSS",
                help="Where pages show the number, as .phone; may be repeated.",
            ),
            click.option(
                "--replace",
                multiple=True,
                metavar="NUMBER",
                help="A number on the pages that the number takes the place of; may be repeated.",
            ),
            click.option("--mask", metavar="MASK", help="How pages write the number, as '8 (XXX) XXX-XX-XX'."),
            click.option("--fallback", metavar="NUMBER", help='What is shown when no number is free; "" = nothing.'),
            click.option(
                "--hold", type=float, metavar="SECONDS", help="How long a number is held after the last sign of life."
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
    """Add a scenario NAME: --static for a channel, --dynamic for a number for each visitor."""
    for option, parameter in ((options["marker"] or options["dynamic"], "--static"), (options["forwards"], "--forward")):
        if not option:
            raise click.UsageError(f"Missing option '{parameter}'.")
    settings = with_addressing(_given(options, environment.country))
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
    """Change what is given of SCENARIO. New targets, segments, selectors, replaced numbers take the place of the old
    ones; "" takes all of these away."""
    changes = _given(options, environment.country)
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
    rows = [
        (s.id, s.project, s.name, s.marker or s.kind, [t.label for t in s.targets], s.ring, s.enabled) for s in scenarios
    ]
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


def _given(options: dict[str, Any], country: str) -> dict[str, Any]:
    """The options that stood on the command line, as the catalog takes them."""
    if options["marker"] and options["dynamic"]:
        raise click.UsageError("--static and --dynamic exclude each other.")
    found = given(options)
    if found.pop("dynamic", False):
        found["marker"] = ""
    for name in ("replace", "fallback"):
        if name in found:
            value = found[name]
            one = isinstance(value, str)
            digits = tuple(normalise(text, country, name) if text else "" for text in ([value] if one else value))
            found[name] = digits[0] if one else digits
    return found


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
