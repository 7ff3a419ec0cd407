"""What the API tells of visits, webhooks and events, over real HTTP."""

import json

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.web.http_headers import Headers

from calltrack.events.webhooks import Attempt, Settled
from calltrack.testing.store_contract import call_record
from calltrack.tracking.model import Lease, Visit
from calltrack.web.api import streams
from calltrack.web.api.site import OPERATIONS

from tests.interop.processes import eventually
from tests.web.case import NOW
from tests.web.test_api import APITestCase

ANSWERS = {operation.name: operation.answer for operation in OPERATIONS}


class VisitTests(APITestCase):
    async def fill(self):
        await super().fill()
        visits = [
            Visit(project=self.project.id, number=number, secret="5ec4e7", started=NOW + number, marker="direct_1")
            for number in (1, 2, 3)
        ]
        visits.append(Visit(project=self.other.id, number=9, secret="x", started=NOW, marker="m"))
        lease = Lease(number="11231234567", begun=NOW - 9000, ended=NOW - 5000, project=self.project.id,
                      scenario=self.dynamic.id, visit=2, marker="direct_1", confirmed=True)  # fmt: skip
        await self.stores.visits.write(visits, [lease], [lease], [])

    async def test_visits_are_listed_in_pages_without_their_secrets(self):
        page = await self.call("GET", "/visits?limit=2")
        self.assertEqual([one["number"] for one in page["items"]], [3, 2])
        self.assertNotIn("5ec4e7", json.dumps(page))
        rest = await self.call("GET", f"/visits?limit=2&before={page['next']}")
        self.assertEqual(([one["number"] for one in rest["items"]], rest["next"]), ([1], None))
        msgspec.convert(page, ANSWERS["listVisits"])

    async def test_one_visit_has_the_numbers_that_it_was_shown(self):
        found = await self.call("GET", "/visits/2")
        self.assertEqual([one["number"] for one in found["leases"]], ["11231234567"])
        msgspec.convert(found, ANSWERS["getVisit"])
        await self.call("GET", "/visits/9", expect=404)

    async def test_pool_is_advised_for_dynamic_scenarios_of_ones_own(self):
        advice = await self.call("GET", f"/pool-advice?scenario={self.dynamic.id}&days=1")
        self.assertEqual(advice["visitors"], 1)
        told = await self.call("GET", f"/pool-advice?scenario={self.scenario.id}", expect=422)
        self.assertEqual(told["field"], "scenario")
        other = await self.services.catalog.add_scenario("x", self.other.id, "", ("account",))
        await self.call("GET", f"/pool-advice?scenario={other.id}", expect=404)


class WebhookTests(APITestCase):
    async def test_webhook_lives_from_adding_to_removing(self):
        await self.stores.records.write([call_record("a", NOW, project=self.project.id, status="BUSY")])
        added = await self.call("POST", "/webhooks", {"url": "https://crm.example/hook", "events": ["call.*"]}, expect=201)
        self.assertTrue(added["secret"].startswith("whsec_"))
        (listed,) = (await self.call("GET", "/webhooks"))["items"]
        self.assertEqual((listed["url"], listed["secret"]), ("https://crm.example/hook", "(hidden)"))
        tried = await self.call("POST", f"/webhooks/{added['id']}/test")
        self.assertEqual((tried["status"], tried["error"], len(self.posted)), (200, "", 1))
        again = await self.call("POST", f"/webhooks/{added['id']}/replay", {"call": "a"})
        self.assertGreater(again["events"], 0)
        self.assertEqual((await self.call("GET", "/deliveries"))["items"], [])
        await self.call("DELETE", f"/webhooks/{added['id']}", expect=204)
        await self.call("POST", f"/webhooks/{added['id']}/test", expect=404)

    async def test_bodies_of_deliveries_are_for_those_who_may_see_calls(self):
        hook = await self.services.webhooks.add(self.project.id, "https://crm.example/hook")
        attempt = Attempt(webhook=hook.id, event="a.call.ended", type="call.ended", number=1, at=NOW, took=5, status=200,
                          url=hook.url, request='{"caller": "74951234567"}', response="thanks 74951234567")  # fmt: skip
        await self.stores.webhooks.settle([Settled(webhook=hook.id, seq=1, attempts=1, attempt=attempt)])
        for path in ("/deliveries", "/webhooks"):
            self.assertIn("74951234567", json.dumps(await self.call("GET", path)))
            told = await self.call("GET", path, key=await self.key_of(self.project.id, "setup:read"))
            self.assertNotIn("74951234567", json.dumps(told))
            self.assertIn("a.call.ended", json.dumps(told))

    async def test_refusals_name_the_field(self):
        for body, field in (({"url": "nothing"}, "url"), ({"url": "https://a.example", "events": ["x"]}, "events"),
                            ({"url": "https://a.example", "format": "x"}, "format")):  # fmt: skip
            told = await self.call("POST", "/webhooks", body, expect=422)
            self.assertIn(told["field"], (field, field.rstrip("s")), told)

    async def test_webhook_of_another_project_does_not_exist(self):
        other = await self.services.webhooks.add(self.other.id, "https://a.example")
        await self.call("DELETE", f"/webhooks/{other.id}", expect=404)
        await self.call("POST", f"/webhooks/{other.id}/replay", {"dead": True}, expect=404)


class EventTests(APITestCase):
    async def listen(self, query="", **headers):
        told, gone = [], Deferred()

        class Reader(Protocol):
            def dataReceived(self, data):
                told.append(data.decode())

            def connectionLost(self, reason):
                if not gone.called:
                    gone.callback(None)

        self.patch(streams, "LOOK_EVERY", 0.02)
        sent = Headers({"authorization": [f"Bearer {self.key}"], **{name.replace("_", "-"): [value] for name, value in headers.items()}})
        response = await self.agent.request(b"GET", f"{self.url}/api/v1/events{query}".encode(), sent)
        reader = Reader()
        response.deliverBody(reader)

        async def hang_up():
            count = streams.EventStream.open
            reader.transport.loseConnection()
            await gone
            await eventually(lambda: streams.EventStream.open < max(count, 1), "the stream is over")

        self.addCleanup(hang_up)
        return told

    async def test_events_of_ones_own_project_come_as_they_happen(self):
        told = await self.listen()
        await eventually(lambda: told, "the stream has begun")
        await self.stores.records.write([call_record("other", NOW, project=self.other.id, status="BUSY")])
        await self.stores.records.write([call_record("mine", NOW, project=self.project.id, status="BUSY")])
        await eventually(lambda: "call.ended" in "".join(told), "the event")
        text = "".join(told)
        self.assertIn('"mine', text)
        self.assertNotIn('"other', text)

    async def test_stream_goes_on_where_it_broke_off(self):
        await self.stores.records.write([call_record("one", NOW, project=self.project.id, status="BUSY")])
        seq = await self.stores.events.last()
        await self.stores.records.write([call_record("two", NOW, project=self.project.id, status="BUSY")])
        told = await self.listen("?type=call.ended", last_event_id=str(seq))
        await eventually(lambda: "two" in "".join(told), "what was missed")
        self.assertNotIn('"one', "".join(told))

    async def test_one_key_does_not_take_the_places_of_others(self):
        self.patch(streams, "MOST_OF_ONE", 1)
        told = await self.listen()
        await eventually(lambda: told, "the stream has begun")
        refused = await self.call("GET", "/events", expect=429)
        self.assertIn("this key has 1 streams open", refused["detail"])
        other = await self.key_of(self.other.id)
        told = await self.listen(authorization=f"Bearer {other}")
        await eventually(lambda: told, "the stream of another key")
        self.assertEqual((streams.EventStream.open, sorted(streams.EventStream.by_key.values())), (2, [1, 1]))

    async def test_stream_ends_when_its_key_is_removed(self):
        told = await self.listen()
        await eventually(lambda: told, "the stream has begun")
        (key,) = await self.services.keys.keys()
        await self.services.keys.remove(key.id)
        await eventually(lambda: streams.EventStream.open == 0, "the stream is over")

    async def test_what_a_client_does_not_read_waits_in_the_log_of_events(self):
        listening = []

        class Watched(streams.EventStream):
            open = 0

            def __init__(self, *given):
                super().__init__(*given)
                listening.append(self)

        self.patch(streams, "EventStream", Watched)
        told = await self.listen()
        await eventually(lambda: told, "the stream has begun")
        (stream,) = listening
        stream._flow.pauseProducing()
        await self.stores.records.write([call_record("mine", NOW, project=self.project.id, status="BUSY")])
        looks = stream._looks
        await eventually(lambda: stream._looks > looks + 2, "some looks")
        self.assertNotIn("mine", "".join(told))
        stream._flow.resumeProducing()
        await eventually(lambda: '"mine' in "".join(told), "the event")

    async def test_unknown_type_is_refused_by_field(self):
        told = await self.call("GET", "/events?type=call.lost", expect=422)
        self.assertEqual(told["field"], "type")
