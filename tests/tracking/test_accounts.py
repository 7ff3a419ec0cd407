"""Accounts of projects: names, passwords and their rules, what is kept and what is shown."""

import hashlib

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import InvalidField, NoSuchObject
from calltrack.storage.url import open_stores
from calltrack.testing.account_contract import binding
from calltrack.tracking.accounts import Account, Accounts, broken_rules, new_user, published_account
from calltrack.tracking.bindings import published_binding
from calltrack.tracking.model import Project

LISTEN = (("udp", "0.0.0.0", 5060), ("tcp", "0.0.0.0", 5060), ("tls", "0.0.0.0", 5061))


class PasswordTests(SynchronousTestCase):
    def test_password_that_keeps_every_rule(self):
        for password in ("GoodPas", "Очкиочки", "Pa ss:wörd\"'", "A" * 127 + "b"):
            self.assertEqual(broken_rules(password), [])

    def test_every_broken_rule_is_named(self):
        short, upper, lower = "fewer than 7 characters", "no upper-case letter", "no lower-case letter"
        cases = {
            "": (short, upper, lower),
            "Good12": (short,),
            "goodpass1": (upper,),
            "GOODPASS1": (lower,),
            "1234567": (upper, lower),
            "Good\nPass": ("control character",),
            "Aa" * 65: ("more than 128 characters",),
        }
        for password, words in cases.items():
            broken = broken_rules(password)
            self.assertEqual(len(broken), len(words), password)
            for rule, word in zip(broken, words):
                self.assertIn(word, rule)


class AccountsTests(SynchronousTestCase):
    def setUp(self):
        self.stores = open_stores("memory:", None)
        self.accounts = Accounts(self.stores.accounts, self.stores.locations, "calltrack.example")
        for key in ("k1", "k2"):
            self.successResultOf(self.stores.catalog.add_project(Project(id=0, name="Glasses", key=key)))

    def now(self, coroutine):
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_account_is_made_when_it_is_asked_for_first_and_stays(self):
        account = self.now(self.accounts.account(1))
        self.assertEqual(self.now(self.accounts.account(1)), account)
        self.assertFalse(account.enabled)
        self.assertNotEqual(self.now(self.accounts.account(2)).user, account.user)

    def test_user_names_are_readable_and_no_numbers(self):
        names = {new_user() for _ in range(200)}
        self.assertEqual(len(names), 200)
        for name in names:
            self.assertRegex(name, r"\A[a-z][a-z2-9]{9}\Z")
            self.assertFalse(set("ilo01") & set(name))

    def test_project_that_does_not_exist(self):
        for work in (self.accounts.account(3), self.accounts.set_password(3, "GoodPass1"), self.accounts.disable(3)):
            self.failureResultOf(Deferred.fromCoroutine(work), NoSuchObject)

    def test_password_activates_and_only_its_hashes_are_kept(self):
        account = self.now(self.accounts.set_password(1, "GoodPass1"))
        secret = f"{account.user}:calltrack.example:GoodPass1".encode()
        self.assertEqual(account.ha1("MD5", "calltrack.example"), hashlib.md5(secret).hexdigest())
        self.assertEqual(account.ha1("SHA-256", "calltrack.example"), hashlib.sha256(secret).hexdigest())
        self.assertTrue(account.enabled)
        self.assertNotIn("GoodPass1", str(vars(self.stores.accounts)))

    def test_hashes_serve_their_realm_alone(self):
        account = self.now(self.accounts.set_password(1, "GoodPass1"))
        self.assertIsNone(account.ha1("MD5", "other.example"))
        self.assertIsNone(account.ha1("SHA-512-256", "calltrack.example"))
        self.assertFalse(published_account(account, LISTEN, "other.example")["usable"])

    def test_hashes_are_in_no_text(self):
        account = self.now(self.accounts.set_password(1, "GoodPass1"))
        for text in (repr(account), str(account), str(published_account(account, LISTEN, "calltrack.example"))):
            self.assertNotIn(account.ha1_md5, text)
            self.assertNotIn(account.ha1_sha256, text)

    def test_password_that_breaks_rules_is_refused_with_all_of_them_and_changes_nothing(self):
        before = self.now(self.accounts.set_password(1, "GoodPass1"))
        error = self.failureResultOf(Deferred.fromCoroutine(self.accounts.set_password(1, "short")), InvalidField).value
        self.assertEqual(error.field, "password")
        for words in ("fewer than 7 characters", "no upper-case letter"):
            self.assertIn(words, error.message)
        self.assertNotIn("short", error.message)
        self.assertEqual(self.now(self.accounts.account(1)), before)

    def test_disabled_account_keeps_its_name_and_loses_hashes_and_devices(self):
        account = self.now(self.accounts.set_password(1, "GoodPass1"))
        self.successResultOf(self.stores.locations.write([binding(1, 1), binding(2, 2)], []))
        disabled = self.now(self.accounts.disable(1))
        self.assertEqual(disabled, Account(project=1, user=account.user))
        self.assertEqual([b.project for _, b in self.now(self.accounts.registrations())], [2])

    def test_registrations_come_with_their_user(self):
        account = self.now(self.accounts.account(1))
        self.successResultOf(self.stores.locations.write([binding(1, 1)], []))
        self.assertEqual(self.now(self.accounts.registrations(1)), [(account.user, binding(1, 1))])


class PublishedTests(SynchronousTestCase):
    def test_account_is_shown_with_all_that_a_phone_needs(self):
        account = Account(project=1, user="abc", realm="d.example", ha1_md5="0", ha1_sha256="1")
        self.assertEqual(
            published_account(account, LISTEN, "d.example"),
            {
                "project": 1,
                "user": "abc",
                "domain": "d.example",
                "port": 5060,
                "ports": {"udp": 5060, "tcp": 5060, "tls": 5061},
                "transports": ["udp", "tcp", "tls"],
                "enabled": True,
                "usable": True,
            },
        )

    def test_port_is_the_first_one_where_there_is_no_udp(self):
        account = Account(project=1, user="abc")
        shown = published_account(account, (("tls", "0.0.0.0", 5061), ("tcp", "0.0.0.0", 5070)), "d.example")
        self.assertEqual((shown["port"], shown["transports"], shown["enabled"]), (5061, ["tcp", "tls"], False))

    def test_binding_shows_the_seconds_that_are_left(self):
        shown = published_binding("abc", binding(1, 3, host="2001:db8::9", q=500, device="Phone"), 1_795_460_000.25)
        self.assertEqual((shown["source"], shown["expires"], shown["q"]), ("[2001:db8::9]:5063", 600, 0.5))
        self.assertEqual((shown["registered"], shown["user"]), ("2026-11-23T18:03:20.003Z", "abc"))
