"""Slow down and shut out sources that guess passwords, or ask for challenges without end.

Knows source addresses, and when they failed; bounded, whatever comes. Must not know SIP or accounts.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Callable

from twisted.logger import Logger

log = Logger()

FAILURES = 10  # wrong passwords within WINDOW that shut a source out
WINDOW = 60.0  # seconds
SHUT_OUT = 300.0  # seconds
FREE = 3  # wrong passwords that are answered at once; the answers after them come later and later
FIRST_DELAY = 0.25  # seconds
LONGEST_DELAY = 1.0
CHALLENGES = 500  # requests without credentials that a source may have answered at once ...
CHALLENGE_RATE = 20.0  # ... and a second from then on
MAX_SOURCES = 20_000  # remembered at once; the longest unheard of are forgotten first


class Guard:
    """`now`: seconds by a clock that only goes forward. `trusted(host)`: whether a source is never shut out."""

    def __init__(self, now: Callable[[], float], trusted: Callable[[str], bool] = lambda host: False) -> None:
        self._now = now
        self._trusted = trusted
        self._failing: OrderedDict[str, _Failing] = OrderedDict()
        self._asking: OrderedDict[str, tuple[float, float]] = OrderedDict()  # challenges left, and when that was
        self._told: dict[str, float] = {}  # sources that the log has told of, and when

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._failing) + len(self._asking)

    def shut_out(self, host: str) -> bool:
        """Whether a source gets no answer now."""
        source = self._failing.get(_network(host))
        return source is not None and source.shut_until > self._now()

    def worth_telling(self, host: str) -> bool:
        """Whether the log should tell of a source that was refused: once a minute, so that a flood does not fill it."""
        now = self._now()
        if now - self._told.get(host, -WINDOW) < WINDOW:
            return False
        if len(self._told) >= 1000:
            self._told.clear()
        self._told[host] = now
        return True

    def may_ask(self, host: str) -> bool:
        """Whether a source without credentials gets another challenge. It may not be the source it says it is: an
        answer is longer than the question, and somebody else might be flooded with them."""
        key, now = _network(host), self._now()
        left, at = self._asking.pop(key, (float(CHALLENGES), now))
        left = min(float(CHALLENGES), left + (now - at) * CHALLENGE_RATE)
        allowed = left >= 1
        self._asking[key] = (left - 1 if allowed else left, now)
        if len(self._asking) > MAX_SOURCES:
            self._asking.popitem(last=False)
        return allowed

    def proved(self, host: str) -> None:
        """A source has answered a challenge rightly: it is who it says it is, and gets another one instead."""
        known = self._asking.get(_network(host))
        if known is not None:
            left, at = known
            self._asking[_network(host)] = (min(float(CHALLENGES), left + 1), at)

    def failed(self, host: str, mark: int) -> float | None:
        """A source has sent wrong credentials; `mark` tells them from others. Returns the seconds after which to
        answer, None for not at all: the same credentials again are a retransmission whose answer is on its way."""
        if self._trusted(host):
            return 0.0
        key, now = _network(host), self._now()
        source = self._failing.setdefault(key, _Failing())
        self._failing.move_to_end(key)
        if len(self._failing) > MAX_SOURCES:
            self._failing.popitem(last=False)
        if source.last == mark:
            return None if now < source.answer_at else 0.0
        source.last = mark
        source.times = [at for at in source.times if now - at < WINDOW] + [now]
        if len(source.times) >= FAILURES:
            source.times.clear()
            source.shut_until = now + SHUT_OUT
            log.warn(
                "{host} is shut out for {seconds:g} s: {count} wrong passwords in {window:g} s",
                host=host,
                seconds=SHUT_OUT,
                count=FAILURES,
                window=WINDOW,
            )
            return 0.0
        over = len(source.times) - FREE
        delay = min(FIRST_DELAY * 2 ** (over - 1), LONGEST_DELAY) if over > 0 else 0.0
        source.answer_at = now + delay
        return delay


class _Failing:
    """What is known of a source that has sent wrong passwords."""

    __slots__ = ("answer_at", "last", "shut_until", "times")

    def __init__(self) -> None:
        self.times: list[float] = []  # of failures within the window
        self.last = 0  # mark of the last wrong credentials
        self.answer_at = 0.0
        self.shut_until = 0.0


def is_public(host: str) -> bool:
    """Whether an address literal is one of the public internet."""
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_global


def _network(host: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 that one IPv6 subscriber has."""
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))
