"""What every store of visits must do, as a trial mixin.

    class PostgresVisitsTests(VisitStoreContract, TestCase):
        async def make_visits(self):
            return PostgresVisits(...)

Each test asks for a fresh, empty store. Knows the interface only.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from calltrack.errors import NoSuchObject
from calltrack.interfaces import IVisitStore
from calltrack.tracking.model import Lease, Miss, Visit
from calltrack.tracking.privacy import PRIVATE

AT = 1_795_457_000_123  # milliseconds since the Unix epoch


def visit(number: int, started: int = AT, **fields: Any) -> Visit:
    """A plausible visit of project 1 unless told."""
    given = {"project": 1, "secret": "9f86d081884c7d65", "marker": "direct_search", **fields}
    return Visit(number=number, started=started, **given)


def lease(number: str = "12025550100", begun: int = AT, **fields: Any) -> Lease:
    """A lease for visit 1 of project 1 unless told."""
    return Lease(number=number, begun=begun, **{"project": 1, "scenario": 3, "visit": 1, "marker": "ad", **fields})


class VisitStoreContract:
    """`IVisitStore`. A test case derives from this and has `make_visits`."""

    async def make_visits(self) -> IVisitStore:
        raise NotImplementedError("a fresh, empty store")

    async def write(self, store: IVisitStore, visits=(), begun=(), ended=(), misses=()) -> list[Lease]:
        return await store.write(visits=list(visits), begun=list(begun), ended=list(ended), misses=list(misses))

    async def test_provides_its_interface(self) -> None:
        verifyObject(IVisitStore, await self.make_visits())

    async def test_returns_every_field_of_a_visit_as_written(self) -> None:
        store = await self.make_visits()
        written = visit(
            7,
            previous=3,
            landing_page="https://shop.example/?utm_source=a",
            referrer="https://www.google.com/",
            utm={"utm_source": "a", "utm_term": "очки 👓"},
            click_id="abc",
            address="2001:db8::1",
            user_agent="Mozilla/5.0",
        )
        self.assertEqual(await self.write(store, [written]), [])
        self.assertEqual(await store.get(project=1, number=7), written)

    async def test_get_of_unknown_visit_fails_with_no_such_object(self) -> None:
        store = await self.make_visits()
        await self.write(store, [visit(1)])
        await self.assertFailure(store.get(project=1, number=2), NoSuchObject)
        await self.assertFailure(store.get(project=2, number=1), NoSuchObject)

    async def test_visit_numbers_are_set_aside_once_in_each_project(self) -> None:
        store = await self.make_visits()
        firsts = await gatherResults([store.reserve(project=1, count=count) for count in (10, 5, 1)])
        self.assertEqual(firsts, [1, 11, 16])
        self.assertEqual(await store.reserve(project=2, count=3), 1)

    async def test_visit_that_is_there_stays_as_it_is(self) -> None:
        store = await self.make_visits()
        await self.write(store, [visit(1)])
        await self.write(store, [visit(1, marker="another")])
        self.assertEqual(await store.get(project=1, number=1), visit(1))

    async def test_list_is_newest_first_and_pages_join_without_gap(self) -> None:
        store = await self.make_visits()
        await self.write(store, [visit(1, 5), visit(2, 7), visit(3, 7), visit(4, 6), visit(1, 7, project=2)])
        pages, before = [], None
        while page := await store.list(limit=2, before=before):
            pages += [(one.project, one.number) for one in page]
            before = pages[-1]
        self.assertEqual(pages, [(2, 1), (1, 3), (1, 2), (1, 4), (1, 1)])
        self.assertEqual([one.number for one in await store.list(project=1, limit=3)], [3, 2, 4])

    async def test_list_before_unknown_visit_fails_with_no_such_object(self) -> None:
        store = await self.make_visits()
        await self.assertFailure(store.list(before=(1, 1)), NoSuchObject)

    async def test_lease_is_begun_once_and_ended_once(self) -> None:
        store = await self.make_visits()
        self.assertEqual(await self.write(store, begun=[lease()]), [])
        self.assertEqual(await store.history(numbers=["12025550100"], each=5), [lease()])
        over = lease(ended=AT + 1000, confirmed=True)
        await self.write(store, ended=[over])
        await self.write(store, ended=[lease(ended=AT + 9000)])
        self.assertEqual(await store.history(numbers=["12025550100"], each=5), [over])

    async def test_second_active_lease_of_a_number_is_refused_whoever_asks(self) -> None:
        store = await self.make_visits()
        second = lease(begun=AT + 5, visit=2)
        self.assertEqual(await self.write(store, begun=[lease()]), [])
        self.assertEqual(await self.write(store, begun=[second, lease("12025550101", AT + 5, visit=2)]), [second])
        self.assertEqual(await store.history(numbers=["12025550100"], each=5), [lease()])
        self.assertEqual(await store.leases_of(project=1, visit=2), [lease("12025550101", AT + 5, visit=2)])

    async def test_of_two_in_one_write_the_second_is_refused(self) -> None:
        store = await self.make_visits()
        second = lease(begun=AT + 5, visit=2)
        self.assertEqual(await self.write(store, begun=[lease(), second]), [second])

    async def test_of_many_writes_at_once_one_gets_the_number(self) -> None:
        store = await self.make_visits()
        asked = [lease(begun=AT + position, visit=position + 1) for position in range(10)]
        refused = await gatherResults([self.deferred(self.write(store, begun=[one])) for one in asked])
        self.assertEqual(sum(len(each) for each in refused), 9)

    async def test_end_and_next_beginning_may_come_in_one_write(self) -> None:
        store = await self.make_visits()
        await self.write(store, begun=[lease()])
        following = lease(begun=AT + 1000, visit=2)
        self.assertEqual(await self.write(store, begun=[following], ended=[lease(ended=AT + 1000)]), [])
        self.assertEqual(
            await store.history(numbers=["12025550100"], each=5), [lease(ended=AT + 1000), following]
        )

    async def test_writing_twice_changes_nothing(self) -> None:
        store = await self.make_visits()
        for _ in range(2):
            miss = Miss(project=1, scenario=3, visit=1, at=AT)
            self.assertEqual(await self.write(store, [visit(1)], [lease()], misses=[miss]), [])
        leases, misses = await store.usage(scenario=3, since=0)
        self.assertEqual((leases, misses), ([lease()], [miss]))

    async def test_end_of_somebody_elses_lease_changes_nothing(self) -> None:
        store = await self.make_visits()
        await self.write(store, begun=[lease()])
        await self.write(store, ended=[lease(ended=AT + 1, visit=2), lease("4951", ended=AT + 1)])
        self.assertEqual(await store.history(numbers=["12025550100", "4951"], each=5), [lease()])

    async def test_history_has_the_latest_of_each_number_oldest_first(self) -> None:
        store = await self.make_visits()
        first, second = "12025550100", "12025550101"
        past = [lease(number, AT + at, ended=AT + at + 1) for number in (second, first) for at in (10, 20, 30)]
        await self.write(store, begun=past)
        found = await store.history(numbers=[second, first, "4951"], each=2)
        self.assertEqual([(one.number, one.begun - AT) for one in found], [(first, 20), (first, 30), (second, 20), (second, 30)])

    async def test_usage_is_what_began_since_and_was_shown(self) -> None:
        store = await self.make_visits()
        leases = [
            lease(begun=AT, ended=AT + 1),
            lease(begun=AT + 10, ended=AT + 10),
            lease(begun=AT + 20, ended=AT + 90),
            lease("4951", AT + 30),
            lease("4952", AT + 30, scenario=4),
        ]
        misses = [Miss(project=1, scenario=3, visit=9, at=AT + at) for at in (1, 40)]
        await self.write(store, begun=leases, misses=misses)
        self.assertEqual(await store.usage(scenario=3, since=AT + 5), ([leases[2], leases[3]], [misses[1]]))

    async def test_erased_fields_are_blank_and_the_rest_stays(self) -> None:
        store = await self.make_visits()
        personal = {"address": "192.0.2.1", "user_agent": "Mozilla/5.0", "utm": {"utm_term": "x"}, "click_id": "y"}
        await self.write(store, [visit(1, **personal), visit(2, **personal)])
        self.assertEqual(await store.erase(visits=[(1, 1), (1, 99)], fields=list(PRIVATE)), 1)
        self.assertEqual(await store.get(project=1, number=1), visit(1))
        self.assertEqual(await store.get(project=1, number=2), visit(2, **personal))

    async def expire(self, store: IVisitStore, field: str, since: int, before: int) -> None:
        """All of it, in pages of two."""
        while since is not None:
            since = await store.expire(field=field, since=since, before=before, limit=2)

    async def test_field_expires_of_the_visits_of_a_time(self) -> None:
        store = await self.make_visits()
        await self.write(store, [visit(number, AT + number // 2, address="192.0.2.1") for number in range(1, 12)])
        await self.expire(store, "address", AT + 1, AT + 4)
        kept = [one.number for one in await store.list() if one.address]
        self.assertEqual(sorted(kept), [1, 8, 9, 10, 11])
        await self.expire(store, "address", 0, AT + 99)
        self.assertEqual([one.address for one in await store.list()], [""] * 11)

    async def test_whole_visits_expire_and_their_leases_stay(self) -> None:
        store = await self.make_visits()
        await self.write(store, [visit(number, AT + number) for number in range(1, 7)], [lease()])
        await self.expire(store, "visit", 0, AT + 5)
        self.assertEqual([one.number for one in await store.list()], [6, 5])
        self.assertEqual(await store.leases_of(project=1, visit=1), [lease()])

    @staticmethod
    def deferred(coroutine: Any) -> Any:
        return Deferred.fromCoroutine(coroutine)
