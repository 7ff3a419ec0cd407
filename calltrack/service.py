"""Wires everything together: settings in, a running engine out. The only place that knows all the parts.

`twistd calltrack` finds `Options` and `makeService` here.
"""

from __future__ import annotations

import secrets
import sys
import time
from typing import Any

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from calltrack import __version__
from calltrack.calls.engine import CallEngine
from calltrack.calls.pings import Pings
from calltrack.calls.proving import Proofs
from calltrack.calls.registrations import Registrations
from calltrack.calls.standing import Standing
from calltrack.calls.trial import TrialCalls
from calltrack.config import Settings, defaults, load
from calltrack.control.wiring import Control
from calltrack.errors import ConfigErrors, StoreUnavailable
from calltrack.chosen import choose_relay, choose_source, choose_stores, context_of
from calltrack.events.wiring import Events
from calltrack.process import spare_the_collector, use_monotonic_time, wall_ms
from calltrack.recording.wiring import Recordings
from calltrack.registrar.registrar import Registrar
from calltrack.sip.agent import Agent
from calltrack.sip.challenger import Challenger
from calltrack.sip.resolver import families, spoken, system_resolver
from calltrack.sip.session_timer import SessionSettings
from calltrack.sip.tls import ServerCertificate, Trust
from calltrack.sip.transactions import Settings as SIPTimers
from calltrack.sip.transports import Transports
from calltrack.storage.bulletin import Bulletin
from calltrack.storage.ledger import Ledger, tell_recovered, tell_unrecovered
from calltrack.storage.url import Stores, open_stores
from calltrack.timers import Timers
from calltrack.tracing.tracer import Tracer
from calltrack.tracking.routing import CachedScenarioSource
from calltrack.tracking.tariff import Tariff
from calltrack.tracking.visits import Visits
from calltrack.web import front
from calltrack.web.client import client_address
from calltrack.web.health import HealthPage, ReadyPage
from calltrack.web.metrics import Metrics, MetricsPage
from calltrack.web.recordings import send
from calltrack.web.request_limits import RequestLimits
from calltrack.web.site import put_together
from calltrack.web.visits import VisitsResource
from calltrack.writer import Writer

log = Logger()

BATCH_TIME = 0.5  # seconds that call records gather: what short calls become meanwhile is written once


class Options(usage.Options):
    """Command line of `twistd calltrack`."""

    optParameters = [["config", "c", None, "TOML file; without it the embedded defaults hold."]]
    longdesc = "Forwards calls to substitution numbers and tells the receiver where they came from."

    def postOptions(self) -> None:
        """Read the configuration while there is still a terminal to complain to."""
        try:
            self.settings = read_settings(self["config"])
            if self.settings.web.tls or any(place.transport == "tls" for place in self.settings.sip.listen):
                ServerCertificate(self.settings.tls.certificate, self.settings.tls.key).load()
            Trust(self.settings.tls.authorities).load()
        except ConfigErrors as problem:
            raise usage.UsageError(f"{self['config']} is not usable:\n{problem}") from None


def read_settings(path: str | None) -> Settings:
    """The settings of a configuration file, or the defaults without one. Raises ConfigErrors."""
    if path is None:
        return defaults()
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigErrors([f"{path}: {problem}"]) from None
    return load(text, path)


class CalltrackService(Service):
    """One engine: stores, routing, registrar, media, SIP and web, stopped in the reverse order.

    Ports are taken first, as the user who starts it; calls and registrations are answered 503 until routes and
    bindings have been read. `started` fires with None then.
    """

    name = "calltrack"

    def __init__(self, settings: Settings, reactor: Any, config: str | None = None) -> None:
        """`config`: the file that the settings are from, if they are."""
        self.settings = settings
        self.reactor = reactor
        self.started: defer.Deferred[None] = defer.Deferred()
        self.stores: Stores = open_stores(settings.storage.url, reactor)
        self.timers = Timers(reactor)
        sip = settings.sip
        certificate = ServerCertificate(settings.tls.certificate, settings.tls.key)
        trust = Trust(settings.tls.authorities, settings.tls.verify)
        self.transports = Transports(reactor, self.timers, sip.listen, sip.advertise, certificate, trust)
        news = lambda value: self.events.pool_news(value)  # noqa: E731  # there are no events yet
        self.visits = Visits(self.timers, wall_ms, self.stores.visits, settings.visits, news, settings.privacy)
        self.scenarios = CachedScenarioSource(
            self.stores.catalog, reactor, settings.calls.header_prefix, visits=self.visits
        )
        context = context_of(self.stores, reactor, wall_ms, self.scenarios)
        self.backends = choose_stores(self.stores, settings, context)
        self.relay = choose_relay(self.backends, settings, context)
        spool = settings.storage.spool or self.stores.spool_path
        self.ledger = Ledger(self.stores.records, reactor, spool, interval=BATCH_TIME)
        traces = settings.trace.directory or self.stores.traces_path
        self.tracer = Tracer(self.timers, wall_ms, settings.trace, traces, Writer(reactor, "traces"))
        recordings = settings.recording.directory or self.stores.recordings_path
        self.recordings = Recordings(settings.recording, recordings, reactor, self.timers, wall_ms, self.ledger)
        self.registrar = Registrar(
            self.timers,
            time.time,
            settings.registrar,
            sip.domain,
            self.stores.accounts,
            self.stores.locations,
            self.transports,
            secrets.token_bytes(32),
            lambda host: self.engine.is_trunk(host),
        )
        self.engine = CallEngine(
            self.timers,
            wall_ms,
            settings.calls,
            settings.trunks,
            choose_source(self.backends, settings, context),
            self.relay,
            self.ledger,
            self.registrar,
            self.recordings.recorder,
            self.tracer,
        )
        resolver = system_resolver(reactor, families=families(sip.listen), transports=spoken(sip.listen))
        timers = SIPTimers(sip.t1, sip.t2, sip.t4)
        sessions = SessionSettings(sip.session_expires, sip.min_se)
        self.agent = Agent(self.timers, self.transports, resolver, timers, self.engine, sessions=sessions)
        self.engine.connect(self.agent)
        self.registrar.connect(self.agent)
        self.standing = Standing(wall_ms, self.engine.destinations.down)
        self.pings = Pings(
            self.timers,
            self.agent,
            sip.ping,
            settings.trunks,
            self.standing,
            lambda: self.scenarios.addresses if sip.ping_targets else (),
        )
        stores = self.stores
        self.events = Events(settings, stores.events, stores.webhooks, reactor, self.timers, wall_ms, stores.visits)
        self.registrations = self.engine.registrations = Registrations(self.agent, settings.trunks, self.standing)
        self.engine.proofs = self._proofs()
        self.engine.tariff = Tariff(settings.tariff.prices, settings.tariff.currency)
        if spool is not None:
            bulletin = Bulletin(f"{spool}/trunks.json", reactor, self.trunk_facts)
            self.standing.observers.append(bulletin.renew)
            self.registrations.observers.append(bulletin.renew)
        self.standing.observers.append(self.events.peer_news)
        self.services = front.make_services(
            settings,
            self.stores,
            reactor,
            wall_ms,
            trunk_state=lambda name: self.standing.up("trunk", name),
            facts=self.facts,
            client=lambda request: client_address(request, settings.web.proxies),
            trial=TrialCalls(self.engine).call,
            send_recording=lambda request, name: send(request, reactor, recordings, name),
            post=self.events.poster.post,
        )
        self.metrics = Metrics(self, __version__, wall_ms)
        self.engine.observers.append(self.metrics.calls.ended)
        self.control = Control(self, lambda: read_settings(config))
        self._began = reactor.seconds()
        self._web: Any = None

    def _proofs(self) -> Proofs:
        """What trunks prove who they are by: guesses count with those at the registrar."""
        registrar, refuse = self.registrar, self.agent.layer.refuse
        challenger = Challenger(self.timers, self.settings.sip.domain, secrets.token_bytes(32), registrar.guard, refuse)
        return Proofs(self.settings.trunks, challenger, registrar.offers.for_request)

    def setServiceParent(self, parent: Any) -> None:
        """As Service; an application logs as the configuration says."""
        super().setServiceParent(parent)
        if isinstance(parent, Componentized):
            self.control.begin_log(parent)

    def privilegedStartService(self) -> None:
        """Take the ports. Raises CannotListenError when one cannot be had; twistd then ends with status 1."""
        super().privilegedStartService()
        try:
            self.listen()
        except CannotListenError as problem:
            log.critical(
                "cannot listen on {host} port {port}: {why}. Stop the program that has the port, or choose another "
                "in the configuration",
                host=problem.interface or "any address",
                port=problem.port,
                why=problem.socketError,
            )
            sys.excepthook = lambda *exception: None  # in the foreground twistd would add a traceback to that
            raise

    def listen(self) -> None:
        """Open every SIP port and the web's. Raises CannotListenError, with nothing left open."""
        self.agent.serving = False
        self.transports.start()
        web = self.settings.web.listen
        try:
            site = self.metrics.site = put_together(self.resources())
            self._web = self._listen_web(web.port, site, web.host)
        except CannotListenError:
            self.transports.stop()
            raise
        for place in self.transports.listening():
            log.info("SIP listens on {place.transport} {place.host} port {place.port}", place=place)
        log.info("web listens on {url}", url=self.page_url)

    def _listen_web(self, port: int, site: Any, host: str) -> Any:
        if not self.settings.web.tls:
            return self.reactor.listenTCP(port, site, interface=host)
        certificate = ServerCertificate(self.settings.tls.certificate, self.settings.tls.key)
        return self.reactor.listenSSL(port, site, certificate, interface=host)

    def startService(self) -> None:
        super().startService()
        if self._web is None:
            self.listen()
        defer.Deferred.fromCoroutine(self._start()).addErrback(self._could_not_start)

    async def _start(self) -> None:
        try:
            await self.stores.migrate()
        except StoreUnavailable as problem:
            # Calls must be answered without a database; the ledger and the routing table keep asking for it.
            log.error("starting without the database: {problem}", problem=problem)
        await self.backends.start()
        self.visits.start()
        await self.scenarios.start()
        await self.registrar.start()
        recovered = self.ledger.recover().addCallbacks(tell_recovered, tell_unrecovered)
        recovered.addCallback(lambda _: self.recordings.start(self.engine.calls.__contains__))
        self.events.start()
        self.tracer.start()
        await self.relay.start()
        if not self.settings.trunks:
            log.warn("no [[trunk]] is configured: every call is refused with 403 until one lists its provider")
        spare_the_collector()
        self.metrics.lateness.start()
        self.agent.serving = True
        self.pings.start()
        self.registrations.start()
        await front.tell_set_up_link(self.services, self.page_url)
        self.control.start()
        self.started.callback(None)

    @property
    def page_url(self) -> str:
        """Where the page is, as somebody on this machine reaches it, unless configured."""
        at = self._web.getHost()
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(at.host, at.host)
        scheme = "https" if self.settings.web.tls else "http"
        return self.settings.web.public_url or f"{scheme}://{host}:{at.port}"

    def _could_not_start(self, failure: Failure) -> None:
        """Whatever a store may do is dealt with where it is asked, so this is a bug: it must not go on half
        started, answering 503 for ever."""
        log.failure("could not start", failure=failure)
        self.started.errback(failure)
        self.started.addErrback(lambda _: None)  # said above; whoever waits has had it
        self.reactor.callWhenRunning(self.reactor.stop)

    @defer.inlineCallbacks
    def stopService(self) -> Any:
        """End calls with BYE, write their records, close everything; within `stop_time` and a little more."""
        yield super().stopService()
        yield self.control.stop()
        self.pings.stop()
        self.metrics.lateness.stop()
        self.engine.stop()
        self.registrations.stop()
        if self._web is not None:
            yield self._web.stopListening()
        yield self._until_quiet(self.settings.calls.stop_time)
        self.scenarios.stop()
        yield self.visits.stop()
        yield self.registrar.stop()
        yield self.recordings.stop()
        yield self.tracer.stop()
        yield self.ledger.stop()
        yield defer.Deferred.fromCoroutine(self.events.stop())
        yield self.relay.stop()
        yield defer.Deferred.fromCoroutine(self.backends.stop())
        yield self.transports.stop()
        self.stores.close()

    def _until_quiet(self, seconds: float) -> defer.Deferred[None]:
        """Fires when every request of ours is answered and kept, after `seconds` at the latest."""
        quiet: defer.Deferred[None] = defer.Deferred()
        deadline = self.timers.now() + seconds

        def look(_: None) -> None:
            busy = self.agent.layer.unanswered() or self.engine.settling
            if not busy or self.timers.now() >= deadline:
                quiet.callback(None)
            else:
                self.timers.after(0.05, look)

        look(None)
        return quiet

    def resources(self) -> dict[bytes, IResource]:
        """What the web answers, by first path segment."""
        web = self.settings.web
        limits = RequestLimits(self.timers.now, web.pages_per_address, web.pages_per_project)
        visits = self.metrics.visits_page = VisitsResource(self.visits, limits, web.proxies)
        return {
            b"health": HealthPage(self.facts).app.resource(),
            b"ready": ReadyPage(self.parts).app.resource(),
            b"metrics": MetricsPage(self.metrics.collect, web.metrics_from, web.proxies),
            b"t": visits,
            **front.resources(self.services),
        }

    def trunk_facts(self) -> dict[str, Any]:
        """How each trunk stands, for other processes."""
        standing, now, wall = self.standing, self.timers.now(), time.time()
        states = {True: "up", False: "down", None: "unknown"}
        facts: dict[str, Any] = {
            trunk.name: {"state": states[standing.up("trunk", trunk.name)], "reason": standing.why("trunk", trunk.name)}
            for trunk in self.settings.trunks
        }
        for name, state in self.registrations.states().items():
            for key, at in (("registered_until", state.until), ("next_attempt", state.next_at)):
                facts[name][key] = wall + at - now if at > now else 0
            facts[name]["reason"] = facts[name]["reason"] or state.why
        return {"trunks": facts}

    async def parts(self) -> dict[str, str]:
        """What `/ready` tells: by part, what is wrong with it, "" when nothing is."""
        serving = "" if self.agent.serving else "routes and bindings have not been read yet, or calltrack is stopping"
        if self.engine.draining:
            serving = "it drains: calltrack ctl drain --off"
        return {"engine": serving, **await self.backends.health()}

    def facts(self) -> dict[str, Any]:
        """What `/health` tells."""
        return {
            "version": __version__,
            "uptime": round(self.reactor.seconds() - self._began, 1),
            "calls": len(self.engine.calls),
            "numbers": self.scenarios.numbers,
            "registrations": len(self.registrar.locations),
            "media": self.relay.status(),
        }


def makeService(options: Options) -> CalltrackService:
    """For twistd."""
    from twisted.internet import reactor

    use_monotonic_time(reactor)
    try:
        service = CalltrackService(options.settings, reactor, options["config"])
    except ConfigErrors as problem:  # of a backend that cannot be made of its settings
        raise SystemExit(f"{options['config']} is not usable:\n{problem}") from None
    reactor.callWhenRunning(service.control.watch_signals)
    return service
