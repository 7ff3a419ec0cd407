"""Every section of the configuration and its keys: defaults, units, limits. Sections belong to the packages they
configure; those of no package stand here. Knows no file and no syntax."""

from __future__ import annotations

from typing import Any

from ipaddress import IPv4Network, IPv6Network

import msgspec

from calltrack import checks
from calltrack.calls.settings import CallsSettings, TrunkSettings
from calltrack.checks import Check, HostPort, Listen
from calltrack.media.rtpengine_settings import RTPEngineSettings
from calltrack.media.settings import RELAYS, MediaSettings
from calltrack.control.settings import ControlSettings, LogSettings
from calltrack.events.settings import EventsSettings, SinkSettings, WebhooksSettings
from calltrack.recording.settings import RecordingSettings
from calltrack.plugins.backends import Choice
from calltrack.registrar.settings import RegistrarSettings
from calltrack.tracing.settings import TraceSettings
from calltrack.tracking.settings import PrivacySettings, VisitSettings


Network = IPv4Network | IPv6Network


class SIPSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[sip]``: where SIP listens and how it is timed."""

    listen: tuple[Listen, ...] = (Listen("udp", "0.0.0.0", 5060), Listen("tcp", "0.0.0.0", 5060))
    domain: str = "calltrack.local"  # AOR domain and digest realm
    advertise: str = ""  # address literal peers reach us at; "" = the local address of the flow
    t1: float = 0.5  # seconds: round-trip estimate (RFC 3261 section 17.1.1.1)
    t2: float = 4.0  # seconds: longest retransmission interval
    t4: float = 5.0  # seconds: longest life of a message in the network
    session_expires: int = 1800  # seconds that a session lasts without a refresh (RFC 4028); 0 = not asked for
    min_se: int = 90  # seconds: shorter ones are refused with 422
    ping: float = 30.0  # seconds from one OPTIONS to the next, to each outbound trunk; 0 = none
    ping_targets: bool = False  # whether outside targets are asked too


class TLSSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[tls]``: what TLS listens with, and whom it trusts. The files are opened by the service."""

    certificate: str = ""  # PEM file: the certificate and its chain
    key: str = ""  # PEM file: the private key
    authorities: str = ""  # PEM file: who may have signed the certificates of our peers; "" = whom this machine trusts
    verify: bool = True  # whether peers that we connect to must prove who they are


class StorageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[storage]``: where the catalog and the call records are kept."""

    url: str = "sqlite:calltrack.db"  # "sqlite:FILE" or "memory:"
    spool: str = ""  # directory that keeps records while the database is away; "" = FILE-spool


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[web]``: where HTTP listens, and how much is asked there."""

    listen: HostPort = HostPort("127.0.0.1", 8080)
    proxies: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1"))  # whose X-Forwarded-... count
    tls: bool = False  # HTTPS, with the certificate of [tls]
    public_url: str = ""  # as browsers reach us; "" = by the address they used
    metrics_from: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1"))  # who may read /metrics
    pages_per_address: int = 300  # pages with the snippet opened a minute from one address; 0 = no limit
    pages_per_project: int = 12_000  # the same of all addresses together


class TariffSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[tariff]``: what calls to phone numbers cost."""

    currency: str = ""
    prices: dict[str, float] = {}  # per started minute, by prefix (digits)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured."""

    locations: Choice = Choice("storage")  # where bindings of devices are kept
    scenarios: Choice = Choice("catalog")  # who says where calls go
    records: Choice = Choice("storage")  # where call records are kept

    sip: SIPSettings = SIPSettings()
    tls: TLSSettings = TLSSettings()
    media: MediaSettings = MediaSettings()
    calls: CallsSettings = CallsSettings()
    registrar: RegistrarSettings = RegistrarSettings()
    visits: VisitSettings = VisitSettings()
    privacy: PrivacySettings = PrivacySettings()
    recording: RecordingSettings = RecordingSettings()
    trace: TraceSettings = TraceSettings()
    control: ControlSettings = ControlSettings()
    log: LogSettings = LogSettings()
    storage: StorageSettings = StorageSettings()
    web: WebSettings = WebSettings()
    events: EventsSettings = EventsSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    tariff: TariffSettings = TariffSettings()
    sinks: tuple[SinkSettings, ...] = ()
    trunks: tuple[TrunkSettings, ...] = ()


RTPENGINE: dict[str, Check] = {
    "nodes": checks.each(checks.media_node, alone=True, empty=False),
    "timeout": checks.number(0.05, 10, "seconds"),
    "ping": checks.number(0.5, 3600, "seconds"),
    "learning": checks.one_of("auto", "off", "heuristic"),
    "interfaces": checks.interface_pair,
}

# By name: the type of its settings, and by key a check or, of a section within it, the same again.
SECTIONS: dict[str, tuple[type, dict[str, Any]]] = {
    "sip": (
        SIPSettings,
        {
            "listen": checks.each(checks.listen, empty=False),
            "domain": checks.host_name,
            "advertise": checks.address_literal,
            "t1": checks.number(0.01, 5, "seconds"),
            "t2": checks.number(0.05, 60, "seconds"),
            "t4": checks.number(0.05, 60, "seconds"),
            "session_expires": checks.whole(0, 86400),
            "min_se": checks.whole(90, 86400),
            "ping": checks.number(0, 3600, "seconds"),
            "ping_targets": checks.flag,
        },
    ),
    "tls": (
        TLSSettings,
        {
            "certificate": checks.some_text,
            "key": checks.some_text,
            "authorities": checks.some_text,
            "verify": checks.flag,
        },
    ),
    "media": (
        MediaSettings,
        {
            "relay": checks.one_of(*RELAYS),
            "listen": checks.each(checks.address_literal, alone=True, empty=False),
            "advertise": checks.each(checks.address_literal, alone=True),
            "ports": checks.port_range,
            "timeout": checks.number(0, 86400, "seconds"),
            "quarantine": checks.number(0, 3600, "seconds"),
            "rtpengine": (RTPEngineSettings, RTPENGINE),
        },
    ),
    "calls": (
        CallsSettings,
        {
            "lookup_budget": checks.number(0.01, 5, "seconds"),
            "max_calls": checks.whole(0, 1_000_000),
            "stop_time": checks.number(0.1, 60, "seconds"),
            "header_prefix": checks.header_prefix,
        },
    ),
    "registrar": (
        RegistrarSettings,
        {
            "domains": checks.each(checks.host_name, alone=True),
            "min_expires": checks.whole(1, 3600),
            "max_expires": checks.whole(1, 604800),
            "default_expires": checks.whole(1, 604800),
            "max_contacts": checks.whole(1, 1000),
            "nat_keepalive": checks.number(0, 300, "seconds"),
            "require_public_source": checks.flag,
        },
    ),
    "visits": (
        VisitSettings,
        {
            "per_address": checks.whole(0, 1_000_000),
            "per_project": checks.whole(0, 100_000_000),
            "leases_per_address": checks.whole(1, 1_000_000),
        },
    ),
    "recording": (
        RecordingSettings,
        {
            "directory": checks.some_text,
            "keep": checks.number(0, 36500, "days"),
            "max_time": checks.number(0, 168, "hours"),
            "min_free": checks.whole(0, 10_000_000),
        },
    ),
    "trace": (
        TraceSettings,
        {
            "keep": checks.number(0, 3650, "days"),
            "max_size": checks.whole(32, 10_000_000),
            "directory": checks.some_text,
            "hep": checks.server,
            "hep_id": checks.whole(0, 2**32 - 1),
            "hep_password": checks.text,
        },
    ),
    "privacy": (
        PrivacySettings,
        {field: checks.number(0, 36500, "days") for field in PrivacySettings.__struct_fields__},
    ),
    "control": (
        ControlSettings,
        {
            "socket": checks.some_text,
        },
    ),
    "log": (
        LogSettings,
        {
            "format": checks.one_of("text", "json"),
            "level": checks.one_of("debug", "info", "warn", "error", "critical"),
            "file": checks.some_text,
        },
    ),
    "storage": (
        StorageSettings,
        {
            "url": checks.store_url,
            "spool": checks.some_text,
        },
    ),
    "web": (
        WebSettings,
        {
            "listen": checks.host_port,
            "proxies": checks.each(checks.network),
            "tls": checks.flag,
            "public_url": checks.base_url,
            "metrics_from": checks.each(checks.network),
            "pages_per_address": checks.whole(0, 1_000_000),
            "pages_per_project": checks.whole(0, 10_000_000),
        },
    ),
    "events": (
        EventsSettings,
        {
            "keep": checks.number(0.01, 3650, "days"),
            "keep_undelivered": checks.number(0, 3650, "days"),
        },
    ),
    "webhooks": (
        WebhooksSettings,
        {
            "allow_private": checks.flag,
            "timeout": checks.number(1, 60, "seconds"),
            "give_up": checks.number(0.01, 720, "hours"),
        },
    ),
    "tariff": (
        TariffSettings,
        {
            "currency": checks.some_text,
            "prices": checks.prices,
        },
    ),
}

SINK: dict[str, Check] = {
    "name": checks.some_text,
    "kind": checks.some_text,
    "events": checks.each(checks.some_text),
}

TRUNK: dict[str, Check] = {
    "name": checks.some_text,
    "sources": checks.each(checks.network),
    "inbound_username": checks.some_text,
    "inbound_password": checks.text,
    "number_from": checks.one_of("request-uri", "to", "p-called-party-id", "diversion"),
    "country": checks.country,
    "outbound": checks.next_hop,
    "username": checks.some_text,
    "password": checks.text,
    "realm": checks.some_text,
    "register": checks.flag,
    "aor": checks.sip_user,
    "register_expires": checks.whole(10, 86400),
    "max_calls": checks.whole(0, 1_000_000),
    "max_rate": checks.number(0, 100_000, "calls a second"),
    "caller_id": checks.shown_number,
    "number_format": checks.one_of("plus", "digits", "national"),
    "trust_identity": checks.flag,
    "pass_diversion": checks.flag,
}
