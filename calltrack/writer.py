"""One thread that files are written in, with a bound on what waits for it.

Knows functions and how much memory they hold; not what they do.
"""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import Any, Callable

from twisted.internet.defer import Deferred, TimeoutError
from twisted.python.failure import Failure

LIMIT = 64 * 1024 * 1024  # bytes that may wait: seconds of a thousand recorded calls


class Writer:
    """Does work in the order in which it was given. `reactor`: IReactorFromThreads and IReactorTime.

    The thread begins with the first work. It is a daemon: a disk that never answers must not keep the process alive.
    """

    def __init__(self, reactor: Any, name: str, limit: int = LIMIT) -> None:
        self._reactor = reactor
        self._name = name
        self._limit = limit
        self._waiting = 0  # bytes
        self._works: SimpleQueue = SimpleQueue()
        self._thread: Thread | None = None

    @property
    def full(self) -> bool:
        """Whether the thread does not keep up: what can be left out now should be."""
        return self._waiting >= self._limit

    def do(self, work: Callable[..., Any], *arguments: Any, size: int = 0) -> Deferred[Any]:
        """Call `work(*arguments)` in the thread; `size`: bytes that the arguments hold until then. Fires with what it
        returns, fails with what it raises."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        done: Deferred[Any] = Deferred()
        self._waiting += size
        self._works.put((work, arguments, size, done))
        return done

    def stop(self, seconds: float = 5.0) -> Deferred[bool]:
        """End after the work that waits. Fires with True then, with False when that takes longer than `seconds`."""
        if self._thread is None:
            done: Deferred[bool] = Deferred()
            done.callback(True)
            return done
        ended = self.do(lambda: True)
        self._works.put(None)
        self._thread = None
        return ended.addTimeout(seconds, self._reactor).addErrback(_late)

    def _run(self) -> None:
        while (entry := self._works.get()) is not None:
            work, arguments, size, done = entry
            try:
                result = work(*arguments)
            except Exception:
                result = Failure()
            del work, arguments, entry  # they must not be held until more comes
            self._reactor.callFromThread(self._did, size, done, result)

    def _did(self, size: int, done: Deferred[Any], result: Any) -> None:
        self._waiting -= size
        done.callback(result)


def _late(failure: Failure) -> bool:
    failure.trap(TimeoutError)
    return False
