"""What stands between the web and the rest of the engine: services put together from stores and settings, and the
resources of the site that they answer for. Knows every part of the web; of the engine only what it is handed."""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from twisted.logger import Logger
from twisted.web.resource import IResource

from calltrack.access.guard import LogInGuard
from calltrack.access.keys import Keys
from calltrack.access.passwords import Passwords
from calltrack.access.people import People
from calltrack.errors import StoreUnavailable
from calltrack.events.hooks import Webhooks
from calltrack.tracking.accounts import Accounts
from calltrack.tracking.catalog import Catalog
from calltrack.tracking.model import Project, Target
from calltrack.tracking.pool_advice import PoolAdvice
from calltrack.tracking.search import CallLog
from calltrack.web.api.site import API
from calltrack.web.pages.routes import ROUTES
from calltrack.web.pages.site import SEGMENTS, Pages
from calltrack.web.services import Services, TestCallOutcome, TrunkState

log = Logger()


def make_services(
    settings: Any,
    stores: Any,
    reactor: Any,
    wall_ms: Callable[[], int],
    trunk_state: Callable[[str], bool | None],
    trial: Callable[[int, Target, str], Awaitable[tuple[bool, str]]],
    **more: Any,
) -> Services:
    """The services of an engine. `trunk_state(name)`: whether a trunk answers, None when nobody knows; `trial(project,
    target, dialled)`: a test call, which may raise TooManyRequests; `more`: further fields of `Services`."""
    sip, countries = settings.sip, {trunk.country for trunk in settings.trunks}
    words = {None: "unknown", True: "up", False: "down"}

    def trunks() -> list[TrunkState]:
        return [
            TrunkState(
                name=trunk.name,
                state=words[trunk_state(trunk.name)],
                delivers=bool(trunk.sources or trunk.register or trunk.inbound_username),
                outbound=trunk.outbound,
                sources=tuple(map(str, trunk.sources)),
            )
            for trunk in settings.trunks
        ]

    async def test_call(project: Project, target: Target, dialled: str) -> TestCallOutcome:
        ok, words = await trial(project.id, target, dialled)
        return TestCallOutcome(ok=ok, words=words)

    catalog = Catalog(stores.catalog)
    return Services(
        test_call=test_call,
        catalog=catalog,
        webhooks=Webhooks(stores.webhooks, stores.catalog, wall_ms),
        visits=stores.visits,
        pools=PoolAdvice(catalog, stores.visits, wall_ms),
        events=stores.events,
        accounts=Accounts(stores.accounts, stores.locations, sip.domain),
        calls=CallLog(stores.records),
        keys=Keys(stores.access, wall_ms),
        people=People(stores.access, wall_ms, Passwords(reactor), LogInGuard(reactor.seconds), settings.privacy.changes),
        wall_ms=wall_ms,
        domain=sip.domain,
        listen=sip.listen,
        country=countries.pop() if len(countries) == 1 else "",
        trunks=trunks,
        proxies=settings.web.proxies,
        public_url=settings.web.public_url,
        **more,
    )


def resources(services: Services) -> dict[bytes, IResource]:
    """The API and the page, by first path segment."""
    page = Pages(services, ROUTES).app.resource()
    return {b"api": API(services).app.resource(), **{segment: page for segment in SEGMENTS}}


async def tell_set_up_link(services: Services, page_url: str) -> None:
    """Log the link by which the first person gets into the page, while there is nobody."""
    try:
        secret = await services.people.set_up_link()
    except StoreUnavailable:
        return  # the service has said so; its next start makes a link
    if secret is not None:
        log.warn("nobody has set up the page yet. Open {url}/set-up?token={secret}", url=page_url, secret=secret)
