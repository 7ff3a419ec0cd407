"""`calltrack project`."""

from __future__ import annotations

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import OBJECT_ID, given, with_catalog
from calltrack.tracking.published import published


@click.group()
def project() -> None:
    """Add, edit, list, show projects: one for each tracked business or site."""


@project.command()
@click.argument("name")
@click.option("--site", "sites", multiple=True, metavar="URL", help="Address of a tracked site; may be repeated.")
@click.option("--default-target", default="", metavar="TARGET", help="Where numbers without a scenario lead.")
@click.option("--time-zone", default="UTC", metavar="NAME", help="Of its days and hours, as Europe/Moscow.")
@json_option
@click.pass_obj
def add(
    environment: Environment, name: str, sites: tuple[str, ...], default_target: str, time_zone: str, as_json: bool
) -> None:
    """Add a project NAME."""
    new = (name, sites, default_target, time_zone)
    _show(with_catalog(environment, lambda catalog: catalog.add_project(*new)), as_json)


@project.command()
@click.argument("project", type=OBJECT_ID)
@click.option("--name")
@click.option("--site", "sites", multiple=True, metavar="URL", help="Replaces the sites; may be repeated.")
@click.option("--default-target", metavar="TARGET", help='"" for none.')
@click.option("--time-zone", metavar="NAME", help="Of its days and hours, as Europe/Moscow.")
@click.option("--enable/--disable", "enabled", default=None, help="A disabled project's calls lead nowhere.")
@click.option(
    "--allow-transfer/--no-transfer",
    default=None,
    help="Whether phones and exchanges of the project may transfer callers (REFER), to its own targets only.",
)
@click.option("--max-calls", type=int, help="Calls at once; 0 = no limit.")
@click.option("--max-rate", type=float, help="Calls a second; 0 = no limit.")
@click.option("--target-call-time", type=float, metavar="SECONDS", help="Conversation that makes a target call.")
@click.option(
    "--marker-rule",
    "marker_rules",
    multiple=True,
    metavar="RULE",
    help='How visits get their markers, as "?gclid => google_ads", in this order; replaces the rules, "" brings the '
    "usual ones back.",
)
@json_option
@click.pass_obj
def edit(environment: Environment, project: int, as_json: bool, **changes) -> None:
    """Change what is given of PROJECT."""
    _show(with_catalog(environment, lambda catalog: catalog.edit_project(project, **given(changes))), as_json)


@project.command("list")
@json_option
@click.pass_obj
def list_(environment: Environment, as_json: bool) -> None:
    """List all projects."""
    projects = with_catalog(environment, lambda catalog: catalog.projects())
    if as_json:
        print_json([published(project) for project in projects])
        return
    rows = [(p.id, p.name, p.key, p.sites, p.enabled) for p in projects]
    print_table(
        ("id", "name", "key", "sites", "enabled"), rows, 'No projects yet: calltrack project add "Glasses shop"'
    )


@project.command()
@click.argument("project", type=OBJECT_ID)
@json_option
@click.pass_obj
def show(environment: Environment, project: int, as_json: bool) -> None:
    """Show PROJECT."""
    _show(with_catalog(environment, lambda catalog: catalog.project(project)), as_json)


def _show(project, as_json: bool) -> None:
    fields = published(project)
    print_json(fields) if as_json else print_fields(fields.items())
