"""Walk from a SIP address to where it is served: NAPTR, SRV, A and AAAA (RFC 3263).

Knows names, records, their times to live and a deadline. Must not know who asks, what was found before, or messages
and sockets.

    address literal                  -> itself, at once
    explicit port                    -> A/AAAA                  (RFC 3263 section 4.2)
    explicit transport               -> SRV, else A/AAAA        (section 4.2)
    neither                          -> NAPTR, else SRV of each transport, else A/AAAA   (section 4.1)
    a name in /etc/hosts, localhost  -> as if its port were explicit: DNS is not asked
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime, IResolver
from twisted.names import dns, error

from calltrack.errors import Unresolvable

MAX_NEXT_HOPS = 16
MAX_SERVERS = 16  # SRV targets whose addresses are looked up, for one service
MAX_SERVICES = 8  # NAPTR records followed
MAX_ALIASES = 8  # CNAMEs followed, for one question

BUDGET = 4.0  # seconds for one walk
REPEAT = (1, 2)  # seconds after which each DNS server is asked again
LONGEST_TTL = 86400  # seconds
NEGATIVE_TTL = 10.0  # seconds that "no such name" is remembered
UNANSWERED_TTL = 2.0  # seconds that "DNS does not answer" is remembered
STALE_FOR = 86400.0  # seconds that an expired plan may still serve

_DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5061}
_SERVICES = {"udp": b"_sip._udp.", "tcp": b"_sip._tcp.", "tls": b"_sips._tcp."}
_NAPTR_TRANSPORTS = {b"SIP+D2U": "udp", b"SIP+D2T": "tcp", b"SIPS+D2T": "tls"}
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}
_LABEL = rb"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rb"(?=.{1,253}\Z)(?:%s\.)*(?![0-9]+\Z)%s\Z" % (_LABEL, _LABEL))
# What a server says when it cannot tell, as opposed to "there is no such name".
_NO_ANSWER = (
    defer.TimeoutError,
    defer.CancelledError,
    error.DNSServerError,
    error.DNSFormatError,
    error.DNSNotImplementedError,
    error.DNSQueryRefusedError,
    error.DNSUnknownError,
    OSError,
)


class NextHop(NamedTuple):
    """Where a request may be sent."""

    transport: str  # "udp", "tcp" or "tls"
    host: str  # an IPv4 or IPv6 address, without brackets
    port: int
    name: str = ""  # by TLS: the name or address that its certificate must be for (RFC 5922 section 7.1)


def literal(host: str, port: int | None = None, transport: str | None = None, secure: bool = False) -> NextHop | None:
    """The next hop of an address literal (IPv6 with or without brackets), None when `host` is a name.

    The fast path of `Resolver.resolve`: no Deferred, no cache. Raises Unresolvable for a port outside 1 to
    65535 and for a transport that is not spoken here.
    """
    address = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    if ":" in address:
        family = socket.AF_INET6
    elif address[-1:] in "0123456789":
        family = socket.AF_INET
    else:
        return None
    try:
        socket.inet_pton(family, address)
    except (OSError, ValueError):
        return None
    transport = _transport(transport, secure) or ("tls" if secure else "udp")
    return _next_hop(transport, address, _port(port) or _DEFAULT_PORTS[transport], address)


class Question(NamedTuple):
    """What is asked: the parts of a SIP URI that RFC 3263 looks at."""

    host: str  # lower case, without the final dot
    port: int | None
    transport: str | None
    secure: bool


class Server(NamedTuple):
    """A host that serves the address, one of its tier."""

    weight: int  # RFC 2782
    hops: tuple[NextHop, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A plan (`tiers` of servers, the first tier before the second), or without tiers a refusal in words."""

    tiers: tuple[tuple[Server, ...], ...]
    words: str
    complete: bool  # every question on the way was answered
    fresh_until: float  # by the clock
    usable_until: float

    def next_hops(self, chance: Callable[[], float]) -> list[NextHop]:
        ordered = (by_weight(tier, chance) if len(tier) > 1 else tier for tier in self.tiers)
        hops = chain.from_iterable(server.hops for server in chain.from_iterable(ordered))
        return list(dict.fromkeys(hops))[:MAX_NEXT_HOPS]


def question(host: str, port: int | None, transport: str | None, secure: bool) -> Question:
    """The question that a host name, port and transport parameter of a SIP or (`secure`) SIPS URI ask. Raises
    Unresolvable for what can have no answer."""
    name = host[:-1] if host.endswith(".") else host
    if not (name.isascii() and _NAME.match(name.encode("ascii"))):
        raise Unresolvable(f"{host[:80]!r} is neither a host name nor an address")
    return Question(name.lower(), _port(port), _transport(transport, secure), secure)


class Walk:
    """One walk through RFC 3263 for one name."""

    def __init__(self, resolver: IResolver, hosts: IResolver | None, clock: IReactorTime, families, transports) -> None:
        self._dns = resolver
        self._hosts = hosts
        self._clock = clock
        self._families = families
        self._transports = transports
        self._deadline = clock.seconds() + BUDGET
        self._ttl = LONGEST_TTL
        self._unanswered = False
        self._unknown = False  # the last question had the answer that there is no such name
        self._served = False  # SRV records exist, so that addresses of the name itself do not count

    async def answer(self, question: Question) -> Answer:
        """The plan or the refusal; raises nothing but bugs."""
        tiers = await self._tiers(question)
        now = self._clock.seconds()
        if tiers:
            # What was found while some question stayed open serves, but is soon asked again.
            fresh = min(self._ttl, NEGATIVE_TTL) if self._unanswered else self._ttl
            return Answer(tuple(tiers), "", not self._unanswered, now + max(fresh, 1), now + fresh + STALE_FOR)
        remember = NEGATIVE_TTL
        if self._unanswered:
            words, remember = "DNS does not answer", UNANSWERED_TTL
        elif self._served:
            words = "its SRV records name no server that can be used"
        elif self._unknown:
            words = "there is no such name"
        else:
            words = "the name has no address that can be used"
        return Answer((), f"{question.host}: {words}", not self._unanswered, now + remember, 0.0)

    async def _tiers(self, question: Question) -> list[tuple[Server, ...]]:
        host = question.host.encode("ascii")
        plain = question.transport or ("tls" if question.secure else "udp")
        known = await self._addresses_in_hosts(question.host)
        if known:
            return _tier(plain, known, question)
        if question.port is None:
            services = await self._services(host, question)
            asked = services[:MAX_SERVICES]
            found = await _together(self._servers(name, transport, question) for name, transport in asked)
            if self._served:
                return list(chain.from_iterable(found))
        return _tier(plain, await self._addresses(host), question)

    async def _services(self, host: bytes, question: Question) -> list[tuple[bytes, str]]:
        """SRV names with their transports, best first (RFC 3263 section 4.1)."""
        if question.transport is not None:
            return [(_SERVICES[question.transport] + host, question.transport)]
        allowed = ("tls",) if question.secure else self._transports
        records = await self._ask(self._dns.lookupNamingAuthorityPointer, host, dns.NAPTR, optional=True)
        chosen = []
        for record in sorted(records, key=lambda record: (record.order, record.preference)):
            transport = _NAPTR_TRANSPORTS.get(record.service.string.upper())
            if transport in allowed and record.flags.string.upper() == b"S":
                chosen.append((record.replacement.name, transport))
        return chosen or [(_SERVICES[transport] + host, transport) for transport in allowed]

    async def _servers(self, service: bytes, transport: str, question: Question) -> list[tuple[Server, ...]]:
        """The servers of one SRV name in tiers of equal priority. A target of "." is a refusal (RFC 2782)."""
        records = await self._ask(self._dns.lookupService, service, dns.SRV, optional=True)
        self._served = self._served or bool(records)
        usable = [record for record in records if record.port and record.target.name not in (b"", b".")]
        usable = sorted(usable, key=lambda record: record.priority)[:MAX_SERVERS]
        found = await _together(self._addresses(record.target.name) for record in usable)
        tiers: dict[int, list[Server]] = {}
        for record, addresses in zip(usable, found):
            if addresses:
                hops = tuple(_next_hop(transport, address, record.port, question.host) for address in addresses)
                tiers.setdefault(record.priority, []).append(Server(record.weight, hops))
        return [tuple(servers) for servers in tiers.values()]

    async def _addresses_in_hosts(self, host: str) -> list[str]:
        if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 section 6.3
            return [_LOOPBACK[family] for family in self._families]
        if self._hosts is None:
            return []
        return await self._addresses(host.encode("ascii"), self._hosts)

    async def _addresses(self, host: bytes, source: IResolver | None = None) -> list[str]:
        """Address literals of `host`, the families taking turns, the preferred one first."""
        source = source or self._dns
        questions = {4: (source.lookupAddress, host, dns.A), 6: (source.lookupIPV6Address, host, dns.AAAA)}
        preferred = self._families[0]
        found = await _together(self._ask(*questions[family], family != preferred) for family in self._families)
        texts = [[_text(record) for record in records] for records in found]
        turns = chain.from_iterable(zip_longest(*texts))
        return [address for address in turns if address is not None][:MAX_NEXT_HOPS]

    async def _ask(self, lookup: Callable, name: bytes, kind: int, optional: bool = False) -> list[Any]:
        """The records of `kind` that `name` has, through its aliases; [] when there are none or no answer came."""
        for _ in range(MAX_ALIASES):
            if not _NAME.match(name):
                return []
            asked = name
            answers = await self._answers_to(lookup, name, optional)
            aliases = {record.name.name.lower(): record for record in answers if record.type == dns.CNAME}
            while (alias := aliases.pop(name.lower(), None)) is not None:
                self._ttl = min(self._ttl, alias.ttl)
                name = alias.payload.name.name
            records = [r for r in answers if r.type == kind and r.name.name.lower() == name.lower()]
            if records or name == asked:
                self._ttl = min([self._ttl, *(record.ttl for record in records)])
                return [record.payload for record in records]
        return []

    async def _answers_to(self, lookup: Callable, name: bytes, optional: bool) -> Iterable[Any]:
        left = self._deadline - self._clock.seconds()
        if left <= 0:
            self._unanswered = True
            return ()
        # A name server or firewall that drops NAPTR, SRV or AAAA questions must leave time for the address.
        asking = defer.maybeDeferred(lookup, name, REPEAT).addTimeout(left / 2 if optional else left, self._clock)
        self._unknown = False
        try:
            answers, _, _ = await asking
            return answers
        except _NO_ANSWER:
            self._unanswered = True
        except (error.DomainError, error.AuthoritativeDomainError):
            self._unknown = True
        return ()


def by_weight(servers: Iterable[Server], chance: Callable[[], float]) -> list[Server]:
    """Servers of one priority in an order drawn by their weights (RFC 2782, "Weight")."""
    left = sorted(servers, key=lambda server: server.weight > 0)  # weight 0 first: a small chance, not none
    ordered = []
    while left:
        drawn = int(chance() * (sum(server.weight for server in left) + 1))
        running = 0
        for place, server in enumerate(left):
            running += server.weight
            if running >= drawn:
                break
        ordered.append(left.pop(place))
    return ordered


def _tier(transport: str, addresses: list[str], question: Question) -> list[tuple[Server, ...]]:
    if not addresses:
        return []
    port = question.port or _DEFAULT_PORTS[transport]
    return [(Server(0, tuple(_next_hop(transport, address, port, question.host) for address in addresses)),)]


def _next_hop(transport: str, address: str, port: int, name: str) -> NextHop:
    """A next hop for a SIP URI with host `name`: whatever DNS says on the way, that is who must answer by TLS."""
    return NextHop(transport, address, port, name if transport == "tls" else "")


def _text(record: dns.Record_A | dns.Record_AAAA) -> str:
    family = socket.AF_INET if record.TYPE == dns.A else socket.AF_INET6
    return socket.inet_ntop(family, record.address)


def _transport(transport: str | None, secure: bool) -> str | None:
    """The transport that is meant: SIPS over TCP is TLS (RFC 3261 section 26.2.2). None: free to choose."""
    if transport is None:
        return None
    meant = transport.lower()
    if secure and meant in ("tcp", "tls"):
        return "tls"
    if secure or meant not in _DEFAULT_PORTS:
        raise Unresolvable(f"transport {transport[:20]!r} cannot be used{' for a sips address' if secure else ''}")
    return meant


def _port(port: int | None) -> int | None:
    if port is not None and not 0 < port < 65536:
        raise Unresolvable(f"port {port} is outside 1 to 65535")
    return port


async def _together(coroutines: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    return await defer.gatherResults([defer.Deferred.fromCoroutine(one) for one in coroutines], consumeErrors=True)
