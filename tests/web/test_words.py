"""Everything the page says is said in both languages, with the same blanks."""

import ast
import re
from importlib import resources
from pathlib import Path

from markupsafe import Markup
from twisted.trial.unittest import SynchronousTestCase

import calltrack.web
from calltrack.errors import InvalidField, NoSuchObject, Sentence, StoreUnavailable
from calltrack.web.pages import system, telling
from calltrack.web.pages.wording import Words, _table, phone, preferred, seen

HOME = Path(calltrack.web.__file__).parent
_CALLED = re.compile(r'(?<![\w.])(_|n)\((?:\w+, )?"((?:[^"\\]|\\.)*)"')
_BLANKS = re.compile(r"\{(\w+)\}")


def said_in_templates():
    for path in sorted((HOME / "templates").iterdir()):
        text = path.read_text("utf-8")
        for name, key in _CALLED.findall(text):
            yield key
        for menu in re.findall(r'\("[^"]*", "([^"]*)", "[\w:]+"\)', text):  # the menu of base.html
            yield menu


def said_in_modules():
    """Constants handed to `say` and `count`, and those that tables of words keep for them."""
    from calltrack.access.model import ROLES, SCOPES
    from calltrack.access import passwords as people_passwords
    from calltrack.tracking import accounts
    from calltrack.web.pages import calls, overview, persons, system, telling, view

    for path in sorted((HOME / "pages").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                if name in ("say", "count") and node.args:
                    for constant in ast.walk(node.args[-1] if name == "count" else node.args[0]):
                        if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                            yield constant.value
    yield from view._DONE.values()
    yield from (*telling._REASONS.values(), telling._LEFT, telling._LEFT_AT_ONCE)
    yield from persons._NOTED.values()
    yield from system.FACTS
    yield from (words for _, words in calls.STATUSES)
    yield from overview._WEEK
    yield from ROLES
    yield from SCOPES.values()
    yield from accounts.broken_rules("\n" + "1" * 200) + accounts.broken_rules("")
    yield from people_passwords.broken_rules("\n") + people_passwords.broken_rules("maria password" + "x" * 300, "maria")


_REFUSALS = {"InvalidField", "NoSuchObject", "NotAllowed", "StoreUnavailable", "WrongPassword"}
_FOR_OPERATORS = {"json_lines.py", "line.py", "redis_streams.py", "sinks.py", "http_source.py", "spool.py"}  # their words are for logs


def refusals_of_services():
    """Each call that makes a refusal which the page may have to show: its place, and its words as they are written."""
    home = HOME.parent
    for path in refusing_modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                if node.func.id in {*_REFUSALS, "Sentence", "refuse", "_within", "_whole"}:  # the last two: a unit
                    words = node.args[0] if node.func.id == "Sentence" else node.args[-1]
                    yield f"{path.relative_to(home)}:{node.lineno}", words


def refusing_modules():
    """The modules whose refusals the page may have to show."""
    home = HOME.parent
    folders = [home / name for name in ("access", "events", "storage", "tracking", "web/pages")]
    found = sorted([*(path for folder in folders for path in folder.glob("*.py")), HOME / "recordings.py", home / "calls/trial.py", home / "plugins/guard.py", home / "redis_link.py"])
    return [path for path in found if path.name not in _FOR_OPERATORS]


def fields_of_forms():
    """Names that inputs have, beside those that services know."""
    for path in (HOME / "templates").iterdir():
        yield from re.findall(r'(?:field|area|choice|box)\("(\w+)"', path.read_text("utf-8"))
    yield from refused_fields()


def said_by_services():
    """Templates of refusals, and what stands in their blanks."""
    from calltrack.storage import sqlite
    from calltrack.tracking import segments, sources, targets
    from calltrack.web import recordings
    from calltrack.web.pages import wording

    for _, words in refusals_of_services():
        if isinstance(words, ast.Constant) and isinstance(words.value, str):
            yield words.value
    yield from (targets.FORMS, segments.FORM, sources._FORM)
    yield from recordings.WHY.values()
    yield from (*sqlite._ADVICE.values(), sqlite._OTHERWISE, wording._STORE_FAILED)


def refused_fields():
    """Names of fields that a refusal on the page may begin with."""
    from calltrack.tracking import catalog

    yield from (*catalog._PROJECT_RULES, *catalog._SCENARIO_RULES, *catalog._TARGET_RULES)
    for path in refusing_modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = {"InvalidField": 0, "whole": 0, "decimal": 0, "instant": 1, "normalise": 2, "parse_target": 1}.get(name)
            given = [keyword.value for keyword in node.keywords if keyword.arg == "field"]
            given += node.args[place : place + 1] if place is not None else []
            yield from (one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))


def noted():
    """What calltrack writes into the log of changes."""
    found = set()
    for path in (path for path in HOME.parent.rglob("*.py") if "testing" not in path.parts):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                given = node.args[:2] if name == "note" else [one.value for one in node.keywords if one.arg == "what" and name == "AuditEntry"]
                texts = (one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))
                found |= {text for text in texts if re.fullmatch(r"[a-z-]+(\.[a-z-]+)?", text) and text != "nobody"}
    return found


NOT_WORDS = {"both-ways", "caller-silent", "target-silent", "?", "", ":"}  # keys of tables that stand in a call


class WordTests(SynchronousTestCase):
    def test_everything_is_said_in_russian(self):
        table = _table("ru")
        missing = sorted(
            {key for key in (*said_in_templates(), *said_in_modules(), *said_by_services()) if key not in table} - NOT_WORDS
        )
        self.assertEqual(missing, [])

    def test_every_field_that_may_be_refused_has_a_russian_name(self):
        table, names = _table("ru"), set(refused_fields())
        self.assertGreater(len(names), 40)
        self.assertEqual(sorted(name for name in names if name + ":" not in table), [])

    def test_no_field_that_may_be_refused_is_called_by_its_identifier_in_english(self):
        words = Words("en")
        for name in refused_fields():
            self.assertNotRegex(words.refusal(InvalidField(name, "is missing")), "_", name)
        self.assertEqual(words.refusal(InvalidField("time_zone", "is missing")), "time zone: is missing")
        names = {f"{name}:" for name in fields_of_forms()}
        self.assertEqual([key for key in _table("en") if key.endswith(":") and key not in names], [])

    def test_what_the_service_tells_of_itself_is_told_in_words(self):
        facts = {"version": "9", "uptime": 3671.5, "calls": 2, "media": {"relay": "kernel", "why": "no module", "sessions": 0}}
        told = [": ".join(pair) for pair in system.in_words(Words("en"), facts)]
        self.assertEqual(told, ["Version: 9", "Running for, h:min:s: 1:01:12", "Calls at this moment: 2", "Media relay: kernel: no module",
                                "Calls with sound at this moment: 0"])  # fmt: skip

    def test_everything_that_is_noted_has_words_in_the_log_of_changes(self):
        from calltrack.web.pages.persons import _NOTED

        self.assertEqual(noted(), set(_NOTED))

    def test_reasons_of_attributions_are_told_in_words(self):
        russian = Words("ru", "UTC")
        for reason in ("shared", "lease ended 61 s before", "lease ended 61 s before, its visitor left at once", "lookup failed", "lookup late",
                       "the history of leases has not been read yet", *telling._REASONS):  # fmt: skip
            self.assertNotRegex(telling.because(reason, Words("en")), "^Reason|[a-z]_[a-z]", reason)
            self.assertRegex(telling.because(reason, russian), "^[А-Яc]", reason)
        self.assertEqual(telling.because("another source's own", Words("en")), "Reason: another source's own")

    def test_every_catalogued_refusal_is_russian_from_beginning_to_end(self):
        """But for values, which stand for what was typed: here, a digit each."""
        words = Words("ru")
        for template in {*said_by_services()} - NOT_WORDS:
            blanks = {name: "7" for name in _BLANKS.findall(template)}
            said = Sentence(template, **blanks) if blanks else template
            for error in (NoSuchObject(said), StoreUnavailable(said), *(InvalidField(name, said) for name in ("time_zone", "max_rate"))):
                told = words.refusal(error)
                self.assertRegex(told, "[а-яё]", template)
                self.assertNotIn(str(error), told)
        for name in refused_fields():
            self.assertNotRegex(words.refusal(InvalidField(name, "is missing")), f"^{name}:")

    def test_words_of_a_refusal_are_a_template_and_never_put_together_before(self):
        glued = [place for place, words in refusals_of_services() if isinstance(words, ast.JoinedStr | ast.BinOp)]
        self.assertEqual(glued, [])

    def test_translations_have_the_blanks_of_what_they_translate(self):
        for key, text in _table("ru").items():
            for form in [text] if isinstance(text, str) else text:
                self.assertEqual(set(_BLANKS.findall(form)), set(_BLANKS.findall(key)), key)

    def test_no_translation_is_left_over(self):
        said = {*said_in_templates(), *said_in_modules(), *said_by_services(), *(f"{name}:" for name in fields_of_forms())}
        code = "".join(path.read_text("utf-8") for path in (HOME / "pages").glob("*.py"))
        code += "".join(path.read_text("utf-8") for path in (HOME / "templates").iterdir())
        left = [key for key in _table("ru") if key not in said and f'"{key}"' not in code]
        self.assertEqual(left, [])

    def test_numbers_take_their_plural_forms(self):
        russian, english = Words("ru"), Words("en")
        self.assertEqual([english.count(n, "{n} calls") for n in (0, 1, 2)], ["0 calls", "1 call", "2 calls"])
        forms = [russian.count(n, "{n} calls") for n in (1, 2, 5, 11, 21, 22, 112)]
        self.assertEqual(forms, ["1 звонок", "2 звонка", "5 звонков", "11 звонков", "21 звонок", "22 звонка", "112 звонков"])

    def test_browser_language_is_taken_where_we_speak_it(self):
        self.assertEqual(preferred("de-DE,ru-RU;q=0.8,en;q=0.5"), "ru")
        self.assertEqual(preferred("fr"), "en")
        self.assertEqual(Words("xx").language, "en")

    def test_instants_are_told_by_the_wall_clock_of_the_project(self):
        self.assertEqual(Words("en", "Europe/Moscow").at(1_795_457_000_000), "2026-11-23 21:03:20")

    def test_numbers_are_written_as_people_read_them_and_hostile_ones_stay(self):
        self.assertEqual(phone("74951234567"), "+7 495 123-45-67")
        for text in ("<script>", "", "12", "\u0663" * 9):
            self.assertEqual(phone(text), text)

    def test_what_nobody_sees_in_a_text_is_written_out(self):
        self.assertEqual(seen("a\u202eb\x00\u2066\ufeff"), "a\\u202eb\\u0000\\u2066\\ufeff")
        for text in ("Очки, 眼鏡 نظارات\u200e 👨\u200d👩\n\t", Markup("\u202e"), 7, None):
            self.assertIs(seen(text), text) if not isinstance(text, str) else self.assertEqual(seen(text), text)

    def test_words_are_files_of_the_package(self):
        names = {file.name for file in resources.files("calltrack.web").joinpath("words").iterdir()}
        self.assertEqual(names, {"en.json", "ru.json"})
