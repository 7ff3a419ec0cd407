"""What `calltrack check` says of the directories that grow: recordings and SIP traces. Knows paths; reads no file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Iterator

if TYPE_CHECKING:
    from calltrack.config import Settings


def on_directories(settings: Settings, recordings: str, traces: str) -> Iterator[tuple[str, bool, str]]:
    """(subject, whether it is good, words) of each. `recordings`, `traces`: where they are unless configured."""
    recording, trace = settings.recording, settings.trace
    yield "recordings", *_on(recording.directory or recordings, recording.min_free)
    if trace.keep:
        yield "traces", *_on(trace.directory or traces, trace.max_size)


def _on(path: str, needed: int) -> tuple[bool, str]:
    """`needed`: megabytes that should be free."""
    there = Path(path).resolve()
    while not there.exists() and there != there.parent:
        there = there.parent  # it is made when it is needed
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return False, f"{path} cannot be written: {there} is no directory that this user may write to"
    free = shutil.disk_usage(there).free // 1_000_000
    if free < needed:
        return False, f"{path} has {free} MB free, and {needed} MB are wanted"
    return True, f"{path} can be written to, {free} MB are free"
