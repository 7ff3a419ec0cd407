"""Call records in a file of JSON lines keep the contracts of record stores, across restarts, crashes and full disks."""

from __future__ import annotations

import json
import os
import stat

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from calltrack.errors import StoreUnavailable
from calltrack.storage.json_records import JSONLinesRecords
from calltrack.storage.url import open_stores
from calltrack.testing.search_contract import CallSearchContract
from calltrack.testing.store_contract import LADDER, CallRecordStoreContract, call_record


class JSONCase(TestCase):
    path = ""

    async def make_records(self) -> JSONLinesRecords:
        self.path = self.path or os.path.abspath(self.mktemp())
        store = JSONLinesRecords(self.path, reactor)
        await store.startService()
        self.addCleanup(store.stopService)
        return store

    async def restarted(self, store: JSONLinesRecords) -> JSONLinesRecords:
        await store.stopService()
        return await self.make_records()

    def lines(self) -> list[dict]:
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]


class ContractTests(JSONCase, CallRecordStoreContract):
    pass


class SearchContractTests(JSONCase, CallSearchContract):
    pass


class FileTests(JSONCase):
    async def test_records_are_there_after_a_restart_as_they_were(self) -> None:
        store = await self.make_records()
        await store.write([call_record("a", 1, ladder=LADDER), call_record("b", 2)])
        await store.write([call_record("a", 1, status="BUSY")])
        again = await self.restarted(store)
        self.assertEqual(await again.get("a"), call_record("a", 1, status="BUSY", ladder=LADDER))
        self.assertEqual([record.id for record in await again.unfinished()], ["b"])

    async def test_file_is_not_for_everybody_when_it_is_new_and_when_it_is_written_anew(self) -> None:
        self.addCleanup(os.umask, os.umask(0o022))
        store = await self.make_records()
        modes = []
        for _ in range(2):
            await store.write([call_record("a", status="BUSY"), call_record("a", status="BUSY")])
            modes.append(stat.S_IMODE(os.stat(self.path).st_mode))
            store = await self.restarted(store)
        self.assertEqual([*modes, stat.S_IMODE(os.stat(self.path).st_mode)], [0o640] * 3)

    async def test_lines_that_later_ones_replace_go_at_the_next_start(self) -> None:
        store = await self.make_records()
        for _ in range(3):
            await store.write([call_record("a", status="BUSY")])
        self.assertEqual(len(self.lines()), 3)
        await self.restarted(store)
        self.assertEqual(len(self.lines()), 1)

    async def test_what_a_crash_has_left_is_cut_off_and_kept_beside(self) -> None:
        store = await self.make_records()
        await store.write([call_record("a")])
        with open(self.path, "ab") as file:
            file.write(b'nonsense\n{"id": "b", "crea')
        again = await self.restarted(store)
        self.assertEqual([record.id for record in await again.list()], ["a"])
        await again.write([call_record("c")])
        self.assertEqual([line["id"] for line in self.lines()], ["a", "c"])
        with open(self.path + ".broken", "rb") as file:
            self.assertIn(b"nonsense", file.read())

    async def test_a_file_that_cannot_be_written_is_unavailable_until_it_can(self) -> None:
        store = await self.make_records()
        await store.write([call_record("a")])
        store._path = store._path / "below-a-file"
        await self.assertFailure(store.write([call_record("b")]), StoreUnavailable)
        store._path = store._path.parent
        await store.write([call_record("b")])
        self.assertEqual([line["id"] for line in self.lines()], ["a", "b"])

    async def test_a_file_that_cannot_be_read_is_told_and_tried_again_with_the_next_write(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        os.makedirs(self.path)
        store = JSONLinesRecords(self.path, reactor)
        self.addCleanup(store.stopService)
        await self.assertFailure(store.startService(), StoreUnavailable)
        self.assertIn("directory", (await store.health()).lower())
        await self.assertFailure(store.write([call_record("a")]), StoreUnavailable)
        os.rmdir(self.path)
        await store.write([call_record("a")])
        self.assertEqual(await store.health(), "")

    async def test_a_caller_who_is_forgotten_is_in_no_line(self) -> None:
        store = await self.make_records()
        await store.write([call_record("a", caller="74951234567"), call_record("b", caller="74950000000")])
        await store.forget_caller("74951234567")
        self.assertEqual([line["caller"] for line in self.lines() if "caller" in line and line["caller"]], ["74950000000"])

    async def test_beside_the_process_that_writes_others_read_and_change_nothing(self) -> None:
        engine = await self.make_records()
        await engine.write([call_record("a", caller="7495")])
        await engine.write([call_record("a", caller="7495", status="BUSY")])
        with open(self.path, "ab") as file:
            file.write(b'{"id": "torn')  # as if the engine were in the middle of a write
        command = await self.make_records()
        self.assertEqual((await command.get("a")).status, "BUSY")
        for change in (lambda: command.write([call_record("b")]), lambda: command.forget_caller("7495")):
            error = await self.assertFailure(change(), StoreUnavailable)
            self.assertIn("another process writes to it", str(error))
        with open(self.path, "rb") as file:
            self.assertEqual(file.read().count(b"\n"), 2)
        await engine.stopService()
        self.assertEqual(await command.forget_caller("7495"), 1)

    async def test_what_a_record_gives_rise_to_is_in_the_log_of_events(self) -> None:
        events = open_stores("memory:", reactor).events
        store = JSONLinesRecords(os.path.abspath(self.mktemp()), reactor, events)
        await store.startService()
        self.addCleanup(store.stopService)
        await store.write([call_record("a", status="BUSY", ended=1_795_457_000_500)])
        _, found = await events.read(0)
        self.assertIn("call.ended", [one.event.type for one in found])
