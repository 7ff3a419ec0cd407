"""`calltrack pool`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from calltrack.cli.environment import Environment, wall_ms
from calltrack.cli.output import json_option, print_fields, print_json, print_table
from calltrack.cli.parameters import OBJECT_ID


@click.group()
def pool() -> None:
    """Say how many numbers a dynamic scenario needs."""


@pool.command()
@click.option("--scenario", type=OBJECT_ID, required=True, metavar="ID", help="A dynamic scenario.")
@click.option("--days", type=click.FloatRange(0.01, 3660), default=30.0, show_default=True, help="Of history to look at.")
@click.option("--numbers", type=click.IntRange(1, 100_000), multiple=True, help="Another size to try; may be repeated.")
@click.option("--hold", type=click.FloatRange(10, 86400), metavar="SECONDS", help="Another hold time to try.")
@click.option(
    "--misses", type=click.FloatRange(0.01, 50), default=1.0, show_default=True, help="Visitors without a number, in %."
)
@json_option
@click.pass_obj
def advise(
    environment: Environment,
    scenario: int,
    days: float,
    numbers: tuple[int, ...],
    hold: float | None,
    misses: float,
    as_json: bool,
) -> None:
    """Say how many numbers a scenario needs, from its own visitors: predicted by Erlang B, replayed, and observed."""
    from calltrack.tracking.catalog import Catalog
    from calltrack.tracking.pool_advice import PoolAdvice

    def look(stores: Any) -> Any:
        advice = PoolAdvice(Catalog(stores.catalog), stores.visits, wall_ms)
        return advice.of(scenario, days, numbers, hold, misses)

    advice = environment.with_stores(look)
    if as_json:
        print_json({"scenario": scenario, **msgspec.to_builtins(advice)})
        return
    if not advice.visitors:
        click.echo(f"Nobody has wanted a number of scenario {scenario} in the last {days:g} days.")
        return
    print_fields(
        [
            ("history", f"{advice.days:.1f} days, {advice.visitors} visitors who stayed"),
            ("a number is held for", f"{advice.held:.0f} s, of which {advice.hold:.0f} s after the last sign of life"),
            ("busiest hour", f"{advice.busiest:.1f} numbers at once on average"),
            ("observed misses", f"{_percent(advice.observed)} ({advice.misses} visitors)"),
            ("numbers now", str(advice.numbers)),
            ("numbers advised", f"{advice.advised}, for misses under {advice.wanted * 100:g} %"),
        ]
    )
    marks = {advice.numbers: "now", advice.advised: "advised"}
    if advice.numbers == advice.advised:
        marks = {advice.advised: "now, advised"}
    rows = [(row.numbers, _percent(row.predicted), _percent(row.replayed), marks.get(row.numbers, "")) for row in advice.rows]
    click.echo()
    print_table(("numbers", "misses predicted", "misses replayed", ""), rows, "")


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"
