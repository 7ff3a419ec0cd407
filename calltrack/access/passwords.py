"""Passwords of people: judged, hashed by argon2id and compared, in threads. Knows no people and no stores."""

from __future__ import annotations

from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThreadPool

from calltrack.errors import InvalidField, Sentence

MIN_PASSWORD = 10  # characters
MAX_PASSWORD = 256
AT_ONCE = 2  # each takes 64 MiB and most of a core for some 50 ms

_COMMON = ("password", "123456", "qwerty", "calltrack", "letmein", "iloveyou", "пароль", "йцукен")


def broken_rules(password: str, name: str = "") -> list[str]:
    """What is wrong with a password, in words; nothing when it may be used."""
    plain = password.lower()
    rules = (
        (len(password) >= MIN_PASSWORD, f"has fewer than {MIN_PASSWORD} characters"),
        (len(password) <= MAX_PASSWORD, f"has more than {MAX_PASSWORD} characters"),
        (password.isprintable(), "has a control character or line break"),
        (len(set(password)) >= 5, "has fewer than 5 different characters"),
        (not name or name.lower() not in plain, "holds the name"),
        (not any(word in plain for word in _COMMON), "is among the first that are tried"),
    )
    return [words for kept, words in rules if not kept]


def check_password(password: str, name: str = "") -> None:
    """Raises InvalidField that names every rule `password` breaks."""
    broken = broken_rules(password, name)
    if broken:
        raise InvalidField(
            "password",
            Sentence(
                "{broken}; allowed: at least {least} characters that nobody guesses",
                broken=[Sentence(rule) for rule in broken],
                least=MIN_PASSWORD,
            ),
        )


class Passwords:
    """Hashes and compares in the threads of `reactor`, few at once: the rest wait, and the reactor does not."""

    def __init__(self, reactor: Any, hasher: PasswordHasher | None = None) -> None:
        self._reactor = reactor
        self._hasher = hasher or PasswordHasher()
        self._turn = DeferredSemaphore(AT_ONCE)
        self._decoy = ""  # what is compared when nobody has the name, so that it takes as long

    def hashed(self, password: str) -> Deferred[str]:
        """Fires with the argon2id hash to keep."""
        return self._turn.run(self._in_thread, self._hasher.hash, password)

    async def right(self, kept: str, password: str) -> bool:
        """Whether `password` is the one that `kept` was made of; takes as long when there is none."""
        if not kept:
            self._decoy = self._decoy or await self.hashed("nobody has this password")
        same = await self._turn.run(self._in_thread, self._same, kept or self._decoy, password[: MAX_PASSWORD + 1])
        return same and bool(kept)

    def stale(self, kept: str) -> bool:
        """Whether a hash should be made anew, with today's parameters."""
        return self._hasher.check_needs_rehash(kept)

    def _same(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    def _in_thread(self, function: Any, *args: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *args)
