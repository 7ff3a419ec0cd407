"""`calltrack plugins new` writes a package that is whole."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase, TestCase

from calltrack.cli import main
from calltrack.errors import InvalidField
from calltrack.plugins.new import write_package
from tests.interop.harness import CHECKOUT
from tests.interop.processes import Child


class WritingTests(SynchronousTestCase):
    def folder(self) -> Path:
        return Path(self.mktemp())

    def test_nothing_of_the_template_is_left_in_it(self) -> None:
        for path in write_package("my-own-store", self.folder()):
            self.assertNotIn("@", path.read_text("utf-8").replace("@implementer", ""), path)
            self.assertNotIn("@", str(path))
        self.assertTrue(path.name.startswith("calltrack_my_own_store"))

    def test_names_that_cannot_be_one_and_places_that_are_taken_are_refused(self) -> None:
        for name in ("", "Shelf", "a b", "../x", "1a", "a--b", "a-", "é"):
            self.assertRaises(InvalidField, write_package, name, self.folder())
        folder = self.folder()
        folder.mkdir()
        self.assertRaises(InvalidField, write_package, "a", folder)

    def test_the_command_says_what_it_wrote_and_what_to_do(self) -> None:
        with CliRunner().isolated_filesystem():
            told = CliRunner().invoke(main, ["plugins", "new", "shelf"])
            self.assertEqual(told.exit_code, 0, told.output)
            self.assertIn("cd calltrack-shelf", told.output)
            self.assertTrue(Path("calltrack-shelf/setup.cfg").exists())
            self.assertEqual(CliRunner().invoke(main, ["plugins", "new", "shelf"]).exit_code, 2)


class RunningTests(TestCase):
    timeout = 60

    async def test_its_tests_are_green_as_it_is(self) -> None:
        folder = os.path.abspath(self.mktemp())
        write_package("my-own", Path(folder))
        child = Child(
            self, "trial", [sys.executable, "-m", "twisted.trial", "tests"], path=folder,
            env={"PYTHONPATH": os.pathsep.join([folder, CHECKOUT])},
        )  # fmt: skip
        self.assertEqual(await child.end(), 0, child.output)
        self.assertIn("PASSED", child.output)
