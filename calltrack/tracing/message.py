"""One SIP message as it was on the wire. Knows what stands around it; reads nothing in it."""

from __future__ import annotations

from typing import NamedTuple

Address = tuple[str, int]  # address literal, port


class Traced(NamedTuple):
    """A message of a call, or with `call` "" of none."""

    call: str
    side: str  # "caller", "target-1" ...
    at_us: int  # microseconds since the Unix epoch
    sent: bool  # True: calltrack sent it; False: received
    transport: str  # "udp", "tcp" or "tls"
    local: Address
    remote: Address
    data: bytes

    @property
    def source(self) -> Address:
        return self.local if self.sent else self.remote

    @property
    def target(self) -> Address:
        return self.remote if self.sent else self.local
