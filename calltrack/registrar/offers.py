"""Which algorithms a device is challenged with (RFC 8760): both, or MD5 alone when it cannot read more.

Old phones give up at a challenge with an algorithm they do not know, though the next one is theirs. Such a device
comes back without credentials, and is offered MD5 alone then. Knows requests and, bounded, what was offered; nothing
of users and passwords.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable

from calltrack.sip.authenticator import ALGORITHMS
from calltrack.sip.digest import parse_credentials
from calltrack.sip.message import Request

MD5_ALONE = ("MD5",)
MAX_DEVICES = 10_000  # remembered; the longest unheard of are forgotten first

# What is known to give up at SHA-256 need not fail first: by the beginning of its User-Agent, or by the branches that
# only sipp makes, which may call itself anything.
_PRODUCTS = (b"baresip v0.", b"baresip v1.")
_SIPP_BRANCH = re.compile(rb"z9hG4bK-[0-9]+-[0-9]+-[0-9]+\Z")

Device = tuple[str, bytes]  # source address and Call-ID, which is one for all REGISTERs of a device


class _Offer:
    """What a device was offered last, in which request, and whether it has answered to that."""

    __slots__ = ("algorithms", "answered", "cseq")

    def __init__(self, algorithms: tuple[str, ...], cseq: int) -> None:
        self.algorithms = algorithms
        self.cseq = cseq
        self.answered = False


class Offers:
    """What each device was offered."""

    def __init__(self) -> None:
        self._offers: OrderedDict[Device, _Offer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._offers)

    def for_request(self, register: Request, host: str) -> tuple[str, ...]:
        """The algorithms to challenge a request without credentials with."""
        if (register.get(b"user-agent") or b"").startswith(_PRODUCTS) or _SIPP_BRANCH.match(register.via.branch):
            return MD5_ALONE
        device, cseq = (host, register.call_id), register.cseq[0]
        offer = self._offers.get(device)
        if offer is None:
            offer = self._offers[device] = _Offer(ALGORITHMS, cseq)
            if len(self._offers) > MAX_DEVICES:
                self._offers.popitem(last=False)
        elif offer.cseq != cseq:  # else a retransmission
            if not offer.answered:
                offer.algorithms = MD5_ALONE if offer.algorithms == ALGORITHMS else ALGORITHMS
            offer.cseq, offer.answered = cseq, False
        self._offers.move_to_end(device)
        return offer.algorithms

    def answered(self, register: Request, host: str) -> None:
        """A device has sent credentials: it could read what it was offered."""
        offer = self._offers.get((host, register.call_id))
        if offer is not None:
            offer.answered = True


def offered_after(credentials: Iterable[bytes]) -> tuple[str, ...]:
    """What to challenge a device with that has sent these credentials: MD5 alone when that is all it has used."""
    used = {(parse_credentials(value).get(b"algorithm") or b"MD5").upper() for value in credentials}
    return MD5_ALONE if used == {b"MD5"} else ALGORITHMS
