"""Make the side of a call for one destination of a target, within the limits of target and trunk. Knows what the sides of
one call have in common; not when one is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

from twisted.internet import defer

from calltrack.calls.destinations import Destination
from calltrack.calls.forwarding import caller_id, forwarded
from calltrack.calls.limits import Limit, shared_limit
from calltrack.calls.outbound import OutboundSide
from calltrack.calls.outcomes import Outcome
from calltrack.calls.sides import Hearer
from calltrack.tracking.model import Target

if TYPE_CHECKING:
    from calltrack.calls.call import Call

# (party, codecs to keep, address literal of the hop) -> the offer for it, b"" for none.
MakeOffer = Callable[[str, tuple[str, ...], str], "defer.Deferred[bytes]"]

ALLOW_REFER = b"Allow: REFER"  # besides what is always allowed


def make_side(
    call: Call, engine: Any, hearer: Hearer, target: Target, destination: Destination, offer: MakeOffer, counts: bool
) -> OutboundSide | Outcome:
    """The side, whose events `hearer` gets, or which limit is reached. Not `counts`: another side of the same target
    counts for both."""
    limits: tuple[Limit, ...] = ()
    if counts:
        name = target.label if target.kind != "account" else f"account:{call.route.project}"
        limits = (shared_limit(f"target:{name}", target.max_calls, target.max_rate),)
    trunk = None
    if destination.trunk:
        trunk = engine.destinations.trunk(destination.trunk)
        limits += (shared_limit(f"trunk:{trunk.name}", trunk.max_calls, trunk.max_rate),)
    reached = engine.limits.take(limits)
    if reached:
        kind, code = ("BUSY", 486) if reached.startswith("target:") else ("CONGESTION", 503)
        return Outcome(kind if kind == "CONGESTION" else "CHANUNAVAIL", code, f"limit:{reached}", 17)
    party = call.next_party()
    call_id = engine.new_call_id()
    hops = max(1, call.caller.max_forwards) - 1
    who = caller_id(call.admission, trunk)
    more = call.admission.diverted
    if call.route.transfers:
        more += (ALLOW_REFER,)
    said = forwarded(call_id, target, destination, call.route, who, hops, more)
    side = OutboundSide(
        hearer, engine.agent, party, destination, said, lambda host: offer(party, target.allow, host), limits
    )
    engine.watch(call_id, call, party)
    call.call_ids.append(call_id)
    return side
