"""Everything by which operators and systemd reach a running engine: the socket, SIGHUP, the watchdog.

Knows the service by its parts; decides nothing that `commands` and `reload` do not.
"""

from __future__ import annotations

import signal
from typing import Any, Callable

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from calltrack.control import logs
from calltrack.control.commands import Commands
from calltrack.control.reload import Apply, reload
from calltrack.control.server import ControlSocket
from calltrack.control.systemd import Notifier
from calltrack.errors import CalltrackError

LOOK_AGAIN = 0.5  # seconds from one look to the next whether the last call is over

log = Logger()


class Control:
    """`service`: CalltrackService. `read()`: the settings of the configuration as it is now; raises ConfigErrors."""

    def __init__(self, service: Any, read: Callable[[], Any]) -> None:
        self._service = service
        self._read = read
        self._leaving = False
        self._log_file: logs.LogFile | None = None
        commands = Commands(service.engine, service.tracer, service.facts, self.reload, self.leave)
        path = service.settings.control.socket or service.stores.control_path
        self._socket = ControlSocket(service.reactor, path, commands.do)
        self._systemd = Notifier(service.timers)
        self._table: dict[tuple[str, str], Apply] = {
            ("calls", "max_calls"): self._use_max_calls,
            ("calls", "lookup_budget"): self._use_lookup_budget,
            ("calls", "stop_time"): lambda new: None,  # is asked for when the service stops
            ("trace", "keep"): lambda new: service.tracer.use_settings(new.trace),
            ("trunks", ""): self._use_trunks,
        }
        for key in ("keep", "max_time", "min_free"):
            self._table["recording", key] = lambda new: service.recordings.use_settings(new.recording)

    def start(self) -> None:
        """The service works from now on."""
        self._socket.start()
        self._systemd.started(lambda: f"{len(self._service.engine.calls)} calls")

    def stop(self) -> Deferred[Any]:
        """The service is about to stop. Fires when the socket is closed."""
        self._systemd.stopping()
        return maybeDeferred(self._socket.stop)

    def begin_log(self, application: Any) -> None:
        """Have the application log as the configuration says. Raises SystemExit with what is wrong: there is no log
        yet to say it in."""
        try:
            begun = logs.observer(self._service.settings.log)
        except OSError as problem:
            raise SystemExit(f"[log] file: {problem}") from None
        if begun is not None:
            observer, self._log_file = begun
            application.setComponent(logs.ILogObserver, observer)

    def watch_signals(self) -> None:
        """SIGHUP reads the configuration again."""
        reactor = self._service.reactor
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(self._hung_up))

    def reload(self) -> dict[str, Any]:
        """What has changed, and what of it counts now. Raises CalltrackError; then everything is as it was."""
        if self._log_file is not None:
            try:
                self._log_file.reopen()
            except OSError as problem:
                raise CalltrackError(f"[log] file: {problem}") from None
        outcome = reload(self._service.settings, self._read(), self._table)
        self._service.settings = outcome.settings
        for change in outcome.applied:
            log.info("reloaded: {change} counts from now on", change=change)
        for change in outcome.waiting:
            log.warn("reloaded: {change} has changed, which counts at the next start", change=change)
        if not outcome.applied and not outcome.waiting:
            log.info("reloaded: the configuration has not changed")
        return {"applied": list(map(str, outcome.applied)), "waiting": list(map(str, outcome.waiting))}

    def leave(self) -> None:
        """End the process when no call is left; not, when calls are taken again before."""
        if not self._leaving:
            self._leaving = True
            self._look(None)

    # Inside

    def _look(self, _: None) -> None:
        engine = self._service.engine
        if not engine.draining:
            self._leaving = False
        elif engine.calls or engine.settling:
            self._service.timers.after(LOOK_AGAIN, self._look)
        else:
            log.info("the last call is over: calltrack stops")
            self._service.reactor.stop()

    def _hung_up(self) -> None:
        try:
            self.reload()
        except CalltrackError as problem:
            log.error("SIGHUP: the configuration is not usable, everything stays as it was:\n{problem}", problem=problem)

    def _use_max_calls(self, new: Any) -> None:
        engine = self._service.engine
        engine.settings = msgspec.structs.replace(engine.settings, max_calls=new.calls.max_calls)

    def _use_lookup_budget(self, new: Any) -> None:
        self._service.engine.lookup.budget = new.calls.lookup_budget

    def _use_trunks(self, new: Any) -> bool:
        """Trunks that we are registered with, or that prove who they are, hold state that a restart makes anew."""
        if _special(self._service.settings.trunks) != _special(new.trunks):
            return False
        self._service.engine.use_trunks(new.trunks)
        self._service.pings.use_trunks(new.trunks)
        return True


def _special(trunks: Any) -> list[Any]:
    return [trunk for trunk in trunks if trunk.register or trunk.inbound_username]
