"""The surface that scripts depend on, each command in a process of its own."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner
from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SynchronousTestCase, TestCase

import calltrack
from calltrack.cli import COMMANDS, main
from calltrack.storage.url import open_stores
from calltrack.testing.store_contract import LADDER, call_record
from calltrack.tracking.model import Attribution, Recording

ROOT = str(Path(calltrack.__file__).parents[1])
RUN = "from calltrack.cli import main; main(prog_name='calltrack')"


class CommandTestCase(TestCase):
    def setUp(self):
        self.home = self.mktemp()
        os.makedirs(self.home)
        self.config = os.path.join(self.home, "calltrack.toml")
        self.database = os.path.abspath(os.path.join(self.home, "calltrack.db"))
        self.configure('[[trunk]]\nname = "provider"\nsources = ["198.51.100.0/24"]\ncountry = "US"\n')

    def configure(self, text):
        Path(self.config).write_text(f"[storage]\nurl = 'sqlite:{self.database}'\n{text}")

    async def run_command(self, *args, env=None):
        """(standard output, standard error, exit status) of `calltrack --config ... ARGS`."""
        out, err, status = await getProcessOutputAndValue(
            sys.executable,
            ["-c", RUN, "--config", self.config, *args],
            env={"PYTHONPATH": ROOT, "PATH": os.environ.get("PATH", ""), **(env or {})},
        )
        return out.decode(), err.decode(), status

    async def json(self, *args, **options):
        out, err, status = await self.run_command(*args, "--json", **options)
        self.assertEqual((err, status), ("", 0))
        return json.loads(out)

    async def refused(self, *args, status=2):
        out, err, found = await self.run_command(*args)
        self.assertEqual((out, found), ("", status), err)
        self.assertNotIn("Traceback", err)
        return err

    async def shop(self):
        """The catalog of the issue's example."""
        project = await self.json("project", "add", "Glasses shop", "--site", "https://shop.example")
        scenario = await self.json(
            "scenario", "add", "Search ads", "--project", "1", "--static", "direct_search_1234567_buy glasses",
            "--forward", "sip:office@192.0.2.7:5062", "--forward", "phone:+74951234567", "--ring", "all",
            "--ring-time", "20",
        )  # fmt: skip
        number = await self.json("number", "add", "11231234567", "--project", "1", "--scenario", "1")
        return project, scenario, number

    async def write_calls(self, *records):
        stores = open_stores(f"sqlite:{self.database}", reactor)
        await stores.migrate()
        await stores.records.write(records=list(records))
        stores.close()


class CatalogCommandTests(CommandTestCase):
    async def test_the_way_to_a_first_number(self):
        project, scenario, number = await self.shop()
        self.assertEqual(
            (project["id"], project["name"], project["sites"]), (1, "Glasses shop", ["https://shop.example"])
        )
        self.assertRegex(project["key"], "^[0-9a-f]{16}$")
        self.assertEqual((scenario["id"], scenario["marker"]), (1, "direct_search_1234567_buy glasses"))
        self.assertEqual([t["address"] for t in scenario["targets"]], ["sip:office@192.0.2.7:5062", "+74951234567"])
        self.assertEqual((scenario["ring"], scenario["targets"][0]["ring_time"]), ("all", 20.0))
        self.assertEqual(number, {"number": "11231234567", "project": 1, "scenario": 1})
        self.assertEqual(await self.json("project", "list"), [project])
        self.assertEqual(await self.json("project", "show", "1"), project)
        self.assertEqual(await self.json("scenario", "list", "--project", "1"), [scenario])
        self.assertEqual(await self.json("scenario", "show", "1"), scenario)
        self.assertEqual(await self.json("number", "list"), [number])

    async def test_tables_for_people_name_everything(self):
        await self.shop()
        for command, words in {
            ("project", "list"): ["Glasses shop", "https://shop.example"],
            ("scenario", "list"): ["Search ads", "phone:+74951234567", "sip:office@192.0.2.7:5062"],
            ("scenario", "show", "1"): ["direct_search_1234567_buy glasses", "20 s"],
            ("number", "list"): ["11231234567"],
        }.items():
            out, err, status = await self.run_command(*command)
            self.assertEqual((err, status), ("", 0))
            for word in words:
                self.assertIn(word, out)

    async def test_edits(self):
        await self.shop()
        project = await self.json(
            "project", "edit", "1", "--name", "Lenses", "--default-target", "desk@example.com", "--disable"
        )
        self.assertEqual(
            (project["name"], project["default_target"], project["enabled"]), ("Lenses", "desk@example.com", False)
        )
        scenario = await self.json(
            "scenario", "edit", "1", "--static", "maps", "--forward", "desk@example.com", "--allow", "PCMA",
            "--dialled-in", "to",
        )  # fmt: skip
        (target,) = scenario["targets"]
        self.assertEqual((scenario["marker"], scenario["name"], scenario["ring"]), ("maps", "Search ads", "all"))
        self.assertEqual(
            (target["address"], target["allow"], target["ring_time"]), ("sip:desk@example.com", ["PCMA"], 20.0)
        )
        self.assertEqual(target["addressing"]["dialled_in"], ["to"])
        scenario = await self.json("scenario", "edit", "1", "--ring-time", "5", "--request-user", "dialled")
        self.assertEqual(
            scenario["targets"][0]["addressing"], {"request_user": "dialled", "dialled_in": ["to"], "caller_id": []}
        )
        self.assertIsNone((await self.json("number", "assign", "11231234567"))["scenario"])
        self.assertEqual((await self.json("scenario", "remove", "1"))["id"], 1)
        self.assertEqual((await self.json("number", "remove", "+1 123 123 4567"))["number"], "11231234567")
        self.assertEqual(await self.json("number", "list"), [])

    async def test_national_number_is_read_by_the_trunks_country(self):
        await self.json("project", "add", "Shop")
        self.assertEqual(
            (await self.json("number", "add", "(212) 555-0100", "--project", "1"))["number"], "12125550100"
        )

    async def test_unicode_passes_whatever_the_locale(self):
        marker = "очки 👓"
        await self.json("project", "add", "Очки", env={"LC_ALL": "C"})
        scenario = await self.json(
            "scenario",
            "add",
            "Поиск",
            "--project",
            "1",
            "--static",
            marker,
            "--forward",
            "a@b.example",
            env={"LC_ALL": "POSIX"},
        )
        self.assertEqual((scenario["name"], scenario["marker"]), ("Поиск", marker))

    async def test_scenarios_are_recorded_by_an_option(self):
        await self.json("project", "add", "Shop")
        common = ("--project", "1", "--static", "m", "--forward", "a@b.example")
        self.assertFalse((await self.json("scenario", "add", "x", *common))["record"])
        self.assertTrue((await self.json("scenario", "add", "y", *common, "--record"))["record"])
        self.assertFalse((await self.json("scenario", "edit", "2", "--no-record"))["record"])
        self.assertFalse((await self.json("scenario", "edit", "2", "--name", "z"))["record"])

    async def test_hostile_marker_is_stored_clean(self):
        await self.json("project", "add", "Shop")
        scenario = await self.json(
            "scenario",
            "add",
            "x",
            "--project",
            "1",
            "--static",
            "a\r\nX-Evil: 1\u202e" + "y" * 10_000,
            "--forward",
            "a@b.example",
        )
        self.assertEqual(scenario["marker"], "aX-Evil: 1" + "y" * 245)


class BadInputTests(CommandTestCase):
    async def test_refusals_name_the_field_and_what_is_allowed_on_standard_error(self):
        await self.shop()
        scenario = ("scenario", "add", "x", "--project", "1", "--static", "m", "--forward")
        for command, words in {
            ("number", "add", "office", "--project", "1", "--json"): ["number", "3 to 15 digits"],
            ("number", "add", "11231234567", "--project", "1", "--json"): ["number", "already"],
            ("number", "add", "4951", "--project", "9", "--json"): ["project 9 does not exist"],
            ("number", "add", "4951", "--project", "1", "--scenario", "9"): ["scenario 9"],
            ("number", "remove", "4951"): ["number 4951 does not exist"],
            (*scenario, "office", "--json"): ["forward", "office@domain.com"],
            (*scenario, "office@domain.com:99999", "--json"): ["forward", "1 to 65535"],
            (*scenario, "office@domain.com", "--ring-time", "0"): ["ring_time", "1 to 300"],
            (*scenario, "office@domain.com", "--ring-time", "soon"): ["--ring-time", "float"],
            (*scenario, "office@domain.com", "--ring", "random"): ["--ring", "in-order", "all"],
            ("project", "add", ""): ["name", "1 to 200"],
            ("project", "add", "x", "--site", "shop"): ["site", "https://shop.example"],
            ("project", "show", "99999999999999999999"): ["PROJECT"],
            ("call", "show", "nobody"): ["call nobody does not exist"],
            ("call", "list", "--before", "nobody"): ["call nobody does not exist"],
            ("call", "list", "--status", "LOST"): ["--status", "answer"],
        }.items():
            err = await self.refused(*command)
            for word in words:
                self.assertIn(word, err, command)

    async def test_wrong_usage(self):
        for command in (
            ("nothing",),
            ("project",),
            ("project", "add"),
            ("scenario", "add", "x", "--project", "1"),
            ("--zzz",),
        ):
            self.assertIn("Usage", await self.refused(*command))

    async def test_configuration_errors_come_all_at_once(self):
        self.configure("[sip]\nt1 = 0\nlisen = 1\n")
        err = await self.refused("project", "list", "--json")
        self.assertIn("[sip] t1: 0 is outside 0.01 to 5 (seconds)", err)
        self.assertIn("[sip] lisen", err)

    async def test_configuration_that_is_not_utf8_or_not_there(self):
        Path(self.config).write_bytes(b"[sip]\n# \xff\n")
        self.assertIn("UTF-8", await self.refused("project", "list"))
        os.unlink(self.config)
        self.assertIn("does not exist", await self.refused("project", "list"))

    async def test_store_in_memory_is_of_no_use_to_another_process(self):
        Path(self.config).write_text("[storage]\nurl = 'memory:'\n")
        self.assertIn("engine alone", await self.refused("project", "list"))

    async def test_database_that_cannot_be_used_is_status_1(self):
        Path(self.database).write_text("a letter to my aunt, which is no database " * 50)
        self.assertIn("is no SQLite database", await self.refused("project", "list", "--json", status=1))


class CallCommandTests(CommandTestCase):
    ENDED = call_record(
        "c2",
        1_795_457_000_123,
        caller="74951234567",
        target="sip:office@example.com",
        status="ANSWER",
        answered=1_795_457_005_000,
        ended=1_795_457_009_999,
        answer_duration=4.999,
        attribution=Attribution(marker="direct 👓", reason="static channel"),
        ladder=LADDER,
    )

    async def test_list_is_an_array_newest_first_with_iso_times(self):
        await self.write_calls(call_record("c1", 1_795_456_000_000), self.ENDED)
        newest, older = await self.json("call", "list")
        self.assertEqual((newest["id"], older["id"]), ("c2", "c1"))
        self.assertEqual(newest["created"], "2026-11-23T18:03:20.123Z")
        self.assertEqual((older["status"], older["answered"]), ("ACTIVE", None))
        self.assertEqual(newest["attribution"]["marker"], "direct 👓")
        self.assertEqual(
            set(newest),
            {
                "id", "project", "scenario", "caller", "callee", "target", "trunk", "created", "ringing", "answered",
                "ended", "duration", "waiting_time", "answer_duration", "status", "hangup", "sip_code", "q850", "reason",
                "attribution", "target_call", "cost", "currency", "new_caller", "media", "recording",
            },
        )  # fmt: skip

    async def test_list_takes_filters(self):
        await self.write_calls(call_record("c1", 1), self.ENDED, call_record("c3", 3, project=2, status="BUSY"))
        for args, ids in {
            ("--limit", "1"): ["c2"],
            ("--project", "2"): ["c3"],
            ("--status", "busy"): ["c3"],
            ("--before", "c2"): ["c3", "c1"],
        }.items():
            self.assertEqual([call["id"] for call in await self.json("call", "list", *args)], ids)

    async def test_a_recording_is_told_on_one_line(self):
        recording = Recording(name="2026-11-25/c3.wav", seconds=12.34, state="partial", reason="the disk is full")
        await self.write_calls(call_record("c3", 3, status="ANSWER", ended=4, recording=recording))
        self.assertEqual((await self.json("call", "show", "c3"))["recording"]["state"], "partial")
        out, err, status = await self.run_command("call", "show", "c3")
        self.assertIn("partial (the disk is full), 12.3 s: 2026-11-25/c3.wav", out)

    async def test_no_calls_are_an_empty_array(self):
        self.assertEqual(await self.json("call", "list"), [])

    async def test_show_has_the_ladder(self):
        await self.write_calls(self.ENDED)
        shown = await self.json("call", "show", "c2")
        self.assertEqual(
            shown["ladder"][0], {"at_ms": 0, "side": "caller", "sent": False, "text": "INVITE", "sdp": True}
        )
        out, err, status = await self.run_command("call", "show", "c2")
        self.assertEqual((err, status), ("", 0))
        for word in ("2026-11-23T18:03:20.123Z", "ANSWER", "calltrack", "target-1", "INVITE sdp", "direct 👓"):
            self.assertIn(word, out)

    async def test_text_of_the_network_steers_no_terminal(self):
        await self.write_calls(replace(self.ENDED, caller="\x1b[2J\u202e[bold]x[/bold]", reason="\x07"))
        for command in (("call", "list"), ("call", "show", "c2")):
            out, _, status = await self.run_command(*command)
            self.assertEqual(status, 0)
            self.assertTrue(all(char.isprintable() or char == "\n" for char in out))
            self.assertIn("[bold]x[/bold]", out)


class DatabaseCommandTests(CommandTestCase):
    async def test_backup_is_a_database_and_overwrites_nothing(self):
        await self.shop()
        target = os.path.join(self.home, "copy.db")
        self.assertEqual((await self.json("db", "backup", target))["file"], target)
        with closing(sqlite3.connect(target)) as copy:
            self.assertEqual(copy.execute("SELECT number FROM number").fetchall(), [("11231234567",)])
        self.assertIn("exists", await self.refused("db", "backup", target))

    async def test_backup_goes_beside_the_database(self):
        backup = await self.json("db", "backup")
        self.assertTrue(backup["file"].startswith(self.database + "."))
        self.assertTrue(os.path.exists(backup["file"]))

    async def test_migrate_makes_the_schema_once(self):
        done = await self.json("db", "migrate")
        self.assertEqual((done["before"], done["backup"]), (0, None))
        again = await self.json("db", "migrate")
        self.assertEqual(again["before"], done["after"])


class CheckCommandTests(CommandTestCase):
    LISTEN = """
[sip]
listen = ["udp:127.0.0.1:0"]
[web]
listen = "127.0.0.1:0"
[media]
listen = "127.0.0.1"
ports = [43000, 43019]
"""

    async def test_every_part_has_a_verdict(self):
        self.configure(self.LISTEN)
        verdicts = await self.json("check", "--no-trial")
        subjects = {"configuration", "database", "recordings", "traces", "ports", "media", "DNS", "clock", "trunks"}
        self.assertEqual({verdict["check"] for verdict in verdicts}, subjects)
        self.assertTrue(all(verdict["ok"] for verdict in verdicts), verdicts)

    async def test_any_failure_is_status_1(self):
        self.configure(self.LISTEN)
        Path(self.database).write_text("a letter to my aunt, which is no database " * 50)
        out, _, status = await self.run_command("check", "--no-trial")
        self.assertEqual(status, 1)
        self.assertIn("FAIL", out)

    async def test_wrong_configuration_is_a_verdict_for_each_error(self):
        self.configure("[sip]\nt1 = 0\nlisen = 1\n")
        out, _, status = await self.run_command("check", "--json")
        self.assertEqual(status, 1)
        self.assertEqual([verdict["ok"] for verdict in json.loads(out)], [False, False])


class HelpTests(SynchronousTestCase):
    def test_every_command_is_in_the_help(self):
        result = CliRunner().invoke(main, ["--help"])
        self.assertEqual(result.exit_code, 0)
        for name in COMMANDS:
            self.assertIn(f"  {name} ", result.output)

    def test_help_imports_neither_twisted_nor_the_tables_of_numbers(self):
        program = "import sys; from calltrack.cli import main; main(['-h'], standalone_mode=False); print({*sys.modules})"
        command = [sys.executable, "-c", program]
        out = subprocess.run(command, env={"PYTHONPATH": ROOT}, capture_output=True, text=True, check=True).stdout
        for module in ("twisted", "phonenumbers", "rich", "sqlite3"):
            self.assertNotIn(f"'{module}'", out)
