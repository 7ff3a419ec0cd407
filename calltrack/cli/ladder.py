"""Draw the SIP messages of a call as a ladder of text. Knows the steps of a record; no SIP, no terminal."""

from __future__ import annotations

from typing import Sequence

from calltrack.cli.output import printable
from calltrack.tracking.model import LadderStep

US = "calltrack"
_TIME = 9  # columns for the milliseconds at the left
_MIN_GAP, _MAX_GAP = 18, 44  # columns from one lane to the next


def draw_ladder(steps: Sequence[LadderStep]) -> list[str]:
    """One line a message under a head of lanes: the caller, calltrack, and each target that was tried.
    Times are milliseconds from the start of the call.

             caller            calltrack           target-1
          0    |------INVITE sdp---->|                   |
    """
    lanes = ["caller", US]
    lanes += [side for side in dict.fromkeys(step.side for step in steps) if side not in lanes]
    labels = [printable(step.text) + (" sdp" if step.sdp else "") for step in steps]
    gap = min(max([_MIN_GAP, *(len(label) + 6 for label in labels)]), _MAX_GAP)
    lines = [" " * _TIME + _head(lanes, gap)]
    for step, label in zip(steps, labels):
        ours, theirs = lanes.index(US), lanes.index(step.side)
        start, end = (ours, theirs) if step.sent else (theirs, ours)
        lines.append(f"{step.at_ms:>{_TIME - 2}}  " + _arrow(len(lanes), gap, start, end, label))
    return lines


def _head(lanes: Sequence[str], gap: int) -> str:
    """The lanes' names, each centred over its line."""
    head = ""
    for lane, name in enumerate(printable(lane)[: gap - 2] for lane in lanes):
        head = head.ljust(lane * gap + gap // 2 - len(name) // 2) + name
    return head


def _arrow(lanes: int, gap: int, start: int, end: int, label: str) -> str:
    line = [" "] * (lanes * gap)
    for lane in range(lanes):
        line[lane * gap + gap // 2] = "|"
    left, right = sorted((start, end))
    first, last = left * gap + gap // 2 + 1, right * gap + gap // 2 - 1
    room = last - first - 1  # beside the head of the arrow
    line[first : last + 1] = "-" + label[:room].center(room, "-") + "-"
    if end > start:
        line[last] = ">"
    else:
        line[first] = "<"
    return "".join(line).rstrip()
