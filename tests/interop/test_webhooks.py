"""Webhooks of a real engine: calls between two sipps, posted to endpoints with real sockets, good ones and bad ones."""

import json

from tests.events.servers import HOST, Endpoint, RawFactory, listen
from tests.interop.harness import CALLER, MARKER, NUMBER, InteropTestCase
from tests.interop.processes import eventually, free_port


class WebhookTests(InteropTestCase):
    def allow_private(self):
        with open(self.config, "a") as file:
            file.write("[webhooks]\nallow_private = true\ntimeout = 1\n")

    async def prepare(self, calls=1):
        self.office = await self.target("target", calls=calls)
        await self.route(self.address_of(self.office))

    async def hook(self, port, *more):
        return await self.cli("webhook", "add", f"http://{HOST}:{port}/hook?k=v", "--project", "1", *more)

    async def attempts(self, hook):
        return (await self.cli("webhook", "log", str(hook["id"])))[::-1]

    async def test_call_is_told_at_its_start_and_end_with_roistats_names_signed(self):
        self.allow_private()
        await self.prepare()
        endpoint = Endpoint()
        await self.hook(listen(self, endpoint), "--header", "X-Shop: glasses")
        await self.start_engine()
        await self.call("caller", "-d", "300").succeeds()
        await endpoint.count(2)
        record = await self.record()
        start, end = (json.loads(request.body) for request in endpoint.received)
        for fields in (start, end):
            self.assertEqual((fields["id"], fields["caller"], fields["callee"]), (record["id"], CALLER, NUMBER))
            self.assertEqual((fields["marker"], fields["visit_id"]), (MARKER, None))
        self.assertEqual((start["event"], end["event"], end["status"]), ("call.started", "call.ended", "ANSWER"))
        self.assertNotIn("status", start)
        self.assertEqual(end["new_caller"], True)
        request = endpoint.received[1]
        self.assertEqual((request.path, request.headers["x-shop"]), ("/hook?k=v", "glasses"))
        self.assertEqual(request.headers["webhook-id"], record["id"] + ".ended")
        self.assertTrue(request.headers["webhook-signature"].startswith("v1,"))

    async def test_slow_lying_redirecting_and_dead_endpoints_cost_the_good_one_nothing(self):
        self.allow_private()
        await self.prepare()
        good, elsewhere = Endpoint(), Endpoint()
        moved = Endpoint(302, headers=[("location", f"http://{HOST}:{listen(self, elsewhere)}/")])
        lying = RawFactory(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeg", "reset")
        places = {
            "slow": listen(self, RawFactory(b"", "wait")),
            "lying": listen(self, lying),
            "moved": listen(self, moved),
            "dead": free_port(HOST),
            "good": listen(self, good),
        }
        hooks = {name: await self.hook(port, "--event", "call.ended") for name, port in places.items()}
        await self.start_engine()
        await self.call("caller", "-d", "100").succeeds()
        await good.count(1)

        async def all_tried():
            return all([await self.attempts(hook) for hook in hooks.values()])

        await eventually(all_tried, "every endpoint was tried", 15)
        told = {name: (await self.attempts(hook))[0] for name, hook in hooks.items()}
        self.assertTrue(told["good"]["delivered"])
        for name, words in (
            ("slow", "no whole answer within 1 s"),
            ("lying", "connection was lost"),
            ("moved", "redirects are not followed"),
            ("dead", "no connection to"),
        ):
            self.assertIn(words, told[name]["error"], name)
        self.assertEqual(elsewhere.received, [])
        self.assertTrue(all(hook["pending"] == 1 for hook in (await self.cli("webhook", "list"))[:4]))

    async def test_endpoint_that_comes_back_gets_what_it_missed_in_order_per_call(self):
        self.allow_private()
        await self.prepare(calls=3)
        port = free_port(HOST)
        hook = await self.hook(port)
        await self.start_engine()
        await self.call("caller", "-d", "50", "-r", "10", calls=3).succeeds()

        async def tried():
            return await self.attempts(hook)

        await eventually(tried, "the dead endpoint was tried", 10)
        endpoint = Endpoint()
        listen(self, endpoint, port)
        await endpoint.count(6)
        seen = {}
        for request in endpoint.received:
            fields = json.loads(request.body)
            seen.setdefault(fields["id"], []).append(fields["event"])
        records = await self.records(3)
        self.assertEqual(seen, {record["id"]: ["call.started", "call.ended"] for record in records})

    async def test_private_address_is_refused_and_the_log_says_how_to_allow_it(self):
        await self.prepare()
        endpoint = Endpoint()
        hook = await self.hook(listen(self, endpoint))
        await self.start_engine()
        await self.call("caller", "-d", "50").succeeds()

        async def tried():
            return await self.attempts(hook)

        [attempt, *_] = await eventually(tried, "the endpoint was judged", 10)
        self.assertIn("allow_private", attempt["error"])
        self.assertEqual(endpoint.received, [])

    async def test_replay_of_a_call_delivers_it_again_with_the_same_ids(self):
        self.allow_private()
        await self.prepare()
        endpoint = Endpoint()
        hook = await self.hook(listen(self, endpoint))
        await self.start_engine()
        await self.call("caller", "-d", "50").succeeds()
        await endpoint.count(2)
        record = await self.record()
        self.assertEqual((await self.cli("webhook", "replay", str(hook["id"]), "--call", record["id"]))["events"], 2)
        await endpoint.count(4)
        ids = [request.headers["webhook-id"] for request in endpoint.received]
        self.assertEqual(ids[:2], ids[2:])

    async def test_trying_a_webhook_needs_no_engine(self):
        self.allow_private()
        await self.cli("project", "add", "Glasses shop")
        endpoint = Endpoint()
        hook = await self.hook(listen(self, endpoint))
        told = await self.cli("webhook", "test", str(hook["id"]))
        self.assertEqual((told["status"], told["delivered"], told["problems"]), (200, True, []))
        self.assertEqual(json.loads(endpoint.received[0].body)["event"], "call.ended")

    async def test_google_analytics_and_templates_get_their_own_bodies(self):
        self.allow_private()
        await self.prepare()
        analytics, crm = Endpoint(204, body=b""), Endpoint()
        stream = ("--format", "ga4", "--measurement-id", "G-ABC123", "--api-secret", "key")
        await self.cli("webhook", "add", f"http://{HOST}:{listen(self, analytics)}/mp/collect", "--project", "1", *stream)
        template = self.config + ".template"
        with open(template, "w") as file:
            file.write("phone={{ caller }}&source={{ marker }}&result={{ status }}")
        form = ("--format", "template", "--template", template, "--content-type", "application/x-www-form-urlencoded")
        await self.hook(listen(self, crm), "--event", "call.ended", *form)
        await self.start_engine()
        await self.call("caller", "-d", "50").succeeds()
        await analytics.count(1)
        await crm.count(1)
        self.assertEqual(analytics.received[0].path, "/mp/collect?measurement_id=G-ABC123&api_secret=key")
        [event] = json.loads(analytics.received[0].body)["events"]
        self.assertEqual((event["name"], event["params"]["call_status"]), ("call_ended", "ANSWER"))
        expected = f"phone={CALLER}&source=direct_search_1234567_buy%20glasses&result=ANSWER"
        self.assertEqual(crm.received[0].body.decode(), expected)
