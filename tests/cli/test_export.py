"""`calltrack call export` and `follow` as they are typed."""

import csv
import io
import json
import os
import stat
import sys
from datetime import datetime, timezone

from openpyxl import load_workbook
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from calltrack.cli import call_export
from calltrack.cli.call_export import PAGE, WorkbookWriter
from calltrack.storage.url import open_stores
from calltrack.testing.store_contract import LADDER, call_record
from calltrack.tracking.model import Attribution, CallRecord
from calltrack.tracking.sheets import COLUMNS, defused, row_of
from tests.cli.test_commands import ROOT, RUN, CommandTestCase
from tests.interop.processes import Child

AT = 1_795_457_000_123
FORMULA = '=HYPERLINK("http://evil.example","x")'
CALLS = [
    call_record("a", AT, caller="74951234567", status="BUSY", attribution=Attribution(marker=FORMULA), ladder=LADDER),
    call_record("b", AT + 1, status="ANSWER", answered=AT + 500, ended=AT + 9000, answer_duration=8.5, cost=0.02,
                currency="USD", attribution=Attribution(marker='очки "x",\r\n👓', visit=7), target_call=True),
    call_record("c", AT + 2, project=2, status="CANCEL", reason="-1+1\x07"),
]  # fmt: skip


class ExportTests(CommandTestCase):
    async def export(self, *args):
        out, err, status = await self.run_command("call", "export", *args)
        self.assertEqual(status, 0, err)
        return out

    def path(self, name):
        return os.path.join(os.path.abspath(self.home), name)

    async def test_csv_has_every_field_and_no_formula(self):
        await self.write_calls(*CALLS)
        await self.export(self.path("calls.csv"))
        with open(self.path("calls.csv"), encoding="utf-8", newline="") as file:
            text = file.read()
        self.assertTrue(text.startswith("\ufeffid,project,"))
        rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
        self.assertEqual([row["id"] for row in rows], ["a", "b", "c"])
        self.assertEqual(rows[0]["marker"], "'" + FORMULA)
        self.assertEqual(rows[1]["marker"], 'очки "x",\r\n👓')
        self.assertEqual(rows[1]["created"], "2026-11-23T18:03:20.124Z")
        expected = {"visit": "7", "cost": "0.02", "target_call": "true", "ringing": "", "answer_duration": "8.5"}
        self.assertEqual({name: rows[1][name] for name in expected}, expected)
        self.assertTrue(rows[2]["reason"].startswith("'-1+1"))

    async def test_file_is_for_its_owner_alone(self):
        self.addCleanup(os.umask, os.umask(0o022))
        await self.write_calls(*CALLS)
        await self.export(self.path("calls.csv"))
        self.assertEqual(stat.S_IMODE(os.stat(self.path("calls.csv")).st_mode), 0o600)

    async def test_json_lines_are_what_the_list_shows(self):
        await self.write_calls(*CALLS)
        lines = [json.loads(line) for line in (await self.export("--format", "jsonl")).splitlines()]
        self.assertEqual(lines[::-1], await self.json("call", "list"))

    async def test_workbook_has_numbers_times_and_texts_that_are_no_formulas(self):
        await self.write_calls(*CALLS)
        await self.export(self.path("calls.xlsx"))
        sheet = load_workbook(self.path("calls.xlsx"))["Calls"]
        head, *rows = list(sheet.iter_rows())
        self.assertEqual([cell.value for cell in head], list(COLUMNS))
        cells = [dict(zip(COLUMNS, row)) for row in rows]
        self.assertEqual((cells[0]["marker"].value, cells[0]["marker"].data_type), (FORMULA, "s"))
        self.assertEqual(cells[1]["cost"].value, 0.02)
        self.assertEqual(cells[1]["created"].value.replace(microsecond=0), datetime(2026, 11, 23, 18, 3, 20))
        self.assertEqual(cells[2]["reason"].value, "-1+1")

    async def test_filters(self):
        await self.write_calls(*CALLS)
        for args, ids in (
            (("--project", "1"), "ab"),
            (("--status", "busy", "--status", "CANCEL"), "ac"),
            (("--caller", "74951234567"), "a"),
            (("--target-call",), "b"),
            (("--since", "2026-11-24"), ""),
            (("--until", "2026-11-24T00:00+00:00"), "abc"),
            (("--marker", FORMULA), "a"),
        ):
            out = await self.export("--format", "jsonl", *args)
            self.assertEqual("".join(json.loads(line)["id"] for line in out.splitlines()), ids, args)

    async def test_more_calls_than_a_page_come_once_each_in_order(self):
        count = 2 * PAGE + 7
        await self.write_calls(*(call_record(f"{number:05d}", AT + number // 3, status="BUSY") for number in range(count)))
        out = await self.export("--format", "jsonl")
        self.assertEqual([json.loads(line)["id"] for line in out.splitlines()], [f"{n:05d}" for n in range(count)])

    async def test_what_cannot_be_written_or_read_is_told_and_leaves_no_file(self):
        await self.write_calls(*CALLS)
        self.assertIn("cannot be written", await self.refused("call", "export", "/nowhere/calls.csv", status=1))
        self.assertIn("is no time", await self.refused("call", "export", "--since", "yesterday"))
        self.assertEqual([name for name in os.listdir(self.home) if "calls" in name], [])

    async def test_nothing_found_is_a_head_alone(self):
        await self.write_calls()
        self.assertEqual((await self.export()).count("\n"), 1)


class SheetTests(SynchronousTestCase):
    def test_what_a_spreadsheet_takes_for_a_formula_is_text(self):
        for text in ("=1", "+1", "-1", "@x", "\tx", "\rx"):
            self.assertEqual(defused(text), "'" + text)
        for text in ("", "x=1", "74951234567", "'=1"):
            self.assertEqual(defused(text), text)

    def test_every_field_of_a_record_has_its_column(self):
        said = {"attribution", "media", "ladder"}  # by columns of their own; the ladder is not told
        self.assertEqual(set(CallRecord.__struct_fields__) - said - set(COLUMNS), set())
        self.assertEqual(len(row_of(CALLS[0])), len(COLUMNS))

    def test_full_sheet_is_followed_by_another(self):
        self.patch(call_export, "MOST_ROWS", 2)
        file = io.BytesIO()
        writer = WorkbookWriter(file, True)
        for record in CALLS:
            writer.write(record)
        writer.close()
        book = load_workbook(io.BytesIO(file.getvalue()))
        self.assertEqual([(sheet.title, sheet.max_row) for sheet in book], [("Calls", 3), ("Calls 2", 2)])

    def test_times_are_utc(self):
        created = row_of(CALLS[0])[list(COLUMNS).index("created")]
        self.assertEqual(created, datetime(2026, 11, 23, 18, 3, 20, 123000, timezone.utc))


class FollowTests(CommandTestCase):
    def follow(self, *args):
        arguments = [sys.executable, "-c", RUN, "--config", self.config, "call", "follow", *args]
        return Child(self, "call follow", arguments, env={"PYTHONPATH": ROOT})

    async def test_each_change_is_a_line_as_it_happens(self):
        await self.write_calls(CALLS[0])
        child = self.follow("--last", "1")
        await child.writes("missed")
        self.assertNotIn("started", child.output)
        stores = open_stores(f"sqlite:{self.database}", reactor)
        self.addCleanup(stores.close)
        active = call_record("d", AT, caller="12025550143")
        await stores.records.write([active])
        await child.writes("d  started   12025550143 -> 11231234567")
        await stores.records.write([CALLS[1]])
        await child.writes("b  ended     withheld -> 11231234567  ANSWER, talked 8.5 s")

    async def test_json_and_project(self):
        await self.write_calls(*CALLS)
        child = self.follow("--json", "--project", "2", "--last", "100")
        await child.writes('"id":"c.missed"')
        events = [json.loads(line) for line in child.printed.splitlines()]
        self.assertEqual([event["id"] for event in events], ["c.started", "c.ended", "c.missed"])

    async def test_interrupt_ends_it_quietly(self):
        await self.write_calls(CALLS[0])
        child = self.follow("--last", "1")
        await child.writes("missed")
        child.signal("INT")
        await child.end()
        self.assertNotIn("Traceback", child.output)
