"""Operations on visits and on how many numbers a pool needs. Knows the services, no HTTP and no rules."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from calltrack.errors import NoSuchObject
from calltrack.tracking.advisor import Advice
from calltrack.tracking.published import published_lease, published_visit
from calltrack.web.api.operations import ID, Asked, Operation, Page


class VisitFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which page of the visits, newest first. `before`: only those older than the visit with this number."""

    project: ID | None = None
    before: ID | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ByVisit(msgspec.Struct, frozen=True, kw_only=True):
    number: ID


class OfVisit(msgspec.Struct, frozen=True, kw_only=True):
    """Of which project; a key of one project need not say it."""

    project: ID | None = None


class PublishedVisit(msgspec.Struct, frozen=True, kw_only=True):
    """One visitor's session on a site. What privacy rules have taken away is empty."""

    project: int
    number: int
    started: str  # ISO 8601
    marker: str
    previous: int | None
    landing_page: str
    referrer: str
    utm: dict[str, str]
    click_id: str
    address: str
    user_agent: str


class PublishedLease(msgspec.Struct, frozen=True, kw_only=True):
    """A number held for one visit. `ended`: null while it is."""

    number: str
    begun: str
    ended: str | None
    project: int
    scenario: int
    visit: int
    marker: str
    confirmed: bool


class VisitWithLeases(msgspec.Struct, frozen=True, kw_only=True):
    visit: PublishedVisit
    leases: list[PublishedLease]


class PoolQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """Which scenario, and what to try."""

    scenario: ID
    days: Annotated[float, Meta(ge=0.01, le=3660)] = 30.0
    numbers: tuple[Annotated[int, Meta(ge=1, le=100_000)], ...] = ()
    hold: Annotated[float, Meta(ge=10, le=86400)] | None = None
    misses: Annotated[float, Meta(ge=0.01, le=50)] = 1.0


async def _visits(asked: Asked) -> Page[Any]:
    query, store = asked.query, asked.services.visits
    assert store is not None
    project = asked.project("calls:read", query.project)
    before = None if query.before is None else (project, query.before)
    found = await store.list(limit=query.limit + 1, project=project, before=before)
    page = found[: query.limit]
    following = str(page[-1].number) if len(found) > query.limit else None
    return Page(items=[published_visit(one) for one in page], next=following)


async def _visit(asked: Asked) -> Any:
    store = asked.services.visits
    assert store is not None
    project = asked.project("calls:read", asked.query.project)
    visit = await store.get(project, asked.path.number)
    leases = await store.leases_of(project, visit.number)
    return {"visit": published_visit(visit), "leases": [published_lease(one) for one in leases]}


async def _advice(asked: Asked) -> Advice:
    query, pools = asked.query, asked.services.pools
    assert pools is not None
    scenario = await asked.services.catalog.scenario(query.scenario)
    if not asked.who.everywhere and scenario.project not in asked.who.projects:
        raise NoSuchObject(f"scenario {scenario.id} does not exist")
    asked.who.require("setup:read", scenario.project)
    return await pools.of(scenario.id, query.days, query.numbers, query.hold, query.misses)


OPERATIONS = (
    Operation("GET", "/visits", "listVisits", "Visits, newest first; `next` is the `before` of the following page",
              "visits", "calls:read", _visits, answer=Page[PublishedVisit], query=VisitFilters),
    Operation("GET", "/visits/{number}", "getVisit", "One visit and the numbers that it was shown", "visits",
              "calls:read", _visit, answer=VisitWithLeases, parameters=ByVisit, query=OfVisit),
    Operation("GET", "/pool-advice", "advisePool", "How many numbers a dynamic scenario needs, by its own visitors",
              "visits", "setup:read", _advice, answer=Advice, query=PoolQuestion),
)  # fmt: skip
