"""What services refuse is said in the language of the page; English stays what the command line and the API say."""

import sqlite3

from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from calltrack.access.model import Principal
from calltrack.access.people import TooManyTries
from calltrack.errors import NoSuchObject, NotAllowed, Sentence, StoreUnavailable
from calltrack.storage.sqlite import Database
from calltrack.tracking.accounts import check_password
from calltrack.tracking.numbers import normalise
from calltrack.tracking.targets import parse_target
from calltrack.web.pages.wording import Words
from tests.web.browsing import PageTestCase


class SentenceTests(SynchronousTestCase):
    def told(self, refusing, *given):
        """A refusal in English and in Russian."""
        error = self.assertRaises(Exception, refusing, *given)
        words = getattr(error, "words", str(error))  # of a field, whose name the page has in words
        self.assertTrue(str(error).endswith(words) and Words("en").refusal(error).endswith(words))
        return str(error), Words("ru").refusal(error)

    def test_english_is_what_stands_there(self):
        sentence = Sentence("{what} does not exist", what=Sentence("project {project}", project=7))
        self.assertEqual(sentence, "project 7 does not exist")
        self.assertEqual(str(NoSuchObject(sentence)), "project 7 does not exist")

    def test_blanks_are_filled_in_russian(self):
        english, russian = self.told(normalise, "12")
        self.assertTrue(english.startswith("number: '12' is no telephone number; allowed: 3 to 15 digits"))
        self.assertTrue(russian.startswith("номер: '12' — не телефонный номер; можно: от 3 до 15 цифр"))

    def test_sentences_within_sentences_and_lists_are_translated(self):
        english, russian = self.told(parse_target, "sip:office@host:70000")
        self.assertIn("has port '70000', which is outside 1 to 65535; allowed: office@domain.com", english)
        self.assertIn("содержит порт '70000' вне пределов от 1 до 65535; можно: office@domain.com", russian)
        self.assertEqual(
            self.told(check_password, "aaaaaaaa")[1].partition(";")[0],
            "пароль: " + Words("ru").say("has no upper-case letter"),
        )
        maria = Principal(name="maria", grants={})
        self.assertEqual(
            self.told(maria.require, "setup:write", None)[0],
            "maria may not change them of every project; that needs setup:write",
        )
        self.assertIn("все проекты", self.told(maria.require, "setup:write", None)[1])
        self.assertIn("через 4 с", Words("ru").refusal(TooManyTries(4.0)))

    def test_what_somebody_typed_is_neither_translated_nor_a_template(self):
        for typed in ("every project", "{number}", "{0.__class__}", "<b>", "%s"):
            told = Words("ru").tell(Sentence("{name} is set by calltrack", name=typed))
            self.assertEqual(told, f"{typed} задаёт сам calltrack")

    def test_words_without_a_translation_stay_english(self):
        for error in (
            NotAllowed(Sentence("{n} of a plugin", n=1)),
            NotAllowed(),
        ):
            self.assertEqual(Words("ru").refusal(error), str(error))


    def test_store_of_a_plugin_that_has_english_words_only_is_told_of_in_russian(self):
        error = StoreUnavailable("more than {y} bindings")
        self.assertEqual(Words("en").refusal(error), "more than {y} bindings")
        self.assertTrue(Words("ru").refusal(error).startswith("Хранилище звонков и настроек calltrack не отвечает"))

    def test_database_that_is_locked_says_so_in_russian(self):
        locked = sqlite3.OperationalError("database is locked")
        locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
        error = self.assertRaises(StoreUnavailable, Database("a/b.db", MemoryReactor())._failed, Failure(locked))
        self.assertEqual(str(error), "database a/b.db is locked by another program; close that, or try again")
        self.assertIn("база данных a/b.db занята другой программой", Words("ru").refusal(error))


class RussianPageTests(PageTestCase):
    async def in_russian(self):
        visitor = await self.logged_in()
        visitor.cookies["calltrack_language"] = "ru"
        return visitor

    async def test_field_that_a_service_refuses_says_so_in_russian(self):
        visitor = await self.in_russian()
        await visitor.get("/projects/new")
        answer = await visitor.post("/projects/new", {"name": "Hats", "site": "hats"})
        self.assertEqual(answer.status, 422)
        self.assertIn("не сайт; можно: адрес, например https://shop.example", answer.text)
        self.assertNotIn("is no site", answer.text)

    async def test_filters_that_cannot_be_read_are_told_by_their_russian_names(self):
        visitor = await self.in_russian()
        answer = await visitor.get(f"/projects/{self.project.id}/calls?visit=abc")
        self.assertEqual(answer.status, 422)
        self.assertIn('id="e-visit">не целое число', answer.text)
        self.assertNotIn("visit: ", answer.text)

    async def test_page_of_what_does_not_exist_says_so_in_russian(self):
        visitor = await self.in_russian()
        answer = await visitor.get("/projects/99/scenarios")
        self.assertEqual(answer.status, 404)
        self.assertIn("проекта 99 нет", answer.text)

    async def test_target_is_judged_in_russian_as_it_is_typed(self):
        visitor = await self.in_russian()
        place = f"/projects/{self.project.id}"
        await visitor.get(f"{place}/account")
        answer = await visitor.post(f"{place}/check/target", {"value": "12x"})
        self.assertIn("не номер E.164", answer.text)
