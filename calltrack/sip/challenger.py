"""Challenge requests, and judge what comes back (RFC 3261 section 22, RFC 8760): who guesses passwords is answered later
and later, and then not at all. Knows an authenticator and a guard of sources; not what a proved user may do.

Nothing is kept of a request that is refused, but for the ones that are answered late.
"""

from __future__ import annotations

from typing import Callable, Iterable, Protocol

from twisted.logger import Logger

from calltrack.sip.authenticator import Authenticator, Outcome
from calltrack.sip.digest import parse_credentials
from calltrack.sip.flows import Flow
from calltrack.sip.layer import Refusal
from calltrack.sip.message import Request
from calltrack.timers import Timers

log = Logger()

MAX_LATE = 1000  # refusals that wait at once
MAX_CREDENTIALS = 2  # of one request that are tried: one an algorithm


class Guard(Protocol):
    """What is remembered of sources (`calltrack.registrar.guard`)."""

    def shut_out(self, host: str) -> bool: ...
    def may_ask(self, host: str) -> bool: ...
    def proved(self, host: str) -> None: ...
    def failed(self, host: str, mark: int) -> float | None: ...
    def worth_telling(self, host: str) -> bool: ...


class Challenger:
    """Of one realm. `refuse(request, flow, refusal)` answers without a transaction; `count(what)` is told of refusals."""

    def __init__(
        self,
        timers: Timers,
        realm: str,
        secret: bytes,
        guard: Guard,
        refuse: Callable[[Request, Flow, Refusal], None],
        count: Callable[[str], None] = lambda what: None,
    ) -> None:
        self.guard = guard
        self.realm = realm.encode()
        self._timers = timers
        self._authenticator = Authenticator(realm, timers.now, secret)
        self._refuse = refuse
        self._count = count
        self._late = 0

    def credentials(self, request: Request) -> list[bytes]:
        """The Authorization values of a request that are for this realm. Raises MalformedMessage."""
        if b"authorization" not in request.names():
            return []
        return [v for v in request.all(b"authorization") if parse_credentials(v).get(b"realm") == self.realm]

    def challenge(self, flow: Flow, algorithms: Callable[[], Iterable[str]]) -> Refusal:
        """What to answer a request without credentials: 401, or nothing when its source asks too often."""
        if not self.guard.may_ask(flow.remote.host):
            self._count("ignored")
            return Refusal(0)
        return self._challenge(algorithms())

    def judge(
        self,
        request: Request,
        flow: Flow,
        values: list[bytes],
        lookup_ha1: Callable[[str, str], str | None],
        algorithms: Iterable[str],
    ) -> Refusal | str:
        """The user name that credentials prove, or what to answer. `lookup_ha1`: as of `Authenticator.verify`;
        `algorithms`: to challenge with again. Raises MalformedMessage."""
        host = flow.remote.host
        for value in values[:MAX_CREDENTIALS]:
            verdict = self._authenticator.verify(value, request.method, lookup_ha1)
            if verdict.outcome is not Outcome.WRONG:
                break
        if verdict.outcome is Outcome.WRONG:
            self._count("wrong_credentials")
            return self._wrong(request, flow, hash(tuple(values)), algorithms)
        if verdict.outcome is Outcome.STALE:
            return self._challenge(algorithms, stale=True)
        self.guard.proved(host)
        return verdict.username

    def _challenge(self, algorithms: Iterable[str], stale: bool = False) -> Refusal:
        self._count("challenges")
        values = self._authenticator.challenge(stale, algorithms)
        return Refusal(401, tuple(b"WWW-Authenticate: " + value for value in values))

    def _wrong(self, request: Request, flow: Flow, mark: int, algorithms: Iterable[str]) -> Refusal:
        """The answer is the one for no credentials, sooner or later."""
        delay = self.guard.failed(flow.remote.host, mark)
        if delay is None or (delay and self._late >= MAX_LATE):
            return Refusal(0)
        if self.guard.worth_telling(flow.remote.host):
            log.info("wrong user name or password from {host}", host=flow.remote.host)
        if not delay:
            return self._challenge(algorithms)
        self._late += 1
        self._timers.after(delay, self._refuse_late, (request, flow, algorithms))
        return Refusal(0)

    def _refuse_late(self, refused: tuple[Request, Flow, Iterable[str]]) -> None:
        request, flow, algorithms = refused
        self._late -= 1
        self._refuse(request, flow, self._challenge(algorithms))
