"""What the page and the API work with: the application services, and what the running engine tells of itself.

Put together by the service. Knows names, not how anything is done.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Any, Awaitable, Callable, Sequence

import msgspec
from twisted.web.iweb import IRequest

from calltrack.access.keys import Keys
from calltrack.access.people import People
from calltrack.events.hooks import Webhooks
from calltrack.events.line import Post
from calltrack.interfaces import IEventStore, IVisitStore
from calltrack.tracking.accounts import Accounts
from calltrack.tracking.catalog import Catalog
from calltrack.tracking.model import Project, Target
from calltrack.tracking.pool_advice import PoolAdvice
from calltrack.tracking.search import CallLog


Network = IPv4Network | IPv6Network


def peer(request: IRequest) -> str:
    """The address of whoever is connected; "" when it has none."""
    return getattr(request.getClientAddress(), "host", "") or ""


class TestCallOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a test call to a target has shown. `words` are for a person."""

    ok: bool
    words: str


class TrunkState(msgspec.Struct, frozen=True, kw_only=True):
    """A trunk of the configuration, and whether it answers. `state`: "up" or "down" by OPTIONS; "unknown" while
    nobody has asked, or for a trunk that delivers calls only."""

    name: str
    state: str
    delivers: bool  # calls come from it
    outbound: str = ""  # where calls leave to; "" = none do
    sources: tuple[str, ...] = ()


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of everything that can be asked and changed."""

    catalog: Catalog
    accounts: Accounts
    calls: CallLog
    keys: Keys
    people: People
    wall_ms: Callable[[], int]  # milliseconds since the Unix epoch
    domain: str  # of SIP accounts
    listen: Sequence[tuple[str, str, int]]  # transport, address, port of each place where SIP listens
    country: str = ""  # by whose rules national numbers are read
    trunks: Callable[[], list[TrunkState]] = list
    facts: Callable[[], dict[str, Any]] = dict  # of the running engine
    proxies: Sequence[Network] = ()  # whose word about a browser's address and encryption counts
    public_url: str = ""  # as others reach us; "" = as the browser that asks does
    # Of a target, for a number that is said to be dialled; raises TooManyRequests
    test_call: Callable[[Project, Target, str], Awaitable[TestCallOutcome]] | None = None
    webhooks: Webhooks | None = None
    post: Post | None = None  # what test deliveries of webhooks are sent by
    visits: IVisitStore | None = None
    pools: PoolAdvice | None = None
    events: IEventStore | None = None
    client: Callable[[IRequest], str] = peer  # the address that a request comes from
    send_recording: Callable[[IRequest, str], Awaitable[bytes]] | None = None  # the file of that name, as the answer
    demonstration: bool = False  # everything is made up, and the page says so
