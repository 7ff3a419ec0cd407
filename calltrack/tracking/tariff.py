"""What calls to phone numbers cost: a price for each started minute, by the longest prefix of the number that has one.
Pure; knows no trunks and no calls."""

from __future__ import annotations

import math
from typing import Mapping


class Tariff:
    """`prices`: by prefix (digits of the E.164 form), per started minute, in `currency`; "" is the price of the rest."""

    def __init__(self, prices: Mapping[str, float] = {}, currency: str = "") -> None:
        self.currency = currency
        self._prices = dict(prices)
        self._longest = max(map(len, self._prices), default=0)

    def __bool__(self) -> bool:
        return bool(self._prices)

    def price(self, number: str) -> float | None:
        """For a minute to `number`, with or without its plus; None when no prefix covers it."""
        digits = number.lstrip("+")
        for length in range(min(self._longest, len(digits)), -1, -1):
            price = self._prices.get(digits[:length])
            if price is not None:
                return price
        return None

    def cost(self, number: str, seconds: float) -> float | None:
        """Of `seconds` of conversation; None when no prefix covers the number. A call nobody answered (0 s) costs 0."""
        price = self.price(number)
        return None if price is None else round(price * math.ceil(seconds / 60), 6)
