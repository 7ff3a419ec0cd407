"""`calltrack demo`: a call through an engine of its own, told step by step.

Knows how to run it and to tell it to a program; a person is told by `calltrack.cli.demo_story`, and what happens is
`calltrack.cli.demonstration`'s.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import click

from calltrack.cli.environment import run
from calltrack.cli.output import json_option, print_json
from calltrack.tracking.published import published_call

if TYPE_CHECKING:
    from calltrack.cli.demonstration import Audio, Demonstration, Outcome


@click.command()
@click.option("--keep", is_flag=True, help="Keep the engine running until Ctrl-C, to try commands on.")
@json_option
def demo(keep: bool, as_json: bool) -> None:
    """Place a call through an engine of its own and show what happened; exit status 0 when all of it was right.

    The engine listens on free ports of this machine alone, and its database is thrown away.
    """
    from twisted.internet.defer import CancelledError

    from calltrack.cli.demo_story import Story

    if not hasattr(select, "epoll"):
        raise click.ClickException("calltrack needs Linux: it relays media by epoll, which this system does not have")
    directory = tempfile.mkdtemp(prefix="calltrack-demo-")
    log_path = os.path.join(directory, "calltrack.log")
    audience = _Program() if as_json else Story()
    _log_to(log_path)
    failed = False
    try:
        problems = run(lambda reactor: _interruptible(reactor, directory, audience, keep))
    except CancelledError:
        raise click.Abort from None
    except Exception as error:
        failed = True
        if as_json:
            print_json({"ok": False, "problems": [str(error)]})
        click.echo(f"The engine's log is {log_path}", err=True)
        raise
    finally:
        if not failed:
            shutil.rmtree(directory)
    if problems:
        sys.exit(1)


def _log_to(path: str) -> None:
    """The engine's log goes to a file: the terminal is for the story."""
    from twisted.logger import globalLogBeginner, textFileLogObserver

    file = open(path, "a", encoding="utf-8", buffering=1)  # open as long as the process lives
    globalLogBeginner.beginLoggingTo([textFileLogObserver(file)], redirectStandardIO=False)


async def _interruptible(reactor: Any, directory: str, audience: Any, keep: bool) -> list[str]:
    """What `_perform` returns; Ctrl-C cancels it, and waits until it has cleaned up."""
    from twisted.internet.defer import Deferred

    cleaned_up: Deferred[None] = Deferred()
    performance = Deferred.fromCoroutine(_perform(reactor, directory, audience, keep))

    def interrupted() -> Deferred[None]:
        performance.cancel()
        return cleaned_up

    reactor.addSystemEventTrigger("before", "shutdown", interrupted)
    try:
        return await performance
    finally:
        cleaned_up.callback(None)


async def _perform(reactor: Any, directory: str, audience: Any, keep: bool) -> list[str]:
    """What was not right about the call."""
    from calltrack.cli.demonstration import Demonstration
    from calltrack.process import use_monotonic_time

    use_monotonic_time(reactor)
    demonstration = Demonstration(reactor, directory, audience)
    try:
        await demonstration.start()
        outcome = await demonstration.call()
        audience.show(demonstration, outcome, keep)
        if keep:
            await _stay(reactor, demonstration, audience)
        return outcome.problems
    finally:
        await demonstration.stop()


async def _stay(reactor: Any, demonstration: Demonstration, audience: Any) -> None:
    """Call again whenever Enter is pressed, until interrupted."""
    from twisted.internet.defer import CancelledError, Deferred

    from calltrack.cli.demonstration import DemoFailed

    keys = _EnterKey(reactor)
    if sys.stdin.isatty():
        reactor.addReader(keys)
    try:
        while True:
            keys.pressed = Deferred()
            await keys.pressed
            try:
                audience.show_again(await demonstration.call())
            except DemoFailed as problem:
                audience.step(str(problem))
    except CancelledError:
        return
    finally:
        reactor.removeReader(keys)


class _EnterKey:
    """Reads the terminal for `pressed`, which fires when a line has been typed. Twisted's StandardIO would
    make the terminal non-blocking, for what we print too."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.pressed: Any = None  # a Deferred

    def fileno(self) -> int:
        return sys.stdin.fileno()

    def logPrefix(self) -> str:
        return "keyboard"

    def doRead(self) -> None:
        if not os.read(self.fileno(), 1024):
            self._reactor.removeReader(self)
        elif not self.pressed.called:
            self.pressed.callback(None)

    def connectionLost(self, reason: Any) -> None:
        """The reactor stops."""


class _Program:
    """Is told everything at the end, as one JSON object."""

    def step(self, words: str) -> None:
        pass

    def talking(self, share: float, at_office: int, at_visitor: int) -> None:
        pass

    def show(self, demonstration: Demonstration, outcome: Outcome, keep: bool) -> None:
        print_json(
            {
                "ok": not outcome.problems,
                "problems": outcome.problems,
                "engine": {
                    "sip": demonstration.sip_address,
                    "health": demonstration.health_url,
                    "page": demonstration.page_url,
                    "config": demonstration.config_path,
                    "database": demonstration.database_path,
                },
                "request_uri": outcome.request_uri,
                "headers": outcome.headers,
                "audio": {"office": _audio(outcome.at_office), "visitor": _audio(outcome.at_visitor)},
                "call": published_call(outcome.record),
                "health": outcome.health,
            }
        )

    def show_again(self, outcome: Outcome) -> None:
        """Not of a first call: one object is what was promised."""


def _audio(audio: Audio) -> dict[str, Any]:
    return {
        "played_hz": audio.played,
        "heard_hz": audio.heard.frequency,
        "heard_seconds": round(audio.heard.seconds, 2),
        "packets": audio.packets,
        "lost": audio.lost,
    }
