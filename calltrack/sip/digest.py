"""Digest authentication (RFC 7616, RFC 8760; RFC 2617 and 2069 for old peers): the sums, and the client's side.

Knows header values, user names and nonces. Must not know messages, transactions or who may be trusted: a challenge
is handed in only when it came in answer to a request of ours.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from calltrack.errors import MalformedMessage
from calltrack.sip.grammar import quote, unquote

MAX_CHALLENGES = 8  # read from one response, and realms remembered
MAX_ANSWERS = 2  # for one request and realm: the first challenge, and one new nonce

# By name as compared: upper case, without "-SESS".
_HASHES: dict[bytes, Callable[[bytes], str]] = {
    b"MD5": lambda text: hashlib.md5(text, usedforsecurity=False).hexdigest(),
    b"SHA-256": lambda text: hashlib.sha256(text).hexdigest(),
    b"SHA-512-256": lambda text: hashlib.new("sha512_256", text).hexdigest(),
}
_SESSION = b"-SESS"
_WEAK = b"MD5"

_TOKEN = rb"[A-Za-z0-9\-.!%*_+`'~]+"
_SCHEME = re.compile(rb"[ \t,]*(%s)(?:[ \t]++|\Z)(?!=)" % _TOKEN)
_PARAM = re.compile(rb'[ \t,]*(%s)[ \t]*=[ \t]*("[^"\\]*(?:\\.[^"\\]*)*"|[^ \t,"]+)' % _TOKEN, re.DOTALL)
_OTHER = re.compile(rb"[ \t,]*[^ \t,]+")  # token68 credentials of other schemes
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One Digest challenge that can be answered: its algorithm is known, and "auth" or nothing is the quality of
    protection that it asks for. Texts are unquoted."""

    realm: bytes
    nonce: bytes
    algorithm: bytes = b""  # as written; empty means MD5
    qop: bool = True  # False: the form of RFC 2069, without nc and cnonce
    opaque: bytes | None = None


@dataclass(frozen=True)
class Credentials:
    """A user name with its password, or with `ha1`: for some algorithms (``MD5``, ``SHA-256``, ``SHA-512-256``) the
    hex hash of user name, realm and password. With `realm`, challenges of other realms are left alone."""

    username: str
    password: str | None = field(default=None, repr=False)
    ha1: Mapping[str, str] = field(default_factory=dict, repr=False)
    realm: str | None = None

    def secret(self, algorithm: bytes, realm: bytes) -> bytes | None:
        """The HA1 for an algorithm and a realm; None when there is none."""
        if self.realm is not None and self.realm.encode() != realm:
            return None
        name = base_algorithm(algorithm)
        if self.password is not None:
            return user_hash(algorithm, self.username.encode(), realm, self.password.encode())
        known = self.ha1.get(name.decode()) if name else None
        return None if known is None else known.lower().encode()


def base_algorithm(algorithm: bytes) -> bytes | None:
    """``MD5``, ``SHA-256`` or ``SHA-512-256`` of an `algorithm` parameter; None when it is unknown."""
    name = (algorithm or b"MD5").upper().removesuffix(_SESSION)
    return name if name in _HASHES else None


def user_hash(algorithm: bytes, username: bytes, realm: bytes, password: bytes) -> bytes:
    """HA1 without the session part, in hex: what a server keeps instead of a password (RFC 7616 section 3.4.2)."""
    return _hash(algorithm, username, realm, password)


def digest_response(
    algorithm: bytes,
    ha1: bytes,
    method: bytes,
    uri: bytes,
    nonce: bytes,
    cnonce: bytes = b"",
    nc: bytes = b"",
) -> bytes:
    """The `response` parameter in hex (RFC 7616 section 3.4.1); without `nc` that of RFC 2069. `ha1` is of
    `user_hash`; the session part of ``-sess`` algorithms is done here."""
    if algorithm.upper().endswith(_SESSION):
        ha1 = _hash(algorithm, ha1, nonce, cnonce)
    ha2 = _hash(algorithm, method, uri)
    return _hash(algorithm, ha1, nonce, nc, cnonce, b"auth", ha2) if nc else _hash(algorithm, ha1, nonce, ha2)


def parse_challenges(values: Iterable[bytes]) -> list[Challenge]:
    """The challenges in WWW-Authenticate or Proxy-Authenticate values that can be answered, in their order.

    Other schemes, unknown algorithms and ``auth-int`` alone are left out. Raises MalformedMessage for what is no
    challenge (no realm, no nonce, a quote that never closes, control characters).
    """
    found = []
    for value in values:
        for scheme, params in _schemes(value):
            if scheme == b"digest" and len(found) < MAX_CHALLENGES:
                challenge = _challenge(params)
                if challenge is not None:
                    found.append(challenge)
    return found


def parse_credentials(value: bytes) -> dict[bytes, bytes]:
    """The parameters of an Authorization or Proxy-Authorization value by lower-case name, unquoted; empty for
    another scheme than Digest. Raises MalformedMessage."""
    for scheme, params in _schemes(value):
        return params if scheme == b"digest" else {}
    raise MalformedMessage("credentials without a scheme")


class DigestClient:
    """Answers challenges with one user's credentials and remembers nonces, so that later requests need no challenge.

    For each new request `begin` is called, then `answer` for each 401 and 407 to it. One client serves the requests
    of one dialog or registration. `cnonce` makes client nonces.
    """

    def __init__(self, credentials: Credentials, cnonce: Callable[[], bytes] = lambda: secrets.token_hex(8).encode()):
        self._credentials = credentials
        self._cnonce = cnonce
        self._sessions: dict[tuple[bytes, bytes], _Session] = {}  # by header name and realm
        self._answered: dict[bytes, list[tuple[bytes, bytes, bytes]]] = {}  # by method: header name, realm, nonce

    def begin(self, method: bytes, uri: bytes) -> list[tuple[bytes, bytes]]:
        """Headers for a new request: the answers to challenges that are known already, or none."""
        self._answered[method] = [(header, realm, s.challenge.nonce) for (header, realm), s in self._sessions.items()]
        return self._headers(method, uri)

    def answer(
        self, method: bytes, uri: bytes, status: int, challenges: list[bytes], others: Iterable[bytes] = ()
    ) -> list[tuple[bytes, bytes]] | None:
        """Headers to repeat the request with, or None: stop, repeating is of no use.

        `challenges`: values of WWW-Authenticate for 401, of Proxy-Authenticate for 407; `others`: values of the other
        of the two headers, where a response carries both. What was answered before is in the result again. It is
        of no use when nothing can be answered, when a nonce that was answered comes again (the credentials are
        wrong, whatever `stale` says), and from the second new nonce on.
        """
        first, second = (b"Authorization", b"Proxy-Authorization")[:: 1 if status == 401 else -1]
        answered = self._answered.setdefault(method, [])
        try:
            chosen = [(first, c) for c in self._strongest(challenges)] + [(second, c) for c in self._strongest(others)]
        except MalformedMessage:
            return None
        for header, challenge in chosen:
            nonces = [nonce for *where, nonce in answered if where == [header, challenge.realm]]
            if challenge.nonce in nonces or len(nonces) >= MAX_ANSWERS:
                return None
            if len(answered) >= MAX_CHALLENGES * MAX_ANSWERS:
                return None  # a peer that makes up realms would keep us repeating for ever
            answered.append((header, challenge.realm, challenge.nonce))
            self._remember(header, challenge)
        return self._headers(method, uri) if chosen else None

    def _strongest(self, values: Iterable[bytes]) -> Iterable[Challenge]:
        """One challenge per realm: the strongest, of equally strong ones the topmost (RFC 8760 section 2.4)."""
        best: dict[bytes, Challenge] = {}
        for challenge in parse_challenges(values):
            if self._credentials.secret(challenge.algorithm, challenge.realm) is None:
                continue
            rival = best.setdefault(challenge.realm, challenge)
            if base_algorithm(rival.algorithm) == _WEAK != base_algorithm(challenge.algorithm):
                best[challenge.realm] = challenge
        return best.values()

    def _remember(self, header: bytes, challenge: Challenge) -> None:
        known = self._sessions.get((header, challenge.realm))
        if known is not None and known.challenge.nonce == challenge.nonce:
            return  # the same nonce for another request: nc goes on counting
        if known is None and len(self._sessions) >= MAX_CHALLENGES:
            del self._sessions[next(iter(self._sessions))]
        secret = self._credentials.secret(challenge.algorithm, challenge.realm) or b""
        self._sessions[header, challenge.realm] = _Session(challenge, secret, self._cnonce())

    def _headers(self, method: bytes, uri: bytes) -> list[tuple[bytes, bytes]]:
        username = self._credentials.username.encode()
        return [(header, session.value(username, method, uri)) for (header, _), session in self._sessions.items()]


class _Session:
    """One nonce in use: what it was challenged with, and how often it was used."""

    def __init__(self, challenge: Challenge, ha1: bytes, cnonce: bytes) -> None:
        self.challenge = challenge
        self._ha1 = ha1
        self._cnonce = cnonce  # one for the life of the nonce, as -sess needs it
        self._uses = 0

    def value(self, username: bytes, method: bytes, uri: bytes) -> bytes:
        """The header value for one more request with this nonce."""
        asked = self.challenge
        self._uses += 1
        nc = b"%08x" % self._uses if asked.qop else b""
        response = digest_response(asked.algorithm, self._ha1, method, uri, asked.nonce, self._cnonce, nc)
        parts = [
            b"Digest username=" + quote(username),
            b"realm=" + quote(asked.realm),
            b"nonce=" + quote(asked.nonce),
            b"uri=" + quote(uri),
            b'response="' + response + b'"',
        ]
        if asked.algorithm:
            parts.append(b"algorithm=" + asked.algorithm)
        if asked.qop or asked.algorithm.upper().endswith(_SESSION):
            parts.append(b"cnonce=" + quote(self._cnonce))
        if asked.opaque is not None:
            parts.append(b"opaque=" + quote(asked.opaque))
        if asked.qop:
            parts += [b"qop=auth", b"nc=" + nc]
        return b", ".join(parts)


def _hash(algorithm: bytes, *parts: bytes) -> bytes:
    name = base_algorithm(algorithm)
    if name is None:
        raise ValueError(f"unknown digest algorithm {algorithm!r}")
    return _HASHES[name](b":".join(parts)).encode("ascii")


def _challenge(params: dict[bytes, bytes]) -> Challenge | None:
    if b"realm" not in params or not params.get(b"nonce"):
        raise MalformedMessage("a challenge without realm or nonce")
    algorithm = params.get(b"algorithm", b"")
    offered = [option.strip(b" \t").lower() for option in params.get(b"qop", b"").split(b",")]
    if base_algorithm(algorithm) is None or not (b"auth" in offered or offered == [b""]):
        return None
    return Challenge(
        realm=params[b"realm"],
        nonce=params[b"nonce"],
        algorithm=algorithm,
        qop=b"auth" in offered,
        opaque=params.get(b"opaque"),
    )


def _schemes(value: bytes) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Each authentication scheme of a header value, in lower case, with its parameters; the first of a repeated
    parameter counts. Several may be joined by commas, as HTTP allows and some SIP peers do."""
    if _CONTROL.search(value):
        raise MalformedMessage("control characters in a challenge or credentials")
    value, position = value.rstrip(b" \t,"), 0
    while position < len(value):
        scheme = _SCHEME.match(value, position)
        if scheme is None:
            raise MalformedMessage("a challenge or credentials without a scheme")
        name, params = scheme[1].lower(), {}
        position = scheme.end()
        while position < len(value):
            param = _PARAM.match(value, position)
            if param is not None:
                params.setdefault(param[1].lower(), unquote(param[2]))
                position = param.end()
            elif name != b"digest" and not params and (other := _OTHER.match(value, position)):
                params[b""] = other[0]
                position = other.end()
            else:
                break
        yield name, params
