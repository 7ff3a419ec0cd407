"""Remember where SIP addresses are served, and find out when it is not known (RFC 3263).

Knows a clock, what was found before and who waits. Must not know records (see `locating`), messages, sockets or
which next hop worked: failing over is the business of whoever sends the request.

What a walk finds is a plan, kept for the shortest time to live met on the way; the weighted choice among SRV
servers (RFC 2782) is made anew for each call. When DNS is gone, an expired plan serves for another day (RFC 8767).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from random import random
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime, IResolver
from twisted.logger import Logger
from twisted.names import client, hosts

from calltrack.errors import Unresolvable
from calltrack.sip.locating import UNANSWERED_TTL, Answer, NextHop, Question, Walk, literal, question

__all__ = ["NextHop", "Resolver", "literal", "system_resolver"]

MAX_ANSWERS = 1024  # plans and refusals kept
MAX_LOOKUPS = 256  # walks at once: names in Contact and Route are chosen by strangers
STALE_PATIENCE = 0.5  # seconds that a caller waits for DNS when an expired plan is at hand
STALE_RECHECK = 30.0  # seconds from one attempt to renew an expired plan to the next


def system_resolver(reactor, clock: IReactorTime | None = None, **options: Any) -> Resolver:
    """A `Resolver` over the name servers of /etc/resolv.conf (read again when it changes) and /etc/hosts.
    `clock`: where time comes from, when not from `reactor`; `options` go to `Resolver`."""
    return Resolver(
        client.Resolver(resolv="/etc/resolv.conf", reactor=reactor),
        clock or reactor,
        hosts=hosts.Resolver(b"/etc/hosts", ttl=60),
        **options,
    )


class Resolver:
    """Answers where a SIP address is served.

    `dns`, `hosts`: IResolvers, e.g. of twisted.names; `hosts` is asked for addresses before DNS is asked anything.
    `families`: the IP versions that are spoken here, the preferred one first. `transports`: what may be chosen
    where the address leaves the choice, in order of preference. `chance`: uniform in [0, 1).
    """

    def __init__(
        self,
        dns: IResolver,
        clock: IReactorTime,
        *,
        hosts: IResolver | None = None,
        families: tuple[int, ...] = (4, 6),
        transports: tuple[str, ...] = ("udp", "tcp"),
        chance: Callable[[], float] = random,
    ) -> None:
        self._dns = dns
        self._hosts = hosts
        self._clock = clock
        self._families = families
        self._transports = transports
        self._chance = chance
        self._answers: OrderedDict[Question, Answer] = OrderedDict()
        self._waiting: dict[Question, list[defer.Deferred]] = {}

    def resolve(
        self, host: str, port: int | None = None, transport: str | None = None, secure: bool = False
    ) -> defer.Deferred[list[NextHop]]:
        """The next hops of a SIP URI's host, port and transport parameter, best first, 1 to 16 of them.

        `secure`: a SIPS URI. Has fired already for literals and for what is cached. Fails with Unresolvable, whose
        words name `host`, within 4 s. Cancelling gives up waiting and disturbs nobody else who asks the same.
        """
        try:
            hop = literal(host, port, transport, secure)
            if hop is not None:
                return defer.succeed([hop])
            key = question(host, port, transport, secure)
        except Unresolvable:
            return defer.fail()
        answer = self._answers.get(key)
        if answer is not None and self._clock.seconds() < answer.fresh_until:
            self._answers.move_to_end(key)
            return _told(answer, self._chance)
        if key not in self._waiting:
            if len(self._waiting) >= MAX_LOOKUPS:
                return defer.fail(Unresolvable(f"{host}: {MAX_LOOKUPS} names are being looked up already"))
            self._start(key)
        answer = self._answers.get(key)  # the walk may have ended at once
        if key not in self._waiting and answer is not None:
            return _told(answer, self._chance)
        waiter: defer.Deferred[list[NextHop]] = defer.Deferred(self._waiting[key].remove)
        self._waiting[key].append(waiter)
        return waiter

    def _start(self, key: Question) -> None:
        self._waiting[key] = []
        walk = Walk(self._dns, self._hosts, self._clock, self._families, self._transports)
        finding = defer.Deferred.fromCoroutine(walk.answer(key))
        if not finding.called and self._stale(key) is not None:
            impatience = self._clock.callLater(STALE_PATIENCE, self._settle_for_stale, key)
            finding.addBoth(_cancelling, impatience)
        finding.addCallbacks(self._found, self._broken, callbackArgs=(key,), errbackArgs=(key,))

    def _stale(self, key: Question) -> Answer | None:
        answer = self._answers.get(key)
        usable = answer is not None and answer.tiers and self._clock.seconds() < answer.usable_until
        return answer if usable else None

    def _settle_for_stale(self, key: Question) -> None:
        """Let the expired plan serve for now; the walk goes on and replaces it if it ends well."""
        stale = self._stale(key)
        if stale is not None:
            self._keep(key, replace(stale, fresh_until=self._clock.seconds() + STALE_RECHECK))
            self._release(key, stale)

    def _found(self, answer: Answer, key: Question) -> None:
        stale = self._stale(key)
        if stale is not None and not answer.complete and (stale.complete or not answer.tiers):
            self._settle_for_stale(key)
        else:
            self._keep(key, answer)
            self._release(key, answer)
        self._waiting.pop(key, None)

    def _broken(self, failure, key: Question) -> None:
        """A bug, ours or of a DNS plugin: say so, and let those who wait go on to their next target."""
        Logger().failure("looking up {host} failed", failure, host=key.host)
        remembered = self._clock.seconds() + UNANSWERED_TTL
        self._found(Answer((), f"{key.host}: the look-up failed", False, remembered, 0.0), key)

    def _keep(self, key: Question, answer: Answer) -> None:
        self._answers[key] = answer
        self._answers.move_to_end(key)
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    def _release(self, key: Question, answer: Answer) -> None:
        waiters = self._waiting.get(key, [])
        while waiters:
            _told(answer, self._chance).chainDeferred(waiters.pop(0))


def _told(answer: Answer, chance: Callable[[], float]) -> defer.Deferred[list[NextHop]]:
    if answer.tiers:
        return defer.succeed(answer.next_hops(chance))
    return defer.fail(Unresolvable(answer.words))


def _cancelling(result, call):
    if call.active():
        call.cancel()
    return result


def families(listen: Any) -> tuple[int, ...]:
    """The IP versions that SIP is spoken over, for the choice among a name's addresses."""
    found = {6 if ":" in place[1] else 4 for place in listen}
    return tuple(sorted(found)) or (4,)


def spoken(listen: Any) -> tuple[str, ...]:
    """The transports that SIP is spoken over, UDP first."""
    return tuple(name for name in ("udp", "tcp") if any(place[0] == name for place in listen))
