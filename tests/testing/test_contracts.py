"""The list of contracts in calltrack.testing is whole, and every contract is kept by something of ours."""

import importlib
import pkgutil
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import calltrack.testing

LISTED = set(re.findall(r"^    (\w+)\.(\w+Contract) ", calltrack.testing.__doc__, re.MULTILINE))
TESTS = Path(__file__).parents[1]


class ContractTests(SynchronousTestCase):
    def test_every_contract_is_listed(self):
        found = set()
        for info in pkgutil.iter_modules(calltrack.testing.__path__):
            if info.name.endswith("_contract"):
                module = importlib.import_module(f"calltrack.testing.{info.name}")
                found |= {(info.name, name) for name in vars(module) if name.endswith("Contract")}
        mine = {(module, name) for module, name in found if vars(importlib.import_module(f"calltrack.testing.{module}"))[name].__module__.endswith(module)}
        self.assertEqual(mine, LISTED)

    def test_every_contract_is_kept_by_two_implementations_where_there_are_two(self):
        text = "\n".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
        for _, name in LISTED:
            self.assertGreater(len(re.findall(rf"class \w+\([^)]*\b{name}\b", text)), 1, name)
