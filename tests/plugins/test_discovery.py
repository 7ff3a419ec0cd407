"""Which backends there are; that a broken file is named and stops nobody."""

from __future__ import annotations

import os
import sys

from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from calltrack.interfaces import IBackend, ICatalogStore, IEventSink
from calltrack.plugins.discovery import built_in, find, from_plugins
from calltrack.plugins.points import POINTS
from tests.plugins.sample import Sample, broken, module


class BuiltInTests(SynchronousTestCase):
    def test_every_point_has_what_calltrack_brings_and_its_default_among_it(self) -> None:
        ours = {(one.section, one.name) for one in built_in()}
        for point in POINTS.values():
            if point.default:
                self.assertIn((point.section, point.default), ours)
        self.assertIn(("media", "rtpengine"), ours)
        self.assertEqual({one.why for one in built_in()}, {""})

    def test_backends_that_are_chosen_like_plugins_are_what_they_say(self) -> None:
        for one in built_in():
            if one.backend is not None:
                self.assertTrue(IBackend.providedBy(one.backend))
                self.assertEqual((one.backend.name, one.backend.provides), (one.name, POINTS[one.section].interface))


class PluginTests(SynchronousTestCase):
    def names(self, *modules) -> list[tuple[str, str]]:
        return [(one.name, one.why) for one in from_plugins(lambda: modules)]

    def test_objects_that_are_no_backends_are_passed_over(self) -> None:
        self.assertEqual(self.names(module("a", sample=Sample(), other=7, kind=Sample)), [("sample", "")])

    def test_a_file_that_cannot_be_imported_is_named_and_stops_nobody(self) -> None:
        errors = (ImportError("no module named x"), SyntaxError("bad"), ZeroDivisionError(), SystemExit(3))
        modules = [broken(f"b{number}", error) for number, error in enumerate(errors)]
        found = from_plugins(lambda: [*modules, module("z", sample=Sample())])
        self.assertEqual([one.origin for one in found if one.why], [f"/plugins/b{number}.py" for number in range(4)])
        self.assertEqual(found[0].why, "cannot be imported: ImportError: no module named x")
        self.assertEqual(found[-1].name, "sample")

    def test_a_backend_that_lies_about_its_interface_is_named(self) -> None:
        liar = Sample()
        liar.make = None
        nameless, raising = Sample(name=""), Sample()
        del raising.name
        [one, two, three] = from_plugins(lambda: [module("a", liar=liar, nameless=nameless, raising=raising)])
        self.assertIn("lies about its interface", one.why)
        self.assertIn("its name or version is no text", two.why)
        self.assertIn("lies about its interface", three.why)

    def test_a_backend_of_something_that_is_no_extension_point_is_named(self) -> None:
        for interface in (ICatalogStore, IEventSink, None, 7):
            [one] = from_plugins(lambda: [module("a", sample=Sample(provides=interface))])
            self.assertIn("those are IMediaRelay, ILocationStore, IScenarioSource, ICallRecordStore", one.why)

    def test_the_first_of_two_with_one_name_counts_and_ours_before_theirs(self) -> None:
        found = from_plugins(lambda: [module("b", x=Sample()), module("a", x=Sample()), module("c", x=Sample("storage"))])
        self.assertEqual([(one.origin, bool(one.why)) for one in found], [
            ("/plugins/a.py", False), ("/plugins/b.py", True), ("/plugins/c.py", True)
        ])  # fmt: skip
        self.assertIn("another backend of this name: /plugins/a.py", found[1].why)
        self.assertIn("built in", found[2].why)


class FindTests(SynchronousTestCase):
    def test_a_plugin_is_found_by_name_and_our_own_needs_none(self) -> None:
        sample = Sample()
        self.assertIs(find("locations", "sample", lambda: [module("a", sample=sample)]), sample)
        self.assertIsNone(find("locations", "storage", lambda: self.fail("looked for plugins")))

    def test_an_unknown_name_lists_what_there_is_and_what_is_broken(self) -> None:
        modules = [module("a", sample=Sample()), broken("b", ImportError("no redis"))]
        error = self.assertRaises(ValueError, find, "locations", "sampel", lambda: modules)
        self.assertIn("'sampel' is none of ", str(error))
        self.assertIn("sample", str(error))
        self.assertIn("storage", str(error))
        self.assertIn("/plugins/b.py cannot be imported: ImportError: no redis", str(error))

    def test_a_broken_plugin_that_is_asked_for_says_why(self) -> None:
        modules = [module("a", x=Sample()), module("b", x=Sample())]
        found = from_plugins(lambda: modules)
        self.assertTrue(found[1].why)
        self.assertIsNotNone(find("locations", "sample", lambda: modules))


class FileTests(SynchronousTestCase):
    """Real files, in a directory that is on the path for this test."""

    def test_files_of_a_twisted_plugins_directory_are_found_as_twisted_finds_them(self) -> None:
        import twisted.plugins

        folder = os.path.abspath(self.mktemp())
        plugins = os.path.join(folder, "twisted", "plugins")
        os.makedirs(plugins)
        with open(os.path.join(plugins, "ct_good.py"), "w") as file:
            file.write("from tests.plugins.sample import Sample\nsample = Sample('from-a-file')\n")
        with open(os.path.join(plugins, "ct_bad.py"), "w") as file:
            file.write("import nothing_of_this_name\n")
        self.patch(sys, "path", [folder, *sys.path])
        self.patch(twisted.plugins, "__path__", [*twisted.plugins.__path__, plugins])
        self.addCleanup(lambda: [sys.modules.pop(f"twisted.plugins.{name}", None) for name in ("ct_good", "ct_bad")])
        found = {one.name: one for one in from_plugins()}
        self.assertEqual(found["from-a-file"].origin, os.path.join(plugins, "ct_good.py"))
        self.assertIn("ModuleNotFoundError", found["ct_bad"].why)
        self.assertIn("from-a-file", [plugin.name for plugin in getPlugins(IBackend)])
        self.flushLoggedErrors()  # twisted.plugin's own word about the bad one
