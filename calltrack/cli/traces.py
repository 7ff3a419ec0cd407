"""What `calltrack call show` tells of a call's SIP messages. Knows where traces are; not how they come there."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Callable

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import print_json
from calltrack.errors import CalltrackError, NoSuchObject
from calltrack.recording import files
from calltrack.tracing import contents, export, segments
from calltrack.tracing.message import Traced
from calltrack.tracking.model import CallRecord, LadderStep
from calltrack.tracking.published import iso_time


if TYPE_CHECKING:
    from calltrack.storage.url import Stores


class Unwritable(CalltrackError):
    """A file that somebody asked for cannot be written."""


def messages_of(environment: Environment, traces: str, record: CallRecord) -> list[Traced]:
    """The SIP messages of a call, as long as they are kept. `traces`: where they are unless configured otherwise."""
    until = record.ended if record.ended is not None else round(time.time() * 1000)
    directory = environment.settings.trace.directory or traces
    try:
        return segments.read(directory, record.id, record.created, until)
    except OSError as problem:
        raise NoSuchObject(f"the SIP messages cannot be read: {problem}") from None


def files_of(environment: Environment, stores: Stores) -> Callable[[CallRecord], None]:
    """A function that deletes what a call left in files: its sound and its SIP messages."""
    settings = environment.settings
    recordings = settings.recording.directory or stores.recordings_path
    traces = settings.trace.directory or stores.traces_path

    def delete(record: CallRecord) -> None:
        try:
            if record.recording:
                files.delete(recordings, record.recording.name, record.recording.capture)
            segments.erase(traces, record.id, record.created, record.ended or round(time.time() * 1000))
        except OSError as problem:
            raise Unwritable(f"the files of call {record.id} cannot be deleted: {problem}") from None

    return delete


def demanded(environment: Environment, messages: list[Traced], record: CallRecord) -> list[Traced]:
    """The same; raises NoSuchObject with the reason when there are none."""
    if messages:
        return messages
    keep, size = environment.settings.trace.keep, environment.settings.trace.max_size
    why = f"[trace] keeps {keep:g} days and {size} MB of them" if keep else "[trace] keep is 0"
    raise NoSuchObject(f"no SIP message of call {record.id} is kept: {why}")


def ladder_of(messages: list[Traced], record: CallRecord) -> tuple[LadderStep, ...]:
    """The ladder of a call that lasts, or whose record has none."""
    return tuple(contents.step(message, record.created) for message in messages)


def print_messages(messages: list[Traced], as_json: bool) -> None:
    """Every message, without secrets."""
    if as_json:
        print_json([_published(message) for message in messages])
        return
    for message in messages:
        way = "sent to" if message.sent else "received from"
        host, port = message.remote
        click.echo(f"{_instant(message)}  {message.side}: {way} {host} port {port}, {message.transport.upper()}")
        click.echo("".join(f"    {line}\n" for line in contents.lines(message)))


def write_capture(messages: list[Traced], path: str) -> None:
    """A capture for Wireshark, with the messages as they were, secrets and all. "-" is standard output."""
    content = export.capture(messages)
    if path == "-":
        sys.stdout.buffer.write(content)
        return
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
    except OSError as problem:
        raise Unwritable(f"{path}: {problem.strerror}") from None
    click.echo(f"{len(messages)} SIP messages are in {path}: they are as they were sent, digests included", err=True)


def _published(message: Traced) -> dict[str, Any]:
    return {
        "at": _instant(message),
        "side": message.side,
        "sent": message.sent,
        "transport": message.transport,
        "local": list(message.local),
        "remote": list(message.remote),
        "lines": contents.lines(message),
    }


def _instant(message: Traced) -> str:
    return iso_time(message.at_us // 1000)
