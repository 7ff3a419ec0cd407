"""Sections that name a backend: ``[locations] store = "redis"`` and what ``[locations.redis]`` tells it.

Names and settings of plugins are checked here like everything else: a plugin that is named is imported for it. Makes and
opens nothing.
"""

from __future__ import annotations

from typing import Any

from calltrack import checks
from calltrack.media.settings import RELAYS
from calltrack.plugins.backends import Choice
from calltrack.plugins.discovery import find
from calltrack.plugins.options import read_options
from calltrack.plugins.points import POINTS

CHOSEN = ("locations", "scenarios", "records")  # sections that do nothing else


def read_choice(section: str, table: dict[str, Any], errors: list[str]) -> Choice:
    """The backend of a section; what is wrong goes to `errors`."""
    point = POINTS[section]
    name = table.get(point.key, point.default)
    choice = _choice(section, name, table, errors)
    for key in table:
        if key not in (point.key, name):
            errors.append(checks.unknown(f"[{section}] {checks.key(key)}", "key", key, [point.key, str(name)]))
    return choice or Choice(point.default)


def take_relay(table: dict[str, Any], errors: list[str]) -> tuple[dict[str, Any], Choice | None]:
    """Of ``[media]``, when it names a plugin: the table without it, and the plugin; None otherwise."""
    name = table.get("relay")
    if not isinstance(name, str) or name.lower() in RELAYS:
        return table, None
    choice = _choice("media", name, table, errors)
    return {key: value for key, value in table.items() if key not in ("relay", name)}, choice


def _choice(section: str, name: Any, table: dict[str, Any], errors: list[str]) -> Choice | None:
    where = f"[{section}] {POINTS[section].key}"
    if not isinstance(name, str):
        errors.append(f"{where}: {checks.shown(name)} is no text; write it in quotes")
        return None
    try:
        backend = find(section, name)
    except ValueError as error:
        errors.append(f"{where}: {error}")
        return None
    inner, options = f"[{section}.{name}]", table.get(name, {})
    if backend is None:
        if name in table:
            errors.append(f"{inner}: this backend takes no settings")
        return Choice(name)
    return Choice(name, read_options(options, backend.settings, inner, errors))
