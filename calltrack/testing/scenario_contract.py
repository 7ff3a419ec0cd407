"""What every scenario source must do, as a trial mixin:

    class MySourceTests(ScenarioSourceContract, TestCase):
        async def make_source(self):
            return MySource(...)

The source knows one number, `KNOWN`, which leads to `TARGET` in project 1 with the marker `MARKER`, one that leads nowhere, and no
other. Knows the interface only.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from calltrack.errors import StoreUnavailable
from calltrack.interfaces import IScenarioSource
from calltrack.tracking.model import Route

KNOWN, NOWHERE, UNKNOWN = "11231234567", "11230000000", "19995550000"
TARGET = "sip:office@example.com"
MARKER = "google_ads"
CALLER = "12025550143"
AT = 1_795_457_000.25  # seconds since the Unix epoch


class ScenarioSourceContract:
    """`IScenarioSource`. A test case derives from this and has `make_source` and `break_source`."""

    async def make_source(self) -> IScenarioSource:
        raise NotImplementedError("a source that is ready and knows the numbers above")

    async def break_source(self) -> None:
        raise NotImplementedError("from now on what the source asks is away, and it has noticed")

    async def test_provides_its_interface(self) -> None:
        verifyObject(IScenarioSource, await self.make_source())

    async def test_a_known_number_has_its_route_with_what_the_call_belongs_to(self) -> None:
        route = await (await self.make_source()).lookup(dialled=KNOWN, caller=CALLER, at=AT)
        self.assertIsInstance(route, Route)
        self.assertEqual((route.dialled, route.project), (KNOWN, 1))
        self.assertEqual([target.label for target in route.targets], [TARGET])
        self.assertEqual(route.attribution.marker, MARKER)
        self.assertNotEqual(route.attribution.reason, "")

    async def test_a_withheld_caller_has_a_route_too(self) -> None:
        route = await (await self.make_source()).lookup(KNOWN, "", AT)
        self.assertEqual(len(route.targets), 1)

    async def test_a_number_that_leads_nowhere_has_a_route_without_targets(self) -> None:
        route = await (await self.make_source()).lookup(NOWHERE, CALLER, AT)
        self.assertEqual((route.dialled, route.targets), (NOWHERE, ()))

    async def test_a_number_that_is_nobody_s_has_none(self) -> None:
        source = await self.make_source()
        self.assertIsNone(await source.lookup(UNKNOWN, CALLER, AT))
        self.assertIsNone(source.last_known(UNKNOWN))

    async def test_the_last_known_route_is_there_at_once_after_a_lookup(self) -> None:
        source = await self.make_source()
        await source.lookup(KNOWN, CALLER, AT)
        route = source.last_known(dialled=KNOWN)
        self.assertEqual([target.label for target in route.targets], [TARGET])

    async def test_many_calls_are_looked_up_at_once(self) -> None:
        source = await self.make_source()
        answers = [source.lookup(number, CALLER, AT) for number in (KNOWN, NOWHERE, UNKNOWN) * 20]
        routes = [await answer for answer in answers]
        self.assertEqual([route and route.dialled for route in routes], [KNOWN, NOWHERE, None] * 20)

    async def test_a_lookup_that_is_cancelled_fails_and_the_next_one_works(self) -> None:
        source = await self.make_source()
        answer: Deferred = source.lookup(KNOWN, CALLER, AT)
        answer.addErrback(lambda failure: failure.trap(CancelledError, StoreUnavailable) and None)
        answer.cancel()
        await answer
        self.assertIsNotNone(await source.lookup(KNOWN, "", AT))

    async def test_when_all_else_is_away_the_last_known_route_stays(self) -> None:
        source = await self.make_source()
        await source.lookup(KNOWN, CALLER, AT)
        await self.break_source()
        answer = source.lookup(KNOWN, "1999", AT)
        answer.addErrback(lambda failure: failure.trap(StoreUnavailable) and None)
        await answer
        self.assertEqual(source.last_known(KNOWN).targets[0].label, TARGET)
