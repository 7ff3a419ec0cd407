"""`calltrack user`."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, TypeVar

import click

from calltrack.access.model import ROLES, Grant, published_person
from calltrack.access.people import People, in_words
from calltrack.cli.environment import Environment, wall_ms
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import OBJECT_ID

Result = TypeVar("Result")


@click.group()
def user() -> None:
    """Add, list, remove people who log in to the page, and let them in again."""


def _place(command: Callable) -> Callable:
    command = click.option("--project", type=OBJECT_ID, metavar="ID", help="Where; without it in every project.")(command)
    return click.option("--role", type=click.Choice(list(ROLES)), required=True, help="What they may do there.")(command)


@user.command()
@click.argument("name")
@_place
@json_option
@click.pass_obj
def add(environment: Environment, name: str, role: Any, project: int | None, as_json: bool) -> None:
    """Add somebody called NAME, and print the link by which they choose a password."""

    async def work(people: People) -> tuple[dict[str, Any], str]:
        person = await people.add(name, [Grant(project=project, role=role)])
        return published_person(person), await people.link(person.id)

    fields, secret = _with_people(environment, work)
    _tell_link(environment, fields, "password", secret, as_json)


@user.command("list")
@json_option
@click.pass_obj
def list_(environment: Environment, as_json: bool) -> None:
    """List everybody who may log in."""
    people = _with_people(environment, lambda people: people.people())
    if as_json:
        print_json([published_person(one) for one in people])
        return
    rows = [(one.id, one.name, in_words(one.grants), bool(one.password)) for one in people]
    print_table(("id", "name", "roles", "has a password"), rows, "Nobody yet: calltrack user set-up")


@user.command()
@click.argument("name")
@_place
@json_option
@click.pass_obj
def grant(environment: Environment, name: str, role: Any, project: int | None, as_json: bool) -> None:
    """Give NAME a role, instead of the one that they have there."""

    async def work(people: People) -> dict[str, Any]:
        person = await people.named(name)
        others = [one for one in person.grants if one.project != project]
        return published_person(await people.grant(person.id, [*others, Grant(project=project, role=role)]))

    _show(_with_people(environment, work), as_json)


@user.command()
@click.argument("name")
@json_option
@click.pass_obj
def link(environment: Environment, name: str, as_json: bool) -> None:
    """Print a link by which NAME chooses a new password. It works once, for three days."""

    async def work(people: People) -> tuple[dict[str, Any], str]:
        person = await people.named(name)
        return published_person(person), await people.link(person.id)

    fields, secret = _with_people(environment, work)
    _tell_link(environment, fields, "password", secret, as_json)


@user.command("set-up")
@json_option
@click.pass_obj
def set_up(environment: Environment, as_json: bool) -> None:
    """Print a new link by which the first person sets up the page; the one before it ends."""
    secret = _with_people(environment, lambda people: people.set_up_link())
    if secret is None:
        raise click.ClickException("somebody has set up the page already: calltrack user list")
    _tell_link(environment, {}, "set-up", secret, as_json)


@user.command()
@click.argument("name")
@json_option
@click.pass_obj
def remove(environment: Environment, name: str, as_json: bool) -> None:
    """Log NAME out everywhere and forget them."""

    async def work(people: People) -> dict[str, Any]:
        person = await people.named(name)
        return published_person(await people.remove(person.id))

    _show(_with_people(environment, work), as_json)


def _with_people(environment: Environment, work: Callable[[People], Awaitable[Result]]) -> Result:
    from twisted.internet import reactor

    from calltrack.access.guard import LogInGuard
    from calltrack.access.passwords import Passwords

    def people(stores: Any) -> People:
        return People(stores.access, wall_ms, Passwords(reactor), LogInGuard(lambda: 0.0))

    return environment.with_stores(lambda stores: work(people(stores)))


def _tell_link(environment: Environment, fields: dict[str, Any], path: str, secret: str, as_json: bool) -> None:
    web = environment.settings.web
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(web.listen.host, web.listen.host)
    place = f"[{host}]:{web.listen.port}" if ":" in host else f"{host}:{web.listen.port}"
    base = web.public_url or f"{'https' if web.tls else 'http'}://{place}"
    found = {**fields, "link": f"{base}/{path}?token={secret}"}
    print_json(found) if as_json else click.echo(found["link"])


def _show(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(fields)
        return
    grants = [Grant(**one) for one in fields["grants"]]
    print_fields({**fields, "grants": in_words(grants)}.items())
