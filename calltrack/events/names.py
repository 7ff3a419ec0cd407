"""Addresses of the hosts that webhooks are posted to, by twisted.names: nothing here waits for a thread or blocks."""

from __future__ import annotations

import ipaddress
from typing import Any

from twisted.internet import defer
from twisted.names import client, dns, error
from twisted.python.failure import Failure

from calltrack.events.posting import PostFailed, Resolve

TIMEOUTS = (1, 3)  # seconds that a name server has, each time it is asked


def resolve_by(reactor: Any) -> Resolve:
    """Answers with the addresses of a name, IPv4 first: from /etc/hosts, or as /etc/resolv.conf says. Reads them when
    it is asked for the first time."""
    resolvers: list[Any] = []

    def resolve(host: str) -> defer.Deferred[list[str]]:
        if not resolvers:
            resolvers.append(client.createResolver(reactor=reactor))
        asked = [ask(host, TIMEOUTS) for ask in (resolvers[0].lookupAddress, resolvers[0].lookupIPV6Address)]
        return defer.DeferredList(asked, consumeErrors=True).addCallback(_addresses, host)

    return resolve


def _addresses(outcomes: list[tuple[bool, Any]], host: str) -> list[str]:
    found = []
    for succeeded, result in outcomes:
        if succeeded:
            found += [one.payload.dottedQuad() for one in result[0] if one.type == dns.A]
            found += [_literal(one.payload) for one in result[0] if one.type == dns.AAAA]
    if not found:
        failures = [result for succeeded, result in outcomes if isinstance(result, Failure)]
        if failures and not any(failure.check(error.DNSNameError, error.DomainError) for failure in failures):
            raise PostFailed(f"the address of {host} cannot be found now: DNS does not answer")
        raise PostFailed(f"{host} has no address: there is no such name")
    return found


def _literal(record: dns.Record_AAAA) -> str:
    return str(ipaddress.IPv6Address(record.address))
