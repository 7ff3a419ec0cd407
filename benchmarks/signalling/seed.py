#!/usr/bin/env python3
"""Fill calltrack's database: the numbers 1000 to 1999, in a static scenario that leads to one target.

    seed.py sqlite:FILE sip:user@host[:port]
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from calltrack.storage.url import open_stores
from calltrack.tracking.catalog import Catalog

NUMBERS = range(1000, 2000)


async def seed(reactor: Any, url: str, target: str) -> None:
    stores = open_stores(url, reactor)
    await stores.migrate()
    catalog = Catalog(stores.catalog)
    project = await catalog.add_project("Benchmark", [])
    scenario = await catalog.add_scenario(
        "Benchmark", project=project.id, static="direct_search_1234567_buy glasses", max_calls=0, forwards=[target]
    )
    for number in NUMBERS:
        await catalog.add_number(str(number), project.id, scenario.id)
    stores.close()


if __name__ == "__main__":
    react(lambda reactor, *arguments: Deferred.fromCoroutine(seed(reactor, *arguments)), sys.argv[1:])
