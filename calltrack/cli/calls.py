"""`calltrack call`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from calltrack.cli import traces
from calltrack.cli.call_export import export
from calltrack.cli.call_follow import follow
from calltrack.cli.environment import Environment
from calltrack.cli.ladder import draw_ladder
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import project_option
from calltrack.errors import NoSuchObject
from calltrack.tracking.model import CallRecord
from calltrack.tracking.published import published_call

if TYPE_CHECKING:
    from calltrack.storage.url import Stores

STATUSES = ("ACTIVE", "ANSWER", "BUSY", "NOANSWER", "CANCEL", "CONGESTION", "CHANUNAVAIL")


@click.group()
def call() -> None:
    """List calls, show one with the ladder of its dialogs, follow them, export them."""


call.add_command(export)
call.add_command(follow)


@call.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@project_option
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False))
@click.option("--before", metavar="CALL", help="Only calls older than this one.")
@json_option
@click.pass_obj
def list_(
    environment: Environment, limit: int, project: int | None, status: str | None, before: str | None, as_json: bool
) -> None:
    """List calls, newest first."""
    if before is not None:
        _check_id(before)
    records = environment.with_stores(
        lambda stores: stores.records.list(limit=limit, project=project, status=status, before=before)
    )
    if as_json:
        print_json([published_call(record, ladder=False) for record in records])
        return
    columns = ("call", "created", "caller", "callee", "target", "status", "talked", "marker", "reason")
    print_table(columns, map(_row, records), f"No calls in {environment.settings.storage.url}.")


@call.command()
@click.argument("call")
@click.option("--sip", is_flag=True, help="Print its SIP messages instead, without secrets.")
@click.option("--pcap", metavar="FILE", help="Write its SIP messages into a capture for Wireshark; - is standard output.")
@json_option
@click.pass_obj
def show(environment: Environment, call: str, sip: bool, pcap: str | None, as_json: bool) -> None:
    """Show CALL, with the ladder of its dialogs; or its SIP messages, as long as they are kept."""
    _check_id(call)

    async def look(stores: Stores) -> tuple[CallRecord, str]:
        return await stores.records.get(call), stores.traces_path

    record, place = environment.with_stores(look)
    if sip or pcap is not None:
        messages = traces.demanded(environment, traces.messages_of(environment, place, record), record)
        if pcap is not None:
            traces.write_capture(messages, pcap)
        if sip:
            traces.print_messages(messages, as_json)
        return
    if not record.ladder:
        ladder = traces.ladder_of(traces.messages_of(environment, place, record), record)
        record = msgspec.structs.replace(record, ladder=ladder)
    fields = published_call(record)
    if as_json:
        print_json(fields)
        return
    attribution, media = fields.pop("attribution"), fields.pop("media")
    ladder, recording = fields.pop("ladder"), fields.pop("recording")
    fields |= {"visit": attribution["visit"], "marker": attribution["marker"], "attributed by": attribution["reason"]}
    if recording:
        fields["recording"] = _in_words(recording)
    print_fields(fields.items())
    click.echo()
    columns = ("media of", "packets", "bytes", "lost", "jitter (ms)", "strangers")
    rows = [
        (side, *(media[side][name] for name in ("packets", "bytes", "lost", "jitter_ms", "strangers")))
        for side in ("caller", "target")
    ]
    print_table(columns, rows, "")
    click.echo(f"media verdict: {media['verdict']}\n")
    click.echo(
        "\n".join(draw_ladder(record.ladder)) if ladder else "No ladder was kept of this call."
    )


def _row(record: CallRecord) -> tuple:
    created = published_call(record, ladder=False)["created"]
    talked = f"{record.answer_duration:.1f} s" if record.answered is not None else ""
    return (
        record.id,
        created,
        record.caller,
        record.callee,
        record.target,
        record.status,
        talked,
        record.attribution.marker,
        record.reason,
    )


def _in_words(recording: dict[str, Any]) -> str:
    """A recording on one line."""
    names = " and ".join(name for name in (recording["name"], recording["capture"]) if name)
    reason = f" ({recording['reason']})" if recording["reason"] else ""
    return f"{recording['state']}{reason}, {recording['seconds']:.1f} s" + (f": {names}" if names else "")


def _check_id(call: str) -> None:
    if not call.isprintable():
        raise NoSuchObject(f"call {ascii(call)} does not exist")
