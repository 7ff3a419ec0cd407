"""`calltrack ctl`: what is asked of the engine that runs on this configuration. Knows its socket; no store."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.errors import CalltrackError

PATIENCE = 10.0  # seconds that the engine may take to answer


class Unreachable(CalltrackError):
    """No engine answers."""


class Unwilling(CalltrackError):
    """The engine says why it does not do what it was asked."""


@click.group()
def ctl() -> None:
    """Ask the engine that runs on this configuration. Only the user that it runs as may."""


@ctl.command()
@json_option
@click.pass_obj
def status(environment: Environment, as_json: bool) -> None:
    """How the engine is."""
    _show(ask(environment, "status"), as_json)


@ctl.command()
@json_option
@click.pass_obj
def calls(environment: Environment, as_json: bool) -> None:
    """The calls of this moment, oldest first."""
    found = ask(environment, "calls")
    if as_json:
        print_json(found)
        return
    columns = ("call", "state", "caller", "callee", "target", "trunk", "for", "talked", "recorded")
    rows = [
        (*(one[name] for name in ("id", "state", "caller", "callee", "target", "trunk")), f"{one['seconds']:.0f} s",
         "" if one["talked"] is None else f"{one['talked']:.0f} s", one["recorded"])
        for one in found
    ]  # fmt: skip
    print_table(columns, rows, "No call is in progress.")


@ctl.command()
@click.argument("call", required=False, default="")
@click.option("--all", "all_", is_flag=True, help="Every call there is.")
@json_option
@click.pass_obj
def hangup(environment: Environment, call: str, all_: bool, as_json: bool) -> None:
    """End CALL on both sides; its record says `operator`."""
    _show(ask(environment, "hangup", call=call, all=all_), as_json)


@ctl.command()
@click.argument("state", type=click.Choice(["on", "off"]), required=False)
@json_option
@click.pass_obj
def trace(environment: Environment, state: str | None, as_json: bool) -> None:
    """Keep the SIP messages of calls, or do not; without STATE: whether they are. A restart asks the configuration."""
    _show(ask(environment, "trace", **({"on": state == "on"} if state else {})), as_json)


@ctl.command()
@click.option("--off", is_flag=True, help="Take calls again.")
@click.option("--stop", is_flag=True, help="End the engine when the last call is over.")
@click.option("--wait", is_flag=True, help="Return when the last call is over.")
@json_option
@click.pass_obj
def drain(environment: Environment, off: bool, stop: bool, wait: bool, as_json: bool) -> None:
    """Refuse new calls with 503, and answer OPTIONS so; those in progress go on."""
    answer = ask(environment, "drain", on=not off, stop=stop)
    while wait and answer["calls"]:
        time.sleep(0.5)
        try:
            answer["calls"] = ask(environment, "status")["calls"]
        except Unreachable:
            answer["calls"] = 0  # it has stopped, as it was asked to
    _show(answer, as_json)


@ctl.command()
@json_option
@click.pass_obj
def reload(environment: Environment, as_json: bool) -> None:
    """Read the configuration again, and say what of it counts now and what at the next start."""
    answer = ask(environment, "reload")
    if as_json:
        print_json(answer)
        return
    for key in answer["applied"]:
        click.echo(f"{key}: counts from now on")
    for key in answer["waiting"]:
        click.echo(f"{key}: counts at the next start")
    if not answer["applied"] and not answer["waiting"]:
        click.echo("The configuration has not changed.")


def ask(environment: Environment, do: str, **request: Any) -> Any:
    """What the engine answers. Raises Unreachable or Unwilling."""
    path = environment.settings.control.socket
    if not path:
        scheme, _, database = environment.settings.storage.url.partition(":")
        path = f"{database}-control" if scheme == "sqlite" else "calltrack-control"
    path = os.path.abspath(path)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(path)
            connection.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except (FileNotFoundError, ConnectionRefusedError):
        raise Unreachable(f"no engine runs on this configuration: nobody listens at {path}") from None
    except OSError as problem:
        raise Unreachable(f"the engine at {path} cannot be asked: {problem.strerror or problem}") from None
    if not line:
        raise Unreachable(f"the engine at {path} has ended without an answer")
    answer = json.loads(line)
    if "error" in answer:
        raise Unwilling(answer["error"])
    return answer["result"]


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print_fields((name, json.dumps(value) if isinstance(value, dict) else value) for name, value in answer.items())
