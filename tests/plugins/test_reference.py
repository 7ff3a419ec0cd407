"""The API reference of what is public is built from the docstrings without a warning."""

from __future__ import annotations

import os
import sys

from twisted.trial.unittest import TestCase

from tests.interop.harness import CHECKOUT
from tests.interop.processes import Child


class ReferenceTests(TestCase):
    timeout = 120

    async def test_pydoctor_has_nothing_to_say(self) -> None:
        folder = os.path.abspath(self.mktemp())
        arguments = [sys.executable, "-m", "pydoctor", "-q", "--html-output", folder]
        pydoctor = Child(self, "pydoctor", arguments, path=CHECKOUT)
        status = await pydoctor.end(100)
        self.assertEqual((status, pydoctor.output), (0, ""))
        pages = os.listdir(folder)
        for public in ("interfaces.IBackend", "plugins.context.Context", "errors", "tracking.model.Route", "testing"):
            self.assertIn(f"calltrack.{public}.html", pages)
        self.assertNotIn("calltrack.sip.agent.html", pages)
