"""The house rules that a machine can keep (docs/architecture.md section 1; STYLE 11, 12; ROBUSTNESS 2.3)."""

import ast
import re
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import calltrack

HOUSE = Path(calltrack.__file__).parent
LONGEST = 400  # lines; "under about 400"
TABLE = Path("docs/architecture.md")


@cache
def modules():
    """Every module: (dotted name below calltrack, path, syntax tree)."""
    found = []
    for path in sorted(HOUSE.rglob("*.py")):
        name = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
        found.append((name, path, ast.parse(path.read_text("utf-8"), str(path))))
    return found


def imports(tree):
    """What a module imports of calltrack when it runs: dotted names below calltrack. What stands under
    TYPE_CHECKING is for readers only."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(id(inner) for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
            if node.module == "calltrack":
                names = ["calltrack." + alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("calltrack."):
                yield name.removeprefix("calltrack."), node.lineno


def rows():
    """The table of docs/architecture.md: row number by room, or by a module that has left its room."""
    text = (HOUSE.parent / TABLE).read_text("utf-8")
    found = {}
    for row, rooms in re.findall(r"^\| (\d) \| ([^|]+) \|", text, re.MULTILINE):
        for room in re.findall(r"`([\w.]+)`", rooms):
            found[room] = int(row)
    return found


class LayeringTests(SynchronousTestCase):
    def test_imports_run_one_way_by_the_table_of_the_architecture(self):
        where, wrong = rows(), []
        for name, path, tree in modules():
            room = name.partition(".")[0]
            if room == "__init__":
                continue
            row = where.get(name, where[room])
            for imported, line in imports(tree):
                other = imported.partition(".")[0]
                if (other == room and name not in where) or other.startswith("__"):
                    continue
                if where.get(imported, where[other]) >= row and row != max(where.values()):
                    wrong.append(f"{path.relative_to(HOUSE.parent)}:{line} imports {imported}")
        self.assertEqual(wrong, [])

    def test_every_room_has_its_row(self):
        rooms = {name.partition(".")[0] for name, _, _ in modules()} - {"__init__"}
        self.assertEqual(sorted(rooms - set(rows())), [])

    def test_modules_of_a_room_do_not_import_each_other_in_circles(self):
        graph = {name.removesuffix(".__init__"): {one for one, _ in imports(tree)} for name, _, tree in modules()}
        done, circles = set(), []

        def visit(name, way):
            if name in way:
                circles.append(" -> ".join([*way[way.index(name) :], name]))
            elif name not in done and name in graph:
                for other in sorted(graph[name]):
                    visit(other, [*way, name])
                done.add(name)

        for name in graph:
            visit(name, [])
        self.assertEqual(circles, [])


class ModuleTests(SynchronousTestCase):
    def test_every_module_says_what_it_knows(self):
        """STYLE 1. An empty `__init__` has nothing to say."""
        silent = [name for name, path, tree in modules() if tree.body and not ast.get_docstring(tree)]
        self.assertEqual(silent, [])

    def test_modules_stay_readable_in_one_sitting(self):
        """STYLE 12: under about 400 lines."""
        long = {name: path.read_text("utf-8").count("\n") for name, path, _ in modules()}
        self.assertEqual({name: lines for name, lines in long.items() if lines > LONGEST}, {})

    def test_text_of_the_network_is_never_cut_by_pythons_idea_of_white_space(self):
        """ROBUSTNESS 2.3: CVE-2020-28361 was such a cut. `bytes.split()` without arguments is one too."""
        wrong = []
        for name, path, tree in modules():
            if not name.startswith("sip."):
                continue
            for node in ast.walk(tree):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                bare = node.func.attr in ("strip", "lstrip", "rstrip", "split", "rsplit") and not node.args
                constant = isinstance(node.func.value, (ast.Constant, ast.JoinedStr))
                if (bare and not constant) or node.func.attr == "splitlines":
                    wrong.append(f"{path.relative_to(HOUSE.parent)}:{node.lineno} {ast.unparse(node)[:60]}")
        self.assertEqual(wrong, [])

    def test_nobody_imports_the_global_reactor_at_the_top(self):
        """STYLE 4: time and sockets come in from outside."""
        wrong = []
        for name, path, tree in modules():
            for node in tree.body:
                if isinstance(node, ast.ImportFrom) and node.module == "twisted.internet":
                    if any(alias.name == "reactor" for alias in node.names):
                        wrong.append(name)
        self.assertEqual(wrong, [])

    def test_no_name_says_nothing(self):
        """STYLE: avoid Manager, Handler, Base, utils, misc."""
        empty = re.compile(r"(Manager|Handler|Base|Util|Helper)s?$")
        wrong = [
            f"{name}.{node.name}"
            for name, _, tree in modules()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and empty.search(node.name)
        ]
        wrong += [name for name, _, _ in modules() if name.rpartition(".")[2] in ("utils", "helpers", "misc", "common", "base")]
        self.assertEqual(wrong, [])

    def test_no_exception_is_swallowed_whole(self):
        """`except:` and `except Exception: pass` hide bugs."""
        wrong = []
        for name, path, tree in modules():
            for node in ast.walk(tree):
                if isinstance(node, ast.ExceptHandler):
                    broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
                    if node.type is None or (broad and isinstance(node.body[0], ast.Pass)):
                        wrong.append(f"{path.relative_to(HOUSE.parent)}:{node.lineno}")
        self.assertEqual(wrong, [])
