"""Digest authentication, the server's side (RFC 7616, RFC 8760): challenges, and whether credentials are right.

Knows a realm, a secret and the nonces that were used. Must not know who may do what, how often somebody may guess,
or messages. Nonces are signed instead of stored: nothing is remembered of those who have not proved a password.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from calltrack.errors import MalformedMessage
from calltrack.sip.digest import digest_response, parse_credentials
from calltrack.sip.grammar import quote

ALGORITHMS = ("SHA-256", "MD5")  # as challenged, the preferred one first
NONCE_AGE = 60.0  # seconds for which a nonce is good
MAX_NONCES = 65536  # whose counts are remembered
WINDOW = 64  # counts: how far behind the highest one a late request may be

_NONCE = struct.Struct(">d8s16s")  # issued at, random, signature
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Outcome(Enum):
    """What credentials are worth, and what to answer."""

    ACCEPTED = "accepted"
    WRONG = "wrong"  # unknown user, wrong password, another realm or algorithm: challenge, or refuse
    STALE = "stale"  # the password is right; the nonce is too old, not ours or used: challenge with stale


class Verdict(NamedTuple):
    """An outcome, and the user name that the credentials claim (proved only when they are accepted)."""

    outcome: Outcome
    username: str


class Authenticator:
    """Challenges for one realm, and verifies the answers.

    `now`: seconds by any clock that goes on; nodes that share `secret` share that clock too. `random` makes bytes.
    """

    def __init__(
        self,
        realm: str,
        now: Callable[[], float],
        secret: bytes,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._realm = realm.encode()
        self._now = now
        self._secret = secret
        self._random = random
        self._used: OrderedDict[bytes, _Counts] = OrderedDict()  # by nonce, the oldest use first
        self._forgotten = float("-inf")  # nonces issued until then are not remembered any more, so not good any more

    def challenge(self, stale: bool = False, algorithms: Iterable[str] = ALGORITHMS) -> list[bytes]:
        """Values for WWW-Authenticate or Proxy-Authenticate headers, the strongest first (RFC 8760 section 2.4).
        `algorithms`: fewer of ALGORITHMS, for a peer that cannot read them all."""
        mark = b", stale=true" if stale else b""
        return [
            b"Digest realm=%s, nonce=%s, algorithm=%s, qop=\"auth\"%s"
            % (quote(self._realm), quote(self._nonce()), algorithm.encode(), mark)
            for algorithm in algorithms
        ]

    def verify(self, value: bytes, method: bytes, lookup_ha1: Callable[[str, str], str | None]) -> Verdict:
        """What the credentials in an Authorization or Proxy-Authorization value are worth for `method`.

        `lookup_ha1(username, algorithm)` gives the hex HA1 of a user, or None; ``algorithm`` is one of ALGORITHMS.
        An unknown user costs the same work as a known one. Each count of a nonce is accepted once; wrong
        credentials use none up. Raises MalformedMessage.
        """
        params = parse_credentials(value)
        username = params.get(b"username", b"").decode("utf-8", "replace")
        nonce = params.get(b"nonce", b"")
        algorithm = (params.get(b"algorithm") or b"MD5").upper()
        if algorithm.decode("ascii", "replace") not in ALGORITHMS or params.get(b"realm") != self._realm:
            return Verdict(Outcome.WRONG, username)
        nc = _count(params)
        known = lookup_ha1(username, algorithm.decode())
        ha1 = self._decoy(username) if known is None else known.lower().encode()
        cnonce, uri = params.get(b"cnonce", b""), params.get(b"uri", b"")
        expected = digest_response(algorithm, ha1, method, uri, nonce, cnonce, nc)
        right = hmac.compare_digest(expected, params.get(b"response", b"").lower())
        if not right or known is None:
            return Verdict(Outcome.WRONG, username)
        good = self._issued_here(nonce) and self._use(nonce, int(nc, 16) if nc else 0)
        return Verdict(Outcome.ACCEPTED if good else Outcome.STALE, username)

    def _nonce(self) -> bytes:
        head = struct.pack(">d8s", self._now(), self._random(8))
        return urlsafe_b64encode(head + self._sign(head))

    def _sign(self, text: bytes) -> bytes:
        return hmac.new(self._secret, self._realm + b"\n" + text, hashlib.sha256).digest()[:16]

    def _decoy(self, username: str) -> bytes:
        """An HA1 for a user who does not exist, so that the same work is done."""
        return hmac.new(self._secret, username.encode("utf-8", "replace"), hashlib.sha256).hexdigest().encode()

    def _issued_here(self, nonce: bytes) -> bool:
        try:
            packed = urlsafe_b64decode(nonce)
        except ValueError:
            return False
        if len(packed) != _NONCE.size or urlsafe_b64encode(packed) != nonce:
            return False  # one nonce has one spelling, or its counts would not be found
        issued, _, signature = _NONCE.unpack(packed)
        if not hmac.compare_digest(signature, self._sign(packed[:16])):
            return False
        return 0 <= self._now() - issued <= NONCE_AGE and issued > self._forgotten

    def _use(self, nonce: bytes, count: int) -> bool:
        """Note that a count of a good nonce was used; False when it was used before."""
        counts = self._used.get(nonce)
        if counts is None:
            counts = self._used[nonce] = _Counts()
            self._forget()
        return counts.use(count)

    def _forget(self) -> None:
        """Drop nonces that are too old to be accepted anyway; of too many, those that were first used first."""
        horizon = self._now() - NONCE_AGE
        while self._used:
            oldest = next(iter(self._used))
            issued = _NONCE.unpack(urlsafe_b64decode(oldest))[0]
            if issued >= horizon:
                if len(self._used) <= MAX_NONCES:
                    return
                self._forgotten = max(self._forgotten, issued)
            del self._used[oldest]


class _Counts:
    """Which counts of one nonce were used: the highest, and a window of bits below it, for datagrams overtake."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0

    def use(self, count: int) -> bool:
        if count > self._highest:
            shift = min(count - self._highest, WINDOW)
            self._seen = (self._seen << shift | 1) & ((1 << WINDOW) - 1)
            self._highest = count
            return True
        bit = 1 << (self._highest - count) if self._highest - count < WINDOW else 0
        if not bit or self._seen & bit:
            return False
        self._seen |= bit
        return True


def _count(params: dict[bytes, bytes]) -> bytes:
    """The `nc` of credentials, eight hex digits; empty for the form of RFC 2069, which serves once a nonce."""
    qop = params.get(b"qop", b"").lower()
    if not qop:
        return b""
    nc = params.get(b"nc", b"")
    if qop != b"auth" or not params.get(b"cnonce") or len(nc) != 8 or not _HEX.issuperset(nc):
        raise MalformedMessage("credentials with a wrong qop, cnonce or nc")
    return nc
