"""calltrack's second backends in a real engine: records in JSON lines, routes over HTTP."""

import json
import os

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.interop.harness import CALLER, ENGINE, NUMBER, InteropTestCase


class JSONRecordsTests(InteropTestCase):
    def media(self):
        self.path = os.path.join(self.folder, "calls.jsonl")
        return f'[records]\nstore = "json-lines"\n[records.json-lines]\npath = "{self.path}"'

    async def test_a_call_is_a_line_and_the_command_line_reads_it_beside_the_engine(self):
        office = await self.target("target", calls=2)
        await self.route(self.address_of(office))
        await self.start_engine()
        for count in (1, 2):
            await self.call().succeeds()
            records = await self.records(count)
        with open(self.path, encoding="utf-8") as file:
            last = {line["id"]: line for line in map(json.loads, file)}
        self.assertEqual({line["status"] for line in last.values()}, {"ANSWER"})
        self.assertEqual(set(last), {record["id"] for record in records})
        self.assertEqual({record["callee"] for record in records}, {NUMBER})


class Routes(Resource):
    """A program of one's own that says where calls go."""

    isLeaf = True

    def __init__(self, target):
        super().__init__()
        self.target = target
        self.asked = []

    def render_GET(self, request):
        self.asked.append({key.decode(): values[0].decode() for key, values in request.args.items()})
        return json.dumps({"project": 1, "targets": [self.target], "marker": "crm_42", "visit": 42}).encode()


class HTTPScenariosTests(InteropTestCase):
    def media(self):
        port = reactor.listenTCP(0, Site(Resource()), interface=ENGINE)
        self.addCleanup(port.stopListening)
        self.site = port.factory
        url = f"http://{ENGINE}:{port.getHost().port}/route"
        return f'[scenarios]\nsource = "http"\n[scenarios.http]\nurl = "{url}"\ntimeout = 2.0\n[calls]\nlookup_budget = 2.0'

    async def test_a_call_goes_where_the_program_says_and_belongs_to_its_visit(self):
        office = await self.target("target")
        self.site.resource = routes = Routes(self.address_of(office))
        await self.cli("project", "add", "Glasses shop")
        await self.start_engine()
        await self.call().succeeds()
        [invite] = office.received("INVITE")
        self.assertEqual((invite.header("x-roistat"), invite.header("x-roistat-marker")), ("42", "crm_42"))
        self.assertEqual((routes.asked[0]["number"], routes.asked[0]["caller"]), (NUMBER, CALLER))
        record = await self.record()
        self.assertEqual((record["status"], record["attribution"]["visit"]), ("ANSWER", 42))
