"""Decide whose packets belong to a stream (symmetric RTP, RFC 4961) without an open door (RTP Bleed).

A description names where a party wants packets, and a well-behaved phone sends from there. The order of trust:

    NAMED      the very address and port that the description names
    ADDRESS    its address with another port (a NAT changed it), or, when the named address is a private one that
               its party's signalling does not come from, the address that the signalling comes from
    ELSEWHERE  any other public source, and only of a party behind such a NAT; must be the only one that sends during a
               learning window
    STRANGER   everybody else: never heard

A source is replaced by a more trusted one whenever that one speaks, never by a less trusted one. Knows addresses and
times; knows no sockets.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

STRANGER, ELSEWHERE, ADDRESS, NAMED = range(4)

LEARNING = 0.2  # seconds that a source from elsewhere must be alone
_PAUSE = 0.1  # seconds of silence after which it begins again

Address = tuple[str, int]


class Latch:
    """What one lane knows of its far end: the `named` address (None before there is a description) and the
    host that its party's signalling goes to."""

    __slots__ = ("_candidate", "_last", "_signalling", "_since", "named")

    def __init__(self) -> None:
        self.named: Address | None = None
        self._signalling = ""
        self._candidate: Address | None = None
        self._since = self._last = 0.0

    def describe(self, named: Address, signalling: str) -> None:
        self.named = named
        self._signalling = signalling
        self._candidate = None

    def trust(self, source: Address) -> int:
        """STRANGER to NAMED. ELSEWHERE is to be learned before it is heard."""
        named = self.named
        if named is None:
            return STRANGER
        if source[0] == named[0]:
            return NAMED if source[1] == named[1] else ADDRESS
        if named[0] == self._signalling or is_public(named[0]):
            return STRANGER  # no NAT between this party and us
        if source[0] == self._signalling:
            return ADDRESS
        return ELSEWHERE if is_public(source[0]) else STRANGER

    def learned(self, source: Address, now: float) -> bool:
        """A packet came from `source`, which is ELSEWHERE: has it been alone for a whole window?"""
        if source != self._candidate or now - self._last > _PAUSE:
            self._candidate = source
            self._since = now
        self._last = now
        return now - self._since >= LEARNING


@lru_cache(maxsize=4096)
def is_public(host: str) -> bool:
    """Whether packets from this address can come through the Internet: a NAT hides every other."""
    return ip_address(host).is_global
