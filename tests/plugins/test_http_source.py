"""Routes that are asked for over HTTP keep the contract of scenario sources; a web side that is slow, down or wrong costs attribution
and no call."""

from __future__ import annotations

import json

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from calltrack import config
from calltrack.errors import ConfigErrors, StoreUnavailable
from calltrack.testing.fakes import FixedScenarios
from calltrack.testing.scenario_contract import AT, CALLER, KNOWN, MARKER, NOWHERE, TARGET, ScenarioSourceContract
from calltrack.tracking.http_source import HTTPScenarios, HTTPSourceSettings
from calltrack.tracking.model import Route


class Answers(Resource):
    """What a program of one's own says. `body`: instead of a good answer; None: nothing, ever."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[bytes, list[bytes]]] = []
        self.body: bytes | None = b""
        self.status = 200
        self.authorization = ""

    def render_GET(self, request):
        self.asked.append(request.args)
        self.authorization = request.getHeader("authorization")
        number = request.args[b"number"][0].decode()
        if self.body is None:
            return NOT_DONE_YET
        if number not in (KNOWN, NOWHERE):
            request.setResponseCode(404)
            return b"nobody's"
        request.setResponseCode(self.status)
        targets = [TARGET] if number == KNOWN else []
        return self.body or json.dumps({"project": 1, "targets": targets, "marker": MARKER, "visit": 17}).encode()


class WebCase(TestCase):
    def setUp(self) -> None:
        self.answers = Answers()
        self.port = reactor.listenTCP(0, Site(self.answers), interface="127.0.0.1")
        self.addCleanup(self.stop_web)

    def stop_web(self):
        return self.port.stopListening() if self.port.connected else None

    async def make_source(self, **settings) -> HTTPScenarios:
        url = f"http://127.0.0.1:{self.port.getHost().port}/route"
        self.beside = FixedScenarios(Clock(), [])
        source = HTTPScenarios(reactor, HTTPSourceSettings(url=url, **{"timeout": 2.0, **settings}), self.beside)
        source.startService()
        self.addCleanup(source.stopService)
        return source


class ContractTests(WebCase, ScenarioSourceContract):
    async def break_source(self) -> None:
        self.answers.body = b"the database is on fire"
        self.answers.status = 500


class WebTests(WebCase):
    async def test_the_question_and_the_token_are_as_documented(self) -> None:
        source = await self.make_source(token="s3cret")
        await source.lookup(KNOWN, CALLER, AT)
        self.assertEqual(
            self.answers.asked, [{b"number": [KNOWN.encode()], b"caller": [CALLER.encode()], b"at": [b"1795457000.250"]}]
        )
        self.assertEqual(self.answers.authorization, "Bearer s3cret")

    async def test_the_same_caller_is_asked_for_once_while_the_answer_counts(self) -> None:
        source = await self.make_source(cache=3600.0)
        for caller in (CALLER, CALLER, "1999"):
            await source.lookup(KNOWN, caller, AT)
        self.assertEqual(len(self.answers.asked), 2)
        source = await self.make_source(cache=0.0)
        for _ in range(2):
            await source.lookup(KNOWN, CALLER, AT)
        self.assertEqual(len(self.answers.asked), 4)

    async def test_one_that_never_answers_is_given_up_in_its_time(self) -> None:
        source = await self.make_source(timeout=0.05)
        self.answers.body = None
        error = await self.assertFailure(source.lookup(KNOWN, CALLER, AT), StoreUnavailable)
        self.assertIn("has not answered within 0.05 s", str(error))
        self.assertIn("has not answered", await source.health())

    async def test_an_answer_that_is_no_route_is_refused_in_words(self) -> None:
        source = await self.make_source(cache=0.0)
        for body, words in (
            (b"<html>", "no route"),
            (b'{"targets": []}', "project"),
            (b'{"project": 1, "targets": ["gopher://x"]}', "targets"),
            (b'{"project": 1, "ring": "sometimes"}', "ring"),
            (b'{"project": 1, "marker": "' + b"x" * 70_000 + b'"}', "larger than 65536 bytes"),
        ):
            self.answers.body = body
            error = await self.assertFailure(source.lookup(KNOWN, CALLER, AT), StoreUnavailable)
            self.assertIn(words, str(error))

    async def test_markers_from_outside_are_made_harmless(self) -> None:
        source = await self.make_source()
        self.answers.body = b'{"project": 1, "marker": "a\\r\\nX-Evil: 1\\u202e"}'
        self.assertEqual((await source.lookup(KNOWN, CALLER, AT)).attribution.marker, "aX-Evil: 1")

    async def test_a_number_that_was_never_asked_for_falls_back_on_the_catalog(self) -> None:
        source = await self.make_source()
        self.beside.known[KNOWN] = Route(dialled=KNOWN, project=7)
        await self.stop_web()
        await self.assertFailure(source.lookup(KNOWN, CALLER, AT), StoreUnavailable)
        self.assertEqual(source.last_known(KNOWN).project, 7)

    async def test_a_number_that_is_nobody_s_any_more_is_not_remembered(self) -> None:
        source = await self.make_source(cache=0.0)
        await source.lookup(KNOWN, CALLER, AT)
        self.answers.render_GET = lambda request: request.setResponseCode(404) or b""
        self.assertIsNone(await source.lookup(KNOWN, CALLER, AT))
        self.assertIsNone(source.last_known(KNOWN))


class SettingsTests(SynchronousTestCase):
    def test_settings_are_judged_with_the_configuration(self) -> None:
        start = '[scenarios]\nsource = "http"\n[scenarios.http]\n'
        self.assertEqual(config.load(start + 'url = "https://crm.example/route"').scenarios.options.cache, 5.0)
        for wrong in ("", 'url = "ftp://x/"', 'url = "https://x/?a=1"', 'url = "http://x/"\ntimeout = 9.0', 'url = 1'):
            self.assertRaises(ConfigErrors, config.load, start + wrong)


class CatalogSourceTests(ScenarioSourceContract, TestCase):
    """The source that calltrack has by itself."""

    async def make_source(self):
        from calltrack.storage.url import open_stores
        from calltrack.tracking.catalog import Catalog
        from calltrack.tracking.routing import CachedScenarioSource

        store = open_stores("memory:", reactor).catalog
        catalog = Catalog(store)
        project = await catalog.add_project("Glasses")
        scenario = await catalog.add_scenario("Search", project.id, MARKER, [TARGET])
        await catalog.add_number(KNOWN, project.id, scenario.id)
        await catalog.add_number(NOWHERE, project.id)
        self.store, self.clock = store, Clock()
        source = CachedScenarioSource(store, self.clock)
        await source.start()
        self.addCleanup(source.stop)
        return source

    async def break_source(self) -> None:
        asked = []

        def gone():
            asked.append(None)
            return fail(StoreUnavailable("the disk is gone"))

        for question in ("version", "snapshot"):
            self.patch(self.store, question, gone)
        self.clock.advance(60)
        self.assertNotEqual(asked, [])
