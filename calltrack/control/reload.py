"""The configuration, read again while the engine runs: what has changed, what of it counts at once, what waits.

Knows settings by their fields; what is done about each, whoever wires says. Opens nothing.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, NamedTuple

import msgspec

LISTS = {"trunks": "trunk", "sinks": "sink"}  # fields of the settings that are lists, as the configuration calls them


class Change(NamedTuple):
    """One key that has another value now."""

    section: str
    key: str  # "" of a list

    def __str__(self) -> str:
        return f"[{self.section}] {self.key}" if self.key else f"[[{LISTS[self.section]}]]"


class Outcome(NamedTuple):
    """`settings`: what holds now. `applied` and `waiting`: keys whose new values count, or will after a restart."""

    settings: Any
    applied: list[Change]
    waiting: list[Change]


Apply = Callable[[Any], bool | None]  # gets the new settings; False: this change has to wait after all


def changes(old: Any, new: Any) -> Iterator[Change]:
    """Every key that differs between two settings, in their order."""
    for section in new.__struct_fields__:
        before, after = getattr(old, section), getattr(new, section)
        if before == after:
            continue
        if isinstance(after, msgspec.Struct) and type(before) is type(after):
            for key in after.__struct_fields__:
                if getattr(before, key) != getattr(after, key):
                    yield Change(section, key)
        else:
            yield Change(section, "")


def reload(old: Any, new: Any, table: dict[tuple[str, str], Apply]) -> Outcome:
    """Apply what `table` knows how to, by section and key."""
    settings, applied, waiting = old, [], []
    for change in changes(old, new):
        apply = table.get((change.section, change.key))
        if apply is None or apply(new) is False:
            waiting.append(change)
            continue
        applied.append(change)
        value = getattr(new, change.section)
        if change.key:
            value = msgspec.structs.replace(getattr(settings, change.section), **{change.key: getattr(value, change.key)})
        settings = msgspec.structs.replace(settings, **{change.section: value})
    return Outcome(settings, applied, waiting)
