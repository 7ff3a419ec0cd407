"""Wake up after a fraction of a millisecond: the timers of a reactor, like those of epoll, know whole ones only
(timerfd_create(2)).

Knows Linux and the reactor; knows nothing of packets.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

_libc = ctypes.CDLL(None, use_errno=True)
_MONOTONIC, _FLAGS = 1, os.O_NONBLOCK | os.O_CLOEXEC  # CLOCK_MONOTONIC; TFD_NONBLOCK, TFD_CLOEXEC


class _Times(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = [(name, ctypes.c_long) for name in ("interval", "interval_ns", "seconds", "nanoseconds")]


@implementer(IReadDescriptor)
class Alarm:
    """One reader of the reactor. `set` it, and `rings` is called once, so many seconds later; setting it again counts
    anew. Raises OSError when no file can be opened."""

    def __init__(self, rings: Callable[[], object]) -> None:
        self.doRead = rings
        self._fd = _libc.timerfd_create(_MONOTONIC, _FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "cannot open a timer")
        self._times = _Times()
        self._at = ctypes.byref(self._times)

    def set(self, seconds: float) -> None:
        """`seconds`: less than one. What rings already is silent until then."""
        self._times.nanoseconds = int(seconds * 1e9)
        _libc.timerfd_settime(self._fd, 0, self._at, None)

    def hush(self) -> None:
        """Do not ring, and ring no longer."""
        self.set(0)

    def close(self) -> None:
        os.close(self._fd)

    # IReadDescriptor

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "media"

    def connectionLost(self, reason) -> None:
        """The reactor stops; the alarm is closed by its owner."""
