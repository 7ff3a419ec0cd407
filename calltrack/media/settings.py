"""What can be configured of media. Knows no TOML and no sockets."""

from __future__ import annotations

from typing import Any

import msgspec

from calltrack.media.rtpengine_settings import RTPEngineSettings

RELAYS = ("twisted", "kernel", "rtpengine")  # the names that `relays` has a relay for


class MediaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[media]``: where the relay's ports are and how long it waits."""

    relay: str = "twisted"  # one of RELAYS, or a plugin's name
    listen: tuple[str, ...] = ("0.0.0.0",)  # address literals, at most one of each family
    advertise: tuple[str, ...] = ()  # address literals written into descriptions; () = those packets leave from
    ports: tuple[int, int] = (20000, 29999)  # first and last, both included
    timeout: float = 60.0  # seconds without a packet that end a call; 0 = never
    quarantine: float = 10.0  # seconds a port that carried media must be silent before it is used again
    rtpengine: RTPEngineSettings = RTPEngineSettings()
    options: Any = None  # of a plugin: what `[media.NAME]` says
