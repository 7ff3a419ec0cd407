"""How commands print: JSON alone for programs, tables for people. Knows no command."""

from __future__ import annotations

import json
from typing import Any, Callable, Iterable, Sequence

import click

_PIPED = 1000  # columns: a row stays on its line, for grep and less -S


def json_option(command: Callable) -> Callable:
    """The `--json` flag, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")(command)


def print_json(value: Any) -> None:
    """`value` as JSON in UTF-8, whatever the terminal's encoding."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2).encode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], nothing: str) -> None:
    """A table for people; `nothing` when it would be empty. On a narrow terminal cells are folded, never cut; those
    of the first column, which names what the row is about, stay whole."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    headers = [Column(name, overflow="fold", no_wrap=position == 0) for position, name in enumerate(columns)]
    table = Table(*headers, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    _print(table if table.row_count else nothing)


def print_fields(fields: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one a line; what is empty is left out."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, value in fields:
        if value not in (None, "", (), []):
            grid.add_row(name, _text(value))
    _print(grid)


def printable(text: str) -> str:
    """`text` with a question mark for every character that could steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _text(value: Any):
    from rich.text import Text

    if value is None:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, (list, tuple)):
        return Text("\n".join(printable(str(item)) for item in value))
    return Text(printable(str(value)))


def _print(renderable: Any) -> None:
    from rich.console import Console

    width = None if click.get_text_stream("stdout").isatty() else _PIPED
    Console(width=width, highlight=False, markup=False, emoji=False).print(renderable)
