"""What an operator may set about media. Knows values only, opens nothing."""

from __future__ import annotations

import msgspec


class MediaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The `[media]` section, already checked by whoever read it."""

    listen: tuple[str, ...] = ("0.0.0.0",)  # address literals, at most one per family; "0.0.0.0" and "::" mean all
    advertise: str | tuple[str, ...] = ""  # literals shown to parties instead of the local ones, one per family
    ports: tuple[int, int] = (20000, 29999)  # UDP, both included; RTP takes the even ones
    timeout: float = 60.0  # seconds without any packet that end a call; 0 = never
    quarantine: float = 30.0  # seconds a used port must be silent before it is used again
