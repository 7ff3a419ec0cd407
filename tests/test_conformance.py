"""docs/conformance.md says which test shows each behaviour; here those tests are looked for."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import calltrack

ROOT = Path(calltrack.__file__).parent.parent


class ConformanceTests(SynchronousTestCase):
    def setUp(self):
        self.text = (ROOT / "docs/conformance.md").read_text("utf-8")

    def test_every_test_that_is_named_exists(self):
        named = re.findall(r"`((?:\w+\.)*test_\w+)\.(test_\w+)`", self.text)
        self.assertGreater(len(named), 80)
        missing = []
        for suite, test in named:
            path = ROOT / "tests" / (suite.replace(".", "/") + ".py")
            if not path.exists() or f"def {test}(" not in path.read_text("utf-8"):
                missing.append(f"{suite}.{test}")
        self.assertEqual(missing, [])

    def test_every_line_of_the_list_stands_once_and_is_shown_or_marked(self):
        lines = {int(number): rest for number, rest in re.findall(r"^\| (\d+) \|(.*)\|$", self.text, re.MULTILINE)}
        self.assertEqual(sorted(lines), list(range(1, 46)))
        for number, rest in lines.items():
            self.assertTrue("`" in rest or "later" in rest, number)
