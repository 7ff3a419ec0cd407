"""Visits of browsers: who comes, which number they are shown, when they go. What the HTTP side asks.

Memory decides, the store confirms: an answer that names a visit or a lease fires when both are durable. Knows markers,
pools, limits; must not know HTTP, SIP or SQL.
"""

from __future__ import annotations

import re
import secrets
from typing import Any, Callable, Mapping

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from calltrack.errors import NoSuchObject, StoreUnavailable
from calltrack.interfaces import IVisitStore
from calltrack.timers import Timers
from calltrack.tracking.attribution import EXACT, attribute
from calltrack.tracking.granting import CONFIRM, Grants, for_nobody
from calltrack.tracking.leaks import Leaks
from calltrack.tracking.leases import KEPT, PoolState
from calltrack.tracking.model import Attribution, Lease, Number, Project, Scenario, Shown, Visit
from calltrack.tracking.numbering import Numbering
from calltrack.tracking.presence import Presence, Presences, knows_secret, read_cookie
from calltrack.tracking.retention import Retention
from calltrack.tracking.settings import PrivacySettings, VisitSettings
from calltrack.tracking.sites import Site, Sites
from calltrack.tracking.sources import MAX_URL, Source, arrival
from calltrack.tracking.visit_journal import VisitJournal
from calltrack.tracking.visit_limits import VisitLimits, neighbourhood

log = Logger()

EARLY = 0.25  # seconds by which that may come early: browsers' clocks are coarse
ANOTHER_VISIT = 14 * 86400.0  # seconds after which the same browser begins a new visit
SWEEP = 1.0  # seconds
RETRY = 1.0  # seconds
NOT_READ = Attribution(reason="the history of leases has not been read yet")
MAX_USER_AGENT = 400  # characters that are kept

_BROWSER = re.compile(r"Mozilla/[0-9]")
_ROBOT = re.compile(
    r"bot\b|bots\b|crawl|spider|slurp|preview|lighthouse|pingdom|uptime|monitor|curl|wget|python|java/|go-http|scrapy|"
    r"facebookexternalhit|mediapartners|bingpreview|yandex(?:metrika|images|video|media|webmaster)|headless_probe",
    re.IGNORECASE,
)


class Visits:
    """Every project's visits.

    `publish(value)` is told of each `Visit` and `Lease` once it is durable, of `PoolExhausted` and `NumberAlert`.
    """

    def __init__(
        self,
        timers: Timers,
        wall_ms: Callable[[], int],
        store: IVisitStore,
        settings: VisitSettings = VisitSettings(),
        publish: Callable[[Any], None] = lambda value: None,
        privacy: PrivacySettings = PrivacySettings(),
    ) -> None:
        self._timers = timers
        self._now = timers.now
        self._wall_ms = wall_ms
        self._store = store
        self._settings = settings
        self._publish = publish
        self._sites = Sites()
        self._presences = Presences(timers.now)
        self._journal = VisitJournal(store, timers)
        self._grants = Grants(timers.now, wall_ms, self._journal, settings.leases_per_address, self._tell)
        self._pools = self._grants.pools
        self._numbering = Numbering(store)
        self._limits = VisitLimits(timers.now, settings.per_address, settings.per_project)
        self._loaded: set[str] = set()  # numbers whose history is in memory
        self._wanted: tuple[list[Project], list[Scenario], list[Number]] | None = None
        self._loading = False
        self._away = False  # the store did not answer for the history
        self._waiting: list[Deferred[None]] = []  # for the end of loading
        self._fallbacks: frozenset[str] = frozenset()
        self._projects: dict[int | None, int] = {}  # by scenario
        self._leaks = Leaks()
        self._retention = Retention(timers, wall_ms, store, privacy)
        self._sweeping: Any = None
        self.ready = False  # the history of every number has been read

    # The life of the service

    def start(self) -> None:
        """Watch the time from now on."""
        self._sweep(None)
        self._retention.start()

    def stop(self) -> Deferred[None]:
        """Fires when what waits is written, or the store has refused it. Active leases stay active."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._retention.stop()
        self.ready = False
        return self._journal.stop()

    def follow(self, projects: list[Project], scenarios: list[Scenario], numbers: list[Number]) -> None:
        """The catalog as it is from now on. It counts once the history of numbers that are new has been read."""
        self._wanted = (projects, scenarios, numbers)
        if not self._loading:
            self._loading = True
            Deferred.fromCoroutine(self._load()).addErrback(
                lambda bug: log.failure("the catalog could not be taken over", failure=bug)
            )

    def followed(self) -> Deferred[None]:
        """Fires with None as soon as the latest catalog counts."""
        if not self._loading:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    async def _load(self) -> None:
        try:
            while self._wanted is not None:
                projects, scenarios, numbers = self._wanted
                dynamic = {scenario.id for scenario in scenarios if scenario.kind == "dynamic"}
                unread = [n.number for n in numbers if n.scenario in dynamic and n.number not in self._loaded]
                leases = await self._history(unread) if unread else []
                if leases is None or self._wanted[2] is not numbers:
                    continue  # the catalog has changed meanwhile
                self._wanted = None
                self._pools.follow(scenarios, numbers)
                self._pools.remember(leases)
                self._loaded.update(unread)
                self._sites = Sites(projects, scenarios, numbers)
                self._fallbacks = frozenset(scenario.fallback for scenario in scenarios if scenario.fallback)
                self._projects = {scenario.id: scenario.project for scenario in scenarios}
                self.ready = True
        finally:
            self._loading = False
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    async def _history(self, numbers: list[str]) -> list[Lease] | None:
        """The leases of `numbers`, or None after a while when the store does not answer."""
        try:
            leases = await self._store.history(numbers, KEPT)
        except Exception as error:
            if not self._away and isinstance(error, StoreUnavailable):
                log.error("the history of leases cannot be read, visits wait: {error}", error=error)
            elif not self._away:
                log.failure("the history of leases cannot be read, visits wait")
            self._away = True
            await self._pause(RETRY)
            return None
        if self._away:
            self._away = False
            log.info("the history of leases can be read again")
        return leases

    def _pause(self, seconds: float) -> Deferred[None]:
        pause: Deferred[None] = Deferred()
        self._timers.after(seconds, pause.callback, None)
        return pause

    def _sweep(self, _: None) -> None:
        self._sweeping = self._timers.after(SWEEP, self._sweep)
        self._pools.sweep()
        self._presences.sweep()

    # What browsers say

    def project(self, key: str) -> Project:
        """The project that a page names; its `sites` are the origins that may ask. Raises NoSuchObject when there is
        none, or it is disabled; StoreUnavailable before the catalog has been read."""
        return self._site(key).project

    def _site(self, key: str) -> Site:
        if not self.ready:
            raise StoreUnavailable("visits are not served yet")
        return self._sites.site(key)

    def arrive(
        self,
        key: str,
        page: str,
        referrer: str = "",
        cookie: str = "",
        consent: bool = True,
        address: str = "",
        user_agent: str = "",
    ) -> Deferred[Shown]:
        """A page is shown: `POST /t/KEY/visit`. `address`: the browser's, a literal; `cookie`: what it has of an
        earlier page, or "".

        Fires with a `Shown`; without consent, and for robots, its `visit` is "" and nothing is stored. Fails with
        NoSuchObject (key), InvalidField (page), TooManyRequests, StoreUnavailable.
        """
        return Deferred.fromCoroutine(self._arrive(key, page, referrer, cookie, consent, address, user_agent))

    def beat(self, key: str, cookie: str) -> Deferred[Shown]:
        """A sign of life: `POST /t/KEY/beat`. Fires with what is to be shown now. Fails with NoSuchObject (key, or a
        visit that is none: the browser then arrives anew), StoreUnavailable."""
        return Deferred.fromCoroutine(self._beat(key, cookie))

    def leave(self, key: str, cookie: str) -> Deferred[None]:
        """The last sign of life of a page: `POST /t/KEY/leave`. The number is held on for its hold time, as the
        visitor may be dialling, or reading another page. Fires with None, also when there is no such visit."""
        return Deferred.fromCoroutine(self._leave(key, cookie))

    async def _arrive(
        self, key: str, page: str, referrer: str, cookie: str, consent: bool, address: str, user_agent: str
    ) -> Shown:
        site = self._site(key)
        came = arrival(page, referrer, site.hosts)
        source = site.rules.source(came)
        if not consent or not looks_like_a_browser(user_agent):
            return Shown(swaps=for_nobody(site, source, page, referrer))
        earlier = await self._known(site, cookie)
        if earlier is not None and not self._is_another(earlier.visit, source):
            earlier.missed.clear()
            return await self._grants.show(site, earlier)
        neighbours = neighbourhood(address)
        self._limits.admit(site.project.id, neighbours)
        visit = Visit(
            project=site.project.id,
            number=await self._numbering.next(site.project.id),
            secret=secrets.token_hex(8),
            started=self._wall_ms(),
            marker=source.marker,
            previous=earlier.visit.number if earlier is not None else None,
            landing_page=_tidy(page, MAX_URL),
            referrer=_tidy(referrer, MAX_URL),
            utm=source.utm,
            click_id=source.click_id,
            address=address,
            user_agent=_tidy(user_agent, MAX_USER_AGENT),
        )
        presence = Presence(visit, neighbours, self._now())
        self._presences.add(presence)
        try:
            shown = await self._grants.show(site, presence, (visit,))
        except StoreUnavailable:
            self._presences.discard(presence)
            raise
        self._tell(visit)
        return shown

    async def _beat(self, key: str, cookie: str) -> Shown:
        site = self._site(key)
        presence = await self._known(site, cookie)
        if presence is None:
            raise NoSuchObject("no such visit")
        return await self._grants.show(site, presence)

    async def _leave(self, key: str, cookie: str) -> None:
        site = self._site(key)
        known = read_cookie(cookie)
        presence = self._presences.get(site.project.id, known[0]) if known is not None else None
        if presence is not None and knows_secret(presence.visit, known[1]):
            self._alive(presence)

    async def _known(self, site: Site, cookie: str) -> Presence | None:
        """The visit whose browser shows `cookie`, from memory or the store; a sign of its life."""
        known = read_cookie(cookie)
        if known is None:
            return None
        number, secret = known
        project = site.project.id
        presence = self._presences.get(project, number)
        if presence is None:
            try:
                visit = await self._store.get(project, number)
            except NoSuchObject:
                return None
            presence = self._presences.get(project, number)  # another page of it may have been faster
            if presence is None:
                if not knows_secret(visit, secret):
                    return None
                presence = self._return(visit)
        if not knows_secret(presence.visit, secret):
            return None
        self._alive(presence)
        return presence

    def _return(self, visit: Visit) -> Presence:
        """A visit that memory had forgotten, with the numbers that it holds still."""
        age = max(0.0, (self._wall_ms() - visit.started) / 1000)
        presence = Presence(visit, neighbourhood(visit.address), self._now() - age)
        self._grants.adopt(presence)
        self._presences.add(presence)
        return presence

    def _alive(self, presence: Presence) -> None:
        now = presence.seen = self._now()
        if not presence.stayed and now - presence.since >= CONFIRM - EARLY:
            presence.stayed = True
        self._grants.renew(presence)

    def _is_another(self, visit: Visit, source: Source) -> bool:
        """Whether an arrival begins a new visit: from another ad or site, or two weeks after the old one began."""
        if self._wall_ms() - visit.started > ANOTHER_VISIT * 1000:
            return True
        return source.kind not in ("internal", "direct") and source.marker != visit.marker

    # Calls

    def attribute(self, number: str, at: int, caller: str = "") -> Attribution:
        """Which visit a call to `number` (digits) of a dynamic scenario at `at` (milliseconds since the Unix epoch)
        belongs to. From memory, at once. Calls of people who were not shown the number are told of."""
        if not self.ready:
            return NOT_READ
        history = self._pools.history(number)
        found = attribute(history, at, number in self._fallbacks)
        if not (found.candidates and found.candidates[0].reason == EXACT):
            self._watch(number, at, caller, found, history[-1] if history else None)
        return found

    def _watch(self, number: str, at: int, caller: str, found: Attribution, last: Lease | None) -> None:
        scenario = self._pools.scenario_of(number)
        project = self._projects.get(scenario)
        if scenario is None or project is None:
            return
        alert = self._leaks.call(number, caller, at, found, last, project, scenario)
        if alert is not None:
            log.warn(
                "number {alert.number} of scenario {alert.scenario} is called by people who were not shown it: "
                "{alert.kind}, {alert.callers} callers in seven days",
                alert=alert,
            )
            self._tell(alert)

    def pool(self, scenario: int) -> PoolState:
        """How the pool of a dynamic scenario stands."""
        return self._pools.state(scenario)

    def pools(self) -> dict[int, PoolState]:
        """How every pool stands, by scenario."""
        return self._pools.states()

    @property
    def misses(self) -> Mapping[int, int]:
        """By scenario: visitors who stayed and got no number, since the start."""
        return self._grants.misses

    @property
    def present(self) -> int:
        """How many visits have been seen lately."""
        return len(self._presences)

    def _tell(self, value: Any) -> None:
        try:
            self._publish(value)
        except Exception:  # whoever listens must not cost a visitor the number
            log.failure("telling of {value} failed", value=value)

def looks_like_a_browser(user_agent: str) -> bool:
    """Whether numbers may be given to what calls itself so. Robots read pages and call nobody."""
    return _BROWSER.match(user_agent) is not None and _ROBOT.search(user_agent) is None


def _tidy(text: str, most: int) -> str:
    """Text of a browser, cut and without what may steer a terminal or a log."""
    return "".join(char for char in text[:most] if char.isprintable())
