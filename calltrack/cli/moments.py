"""Moments on the command line: a time in ISO 8601, or how long ago. Knows the wall clock; no command."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import Any

import click

_AGO = re.compile(r"([0-9]{1,6})([smhdw])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Moment(click.ParamType):
    """``2026-11-23``, ``2026-11-23T18:00``, ``2026-11-23T18:00:00+03:00`` (UTC unless it says), or ``90m`` ago; as
    milliseconds since the Unix epoch."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        ago = _AGO.match(value)
        if ago is not None:
            return int((time.time() - int(ago[1]) * _SECONDS[ago[2]]) * 1000)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{ascii(value)[:60]} is no time; write 2026-11-23, 2026-11-23T18:00, or 24h for that long ago")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return int(moment.timestamp() * 1000)


MOMENT = Moment()
