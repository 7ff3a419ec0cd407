"""The REST API over real HTTP."""

import json

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import StoreUnavailable
from calltrack.testing.store_contract import LADDER, call_record
from calltrack.tracking.bindings import Binding
from calltrack.tracking.model import Attribution
from calltrack.web.api.openapi import description
from calltrack.web.api.site import MAX_BODY, OPERATIONS, API

from tests.web.case import NOW, WebTestCase

HOSTILE = "<script>alert(1)</script>\u202e"


class APITestCase(WebTestCase):
    def site_resources(self):
        return {b"api": API(self.services).app.resource()}

    async def fill(self):
        catalog = self.services.catalog
        self.project = await catalog.add_project("Glasses", ("https://shop.example",))
        self.other = await catalog.add_project("Shoes")
        self.dynamic = await catalog.add_scenario("Visitors", self.project.id, "", ("account",))
        self.scenario = await catalog.add_scenario("Ads", self.project.id, "direct_1", ("office@pbx.example",))
        await catalog.add_number("11231234567", self.project.id, self.scenario.id)
        await catalog.add_number("12025550100", self.other.id)
        self.key = await self.key_of(self.project.id)

    async def key_of(self, project, *scopes):
        _, text = await self.services.keys.add(project, scopes=scopes)
        return text

    async def call(self, method, path, body=None, key=None, expect=200):
        answer = await self.ask(method, "/api/v1" + path, body, authorization=f"Bearer {key or self.key}")
        self.assertEqual(answer.status, expect, answer.body)
        if expect >= 400:
            self.assertEqual(answer.headers["content-type"], "application/problem+json")
            self.assertEqual(answer.json["status"], expect)
        return answer.json if answer.body else None


class KeyTests(APITestCase):
    async def test_without_a_key_nothing_is_told(self):
        for headers in ({}, {"authorization": "Basic abc"}, {"authorization": "Bearer nonsense"},
                        {"authorization": f"Bearer {self.key}x"}, {"authorization": "Bearer ct_\u00e9_x".encode().decode("latin-1")}):  # fmt: skip
            answer = await self.ask("GET", "/api/v1/projects", **headers)
            self.assertEqual((answer.status, answer.json["type"]), (401, "urn:calltrack:key"))
            self.assertTrue(answer.headers["www-authenticate"].startswith('Bearer realm="calltrack"'))
            self.assertNotIn("Glasses", answer.text)

    async def test_key_opens_its_own_project_alone(self):
        self.assertEqual([one["id"] for one in (await self.call("GET", "/projects"))["items"]], [self.project.id])
        numbers = (await self.call("GET", "/numbers"))["items"]
        self.assertEqual([one["number"] for one in numbers], ["11231234567"])
        await self.call("GET", f"/numbers?project={self.other.id}", expect=403)
        for path in (f"/projects/{self.other.id}", "/numbers/12025550100"):
            told = await self.call("GET", path, expect=404)
            self.assertIn("does not exist", told["detail"])

    async def test_key_of_every_project_sees_all_and_may_add_more(self):
        key = await self.key_of(None)
        self.assertEqual(len((await self.call("GET", "/numbers", key=key))["items"]), 2)
        added = await self.call("POST", "/projects", {"name": "Hats", "time_zone": "Europe/Moscow"}, key, 201)
        self.assertEqual((added["name"], added["time_zone"]), ("Hats", "Europe/Moscow"))
        await self.call("POST", "/projects", {"name": "Hats"}, expect=403)
        told = await self.call("GET", "/account", key=key, expect=422)
        self.assertEqual(told["field"], "project")

    async def test_scopes_hold(self):
        key = await self.key_of(self.project.id, "calls:read")
        await self.call("GET", "/calls", key=key)
        told = await self.call("GET", "/numbers", key=key, expect=403)
        self.assertIn("setup:read", told["detail"])
        reader = await self.key_of(self.project.id, "setup:read")
        await self.call("GET", "/numbers", key=reader)
        await self.call("POST", "/numbers", {"number": "12025550111"}, reader, 403)
        await self.call("DELETE", "/numbers/11231234567", None, reader, 403)

    async def test_removed_key_opens_nothing(self):
        (key,) = await self.services.keys.keys()
        await self.services.keys.remove(key.id)
        await self.call("GET", "/projects", expect=401)

    async def test_use_of_a_key_is_noted_to_the_minute(self):
        await self.call("GET", "/projects")
        (key,) = await self.services.keys.keys()
        self.assertEqual(key.last_used, NOW)
        self.clock.advance(30)
        await self.call("GET", "/projects")
        (key,) = await self.services.keys.keys()
        self.assertEqual(key.last_used, NOW)


class SetupTests(APITestCase):
    async def test_scenario_lives_from_adding_to_removing(self):
        new = {"name": "News", "marker": "news_1", "forward": ["account", "office@pbx.example"], "ring": "all", "record": True}
        added = await self.call("POST", "/scenarios", new, expect=201)
        self.assertEqual((added["project"], added["ring"], len(added["targets"])), (self.project.id, "all", 2))
        path = f"/scenarios/{added['id']}"
        changed = await self.call("PATCH", path, {"forward": ["phone:+74951234567"], "ring_time": 30})
        (target,) = changed["targets"]
        self.assertEqual((target["address"], target["ring_time"], changed["name"]), ("+74951234567", 30, "News"))
        self.assertEqual(await self.call("GET", path), changed)
        await self.call("DELETE", path, expect=204)
        await self.call("GET", path, expect=404)

    async def test_refusals_name_the_field(self):
        for method, path, body, field in (
            ("POST", "/scenarios", {"name": "x", "marker": "m", "forward": ["office@"]}, "forward"),
            ("POST", "/scenarios", {"name": "x", "marker": "\n", "forward": ["account"]}, "marker"),
            ("POST", "/scenarios", {"name": 5, "marker": "m", "forward": ["account"]}, "name"),
            ("POST", "/scenarios", {"nme": "x"}, "nme"),
            ("POST", "/scenarios", {"name": "x", "marker": "m"}, "forward"),
            ("POST", "/scenarios", {"name": "x", "marker": "m", "forward": []}, "forward"),
            ("PATCH", f"/scenarios/{self.scenario.id}", {"ring_time": 0}, "ring_time"),
            ("PATCH", f"/scenarios/{self.scenario.id}", {"addressing": {"request_user": "x"}}, "addressing.request_user"),
            ("PATCH", f"/projects/{self.project.id}", {"sites": ["shop"]}, "site"),
            ("PATCH", f"/projects/{self.project.id}", {"time_zone": "Moon/Sea"}, "time_zone"),
            ("POST", "/numbers", {"number": "12"}, "number"),
            ("POST", "/numbers", {"number": "11231234567"}, "number"),
            ("PUT", "/account/password", {"password": "short"}, "password"),
            ("GET", "/calls?status=LOST", None, "status[0]"),
            ("GET", "/calls?limit=0", None, "limit"),
            ("GET", "/calls?since=2026", None, "since"),
            ("GET", "/calls?since=2026-11-23T18:00:00", None, "since"),
            ("GET", "/calls?cursor=abc", None, "cursor"),
            ("GET", "/calls?colour=red", None, "colour"),
            ("GET", "/calls?caller=1&caller=2", None, "caller"),
            ("GET", "/calls?caller=%ff", None, "caller"),
            ("GET", "/scenarios/x", None, "id"),
        ):
            told = await self.call(method, path, body, expect=422)
            self.assertEqual((told["type"], told["field"]), ("urn:calltrack:invalid-field", field), told)
            self.assertTrue(told["detail"])

    async def test_every_broken_rule_of_a_password_is_named(self):
        told = await self.call("PUT", "/account/password", {"password": "short"}, expect=422)
        self.assertIn("fewer than 7 characters", told["detail"])
        self.assertIn("no upper-case letter", told["detail"])

    async def test_account_is_activated_and_disabled(self):
        before = await self.call("GET", "/account")
        self.assertEqual((before["enabled"], before["domain"], before["transports"]), (False, "calltrack.example", ["udp", "tcp"]))
        active = await self.call("PUT", "/account/password", {"password": "Sesame-open"})
        self.assertEqual((active["enabled"], active["user"]), (True, before["user"]))
        self.assertNotIn("ha1", json.dumps(active))
        self.assertFalse((await self.call("DELETE", "/account/password"))["enabled"])

    async def test_registrations_are_those_that_last(self):
        fields = {"project": self.project.id, "contact": "sip:a@b", "registered_at": NOW, "call_id": "c", "cseq": 1,
                  "transport": "udp", "host": "192.0.2.7", "port": 5060, "reach": 5060, "device": HOSTILE}  # fmt: skip
        live = Binding(id=1, expires_at=NOW / 1000 + 60, **fields)
        over = Binding(id=2, expires_at=NOW / 1000, **fields)
        await self.stores.locations.write([live, over], [])
        (shown,) = (await self.call("GET", "/registrations"))["items"]
        self.assertEqual((shown["expires"], shown["source"], shown["device"]), (60, "192.0.2.7:5060", HOSTILE))

    async def test_number_is_read_as_people_write_it(self):
        added = await self.call("POST", "/numbers", {"number": "(202) 555-0123", "scenario": self.scenario.id}, expect=201)
        self.assertEqual((added["number"], added["scenario"]), ("12025550123", self.scenario.id))
        freed = await self.call("PATCH", "/numbers/+1%20202%20555%200123", {"scenario": None})
        self.assertIsNone(freed["scenario"])
        await self.call("DELETE", "/numbers/12025550123", expect=204)

    async def test_trunks_are_told_without_their_passwords(self):
        (trunk,) = (await self.call("GET", "/trunks"))["items"]
        self.assertEqual((trunk["name"], trunk["state"]), ("provider", "up"))

    async def test_changes_are_logged_with_the_key_that_made_them(self):
        await self.call("PATCH", f"/scenarios/{self.scenario.id}", {"name": "Search"})
        entry = (await self.services.people.audit(project=self.project.id))[0]
        self.assertEqual((entry.what, entry.who), ("scenario.changed", "API key 1 (key)"))
        self.assertIn("name", entry.detail)


class HTTPTests(APITestCase):
    async def test_unknown_path_and_method_are_problems(self):
        told = await self.call("GET", "/nothing", expect=404)
        self.assertEqual(told["type"], "urn:calltrack:not-found")
        answer = await self.ask("PUT", "/api/v1/calls", authorization=f"Bearer {self.key}")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"))

    async def test_body_that_is_no_json_object_is_refused(self):
        for body in (b"", b"{", b"[" * 50_000, b'{"name": "\xff"}'):
            answer = await self.ask(
                "POST", "/api/v1/scenarios", body, authorization=f"Bearer {self.key}", content_type="application/json"
            )
            self.assertIn(answer.status, (400, 422), body[:20])
        form = await self.ask(
            "POST",
            "/api/v1/scenarios",
            b"name=x",
            authorization=f"Bearer {self.key}",
            content_type="application/x-www-form-urlencoded",
        )
        self.assertEqual(form.status, 415)

    async def test_endless_body_is_refused(self):
        answer = await self.ask(
            "POST", "/api/v1/scenarios", b" " * (MAX_BODY + 1), authorization=f"Bearer {self.key}", content_type="application/json"
        )
        self.assertEqual(answer.status, 413)

    async def test_store_that_is_away_is_503_with_when_to_ask_again(self):
        def away(*args, **kwargs):
            raise StoreUnavailable("database x is locked")

        self.patch(self.stores.records, "find", away)
        answer = await self.ask("GET", "/api/v1/calls", authorization=f"Bearer {self.key}")
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "2"))

    async def test_bug_is_logged_and_told_without_its_insides(self):
        def broken(*args, **kwargs):
            raise ZeroDivisionError("secret")

        self.patch(self.stores.records, "find", broken)
        answer = await self.ask("GET", "/api/v1/calls", authorization=f"Bearer {self.key}")
        self.assertEqual(answer.status, 500)
        self.assertNotIn("secret", answer.text)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class CallTests(APITestCase):
    async def fill(self):
        await super().fill()
        records = []
        for position in range(5):
            marker = Attribution(marker=f"direct_{position % 2}", reason="static channel")
            records.append(
                call_record(
                    f"c{position}",
                    NOW - 3_600_000 * position,
                    project=self.project.id,
                    caller="74950000000",
                    status="ANSWER" if position else "BUSY",
                    answer_duration=float(position),
                    attribution=marker,
                    ladder=LADDER,
                )
            )
        records.append(call_record("other", NOW, project=self.other.id, status="ANSWER"))
        records.append(call_record("nobody", NOW, project=None, status="CHANUNAVAIL"))
        await self.stores.records.write(records)

    async def ids(self, query="", key=None):
        return [one["id"] for one in (await self.call("GET", f"/calls{query}", key=key))["items"]]

    async def test_calls_are_filtered_and_sorted(self):
        self.assertEqual(await self.ids(), ["c0", "c1", "c2", "c3", "c4"])
        self.assertEqual(await self.ids("?status=BUSY"), ["c0"])
        self.assertEqual(await self.ids("?status=BUSY&status=ANSWER&sort=-talked&limit=2"), ["c4", "c3"])
        self.assertEqual(await self.ids("?marker=direct_1&sort=created"), ["c3", "c1"])
        self.assertEqual(await self.ids("?since=2026-11-23T15:30:00Z&until=2026-11-23T20:30:00%2B03:00"), ["c1", "c2"])

    async def test_pages_follow_each_other_to_the_end(self):
        path, seen = "/calls?limit=2", []
        while path:
            page = await self.call("GET", path)
            seen += [one["id"] for one in page["items"]]
            path = page["next"] and f"/calls?limit=2&cursor={page['next']}"
        self.assertEqual(seen, ["c0", "c1", "c2", "c3", "c4"])

    async def test_cursor_of_another_order_is_refused(self):
        page = await self.call("GET", "/calls?limit=2")
        told = await self.call("GET", f"/calls?sort=talked&cursor={page['next']}", expect=422)
        self.assertEqual(told["field"], "cursor")

    async def test_one_call_has_its_ladder_and_others_are_not_told(self):
        call = await self.call("GET", "/calls/c1")
        self.assertEqual(call["ladder"][0]["text"], "INVITE")
        for hidden in ("other", "nobody", "none", "%00", "%0a"):
            await self.call("GET", f"/calls/{hidden}", expect=404)

    async def test_report_adds_up(self):
        report = await self.call("GET", "/reports/calls?offset=180")
        self.assertEqual(sum(day["calls"] for day in report["days"]), 4)  # the one at this very instant is not over
        self.assertEqual({day["source"] for day in report["days"]}, {"direct"})

    async def test_answers_have_the_shape_that_is_described(self):
        for operation in OPERATIONS:
            if operation.method != "GET" or operation.parameters.__struct_fields__ or operation.raw:
                continue
            query = f"?scenario={self.dynamic.id}" if operation.name == "advisePool" else ""
            answer = await self.ask("GET", f"/api/v1{operation.path}{query}", authorization=f"Bearer {self.key}")
            msgspec.json.decode(answer.body, type=operation.answer)


class DescriptionTests(APITestCase):
    async def test_description_is_served_without_a_key_and_valid(self):
        from openapi_spec_validator import validate

        answer = await self.ask("GET", "/api/v1/openapi.json")
        self.assertEqual(answer.status, 200)
        validate(answer.json)
        self.assertEqual(answer.json["openapi"], "3.1.0")


class OperationTests(SynchronousTestCase):
    def test_names_are_unique(self):
        names = [operation.name for operation in OPERATIONS]
        self.assertEqual(len(names), len(set(names)))

    def test_every_operation_is_described(self):
        paths = description(OPERATIONS)["paths"]
        described = {(method.upper(), path.removeprefix("/api/v1")) for path, ways in paths.items() for method in ways}
        self.assertEqual(described, {(operation.method, operation.path) for operation in OPERATIONS})
