"""What can be configured of how operators reach a running engine. Knows no TOML and no sockets."""

from __future__ import annotations

import msgspec


class ControlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[control]``: the socket of `calltrack ctl`."""

    socket: str = ""  # "" = beside the database


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[log]``: what the log looks like. As long as nothing is set it is twistd's."""

    format: str = "text"  # or "json": an object a line
    level: str = "debug"  # the least that is logged: debug, info, warn, error, critical
    file: str = ""  # opened anew at SIGHUP; "" = standard output
