"""`GET /metrics`: what the engine counts, for Prometheus. Knows the parts of the engine by what they count, and names.

Names and labels are an interface that dashboards are built on: they may be added, never changed. No label holds a phone
number, a visit or an address of a visitor.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource

from calltrack.sip.arrivals import OUTCOMES
from calltrack.web.api.problems import MEDIA_TYPE, problem
from calltrack.web.client import Network, among, client_address, peer_address
from calltrack.web.metrics_calls import CallFigures, Histogram, Lateness

_STATUSES = ("ANSWER", "BUSY", "NOANSWER", "CANCEL", "CONGESTION", "CHANUNAVAIL")
_REFUSALS = {"strangers": "stranger", "calls_from_phones": "phone"}
_OVERLOAD = {"refused": "overload", "stale": "stale", "full": "full"}


class MetricsPage(Resource):
    """`/metrics`, for clients at `allowed` addresses."""

    isLeaf = True

    def __init__(
        self, collect: Callable[[], Iterable[Metric]], allowed: Iterable[Network], proxies: Iterable[Network]
    ) -> None:
        super().__init__()
        self._allowed = tuple(allowed)
        self._proxies = tuple(proxies)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(collect))
        ProcessCollector(registry=self._registry)

    def render_GET(self, request: IRequest) -> bytes:
        address = client_address(request, self._proxies)
        if request.getHeader("x-forwarded-for") and not among(peer_address(request), self._proxies):
            words = f"metrics are not told through {address}, which [web] proxies does not name"
        elif not among(address, self._allowed):
            words = f"metrics are not for {address}; [web] metrics_from says for whom they are"
        else:
            words = ""
        if words:
            why = problem(403, "not-allowed", words)
            request.setResponseCode(403)
            request.setHeader(b"content-type", MEDIA_TYPE.encode())
            return why.body()
        encode, content_type = choose_encoder(request.getHeader("accept") or "")
        request.setHeader(b"content-type", content_type.encode())
        request.setHeader(b"cache-control", b"no-store")
        return encode(self._registry)


class _Collector:
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self.collect = collect


class Metrics:
    """What is told of an engine. `parts` has the attributes that `calltrack.service.CalltrackService` has."""

    def __init__(self, parts: Any, version: str, wall_ms: Callable[[], int]) -> None:
        self._parts = parts
        self._version = version
        self._wall_ms = wall_ms
        self.calls = CallFigures(parts.reactor.seconds)
        self.lateness = Lateness(parts.reactor)
        self.site: Any = None  # the BoundedSite, once there is one
        self.visits_page: Any = None  # the VisitsResource

    def collect(self) -> Iterator[Metric]:
        yield gauge("calltrack_info", "The version that runs", [((self._version,), 1)], ("version",))
        yield gauge("calltrack_uptime_seconds", "Seconds since the start", self._parts.facts()["uptime"])
        yield from self._of_calls()
        yield from self._of_sip()
        yield from self._of_accounts_and_trunks()
        yield from self._of_media()
        yield from self._of_visits()
        yield from self._of_stores()

    def _of_calls(self) -> Iterator[Metric]:
        engine, calls, arrivals = self._parts.engine, self.calls, self._parts.transports.arrivals
        asr, acd = calls.lately()
        statuses = [((status,), calls.statuses[status]) for status in _STATUSES]
        refused = [((word,), engine.counters[name]) for name, word in _REFUSALS.items()]
        for what, word in _OVERLOAD.items():
            refused.append(((word,), sum(counts[what] for counts in arrivals.outcomes.values())))
        came = [((who, what), counts[what]) for who, counts in arrivals.outcomes.items() for what in OUTCOMES]
        yield gauge("calltrack_calls_active", "Calls in progress", len(engine.calls))
        yield counter("calltrack_calls", "Calls that have ended, by status", statuses, ("status",))
        yield counter("calltrack_calls_refused", "INVITEs refused without a call", refused, ("reason",))
        yield counter("calltrack_invites", "New INVITEs, by source and by what became of them", came, ("source", "outcome"))
        yield histogram("calltrack_call_setup_seconds", "From INVITE to ringing, or to the answer", calls.setup)
        yield histogram("calltrack_call_answer_seconds", "From INVITE to the answer", calls.answer)
        yield counter("calltrack_call_talk_seconds", "Seconds of conversation of calls that have ended", calls.talked)
        yield gauge("calltrack_answer_seizure_ratio", "Answered share of calls ended in the last 15 minutes", asr)
        yield gauge("calltrack_average_call_seconds", "Average conversation in the last 15 minutes (ACD)", acd)
        yield gauge("calltrack_admitted_ratio", "Share of new calls that is let in (overload)", arrivals.share)

    def _of_sip(self) -> Iterator[Metric]:
        layer, transports = self._parts.agent.layer, self._parts.transports
        counted, streams = layer.counters, transports.counters
        sides = [(("server",), len(layer.servers)), (("client",), len(layer.clients))]
        resent = [(("request",), counted["resent_requests"]), (("response",), counted["resent_responses"])]
        broken = [(("message",), counted["malformed"]), (("stream",), streams["malformed_streams"])]
        shown = {"resent_requests", "resent_responses", "malformed"}
        others = [((name,), count) for name, count in sorted(counted.items()) if name not in shown]
        yield gauge("calltrack_sip_transactions", "Transactions that are kept", sides, ("side",))
        yield counter("calltrack_sip_retransmissions", "Messages that we sent again", resent, ("kind",))
        yield counter("calltrack_sip_parse_errors", "What was no SIP message", broken, ("what",))
        yield counter("calltrack_sip_events", "What else happened to messages", others, ("event",))
        yield counter("calltrack_sip_connections", "TCP and TLS connections taken", streams["connections"])
        yield counter("calltrack_sip_connections_refused", "Connections too many", streams["refused_connections"])
        yield histogram("calltrack_event_loop_lag_seconds", "Lateness of timers", self.lateness.seen)

    def _of_accounts_and_trunks(self) -> Iterator[Metric]:
        parts = self._parts
        events = [((name,), count) for name, count in sorted(parts.registrar.counters.items())]
        known = ((trunk.name, parts.standing.up("trunk", trunk.name)) for trunk in parts.settings.trunks)
        up = [((name,), int(state)) for name, state in known if state is not None]
        yield gauge("calltrack_registrations", "Contacts that are registered", len(parts.registrar.locations))
        yield counter("calltrack_registrar_events", "What became of REGISTERs", events, ("event",))
        yield gauge("calltrack_trunk_up", "Whether a trunk answers", up, ("trunk",))

    def _of_media(self) -> Iterator[Metric]:
        calls, relay = self.calls, self._parts.relay
        status = relay.status()
        numbers = {name: value for name, value in status.items() if type(value) is int and name != "sessions"}
        ports = relay.ports.occupancy() if hasattr(relay, "ports") else {}
        pairs = [((address, state), count) for address, of in ports.items() for state, count in of.items()]
        nodes = [((node["node"],), int(node["up"])) for node in status.get("nodes", ())]
        yield counter("calltrack_rtp_packets", "RTP packets received in ended calls", _labelled(calls.packets), ("party",))
        yield counter("calltrack_rtp_lost", "RTP packets lost on their way to us", _labelled(calls.lost), ("party",))
        yield counter("calltrack_calls_media", "Answered calls by who was heard", _labelled(calls.verdicts), ("verdict",))
        yield gauge("calltrack_relay_sessions", "Calls whose media is relayed", status.get("sessions", 0))
        yield gauge("calltrack_relay_port_pairs", "Port pairs of the relay", pairs, ("address", "state"))
        yield gauge("calltrack_relay_node_up", "Whether an rtpengine answers", nodes, ("node",))
        yield gauge("calltrack_relay_state", "What else the relay counts", _labelled(numbers), ("what",))

    def _of_visits(self) -> Iterator[Metric]:
        visits = self._parts.visits
        pools, misses = visits.pools(), visits.misses
        yield gauge("calltrack_visits_present", "Visits that were seen lately", visits.present)
        for field, words in (("numbers", "Numbers of a scenario's pool"), ("free", "Free numbers of a pool")):
            values = [((str(scenario),), getattr(state, field)) for scenario, state in pools.items()]
            yield gauge(f"calltrack_pool_{field}", words, values, ("scenario",))
        missed = [((str(scenario),), misses.get(scenario, 0)) for scenario in sorted({*pools, *misses})]
        yield counter("calltrack_pool_misses", "Visitors who stayed and got no number", missed, ("scenario",))
        if self.visits_page is not None:
            asked = _labelled(self.visits_page.counters)
            yield counter("calltrack_web_questions", "What browsers of visitors asked", asked, ("what",))
        if self.site is not None:
            yield gauge("calltrack_web_connections", "HTTP connections that are open", self.site.connections)

    def _of_stores(self) -> Iterator[Metric]:
        ledger, now = self._parts.ledger, self._wall_ms()
        lines = [(str(id), line) for id, line in self._parts.events.outbox.lines.items()]
        waiting = [((id,), len(line.held)) for id, line in lines]
        ages = [((id,), _age(now, line.oldest)) for id, line in lines]
        down = [((id,), int(line.down)) for id, line in lines]
        feeds = [(feed.name.removeprefix("sink:"), feed) for feed in self._parts.events.feeds]
        taken = [((name,), feed.delivered) for name, feed in feeds]
        failing = [((name,), int(bool(feed.failing))) for name, feed in feeds]
        yield counter("calltrack_sink_events", "Events that an event sink has taken", taken, ("sink",))
        behind = [((name,), _age(now, feed.oldest)) for name, feed in feeds]
        lost = [((name,), feed.lost) for name, feed in feeds]
        yield gauge("calltrack_sink_age_seconds", "Age of the oldest event that a sink has not taken", behind, ("sink",))
        yield counter("calltrack_sink_lost", "Events that were forgotten before a sink took them", lost, ("sink",))
        yield gauge("calltrack_sink_failing", "Whether a sink did not take what it was given last", failing, ("sink",))
        yield gauge("calltrack_records_waiting", "Call records not yet in the database", ledger.waiting)
        yield counter("calltrack_records_lost", "Records for which memory and spool had no room", ledger.lost)
        yield gauge("calltrack_outbox_waiting", "Deliveries of a webhook in memory", waiting, ("webhook",))
        yield gauge("calltrack_outbox_age_seconds", "Age of the oldest event not delivered", ages, ("webhook",))
        yield gauge("calltrack_outbox_down", "Whether a webhook's endpoint is taken for down", down, ("webhook",))


def _age(now: int, oldest: int | None) -> float:
    """Seconds since `oldest`; both in milliseconds since the Unix epoch. None: nothing waits."""
    return max(0.0, (now - (oldest or now)) / 1000)


def _labelled(counts: dict[str, Any]) -> list[tuple[tuple[str], Any]]:
    return [((name,), counts[name]) for name in sorted(counts)]


def _filled(family: Any, value: Any, labels: tuple[str, ...]) -> Any:
    """`value`: a number, or with labels a list of (label values, number); nothing for None."""
    if labels:
        for values, number in value:
            family.add_metric(values, number)
    elif value is not None:
        family.add_metric((), value)
    return family


def gauge(name: str, words: str, value: Any, labels: tuple[str, ...] = ()) -> Metric:
    return _filled(GaugeMetricFamily(name, words, labels=labels), value, labels)


def counter(name: str, words: str, value: Any, labels: tuple[str, ...] = ()) -> Metric:
    """Its name is told with ``_total`` behind."""
    return _filled(CounterMetricFamily(name, words, labels=labels), value, labels)


def histogram(name: str, words: str, values: Histogram) -> Metric:
    return HistogramMetricFamily(name, words, buckets=values.cumulative(), sum_value=values.sum)
