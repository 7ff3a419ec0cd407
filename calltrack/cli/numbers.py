"""`calltrack number`."""

from __future__ import annotations

import csv
from typing import Iterator, NamedTuple, TextIO

import click

from calltrack.cli.environment import Environment
from calltrack.cli.output import json_option, print_fields, print_json, print_table, printable
from calltrack.cli.parameters import OBJECT_ID, project_option, with_catalog
from calltrack.errors import InvalidField, NoSuchObject
from calltrack.tracking.catalog import Catalog
from calltrack.tracking.published import published


@click.group()
def number() -> None:
    """Add, assign, list, remove substitution numbers, as 11231234567 or +1 123 123 4567."""


@number.command()
@click.argument("number")
@click.option("--project", type=OBJECT_ID, required=True, metavar="ID", help="Whose number it is.")
@click.option("--scenario", type=OBJECT_ID, metavar="ID", help="Where its calls go.")
@json_option
@click.pass_obj
def add(environment: Environment, number: str, project: int, scenario: int | None, as_json: bool) -> None:
    """Give NUMBER to a project."""
    country = environment.country
    _show(with_catalog(environment, lambda catalog: catalog.add_number(number, project, scenario, country)), as_json)


@number.command()
@click.argument("number")
@click.option("--scenario", type=OBJECT_ID, metavar="ID", help="Another scenario of the same project; none without.")
@json_option
@click.pass_obj
def assign(environment: Environment, number: str, scenario: int | None, as_json: bool) -> None:
    """Let NUMBER lead to another scenario, or to the project's default target."""
    country = environment.country
    _show(with_catalog(environment, lambda catalog: catalog.assign_number(number, scenario, country)), as_json)


@number.command("list")
@project_option
@json_option
@click.pass_obj
def list_(environment: Environment, project: int | None, as_json: bool) -> None:
    """List numbers."""
    numbers = with_catalog(environment, lambda catalog: catalog.numbers(project))
    if as_json:
        print_json([published(number) for number in numbers])
        return
    print_table(
        ("number", "project", "scenario"), [(n.number, n.project, n.scenario) for n in numbers], "No numbers yet."
    )


@number.command()
@click.argument("number")
@json_option
@click.pass_obj
def remove(environment: Environment, number: str, as_json: bool) -> None:
    """Take NUMBER away from its project."""
    _show(with_catalog(environment, lambda catalog: catalog.remove_number(number, environment.country)), as_json)


@number.command("import")
@click.argument("file", type=click.File(encoding="utf-8-sig"))
@click.option("--project", type=OBJECT_ID, required=True, metavar="ID", help="Whose numbers they are.")
@click.option("--scenario", type=OBJECT_ID, metavar="ID", help="Where their calls go, where the file does not say.")
@json_option
@click.pass_context
def import_(ctx: click.Context, file: TextIO, project: int, scenario: int | None, as_json: bool) -> None:
    """Give the numbers in FILE to a project: CSV with the number in the first column and, if there is a second, a
    scenario's id in that; a first line without digits is passed over. Rows that are refused are told one by one, the
    others count; exit status 1 when there are any."""
    environment: Environment = ctx.obj
    country = environment.country
    try:
        rows = list(_rows(file, scenario))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidField("file", f"{file.name} is no CSV in UTF-8: {error}") from None
    added: list[str] = []
    refused: list[tuple[int, str]] = []

    async def add_all(catalog: Catalog) -> None:
        # What is told must reach the terminal while the bar is on it: both go to standard error.
        with click.progressbar(rows, label="Numbers", file=click.get_text_stream("stderr"), show_pos=True) as bar:
            for row in bar:
                try:
                    if row.wrong:
                        raise InvalidField("scenario", f"{ascii(row.wrong)} is no scenario's id")
                    number = await catalog.add_number(row.number, project, row.scenario, country)
                except (InvalidField, NoSuchObject) as error:
                    refused.append((row.line, str(error)))
                else:
                    added.append(number.number)

    with_catalog(environment, add_all)
    if as_json:
        print_json({"added": added, "refused": [{"line": line, "error": error} for line, error in refused]})
    else:
        for line, error in refused:
            click.echo(f"line {line}: {printable(error)}", err=True)
        click.echo(f"{len(added)} numbers added, {len(refused)} rows refused")
    if refused:
        ctx.exit(1)


class _Row(NamedTuple):
    line: int
    number: str
    scenario: int | None
    wrong: str  # what stands where a scenario's id should, when that is none


def _rows(file: TextIO, scenario: int | None) -> Iterator[_Row]:
    sample = file.read(4096)
    file.seek(0)
    delimiter = next((mark for mark in ";\t" if mark in sample.partition("\n")[0]), ",")
    reader = csv.reader(file, delimiter=delimiter)
    for position, cells in enumerate(reader):
        number = cells[0].strip() if cells else ""
        if not number or (position == 0 and not any(char.isdigit() for char in number)):
            continue
        named = cells[1].strip() if len(cells) > 1 else ""
        is_id = named.isascii() and named.isdigit() and len(named) < 16
        yield _Row(reader.line_num, number, int(named) if is_id else scenario, "" if is_id or not named else named)


def _show(number, as_json: bool) -> None:
    fields = published(number)
    print_json(fields) if as_json else print_fields(fields.items())
