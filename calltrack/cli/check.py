"""`calltrack check`: is everything ready for calls? Each part gets a verdict in words.

Knows what a call needs from outside; changes nothing. Must not know how calls work.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Coroutine, Iterable, NamedTuple

import click

from calltrack.cli.environment import Environment, run
from calltrack.cli.output import json_option, print_json, printable
from calltrack.errors import CalltrackError, ConfigErrors

if TYPE_CHECKING:
    from calltrack.config import Settings, TrunkSettings
    from calltrack.sip.tls import Trust
    from calltrack.storage.sqlite import Database

RELEASED = 1_735_689_600  # 2025 in seconds since the Unix epoch: no right clock says less
CLOCK_TOLERANCE = 60.0  # seconds by which the newest record may be ahead of the clock


class Verdict(NamedTuple):
    """What is to be said of one thing."""

    subject: str
    good: bool
    words: str


@click.command()
@json_option
@click.option("--trial/--no-trial", default=True, help="Measure for five seconds what relaying media costs here.")
@click.pass_context
def check(ctx: click.Context, as_json: bool, trial: bool) -> None:
    """Say whether everything is ready for calls; exit status 1 when something is not."""
    environment: Environment = ctx.obj
    named = environment.config_path or "defaults"
    try:
        settings = environment.settings
    except ConfigErrors as error:
        verdicts = [Verdict("configuration", False, f"{named}: {line}") for line in error.errors]
    else:
        verdicts = [Verdict("configuration", True, f"{named}, {len(settings.trunks)} trunks")]
        verdicts += run(lambda reactor: everything(settings, reactor, trial))
    if as_json:
        print_json([{"check": v.subject, "ok": v.good, "verdict": v.words} for v in verdicts])
    else:
        for verdict in verdicts:
            mark = click.style("ok  ", fg="green") if verdict.good else click.style("FAIL", fg="red")
            click.echo(f"{mark}  {verdict.subject:<14} {printable(verdict.words)}")
    if not all(verdict.good for verdict in verdicts):
        ctx.exit(1)


async def everything(settings: Settings, reactor: Any, trial: bool = True) -> list[Verdict]:
    """The verdicts on all but the configuration itself; with `trial` the relay is tried for five seconds."""
    from calltrack.cli.check_media import on_relay
    from calltrack.cli.check_plugins import on_backends
    from calltrack.sip.resolver import system_resolver

    resolver = system_resolver(reactor)
    database, hosts, newest = await on_database(settings, reactor)
    return [
        *database,
        *on_ports(settings),
        *(Verdict("media", good, words) for good, words in await on_relay(settings, reactor, trial)),
        *(Verdict("plugins", good, words) for good, words in await on_backends(settings, reactor)),
        *on_disks(settings),
        *on_certificate(settings),
        *await on_names(hosts, resolver.resolve),
        on_clock(time.time(), newest),
        *await on_trunks(settings.trunks, resolver.resolve, reactor, trust_of(settings)),
    ]


def on_disks(settings: Settings) -> list[Verdict]:
    """Whether what grows has room to."""
    from calltrack.cli.check_disk import on_directories
    from calltrack.storage.url import open_stores

    stores = open_stores(settings.storage.url, None)  # opens nothing
    return [Verdict(*one) for one in on_directories(settings, stores.recordings_path, stores.traces_path)]


async def on_database(settings: Settings, reactor: Any) -> tuple[list[Verdict], list[str], float | None]:
    """The verdicts, the targets in the catalog, and when the newest call was (seconds since the epoch)."""
    from calltrack.storage.sqlite import Database

    scheme, _, path = settings.storage.url.partition(":")
    if scheme == "memory":
        return [Verdict("database", True, "in memory: calls and settings go with the process")], [], None
    if not os.path.exists(path):
        directory = Path(path).resolve().parent
        writable = directory.is_dir() and os.access(directory, os.W_OK)
        words = "will be made by the first start" if writable else f"cannot be made: {directory} may not be written to"
        return [Verdict("database", writable, f"{path} {words}")], [], None
    database = Database(path, reactor)
    try:
        version = await database.examine()
        targets, newest = await _contents(database) if version else ([], None)
        return [Verdict("database", True, f"{path}, schema version {version}, can be written to")], targets, newest
    except CalltrackError as error:
        return [Verdict("database", False, str(error))], [], None
    finally:
        database.close()


async def _contents(database: Database) -> tuple[list[str], float | None]:
    from calltrack.storage.sqlite_stores import SQLiteCallRecords, SQLiteCatalog

    _, _, scenarios, _ = await SQLiteCatalog(database).snapshot()
    targets = {target.address for scenario in scenarios for target in scenario.targets if target.kind == "sip"}
    newest = await SQLiteCallRecords(database).list(limit=1)
    return sorted(targets), newest[0].created / 1000 if newest else None


def on_ports(settings: Settings) -> list[Verdict]:
    """Whether everything that the engine listens on is free, or in use by the engine itself."""
    from calltrack.storage.spool import in_use

    spool = settings.storage.spool or settings.storage.url.partition(":")[2] + "-spool"
    ours = bool(spool) and in_use(spool)
    web = settings.web.listen
    places = [(str(where), where.transport, where.host, where.port) for where in settings.sip.listen]
    places.append((f"web {web}", "tcp", web.host, web.port))
    verdicts = []
    for named, transport, host, port in places:
        why = _why_not(transport, host, port)
        if why is None:
            verdicts.append(Verdict("ports", True, f"{named} is free"))
        elif ours:
            verdicts.append(Verdict("ports", True, f"{named}: {why}; calltrack is running"))
        else:
            verdicts.append(Verdict("ports", False, f"{named}: {why}"))
    own = () if settings.media.relay == "rtpengine" else settings.media.listen
    return verdicts + [_on_media_ports(settings, host) for host in own]


def on_certificate(settings: Settings) -> list[Verdict]:
    """Whether what TLS listens with can be used, where it listens."""
    if not any(place.transport == "tls" for place in settings.sip.listen):
        return []
    from calltrack.sip.tls import ServerCertificate

    certificate = ServerCertificate(settings.tls.certificate, settings.tls.key)
    try:
        certificate.load()
    except ConfigErrors as error:
        return [Verdict("certificate", False, str(error))]
    ends = certificate.expires()
    words = f"{settings.tls.certificate} is valid until {time.strftime('%Y-%m-%d', time.gmtime(ends))}"
    return [Verdict("certificate", ends > time.time(), words)]


def _on_media_ports(settings: Settings, host: str) -> Verdict:
    low, high = settings.media.ports
    free = sum(1 for port in range(low, high + 1) if _why_not("udp", host, port) is None)
    words = f"media {host}: {free} of {high - low + 1} ports from {low} to {high} are free"
    return Verdict("ports", free >= 4, words)  # one call, two parties, RTP and RTCP


def _why_not(transport: str, host: str, port: int) -> str | None:
    """Why one cannot listen there; None when one can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as attempt:
            if transport == "tcp":
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                attempt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            attempt.bind((host, port))
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None


async def on_names(targets: Iterable[str], resolve: Callable[..., Awaitable[list]]) -> list[Verdict]:
    """Whether each target (a SIP URI) leads to an address, by RFC 3263."""
    verdicts = await _together(_on_name(target, resolve) for target in targets)
    return verdicts or [Verdict("DNS", True, "no scenario has an address to look up")]


async def _on_name(target: str, resolve: Callable[..., Awaitable[list]]) -> Verdict:
    from calltrack.tracking.targets import parse_sip_address

    try:
        address = parse_sip_address(target, "target")
        hops = await resolve(address.host, address.port, address.transport or None)
    except CalltrackError as error:
        return Verdict("DNS", False, f"{target}: {error}")
    return Verdict("DNS", True, f"{target} -> {_hop(hops[0])}" + (f" and {len(hops) - 1} more" if hops[1:] else ""))


def on_clock(now: float, newest: float | None) -> Verdict:
    """Whether the clock may be right: `newest` is when the newest call was."""
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    if now < RELEASED:
        return Verdict("clock", False, f"{shown} is before this calltrack was made; set the clock")
    if newest is not None and newest > now + CLOCK_TOLERANCE:
        return Verdict("clock", False, f"{shown} is {newest - now:.0f} s before the newest call; set the clock")
    return Verdict("clock", True, shown)


def trust_of(settings: Settings) -> Trust:
    """By whom the certificates of trunks must be signed."""
    from calltrack.sip.tls import Trust

    return Trust(settings.tls.authorities, settings.tls.verify)


async def on_trunks(
    trunks: Iterable[TrunkSettings], resolve: Callable[..., Awaitable[list]], reactor: Any, trust: Trust | None = None
) -> list[Verdict]:
    """Whether each trunk that calls leave by answers."""
    verdicts = await _together(_on_trunk(trunk, resolve, reactor, trust) for trunk in trunks)
    return verdicts or [Verdict("trunks", True, "none: no call can come in; add a [[trunk]]")]


async def _on_trunk(
    trunk: TrunkSettings, resolve: Callable[..., Awaitable[list]], reactor: Any, trust: Trust | None
) -> Verdict:
    from calltrack.cli.probe import ask_options
    from calltrack.tracking.targets import parse_sip_address

    sources = _sources_of(trunk)
    if not trunk.outbound:
        return Verdict("trunks", True, f"{trunk.name}: {sources}")
    try:
        address = parse_sip_address(trunk.outbound, "outbound")
        (hop, *_) = await resolve(address.host, address.port, address.transport or None)
        status = await ask_options(reactor, *hop, trust=trust)
    except CalltrackError as error:
        return Verdict("trunks", False, f"{trunk.name}: {sources}; {trunk.outbound}: {error}")
    return Verdict("trunks", True, f"{trunk.name}: {sources}; {_hop(hop)} answers {status}")


def _sources_of(trunk: TrunkSettings) -> str:
    """Where a trunk's calls come from, in words."""
    found = [f"calls come from {', '.join(map(str, trunk.sources))}"] if trunk.sources else []
    if trunk.inbound_username:
        found.append(f"calls must prove to be {trunk.inbound_username}")
    if trunk.register:
        found.append(f"registers as {trunk.aor or trunk.username}")
    return ", ".join(found) or "outbound only"


async def _together(verdicts: Iterable[Coroutine[Any, Any, Verdict]]) -> list[Verdict]:
    from twisted.internet.defer import Deferred, gatherResults

    return await gatherResults([Deferred.fromCoroutine(verdict) for verdict in verdicts])


def _hop(hop: Any) -> str:
    transport, host, port, *_ = hop
    return f"{transport}:[{host}]:{port}" if ":" in host else f"{transport}:{host}:{port}"
