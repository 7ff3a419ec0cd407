"""What can be configured of traces. Knows no TOML and no files."""

from __future__ import annotations

import msgspec


class TraceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[trace]``: how long the SIP messages of calls are kept, and who else gets them."""

    keep: float = 3.0  # days; 0 = nothing is kept
    max_size: int = 512  # megabytes of all of it: the oldest go first
    directory: str = ""  # "" = beside the database
    hep: str = ""  # "host:port" of a Homer server (HEP3 over UDP); "" = none
    hep_id: int = 2001  # capture id: how the server tells its agents apart
    hep_password: str = ""
