"""What a page shows: which scenarios are for a visit, numbers as people read them, no element claimed twice.

Knows scenarios and masks; not who holds a number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Iterable

from calltrack.errors import InvalidField, Sentence
from calltrack.tracking.model import Scenario, Swap, Visit
from calltrack.tracking.segments import segment
from calltrack.tracking.targets import quoted

MAX_MASK = 60  # characters
PLACE = "X"


def is_shown(scenario: Scenario) -> bool:
    """Whether a scenario has anything to do with pages."""
    return scenario.enabled and bool(scenario.selectors or scenario.replace)


def is_for(scenario: Scenario, visit: Visit) -> bool:
    """Whether a scenario is for a visit: one of its segments holds; without segments a dynamic scenario is for all,
    a static one for the visits of its channel."""
    if scenario.segments:
        return any(segment(text)(visit) for text in scenario.segments)
    if scenario.kind == "dynamic":
        return True
    return visit.marker == scenario.marker or visit.marker.startswith(scenario.marker + "_")


def written(number: str, mask: str) -> str:
    """`number` (digits) for people: its last digits in the places of `mask`, or without one as is usual
    internationally."""
    if not mask:
        return _international(number)
    places = mask.count(PLACE)
    digits = iter(number[-places:].rjust(places))
    return "".join(next(digits) if char == PLACE else char for char in mask)


def check_mask(mask: str) -> str:
    """A mask as a person wrote it. Raises InvalidField."""
    if mask and (not 1 <= mask.count(PLACE) <= 15 or len(mask) > MAX_MASK or not mask.isprintable()):
        raise InvalidField(
            "mask",
            Sentence(
                "{mask} is no mask; allowed: 1 to 15 times {place} for a digit, as 8 (XXX) XXX-XX-XX",
                mask=quoted(mask),
                place=PLACE,
            ),
        )
    return mask


def swap(scenario: Scenario, number: str) -> Swap:
    """What a page shows for `scenario` when that is `number`."""
    return Swap(
        scenario=scenario.id,
        number=number,
        tel="+" + number,
        text=written(number, scenario.mask),
        selectors=scenario.selectors,
        replace=scenario.replace,
    )


def without_quarrels(swaps: Iterable[Swap]) -> tuple[Swap, ...]:
    """`swaps` with each selector and each replaced number in the first that names it only."""
    selectors: set[str] = set()
    replaced: set[str] = set()
    kept = []
    for one in swaps:
        mine = tuple(selector for selector in one.selectors if selector not in selectors)
        numbers = tuple(number for number in one.replace if number not in replaced)
        selectors.update(mine)
        replaced.update(numbers)
        if mine == one.selectors and numbers == one.replace:
            kept.append(one)
        elif mine or numbers:
            kept.append(Swap(scenario=one.scenario, number=one.number, tel=one.tel, text=one.text, selectors=mine, replace=numbers))
    return tuple(kept)


@lru_cache(maxsize=65536)
def _international(number: str) -> str:
    import phonenumbers  # slow to import, and not needed with a mask

    try:
        parsed = phonenumbers.parse("+" + number, None)
    except phonenumbers.NumberParseException:
        return "+" + number
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
