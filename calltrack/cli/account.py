"""`calltrack account` and `calltrack registrations`."""

from __future__ import annotations

import time
from typing import Awaitable, Callable, TypeVar

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import OBJECT_ID, project_option
from calltrack.errors import InvalidField
from calltrack.tracking.accounts import Account, Accounts, published_account
from calltrack.tracking.bindings import published_binding

Result = TypeVar("Result")

_of_project = click.option("--project", type=OBJECT_ID, required=True, metavar="ID", help="Whose account.")


@click.group()
def account() -> None:
    """Show a project's SIP account, set its password, disable it."""


@account.command()
@_of_project
@json_option
@click.pass_obj
def show(environment: Environment, project: int, as_json: bool) -> None:
    """Show what a softphone or an exchange needs to log in."""
    _show(environment, _with_accounts(environment, lambda accounts: accounts.account(project)), as_json)


@account.command()
@_of_project
@json_option
@click.pass_obj
def password(environment: Environment, project: int, as_json: bool) -> None:
    """Set the password: asked for twice at a terminal, else the first line of standard input. The account is active
    from then on."""
    given = _password()
    _show(environment, _with_accounts(environment, lambda accounts: accounts.set_password(project, given)), as_json)


@account.command()
@_of_project
@json_option
@click.pass_obj
def disable(environment: Environment, project: int, as_json: bool) -> None:
    """Clear the password and log every device out. Calls in progress go on."""
    _show(environment, _with_accounts(environment, lambda accounts: accounts.disable(project)), as_json)


@click.command()
@project_option
@json_option
@click.pass_obj
def registrations(environment: Environment, project: int | None, as_json: bool) -> None:
    """List the devices that are logged in."""
    found = _with_accounts(environment, lambda accounts: accounts.registrations(project))
    now = time.time()
    shown = [published_binding(user, binding, now) for user, binding in found if binding.expires_at > now]
    if as_json:
        print_json(shown)
        return
    columns = ("project", "user", "device", "source", "transport", "contact", "expires")
    rows = [(*(fields[name] for name in columns[:-1]), f"in {fields['expires']} s") for fields in shown]
    print_table(columns, rows, "No device is logged in.")


def _with_accounts(environment: Environment, work: Callable[[Accounts], Awaitable[Result]]) -> Result:
    domain = environment.settings.sip.domain
    return environment.with_stores(lambda stores: work(Accounts(stores.accounts, stores.locations, domain)))


def _password() -> str:
    stdin = click.get_text_stream("stdin")
    if stdin.isatty():
        return click.prompt("Password", hide_input=True, confirmation_prompt=True)
    try:
        return stdin.buffer.readline().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidField("password", "is not UTF-8") from None


def _show(environment: Environment, shown: Account, as_json: bool) -> None:
    sip = environment.settings.sip
    fields = published_account(shown, sip.listen, sip.domain)
    if as_json:
        print_json(fields)
        return
    print_fields(fields.items())
    if not shown.enabled:
        click.echo(f"Nobody can log in yet: calltrack account password --project {shown.project}")
    elif not fields["usable"]:
        click.echo(f"The password was set for the domain {shown.realm}; set it again to log in at {sip.domain}.")
