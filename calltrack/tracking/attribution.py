"""Which visit a call belongs to: a pure function of the number's leases and the instant.

Knows no clock and no store. Nothing is guessed silently: every candidate goes into the record with a reason.
"""

from __future__ import annotations

from typing import Sequence

from calltrack.tracking.model import Attribution, Candidate, Lease

EXACT = "exact lease"
NEVER = "never leased"
SHARED = "shared"

_NEVER = Attribution(reason=NEVER)
_SHARED = Attribution(reason=SHARED)


def attribute(leases: Sequence[Lease], at: int, shared: bool = False) -> Attribution:
    """The attribution of a call at `at` (milliseconds since the Unix epoch) to a number with these `leases`, oldest
    first: the lease that is active, else the one that ended last; candidates stand in that order. `shared`: the
    number is shown to many at once, as a fallback is."""
    if shared:
        return _SHARED
    active, ended = [], []
    for lease in reversed(leases):
        if lease.ended is None or lease.begun <= at < lease.ended:
            active.append(lease)  # begins are kept in order even when the wall clock was set back
        elif lease.begun < lease.ended <= at:
            ended.append(lease)
    if not active and not ended:
        return _NEVER
    candidates = tuple(
        [Candidate(visit=lease.visit, marker=lease.marker, reason=EXACT) for lease in active]
        + [Candidate(visit=lease.visit, marker=lease.marker, reason=_since(lease, at)) for lease in ended]
    )
    best = candidates[0]
    return Attribution(visit=best.visit, marker=best.marker, reason=best.reason, candidates=candidates)


def _since(lease: Lease, at: int) -> str:
    seconds = (at - lease.ended) // 1000
    stayed = "" if lease.confirmed else ", its visitor left at once"
    return f"lease ended {seconds} s before{stayed}"
