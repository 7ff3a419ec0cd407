"""What a backend may use of the engine that it is made for."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from calltrack.interfaces import ICatalogStore, IEventStore, IScenarioSource


class Context(NamedTuple):
    """Handed to `IBackend.make`. Public: what is here stays."""

    reactor: Any  # the reactor: IReactorTime, IReactorTCP, IReactorUDP; its clock is monotonic
    wall_ms: Callable[[], int]  # milliseconds since the Unix epoch, UTC
    catalog: ICatalogStore  # projects, numbers, scenarios of `[storage] url`
    events: IEventStore  # the log of events: stores of records and bindings add there what those give rise to
    scenarios: IScenarioSource  # the source that calltrack makes of the catalog, to fall back on
    media: Any = None  # the `[media]` settings; of relays
