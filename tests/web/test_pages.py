"""The page, task by task, over real HTTP: what a marketer sets up and reads, who may do what, hostile text."""

import csv
import io
import re

from twisted.internet.defer import Deferred

from calltrack.access.model import Grant
from calltrack.errors import TooManyRequests
from calltrack.errors import StoreUnavailable
from calltrack.events.webhooks import Attempt, Settled
from calltrack.testing.store_contract import LADDER, call_record
from calltrack.tracking.bindings import Binding
from calltrack.tracking.model import Attribution, Candidate, LadderStep, Lease, MediaFigures, Visit
from calltrack.web.pages import calls
from calltrack.web.services import TestCallOutcome

from tests.web.browsing import PageTestCase, text_of
from tests.web.case import NOW

HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202e"


class SettingUpTests(PageTestCase):
    async def fill(self):
        await super().fill()
        self.visitor = await self.logged_in()
        self.home = f"/projects/{self.project.id}"

    async def test_new_project_leads_to_what_is_to_be_done_before_the_first_call(self):
        await self.visitor.get("/projects/new")
        answer = await self.visitor.post("/projects/new", {"name": "Hats", "site": "https://hats.example", "time_zone": "Europe/Moscow"})
        page = await self.visitor.follow(answer)
        told = text_of(page.text)
        self.assertIn("Before the first call", told)
        self.assertIn("done: A trunk delivers the calls", told)
        self.assertIn("to do: A scenario says", told)
        project = (await self.services.catalog.projects())[-1]
        self.assertEqual((project.name, project.time_zone, project.sites), ("Hats", "Europe/Moscow", ("https://hats.example",)))

    async def test_refused_project_keeps_what_was_typed_and_says_why(self):
        await self.visitor.get("/projects/new")
        answer = await self.visitor.post("/projects/new", {"name": "Hats", "site": "hats"})
        self.assertEqual(answer.status, 422)
        self.assertIn('value="Hats"', answer.text)
        self.assertRegex(answer.text, r'id="e-site|role="alert">site')

    async def add_scenario(self, **fields):
        await self.visitor.get(f"{self.home}/scenarios/new")
        first = {"name": "Ads", "kind": "static", "marker": "direct_1", "new_number": "+1 123 123 4567", "mask": "8 (XXX) XXX-XX-XX", **fields}
        answer = await self.visitor.post(f"{self.home}/scenarios/new", first)
        self.assertEqual(answer.status, 200, text_of(answer.text))
        carried = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', answer.text)
        return {name: value for name, value in carried if name != "csrf"}

    async def test_scenario_is_added_in_two_steps_with_its_number_and_account_password(self):
        carried = await self.add_scenario()
        second = {"kind_of": ["account", "sip", "", ""], "address": ["", "office@pbx.example", "", ""], "ring": "all",
                  "ring_time": "30", "max_calls": "15", "record": "1", "account_password": "Sesame-open"}  # fmt: skip
        answer = await self.visitor.post(f"{self.home}/scenarios/new/forwarding", {**carried, **second})
        self.assertEqual(answer.status, 303, text_of(answer.text))
        (scenario,) = await self.services.catalog.scenarios(self.project.id)
        self.assertEqual([target.label for target in scenario.targets], ["account", "sip:office@pbx.example"])
        self.assertEqual((scenario.ring, scenario.record, scenario.mask), ("all", True, "8 (XXX) XXX-XX-XX"))
        self.assertEqual(scenario.targets[0].ring_time, 30.0)
        (number,) = await self.services.catalog.numbers(self.project.id)
        self.assertEqual((number.number, number.scenario), ("11231234567", scenario.id))
        self.assertTrue((await self.services.accounts.account(self.project.id)).enabled)
        page = await self.visitor.follow(answer)
        self.assertIn(f"/t/{self.project.key}.js", page.text)

    async def test_refused_second_step_keeps_both_steps(self):
        carried = await self.add_scenario()
        second = {"kind_of": ["sip"], "address": ["office@"], "ring": "in-order", "ring_time": "20", "max_calls": "15"}
        answer = await self.visitor.post(f"{self.home}/scenarios/new/forwarding", {**carried, **second})
        self.assertEqual(answer.status, 422)
        self.assertIn("names no host", text_of(answer.text))
        self.assertIn('value="office@"', answer.text)
        self.assertIn('name="marker" value="direct_1"', answer.text)
        self.assertEqual(await self.services.catalog.scenarios(self.project.id), [])
        weak = {**second, "kind_of": ["account"], "address": [""], "account_password": "weak"}
        answer = await self.visitor.post(f"{self.home}/scenarios/new/forwarding", {**carried, **weak})
        self.assertIn("has no upper-case letter", text_of(answer.text))

    async def test_first_step_is_judged_before_the_second(self):
        await self.visitor.get(f"{self.home}/scenarios/new")
        for fields, words in (
            ({"name": "x", "kind": "static", "marker": ""}, "a static scenario has a marker"),
            ({"name": "", "kind": "static", "marker": "m"}, "is no name"),
            ({"name": "x", "kind": "dynamic", "mask": "8 800"}, "is no mask"),
            ({"name": "x", "kind": "dynamic", "segments": "nonsense"}, "is no"),
        ):
            answer = await self.visitor.post(f"{self.home}/scenarios/new", fields)
            self.assertEqual(answer.status, 422, fields)
            self.assertIn(words, text_of(answer.text))

    async def test_scenario_is_changed_switched_off_and_removed(self):
        catalog = self.services.catalog
        scenario = await catalog.add_scenario("Ads", self.project.id, "direct_1", ("office@pbx.example",))
        await catalog.add_number("11231234567", self.project.id, scenario.id)
        path = f"{self.home}/scenarios/{scenario.id}"
        page = await self.visitor.get(path)
        self.assertIn("checked", page.text)
        answer = await self.visitor.post(path, {"name": "Search", "kind": "dynamic", "selectors": ".phone\r\n#top a", "hold": "90"})
        self.assertEqual(answer.status, 303, text_of(answer.text))
        changed = await catalog.scenario(scenario.id)
        self.assertEqual((changed.name, changed.kind, changed.selectors, changed.hold), ("Search", "dynamic", (".phone", "#top a"), 90.0))
        self.assertIsNone((await catalog.number("11231234567")).scenario)
        await self.visitor.get(f"{path}/forwarding")
        answer = await self.visitor.post(f"{path}/forwarding", {"kind_of": ["phone"], "address": ["+74951234567"], "dialled_in": ["to"], "allow": "G729, PCMA"})
        self.assertEqual(answer.status, 303, text_of(answer.text))
        (target,) = (await catalog.scenario(scenario.id)).targets
        self.assertEqual((target.label, target.addressing.dialled_in, target.allow), ("phone:+74951234567", ("to",), ("G729", "PCMA")))
        await self.visitor.post(f"{path}/switch", {"enabled": "0"})
        self.assertFalse((await catalog.scenario(scenario.id)).enabled)
        await self.visitor.post(f"{path}/remove")
        self.assertEqual(await catalog.scenarios(self.project.id), [])

    async def test_scenario_of_another_project_does_not_exist_here(self):
        other = await self.services.catalog.add_scenario("Ads", self.other.id, "m", ("account",))
        for path in (f"{self.home}/scenarios/{other.id}", f"{self.home}/scenarios/{other.id}/forwarding"):
            self.assertEqual((await self.visitor.get(path)).status, 404)
        await self.visitor.get(self.home)
        self.assertEqual((await self.visitor.post(f"{self.home}/scenarios/{other.id}/remove")).status, 404)

    async def test_numbers_are_added_assigned_and_removed(self):
        scenario = await self.services.catalog.add_scenario("Ads", self.project.id, "m", ("account",))
        page = await self.visitor.get(f"{self.home}/numbers")
        self.assertIn("No numbers yet", text_of(page.text))
        self.assertEqual((await self.visitor.post(f"{self.home}/numbers", {"number": "x"})).status, 422)
        await self.visitor.post(f"{self.home}/numbers", {"number": "(202) 555-0123"})
        await self.visitor.post(f"{self.home}/numbers/12025550123/assign", {"scenario": str(scenario.id)})
        self.assertEqual((await self.services.catalog.number("12025550123")).scenario, scenario.id)
        await self.visitor.post(f"{self.home}/numbers/12025550123/remove")
        self.assertEqual(await self.services.catalog.numbers(self.project.id), [])

    async def test_password_is_judged_as_it_is_typed_and_set(self):
        await self.visitor.get(f"{self.home}/account")
        told = (await self.visitor._ask("POST", f"{self.home}/check/password", b"value=short", {
            "content_type": "application/x-www-form-urlencoded", "x_csrf_token": re.search(r'name="csrf" content="([^"]*)"', self.visitor.answer.text)[1]})).json  # fmt: skip
        self.assertFalse(told["ok"])
        self.assertIn("has no upper-case letter", told["words"])
        await self.visitor.get(f"{self.home}/account")
        await self.visitor.post(f"{self.home}/account", {"password": "Sesame-open"})
        self.assertTrue((await self.services.accounts.account(self.project.id)).enabled)
        await self.visitor.get(f"{self.home}/account")
        await self.visitor.post(f"{self.home}/account", {"password": ""})
        self.assertFalse((await self.services.accounts.account(self.project.id)).enabled)

    async def test_address_is_judged_as_it_is_typed(self):
        for value, ok, words in (
            ("office@pbx.example", True, "sip:office@pbx.example"),
            ("+7 495 123-45-67", True, "phone:+74951234567"),
            ("office@", False, "names no host"),
            ("", None, ""),
        ):
            await self.visitor.get(f"{self.home}/account")
            told = (await self.visitor.post(f"{self.home}/check/target", {"value": value})).json
            self.assertEqual(told["ok"], ok)
            self.assertIn(words, told["words"])

    async def test_account_has_a_code_for_softphones_without_the_password(self):
        answer = await self.visitor.get(f"{self.home}/account/code.svg")
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "image/svg+xml"))
        self.assertIn("<svg", answer.text)
        self.assertNotIn("style", answer.text)

    async def test_settings_are_saved_and_refused_by_field(self):
        page = await self.visitor.get(f"{self.home}/settings")
        fields = {"name": "Lenses", "sites": "https://a.example\nhttps://b.example", "time_zone": "Asia/Tokyo",
                  "target_call_time": "45", "max_calls": "3", "max_rate": "0.5", "enabled": "1"}  # fmt: skip
        self.assertEqual(page.status, 200)
        self.assertEqual((await self.visitor.post(f"{self.home}/settings", fields)).status, 303)
        project = await self.services.catalog.project(self.project.id)
        self.assertEqual((project.name, len(project.sites), project.target_call_time, project.max_rate), ("Lenses", 2, 45.0, 0.5))
        for field, value in (("time_zone", "Moon"), ("sites", "nothing"), ("max_calls", "many"), ("name", "")):
            answer = await self.visitor.post(f"{self.home}/settings", {**fields, field: value})
            self.assertEqual(answer.status, 422)
            self.assertIn(f'id="e-{field}"', answer.text)

    async def test_what_was_typed_comes_back_as_it_was_typed(self):
        await self.visitor.get(f"{self.home}/settings")
        typed = {"name": "Len\u202eses", "sites": "https://a.example\u2066", "time_zone": "UTC", "target_call_time": "1"}
        page = await self.visitor.post(f"{self.home}/settings", typed)
        self.assertEqual(page.status, 422)
        self.assertIn('value="Len\u202eses"', page.text)
        self.assertIn("https://a.example\u2066</textarea>", page.text)

    async def test_key_is_made_shown_once_and_removed(self):
        await self.visitor.get(f"{self.home}/settings")
        page = await self.visitor.post(f"{self.home}/settings/keys", {"key_name": "crm", "scope": ["calls:read"]})
        text = re.search(r'id="key"[^>]*>(ct_[^<]*)<', page.text)[1]
        who = await self.services.keys.principal(text)
        self.assertTrue(who.may("calls:read", self.project.id) and not who.may("setup:read", self.project.id))
        self.assertNotIn(text, (await self.visitor.get(f"{self.home}/settings")).text)
        (key,) = await self.services.keys.keys()
        await self.visitor.post(f"{self.home}/settings/keys/{key.id}/remove")
        self.assertIsNone(await self.services.keys.principal(text))

    async def test_refused_key_is_told_at_its_form_and_no_scope_is_not_all_of_them(self):
        keys = f"{self.home}/settings/keys"
        await self.visitor.get(f"{self.home}/settings")
        page = await self.visitor.post(keys, {"key_name": "n" * 300, "scope": "calls:read"})
        self.assertEqual(page.status, 422)
        self.assertIn('id="e-key_name"', page.text)
        page = await self.visitor.post(keys, {"key_name": "crm"})
        self.assertEqual(page.status, 422)
        self.assertIn("what the key may do: tick at least one thing", text_of(page.text))
        self.assertEqual(await self.services.keys.keys(), [])

    async def test_forms_of_a_page_that_answers_another_form_lead_to_their_own_places(self):
        await self.visitor.get(f"{self.home}/settings")
        page = await self.visitor.post(f"{self.home}/settings/keys", {"key_name": "crm", "scope": ["calls:read"]})
        settings, _, rest = page.text.partition('name="target_call_time"')
        self.assertEqual(re.findall(r'<form method="post" action="([^"]*)"', settings)[-1], f"{self.home}/settings")
        self.assertIn('value="30"', rest[:40])  # a number as the form has it before
        (maria,) = await self.services.people.people()
        page = await self.visitor.post(f"/people/{maria.id}/link")
        self.assertIn('<form method="post" action="/people" ', page.text)

    async def test_log_of_changes_speaks_in_words(self):
        await self.visitor.get(f"{self.home}/numbers")
        await self.visitor.post(f"{self.home}/numbers", {"number": "12025550123"})
        for language, noted in (("en", "number added"), ("ru", "номер добавлен")):
            await self.visitor.get(f"/language/{language}?to=/")
            self.assertIn(noted, text_of((await self.visitor.get("/audit")).text))

    async def test_somebody_is_let_in_by_a_link_and_taken_out(self):
        await self.visitor.get("/people")
        page = await self.visitor.post("/people", {"name": "ivan@shop.example", "role": "analyst", "place": str(self.project.id)})
        secret = re.search(r"/password\?token=([\w-]+)", page.text)[1]

        self.assertTrue(secret)
        ivan = await self.services.people.named("ivan@shop.example")
        self.assertEqual(ivan.grants[0].role, "analyst")
        await self.visitor.post(f"/people/{ivan.id}/grant", {"place": str(self.project.id), "role": "none"})
        self.assertEqual((await self.services.people.person(ivan.id)).grants, ())
        await self.visitor.post(f"/people/{ivan.id}/remove")
        self.assertEqual([one.name for one in await self.services.people.people()], ["maria"])

    async def test_last_owner_stays(self):
        (maria,) = await self.services.people.people()
        await self.visitor.get("/people")
        answer = await self.visitor.post(f"/people/{maria.id}/remove")
        self.assertEqual(answer.status, 422)
        self.assertIn("only owner", text_of(answer.text))

    async def test_own_password_is_changed_with_the_old_one(self):
        await self.visitor.get("/me")
        new = {"password": "yet another sentence", "again": "yet another sentence"}
        self.assertEqual((await self.visitor.post("/me", {"old_password": "wrong", **new})).status, 422)
        answer = await self.visitor.post("/me", {"old_password": "a sentence nobody guesses", **new})
        self.assertEqual(answer.headers["location"], "/log-in?done=password")


class TestCallTests(PageTestCase):
    refusal = None

    def make_services(self, **changes):
        async def test_call(project, target, dialled):
            if self.refusal is not None:
                raise self.refusal
            self.called = (project.id, target.label)
            return TestCallOutcome(ok=False, words="it asks for a password")

        return super().make_services(test_call=test_call, **changes)

    async def test_button_calls_the_target_and_says_what_happened(self):
        visitor = await self.logged_in()
        scenario = await self.services.catalog.add_scenario("Ads", self.project.id, "m", ("account", "office@pbx.example"))
        path = f"/projects/{self.project.id}/scenarios/{scenario.id}"
        self.assertIn("Test calls", text_of((await visitor.get(f"{path}/forwarding")).text))
        told = (await visitor.post(f"{path}/test-call", {"target": "1"})).json
        self.assertEqual(told, {"ok": False, "words": "it asks for a password"})
        self.assertEqual(self.called, (self.project.id, "sip:office@pbx.example"))

    async def test_project_that_has_made_too_many_is_told_when_to_try_again(self):
        visitor = await self.logged_in()
        scenario = await self.services.catalog.add_scenario("Ads", self.project.id, "m", ("account",))
        path = f"/projects/{self.project.id}/scenarios/{scenario.id}"
        await visitor.get(f"{path}/forwarding")
        self.refusal = TooManyRequests("a project may make 6 test calls a minute; try again in 7 s", 7)
        answer = await visitor.post(f"{path}/test-call", {"target": "0"})
        self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "7"))
        self.assertEqual(answer.json, {"ok": False, "words": str(self.refusal)})


class ReadingTests(PageTestCase):
    async def fill(self):
        await super().fill()
        self.visitor = await self.logged_in()
        self.home = f"/projects/{self.project.id}"
        attribution = Attribution(marker="direct_search_1", visit=7, reason="exact lease", candidates=(
            Candidate(visit=7, marker="direct_search_1", reason="exact lease"), Candidate(visit=5, reason="lease ended 240 s before")))  # fmt: skip
        await self.stores.records.write([
            call_record("good", NOW - 1000, caller="74951234567", status="ANSWER", answered=NOW, answer_duration=65.0, target="sip:office@pbx.example",
                        attribution=attribution, target_call=True, media=MediaFigures(verdict="both-ways"), ladder=LADDER, hangup="caller"),
            call_record("missed", NOW - 2000, status="NOANSWER", waiting_time=20.0, attribution=Attribution(marker="google_x")),
            call_record("hostile", NOW - 3000, caller=HOSTILE, callee=HOSTILE, target=HOSTILE, trunk=HOSTILE, status="BUSY", reason=HOSTILE,
                        attribution=Attribution(marker=HOSTILE, reason=HOSTILE, candidates=(Candidate(marker=HOSTILE, reason=HOSTILE),)),
                        ladder=(LadderStep(0, HOSTILE, True, HOSTILE),)),
            call_record("elsewhere", NOW, project=self.other.id, status="ANSWER"),
        ])  # fmt: skip

    async def test_overview_counts_and_draws(self):
        page = await self.visitor.get(self.home)
        told = text_of(page.text)
        self.assertIn("Calls 3", told)
        self.assertIn("Answered 33", told)
        self.assertIn("Missed 2", told)
        self.assertIn("data-chart", page.text)

    async def test_list_is_filtered_by_the_address(self):
        for query, shown, hidden in (
            ("", ("good", "missed", "hostile"), ("elsewhere",)),
            ("?status=missed", ("missed", "hostile"), ("good",)),
            ("?source=direct", ("good",), ("missed",)),
            ("?caller=%2B7+495+123-45-67", ("good",), ("missed",)),
            ("?visit=7&target=1", ("good",), ("missed",)),
            ("?from=2026-11-23&to=2026-11-23", ("good",), ()),
            ("?from=2026-11-24", (), ("good",)),
        ):
            page = (await self.visitor.get(f"{self.home}/calls{query}")).text
            for name in shown:
                self.assertIn(f'{self.home}/calls/{name}"', page, query)
            for name in hidden:
                self.assertNotIn(f'{self.home}/calls/{name}"', page, query)

    async def test_filter_that_cannot_be_read_is_said_and_nothing_is_shown(self):
        for query, field in (("?from=yesterday", "from"), ("?visit=x", "visit"), ("?caller=x", "caller"), ("?status=LOST", "status")):
            answer = await self.visitor.get(f"{self.home}/calls{query}")
            self.assertEqual(answer.status, 422)
            self.assertIn(f'id="e-{field}"', answer.text)

    async def test_call_is_explained_in_words_with_its_candidates_and_ladder(self):
        told = text_of((await self.visitor.get(f"{self.home}/calls/good")).text)
        for words in ("It was answered", "The caller hung up.", "was shown to this visitor alone", "Visit 7.", "last had left 4:00 before", "INVITE · SDP", "Both sides sent sound."):
            self.assertIn(words, told)

    async def test_call_shows_the_visit_that_it_belongs_to_and_its_text_as_text(self):
        visit = Visit(project=self.project.id, number=7, secret="x", started=NOW - 9000, marker="direct_search_1", landing_page="https://shop.example/?q=<b>",
                      referrer=HOSTILE, utm={"utm_source": HOSTILE}, user_agent=HOSTILE)  # fmt: skip
        await self.stores.visits.write([visit], [], [], [])
        page = (await self.visitor.get(f"{self.home}/calls/good")).text
        self.assertIn("https://shop.example/?q=&lt;b&gt;", page)
        self.assertNotIn("<img src=x", page)

    async def test_call_of_another_project_does_not_exist_here(self):
        self.assertEqual((await self.visitor.get(f"{self.home}/calls/elsewhere")).status, 404)

    async def test_hostile_text_is_shown_as_text_on_every_page(self):
        await self.stores.locations.write([Binding(id=1, project=self.project.id, contact=HOSTILE, device=HOSTILE, expires_at=NOW / 1000 + 60,
            registered_at=NOW, call_id="c", cseq=1, transport="udp", host="192.0.2.7", port=1, reach=1)], [])  # fmt: skip
        await self.services.catalog.add_scenario(HOSTILE[:-1], self.project.id, HOSTILE, ("account",))
        for path in ("", "/calls", "/calls/hostile", "/live", "/account", "/scenarios", "/numbers", "/settings"):
            page = (await self.visitor.get(self.home + path)).text
            self.assertNotIn("<img src=x", page, path)
            if path:
                self.assertTrue("&lt;img src=x" in page or path in ("/numbers", "/settings"), path)

    async def test_csv_has_every_call_and_no_formula(self):
        await self.stores.records.write([call_record("formula", NOW - 9000, caller="+1", status="BUSY", attribution=Attribution(marker="=1+1"))])
        answer = await self.visitor.get(f"{self.home}/calls.csv")
        self.assertEqual(answer.headers["content-type"], "text/csv; charset=utf-8")
        rows = list(csv.DictReader(io.StringIO(answer.body.decode("utf-8-sig"))))
        self.assertEqual([row["id"] for row in rows], ["good", "missed", "hostile", "formula"])
        self.assertEqual((rows[-1]["marker"], rows[-1]["caller"]), ("'=1+1", "'+1"))

    async def test_page_speaks_russian_when_asked(self):
        answer = await self.visitor.get("/language/ru?to=" + self.home)
        self.assertEqual((answer.status, answer.headers["location"]), (303, self.home))
        page = await self.visitor.get(self.home)
        self.assertIn('<html lang="ru">', page.text)
        self.assertIn("Целевые звонки", page.text)
        self.assertEqual((await self.visitor.get("/language/ru?to=//evil.example")).headers["location"], "/")


class RoleTests(PageTestCase):
    async def test_roles_open_what_they_say_and_nothing_else(self):
        home = f"/projects/{self.project.id}"
        scenario = await self.services.catalog.add_scenario("Ads", self.project.id, "m", ("account",))
        changes = (
            (f"{home}/numbers", {"number": "12025550123"}),
            (f"{home}/account", {"password": "Sesame-open"}),
            (f"{home}/scenarios/{scenario.id}/switch", {"enabled": "1"}),
        )
        for role, may in (("analyst", ()), ("operator", ("change",)), ("owner", ("change", "access"))):
            visitor = await self.logged_in(role, role, self.project.id)
            for path in ("", "/calls", "/live", "/scenarios", "/numbers", "/account", "/settings", "/calls.csv"):
                self.assertEqual((await visitor.get(home + path)).status, 200, (role, path))
            for path, fields in changes:
                await visitor.get(home)
                status = (await visitor.post(path, fields)).status
                self.assertEqual(status in (303, 422), "change" in may, (role, path, status))
            await visitor.get(home)
            status = (await visitor.post(f"{home}/settings/keys", {"key_name": "x", "scope": "calls:read"})).status
            self.assertEqual(status == 200, "access" in may, (role, status))
            for path in ("/people", "/audit"):
                self.assertEqual((await visitor.get(path)).status, 403, (role, path))
            self.assertEqual((await visitor.get(f"/projects/{self.other.id}")).status, 404, role)
            self.assertNotIn("Shoes", (await visitor.get(home)).text)

    async def test_what_a_role_may_not_do_is_not_offered(self):
        visitor = await self.logged_in("ivan", "analyst", self.project.id)
        for path in ("/numbers", "/account", "/scenarios", "/settings"):
            page = (await visitor.get(f"/projects/{self.project.id}{path}")).text
            self.assertNotIn('<button class="danger">', page, path)
            self.assertNotIn("API keys", page)


class BrokenListTests(PageTestCase):
    async def test_csv_that_cannot_be_read_to_its_end_is_cut_off_not_ended(self):
        from twisted.web.client import ResponseFailed

        visitor = await self.logged_in()
        await self.stores.records.write([call_record(name, NOW, project=self.project.id, status="BUSY") for name in "abc"])
        self.patch(calls, "CSV_PAGE", 1)
        page, pages = self.services.calls.page, []

        async def fails(*given):
            pages.append(given)
            if len(pages) == 3:
                raise StoreUnavailable("the disk is gone")
            return await page(*given)

        self.patch(self.services.calls, "page", fails)
        self.pool.retryAutomatically = False
        failed = Deferred.fromCoroutine(visitor.get(f"/projects/{self.project.id}/calls.csv"))
        await self.assertFailure(failed, ResponseFailed)


class LiveTests(PageTestCase):
    async def watch_until(self, end, place=None):
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred
        from twisted.internet.protocol import Protocol
        from twisted.web.http_headers import Headers

        from calltrack.web.pages import live
        from tests.interop.processes import eventually

        self.patch(live, "LOOK_EVERY", 0.02)
        visitor = await self.logged_in(project=place)
        told, gone = [], Deferred()

        class Reader(Protocol):
            def dataReceived(self, data):
                told.append(data.decode())

            def connectionLost(self, reason):
                gone.callback(None)

        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        url = f"{self.url}/projects/{self.project.id}/live/stream".encode()
        response = await self.agent.request(b"GET", url, Headers({"cookie": [cookie]}))
        self.assertEqual(response.headers.getRawHeaders("content-type"), ["text/event-stream"])
        response.deliverBody(Reader())
        await eventually(lambda: "Nobody is calling" in "".join(told), "the empty list")
        await self.stores.records.write([call_record("now", NOW, caller="74951234567", attribution=Attribution(marker="<b>"))])
        await eventually(lambda: 'data-call="now"' in "".join(told), "the call")
        self.assertIn("&lt;b&gt;", "".join(told))
        await end()
        await gone.addTimeout(5, reactor)
        self.assertEqual(live._open, 0)

    async def test_stream_tells_each_change_and_ends_with_the_session(self):
        await self.watch_until(lambda: self.stores.access.remove_sessions(person=1))

    async def test_stream_ends_with_the_role_that_it_needs(self):
        async def withdraw():
            maria = await self.services.people.named("maria")
            await self.services.people.grant(maria.id, [Grant(project=self.other.id, role="owner")])

        await self.watch_until(withdraw, self.project.id)


class WebhookPageTests(PageTestCase):
    async def test_webhook_is_added_tried_sent_again_and_removed(self):
        visitor = await self.logged_in()
        home = f"/projects/{self.project.id}/webhooks"
        self.assertIn("No webhook yet", text_of((await visitor.get(home)).text))
        refused = await visitor.post(home, {"url": "nothing", "format": "roistat"})
        self.assertEqual(refused.status, 422)
        self.assertIn('id="e-url"', refused.text)
        page = await visitor.post(home, {"url": "https://crm.example/hook", "events": "call.ended", "format": "roistat"})
        self.assertIn("whsec_", page.text)
        ((webhook, _),) = await self.services.webhooks.list(self.project.id)
        self.assertNotIn("whsec_", (await visitor.get(home)).text)
        told = (await visitor.post(f"{home}/{webhook.id}/test")).json
        self.assertTrue(told["ok"], told)
        await visitor.get(home)
        self.assertEqual((await visitor.post(f"{home}/{webhook.id}/again", {"event": "a.ended"})).headers["location"], f"{home}?done=sent")
        await visitor.get(home)
        await visitor.post(f"{home}/{webhook.id}/remove")
        self.assertEqual(await self.services.webhooks.list(self.project.id), [])

    async def test_attempts_are_listed_with_what_was_sent_and_hostile_answers_as_text(self):
        visitor = await self.logged_in()
        hooks, hostile = self.services.webhooks, "<script>alert(1)</script>"
        webhook = await hooks.add(self.project.id, "https://crm.example/hook")
        attempt = Attempt(webhook=webhook.id, event="a.ended", type="call.ended", number=1, at=NOW, took=5, status=500, error="answered 500",
                          url=webhook.url, request='{"id": "a"}', response=hostile)  # fmt: skip
        await self.stores.webhooks.settle([Settled(webhook=webhook.id, seq=1, attempts=1, attempt=attempt)])
        page = (await visitor.get(f"/projects/{self.project.id}/webhooks")).text
        self.assertIn("answered 500", page)
        self.assertNotIn(hostile, page)
        self.assertIn("Send again", page)


class PoolPageTests(PageTestCase):
    async def test_numbers_page_says_how_many_a_dynamic_scenario_needs(self):
        visitor = await self.logged_in()
        scenario = await self.services.catalog.add_scenario("Everybody", self.project.id, "", ("account",))
        await self.services.catalog.add_number("11231234570", self.project.id, scenario.id)
        home = f"/projects/{self.project.id}/numbers"
        self.assertIn("Nobody has wanted", text_of((await visitor.get(home)).text))
        leases = [Lease(number="11231234570", begun=NOW - 600_000 * n, ended=NOW - 600_000 * n + 300_000, project=self.project.id,
                        scenario=scenario.id, visit=n, marker="m", confirmed=True) for n in range(1, 40)]  # fmt: skip
        await self.stores.visits.write([], leases, leases, [])
        told = text_of((await visitor.get(home)).text)
        self.assertIn("39 visitors stayed", told)
        self.assertIn("It has 1 numbers", told)
