"""Sinks of plugins: the one that the documentation shows, and unfit ones."""

import re
from pathlib import Path

import calltrack
from twisted.trial.unittest import SynchronousTestCase

from calltrack import config
from calltrack.errors import InvalidField
from calltrack.events import sinks
from calltrack.events.sinks import make_sink, makers

EVENTS = Path(calltrack.__file__).parents[1] / "docs" / "events.md"


class PluginTests(SynchronousTestCase):
    def plug(self, *found):
        self.patch(sinks, "getPlugins", lambda interface: [one for one in found if interface.providedBy(one)])

    def documented(self):
        [code] = re.findall(r"```python\n(.*?)```", EVENTS.read_text("utf-8"), re.DOTALL)
        names = {}
        exec(code, names)
        return names

    def test_sink_that_the_documentation_shows_is_found_by_its_name_and_fit(self):
        shown = self.documented()
        self.plug(shown["printed"])
        self.assertIsInstance(make_sink("printed", {}), shown["Printed"])
        self.assertEqual(sorted(makers()), ["json-lines", "printed", "redis"])
        (sink,) = config.load('[[sink]]\nname = "a"\nkind = "printed"\nanything = 1').sinks
        self.assertEqual(sink.options, {"anything": 1})

    def test_unfit_sink_is_a_configuration_error(self):
        shown = self.documented()
        maker = shown["printed"]
        del shown["Printed"].close
        self.plug(maker)
        error = self.assertRaises(InvalidField, make_sink, "printed", {})
        self.assertIn("unfit", error.message)
        self.assertIn("close", error.message)

    def test_built_in_kinds_cannot_be_taken_over(self):
        maker = self.documented()["printed"]
        maker.name = "redis"
        self.plug(maker)
        self.assertIsNot(makers()["redis"], maker)
