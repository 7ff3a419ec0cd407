"""How long lists and reports of a project with a million calls take, asked of the API and the page over HTTP.

    python benchmarks/page/listbench.py [--calls 1000000] [--database FILE] [--rounds 15]

Makes the database when it is not there (a minute or two), then asks each question `rounds` times and prints the median
and the worst answer in milliseconds. Exit status 1 when a median of a list is over 200 ms.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing

from twisted.internet.task import react
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

from calltrack.access.guard import LogInGuard
from calltrack.access.keys import Keys
from calltrack.access.model import Grant
from calltrack.access.passwords import Passwords
from calltrack.access.people import People
from calltrack.storage import sqlite_stores
from calltrack.storage.url import open_stores
from calltrack.tracking.accounts import Accounts
from calltrack.tracking.catalog import Catalog
from calltrack.tracking.model import Attribution, CallRecord
from calltrack.tracking.search import CallLog
from calltrack.web import front
from calltrack.web.services import Services
from calltrack.web.site import put_together

LIMIT = 200.0  # milliseconds
NOW = int(time.time() * 1000)
YEAR = 365 * 86_400_000
MARKERS = [f"{source}_{campaign}_{word}" for source in ("direct", "google", "seo", "instagram", "maps", "news") for campaign in range(40) for word in ("buy glasses", "frames")]


def seed(path: str, project: int, calls: int) -> None:
    """A year of calls, written as the store writes them but without its events."""
    dice = random.Random(1)

    def records():
        for place in range(calls):
            created = NOW - YEAR + round(YEAR * place / calls)
            status = dice.choices(("ANSWER", "NOANSWER", "CANCEL", "BUSY", "CHANUNAVAIL"), (76, 10, 7, 6, 1))[0]
            talked = round(dice.lognormvariate(4.2, 0.9), 3) if status == "ANSWER" else 0.0
            visit = place if dice.random() < 0.6 else None
            yield CallRecord(
                id=f"{created:012x}{place:020x}", project=project, scenario=1 + place % 20, caller=f"1202555{dice.randrange(300000):06d}",
                callee=f"1312555{dice.randrange(400):04d}", target="sip:office@pbx.example", trunk="provider", created=created,
                answered=created + 5000 if talked else None, ended=created + 5000 + round(talked * 1000), duration=5 + talked,
                waiting_time=5.0, answer_duration=talked, status=status, target_call=talked > 30,
                attribution=Attribution(marker=dice.choice(MARKERS), visit=visit, reason="exact lease" if visit else "static channel"),
            )  # fmt: skip

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        cursor, found = connection.cursor(), records()
        while batch := list(itertools.islice(found, 10_000)):
            cursor.execute("BEGIN")
            sqlite_stores._write_records(cursor, batch, set())
            cursor.execute("COMMIT")


def questions(home: str, day: str, month: str) -> list[tuple[str, str, bool]]:
    """(what it is, its path, whether it is a list)."""
    api = "/api/v1/calls?limit=100"
    return [
        ("newest", api, True),
        ("oldest", f"{api}&sort=created", True),
        ("longest conversations", f"{api}&sort=-talked", True),
        ("longest of one source", f"{api}&sort=-talked&source=google", True),
        ("one status", f"{api}&status=CHANUNAVAIL", True),
        ("missed", f"{api}&status=BUSY&status=NOANSWER&status=CANCEL&status=CONGESTION&status=CHANUNAVAIL", True),
        ("one source", f"{api}&source=instagram", True),
        ("one marker", f"{api}&marker=seo_7_frames", True),
        ("one caller", f"{api}&caller=1202555000077", True),
        ("one dialled number", f"{api}&callee=13125550077", True),
        ("one scenario", f"{api}&scenario=7", True),
        ("target calls of one source", f"{api}&source=maps&target_call=true", True),
        ("busy calls of one marker", f"{api}&marker=seo_7_frames&status=BUSY", True),
        ("of one day", f"{api}&since={day}T00:00:00Z&until={day}T23:59:59Z", True),
        ("of one month, longest", f"{api}&sort=-talked&since={month}T00:00:00Z", True),
        ("nobody", f"{api}&marker=there_is_none", True),
        ("page: calls", f"{home}/calls", True),
        ("page: calls, missed", f"{home}/calls?status=missed", True),
        ("page: live", f"{home}/live", True),
        ("report: 7 days", f"/api/v1/reports/calls?since={day}T00:00:00Z", False),
        ("page: overview, 30 days", f"{home}?days=30", False),
        ("page: overview, 90 days", f"{home}?days=90", False),
    ]


async def main(reactor, options) -> int:
    fresh = not os.path.exists(options.database)
    stores = open_stores(f"sqlite:{options.database}", reactor)
    await stores.migrate()
    catalog, wall_ms = Catalog(stores.catalog), lambda: int(time.time() * 1000)
    if fresh:
        project = await catalog.add_project("Large")
        for number in range(20):
            await catalog.add_scenario(f"Scenario {number}", project.id, MARKERS[number], ("account",))
        began = time.monotonic()
        seed(options.database, project.id, options.calls)
        print(f"made {options.calls} calls in {time.monotonic() - began:.0f} s, {os.path.getsize(options.database) / 1e6:.0f} MB")
    project = (await catalog.projects())[0]
    people = People(stores.access, wall_ms, Passwords(reactor), LogInGuard(reactor.seconds))
    services = Services(
        catalog=catalog, accounts=Accounts(stores.accounts, stores.locations, "x"), calls=CallLog(stores.records), keys=Keys(stores.access, wall_ms),
        people=people, wall_ms=wall_ms, domain="x", listen=(("udp", "0.0.0.0", 5060),),
    )  # fmt: skip
    _, key = await services.keys.add(project.id)
    names = {one.name: one for one in await people.people()}
    person = names.get("bench") or await people.add("bench", (Grant(project=None, role="owner"),))
    _, cookie = await people.begin(person, "", "")
    port = reactor.listenTCP(0, put_together(front.resources(services)), interface="127.0.0.1")
    agent = Agent(reactor, pool=HTTPConnectionPool(reactor))
    headers = Headers({"authorization": [f"Bearer {key}"], "cookie": [f"calltrack_session={cookie}"]})
    day = time.strftime("%Y-%m-%d", time.gmtime(NOW / 1000 - 3 * 86400))
    month = time.strftime("%Y-%m-%d", time.gmtime(NOW / 1000 - 30 * 86400))
    over = 0
    print(f"{'':32}{'median':>8}{'worst':>8}  ms, {options.rounds} rounds")
    for what, path, is_list in questions(f"/projects/{project.id}", day, month):
        took = []
        for _ in range(options.rounds):
            began = time.perf_counter()
            answer = await agent.request(b"GET", f"http://127.0.0.1:{port.getHost().port}{path}".encode(), headers)
            await readBody(answer)
            took.append(1000 * (time.perf_counter() - began))
            if answer.code != 200:
                sys.exit(f"{path}: {answer.code}")
        median = statistics.median(took)
        over += is_list and median > LIMIT
        print(f"{what:32}{median:8.1f}{max(took):8.1f}{'  over' if is_list and median > LIMIT else ''}")
    await port.stopListening()
    stores.close()
    return 1 if over else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--database", default=os.path.join(tempfile.gettempdir(), "calltrack-listbench.db"))
    parser.add_argument("--rounds", type=int, default=15)
    outcome: list[int] = []

    def run(reactor):
        from twisted.internet.defer import Deferred

        return Deferred.fromCoroutine(main(reactor, parser.parse_args())).addCallback(outcome.append)

    try:
        react(run)
    except SystemExit as end:
        sys.exit(end.code or outcome[0])
