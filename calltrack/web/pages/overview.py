"""What a marketer sees first: calls by source over time, answered and missed, target calls, cost, busiest hours; before
the first call, what is still to be done. Knows the reports of the services."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import Any, Iterable

from calltrack.tracking.search import CallQuery, CallTally, DayTally
from calltrack.web.pages.site import Route
from calltrack.web.pages.spans import Days, asked
from calltrack.web.pages.view import View
from calltrack.web.pages.wording import seen

SOURCES = 7  # with a colour of their own; the rest are one
_EPOCH = date(1970, 1, 1)
_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


async def overview(view: View) -> bytes:
    assert view.project is not None
    project, calls, span = view.project.id, view.services.calls, asked(view)
    now = await calls.tally(project, span.since, span.until, view.words.zone)
    past = span.before(view)
    before = await calls.tally(project, past.since, past.until)  # in UTC, which is read fastest: only its sums are shown
    steps = [] if now.days else await _first_steps(view)
    rows = _by_source(now.days)
    return view.render(
        "overview.html",
        span=span,
        steps=steps,
        tiles=_tiles(view, now.days, before.days),
        total=sum(row["calls"] for row in rows),
        cost=sum(row["cost"] for row in rows),
        sources=rows,
        days=_by_day(now.days),
        by_source=_stack(view, span, now, [row["source"] for row in rows]),
        by_answer=_answers(view, span, now),
        hours=_hours(view, now),
    )


def _tiles(view: View, now: Iterable[DayTally], before: Iterable[DayTally]) -> list[dict[str, str]]:
    words, new, old = view.words, _sums(now), _sums(before)
    tiles = [
        ("Calls", words.whole(new["calls"]), "calls"),
        ("Answered", words.share(new["answered"], new["calls"]), "answered"),
        ("Missed", words.whole(new["missed"]), "missed"),
        ("Target calls", words.whole(new["target"]), "target"),
        ("Talked, h:min:s", words.duration(new["talked"], hours=True), "talked"),
    ]
    if new["cost"] or old["cost"]:
        tiles.append(("Cost", f"{new['cost']:.2f}", "cost"))
    past = {
        "answered": words.share(old["answered"], old["calls"]),
        "talked": words.duration(old["talked"], hours=True),
        "cost": f"{old['cost']:.2f}",
    }
    shown = []
    for label, figure, key in tiles:
        hint = view.say("before: {count}", count=past[key] if key in past else words.whole(old[key]))
        shown.append({"label": view.say(label), "figure": figure, "hint": hint})
    return shown


def _sums(days: Iterable[DayTally]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for day in days:
        for name in ("calls", "answered", "target", "talked", "cost"):
            found[name] += getattr(day, name)
    found["missed"] = found["calls"] - found["answered"]
    return found


def _by_source(days: Iterable[DayTally]) -> list[dict[str, Any]]:
    """Sums by source, the busiest first."""
    found: dict[str, dict[str, Any]] = {}
    for day in days:
        row = found.setdefault(day.source, {"source": day.source, "calls": 0, "answered": 0, "target": 0, "talked": 0.0, "cost": 0.0})
        for name in ("calls", "answered", "target", "talked", "cost"):
            row[name] += getattr(day, name)
    return sorted(found.values(), key=lambda row: (-row["calls"], row["source"]))


def _by_day(days: Iterable[DayTally]) -> list[dict[str, Any]]:
    """Sums by day, the latest first."""
    found: dict[int, dict[str, Any]] = {}
    for day in days:
        row = found.setdefault(day.day, {"day": _EPOCH + timedelta(days=day.day), "calls": 0, "answered": 0})
        row["calls"] += day.calls
        row["answered"] += day.answered
    return [found[day] for day in sorted(found, reverse=True)]


def _axis(span: Days) -> list[int]:
    first = (span.first - _EPOCH).days
    return list(range(first, first + span.days))


def _stack(view: View, span: Days, tally: CallTally, order: list[str]) -> dict[str, Any]:
    """Calls of each day by source, as charts.js draws them."""
    own, days = order[:SOURCES], _axis(span)
    values = {source: [0] * len(days) for source in [*own, *(["…"] if len(order) > SOURCES else [])]}
    for day in tally.days:
        values[day.source if day.source in own else "…"][day.day - days[0]] += day.calls
    names = {"": view.say("no source"), "…": view.say("others")}
    series = [{"name": seen(names.get(source, source)), "values": counts} for source, counts in values.items()]
    return {"days": [day * 86400 for day in days], "series": series}


def _answers(view: View, span: Days, tally: CallTally) -> dict[str, Any]:
    days = _axis(span)
    answered, missed = [0] * len(days), [0] * len(days)
    for day in tally.days:
        answered[day.day - days[0]] += day.answered
        missed[day.day - days[0]] += day.calls - day.answered
    series = [
        {"name": view.say("answered"), "values": answered, "kind": "good"},
        {"name": view.say("missed"), "values": missed, "kind": "bad"},
    ]
    return {"days": [day * 86400 for day in days], "series": series}


def _hours(view: View, tally: CallTally) -> list[dict[str, Any]]:
    counts = {hour.hour: hour.calls for hour in tally.hours}
    most = max(counts.values(), default=0)

    def cell(hour: int) -> dict[str, int]:
        calls = counts.get(hour, 0)
        return {"calls": calls, "level": -(-9 * calls // most) if calls else 0}

    return [{"day": view.say(name), "cells": [cell(24 * day + hour) for hour in range(24)]} for day, name in enumerate(_WEEK)]


async def _first_steps(view: View) -> list[dict[str, Any]]:
    """What is to be done before the first call; nothing when there was one."""
    assert view.project is not None
    services, project = view.services, view.project.id
    if (await services.calls.page(CallQuery(project=project, limit=1)))[0]:
        return []
    scenarios, numbers = await services.catalog.scenarios(project), await services.catalog.numbers(project)
    led = any(number.scenario for number in numbers)
    trunk = any(one.delivers for one in services.trunks())
    steps = [
        (trunk, "A trunk delivers the calls. Whoever runs this server adds your provider to its configuration.",
         "/system", "How"),
        (bool(scenarios), "A scenario says what a number stands for and where its calls go.",
         view.link("scenarios", "new"), "Add a scenario"),
        (led, "A number of your provider leads to the scenario.", view.link("numbers"), "Add a number"),
        (False, "Dial the number: the call is here a second after it ends.", "", ""),
    ]  # fmt: skip
    return [
        {"done": done, "words": view.say(words), "link": link, "action": view.say(action) if action else "", "code": ""}
        for done, words, link, action in steps
    ]


ROUTES = (Route("GET", "/projects/<int:project>", "calls:read", overview),)
