"""Telephone numbers at the edges: what people type and trunks dial -> digits of the E.164 form.

Knows national dialling rules (by phonenumbers) and that a number which fits none of them is still a
number: it is kept by its digits. Must not know who owns a number, nor SIP.
"""

from __future__ import annotations

import re
from functools import lru_cache

from calltrack.errors import InvalidField, Sentence
from calltrack.tracking.targets import quoted

MIN_DIGITS, MAX_DIGITS = 3, 15  # short codes; ITU-T E.164 section 6.1

_KEPT_DIGITS = 32  # of a dialled user: no number has as many, so a cut one matches none
_NUMBER = re.compile(r"\+?[0-9()\-./ \u00a0\u2010-\u2015]*\Z")
_NOT_DIGIT = re.compile("[^0-9]+")


def normalise(text: str, country: str = "", field: str = "number") -> str:
    """The digits of the E.164 form of `text`, without plus: ``11231234567``. National forms are read
    by the rules of `country` (ISO 3166 code, "" = none).

    Raises InvalidField naming `field` when `text` is no number of 3 to 15 digits.
    """
    digits = dialled_digits(text, country) if ";" not in text else ""
    if not MIN_DIGITS <= len(digits) <= MAX_DIGITS:
        raise InvalidField(
            field,
            Sentence(
                "{text} is no telephone number; allowed: {least} to {most} digits, with or without + and separators, as in 11231234567 or +1 123 123 4567",
                text=quoted(text),
                least=MIN_DIGITS,
                most=MAX_DIGITS,
            ),
        )
    return digits


@lru_cache(maxsize=16384)
def dialled_digits(user: str, country: str) -> str:
    """The digits of the E.164 form of what a trunk dialled: a SIP user or tel number (escapes decoded,
    parameters allowed). "" when it holds anything but digits, separators and a leading plus. Never raises.
    """
    number = user.partition(";")[0].strip(" ")
    if not _NUMBER.match(number):
        return ""
    digits = _NOT_DIGIT.sub("", number)[:_KEPT_DIGITS]
    if number.startswith("+"):
        return digits
    if digits.startswith("00"):
        return digits[2:]
    return _international(digits, country) if country else digits


def _international(digits: str, country: str) -> str:
    """`digits` with the country's code in front when they are a national number of `country`.

    Trunks leave out the plus, so a number that is one with it wins over a national reading, unless
    only the national one is an assigned number.
    """
    by_length = _by_length(digits, country)
    if by_length:
        return by_length
    import phonenumbers  # slow to import, and needed only with a country
    from phonenumbers import NumberParseException, ValidationResult

    def parse(text: str, region: str | None):
        try:
            return phonenumbers.parse(text, region)
        except NumberParseException:
            return None

    def possible(number) -> bool:
        return (
            number is not None and phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
        )

    def valid(number) -> bool:
        return number is not None and phonenumbers.is_valid_number(number)

    abroad, home = parse("+" + digits, None), parse(digits, country)
    if abroad is not None and valid(abroad) and abroad.country_code == phonenumbers.country_code_for_region(country):
        return digits
    if valid(home):
        return _e164(home)
    if valid(abroad) or possible(abroad) or not possible(home):
        return digits
    return _e164(home)


def _by_length(digits: str, country: str) -> str:
    """The E.164 digits when the length leaves one reading only, as in North America; else "". Looking a
    number up costs a millisecond, and nearly every call has a caller that was never seen before."""
    code, prefix, lengths = _plan(country)
    if len(lengths) > 2:  # nearly any number may be a national one
        return ""
    national = digits[len(prefix) :] if prefix and digits.startswith(prefix) else digits
    readings = set()
    if digits.startswith(code) and len(digits) - len(code) in lengths:
        readings.add(digits)
    if len(national) in lengths:
        readings.add(code + national)
    return readings.pop() if len(readings) == 1 else ""


@lru_cache(maxsize=512)
def _plan(country: str) -> tuple[str, str, tuple[int, ...]]:
    """Country code, national prefix and lengths of national numbers of `country`."""
    import phonenumbers

    plan = phonenumbers.PhoneMetadata.metadata_for_region(country)
    if plan is None:
        return "", "", ()
    return str(plan.country_code), plan.national_prefix or "", tuple(plan.general_desc.possible_length)


def _e164(number) -> str:
    import phonenumbers

    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
