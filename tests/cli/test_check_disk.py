"""`calltrack check` on what grows."""

import os

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from calltrack.cli.check_disk import on_directories
from calltrack.config import defaults


class DirectoryTests(SynchronousTestCase):
    def setUp(self):
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)

    def verdicts(self, settings=defaults()):
        recordings, traces = (os.path.join(self.folder, name) for name in ("rec", "tra"))
        return {subject: (good, words) for subject, good, words in on_directories(settings, recordings, traces)}

    def test_directories_that_are_not_there_yet_are_judged_by_where_they_will_be(self):
        found = self.verdicts()
        self.assertEqual((found["recordings"][0], found["traces"][0]), (True, True))
        self.assertIn("rec can be written to", found["recordings"][1])

    def test_traces_that_are_not_kept_need_no_room(self):
        self.assertNotIn("traces", self.verdicts(replace(defaults(), trace=replace(defaults().trace, keep=0.0))))

    def test_file_in_the_way_is_told(self):
        with open(os.path.join(self.folder, "rec"), "w"):
            pass
        good, words = self.verdicts()["recordings"]
        self.assertEqual((good, "is no directory" in words), (False, True))

    def test_disk_with_too_little_room_is_told(self):
        good, words = self.verdicts(replace(defaults(), recording=replace(defaults().recording, min_free=10**9)))["recordings"]
        self.assertEqual((good, "are wanted" in words), (False, True))

    def test_directory_of_somebody_else_is_told(self):
        self.patch(os, "access", lambda path, mode: False)  # root, who may run this test, may write everywhere
        self.assertFalse(self.verdicts()["recordings"][0])
