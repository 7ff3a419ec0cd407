"""What every store must do, as trial mixins: for calltrack's own stores and those of plugin authors.

    class PostgresCallRecordsTests(CallRecordStoreContract, TestCase):
        async def make_records(self):
            return PostgresCallRecords(...)

Each test asks for a fresh, empty store. Knows the interfaces only.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from zope.interface.verify import verifyObject

from calltrack.errors import InvalidField, NoSuchObject
from calltrack.interfaces import ICallRecordStore, ICatalogStore
from calltrack.tracking.model import (
    Addressing,
    Attribution,
    CallRecord,
    LadderStep,
    MediaFigures,
    Number,
    Project,
    Scenario,
    StreamFigures,
    Target,
)

LADDER = (LadderStep(0, "caller", False, "INVITE", True), LadderStep(12, "target-1", True, "INVITE", True))


def call_record(call_id: str, created: int = 1_795_457_000_123, **fields: Any) -> CallRecord:
    """A plausible record, ACTIVE unless told."""
    return CallRecord(id=call_id, created=created, **{"project": 1, "callee": "11231234567", **fields})


class CallRecordStoreContract:
    """`ICallRecordStore`. A test case derives from this and has `make_records`."""

    async def make_records(self) -> ICallRecordStore:
        raise NotImplementedError("a fresh, empty store")

    async def test_provides_its_interface(self) -> None:
        verifyObject(ICallRecordStore, await self.make_records())

    async def test_returns_every_field_as_written(self) -> None:
        store = await self.make_records()
        record = call_record(
            "a",
            scenario=2,
            caller="74951234567",
            target="sip:office@example.com",
            trunk="provider",
            ringing=1_795_457_000_200,
            answered=1_795_457_001_000,
            ended=1_795_457_009_999,
            duration=9.876,
            waiting_time=0.877,
            answer_duration=8.999,
            status="ANSWER",
            hangup="target",
            sip_code=200,
            q850=16,
            attribution=Attribution(marker="очки 👓 \"'", reason="static channel"),
            target_call=True,
            new_caller=False,
            media=MediaFigures(caller=StreamFigures(packets=5, jitter_ms=0.5), verdict="both-ways"),
            ladder=LADDER,
        )
        await store.write(records=[record])
        self.assertEqual(await store.get(call_id="a"), record)

    async def test_get_of_unknown_call_fails_with_no_such_object(self) -> None:
        store = await self.make_records()
        await self.assertFailure(store.get(call_id="nobody"), NoSuchObject)

    async def test_final_record_replaces_active_one(self) -> None:
        store = await self.make_records()
        await store.write(records=[call_record("a")])
        await store.write(records=[call_record("a", status="BUSY", ladder=LADDER)])
        self.assertEqual(await store.get(call_id="a"), call_record("a", status="BUSY", ladder=LADDER))

    async def test_active_record_never_replaces_final_one(self) -> None:
        store = await self.make_records()
        final = call_record("a", status="BUSY", ladder=LADDER)
        await store.write(records=[final])
        await store.write(records=[call_record("a", ladder=LADDER[:1])])
        self.assertEqual(await store.get(call_id="a"), final)

    async def test_final_wins_within_one_write_in_any_order(self) -> None:
        store = await self.make_records()
        await store.write(records=[call_record("a", status="BUSY"), call_record("a")])
        self.assertEqual((await store.get(call_id="a")).status, "BUSY")

    async def test_writing_twice_changes_nothing(self) -> None:
        store = await self.make_records()
        record = call_record("a", status="ANSWER", ladder=LADDER)
        await store.write(records=[record])
        await store.write(records=[record])
        self.assertEqual(await store.get(call_id="a"), record)
        self.assertEqual(len(await store.list()), 1)

    async def test_record_without_ladder_keeps_the_one_there(self) -> None:
        store = await self.make_records()
        await store.write(records=[call_record("a", ladder=LADDER)])
        await store.write(records=[call_record("a", status="CONGESTION")])
        self.assertEqual((await store.get(call_id="a")).ladder, LADDER)

    async def test_empty_write_is_allowed(self) -> None:
        store = await self.make_records()
        await store.write(records=[])
        self.assertEqual(await store.list(), [])

    async def test_list_is_newest_first_without_ladders(self) -> None:
        store = await self.make_records()
        await store.write(records=[call_record(name, at, ladder=LADDER) for name, at in [("b", 2), ("c", 3), ("a", 1)]])
        self.assertEqual(await store.list(), [call_record("c", 3), call_record("b", 2), call_record("a", 1)])

    async def test_list_is_limited(self) -> None:
        store = await self.make_records()
        await store.write(records=[call_record(str(at), at) for at in range(5)])
        self.assertEqual([r.id for r in await store.list(limit=2)], ["4", "3"])

    async def test_list_filters_by_project_and_status(self) -> None:
        store = await self.make_records()
        await store.write(
            records=[
                call_record("a", 1, project=1, status="ANSWER"),
                call_record("b", 2, project=2, status="ANSWER"),
                call_record("c", 3, project=1, status="BUSY"),
                call_record("d", 4, project=None, status="CHANUNAVAIL"),
            ]
        )
        self.assertEqual([r.id for r in await store.list(project=1)], ["c", "a"])
        self.assertEqual([r.id for r in await store.list(status="ANSWER")], ["b", "a"])
        self.assertEqual([r.id for r in await store.list(project=1, status="ANSWER")], ["a"])

    async def test_pages_join_without_gap_or_overlap_among_calls_of_one_instant(self) -> None:
        store = await self.make_records()
        await store.write(
            records=[call_record(name, at) for name, at in [("a", 7), ("b", 7), ("c", 7), ("d", 8), ("e", 6)]]
        )
        pages, before = [], None
        while page := await store.list(limit=2, before=before):
            pages += [r.id for r in page]
            before = page[-1].id
        self.assertEqual(pages, ["d", "c", "b", "a", "e"])

    async def test_list_before_unknown_call_fails_with_no_such_object(self) -> None:
        store = await self.make_records()
        await self.assertFailure(store.list(before="nobody"), NoSuchObject)

    async def test_unfinished_are_the_active_ones_oldest_first_with_ladders(self) -> None:
        store = await self.make_records()
        await store.write(
            records=[call_record("c", 3), call_record("b", 2, status="BUSY"), call_record("a", 1, ladder=LADDER)]
        )
        self.assertEqual(await store.unfinished(), [call_record("a", 1, ladder=LADDER), call_record("c", 3)])


    async def test_forgotten_caller_is_in_no_record_and_all_else_stays(self) -> None:
        store = await self.make_records()
        theirs = call_record("a", caller="74951234567", status="ANSWER", attribution=Attribution(visit=7))
        await store.write(records=[theirs, call_record("b", caller="74950000000"), call_record("c", caller="")])
        before = [await store.get(call_id=name) for name in "abc"]
        self.assertEqual(await store.forget_caller(caller="74951234567"), 1)
        self.assertEqual(await store.forget_caller(caller="74951234567"), 0)
        after = [await store.get(call_id=name) for name in "abc"]
        self.assertEqual(after, [replace(before[0], caller=""), *before[1:]])


class CatalogStoreContract:
    """`ICatalogStore`. A test case derives from this and has `make_catalog`."""

    async def make_catalog(self) -> ICatalogStore:
        raise NotImplementedError("a fresh, empty store")

    async def _filled(self) -> tuple[ICatalogStore, Project, Scenario, Number]:
        store = await self.make_catalog()
        project = await store.add_project(
            project=Project(id=0, name="Glasses", key="k1", sites=("https://shop.example",))
        )
        target = Target(
            kind="sip", address="sip:a@example.com", allow=("G729",), addressing=Addressing(dialled_in=("to",))
        )
        scenario = await store.add_scenario(
            scenario=Scenario(id=0, project=project.id, name="Ads", marker="ad_1", targets=(target,), ring="all")
        )
        number = await store.add_number(number=Number(number="11231234567", project=project.id, scenario=scenario.id))
        return store, project, scenario, number

    async def test_provides_its_interface(self) -> None:
        verifyObject(ICatalogStore, await self.make_catalog())

    async def test_new_store_is_empty(self) -> None:
        _, *lists = await (await self.make_catalog()).snapshot()
        self.assertEqual(lists, [[], [], []])

    async def test_snapshot_holds_everything_as_added(self) -> None:
        store, project, scenario, number = await self._filled()
        _, *lists = await store.snapshot()
        self.assertEqual(lists, [[project], [scenario], [number]])

    async def test_ids_are_assigned_and_differ(self) -> None:
        store, project, scenario, _ = await self._filled()
        other = await store.add_project(project=Project(id=0, name="Shoes", key="k2"))
        self.assertNotIn(0, (project.id, scenario.id, other.id))
        self.assertNotEqual(project.id, other.id)

    async def test_every_change_raises_the_version_that_snapshot_shows(self) -> None:
        store, project, scenario, number = await self._filled()
        versions = [await store.version()]
        for change in (
            lambda: store.replace(value=replace(project, name="Lenses")),
            lambda: store.replace(value=replace(scenario, enabled=False)),
            lambda: store.replace(value=replace(number, scenario=None)),
            lambda: store.remove(value=number),
            lambda: store.remove(value=scenario),
            lambda: store.add_project(project=Project(id=0, name="Shoes", key="k2")),
        ):
            await change()
            versions.append(await store.version())
        self.assertEqual(versions, sorted(set(versions)))
        self.assertEqual((await store.snapshot())[0], versions[-1])

    async def test_version_stays_without_a_change(self) -> None:
        store, *_ = await self._filled()
        version = await store.version()
        await store.snapshot()
        self.assertEqual(await store.version(), version)

    async def test_replaced_values_are_returned_and_kept(self) -> None:
        store, project, scenario, number = await self._filled()
        changed = [replace(project, enabled=False), replace(scenario, name="Search"), replace(number, scenario=None)]
        self.assertEqual([await store.replace(value=value) for value in changed], changed)
        _, *lists = await store.snapshot()
        self.assertEqual([values[0] for values in lists], changed)

    async def test_replacing_what_is_not_there_fails_with_no_such_object(self) -> None:
        store, project, scenario, number = await self._filled()
        for value in (
            replace(project, id=99),
            replace(scenario, id=99),
            replace(scenario, project=99),
            replace(number, number="4953"),
            replace(number, scenario=99),
        ):
            await self.assertFailure(store.replace(value=value), NoSuchObject)

    async def test_number_of_somebody_is_refused_by_field(self) -> None:
        store, project, _, number = await self._filled()
        error = await self.assertFailure(store.add_number(number=replace(number, scenario=None)), InvalidField)
        self.assertEqual(error.field, "number")
        self.assertIn(f"project {project.id}", error.message)

    async def test_owner_must_exist(self) -> None:
        store, project, scenario, _ = await self._filled()
        other = await store.add_project(project=Project(id=0, name="Shoes", key="k2"))
        await self.assertFailure(store.add_scenario(scenario=Scenario(id=0, project=99, name="x")), NoSuchObject)
        await self.assertFailure(store.add_number(number=Number(number="4951", project=99)), NoSuchObject)
        await self.assertFailure(
            store.add_number(number=Number(number="4951", project=project.id, scenario=99)), NoSuchObject
        )
        stolen = Number(number="4951", project=other.id, scenario=scenario.id)
        await self.assertFailure(store.add_number(number=stolen), NoSuchObject)

    async def test_refused_change_leaves_everything_as_it_was(self) -> None:
        store, *_ = await self._filled()
        before = await store.snapshot()
        await self.assertFailure(store.add_number(number=Number(number="4951", project=99)), NoSuchObject)
        self.assertEqual(await store.snapshot(), before)

    async def test_numbers_of_a_removed_scenario_stay_without_one(self) -> None:
        store, _, scenario, number = await self._filled()
        await store.remove(value=scenario)
        _, _, scenarios, numbers = await store.snapshot()
        self.assertEqual((scenarios, numbers), ([], [replace(number, scenario=None)]))

    async def test_removing_twice_is_allowed(self) -> None:
        store, _, scenario, number = await self._filled()
        for value in (number, number, scenario, scenario):
            await store.remove(value=value)
        _, _, scenarios, numbers = await store.snapshot()
        self.assertEqual((scenarios, numbers), ([], []))
