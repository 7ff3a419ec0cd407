"""The ways into the page: set-up link, log-in, sessions, forms from elsewhere."""

import re

from twisted.internet.defer import Deferred, DeferredList

from calltrack.access.model import hashed
from calltrack.access.people import TooManyTries, WrongPassword
from calltrack.errors import NotAllowed

from tests.web.browsing import PASSWORD, PageTestCase, Visitor, text_of


class SetUpTests(PageTestCase):
    async def set_up(self, secret, name="Maria@shop.example", password=PASSWORD, again=None):
        visitor = Visitor(self)
        await visitor.get(f"/set-up?token={secret}")
        fields = {"token": secret, "name": name, "password": password, "again": again or password}
        return visitor, await visitor.post("/set-up", fields)

    async def test_link_makes_the_first_person_owner_of_everything_and_works_once(self):
        secret = await self.services.people.set_up_link()
        visitor, answer = await self.set_up(secret)
        self.assertEqual((answer.status, answer.headers["location"]), (303, "/projects/new"))
        (person,) = await self.services.people.people()
        self.assertEqual(person.name, "maria@shop.example")
        self.assertTrue(person.principal.may("access:write", None))
        self.assertEqual((await visitor.get("/projects/new")).status, 200)
        self.assertEqual((await Visitor(self).get(f"/set-up?token={secret}")).status, 403)
        self.assertIsNone(await self.services.people.set_up_link())

    async def test_wrong_old_and_replaced_links_are_refused(self):
        first = await self.services.people.set_up_link()
        second = await self.services.people.set_up_link()
        for secret in (first, "", "nonsense"):
            self.assertEqual((await Visitor(self).get(f"/set-up?token={secret}")).status, 403)
        self.clock.advance(73 * 3600)
        self.assertEqual((await Visitor(self).get(f"/set-up?token={second}")).status, 403)

    async def test_nobody_without_the_link_has_passwords_hashed(self):
        hashes = []
        self.patch(self.services.people._passwords, "hashed", hashes.append)
        set_up = Deferred.fromCoroutine(self.services.people.set_up("nonsense", "maria", PASSWORD))
        await self.assertFailure(set_up, NotAllowed)
        self.assertEqual(hashes, [])

    async def test_bad_name_and_password_are_refused_beside_their_fields(self):
        secret = await self.services.people.set_up_link()
        for fields, field, words in (
            ({"name": "a b"}, "name", "cannot be logged in with"),
            ({"password": "short"}, "password", "fewer than 10 characters"),
            ({"password": "maria@shop.example"}, "password", "holds the name"),
            ({"again": "something else"}, "again", "not the same"),
        ):
            _, answer = await self.set_up(secret, **fields)
            self.assertEqual(answer.status, 422, fields)
            (told,) = re.findall(rf'id="e-{field}">([^<]*)<', answer.text)
            self.assertIn(words, told)
        self.assertEqual(await self.services.people.people(), [])

    async def test_there_is_no_password_to_begin_with(self):
        visitor = Visitor(self)
        await visitor.get("/log-in")
        for name in ("admin", "root", "calltrack"):
            for password in ("", name, "password"):
                self.assertIn((await visitor.post("/log-in", {"name": name, "password": password})).status, (403, 429))


class LogInTests(PageTestCase):
    async def test_page_leads_to_log_in_and_back_to_where_one_wanted(self):
        await self.person("maria", "owner")
        visitor = Visitor(self)
        answer = await visitor.get(f"/projects/{self.project.id}/calls")
        self.assertEqual(answer.headers["location"], f"/log-in?to=/projects/{self.project.id}/calls")
        await visitor.get(answer.headers["location"])
        fields = {"name": "MARIA", "password": PASSWORD, "to": f"/projects/{self.project.id}/calls"}
        answer = await visitor.post("/log-in", fields)
        self.assertEqual((answer.status, answer.headers["location"]), (303, fields["to"]))
        self.assertEqual((await visitor.get(fields["to"])).status, 200)

    async def test_nobody_is_led_to_another_site(self):
        await self.person("maria", "owner")
        for to in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
            visitor = Visitor(self)
            await visitor.get("/log-in")
            answer = await visitor.post("/log-in", {"name": "maria", "password": PASSWORD, "to": to})
            self.assertEqual(answer.headers["location"], "/")

    async def test_session_is_new_at_each_log_in_and_the_one_before_ends(self):
        """Session fixation: whoever planted a cookie has nothing of it."""
        visitor = await self.logged_in()
        planted = visitor.cookies["calltrack_session"]
        await visitor.get("/me")
        again = Visitor(self)
        again.cookies = {"calltrack_session": "planted-by-somebody"}
        await again.get("/log-in")
        await again.post("/log-in", {"name": "maria", "password": PASSWORD})
        self.assertNotIn(again.cookies["calltrack_session"], ("planted-by-somebody", planted))
        third = Visitor(self)
        third.cookies = {"calltrack_session": planted}
        await third.get("/me")
        await third.post("/log-in", {"name": "maria", "password": PASSWORD})
        self.assertIsNone(await self.stores.access.session(hashed(planted)))

    async def test_cookie_is_kept_from_scripts_and_other_sites_and_the_store_has_its_hash(self):
        await self.person("maria", "owner")
        visitor = Visitor(self)
        await visitor.get("/log-in")
        answer = await visitor.post("/log-in", {"name": "maria", "password": PASSWORD})
        (cookie,) = [one for one in answer.raw.getRawHeaders("set-cookie") if one.startswith("calltrack_session")]
        self.assertIn("HttpOnly", cookie)
        self.assertIn("SameSite=lax", cookie)
        self.assertIsNone(await self.stores.access.session(visitor.cookies["calltrack_session"]))
        self.assertIsNotNone(await self.stores.access.session(hashed(visitor.cookies["calltrack_session"])))

    async def test_unknown_name_and_wrong_password_are_told_alike(self):
        await self.person("maria", "owner")
        answers = []
        for name in ("maria", "ivan"):
            visitor = Visitor(self)
            await visitor.get("/log-in")
            answer = await visitor.post("/log-in", {"name": name, "password": "wrong"})
            answers.append((answer.status, text_of(answer.text)))
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0][0], 403)

    async def test_guessing_is_slowed_down_by_address_and_ends_with_time(self):
        await self.person("maria", "owner")
        visitor = Visitor(self)
        await visitor.get("/log-in")
        for _ in range(5):
            self.assertEqual((await visitor.post("/log-in", {"name": "maria", "password": "wrong"})).status, 403)
        refused = await visitor.post("/log-in", {"name": "maria", "password": PASSWORD})
        self.assertEqual(refused.status, 429)
        self.assertEqual(refused.headers["retry-after"], "2")
        self.clock.advance(3)
        self.assertEqual((await visitor.post("/log-in", {"name": "maria", "password": PASSWORD})).status, 303)

    async def test_guesses_that_come_at_once_are_counted_before_the_first_is_judged(self):
        await self.person("maria", "owner")
        people = self.services.people
        guesses = [Deferred.fromCoroutine(people.log_in("maria", f"guess {n}", f"192.0.2.{n}", "")) for n in range(20)]
        outcomes = [failure.type for _, failure in await DeferredList(guesses, consumeErrors=True)]
        self.assertEqual((outcomes.count(WrongPassword), outcomes.count(TooManyTries)), (5, 15))

    async def test_addresses_of_one_ipv6_network_are_slowed_down_as_one(self):
        people = self.services.people
        for number in range(5):
            guess = Deferred.fromCoroutine(people.log_in(f"name{number}", "wrong", f"2001:db8::{number}", ""))
            await self.assertFailure(guess, WrongPassword)
        guess = Deferred.fromCoroutine(people.log_in("another", "wrong", "2001:db8::ffff", ""))
        await self.assertFailure(guess, TooManyTries)

    async def test_idle_session_ends_and_a_used_one_lasts(self):
        visitor = await self.logged_in()
        for _ in range(3):
            self.clock.advance(10 * 3600)
            self.assertEqual((await visitor.get("/me")).status, 200)
        self.clock.advance(13 * 3600)
        self.assertEqual((await visitor.get("/me")).status, 303)

    async def test_session_that_is_ended_while_it_is_looked_up_stays_ended(self):
        visitor = await self.logged_in()
        access, secret = self.stores.access, visitor.cookies["calltrack_session"]
        (maria,) = await access.people()

        async def people():
            await access.remove_sessions(person=maria.id)
            return [maria]

        self.clock.advance(600)  # so that its use is noted
        self.patch(access, "people", people)
        self.assertIsNone(await self.services.people.session(secret))
        self.assertIsNone(await access.session(hashed(secret)))

    async def test_log_out_ends_the_session_in_the_store(self):
        visitor = await self.logged_in()
        kept = dict(visitor.cookies)
        await visitor.get("/me")
        self.assertEqual((await visitor.post("/log-out")).headers["location"], "/log-in?done=logged-out")
        visitor.cookies = kept
        self.assertEqual((await visitor.get("/me")).status, 303)

    async def test_link_enters_once(self):
        person = await self.person("maria", "owner")
        secret = await self.services.people.link(person.id, "enter")
        visitor = Visitor(self)
        await visitor.get(f"/enter?token={secret}")
        self.assertEqual((await visitor.post("/enter", {"token": secret})).headers["location"], "/")
        self.assertEqual((await visitor.get("/me")).status, 200)
        other = Visitor(self)
        await other.get(f"/enter?token={secret}")
        self.assertEqual((await other.post("/enter", {"token": secret})).status, 403)

    async def test_chosen_password_ends_every_session(self):
        visitor = await self.logged_in()
        (person,) = await self.services.people.people()
        secret = await self.services.people.link(person.id)
        other = Visitor(self)
        await other.get(f"/password?token={secret}")
        new = "another sentence entirely"
        answer = await other.post("/password", {"token": secret, "password": new, "again": new})
        self.assertEqual(answer.status, 303)
        self.assertEqual((await visitor.get("/me")).status, 303)
        self.assertEqual((await other.get("/me")).status, 200)

    async def test_changed_password_ends_every_link(self):
        person = await self.person("maria", "owner")
        people = self.services.people
        links = [await people.link(person.id, "enter"), await people.link(person.id)]
        await people.change_password(person.id, PASSWORD, "another sentence entirely")
        self.assertEqual([await people.link_of(link) for link in links], [None, None])

    async def test_new_link_ends_the_one_before(self):
        maria, ivan = [await self.person(name, "owner") for name in ("maria", "ivan")]
        people = self.services.people
        first, of_ivan, enter = await people.link(maria.id), await people.link(ivan.id), await people.link(maria.id, "enter")
        second = await people.link(maria.id)
        self.assertIsNone(await people.link_of(first))
        for link in (second, of_ivan, enter):
            self.assertIsNotNone(await people.link_of(link))

    async def test_log_ins_and_refusals_are_in_the_log_of_changes(self):
        visitor = await self.logged_in()
        other = Visitor(self)
        await other.get("/log-in")
        await other.post("/log-in", {"name": "maria", "password": "wrong"})
        entries = [(one.what, one.who, one.address) for one in await self.services.people.audit(limit=2)]
        self.assertEqual(entries, [("log-in.refused", "maria", "127.0.0.1"), ("log-in", "maria", "127.0.0.1")])
        self.assertIn("log-in refused", (await visitor.get("/audit")).text)


class PublicAddressTests(PageTestCase):
    def make_services(self):
        return super().make_services(public_url="https://calls.example")

    async def test_cookies_stay_on_the_encrypted_way_that_the_page_is_reached_by(self):
        for host, secure in (("calls.example", True), ("127.0.0.1:8080", False)):
            answer = await self.ask("GET", "/log-in", host=host)
            self.assertEqual("Secure" in answer.headers["set-cookie"], secure, host)


class ForgeryTests(PageTestCase):
    async def test_form_without_its_token_is_refused(self):
        visitor = await self.logged_in()
        await visitor.get("/projects/new")
        for csrf in ("", "x" * 32, "\u00fc"):
            answer = await visitor.post("/projects/new", {"name": "Hats"}, csrf=csrf)
            self.assertEqual(answer.status, 403)
        self.assertEqual(len(await self.services.catalog.projects()), 2)

    async def test_token_of_somebody_else_is_refused(self):
        visitor = await self.logged_in()
        ivan = await self.logged_in("ivan")
        await ivan.get("/me")
        token = re.search(r'<meta name="csrf" content="([^"]*)"', ivan.answer.text)[1]
        self.assertEqual((await visitor.post("/projects/new", {"name": "Hats"}, csrf=token)).status, 403)

    async def test_form_from_another_site_is_refused_even_with_the_token(self):
        visitor = await self.logged_in()
        await visitor.get("/projects/new")
        for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"}):
            answer = await visitor.post("/projects/new", {"name": "Hats"}, **headers)
            self.assertEqual(answer.status, 403, headers)
        own = await visitor.post("/projects/new", {"name": "Hats"}, origin=self.url, sec_fetch_site="same-origin")
        self.assertEqual(own.status, 303)

    async def test_log_in_form_has_a_token_too(self):
        await self.person("maria", "owner")
        answer = await Visitor(self).post("/log-in", {"name": "maria", "password": PASSWORD}, csrf="")
        self.assertEqual(answer.status, 403)

    async def test_every_post_route_wants_the_token(self):
        from calltrack.web.pages.routes import ROUTES

        visitor = await self.logged_in()
        for route in ROUTES:
            if route.method == "POST":
                path = re.sub(r"<int:\w+>", str(self.project.id), route.path)
                path = re.sub(r"<\w+>", "x", path)
                self.assertEqual((await visitor.post(path, csrf="")).status, 403, route.path)


class HeaderTests(PageTestCase):
    async def test_every_page_allows_its_own_scripts_alone(self):
        visitor = await self.logged_in()
        for path in ("/log-in", "/me", f"/projects/{self.project.id}", "/projects/99"):
            answer = await visitor.follow(await visitor.get(path))
            policy = answer.headers["content-security-policy"]
            self.assertIn("script-src 'self';", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(re.findall(r"<script(?![^>]* src=)|\son\w+=|javascript:|style=", answer.text), [])

    async def test_static_files_are_served_and_nothing_beside_them(self):
        visitor = Visitor(self)
        answer = await visitor.get("/static/page.css")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "text/css; charset=utf-8"))
        for path in ("/static/../site.py", "/static/%2e%2e/site.py", "/static/", "/static/none.css", "/static/uplot"):
            self.assertEqual((await visitor.get(path)).status, 404, path)
