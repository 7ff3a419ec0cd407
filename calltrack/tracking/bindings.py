"""A device that is logged in to a project's SIP account.

Values only, JSON-serialisable by msgspec. Knows no SIP messages, no stores, no clock.
"""

from __future__ import annotations

from typing import Any

import msgspec

from calltrack.tracking.published import iso_time


class Binding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One contact binding of an account (RFC 3261 section 10): where a device is reached, and until when."""

    project: int
    id: int  # of this device's binding as long as it lasts, through all its refreshes; unique in the project
    contact: str  # URI as registered
    expires_at: float  # seconds since the Unix epoch
    registered_at: int  # milliseconds since the Unix epoch: when it came, refreshes not counted
    call_id: str  # of the last REGISTER
    cseq: int  # of the last REGISTER
    transport: str  # "udp", "tcp" or "tls"
    host: str  # address literal its REGISTER came from
    port: int  # the same
    reach: int  # port at `host` that its calls go to: `port`, unless the device answers elsewhere
    local: str = ""  # our end of the flow, "address:port"
    q: int = 1000  # preference in thousandths; the highest rings first
    path: tuple[str, ...] = ()  # proxies on the way to it, as Route values (RFC 3327)
    instance: str = ""  # of +sip.instance: names the device whatever its address
    reg_id: int = 0  # which of the device's flows this is (RFC 5626); 0 = it says none
    device: str = ""  # what its User-Agent says

    @property
    def source(self) -> str:
        """Where its REGISTER came from, ``192.0.2.7:5060``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class PublishedBinding(msgspec.Struct, frozen=True, kw_only=True):
    """A device that is logged in to an account."""

    project: int
    user: str
    contact: str
    device: str  # what its User-Agent says
    source: str  # address and port that it registered from
    transport: str
    registered: str  # ISO 8601
    expires: int  # seconds from now
    q: float
    path: tuple[str, ...]
    instance: str


def published_binding(user: str, binding: Binding, now: float) -> dict[str, Any]:
    """A binding as the command line, the page and the API show it. `now`: seconds since the Unix epoch."""
    return {
        "project": binding.project,
        "user": user,
        "contact": binding.contact,
        "device": binding.device,
        "source": binding.source,
        "transport": binding.transport,
        "registered": iso_time(binding.registered_at),
        "expires": max(0, round(binding.expires_at - now)),
        "q": binding.q / 1000,
        "path": list(binding.path),
        "instance": binding.instance,
    }
