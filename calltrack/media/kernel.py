"""The relay whose calls, once both sides talk, are carried by the kernel: their packets no longer reach this process.

A call begins in the Twisted relay, which finds out who is who. With the first packet of the second side its RTP is
handed over; RTCP stays. It comes back whenever something changes: a new description, hold, a tap (recording), a knock of
a phone that has changed its port, the end; then half a second of packets both ways hand it over again. Where the kernel
cannot carry a stream, or all of them, the Twisted relay goes on: this relay can do less than its name says, but never
less than that one.

Knows when; how is `bypass`'s, and whether at all `readiness`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from calltrack.media import readiness
from calltrack.media.addresses import is_own
from calltrack.media.bypass import Bypasses, StreamBypass
from calltrack.media.filter_table import FilterTable, NoNftables
from calltrack.media.lanes import Lane
from calltrack.media.readiness import NotReady
from calltrack.media.relay import CHECK, FORGET_ROUTES, TwistedRelay
from calltrack.media.session import Session
from calltrack.media.settings import MediaSettings

_STEADY = 2  # ticks in which packets must have come from both sides, where a call has come back
_AT_ONCE = 100  # calls handed over before the reactor's other business has its turn: some milliseconds
_SWEEP = 5.0  # seconds between two counts of everything
_RETRY = 30.0  # seconds after which the kernel is tried again
_FAILURES = 3  # streams in a row that it did not deliver, after which it is left alone for that time
_FEW = 200  # streams that are counted at one go
_PAUSE = 0.01  # seconds between two steps of a count: on one core with the kernel's forwarding, which must not wait for it
_HOSTS = 4096  # far ends whose place is remembered

_log = Logger()


class KernelRelay(TwistedRelay):
    """See IMediaRelay, and `status` for how much of it is in force."""

    def __init__(self, reactor: Any, settings: MediaSettings, clock: Any = None) -> None:
        super().__init__(reactor, settings, clock)
        self._reactor = reactor
        self._settings = settings
        self._versions: tuple[int, ...] = ()
        self._bypasses: Bypasses | None = None  # while it is in force
        self._why = "it has not been started"
        self._past = [0, 0, 0, 0]  # counters of what was in force before
        self._fallbacks = 0
        self._trying = self._stopped = False
        self._try_again = 0.0
        self._reachable: dict[str, bool] = {}
        self._ready: dict[Session, None] = {}  # to be handed over, in the order in which they latched
        self._sweeping: Iterator[list[StreamBypass]] | None = None
        self._next_sweep = 0.0
        self.sweep_interval = min(_SWEEP, max(CHECK, settings.timeout / 10 or _SWEEP))

    def start(self) -> Deferred[None]:
        super().start()
        self._stopped = False
        return Deferred.fromCoroutine(self._engage())

    def stop(self) -> Deferred[None]:
        """Take everything back, and the table out of the kernel: what an earlier run left as well."""
        self._stopped = True
        super().stop()
        return Deferred.fromCoroutine(self._disengage(clean=True))

    def status(self) -> dict[str, Any]:
        bypasses = self._bypasses
        handed_over, handed_back, undelivered, refused = map(sum, zip(self._past, self._counters()))
        told = {
            **super().status(),
            "relay": "kernel",
            "in_kernel": len(bypasses.active) if bypasses else 0,
            "left_behind": len(bypasses.left_behind) if bypasses else 0,
            "handed_over": handed_over,
            "handed_back": handed_back,
            "undelivered": undelivered,
            "refused": refused,
            "fallbacks": self._fallbacks,
        }
        if self._why:
            told["why"] = self._why
        return told

    def latched(self, session: Session) -> None:
        if not self._ready:
            self.clock.callLater(0, self._hand_over_some)
        self._ready[session] = None

    def forget(self, session: Session) -> None:
        super().forget(session)
        self._ready.pop(session, None)

    def hand_over(self, ticks: int = 0) -> None:
        """Hand over what has flowed both ways for so many ticks."""
        self._ready.update((session, None) for session in self._watched if session.steady(ticks))
        self._hand_over_some()

    def _hand_over_some(self) -> None:
        """Hand over the first of those that are ready, and call again for the others."""
        some = list(islice(self._ready, _AT_ONCE))
        for session in some:
            del self._ready[session]
        if self._ready:
            self.clock.callLater(0, self._hand_over_some)
        if self._bypasses is None:
            return
        fit: list[tuple[Session, Lane, Lane]] = []
        for session in some:
            for a, b in session.pairs():
                if self._forwardable(a) and self._forwardable(b) and self._alike(a, b):
                    fit.append((session, a, b))
                else:
                    a.barred = b.barred = True
        try:
            self._bypasses.begin(fit)
        except OSError as error:
            self._give_up(f"the kernel's packet filter refuses: {error}")
            return
        for session in {session for session, _, _ in fit}:
            if session.passed_by:
                self._watched.discard(session)

    # The clock

    def _check(self) -> None:
        super()._check()
        now = self.clock.seconds()
        if self._checks % FORGET_ROUTES == 0:
            self._reachable.clear()
        if self._bypasses is None:
            if not self._trying and now >= self._try_again:
                Deferred.fromCoroutine(self._engage())
            return
        try:
            if not self._bypasses.table.exists:
                self._bypasses.gone = True
                self._give_up("somebody has deleted its table", again=0)
                return
            for bypass in self._bypasses.tick(now):
                bypass.owner.check(now, self._timeout)
            self._bypasses.hush()
            if now >= self._next_sweep and self._sweeping is None:
                self._next_sweep = now + self.sweep_interval
                self._sweeping = self._bypasses.sweep()
                self._sweep()
        except OSError as error:
            self._give_up(f"the kernel's packet filter refuses: {error}")
            return
        if self._bypasses.failed_in_a_row >= _FAILURES:
            self._give_up("forwarded packets do not arrive; does a firewall drop what is forwarded?")
            return
        self.hand_over(_STEADY)

    def _sweep(self) -> None:
        """One step of a sweep, then everybody else's business."""
        sweeping = self._sweeping
        if sweeping is None or self._bypasses is None:
            return
        now = self.clock.seconds()
        try:
            while True:
                for bypass in next(sweeping):
                    bypass.owner.check(now, self._timeout)
                if len(self._bypasses.active) > _FEW:
                    self.clock.callLater(_PAUSE, self._sweep)
                    return
        except StopIteration:
            self._sweeping = None
            self.ports.reserved = self._bypasses.reserved
        except OSError as error:
            self._give_up(f"the kernel's packet filter refuses: {error}")

    # In force, or not

    async def _engage(self) -> None:
        """Let the kernel carry calls from now on, if it can."""
        self._trying = True
        bypasses = None
        try:
            self._versions = readiness.versions(self._settings.listen)
            table = FilterTable(f"calltrack_{self._settings.ports[0]}")
            bypasses = Bypasses(table, self._ended)
            await table.make(self._reactor)
            readiness.try_entries()
            left = bypasses.adopt()
        except (NotReady, NoNftables, OSError) as problem:
            if bypasses is not None:
                bypasses.close()
            self._fall_back(str(problem))
            return
        finally:
            self._trying = False
        if self._stopped:
            bypasses.close()
            return
        self._bypasses = bypasses
        self._why = ""
        self.ports.reserved = bypasses.reserved
        self._next_sweep = self.clock.seconds() + self.sweep_interval
        spoken = " and ".join(f"IPv{version}" for version in self._versions)
        _log.info("connected calls are carried by the kernel ({spoken}, table inet {table})", spoken=spoken, table=table.name)
        if left:
            _log.warn("{left} streams of an earlier run are let alone until they are silent", left=left)

    def _fall_back(self, why: str, again: float = _RETRY) -> None:
        if why != self._why:  # said once, not at every try
            self._fallbacks += 1
            _log.warn('[media] relay = "kernel" is not in force: {why}. Calls are relayed by this process', why=why)
        self._why = why
        self._try_again = self.clock.seconds() + again

    def _give_up(self, why: str, again: float = _RETRY) -> None:
        """What is in the kernel comes back; it is tried again later."""
        self._fall_back(why, again)
        Deferred.fromCoroutine(self._disengage(clean=False))

    async def _disengage(self, clean: bool) -> None:
        bypasses, self._bypasses, self._sweeping = self._bypasses, None, None
        if bypasses is None:
            return
        for bypass in list(bypasses.active):
            bypasses.end(bypass)
        self._past = [past + now for past, now in zip(self._past, self._counters(bypasses))]
        try:
            if clean:
                bypasses.clear()
                await bypasses.table.destroy(self._reactor)
        except (NoNftables, OSError) as problem:
            _log.warn("table inet {name} may still be there: {problem}", name=bypasses.table.name, problem=problem)
        finally:
            bypasses.close()

    def _ended(self, bypass: StreamBypass) -> None:
        if bypass.owner in self._sessions:
            self._watched.add(bypass.owner)

    def _counters(self, bypasses: Bypasses | None = None) -> tuple[int, int, int, int]:
        found = bypasses or self._bypasses
        if found is None:
            return 0, 0, 0, 0
        return found.handed_over, found.handed_back, found.undelivered, found.refused

    # Who can be reached through the kernel

    def _alike(self, a: Lane, b: Lane) -> bool:
        return (":" in a.source[0]) == (":" in b.source[0])

    def _forwardable(self, lane: Lane) -> bool:
        """Whether the kernel can forward to the lane's far end: one on this machine is not forwarded to, nor one whose
        address counts on one link only."""
        host = lane.source[0]
        known = self._reachable.get(host)
        if known is None:
            address = ip_address(host.partition("%")[0])
            known = not (address.is_loopback or address.is_link_local or address.is_multicast or is_own(host))
            known = known and address.version in self._versions
            if len(self._reachable) >= _HOSTS:
                self._reachable.clear()
            self._reachable[host] = known
        return known
