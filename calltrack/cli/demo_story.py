"""The demonstration as a person reads it: step by step, then what arrived, what was heard and what was recorded.

Knows the terminal; decides nothing about the call.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calltrack.cli.demo_seed import WEEKS
from calltrack.cli.ladder import draw_ladder
from calltrack.cli.output import printable
from calltrack.tracking.model import CallRecord, StreamFigures
from calltrack.tracking.published import iso_time

if TYPE_CHECKING:
    from calltrack.cli.demonstration import Audio, Demonstration, Outcome

_HUNG_UP = {"caller": "the visitor hung up", "target": "the office hung up", "engine": "calltrack ended it"}
_MEANING = {
    "x-roistat-phone": "the number that was dialled",
    "x-roistat-marker": "what brought the visitor",
    "x-roistat": "the channel",
}


class Story:
    """Tells a person. Colours and a moving bar on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._bar: Any = None
        self._say("One call: a visitor dials the number on the page, calltrack sends it on to the office.\n")

    # As demonstration.Audience

    def step(self, words: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._say("  " + printable(words))

    def talking(self, share: float, at_office: int, at_visitor: int) -> None:
        if not self._console.is_terminal:
            return
        if self._bar is None:
            from rich.progress import BarColumn, Progress, TextColumn

            columns = TextColumn("  talking"), BarColumn(30), TextColumn("{task.description}")
            self._bar = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
            self._bar.add_task("", total=1.0)
            self._bar.start()
        packets = f"audio packets: {at_office} to the office, {at_visitor} to the visitor"
        self._bar.update(self._bar.task_ids[0], completed=share, description=packets, refresh=True)

    def show(self, demonstration: Demonstration, outcome: Outcome, keep: bool) -> None:
        self._tell_headers(outcome)
        self._tell_audio(outcome)
        self._head("The ladder: every SIP message of the call, in milliseconds since it began")
        for line in draw_ladder(outcome.record.ladder):
            self._say("  " + line)
        self._head("The record, as it is in the database")
        for line in record_in_words(outcome.record):
            self._say("  " + printable(line))
        self._head("The engine's page")
        facts = ", ".join(f"{name} {value}" for name, value in outcome.health.items())
        self._say(f"  {demonstration.health_url}  {printable(facts)}")
        self._tell_verdict(outcome)
        self._tell_next(demonstration, outcome, keep)

    def show_again(self, outcome: Outcome) -> None:
        """What may differ in a further call."""
        self._tell_headers(outcome)
        self._tell_audio(outcome)
        self._tell_verdict(outcome)
        self._say("\nEnter calls again, Ctrl-C ends.")

    # Its chapters

    def _tell_headers(self, outcome: Outcome) -> None:
        self._head("What the office was told, in the INVITE itself")
        self._say("  INVITE " + printable(outcome.request_uri))
        lines = {name: f"{name}: {printable(value)}" for name, value in outcome.headers.items()}
        width = max(map(len, lines.values()), default=0)
        for name, line in lines.items():
            self._say(f"  {line:<{width}}   {_MEANING.get(name, '')}".rstrip(), "cyan")

    def _tell_audio(self, outcome: Outcome) -> None:
        self._head("What was heard, through calltrack's relay")
        self._say("  The office heard " + _heard(outcome.at_office, "the visitor"))
        self._say("  The visitor heard " + _heard(outcome.at_visitor, "the office"))

    def _tell_verdict(self, outcome: Outcome) -> None:
        self._say("")
        if not outcome.problems:
            self._say("The call, its headers, its audio and its record were all right.", "bold green")
            return
        self._say("Not all was right:", "bold red")
        for problem in outcome.problems:
            self._say("  " + printable(problem), "red")

    def _tell_next(self, demonstration: Demonstration, outcome: Outcome, keep: bool) -> None:
        self._head("Try next" + (", in another terminal" if keep else ""))
        commands = _while_it_runs(demonstration, outcome) if keep else _afterwards()
        for command, purpose in commands:
            self._say(f"  {command}", "bold")
            self._say(f"      {purpose}")
        if keep:
            self._say(f"\nThe page, with {WEEKS} weeks of made-up calls; this link logs you in once:")
            self._say(f"  {demonstration.page_url}", "bold")
            heard = [demonstration.wav_path(side) for side in ("office", "visitor")]
            self._say(f"\nListen to what each side heard: {heard[0]} and {heard[1]}")
            again = "Enter calls again. " if sys.stdin.isatty() else ""
            self._say(f"The engine is running, its database is {demonstration.database_path}. {again}Ctrl-C ends it.")

    def _head(self, words: str) -> None:
        self._say("\n" + words, "bold")

    def _say(self, words: str, style: str = "") -> None:
        self._console.print(words, style=style or None)


def record_in_words(record: CallRecord) -> list[str]:
    """A call record as sentences."""
    ringing = f"rang after {(record.ringing - record.created) / 1000:.2f} s, " if record.ringing is not None else ""
    lines = [
        f"{record.status}: {record.caller or 'a withheld number'} called {record.callee} over trunk {record.trunk} "
        f"at {iso_time(record.created)}",
        f"{record.target} {ringing}answered after {record.waiting_time:.2f} s, talked for "
        f"{record.answer_duration:.2f} s; {_HUNG_UP.get(record.hangup, 'it ended')}",
        f'Attributed to "{record.attribution.marker}": {record.attribution.reason}',
        "From the visitor: " + _figures(record.media.caller),
        "From the office: " + _figures(record.media.target),
        f"Media verdict: {record.media.verdict}; call id: {record.id}",
    ]
    return lines


def _figures(figures: StreamFigures) -> str:
    return f"{figures.packets} packets, {figures.lost} lost, jitter {figures.jitter_ms:.1f} ms"


def _heard(audio: Audio, other: str) -> str:
    return (
        f"{audio.heard.frequency} Hz for {audio.heard.seconds:.2f} s ({other} played {audio.played} Hz), "
        f"{audio.packets} packets, {audio.lost} lost"
    )


def _while_it_runs(demonstration: Demonstration, outcome: Outcome) -> list[tuple[str, str]]:
    calltrack = f"{program('calltrack', anywhere=True)} --config {shlex.quote(demonstration.config_path)}"
    edit = f"{calltrack} scenario edit {outcome.record.scenario} --static newsletter_november"
    return [
        (f"{calltrack} call list", "the calls so far"),
        (f"{calltrack} call show {outcome.record.id}", "this call, with its ladder"),
        (edit, "another marker: the next call brings it to the office"),
        (f"{calltrack} check", "is everything as it should be?"),
    ]


def _afterwards() -> list[tuple[str, str]]:
    return [
        (f"{program('calltrack')} demo --keep", "the same, and the engine stays for you to try commands on"),
        (f"{program('twistd')} -n calltrack", "the service: SIP on port 5060, calltrack.db in this directory"),
        (f"{program('calltrack')} check", "is this machine ready for it? ports, database, DNS, clock"),
    ]


def program(name: str, anywhere: bool = False) -> str:
    """How the user can type a program that was installed with this one: its name when the shell finds it, else its
    path, written as this program's was; `anywhere`: so that it works in any directory."""
    beside = Path(sys.argv[0]).with_name(name)
    found = shutil.which(name)
    if (found and Path(found).absolute() == beside.absolute()) or not beside.exists():
        return name
    return shlex.quote(str(beside.absolute() if anywhere else beside))
