"""How often browsers may ask: token buckets of addresses and projects in bounded memory. Knows no HTTP."""

from __future__ import annotations

import math

REMEMBERED = 20_000  # addresses; of more, those that were quiet longest begin anew
PATIENT_RATE, PATIENT_BURST = 0.1, 3.0  # what one address may do while its project is flooded


class Buckets:
    """Token buckets by name: each holds `burst` tokens and regains `rate` a second."""

    def __init__(self, rate: float, burst: float, remembered: int = REMEMBERED) -> None:
        self._rate = rate
        self._burst = burst
        self._remembered = remembered
        self._levels: dict[str, tuple[float, float]] = {}  # tokens and when; the one asked for last is the last

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, name: str, cost: float, now: float) -> float:
        """0 when `cost` tokens have been taken; else nothing was, and it is the seconds until they are there."""
        tokens, at = self._levels.pop(name, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        short = cost - tokens
        self._levels[name] = (tokens if short > 0 else tokens - cost, now)
        if len(self._levels) > self._remembered:
            del self._levels[next(iter(self._levels))]
        return max(0.0, short) / self._rate


class VisitLimits:
    """Limits of one address and of one project. A flood takes from its project's bucket; when that is empty, an
    address gets through that has asked little lately, so that honest visitors of a flooded site are still served."""

    def __init__(self, per_address: float, per_project: float) -> None:
        """New visits a second; of each, as many as that for a minute (an address) or two seconds (a project) at once."""
        self._addresses = Buckets(per_address, per_address * 60)
        self._patient = Buckets(PATIENT_RATE, PATIENT_BURST)
        self._projects = Buckets(per_project, per_project * 2)

    def refusal(self, project: str, address: str, cost: float, now: float) -> int:
        """0: go on. Else whole seconds after which to ask again. A new visit costs 1, a sign of life less."""
        wait = self._addresses.take(address, cost, now)
        if not wait:
            wait = self._projects.take(project, cost, now) and self._patient.take(address, cost, now)
        return math.ceil(wait)
