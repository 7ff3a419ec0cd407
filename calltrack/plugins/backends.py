"""The backends of one engine: made from the configuration, started, asked how they are, stopped in the reverse order.

Knows backends by their interfaces; which there are, `discovery` says.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.application.service import IService
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from calltrack.errors import CalltrackError, ConfigErrors, InvalidField
from calltrack.interfaces import IHealth
from calltrack.plugins.context import Context
from calltrack.plugins.discovery import find
from calltrack.plugins.guard import Guarded
from calltrack.plugins.points import POINTS

START_LIMIT = 30.0  # seconds that a backend may take to start
STOP_LIMIT = 10.0  # and to stop
HEALTH_LIMIT = 2.0  # and to say how it is

_AT_ONCE: dict[str, dict[str, Any]] = {"scenarios": {"last_known": None}}
_UNGUARDED = ("media",)  # relays answer at once, and call the engine from every packet

_log = Logger()


class Choice(msgspec.Struct, frozen=True):
    """Which backend a section names, with its settings."""

    name: str
    options: Any = None


class Backends:
    """What plugins and backends that are chosen like them do for one engine."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._made: list[tuple[str, Any]] = []  # "locations redis", and what was made, in order
        self._started: list[tuple[str, Any]] = []

    def make(self, section: str, choice: Choice, context: Context) -> Any:
        """The implementation that the section's choice names, None when calltrack has its own. Raises ConfigErrors."""
        point = POINTS[section]
        where = f"[{section}] {point.key}"
        try:
            backend = find(section, choice.name)
        except ValueError as error:
            raise ConfigErrors([f"{where}: {error}"]) from None
        if backend is None:
            return None
        try:
            made = backend.make(context, choice.options)
            verifyObject(point.interface, made)
        except InvalidField as error:
            raise ConfigErrors([f"[{section}.{choice.name}] {error.field}: {error.message}"]) from error
        except Invalid as error:
            words = " ".join(str(error).split())
            raise ConfigErrors([f"{where}: the plugin {choice.name} lies about its interface: {words}"]) from error
        except CalltrackError as error:
            raise ConfigErrors([f"{where}: the plugin {choice.name}: {error}"]) from error
        except Exception as error:
            _log.failure("the plugin {name} cannot be made", name=choice.name)
            words = f"the plugin {choice.name} cannot be made: {type(error).__name__}: {error}"
            raise ConfigErrors([f"{where}: {words}"]) from error
        self._made.append((f"{section} {choice.name}", made))
        if section in _UNGUARDED:
            return made
        return Guarded(choice.name, point.interface, made, self._clock, at_once=_AT_ONCE.get(section))

    async def start(self) -> None:
        """Start what is a service, in the order in which it was made. One that cannot start is logged and used all the
        same: it may come later, and calls must be answered."""
        for name, made in self._made:
            if IService.providedBy(made):
                try:
                    await maybeDeferred(made.startService).addTimeout(START_LIMIT, self._clock)
                except Exception as error:
                    _tell(Failure(), f"{name} cannot start: {_in_words(error)}")
                self._started.append((name, made))

    async def stop(self) -> None:
        """Stop what was started, the last one first. Never fails."""
        while self._started:
            name, made = self._started.pop()
            try:
                await maybeDeferred(made.stopService).addTimeout(STOP_LIMIT, self._clock)
            except Exception as error:
                _tell(Failure(), f"{name} cannot stop: {_in_words(error)}")

    async def health(self) -> dict[str, str]:
        """By name of those that can say it, what is wrong with each; "" when nothing is. They are asked together."""
        asked = [(name, self._ask(made)) for name, made in self._made if IHealth.providedBy(made)]
        return {name: await answer for name, answer in asked}

    def _ask(self, made: Any) -> Deferred[str]:
        def words(failure: Failure) -> str:
            return _in_words(failure.value) or "it does not say what is wrong"

        answer = maybeDeferred(made.health).addTimeout(HEALTH_LIMIT, self._clock)
        return answer.addCallback(lambda said: said if isinstance(said, str) else "its answer is no text").addErrback(words)


def _in_words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return str(error) if isinstance(error, CalltrackError) else f"{type(error).__name__}: {error}"


def _tell(failure: Failure, words: str) -> None:
    if failure.check(CalltrackError, TimeoutError):
        _log.error("the backend {words}", words=words)
    else:
        _log.failure("the backend {words}", failure, words=words)
