"""Which algorithms a device is challenged with (RFC 8760): both, or MD5 alone when it cannot read more.

Old phones give up at a challenge with an algorithm they do not know, though the next one is theirs. Such a device
comes back without credentials, and is offered MD5 alone then. Knows requests and, bounded, what was offered; nothing
of users and passwords.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable

from calltrack.sip.authenticator import ALGORITHMS
from calltrack.sip.digest import parse_credentials
from calltrack.sip.message import Request

MD5_ALONE = ("MD5",)
SOON = 1.0  # seconds: what comes back sooner has not given up, it is somebody else or asks once more
MAX_DEVICES = 10_000  # remembered; the longest unheard of are forgotten first

# What gives up at SHA-256, in some versions that are in use, need not fail first: by the beginning of its User-Agent, or
# by the branches that only sipp makes, which may call itself anything.
_PRODUCTS = (b"asterisk", b"baresip v0.", b"baresip v1.", b"fpbx", b"freeswitch", b"kamailio", b"mikopbx")
_SIPP_BRANCH = re.compile(rb"z9hG4bK-[0-9]+-[0-9]+-[0-9]+\Z")


class _Offer:
    """What was offered last, in which request, and whether it was answered."""

    __slots__ = ("algorithms", "answered", "at", "request")

    def __init__(self, request: tuple[bytes, int], at: float) -> None:
        self.algorithms = ALGORITHMS
        self.request = request  # Call-ID and CSeq: a retransmission has the same
        self.at = at
        self.answered = False


class Offers:
    """What was offered to whom: to a source address that wants into one account. A device may come with another port
    and Call-ID each time. `now`: seconds by a clock that only goes forward."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._offers: OrderedDict[tuple[str, int], _Offer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._offers)

    def for_request(self, register: Request, host: str) -> tuple[str, ...]:
        """The algorithms to challenge a request without credentials with."""
        product = (register.get(b"user-agent") or b"").lower()
        if product.startswith(_PRODUCTS) or _SIPP_BRANCH.match(register.via.branch):
            return MD5_ALONE
        key, request = _key(register, host), (register.call_id, register.cseq[0])
        offer = self._offers.get(key)
        if offer is None:
            offer = self._offers[key] = _Offer(request, self._now())
            if len(self._offers) > MAX_DEVICES:
                self._offers.popitem(last=False)
        elif offer.request != request:
            if not offer.answered and self._now() - offer.at >= SOON:
                offer.algorithms = MD5_ALONE if offer.algorithms == ALGORITHMS else ALGORITHMS
            offer.request, offer.at, offer.answered = request, self._now(), False
        self._offers.move_to_end(key)
        return offer.algorithms

    def answered(self, register: Request, host: str) -> None:
        """Credentials have come: what was offered could be read."""
        offer = self._offers.get(_key(register, host))
        if offer is not None:
            offer.answered = True


def _key(register: Request, host: str) -> tuple[str, int]:
    return host, hash(register.to.uri)  # the text itself may be long


def offered_after(credentials: Iterable[bytes]) -> tuple[str, ...]:
    """What to challenge a device with that has sent these credentials: MD5 alone when that is all it has used."""
    used = {(parse_credentials(value).get(b"algorithm") or b"MD5").upper() for value in credentials}
    return MD5_ALONE if used == {b"MD5"} else ALGORITHMS
