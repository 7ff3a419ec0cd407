"""Words of the page in English and Russian, and how dates, durations and numbers are written. Knows no requests.

Templates and modules say things in English; `words/ru.json` has the rest. A key with a list has plural forms.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from functools import cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from calltrack.errors import CalltrackError, InvalidField, Sentence, StoreUnavailable, filled

_STORE_FAILED = "What calltrack keeps its calls and settings in does not answer; its log says why. Try again in a minute."
LANGUAGES = {"en": "English", "ru": "Русский"}


@cache
def _table(language: str) -> dict[str, Any]:
    file = resources.files("calltrack.web").joinpath("words").joinpath(f"{language}.json")
    return json.loads(file.read_text("utf-8"))


class Words:
    """One language, and the wall clock of one time zone."""

    def __init__(self, language: str = "en", zone: str = "UTC") -> None:
        self.language = language if language in LANGUAGES else "en"
        self.zone = ZoneInfo(zone)
        self._table = _table(self.language)

    def say(self, text: str, **values: Any) -> str:
        """`text` in this language, its ``{names}`` filled in."""
        found = self._table.get(text, text)
        said = found if isinstance(found, str) else text
        return said.format(**values) if values else said

    def tell(self, words: str) -> str:
        """Words of a service, such as why it refuses, in this language; as they stand when they have no translation."""
        if not isinstance(words, Sentence):
            return self.say(words)
        template = self._table.get(words.template, words.template)
        return filled(template, {name: self._part(value) for name, value in words.values.items()})

    def _part(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._part(one) for one in value]
        return self.tell(value) if isinstance(value, Sentence) else value  # what somebody typed is no word of ours

    def refusal(self, error: CalltrackError) -> str:
        """An error in this language, as `str()` gives it in English."""
        if isinstance(error, InvalidField):
            return self.about(error.field, self.tell(error.words))
        if isinstance(error, StoreUnavailable) and not self._knows(error):
            return self.say(_STORE_FAILED)
        return self.tell(error.args[0]) if error.args and isinstance(error.args[0], str) else str(error)

    def about(self, field: str, words: str) -> str:
        """Words on a field: its name in front, in this language."""
        return f"{self.say(field + ':')} {words}"

    def _knows(self, error: CalltrackError) -> bool:
        """Whether the words of `error` are in English as asked, or have a translation."""
        words = error.args[0] if error.args else ""
        return self.language == "en" or getattr(words, "template", words) in self._table

    def count(self, number: int, text: str) -> str:
        """`text`, such as ``{n} calls``, in the form that goes with `number`."""
        forms = self._table.get(text, [text])
        return forms[min(_form(self.language, number), len(forms) - 1)].format(n=self.whole(number))

    def whole(self, number: float) -> str:
        """1 234 567, with spaces that do not break."""
        return f"{round(number):,}".replace(",", "\u00a0" if self.language == "ru" else ",")

    def share(self, part: float, whole: float) -> str:
        """A percentage; a dash of nothing."""
        return f"{100 * part / whole:.0f}\u00a0%" if whole else "–"

    def duration(self, seconds: float, hours: bool = False) -> str:
        """``1:02:03`` or ``2:03``; `hours`: always the first."""
        minutes, rest = divmod(round(seconds), 60)
        whole, minutes = divmod(minutes, 60)
        return f"{whole}:{minutes:02d}:{rest:02d}" if whole or hours else f"{minutes}:{rest:02d}"

    def at(self, milliseconds: int | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
        """An instant by the wall clock; "" for none."""
        if milliseconds is None:
            return ""
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).astimezone(self.zone).strftime(form)


def _form(language: str, number: int) -> int:
    """Which plural form `number` takes."""
    if language != "ru":
        return 0 if number == 1 else 1
    if number % 10 == 1 and number % 100 != 11:
        return 0
    return 1 if number % 10 in (2, 3, 4) and number % 100 not in (12, 13, 14) else 2


def preferred(accepted: str) -> str:
    """The first language of an Accept-Language header that we speak."""
    for part in accepted.split(","):
        language = part.partition(";")[0].strip(" ").partition("-")[0].lower()
        if language in LANGUAGES:
            return language
    return "en"


_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060\u2066-\u2069\ufeff]")


def seen(value: Any) -> Any:
    """Text of strangers with what nobody sees written out, as ``\\u202e``: the order of what is read is not theirs to
    turn, and two names that differ look different. Markup of ours, and what is no text, stays as it is."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", value)


def phone(digits: str) -> str:
    """A number as people read it, ``+1 123-123-4567``; what is no number stays as it is."""
    if not digits.isascii() or not digits.isdigit() or len(digits) < 7:
        return digits
    import phonenumbers

    try:
        number = phonenumbers.parse("+" + digits, None)
    except phonenumbers.NumberParseException:
        return "+" + digits
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
