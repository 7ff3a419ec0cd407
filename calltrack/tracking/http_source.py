"""Ask a program of one's own, over HTTP, where a call goes and which visit it belongs to.

    GET URL?number=11231234567&caller=12025550143&at=1795457000.123
    200 {"project": 1, "targets": ["sip:office@example.com", "phone:+74951234567"], "marker": "google", "visit": 17}
    404  the number is nobody's

An answer is kept for `cache` seconds, and as last known route for as long as the process lives; a number that was never asked for
has the catalog's. Knows HTTP by treq; no SIP, no SQL.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from calltrack import __version__
from calltrack.errors import InvalidField, StoreUnavailable
from calltrack.interfaces import IBackend, IHealth, IScenarioSource
from calltrack.tracking.markers import clean_marker
from calltrack.tracking.model import Attribution, RingMode, Route
from calltrack.tracking.targets import parse_target

if TYPE_CHECKING:
    from calltrack.plugins.context import Context

LARGEST = 65536  # bytes of an answer
MOST = 10_000  # answers that are kept


class HTTPSourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask and for how long."""

    url: str
    token: str = ""  # sent as `Authorization: Bearer`
    timeout: float = 0.15  # seconds; the engine's own budget, `[calls] lookup_budget`, ends a lookup too
    cache: float = 5.0  # seconds that an answer for the same number and caller counts; 0 = each call is asked for

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("url: write http://host/path or https://host/path, without a query")
        if not 0.01 <= self.timeout <= 5 or not 0 <= self.cache <= 3600:
            raise ValueError("timeout: 0.01 to 5 (seconds); cache: 0 to 3600 (seconds)")
        if not self.token.isascii() or not (self.token == "" or self.token.isprintable()):
            raise ValueError("token: letters, digits and signs of ASCII only")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a 200. Targets as `calltrack scenario add --forward` takes them."""

    project: int
    targets: list[str] = []
    scenario: int | None = None
    ring: RingMode = "in-order"
    marker: str = ""
    visit: int | None = None
    reason: str = ""
    record: bool = False


@implementer(IScenarioSource, IHealth)
class HTTPScenarios(Service):
    """See IScenarioSource. `client`: a treq client."""

    def __init__(self, reactor: Any, settings: HTTPSourceSettings, beside: IScenarioSource | None, client: Any = None) -> None:
        self._reactor = reactor
        self._settings = settings
        self._beside = beside
        self._client = client
        self._pool: Any = None
        self._kept: OrderedDict[tuple[str, str], tuple[float, Route | None]] = OrderedDict()
        self._last: OrderedDict[str, Route] = OrderedDict()
        self._failing = ""  # what went wrong the last time

    def startService(self) -> None:
        super().startService()
        if self._client is None:
            from treq.client import HTTPClient
            from twisted.web.client import Agent, HTTPConnectionPool

            self._pool = HTTPConnectionPool(self._reactor, persistent=True)
            self._pool.maxPersistentPerHost = 8
            self._client = HTTPClient(Agent(self._reactor, connectTimeout=self._settings.timeout, pool=self._pool))

    def stopService(self) -> Any:
        super().stopService()
        return self._pool.closeCachedConnections() if self._pool is not None else None

    def lookup(self, dialled: str, caller: str, at: float) -> Deferred[Route | None]:
        return Deferred.fromCoroutine(self._lookup(dialled, caller, at))

    def last_known(self, dialled: str) -> Route | None:
        route = self._last.get(dialled)
        return route if route is not None or self._beside is None else self._beside.last_known(dialled)

    def health(self) -> Deferred[str]:
        """As of the last lookup: nobody is asked for it."""

        async def tell() -> str:
            return self._failing

        return Deferred.fromCoroutine(tell())

    async def _lookup(self, dialled: str, caller: str, at: float) -> Route | None:
        key, now = (dialled, caller), self._reactor.seconds()
        until, route = self._kept.get(key, (0.0, None))
        if now < until:
            return route
        try:
            route = await self._ask(dialled, caller, at)
        except StoreUnavailable as problem:
            self._failing = str(problem)
            raise
        self._failing = ""
        if self._settings.cache:
            _keep(self._kept, key, (now + self._settings.cache, route))
        if route is not None:
            _keep(self._last, dialled, route)
        else:
            self._last.pop(dialled, None)
        return route

    async def _ask(self, dialled: str, caller: str, at: float) -> Route | None:
        settings = self._settings
        query = {"number": dialled, "caller": caller, "at": f"{at:.3f}"}
        headers = {"Authorization": [f"Bearer {settings.token}"]} if settings.token else {}
        asking = Deferred.fromCoroutine(self._get(query, headers))
        end = self._reactor.callLater(settings.timeout, asking.cancel)
        try:
            status, body = await asking
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever a connection may fail with, and being cancelled in the middle of it
            late = not end.active()
            why = f" has not answered within {settings.timeout:g} s" if late else f": {error or type(error).__name__}"
            raise StoreUnavailable(settings.url + why) from error
        finally:
            if end.active():
                end.cancel()
        if status == 404:
            return None
        if status != 200:
            raise StoreUnavailable(f"{settings.url} answers {status}")
        try:
            return _route(dialled, msgspec.json.decode(body, type=Answer))
        except (msgspec.MsgspecError, InvalidField) as error:
            raise StoreUnavailable(f"{settings.url}: the answer is no route: {error}") from error

    async def _get(self, query: dict[str, str], headers: dict[str, list[str]]) -> tuple[int, bytes]:
        response = await self._client.get(self._settings.url, params=query, headers=headers)
        pieces: list[bytes] = []
        size = 0

        def take(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size <= LARGEST:
                pieces.append(piece)

        await response.collect(take)
        if size > LARGEST:
            raise StoreUnavailable(f"{self._settings.url}: the answer is larger than {LARGEST} bytes")
        return response.code, b"".join(pieces)


def _route(dialled: str, answer: Answer) -> Route:
    attribution = Attribution(
        visit=answer.visit, marker=clean_marker(answer.marker), reason=clean_marker(answer.reason) or "asked over HTTP"
    )
    return Route(
        dialled=dialled,
        project=answer.project,
        scenario=answer.scenario,
        targets=tuple(parse_target(target, "targets") for target in answer.targets),
        ring=answer.ring,
        attribution=attribution,
        record=answer.record,
    )


def _keep(kept: OrderedDict, key: Any, value: Any) -> None:
    """Keep a bounded number, the latest ones."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > MOST:
        kept.popitem(last=False)


@implementer(IPlugin, IBackend)
class _HTTPScenariosBackend:
    name = "http"
    version = __version__
    provides = IScenarioSource
    settings = HTTPSourceSettings

    def make(self, context: Context, settings: HTTPSourceSettings) -> HTTPScenarios:
        return HTTPScenarios(context.reactor, settings, context.scenarios)


BACKEND = _HTTPScenariosBackend()
