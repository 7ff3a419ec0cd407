"""API keys: what is kept of them, and what they open."""

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from calltrack.access.keys import Keys
from calltrack.access.model import KEY_SCOPES, Principal
from calltrack.errors import InvalidField, NoSuchObject, NotAllowed
from calltrack.storage.url import open_stores
from calltrack.tracking.catalog import Catalog


class KeysTests(TestCase):
    async def setUp(self):
        stores = open_stores("memory:", reactor)
        self.now = 1_000_000
        self.store = stores.access
        self.keys = Keys(stores.access, lambda: self.now)
        self.project = (await Catalog(stores.catalog).add_project("Glasses")).id

    async def test_text_of_a_key_is_not_kept(self):
        key, text = await self.keys.add(self.project, "crm")
        secret = text.rsplit("_", 1)[1] if text.count("_") == 2 else text.split("_", 2)[2]
        self.assertNotIn(secret, str(await self.store.keys()) + str(key))
        self.assertEqual((key.scopes, key.name), (KEY_SCOPES, "crm"))
        self.assertNotIn(key.secret_sha256, repr(key))

    async def test_text_opens_what_it_was_made_for(self):
        _, text = await self.keys.add(self.project, scopes=["calls:read"])
        who = await self.keys.principal(text)
        self.assertTrue(who.may("calls:read", self.project))
        self.assertFalse(who.may("setup:write", self.project))
        self.assertFalse(who.may("calls:read", None))
        for wrong in ("", text[:-1], text + "x", text.replace("ct_", "cx_"), "ct__", "ct_\ud800_x"):
            self.assertIsNone(await self.keys.principal(wrong), wrong)

    async def test_bad_values_are_refused_by_field(self):
        for field, arguments in (
            ("scopes", {"scopes": ["everything"]}),
            ("name", {"name": "a\nb"}),
            ("name", {"name": "x" * 201}),
        ):
            error = await self.assertFailure(_deferred(self.keys.add(self.project, **arguments)), InvalidField)
            self.assertEqual(error.field, field)
        await self.assertFailure(_deferred(self.keys.add(99)), NoSuchObject)
        await self.assertFailure(_deferred(self.keys.remove(99)), NoSuchObject)

    async def test_adding_and_removing_are_logged(self):
        key, _ = await self.keys.add(self.project, "crm", who="maria")
        await self.keys.remove(key.id, who="ivan")
        entries = await self.store.audit()
        self.assertEqual([(one.what, one.who, one.project) for one in entries],
                         [("api-key.removed", "ivan", self.project), ("api-key.added", "maria", self.project)])  # fmt: skip

    def test_principal_says_in_words_what_is_missing(self):
        who = Principal(name="maria", grants={1: ("calls:read",)})
        error = self.assertRaises(NotAllowed, who.require, "setup:write", 1)
        self.assertIn("maria", str(error))
        self.assertIn("setup:write", str(error))
        who.require("calls:read", 1)
        self.assertRaises(NotAllowed, who.require, "calls:read", 2)


def _deferred(coroutine):
    from twisted.internet.defer import Deferred

    return Deferred.fromCoroutine(coroutine)
