"""Dynamic scenarios, numbers from a file, and visits on the command line."""

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from twisted.internet import reactor

from calltrack.storage.url import open_stores
from calltrack.testing.store_contract import call_record
from calltrack.testing.visit_contract import AT, lease, visit
from calltrack.tracing import segments
from calltrack.tracking.model import Attribution, Miss, Recording
from tests.cli.test_commands import CommandTestCase


class DynamicScenarioCommandTests(CommandTestCase):
    async def dynamic(self, *options):
        await self.json("project", "add", "Glasses", "--site", "https://shop.example")
        return await self.json(
            "scenario", "add", "Visitors", "--project", "1", "--dynamic", "--forward", "office@example.com", *options
        )

    async def test_everything_that_pages_show_can_be_set_and_changed(self):
        added = await self.dynamic(
            *("--segment", "source like direct_*", "--segment", "utm_medium = cpc"),
            *("--mask", "8 (XXX) XXX-XX-XX", "--replace", "+1 999 000 00 00", "--replace", "(202) 555-0123"),
            *("--selector", ".phone", "--selector", "a[href^='tel:']", "--fallback", "18005550199", "--hold", "90"),
        )
        self.assertEqual(added["kind"], "dynamic")
        self.assertEqual(added["segments"], ["source like direct_*", "utm_medium = cpc"])
        self.assertEqual((added["replace"], added["fallback"]), (["19990000000", "12025550123"], "18005550199"))
        self.assertEqual((added["mask"], added["hold"]), ("8 (XXX) XXX-XX-XX", 90.0))
        self.assertEqual(added["selectors"], [".phone", "a[href^='tel:']"])
        changed = await self.json("scenario", "edit", "1", "--hold", "150", "--segment", "", "--fallback", "")
        self.assertEqual((changed["hold"], changed["segments"], changed["fallback"]), (150.0, [], ""))
        self.assertEqual(changed["selectors"], added["selectors"])

    async def test_static_scenario_becomes_dynamic_and_back(self):
        await self.json("project", "add", "Glasses")
        await self.json("scenario", "add", "Ads", "--project", "1", "--static", "ad_1", "--forward", "a@example.com")
        changed = await self.json("scenario", "edit", "1", "--dynamic")
        self.assertEqual((changed["kind"], changed["marker"]), ("dynamic", ""))
        changed = await self.json("scenario", "edit", "1", "--static", "ad_2")
        self.assertEqual((changed["kind"], changed["marker"]), ("static", "ad_2"))

    async def test_what_is_refused_names_its_field_and_what_is_allowed(self):
        await self.json("project", "add", "Glasses")
        add = ("scenario", "add", "V", "--project", "1", "--dynamic", "--forward", "a@example.com")
        for option, value, words in (
            ("--segment", "colour = red", "segment: 'colour' is nothing that a visit has; allowed: source"),
            ("--segment", "source", "is no condition"),
            ("--mask", "phone", "mask: 'phone' is no mask"),
            ("--selector", "<b>", "selectors: '<b>' is no CSS selector"),
            ("--replace", "call us", "replace: 'call us' is no telephone number"),
            ("--hold", "5", "hold: 5.0 is outside 10 to 86400 (seconds)"),
        ):
            self.assertIn(words, await self.refused(*add, option, value))
        self.assertIn("exclude each other", await self.refused(*add, "--static", "x"))
        self.assertIn("--static", await self.refused(*(word for word in add if word != "--dynamic")))

    async def test_marker_rules_are_the_projects_and_can_be_tried(self):
        await self.json("project", "add", "Glasses")
        url = "https://shop.example/?utm_source=google&utm_medium=cpc"
        self.assertEqual((await self.json("visit", "marker", url))["marker"], "google_cpc")
        await self.json("project", "edit", "1", "--marker-rule", "?utm_source=google* => adwords_{utm_medium}")
        self.assertEqual((await self.json("visit", "marker", url, "--project", "1"))["marker"], "adwords_cpc")
        self.assertIn("is no rule", await self.refused("project", "edit", "1", "--marker-rule", "google"))
        await self.json("project", "edit", "1", "--marker-rule", "")
        self.assertEqual((await self.json("visit", "marker", url, "--project", "1"))["marker"], "google_cpc")


class NumberImportTests(CommandTestCase):
    async def imported(self, text, *options):
        file = Path(self.home) / "numbers.csv"
        file.write_text(text)
        await self.json("project", "add", "Glasses")
        return await self.run_command("number", "import", str(file), "--project", "1", *options)

    async def test_numbers_come_in_and_refused_rows_are_told_line_by_line(self):
        text = "number,scenario\n+1 202 555 0100,\n(202) 555-0101\nabc\n12025550100\n12025550103,x\n\n12025550104,9\n"
        out, err, status = await self.imported(text)
        self.assertEqual((out, status), ("2 numbers added, 4 rows refused\n", 1))
        lines = [line for line in err.split("\n") if line.startswith("line ")]
        self.assertEqual([line.partition(":")[0] for line in lines], ["line 4", "line 5", "line 6", "line 8"])
        self.assertIn("'abc' is no telephone number", lines[0])
        self.assertIn("belongs to project 1 already", lines[1])
        self.assertEqual(
            [one["number"] for one in await self.json("number", "list")], ["12025550100", "12025550101"]
        )

    async def test_semicolons_and_json(self):
        out, _, status = await self.imported("12025550100;\n12025550101;\n", "--json")
        self.assertEqual((json.loads(out), status), ({"added": ["12025550100", "12025550101"], "refused": []}, 0))

    async def test_file_that_is_no_text_is_refused(self):
        file = Path(self.home) / "numbers.csv"
        file.write_bytes(b"\xff\xfe\x00")
        await self.json("project", "add", "Glasses")
        self.assertIn("is no CSV in UTF-8", await self.refused("number", "import", str(file), "--project", "1"))


class VisitCommandTests(CommandTestCase):
    async def visits(self):
        stores = open_stores(f"sqlite:{self.database}", reactor)
        try:
            await stores.migrate()
            personal = {"address": "192.0.2.1", "user_agent": "Mozilla/5.0", "landing_page": "https://shop.example/\x1b[2J"}
            visits = [visit(1, AT, utm={"utm_source": "google"}, **personal), visit(2, AT + 1000)]
            await stores.visits.write(visits, [lease(ended=AT + 5000, confirmed=True)], [], [])
            record = call_record("a", caller="74951234567", status="ANSWER", attribution=Attribution(visit=1, marker="m"))
            await stores.records.write([record])
        finally:
            stores.close()

    async def test_list_is_newest_first_and_shows_no_secret(self):
        await self.visits()
        found = await self.json("visit", "list", "--project", "1")
        self.assertEqual([one["number"] for one in found], [2, 1])
        self.assertNotIn("secret", found[0])
        self.assertEqual([one["number"] for one in await self.json("visit", "list", "--project", "1", "--before", "2")], [1])

    async def test_show_has_the_numbers_that_it_was_shown(self):
        await self.visits()
        found = await self.json("visit", "show", "1", "--project", "1")
        self.assertEqual(found["utm"], {"utm_source": "google"})
        [shown] = found["leases"]
        self.assertEqual((shown["number"], shown["confirmed"]), ("12025550100", True))
        out, _, _ = await self.run_command("visit", "show", "1", "--project", "1")
        self.assertIn("12025550100", out)
        self.assertNotIn("\x1b", out)

    async def test_unknown_visit_is_refused_in_words(self):
        await self.visits()
        self.assertIn("visit 9 of project 1 does not exist", await self.refused("visit", "show", "9", "--project", "1"))

    async def test_erased_caller_is_in_no_call_event_or_visit(self):
        await self.visits()
        self.assertIn("--yes", (await self.run_command("visit", "erase", "--help"))[0])
        erased = await self.json("visit", "erase", "--caller", "+7 495 123-45-67", "--yes")
        self.assertEqual(erased, {"calls": 1, "visits": 1})
        shown = await self.json("visit", "show", "1", "--project", "1")
        self.assertEqual((shown["address"], shown["utm"], shown["marker"]), ("", {}, "direct_search"))
        [call] = await self.json("call", "list")
        self.assertEqual((call["caller"], call["attribution"]["visit"]), ("", 1))
        with closing(sqlite3.connect(self.database)) as connection:
            events = connection.execute("SELECT value FROM event").fetchall()
        self.assertTrue(events)
        self.assertNotIn("74951234567", str(events))
        self.assertIn("has called nobody", await self.refused("visit", "erase", "--caller", "74951234567", "--yes"))


    async def test_erased_callers_recordings_and_sip_messages_are_deleted_too(self):
        await self.visits()
        sound = f"{self.database}-recordings/2026-11-23/a.wav"
        os.makedirs(os.path.dirname(sound))
        with open(sound, "wb") as file:
            file.write(b"a voice")
        kept = Recording(name="2026-11-23/a.wav", state="complete", seconds=1.0)
        record = call_record("a", caller="74951234567", status="ANSWER", attribution=Attribution(visit=1, marker="m"), recording=kept)
        await self.write_calls(record)
        traces = f"{self.database}-traces"
        writer = segments.Segments(traces, 32_000_000)
        about = segments.about("a", "caller", "udp", ("192.0.2.1", 5060), ("198.51.100.7", 5060))
        writer.write([(about, record.created * 1000, False, b"INVITE from 74951234567")], record.created)
        writer.close()
        self.assertIn("74951234567", (await self.run_command("call", "show", "a", "--sip"))[0])
        await self.json("visit", "erase", "--caller", "74951234567", "--yes")
        self.assertFalse(os.path.exists(sound))
        self.assertEqual(segments.read(traces, "a", record.created, record.created), [])
        recording = (await self.json("call", "show", "a"))["recording"]
        self.assertEqual((recording["state"], recording["reason"], recording["name"]), ("deleted", "the caller was erased", ""))


class PoolCommandTests(CommandTestCase):
    async def test_advice_comes_from_the_scenarios_own_visitors(self):
        await self.json("project", "add", "Glasses")
        add = ("scenario", "add", "V", "--project", "1", "--forward", "a@example.com")
        await self.json(*add, "--dynamic")
        await self.json(*add, "--static", "ad_1")
        await self.json("number", "add", "12025550100", "--project", "1", "--scenario", "1")
        self.assertIn("Nobody has wanted", (await self.run_command("pool", "advise", "--scenario", "1"))[0])
        now = int(time.time() * 1000)
        stores = open_stores(f"sqlite:{self.database}", reactor)
        try:
            visits = [lease("4951", now - at * 1000, ended=now - at * 1000 + 250_000, confirmed=True, scenario=1) for at in range(7000, 300, -300)]
            await stores.visits.write([], visits, [], [Miss(project=1, scenario=1, visit=9, at=now - 600_000)])
        finally:
            stores.close()
        advice = await self.json("pool", "advise", "--scenario", "1", "--numbers", "7")
        self.assertEqual((advice["visitors"], advice["misses"], advice["numbers"]), (24, 1, 1))
        self.assertGreater(advice["advised"], 1)
        self.assertIn(7, [row["numbers"] for row in advice["rows"]])
        out, _, status = await self.run_command("pool", "advise", "--scenario", "1")
        self.assertIn("numbers advised", out)
        self.assertEqual(status, 0)
        self.assertIn("is static", await self.refused("pool", "advise", "--scenario", "2"))


class SimulateCommandTests(CommandTestCase):
    timeout = 100

    async def test_simulated_and_real_visitors_are_found(self):
        out, err, status = await self.run_command("simulate", "--days", "0.2", "--load", "4", "--real", "4", "--json")
        self.assertEqual(status, 0, err)
        found = json.loads(out)
        [figures] = found["loads"]
        self.assertEqual((figures["double_leases"], figures["wrong"], found["problems"]), (0, 0, []))
        self.assertGreater(figures["accuracy"], 0.95)
        self.assertEqual([one["told"] for one in found["real"]], [[one["number"], str(one["visit"])] for one in found["real"]])
        self.assertEqual(len({one["visit"] for one in found["real"]}), 4)

    async def test_figures_are_a_table_for_people(self):
        out, err, status = await self.run_command("simulate", "--days", "0.02", "--load", "2", "--real", "0")
        self.assertIn("to somebody else", out)
        self.assertEqual(status, 0, err)
