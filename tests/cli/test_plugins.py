"""`calltrack plugins`."""

import json

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from calltrack.cli import main
from calltrack.plugins import discovery
from tests.plugins.sample import Sample, broken, module


class ListTests(SynchronousTestCase):
    def run_it(self, *arguments, modules=()):
        self.patch(discovery.from_plugins, "__defaults__", (lambda: modules,))
        return CliRunner().invoke(main, ["plugins", *arguments])

    def test_all_are_listed_with_version_interface_origin_and_state(self):
        told = self.run_it("--json", modules=[module("mine", sample=Sample())])
        self.assertEqual(told.exit_code, 0, told.output)
        rows = json.loads(told.output)
        self.assertEqual(
            [row for row in rows if row["origin"] != "built in"],
            [
                {
                    "name": "sample",
                    "version": "1.2",
                    "interface": "ILocationStore",
                    "section": "locations",
                    "origin": "/plugins/mine.py",
                    "state": "ready",
                    "why": "",
                }
            ],
        )
        self.assertEqual([row["name"] for row in rows if row["state"] == "in use"], ["twisted", "storage", "catalog", "storage"])

    def test_a_broken_one_is_named_and_is_the_exit_status(self):
        told = self.run_it(modules=[broken("bad", ImportError("no \x1bredis"))])
        self.assertEqual(told.exit_code, 1)
        self.assertIn("broken: cannot be imported: ImportError: no ?redis", told.output)
        self.assertIn("/plugins/bad.py", told.output)
