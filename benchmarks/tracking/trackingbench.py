"""What visits and attribution cost, without sockets.

    python benchmarks/tracking/trackingbench.py                  # all of it
    python benchmarks/tracking/trackingbench.py flood lookup visits

See README.md beside it.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import tempfile
import time

from twisted.internet import defer, reactor, task

from calltrack.storage.url import open_stores
from calltrack.testing.flood import flood
from calltrack.testing.simulation import BROWSER, PAGE
from calltrack.timers import Timers
from calltrack.tracking.catalog import Catalog
from calltrack.tracking.model import Lease, Number
from calltrack.tracking.routing import CachedScenarioSource
from calltrack.tracking.settings import VisitSettings
from calltrack.tracking.visits import Visits

AT_ONCE = 50  # visits that are asked for at the same time
FIRST = 12_025_000_000


def wall_ms() -> int:
    return int(time.time() * 1000)


async def engine(kind: str, numbers: int, each: int = 0) -> tuple:
    """Stores with a dynamic scenario of so many numbers, each with so many past leases, visits and routing on top."""
    url = "memory:" if kind == "memory" else f"sqlite:{os.path.join(tempfile.mkdtemp(), 'calltrack.db')}"
    stores = open_stores(url, reactor)
    await stores.migrate()
    catalog = Catalog(stores.catalog)
    project = await catalog.add_project("Bench", ("https://shop.example",))
    scenario = await catalog.add_scenario("All", project.id, "", ("office@192.0.2.1",), selectors=(".phone",))
    names = [str(FIRST + position) for position in range(numbers)]
    for name in names:
        await stores.catalog.add_number(Number(number=name, project=project.id, scenario=scenario.id))
    begin = wall_ms() - 3_600_000
    past = [
        Lease(number=name, begun=begin + 1000 * turn, ended=begin + 1000 * turn + 900, project=project.id,
              scenario=scenario.id, visit=turn + 1, marker="google_cpc_frames", confirmed=True)
        for name in names for turn in range(each)
    ]  # fmt: skip
    await stores.visits.write([], past, [], [])
    timers = Timers(reactor)
    visits = Visits(timers, wall_ms, stores.visits, VisitSettings(per_address=0))
    source = CachedScenarioSource(stores.catalog, reactor, visits=visits)
    visits.start()
    await source.start()
    await visits.followed()
    return stores, visits, source, project, names


async def lookup() -> None:
    print("lookup: microseconds of CPU in a call, five past leases a number; best and worst of five rounds")
    for numbers in (1, 1_000, 100_000):
        stores, visits, source, _, names = await engine("memory", numbers, 5)
        asked = [names[position * 7919 % numbers] for position in range(20_000)]
        gc.collect()
        gc.freeze()
        rounds = []
        for _ in range(5):
            began = time.process_time()
            for name in asked:
                source.lookup(name, "74951234567", time.time())
            rounds.append((time.process_time() - began) / len(asked) * 1e6)
        began = time.process_time()
        for name in asked:
            source._table.route(name)
        routed = (time.process_time() - began) / len(asked) * 1e6
        print(f"  {numbers:7,} numbers: {min(rounds):5.1f} to {max(rounds):5.1f}; routing alone {routed:.1f}")
        source.stop()
        await visits.stop()
        stores.close()


async def visits_a_second(count: int = 5000) -> None:
    print(f"visits: {count} new visits, {AT_ONCE} asked for at once, each leasing one of {count} numbers or finding none")
    for kind in ("memory", "sqlite"):
        stores, visits, source, project, _ = await engine(kind, count)
        arrivals = iter(range(count))
        cookies = []

        async def visitor() -> None:
            for position in arrivals:
                address = f"2001:db8:{position >> 16:x}:{position & 0xFFFF:x}::1"
                shown = await visits.arrive(
                    project.key, PAGE + "?utm_source=google&utm_medium=cpc", address=address, user_agent=BROWSER
                )
                cookies.append(shown.visit)

        cpu, began = time.process_time(), time.perf_counter()
        await defer.gatherResults([defer.Deferred.fromCoroutine(visitor()) for _ in range(AT_ONCE)])
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(f"  {kind}: {count / took:,.0f} a second, {cpu / count * 1000:.3f} ms of CPU each (database thread included)")
        cpu = time.process_time()
        for cookie in cookies:
            await visits.beat(project.key, cookie)
        print(f"  {kind}: a sign of life {(time.process_time() - cpu) / count * 1000:.3f} ms")
        source.stop()
        await visits.stop()
        stores.close()


async def floods() -> None:
    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = flood()
    took = time.process_time() - began
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print("flood: 100,000 visits from 1,000 addresses in a simulated minute, 400 numbers, 200 honest visitors")
    print(f"  answered {found.answered:,}, refused {found.refused:,}, numbers taken for a moment {found.took_numbers:,}")
    print(f"  honest: {found.honest_with_number} of {found.honest} got a number, {found.honest_refused} refused")
    print(f"  their calls: {found.calls_right} of {found.calls} right; numbers held twice: {found.double_leases}")
    print(f"  {took:.1f} s of CPU, {found.most_present:,} visits in memory at once, {more:.0f} MB more")


async def main(what: list[str]) -> None:
    for name in what:
        await {"lookup": lookup, "visits": visits_a_second, "flood": floods}[name]()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["flood", "lookup", "visits"])
    arguments = parser.parse_args()
    task.react(lambda reactor: defer.Deferred.fromCoroutine(main(arguments.what)))
