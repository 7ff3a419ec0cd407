"""The relay that comes with calltrack: media through sockets of this process.

Knows where addresses, ports, the packet loop and the clock come together; what happens in a call is its session's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from calltrack.errors import MediaUnavailable
from calltrack.interfaces import IMediaRelay
from calltrack.media.addresses import LocalAddresses
from calltrack.media.loop import PacketLoop
from calltrack.media.ports import PortPool
from calltrack.media.session import Session
from calltrack.media.settings import MediaSettings

CHECK = 0.25  # seconds between looks at silent streams: a phone that changes its port heals in four of them at most
FORGET_ROUTES = 240  # checks after which the kernel is asked again which way a host lies

_log = Logger()


@implementer(IMediaRelay)
class TwistedRelay:
    """See IMediaRelay. `start` and `stop` are done when they return."""

    def __init__(self, reactor, settings: MediaSettings, clock=None) -> None:
        """`reactor`: IReactorFDSet and IReactorTime. `clock`: the IReactorTime of timeouts and quarantine when it
        is not the reactor's."""
        self.clock = clock or reactor
        self.addresses = LocalAddresses(settings)
        self.ports = PortPool(*settings.ports, settings.quarantine)
        self.loop = PacketLoop(reactor)
        self._timeout = settings.timeout
        self._sessions: set[Session] = set()
        self._watched: set[Session] = set()  # those whose lanes are looked at
        self._checks = 0
        self._checking = LoopingCall(self._check)
        self._checking.clock = self.clock
        self._session_id = random.getrandbits(31)

    def start(self) -> Deferred[None]:
        self.loop.start()
        checking = self._checking.start(CHECK, now=False)
        checking.addErrback(lambda failure: _log.failure("silent streams are no longer looked at", failure))
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Close what is open: every session, and the ports in quarantine."""
        for session in list(self._sessions):
            session.close()
        if self._checking.running:
            self._checking.stop()
            self.loop.stop()
        self.ports.close()
        return succeed(None)

    def open(self, call_id: str, on_timeout: Callable[[], object] | None) -> Session:
        if not self._checking.running:
            raise MediaUnavailable("the relay is not running")
        if not self.ports.has_room(2):
            raise MediaUnavailable("no RTP port is free")
        session = Session(self, call_id, on_timeout)
        self._sessions.add(session)
        self._watched.add(session)
        return session

    def status(self) -> dict[str, Any]:
        return {"relay": "twisted", "sessions": len(self._sessions)}

    # For sessions

    def latched(self, session: Session) -> None:
        """Both sides of a stream have found out whom they hear, or such a session is connected now: for relays that carry
        such a one in another way."""

    def forget(self, session: Session) -> None:
        self._sessions.discard(session)
        self._watched.discard(session)

    def next_session_id(self) -> int:
        """A number for an o= line that no other description of ours has."""
        self._session_id += 1
        return self._session_id

    def _check(self) -> None:
        now = self.clock.seconds()
        for session in list(self._watched):
            session.check(now, self._timeout)
        self.ports.sweep(now)
        self._checks += 1
        if self._checks % FORGET_ROUTES == 0:
            self.addresses.forget()
