"""Lay out the SIP messages of a call as a ladder, for SVG. Knows the steps of a record; no page."""

from __future__ import annotations

from typing import Any, Sequence

from calltrack.tracking.model import LadderStep

US = "calltrack"
LEFT, GAP, TOP, ROW = 150, 210, 44, 26  # pixels
HEAD = 7
TIMES = 90  # where their last digit stands: room for those of a call of a day


def drawn(steps: Sequence[LadderStep], caller: str) -> dict[str, Any]:
    """Lanes and arrows with their places. `caller`: how its lane is called."""
    lanes = ["caller", US]
    lanes += [side for side in dict.fromkeys(step.side for step in steps) if side not in lanes]
    place = {lane: LEFT + GAP * position for position, lane in enumerate(lanes)}
    arrows = []
    for row, step in enumerate(steps):
        y = TOP + ROW * row + ROW // 2
        start, end = (place[US], place[step.side]) if step.sent else (place[step.side], place[US])
        way = 1 if end > start else -1
        arrows.append(
            {
                "at_ms": step.at_ms,
                "y": y,
                "x1": start,
                "x2": end,
                "head": f"M{end} {y} l{-way * HEAD} {-HEAD // 2} l0 {HEAD} z",
                "middle": (start + end) // 2,
                "label": step.text + (" · SDP" if step.sdp else ""),
                "kind": _kind(step.text),
            }
        )
    return {
        "times": TIMES,
        "width": LEFT + GAP * (len(lanes) - 1) + 110,
        "height": TOP + ROW * len(steps) + 12,
        "lanes": [{"name": caller if lane == "caller" else lane, "x": place[lane]} for lane in lanes],
        "arrows": arrows,
    }


def _kind(text: str) -> str:
    """What colour a message has: requests, provisional, good and bad responses."""
    if not text[:1].isdigit():
        return "request"
    return {"1": "waiting", "2": "good", "3": "waiting"}.get(text[:1], "bad")
