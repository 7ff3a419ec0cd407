"""Put the backends that the configuration names in the place of calltrack's own. Knows settings, stores and plugins; starts
nothing."""

from __future__ import annotations

from typing import Any, Callable

from calltrack.interfaces import IMediaRelay, IScenarioSource
from calltrack.media.relays import make_relay
from calltrack.media.settings import RELAYS
from calltrack.plugins.backends import Backends, Choice
from calltrack.plugins.context import Context
from calltrack.storage.url import Stores


def choose_stores(stores: Stores, settings: Any, context: Context) -> Backends:
    """Give `stores` the location store and the record store of the configuration. Raises ConfigErrors."""
    backends = Backends(context.reactor)
    stores.locations = backends.make("locations", settings.locations, context) or stores.locations
    stores.records = backends.make("records", settings.records, context) or stores.records
    return backends


def choose_relay(backends: Backends, settings: Any, context: Context) -> IMediaRelay:
    """The relay of the configuration. Raises ConfigErrors."""
    media = settings.media
    if media.relay in RELAYS:
        return make_relay(context.reactor, media)
    return backends.make("media", Choice(media.relay, media.options), context._replace(media=media))


def choose_source(backends: Backends, settings: Any, context: Context) -> IScenarioSource:
    """The scenario source of the configuration. Raises ConfigErrors."""
    return backends.make("scenarios", settings.scenarios, context) or context.scenarios


def context_of(stores: Stores, reactor: Any, wall_ms: Callable[[], int], scenarios: Any = None) -> Context:
    """What backends may use."""
    return Context(reactor, wall_ms, stores.catalog, stores.events, scenarios)
