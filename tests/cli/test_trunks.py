"""`calltrack trunk list`: the configuration's trunks, and what a running engine has told of them."""

import json
import os
import time
from pathlib import Path

from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from calltrack.cli import main
from calltrack.cli.trunks import BULLETIN
from calltrack.storage.bulletin import Bulletin, read_bulletin
from calltrack.storage.spool import Spool

CONFIG = """
[storage]
url = "sqlite:{folder}/calltrack.db"
[[trunk]]
name = "provider"
sources = ["198.51.100.0/24"]
[[trunk]]
name = "registered"
outbound = "sip:sip.provider.example"
username = "u100"
password = "secret"
register = true
[[trunk]]
name = "roaming"
inbound_username = "their"
inbound_password = "word"
"""


class TrunkListTests(TestCase):
    def setUp(self):
        self.folder = self.mktemp()
        os.makedirs(self.folder)
        self.config = os.path.join(self.folder, "calltrack.toml")
        Path(self.config).write_text(CONFIG.format(folder=self.folder))
        self.spool = os.path.join(self.folder, "calltrack.db-spool")

    def list(self, *options):
        result = CliRunner().invoke(main, ["--config", self.config, "trunk", "list", *options])
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertNotIn("secret", result.output)
        self.assertNotIn("word\n", result.output)
        return result.output

    def told(self, **trunks):
        """An engine is running, and this is what it tells."""
        spool = Spool(self.spool)
        spool.open()
        self.addCleanup(spool.close)
        Path(self.spool, BULLETIN).write_text(json.dumps({"trunks": trunks}))

    def test_nothing_is_known_while_no_engine_runs(self):
        Path(self.folder, "calltrack.db-spool").mkdir()
        Path(self.spool, BULLETIN).write_text(json.dumps({"trunks": {"provider": {"state": "up"}}}))
        found = json.loads(self.list("--json"))
        self.assertEqual([entry["name"] for entry in found], ["provider", "registered", "roaming"])
        self.assertEqual({entry["state"] for entry in found}, {"unknown"})
        self.assertIn("No engine is running", self.list())

    def test_where_calls_come_from_is_told_of_each(self):
        found = json.loads(self.list("--json"))
        self.assertEqual(
            [entry["calls_from"] for entry in found],
            [["198.51.100.0/24"], ["its registrar"], ["whoever proves to be their"]],
        )

    def test_state_of_a_running_engine(self):
        until = time.time() + 1800
        self.told(provider={"state": "up", "reason": ""}, registered={"state": "up", "reason": "", "registered_until": until})
        provider, registered, roaming = json.loads(self.list("--json"))
        self.assertEqual((provider["state"], registered["state"], roaming["state"]), ("up", "up", "unknown"))
        self.assertTrue(registered["registered"])
        self.assertIn(registered["registered_for"], range(1790, 1801))
        self.assertIn("registered for 1", self.list())

    def test_registration_that_failed_says_why(self):
        told = {"state": "down", "reason": "403 No\x1b[31m", "registered_until": 0, "next_attempt": time.time() + 60}
        self.told(registered=told)
        registered = json.loads(self.list("--json"))[1]
        self.assertFalse(registered["registered"])
        self.assertIn(registered["next_attempt_in"], range(58, 61))
        self.assertIn("not registered: 403 No?[31m", self.list())

    def test_bulletin_that_is_no_json_is_no_error(self):
        self.told()
        Path(self.spool, BULLETIN).write_text("{")
        self.assertIn("unknown", self.list())


class BulletinTests(TestCase):
    def setUp(self):
        self.path = os.path.join(self.mktemp(), "news.json")
        self.says = {"n": 0}
        self.bulletin = Bulletin(self.path, reactor, lambda: dict(self.says))

    def written(self):
        """Fires when nothing is being written any more."""
        done = Deferred()
        inner = self.bulletin._written

        def written(result):
            inner(result)
            if not self.bulletin._writing:
                done.callback(None)

        self.bulletin._written = written
        return done

    async def test_it_says_what_was_last(self):
        done = self.written()
        for number in range(5):
            self.says["n"] = number
            self.bulletin.renew("news")
        await done
        self.assertEqual(read_bulletin(self.path), {"n": 4})
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ["news.json"])

    async def test_place_that_cannot_be_written_is_a_line_in_the_log(self):
        Path(os.path.dirname(self.path)).write_text("a file where a directory should be")
        done = self.written()
        self.bulletin.renew()
        await done
        self.assertIsNone(read_bulletin(self.path))
