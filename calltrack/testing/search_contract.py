"""What every `ICallRecordStore` must do when lists and reports are asked of it, as a trial mixin. Knows the interface
only."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from calltrack.interfaces import ICallRecordStore
from calltrack.testing.store_contract import LADDER, call_record
from calltrack.tracking.model import Attribution
from calltrack.tracking.search import DAY, HOUR, QUARTER, CallQuery, CallTally, DayTally, HourTally, position

MONDAY = 20_416 * DAY  # 2025-11-24T00:00:00Z, in milliseconds


def _record(name: str, created: int, marker: str = "", visit: int | None = None, **fields: Any) -> Any:
    attribution = Attribution(marker=marker, visit=visit)
    return call_record(name, created, attribution=attribution, **{"status": "ANSWER", **fields})


class CallSearchContract:
    """`ICallRecordStore.find` and `.tally`. A test case derives from this and has `make_records`."""

    async def make_records(self) -> ICallRecordStore:
        raise NotImplementedError("a fresh, empty store")

    async def _filled(self) -> ICallRecordStore:
        store = await self.make_records()
        await store.write(
            records=[
                _record("a", 10, "direct_search_1", scenario=1, caller="7495", answer_duration=5.0, target_call=True),
                _record("b", 20, "direct_search_2", visit=7, caller="7495", answer_duration=40.0, ladder=LADDER),
                _record("c", 20, "google", status="BUSY", scenario=2, callee="4950"),
                _record("d", 30, "", status="NOANSWER"),
                _record("e", 40, "direct", project=2, visit=7),
                _record("f", 50, "directory", status="ACTIVE"),
            ]
        )
        return store

    async def _ids(self, store: ICallRecordStore, **query: Any) -> list[str]:
        return [record.id for record in await store.find(query=CallQuery(**query))]

    async def test_find_filters_by_each_field(self) -> None:
        store = await self._filled()
        for query, expected in (
            ({}, "fedcba"),
            ({"project": 1}, "fdcba"),
            ({"project": 1, "statuses": ("BUSY",)}, "c"),
            ({"project": 1, "statuses": ("BUSY", "NOANSWER")}, "dc"),
            ({"project": 1, "since": 20}, "fdcb"),
            ({"project": 1, "until": 20}, "a"),
            ({"project": 1, "scenario": 1}, "a"),
            ({"project": 1, "caller": "7495"}, "ba"),
            ({"project": 1, "callee": "4950"}, "c"),
            ({"project": 1, "visit": 7}, "b"),
            ({"project": 1, "marker": "direct_search_1"}, "a"),
            ({"project": 1, "source": "direct"}, "ba"),
            ({"project": 1, "source": ""}, "d"),
            ({"project": 1, "target_call": True}, "a"),
            ({"project": 1, "target_call": False, "caller": "7495", "source": "direct"}, "b"),
        ):
            self.assertEqual("".join(await self._ids(store, **query)), expected, query)

    async def test_found_records_are_whole_but_for_their_ladders(self) -> None:
        store = await self._filled()
        (found,) = await store.find(query=CallQuery(project=1, visit=7))
        self.assertEqual(found, replace(await store.get(call_id="b"), ladder=()))

    async def test_pages_join_without_gap_or_overlap_in_every_order_and_with_every_filter(self) -> None:
        store = await self._filled()
        for sort in ("-created", "created", "-talked", "talked"):
            for filters in ({}, {"source": "direct"}, {"caller": "7495"}, {"statuses": ("ANSWER",)}):
                query = CallQuery(project=1, sort=sort, **filters)
                whole, pages, after = await store.find(query=query), [], None
                while page := await store.find(query=replace(query, limit=2, after=after)):
                    pages += page
                    after = position(page[-1], query)
                self.assertEqual(pages, whole, (sort, filters))
                places = [position(record, query) for record in whole]
                self.assertEqual(places, sorted(places, reverse=query.descending))

    async def test_tally_counts_ended_calls_by_day_source_and_hour_of_the_wall_clock(self) -> None:
        store = await self.make_records()
        await store.write(
            records=[
                _record("a", MONDAY - 1, "direct_1"),  # before
                _record("b", MONDAY + HOUR - 1, "direct_1", answer_duration=30.5, target_call=True),
                _record("c", MONDAY + 22 * HOUR, "direct_2", status="BUSY"),
                _record("d", MONDAY + 23 * HOUR, "google", answer_duration=9.0),
                _record("e", MONDAY + 23 * HOUR, "google", project=2),
                _record("f", MONDAY + 23 * HOUR, "google", status="ACTIVE"),
                _record("g", MONDAY + 25 * HOUR, "google"),  # after
            ]
        )
        counted = await store.tally(project=1, since=MONDAY, until=MONDAY + DAY, offset=2 * HOUR)
        day = MONDAY // DAY
        self.assertEqual(
            counted,
            CallTally(
                days=(
                    DayTally(day=day, source="direct", calls=1, answered=1, target=1, talked=30.5, cost=0.0),
                    DayTally(day=day + 1, source="direct", calls=1, answered=0, target=0, talked=0.0, cost=0.0),
                    DayTally(day=day + 1, source="google", calls=1, answered=1, target=0, talked=9.0, cost=0.0),
                ),
                hours=(
                    HourTally(hour=2, calls=1, answered=1),
                    HourTally(hour=24, calls=1, answered=0),
                    HourTally(hour=25, calls=1, answered=1),
                ),
            ),
        )

    async def test_tally_begins_and_ends_within_a_quarter_of_an_hour(self) -> None:
        store = await self.make_records()
        await store.write(records=[_record(str(minute), MONDAY + minute * 60_000) for minute in range(45)])
        for since, until, calls in ((0, 45, 45), (1, 44, 43), (7, 8, 1), (14, 16, 2), (15, 30, 15), (20, 20, 0)):
            counted = await store.tally(project=1, since=MONDAY + since * 60_000, until=MONDAY + until * 60_000, offset=0)
            self.assertEqual(sum(day.calls for day in counted.days), calls, (since, until))
            self.assertEqual(sum(hour.calls for hour in counted.hours), calls, (since, until))

    async def test_tally_knows_wall_clocks_that_are_quarters_of_an_hour_ahead(self) -> None:
        store = await self.make_records()
        await store.write(records=[_record("a", MONDAY + 18 * HOUR + QUARTER - 1), _record("b", MONDAY + 18 * HOUR + QUARTER)])
        counted = await store.tally(project=1, since=MONDAY, until=MONDAY + DAY, offset=5 * HOUR + 3 * QUARTER)  # Nepal
        self.assertEqual([(day.day - MONDAY // DAY, day.calls) for day in counted.days], [(0, 1), (1, 1)])
        self.assertEqual([hour.hour for hour in counted.hours], [23, 24])

    async def test_tally_follows_records_that_change(self) -> None:
        store = await self.make_records()

        async def counted() -> list[tuple[str, int, int, int, float, float]]:
            found = await store.tally(project=1, since=MONDAY, until=MONDAY + DAY, offset=0)
            return [(day.source, day.calls, day.answered, day.target, day.talked, day.cost) for day in found.days]

        active = _record("a", MONDAY + 5, "direct", status="ACTIVE")
        ended = _record("a", MONDAY + 5, "direct", answer_duration=31.25, target_call=True, cost=0.125, caller="7495")
        await store.write(records=[active])
        self.assertEqual(await counted(), [])
        for records in ([active, ended], [ended], [active], [ended, ended, active]):  # replays count once
            await store.write(records=records)
            self.assertEqual(await counted(), [("direct", 1, 1, 1, 31.25, 0.125)])
        await store.forget_caller(caller="7495")
        self.assertEqual(await counted(), [("direct", 1, 1, 1, 31.25, 0.125)])
        await store.write(records=[_record("a", MONDAY + 5, "google_1", status="BUSY")])
        self.assertEqual(await counted(), [("google", 1, 0, 0, 0.0, 0.0)])
        await store.write(records=[_record("a", MONDAY + 5, "google_1", project=2), _record("b", MONDAY + 7, "", project=1)])
        self.assertEqual(await counted(), [("", 1, 1, 0, 0.0, 0.0)])

    async def test_tally_of_nothing_is_empty(self) -> None:
        store = await self.make_records()
        self.assertEqual(await store.tally(project=1, since=0, until=DAY, offset=0), CallTally())
