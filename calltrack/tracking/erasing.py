"""Erase what says who a caller is: in calls, in what calls gave rise to, and in the visits that they belong to.

Knows the stores' interfaces; must not know how values are kept.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from msgspec.structs import replace

from calltrack.interfaces import ICallRecordStore, IVisitStore
from calltrack.tracking.model import CallRecord, Recording
from calltrack.tracking.privacy import PRIVATE
from calltrack.tracking.search import CallQuery

MOST = 1_000_000  # calls of one caller


class Erased(NamedTuple):
    """How much was erased."""

    calls: int
    visits: int


def _nothing(record: CallRecord) -> None:
    """Of calls that left no files."""


async def erase_caller(
    records: ICallRecordStore, visits: IVisitStore, caller: str, files: Callable[[CallRecord], None] = _nothing
) -> Erased:
    """Erase a caller (E.164 digits). `files(record)` deletes what a call left in files: its sound, its SIP messages. Those
    and the visits first: should that fail half-way, the calls still lead to them. Raises StoreUnavailable, and what
    `files` raises."""
    calls = await records.find(CallQuery(caller=caller, limit=MOST))
    found = {
        (record.project, record.attribution.visit)
        for record in calls
        if record.project is not None and record.attribution.visit is not None
    }
    for record in calls:
        files(record)
    recorded = [record for record in calls if record.recording and record.final]
    gone = Recording(state="deleted", reason="the caller was erased")
    await records.write([replace(record, recording=gone) for record in recorded])
    blank = await visits.erase(sorted(found), list(PRIVATE))
    return Erased(await records.forget_caller(caller), blank)
