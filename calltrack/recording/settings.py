"""What can be configured of recordings. Knows no TOML and no files."""

from __future__ import annotations

import msgspec


class RecordingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[recording]``: where the sound of calls is kept, and for how long. Which calls, their scenarios say."""

    directory: str = ""  # "" = beside the database
    keep: float = 90.0  # days; 0 = for ever
    max_time: float = 4.0  # hours: a longer call is recorded so far; 0 = all of it
    min_free: int = 512  # megabytes: with less room on the disk nothing is recorded
