"""Which fields of a visit say something about a person, and what is left of a visit without them.

Knows fields; not how long they are kept, nor where.
"""

from __future__ import annotations

from typing import Any, Iterable

import msgspec

from calltrack.tracking.model import Visit

PRIVATE: dict[str, Any] = {  # field of a visit: what it is when it is blank
    "address": "",
    "user_agent": "",
    "landing_page": "",
    "referrer": "",
    "utm": {},
    "click_id": "",
}


def blanked(visit: Visit, fields: Iterable[str]) -> Visit:
    """`visit` without `fields`, which are keys of PRIVATE."""
    return msgspec.structs.replace(visit, **{field: PRIVATE[field] for field in fields})
