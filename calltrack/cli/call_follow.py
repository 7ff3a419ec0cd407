"""`calltrack call follow`: what happens to calls, a line a change, as it happens. Knows the log of events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import printable
from calltrack.cli.parameters import project_option
from calltrack.errors import StoreUnavailable
from calltrack.events.model import CALL_TYPES, CallAnswered, CallEnded, CallEvent, Logged, encode

LOOK = 0.3  # seconds from one look to the next
PAGE = 500


@click.command()
@project_option
@click.option("--last", type=click.IntRange(0, 10_000), default=0, metavar="N", help="Begin with the last N changes.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as JSON, one a line.")
@click.pass_obj
def follow(environment: Environment, project: int | None, last: int, as_json: bool) -> None:
    """Show what happens to calls, a line a change, until Ctrl-C."""
    show = _show_json if as_json else _show
    environment.with_stores(lambda stores: _follow(stores.events, project, last, show))


async def _follow(events: Any, project: int | None, last: int, show: Any) -> None:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    seq = await events.last()
    if last:
        seq = await _shown_before(events, project, last, seq, show)
    away = False
    while True:
        try:
            seq, found = await events.read(seq, PAGE, CALL_TYPES, project)
            away = False
        except StoreUnavailable as problem:
            if not away:
                click.echo(f"waiting: {problem}", err=True)
            away, found = True, []
        for one in found:
            show(one)
        if len(found) < PAGE:
            await deferLater(reactor, LOOK)


async def _shown_before(events: Any, project: int | None, last: int, end: int, show: Any) -> int:
    """Show the last changes before `end`: further and further back until there are enough. Where to go on."""
    step = last * 2
    while True:
        start = max(0, end - step)
        seq, found = start, []
        while seq < end:
            seq, page = await events.read(seq, PAGE, CALL_TYPES, project)
            found += page
        if len(found) >= last or start == 0:
            for one in found[-last:]:
                show(one)
            return seq
        step *= 4


def _show_json(one: Logged) -> None:
    click.echo(encode(one.event))


def _show(one: Logged) -> None:
    event = one.event
    at = datetime.fromtimestamp(event.at / 1000)
    words = [f"{at:%H:%M:%S}.{event.at % 1000:03d}", event.call, f"{event.type.removeprefix('call.'):8}"]
    words.append(f"{event.caller or 'withheld'} -> {event.callee}")
    words.append(_details(event))
    click.echo(printable("  ".join(filter(None, words))))


def _details(event: CallEvent) -> str:
    match event:
        case CallEnded():
            talked = f"talked {event.answer_duration:.1f} s" if event.answered is not None else ""
            who = f"{event.hangup} hung up" if event.hangup else ""
            return ", ".join(filter(None, (event.status, event.target, talked, who, event.reason)))
        case CallAnswered():
            return f"by {event.target} after {event.waiting_time:.1f} s"
    return event.marker if event.type == "call.started" else ""
