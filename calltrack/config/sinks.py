"""``[[sink]]`` tables -> settings, each checked by the kind of sink that it names. Opens nothing."""

from __future__ import annotations

from typing import Any, Callable

from calltrack.config.sections import SINK
from calltrack.errors import InvalidField
from calltrack.events.settings import SinkSettings
from calltrack.events.sinks import make_sink
from calltrack.events.webhooks import check_events


def read_sinks(tables: Any, errors: list[str], values: Callable[..., dict[str, Any]]) -> tuple[SinkSettings, ...]:
    """The sinks that pass; what is wrong goes to `errors`. `values`: as `config` reads a section."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        errors.append("[sink]: sinks are a list; write [[sink]]")
        return ()
    sinks: dict[str, SinkSettings] = {}
    for position, table in enumerate(tables, 1):
        name = table.get("name")
        shown = isinstance(name, str) and name.isprintable()
        where = f'[[sink]] "{name}"' if shown else f"[[sink]] number {position}"
        before = len(errors)
        found = values({key: value for key, value in table.items() if key in SINK}, SINK, where, errors)
        errors.extend(f"{where} {key}: is missing" for key in ("name", "kind") if key not in table)
        if len(errors) > before:
            continue
        options = {key: value for key, value in table.items() if key not in SINK}
        try:
            if name in sinks:
                raise InvalidField("name", "another sink has it already")
            types = check_events(found["events"]) if found.get("events") else ()
            make_sink(found["kind"], options)
        except InvalidField as error:
            errors.append(f"{where} {'events' if error.field == 'event' else error.field}: {error.message}")
            continue
        sinks[name] = SinkSettings(name=name, kind=found["kind"], events=types, options=options)
    return tuple(sinks.values())
