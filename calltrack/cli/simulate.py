"""`calltrack simulate`: do calls find their visitors, and as often as predicted?"""

from __future__ import annotations

import shutil
import sys
import tempfile
from math import sqrt
from typing import TYPE_CHECKING, Any

import click
import msgspec

from calltrack.cli.environment import run
from calltrack.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from calltrack.cli.simulated_calls import Arrived
    from calltrack.testing.simulation import Figures

TOLERANCE = 0.01  # by which the accuracy may differ from what is predicted, unless few days make chance larger
CHANCE = 3.0  # standard deviations
SHARES = (0.6, 1.0, 1.4)  # of the pool that the three loads would hold


@click.command()
@click.option("--numbers", type=click.IntRange(1, 10_000), default=10, show_default=True, help="In the pool.")
@click.option(
    "--load", "loads", type=click.FloatRange(0.01, 10_000), multiple=True, metavar="ERLANGS",
    help="Numbers that visitors would hold at once on average; may be repeated. Without it three loads around the pool.",
)  # fmt: skip
@click.option("--days", type=click.FloatRange(0.01, 365), default=6.0, show_default=True, help="Simulated.")
@click.option("--stay", type=click.FloatRange(1, 86400), default=120.0, show_default=True, help="Seconds on the site.")
@click.option("--hold", type=click.FloatRange(10, 86400), default=150.0, show_default=True, help="Seconds.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same days.")
@click.option(
    "--real", type=click.IntRange(0, 200), default=8, show_default=True,
    help="Visitors beside them who are real: HTTP to an engine of its own, SIP calls to the numbers it shows.",
)  # fmt: skip
@json_option
def simulate(
    numbers: int, loads: tuple[float, ...], days: float, stay: float, hold: float, seed: int, real: int, as_json: bool
) -> None:
    """Simulate days of visitors whose truth is known, and say how many of their calls are attributed to them, beside what
    Erlang's formula predicts; exit status 1 when a number was held twice, a call went to somebody else while its visitor's
    number was held, a real call was not right, or the accuracy is off by more than one percentage point (and by more than
    chance explains, which in less than a day is more)."""
    from calltrack.testing.simulation import Plan, Simulation

    found: list[Figures] = []
    for load in loads or [numbers * share for share in SHARES]:
        plan = Plan(numbers=numbers, load=load, days=days, stay=stay, hold=hold, seed=seed)
        with click.progressbar(length=100, label=f"{load:g} erlangs", file=click.get_text_stream("stderr")) as bar:
            found.append(Simulation(plan).run(lambda share: bar.update(round(share * 100) - bar.pos)))
    arrived = run(lambda reactor: _real(reactor, real)) if real else []
    problems = [problem for figures in found for problem in _problems(figures)]
    wrong = [one for one in arrived if not one.right]
    problems += [f"a real call to {one.number} of visit {one.visit} carried {one.told}" for one in wrong]
    if as_json:
        shown = [{**msgspec.to_builtins(one), "accuracy": one.accuracy, "deviation": one.deviation} for one in found]
        print_json({"loads": shown, "real": [one._asdict() for one in arrived], "problems": problems})
    else:
        _tell(found, arrived)
        for problem in problems:
            click.echo(f"wrong: {problem}", err=True)
    if problems:
        sys.exit(1)


def _problems(figures: Figures) -> list[str]:
    at = f"at {figures.plan.load:g} erlangs"
    problems = []
    if figures.double_leases:
        problems.append(f"{figures.double_leases} times a number was held twice {at}")
    if figures.wrong:
        problems.append(f"{figures.wrong} calls in time were attributed to somebody else {at}")
    if abs(figures.deviation) > max(TOLERANCE, CHANCE * _deviation_by_chance(figures)):
        problems.append(f"the accuracy is off by {figures.deviation * 100:+.2f} percentage points {at}")
    return problems


def _deviation_by_chance(figures: Figures) -> float:
    """Standard deviation of the share of misses: a pool that is empty stays so for a while, so that a day is not as many
    trials as it has visitors, but as many as there are such whiles."""
    plan, share = figures.plan, figures.predicted
    whiles = plan.days * 86400 / (plan.stay + plan.hold)
    return sqrt(share * (1 - share) / whiles)


def _tell(found: list[Figures], arrived: list[Arrived]) -> None:
    plan = found[0].plan
    click.echo(
        f"{plan.days:g} simulated days, {plan.numbers} numbers, {plan.stay:g} s on the site and {plan.hold:g} s held after, "
        f"seed {plan.seed}"
    )
    columns = (
        "erlangs", "visitors", "stayed", "got no number", "calls in time", "accuracy", "predicted", "points off",
        "to somebody else", "held twice", "late calls", "of these right",
    )  # fmt: skip
    rows = [
        (
            f"{one.plan.load:g}",
            one.visitors,
            one.stayed,
            _percent(one.misses / one.stayed if one.stayed else 0.0),
            one.calls,
            _percent(one.accuracy),
            _percent(1 - one.predicted),
            f"{one.deviation * 100:+.2f}",
            one.wrong,
            one.double_leases,
            one.late,
            _percent(one.late_right / one.late if one.late else 1.0),
        )
        for one in found
    ]
    print_table(columns, rows, "")
    if arrived:
        right = sum(one.right for one in arrived)
        click.echo(
            f"{right} of {len(arrived)} real visitors (HTTP and SIP) reached the office with the visit of their page, in "
            "the INVITE and in the record."
        )


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


async def _real(reactor: Any, count: int) -> list[Arrived]:
    from twisted.logger import globalLogBeginner

    from calltrack.cli.simulated_calls import RealVisitors
    from calltrack.service import use_monotonic_time

    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    use_monotonic_time(reactor)
    directory = tempfile.mkdtemp(prefix="calltrack-simulate-")
    engine = RealVisitors(reactor, directory)
    try:
        await engine.start()
        return [await engine.visit(position) for position in range(count)]
    finally:
        await engine.stop()
        shutil.rmtree(directory)
