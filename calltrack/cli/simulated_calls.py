"""A sample of visitors for `calltrack simulate` who are real: HTTP to an engine's web, SIP calls to the numbers it shows.

Knows the engine of `calltrack demo`, what browsers ask and what a forwarded INVITE carries. What is simulated is known to
`calltrack.testing.simulation`.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.http_headers import Headers

from calltrack.cli.demonstration import Demonstration, DemoFailed
from calltrack.testing.simulation import ADS, BROWSER
from calltrack.testing.softphone import PhoneCall
from calltrack.tracking.model import Shown

PAGE = "https://shop.example/"
NUMBERS = [str(12_025_550_200 + position) for position in range(40)]


class Arrived(NamedTuple):
    """One visitor's call as it came to the office."""

    visit: int  # whom the page belonged to
    number: str  # that it showed
    told: tuple[str, ...]  # x-roistat-phone and x-roistat of the INVITE
    record: int | None  # visit in the call record

    @property
    def right(self) -> bool:
        return self.told == (self.number, str(self.visit)) and self.record == self.visit


class Nobody:
    """An audience that is told nothing."""

    def step(self, words: str) -> None: ...

    def talking(self, share: float, at_office: int, at_visitor: int) -> None: ...


class RealVisitors(Demonstration):
    """The engine of the demonstration with a dynamic scenario on top."""

    def __init__(self, reactor: Any, directory: str) -> None:
        super().__init__(reactor, directory, Nobody())

    async def start(self) -> None:
        """As `Demonstration.start`, and until the pool is known to the engine."""
        await super().start()
        (project,) = await self._catalog.projects()
        options = {"selectors": (".phone",)}
        scenario = await self._catalog.add_scenario("Visitors", project.id, "", (self.office.uri,), **options)
        for number in NUMBERS:
            await self._catalog.add_number(number, project.id, scenario.id)
        self._base = self.health_url.removesuffix("health") + f"t/{project.key}/"
        visits = self._service.visits
        await self._until(lambda: succeed(visits.pool(scenario.id).numbers == len(NUMBERS) or None), "the pool")

    async def visit(self, position: int) -> Arrived:
        """A visitor opens a page and calls the number on it; every second one leaves the page first. Raises
        DemoFailed."""
        source = f"127.7.{position // 250}.{position % 250 + 1}"
        page = PAGE + ADS[position % len(ADS)]
        shown = await self._ask(source, "visit", {"v": 1, "page": page, "referrer": "", "visit": "", "consent": True})
        if not shown.swaps or shown.number is None:
            raise DemoFailed(f"the page of visitor {position} was shown no number")
        if position % 2:
            await self._ask(source, "leave", {"visit": shown.visit})
        number = shown.swaps[0].number
        self._incoming = Deferred()
        call = self.visitor.call(f"sip:{number}@{self.sip_address}")
        taken = await self._within(self._incoming, "a visitor's call to reach the office", call)
        invite = taken.invite
        told = tuple((invite.get(name) or b"").decode("utf-8", "replace") for name in (b"x-roistat-phone", b"x-roistat"))
        await self._within(call.when_answered(), "a visitor's call to be answered", call)
        call.hang_up()
        await self._within(taken.when_ended(), "the office to be told that the visitor has hung up")
        record = await self._until(lambda: self._record_of(number), "the record of a visitor's call")
        return Arrived(shown.number, number, told, record.attribution.visit)

    def _office_rings(self, call: PhoneCall) -> None:
        call.answer()
        if not self._incoming.called:
            self._incoming.callback(call)

    async def _record_of(self, number: str) -> Any:
        newest = await self._service.stores.records.list(limit=1)
        return newest[0] if newest and newest[0].callee == number and newest[0].final else None

    async def _ask(self, source: str, what: str, body: dict[str, Any]) -> Shown:
        """What a browser at `source` is answered."""
        agent = Agent(self._reactor, bindAddress=(source, 0))
        headers = Headers({"content-type": ["text/plain"], "user-agent": [BROWSER], "origin": ["https://shop.example"]})
        producer = FileBodyProducer(BytesIO(msgspec.json.encode(body)))
        asked = agent.request(b"POST", (self._base + what).encode(), headers, producer)
        response = await self._within(asked, f"the answer to {what}")
        text = await self._within(readBody(response), f"the answer to {what}")
        if response.code not in (200, 204):
            raise DemoFailed(f"{what} was answered {response.code}: {text[:200].decode('utf-8', 'replace')}")
        return msgspec.json.decode(text, type=Shown) if text else Shown()
