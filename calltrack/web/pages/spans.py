"""The time that a report covers, by the wall clock of its project. Knows dates; no calls."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from typing import NamedTuple

from calltrack.errors import InvalidField
from calltrack.web.pages.view import View

MAX_DAYS = 1096


class Days(NamedTuple):
    """From the beginning of `first` to the end of `last`."""

    first: date
    last: date
    days: int
    since: int  # milliseconds since the Unix epoch
    until: int

    def before(self, view: View) -> "Days":
        """As many days before these."""
        return _days(view, self.first - timedelta(days=self.days), self.first - timedelta(days=1))


def asked(view: View, usual: int = 30) -> Days:
    """``days``, or ``from`` and ``to``, of the query; what cannot be read is left out."""
    today = datetime.fromtimestamp(view.services.wall_ms() / 1000, timezone.utc).astimezone(view.words.zone).date()
    last = _date(view.given("to")) or today
    count = view.given("days")
    days = min(int(count), MAX_DAYS) if count.isascii() and count.isdigit() and len(count) < 5 and int(count) else usual
    first = _date(view.given("from")) or last - timedelta(days=days - 1)
    if first > last:
        first, last = last, first
    return _days(view, max(first, last - timedelta(days=MAX_DAYS - 1)), last)


def instant(view: View, field: str, end: bool = False) -> int | None:
    """The beginning, or the end, of the day that a field of the query names; None for none. Raises InvalidField."""
    text = view.given(field)
    if not text:
        return None
    day = _date(text)
    if day is None:
        raise InvalidField(field, view.say("is no date; write it as 2026-11-23"))
    return _midnight(view, day + timedelta(days=1) if end else day)


def _days(view: View, first: date, last: date) -> Days:
    since, until = _midnight(view, first), _midnight(view, last + timedelta(days=1))
    return Days(first, last, (last - first).days + 1, since, until)


def _midnight(view: View, day: date) -> int:
    return round(datetime.combine(day, time(), view.words.zone).timestamp() * 1000)


def _date(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if date(1990, 1, 1) <= found <= date(2200, 1, 1) else None
