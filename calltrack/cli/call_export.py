"""`calltrack call export`: call records as a table for other programs. Knows file formats; not how calls are found."""

from __future__ import annotations

import csv
import io
import os
import sys
from contextlib import contextmanager
from typing import Any, BinaryIO, Iterator, Protocol

import click
import msgspec

from calltrack.cli.environment import Environment
from calltrack.cli.moments import MOMENT
from calltrack.cli.parameters import OBJECT_ID, project_option
from calltrack.errors import CalltrackError
from calltrack.tracking.model import CallRecord
from calltrack.tracking.published import published_call
from calltrack.tracking.search import STATUSES, CallQuery
from calltrack.tracking.sheets import COLUMNS, row_of, written

PAGE = 1000  # records read at once
MOST_ROWS = 1_048_575  # of a sheet in a workbook, below its head


class CannotWrite(CalltrackError):
    """The file cannot be written."""


class Writer(Protocol):
    """Takes records one after another; `close` completes the file."""

    def write(self, record: CallRecord) -> None: ...
    def close(self) -> None: ...


class CSVWriter:
    """RFC 4180 in UTF-8. `mark`: begin with the mark by which Excel knows UTF-8."""

    def __init__(self, file: BinaryIO, mark: bool) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", errors="replace", newline="", write_through=True)
        if mark:
            self._text.write("\ufeff")
        self._csv = csv.writer(self._text)
        self._csv.writerow(COLUMNS)

    def write(self, record: CallRecord) -> None:
        self._csv.writerow([written(cell) for cell in row_of(record)])

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class JSONLinesWriter:
    """One object a line, as `calltrack call list --json` shows it."""

    def __init__(self, file: BinaryIO, mark: bool) -> None:
        self._file = file
        self._encode = msgspec.json.Encoder().encode

    def write(self, record: CallRecord) -> None:
        self._file.write(self._encode(published_call(record, ladder=False)) + b"\n")

    def close(self) -> None:
        self._file.flush()


class WorkbookWriter:
    """An Excel workbook, written row by row; a sheet that is full is followed by another."""

    def __init__(self, file: BinaryIO, mark: bool) -> None:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
        from openpyxl.styles import Font

        self._file = file
        self._book = Workbook(write_only=True)
        self._cell, self._illegal, self._bold = WriteOnlyCell, ILLEGAL_CHARACTERS_RE, Font(bold=True)
        self._sheet: Any = None
        self._sheets = self._rows = 0
        self._begin_sheet()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._rows = 0
        self._sheet = self._book.create_sheet("Calls" if self._sheets == 1 else f"Calls {self._sheets}")
        self._sheet.freeze_panes = "A2"
        head = [self._cell(self._sheet, name) for name in COLUMNS]
        for cell in head:
            cell.font = self._bold
        self._sheet.append(head)

    def write(self, record: CallRecord) -> None:
        if self._rows == MOST_ROWS:
            self._begin_sheet()
        self._rows += 1
        self._sheet.append([self._shown(value) for value in row_of(record)])

    def _shown(self, value: Any) -> Any:
        if isinstance(value, str):
            cell = self._cell(self._sheet, self._illegal.sub("", value))
            cell.data_type = "s"  # whatever it begins with: a formula is none
            return cell
        if hasattr(value, "tzinfo"):  # workbooks know no time zones: UTC
            cell = self._cell(self._sheet, value.replace(tzinfo=None))
            cell.number_format = "yyyy-mm-dd hh:mm:ss.000"
            return cell
        return value

    def close(self) -> None:
        self._book.save(self._file)
        self._file.flush()


WRITERS: dict[str, Any] = {"csv": CSVWriter, "jsonl": JSONLinesWriter, "xlsx": WorkbookWriter}


@click.command()
@click.argument("file", type=click.Path(dir_okay=False), default="-")
@click.option("--format", "kind", type=click.Choice(list(WRITERS)), help="Otherwise by the file's name; csv for none.")
@project_option
@click.option("--status", "statuses", type=click.Choice(STATUSES, case_sensitive=False), multiple=True)
@click.option("--since", type=MOMENT, metavar="TIME", help="Created from then on: 2026-11-23T18:00, or 30d.")
@click.option("--until", type=MOMENT, metavar="TIME", help="Created before.")
@click.option("--scenario", type=OBJECT_ID, metavar="ID")
@click.option("--caller", metavar="DIGITS")
@click.option("--callee", metavar="DIGITS", help="The number that was dialled.")
@click.option("--marker", help="The whole marketing source.")
@click.option("--target-call/--no-target-call", "target_call", default=None, help="Conversations long enough, or not.")
@click.pass_obj
def export(environment: Environment, file: str, kind: str | None, statuses: tuple[str, ...], **filters: Any) -> None:
    """Write calls to FILE, oldest first: CSV, JSON lines or an Excel workbook. Without FILE, to standard output."""
    kind = kind or _kind_of(file)
    upper = tuple(status.upper() for status in statuses)
    query = CallQuery(statuses=upper, sort="created", limit=PAGE, **filters)
    with _opened(file) as target:
        writer = WRITERS[kind](target, file != "-")
        count = environment.with_stores(lambda stores: _write_all(stores.records, query, writer))
        writer.close()
    if file != "-":
        click.echo(f"{count} calls in {click.format_filename(file)}", err=True)


async def _write_all(records: Any, query: CallQuery, writer: Writer) -> int:
    newest = await records.find(msgspec.structs.replace(query, sort="-created", limit=1))
    if not newest:
        return 0
    last, count, began = newest[0].created, 0, None
    with _progress() as moved:
        while True:
            page = await records.find(query)
            for record in page:
                writer.write(record)
            if not page:
                return count
            count += len(page)
            began = page[0].created if began is None else began
            moved(count, (page[-1].created - began) / max(1, last - began))
            if len(page) < query.limit:
                return count
            query = msgspec.structs.replace(query, after=(page[-1].created, page[-1].id))


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar on standard error, at a terminal; `moved(calls, share)`."""
    if not sys.stderr.isatty():
        yield lambda count, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %  {task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("0 calls", total=1.0)
        yield lambda count, share: progress.update(task, completed=share, description=f"{count} calls")


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """What is written to. A file appears whole under its name or not at all."""
    if file == "-":
        yield click.get_binary_stream("stdout")
        return
    part = f"{file}.part"
    try:
        with open(part, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as target:
            yield target
        os.replace(part, file)
    except OSError as error:
        raise CannotWrite(f"{click.format_filename(file)} cannot be written: {error.strerror or error}") from error
    finally:
        if os.path.exists(part):
            os.unlink(part)


def _kind_of(file: str) -> str:
    ending = os.path.splitext(file)[1].lower().removeprefix(".")
    return ending if ending in WRITERS else "csv"
