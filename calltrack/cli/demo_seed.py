"""Weeks of visits and calls that never were, believable enough to look at: for `calltrack demo`.

Knows what a small shop's telephone does; must not know how any of it is shown. The same seed gives the same calls.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from msgspec.structs import replace

from calltrack.calls.engine import new_id
from calltrack.tracking.catalog import Catalog
from calltrack.tracking.model import (
    Attribution,
    CallRecord,
    Candidate,
    LadderStep,
    Lease,
    MediaFigures,
    Scenario,
    StreamFigures,
    Visit,
)

WEEKS = 5
DAY, HOUR = 86_400_000, 3_600_000  # milliseconds
NEWSLETTER = "11231234568"
POOL = tuple(f"112312345{number}" for number in range(70, 76))

_HOURS = (0, 0, 0, 0, 0, 0, 0, 1, 4, 9, 12, 11, 8, 9, 11, 10, 9, 8, 6, 4, 2, 1, 0, 0)  # calls by hour of a day
_DAYS = (1.0, 1.05, 1.0, 0.95, 1.1, 0.55, 0.35)  # Monday first


class _Channel(NamedTuple):
    """Where visitors come from: calls of an average day, how it grows in a day, its markers."""

    share: float
    growth: float
    markers: tuple[str, ...]
    landing: str


_CHANNELS = (
    _Channel(13, 1.012, ("direct_search_1234567_buy glasses", "direct_search_1234567_glasses price", "direct_network_2233445"), "/glasses?utm_source=direct"),
    _Channel(11, 0.996, ("google_cpc_brand_glasses shop", "google_cpc_generic_reading glasses"), "/?utm_source=google&utm_medium=cpc"),
    _Channel(6, 1.004, ("seo_google", "seo_yandex"), "/"),
    _Channel(4, 1.02, ("instagram_stories_autumn", "instagram_post_frames"), "/frames?utm_source=instagram"),
    _Channel(3, 1.0, ("newsletter_november",), "/sale?utm_source=newsletter"),
    _Channel(3, 0.998, ("maps_google",), "/contacts"),
)  # fmt: skip


async def fill(stores: Any, project: int, static: Scenario, number: str, now_ms: int, seed: int = 20261125) -> tuple[int, int]:
    """Write what has happened in the last weeks to a project with the scenario `static` of `number`; returns how many
    visits and calls that were. Adds a second channel and a dynamic scenario with numbers of its own."""
    dice, office = random.Random(seed), tuple(target.label for target in static.targets)
    catalog = Catalog(stores.catalog)
    news = await catalog.add_scenario("Newsletter", project, "newsletter_november", office)
    await catalog.add_number(NEWSLETTER, project, news.id)
    dynamic = await catalog.add_scenario("Every visitor", project, "", office, selectors=(".phone",), mask="X (XXX) XXX-XXXX")
    for one in POOL:
        await catalog.add_number(one, project, dynamic.id)
    calls = _calls(dice, project, static, number, news, dynamic, now_ms)
    first = await stores.visits.reserve(project, len(calls) + 1)
    visits: list[Visit] = []
    leases: list[Lease] = []
    records = []
    for place, (record, landing) in enumerate(calls):
        if record.scenario == dynamic.id:
            record, visit, lease = _with_visit(dice, record, landing, first + place)
            visits.append(visit)
            leases.append(lease)
        records.append(record)
    await stores.visits.write(visits, leases, leases, [])
    for start in range(0, len(records), 500):
        await stores.records.write(records[start : start + 500])
    return len(visits), len(records)


def _calls(
    dice: random.Random, project: int, static: Scenario, number: str, news: Scenario, dynamic: Scenario, now_ms: int
) -> list[tuple[CallRecord, str]]:
    """Records of every day, oldest first, with the pages that the visitors landed on."""
    made = []
    regulars = [_caller(dice) for _ in range(120)]
    for day in range(7 * WEEKS, -1, -1):
        midnight = now_ms // DAY * DAY - day * DAY
        for channel in _CHANNELS:
            mean = channel.share * channel.growth ** (7 * WEEKS - day) * _DAYS[(midnight // DAY + 3) % 7]
            for _ in range(max(0, round(dice.gauss(mean, mean**0.5)))):
                created = midnight + dice.choices(range(24), _HOURS)[0] * HOUR + dice.randrange(HOUR)
                if created > now_ms - 600_000:
                    continue
                marker = dice.choice(channel.markers)
                if marker == static.marker and dice.random() < 0.6:
                    scenario, callee = static, number
                elif marker == news.marker:
                    scenario, callee = news, NEWSLETTER
                else:
                    scenario, callee = dynamic, dice.choice(POOL)
                caller = dice.choice(regulars) if dice.random() < 0.35 else _caller(dice)
                made.append((_record(dice, project, scenario, caller, callee, marker, created), channel.landing))
    made.sort(key=lambda one: one[0].created)
    return _first_calls(made)


def _record(
    dice: random.Random, project: int, scenario: Scenario, caller: str, callee: str, marker: str, created: int
) -> CallRecord:
    status = dice.choices(("ANSWER", "NOANSWER", "CANCEL", "BUSY", "CHANUNAVAIL"), (78, 9, 7, 5, 1))[0]
    waited = round({"NOANSWER": 20.0, "BUSY": 0.4, "CHANUNAVAIL": 8.0}.get(status, dice.uniform(2.5, 19)), 3)
    talked = round(min(dice.lognormvariate(4.3, 0.9), 1500), 3) if status == "ANSWER" else 0.0
    rang = created + dice.randrange(80, 900) if status != "CHANUNAVAIL" else None
    answered = created + round(waited * 1000) if status == "ANSWER" else None
    ended = created + round((waited + talked) * 1000)
    code, cause = {"ANSWER": (200, 16), "NOANSWER": (480, 19), "CANCEL": (487, 16), "BUSY": (486, 17), "CHANUNAVAIL": (503, 20)}[status]
    return CallRecord(
        id=new_id(created),
        project=project,
        scenario=scenario.id,
        caller="" if dice.random() < 0.02 else caller,
        callee=callee,
        target=scenario.targets[0].label,
        trunk="provider",
        created=created,
        ringing=rang,
        answered=answered,
        ended=ended,
        duration=round(waited + talked, 3),
        waiting_time=waited,
        answer_duration=talked,
        status=status,
        hangup="caller" if status == "CANCEL" or dice.random() < 0.7 else "target",
        sip_code=code,
        q850=cause,
        attribution=Attribution(marker=marker, reason="static channel"),
        target_call=talked >= 30,
        media=_media(dice, talked),
        ladder=_ladder(status, rang and rang - created, round(waited * 1000), ended - created),
    )


def _with_visit(dice: random.Random, record: CallRecord, landing: str, number: int) -> tuple[CallRecord, Visit, Lease]:
    """The visit that led to a call of the dynamic scenario, and the number that it was shown."""
    marker = record.attribution.marker
    stayed = dice.randrange(20_000, 900_000)
    begun = record.created - stayed
    late = dice.random() < 0.12
    ended = record.created - dice.randrange(5_000, 240_000) if late else (record.ended or record.created) + 60_000
    ended = max(ended, begun + 5_000)
    reason = f"lease ended {(record.created - ended) // 1000} s before" if late and ended < record.created else "exact lease"
    candidates = [Candidate(visit=number, marker=marker, reason=reason)]
    if number > 3 and dice.random() < 0.3:
        other = dice.choice(_CHANNELS)
        before = Candidate(visit=number - 2, marker=dice.choice(other.markers), reason=f"lease ended {dice.randrange(300, 5000)} s before")
        candidates.append(before)
    visit = Visit(
        project=record.project or 0,
        number=number,
        secret=f"{dice.getrandbits(40):010x}",
        started=begun - 1000,
        marker=marker,
        landing_page="https://shop.example" + landing,
        referrer="https://www.google.com/" if "google" in marker else "",
        utm={"utm_source": marker.partition("_")[0]} if "utm_source" in landing else {},
        address=f"198.51.100.{dice.randrange(1, 255)}",
        user_agent=dice.choice(("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)", "Mozilla/5.0 (Linux; Android 15)")),
    )
    lease = Lease(number=record.callee, begun=begun, ended=ended, project=visit.project, scenario=record.scenario or 0,
                  visit=number, marker=marker, confirmed=True)  # fmt: skip
    attribution = Attribution(visit=number, marker=marker, reason=reason, candidates=tuple(candidates))
    return replace(record, attribution=attribution), visit, lease


def _first_calls(made: list[tuple[CallRecord, str]]) -> list[tuple[CallRecord, str]]:
    """The same, saying whose first call each is."""
    seen: set[str] = set()
    told = []
    for record, landing in made:
        told.append((replace(record, new_caller=record.caller not in seen if record.caller else None), landing))
        seen.add(record.caller)
    return told


def _caller(dice: random.Random) -> str:
    """A number that is nobody's: exchange 555, line 0100 to 0199."""
    return f"1{dice.choice((202, 212, 305, 312, 415, 617, 702, 206, 503, 713))}55501{dice.randrange(100):02d}"


def _media(dice: random.Random, talked: float) -> MediaFigures:
    if not talked:
        return MediaFigures()
    packets, lost = round(talked * 50), dice.choices((0, dice.randrange(1, 40)), (85, 15))[0]
    silent = dice.random() < 0.006
    caller = StreamFigures(packets=packets, bytes=packets * 172, lost=lost, jitter_ms=round(dice.uniform(0.2, 9), 1))
    target = StreamFigures() if silent else StreamFigures(packets=packets, bytes=packets * 172, jitter_ms=round(dice.uniform(0.1, 3), 1))
    return MediaFigures(caller=caller, target=target, verdict="target-silent" if silent else "both-ways")


def _ladder(status: str, rang: int | None, waited: int, ended: int) -> tuple[LadderStep, ...]:
    """The messages that such a call has."""
    step, steps = LadderStep, [LadderStep(0, "caller", False, "INVITE", True), LadderStep(1, "caller", True, "100 Trying (INVITE)")]
    steps.append(step(2, "target-1", True, "INVITE", True))
    if rang:
        steps += [step(rang, "target-1", False, "180 Ringing (INVITE)"), step(rang + 1, "caller", True, "180 Ringing (INVITE)")]
    if status == "ANSWER":
        steps += [
            step(waited, "target-1", False, "200 OK (INVITE)", True),
            step(waited + 1, "target-1", True, "ACK"),
            step(waited + 1, "caller", True, "200 OK (INVITE)", True),
            step(waited + 24, "caller", False, "ACK"),
            step(ended, "caller", False, "BYE"),
            step(ended + 1, "caller", True, "200 OK (BYE)"),
            step(ended + 1, "target-1", True, "BYE"),
            step(ended + 19, "target-1", False, "200 OK (BYE)"),
        ]
    elif status == "CANCEL":
        steps += [
            step(waited, "caller", False, "CANCEL"),
            step(waited + 1, "caller", True, "200 OK (CANCEL)"),
            step(waited + 1, "caller", True, "487 Request Terminated (INVITE)"),
            step(waited + 1, "target-1", True, "CANCEL"),
            step(waited + 20, "target-1", False, "487 Request Terminated (INVITE)"),
        ]
    else:
        words = {"BUSY": "486 Busy Here", "NOANSWER": "480 Temporarily Unavailable"}.get(status, "503 Service Unavailable")
        steps += [step(waited, "target-1", False, f"{words} (INVITE)"), step(waited + 1, "caller", True, f"{words} (INVITE)")]
    return tuple(steps)
