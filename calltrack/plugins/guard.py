"""Stand between calltrack and a backend that somebody else has written: what it does is logged, and costs no call.

Only the methods of its interface pass. A Deferred that does not fire in time fails, an exception that the interface does not know
is logged with its traceback; whoever asked hears StoreUnavailable either way. Knows interfaces; no backend.
"""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides
from zope.interface.interface import InterfaceClass, Method

from calltrack.errors import CalltrackError, Sentence, StoreUnavailable

LIMIT = 10.0  # seconds that a backend may take for one answer

_log = Logger()


class Guarded:
    """`backend` as calltrack uses it. `at_once`: methods that answer without a Deferred, with what they answer when they
    fail on a bug."""

    def __init__(
        self,
        name: str,
        interface: InterfaceClass,
        backend: Any,
        clock: IReactorTime,
        limit: float = LIMIT,
        at_once: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._backend = backend
        self._clock = clock
        self._limit = limit
        at_once = at_once or {}
        for method, described in interface.namesAndDescriptions(all=True):
            if isinstance(described, Method):
                kept = self._at_once(method, at_once[method]) if method in at_once else self._in_time(method)
                setattr(self, method, kept)
        directlyProvides(self, interface)

    def _in_time(self, method: str) -> Callable[..., Deferred[Any]]:
        def ask(*arguments: Any, **options: Any) -> Deferred[Any]:
            try:
                answer = getattr(self._backend, method)(*arguments, **options)
            except Exception:
                return fail().addErrback(self._failed, method)
            if not isinstance(answer, Deferred):
                wrong = TypeError(f"{method} gave {type(answer).__name__} and no Deferred")
                return fail(wrong).addErrback(self._failed, method)
            return answer.addTimeout(self._limit, self._clock).addErrback(self._failed, method)

        return ask

    def _at_once(self, method: str, otherwise: Any) -> Callable[..., Any]:
        def ask(*arguments: Any, **options: Any) -> Any:
            try:
                return getattr(self._backend, method)(*arguments, **options)
            except Exception:
                _log.failure("the plugin {name} failed in {method} on a bug", name=self.name, method=method)
                return otherwise

        return ask

    def _failed(self, failure: Failure, method: str) -> Failure:
        if failure.check(CalltrackError, CancelledError):
            return failure
        if failure.check(TimeoutError):
            words = Sentence(
                "the plugin {name} has not answered {method} within {limit} s", name=self.name, method=method, limit=f"{self._limit:g}"
            )
            _log.error("{words}", words=words)
            return Failure(StoreUnavailable(words))
        _log.failure("the plugin {name} failed in {method} on a bug", failure, name=self.name, method=method)
        return Failure(StoreUnavailable(
            Sentence("the plugin {name} failed in {method} on a bug, see the log", name=self.name, method=method)
        ))
