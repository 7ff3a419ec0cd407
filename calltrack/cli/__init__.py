"""The `calltrack` command.

Knows which commands there are and where; each is imported when it is used, so that help is quick.
A command registers itself by a line in `COMMANDS`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from calltrack import __version__
from calltrack.cli.environment import Environment, Refused
from calltrack.errors import CalltrackError

COMMANDS = {  # name: (module:object, what it does)
    "account": ("calltrack.cli.account:account", "Show a project's SIP account, set its password, disable it."),
    "apikey": ("calltrack.cli.apikeys:apikey", "Add, list, remove the keys that programs use the REST API with."),
    "call": ("calltrack.cli.calls:call", "List calls, show one with its ladder, follow and export them."),
    "check": ("calltrack.cli.check:check", "Say whether everything is ready for calls."),
    "ctl": ("calltrack.cli.ctl:ctl", "Ask the running engine: calls, hang up, trace, drain, reload."),
    "db": ("calltrack.cli.db:db", "Migrate the database, back it up."),
    "demo": ("calltrack.cli.demo:demo", "Place a call through an engine of its own and show what happened."),
    "number": ("calltrack.cli.numbers:number", "Add, assign, list, remove substitution numbers."),
    "plugins": ("calltrack.cli.plugins:plugins", "List the backends and plugins there are, begin a plugin of one's own."),
    "pool": ("calltrack.cli.pool:pool", "Say how many numbers a dynamic scenario needs."),
    "project": ("calltrack.cli.projects:project", "Add, edit, list, show projects."),
    "registrations": ("calltrack.cli.account:registrations", "List the devices that are logged in."),
    "scenario": ("calltrack.cli.scenarios:scenario", "Add, edit, list, show, remove scenarios."),
    "trunk": ("calltrack.cli.trunks:trunk", "List trunks, whether they answer, and our registrations there."),
    "user": ("calltrack.cli.users:user", "Add, list, remove people who log in to the page."),
    "simulate": ("calltrack.cli.simulate:simulate", "Simulate visitors and say how many calls find theirs."),
    "visit": ("calltrack.cli.visits:visit", "List and show visits, erase what is kept of a caller."),
    "webhook": ("calltrack.cli.webhooks:webhook", "Post a project's events to an address; see what became of it."),
}


class Commands(click.Group):
    """The commands of `COMMANDS`; what a command refuses or cannot do ends in words and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        return getattr(import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CalltrackError as error:
            raise Refused(error) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="calltrack")
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    envvar="CALLTRACK_CONFIG",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="Configuration in TOML (or $CALLTRACK_CONFIG); without it the defaults hold.",
)
@click.pass_context
def main(ctx: click.Context, config_path: str | None) -> None:
    """Call tracking: forward calls to substitution numbers and tell the receiver which ad they came from."""
    ctx.obj = Environment(config_path)
