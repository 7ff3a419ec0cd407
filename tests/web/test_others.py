"""What belongs to another project does not exist, by whichever route it is asked for."""

from calltrack.testing.store_contract import call_record
from calltrack.tracking.model import Visit
from calltrack.web.api.site import API, OPERATIONS
from calltrack.web.pages.routes import ROUTES

from tests.web.browsing import PageTestCase
from tests.web.case import NOW


class OthersTests(PageTestCase):
    def site_resources(self):
        return {**super().site_resources(), b"api": API(self.services).app.resource()}

    async def fill(self):
        await super().fill()
        catalog, theirs = self.services.catalog, self.other.id
        self.scenario = await catalog.add_scenario("Theirs", theirs, "direct_2", ("office@pbx.example",))
        await catalog.add_number("12025550100", theirs, self.scenario.id)
        self.webhook = await self.services.webhooks.add(theirs, "https://theirs.example")
        key, _ = await self.services.keys.add(theirs)
        await self.stores.records.write([call_record("theirs", NOW, project=theirs, status="BUSY")])
        await self.stores.visits.write([Visit(project=theirs, number=9, secret="x", started=NOW, marker="m")], [], [], [])
        self.in_paths = {
            "<int:scenario>": self.scenario.id, "<number>": "12025550100", "<int:webhook>": self.webhook.id,
            "<call>": "theirs", "<int:key>": key.id, "<int:visit>": 9, "<int:number>": 9,
        }  # fmt: skip

    async def test_page_of_ones_own_project_shows_and_changes_nothing_of_another(self):
        await self.nothing_of(self.project.id, lambda path: any(part in path for part in self.in_paths))

    async def test_no_page_of_another_project_exists(self):
        await self.nothing_of(self.other.id, lambda path: True)

    async def nothing_of(self, project, wanted):
        visitor = await self.logged_in("maria", "owner", self.project.id)
        (session,) = await self.services.people.sessions((await self.services.people.named("maria")).id)
        routes = [one for one in ROUTES if "<int:project>" in one.path and wanted(one.path)]
        self.assertGreater(len(routes), 5)
        for route in routes:
            path = route.path.replace("<int:project>", str(project))
            for part, value in self.in_paths.items():
                path = path.replace(part, str(value))
            self.assertNotIn("<", path, "a route with something new: say here whose it is")
            answer = await (visitor.get(path) if route.method == "GET" else visitor.post(path, {}, session.csrf))
            self.assertEqual(answer.status, 404, f"{route.method} {path}")
        await self.all_is_there()

    async def test_operation_on_a_thing_of_another_project_finds_nothing(self):
        _, key = await self.services.keys.add(self.project.id)
        ids = {"calls": "theirs", "webhooks": self.webhook.id, "projects": self.other.id, "scenarios": self.scenario.id}
        operations = [one for one in OPERATIONS if "{" in one.path]
        for one in operations:
            kind = one.path.split("/")[1]
            path = one.path.replace("{number}", "9" if kind == "visits" else "12025550100")
            path = path.replace("{id}", str(ids.get(kind, "")))
            body = {"dead": True} if path.endswith("/replay") else {"scenario": None} if kind == "numbers" else {}
            answer = await self.ask(one.method, "/api/v1" + path, body if one.body else None, authorization=f"Bearer {key}")
            self.assertEqual(answer.status, 404, f"{one.method} {path}: {answer.text}")
        await self.all_is_there()

    async def all_is_there(self):
        catalog = self.services.catalog
        self.assertEqual(await catalog.scenarios(self.other.id), [self.scenario])
        self.assertEqual([one.scenario for one in await catalog.numbers(self.other.id)], [self.scenario.id])
        self.assertEqual([one.id for one, _ in await self.services.webhooks.list()], [self.webhook.id])
        self.assertEqual(len(await self.services.keys.keys(self.other.id)), 1)
        self.assertEqual(self.posted, [])
