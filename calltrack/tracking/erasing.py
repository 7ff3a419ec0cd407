"""Erase what says who a caller is: in calls, in what calls gave rise to, and in the visits that they belong to.

Knows the stores' interfaces; must not know how values are kept.
"""

from __future__ import annotations

from typing import NamedTuple

from calltrack.interfaces import ICallRecordStore, IVisitStore
from calltrack.tracking.privacy import PRIVATE
from calltrack.tracking.search import CallQuery

MOST = 1_000_000  # calls of one caller


class Erased(NamedTuple):
    """How much was erased."""

    calls: int
    visits: int


async def erase_caller(records: ICallRecordStore, visits: IVisitStore, caller: str) -> Erased:
    """Erase a caller (E.164 digits). Visits first: should that fail half-way, the calls still lead to them.
    Raises StoreUnavailable."""
    calls = await records.find(CallQuery(caller=caller, limit=MOST))
    found = {
        (record.project, record.attribution.visit)
        for record in calls
        if record.project is not None and record.attribution.visit is not None
    }
    blank = await visits.erase(sorted(found), list(PRIVATE))
    return Erased(await records.forget_caller(caller), blank)
