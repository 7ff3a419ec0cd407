"""A backend's section of the configuration -> the settings type that the backend brings. Knows no file and no backend."""

from __future__ import annotations

from typing import Any

import msgspec

from calltrack import checks


def read_options(table: Any, kind: type | None, where: str, errors: list[str]) -> Any:
    """The settings that `table` gives, an instance of `kind`, which is a `msgspec.Struct`; what is wrong goes to `errors`,
    a sentence each, and None comes back. `where`: as the section is written."""
    if not isinstance(table, dict):
        errors.append(f"{where}: {checks.shown(table)} is no section; write {where} and its keys below")
        return None
    if kind is None:
        if table:
            errors.append(f"{where}: this backend takes no settings")
        return None
    before = len(errors)
    values: dict[str, Any] = {}
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        if key not in fields:
            errors.append(checks.unknown(f"{where} {checks.key(key)}", "key", key, list(fields)))
            continue
        try:
            values[fields[key].name] = msgspec.convert(value, fields[key].type)
        except msgspec.ValidationError as error:
            errors.append(f"{where} {key}: {_plain(error)}")
    errors.extend(f"{where} {name}: is missing" for name, field in fields.items() if field.required and name not in table)
    if len(errors) > before:
        return None
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:  # of its __post_init__
        errors.append(f"{where}: {error}")
        return None


def _plain(error: msgspec.ValidationError) -> str:
    """msgspec's words in the manner of ours."""
    words, _, place = str(error).partition(" - at ")
    words = words[:1].lower() + words[1:].replace("`", "")
    return words + (f" (at {place.strip('`')})" if place else "")
