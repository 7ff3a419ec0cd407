"""`calltrack visit`."""

from __future__ import annotations

from typing import Any

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import OBJECT_ID, project_option
from calltrack.errors import InvalidField
from calltrack.tracking.model import Lease, Visit
from calltrack.tracking.published import iso_time, published_lease, published_visit
from calltrack.tracking.sources import arrival, rules_of, site_host


@click.group()
def visit() -> None:
    """List and show visits, say which marker a page's address gives, erase what is kept of a caller."""


@visit.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@project_option
@click.option("--before", type=OBJECT_ID, metavar="VISIT", help="Only visits older than this one; needs --project.")
@json_option
@click.pass_obj
def list_(environment: Environment, limit: int, project: int | None, before: int | None, as_json: bool) -> None:
    """List visits, newest first."""
    if before is not None and project is None:
        raise click.UsageError("--before names a visit of a project: it needs --project.")
    position = (project, before) if before is not None else None
    found = environment.with_stores(
        lambda stores: stores.visits.list(limit=limit, project=project, before=position)
    )
    if as_json:
        print_json([published_visit(one) for one in found])
        return
    rows = [(one.number, one.project, iso_time(one.started), one.marker, one.landing_page, one.address) for one in found]
    columns = ("visit", "project", "started", "marker", "landing page", "address")
    print_table(columns, rows, f"No visits in {environment.settings.storage.url}.")


@visit.command()
@click.argument("visit", type=OBJECT_ID)
@click.option("--project", type=OBJECT_ID, required=True, metavar="ID", help="Whose visit it is.")
@json_option
@click.pass_obj
def show(environment: Environment, visit: int, project: int, as_json: bool) -> None:
    """Show VISIT with the numbers that it was shown."""

    async def found(stores: Any) -> tuple[Visit, list[Lease]]:
        return await stores.visits.get(project, visit), await stores.visits.leases_of(project, visit)

    one, leases = environment.with_stores(found)
    fields = published_visit(one)
    shown = [published_lease(lease) for lease in leases]
    if as_json:
        print_json({**fields, "leases": shown})
        return
    utm = fields.pop("utm")
    print_fields([*fields.items(), *utm.items()])
    click.echo()
    columns = ("number", "scenario", "begun", "ended", "confirmed")
    rows = [[fields[name] for name in columns] for fields in shown]
    print_table(columns, rows, "It was shown no number.")


@visit.command()
@click.argument("page", metavar="URL")
@click.option("--project", type=OBJECT_ID, metavar="ID", help="By whose rules; without it by the usual ones.")
@click.option("--referrer", default="", metavar="URL", help="Where the visitor came from.")
@json_option
@click.pass_obj
def marker(environment: Environment, page: str, project: int | None, referrer: str, as_json: bool) -> None:
    """Say which marker a visit gets that begins at URL."""
    from calltrack.tracking.catalog import Catalog

    rules: tuple[str, ...] = ()
    hosts: list[str] = []
    if project is not None:
        of = environment.with_stores(lambda stores: Catalog(stores.catalog).project(project))
        rules, hosts = of.marker_rules, [site_host(site) for site in of.sites]
    source = rules_of(rules).source(arrival(page, referrer, hosts))
    fields = {"marker": source.marker, "kind": source.kind, **source.utm, "click_id": source.click_id}
    print_json(fields) if as_json else print_fields(fields.items())


@visit.command()
@click.option("--caller", required=True, metavar="NUMBER", help="Whose calls and visits.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def erase(environment: Environment, caller: str, yes: bool, as_json: bool) -> None:
    """Erase what says who a caller is: the number in the records of their calls, and the address, browser, pages and
    search words of the visits that these calls belong to; the recordings and SIP messages of the calls are deleted. What
    was counted, such as markers and times, stays."""
    from calltrack.cli.traces import files_of
    from calltrack.tracking.erasing import erase_caller
    from calltrack.tracking.numbers import normalise

    digits = normalise(caller, environment.country, "caller")
    if not yes:
        click.confirm(f"Erase what is kept of {digits}? That cannot be undone", abort=True, err=True)
    erased = environment.with_stores(
        lambda stores: erase_caller(stores.records, stores.visits, digits, files_of(environment, stores))
    )
    if not erased.calls:
        raise InvalidField("caller", f"{digits} has called nobody")
    if as_json:
        print_json({"calls": erased.calls, "visits": erased.visits})
    else:
        click.echo(f"{erased.calls} calls and {erased.visits} visits say no more who {digits} is.")
