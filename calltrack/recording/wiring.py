"""The parts of recording as the service needs them: one thing to start and to stop."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from calltrack.recording.recorder import Recorder
from calltrack.recording.settings import RecordingSettings
from calltrack.recording.upkeep import Upkeep
from calltrack.writer import Writer
from calltrack.timers import Timers

log = Logger()


class Recordings:
    """`reactor`: IReactorFromThreads and IReactorTime; `ledger`: gives and takes call records; `directory`: where the
    files are; `wall_ms()`: milliseconds since the Unix epoch."""

    def __init__(
        self,
        settings: RecordingSettings,
        directory: str,
        reactor: Any,
        timers: Timers,
        wall_ms: Callable[[], int],
        ledger: Any,
    ) -> None:
        self.directory = directory
        writer = Writer(reactor, "recordings")
        self.recorder = Recorder(timers, wall_ms, settings, directory, writer)
        self._upkeep = Upkeep(timers, wall_ms, settings, directory, writer, ledger)

    def start(self, busy: Callable[[str], bool]) -> Deferred[None]:
        """As `Upkeep.start`."""
        return self._upkeep.start(busy)

    def use_settings(self, settings: RecordingSettings) -> None:
        """What may change while the engine runs: all but the directory."""
        self.recorder.use_settings(settings)
        self._upkeep.use_settings(settings)

    def stop(self) -> Deferred[None]:
        """Asked when all calls have ended. Fires with None when everything is written, or is left to the next start."""
        self._upkeep.stop()
        return self.recorder.stop().addCallback(_tell)


def _tell(whole: bool) -> None:
    if not whole:
        log.error("the disk does not take the last recordings in time; the next start finishes them")
