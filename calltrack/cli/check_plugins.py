"""What `calltrack check` says of the backends that the configuration names: whether each can be made and started, and how it is."""

from __future__ import annotations

import time
from typing import Any

from calltrack.chosen import choose_source, choose_stores, context_of
from calltrack.config import Settings
from calltrack.errors import ConfigErrors
from calltrack.plugins.discovery import from_plugins
from calltrack.plugins.points import POINTS
from calltrack.storage.url import open_stores


async def on_backends(settings: Settings, reactor: Any) -> list[tuple[bool, str]]:
    """By backend that is not calltrack's own: whether it is well, and in words; and the plugin files that are broken. Relays
    are not started: they would take the ports of a running engine."""
    verdicts = [(False, f"{one.name} of {one.origin} {one.why}") for one in from_plugins() if one.why]
    chosen = {section: getattr(settings, section).name for section in ("locations", "scenarios", "records")}
    others = [section for section, name in chosen.items() if name != POINTS[section].default]
    if not others:
        return verdicts
    stores = open_stores("memory:", reactor)
    try:
        context = context_of(stores, reactor, lambda: int(time.time() * 1000))
        backends = choose_stores(stores, settings, context)
        choose_source(backends, settings, context)
    except ConfigErrors as error:
        return verdicts + [(False, line) for line in error.errors]
    await backends.start()
    health = await backends.health()
    await backends.stop()
    for section in others:
        name = f"{section} {chosen[section]}"
        why = health.get(name)
        well = "is well" if name in health else "can be made; it does not say how it is"
        verdicts.append((not why, f"{name} {why or well}"))
    return verdicts
