"""`calltrack webhook` as it is typed."""

import json
import os

from twisted.internet import reactor

from calltrack.events.webhooks import Attempt, Settled
from calltrack.storage.url import open_stores
from calltrack.testing.store_contract import call_record
from tests.cli.test_commands import CommandTestCase
from tests.events.servers import HOST, Endpoint, listen

REFUSED = {
    "validationMessages": [
        {"fieldPath": "events[0].params.marker", "description": "is too long", "validationCode": "VALUE_INVALID"},
        {"fieldPath": "client_id", "description": "is missing", "validationCode": "VALUE_REQUIRED"},
    ]
}


class WebhookCommandTests(CommandTestCase):
    async def added(self, url="https://crm.example/calls", *more):
        await self.json("project", "add", "Glasses shop")
        return await self.json("webhook", "add", url, "--project", "1", *more)

    async def test_secret_is_shown_when_it_is_added_and_not_later(self):
        added = await self.added("https://crm.example/calls", "--event", "call.*", "--header", "X-Key: s3cret")
        self.assertTrue(added["secret"].startswith("whsec_"))
        self.assertEqual((added["headers"], len(added["events"])), ({"X-Key": "s3cret"}, 5))
        (listed,) = await self.json("webhook", "list")
        self.assertEqual((listed["url"], listed["pending"], listed["dead"], listed["last"]), (added["url"], 0, 0, None))
        for out in (json.dumps(listed), (await self.run_command("webhook", "list"))[0]):
            self.assertNotIn("s3cret", out)
            self.assertNotIn(added["secret"], out)

    async def test_what_is_wrong_is_told_by_its_name(self):
        await self.added()
        for args, words in (
            (("ftp://a/", "--project", "1"), "url: ftp://a/ is no address"),
            (("https://a/", "--project", "9"), "project 9 does not exist"),
            (("https://a/", "--project", "1", "--event", "call.whistled"), "call.started"),
            (("https://a/", "--project", "1", "--header", "Host: b"), "header: Host is set by calltrack"),
            (("--project", "1", "--format", "ga4"), "measurement_id"),
            (("https://a/", "--project", "1", "--format", "template"), "template"),
        ):
            self.assertIn(words, await self.refused("webhook", "add", *args))
        self.assertIn("webhook 7 does not exist", await self.refused("webhook", "remove", "7"))
        self.assertIn("choose by", await self.refused("webhook", "replay", "1"))

    async def test_log_and_replay(self):
        hook = await self.added()
        await self.write_calls(call_record("c1", status="BUSY", ended=1_795_457_009_000))
        stores = open_stores(f"sqlite:{self.database}", reactor)
        self.addCleanup(stores.close)
        webhook = (await stores.webhooks.snapshot())[1][0]
        first, second = await stores.webhooks.refill(webhook, 0, 10, 0)
        tried = {"webhook": hook["id"], "number": 1, "at": 1_795_457_009_500, "took": 12, "url": hook["url"], "request": "{}"}
        outcomes = [
            Settled(webhook=1, seq=first.seq, attempts=1, attempt=Attempt(event="c1.started", type="call.started", status=200, **tried)),
            Settled(webhook=1, seq=second.seq, attempts=1, dead=True,
                    attempt=Attempt(event="c1.ended", type="call.ended", status=500, error="answered 500", response="\x1b[31moops", **tried)),
        ]  # fmt: skip
        await stores.webhooks.settle(outcomes)
        told = await self.json("webhook", "log", "1")
        self.assertEqual([(one["event"], one["delivered"], one["status"]) for one in told], [("c1.ended", False, 500), ("c1.started", True, 200)])
        self.assertEqual([one["event"] for one in await self.json("webhook", "log", "--failed")], ["c1.ended"])
        self.assertEqual(await self.json("webhook", "log", "--call", "other"), [])
        self.assertEqual(len(await self.json("webhook", "log", "--project", "1", "--limit", "1")), 1)
        out, _, _ = await self.run_command("webhook", "log")
        self.assertIn("answered 500", out)
        self.assertNotIn("\x1b", out)
        self.assertEqual((await self.json("webhook", "list"))[0]["dead"], 1)
        self.assertEqual((await self.json("webhook", "replay", "1", "--dead"))["events"], 1)
        self.assertEqual((await self.json("webhook", "replay", "1", "--call", "c1"))["events"], 2)
        self.assertEqual((await self.json("webhook", "list"))[0]["pending"], 2)

    async def test_removed_webhook_is_gone_with_what_it_had_not_taken(self):
        await self.added()
        self.assertEqual(await self.json("webhook", "remove", "1"), {"removed": 1})
        self.assertEqual(await self.json("webhook", "list"), [])

    async def test_google_analytics_explains_each_field_that_it_would_not_take(self):
        self.configure("[webhooks]\nallow_private = true\n")
        debug = Endpoint(200, body=json.dumps(REFUSED).encode())
        url = f"http://{HOST}:{listen(self, debug)}/mp/collect"
        await self.added(url, "--format", "ga4", "--measurement-id", "G-ABC123", "--api-secret", "s")
        out, err, status = await self.run_command("webhook", "test", "1")
        self.assertEqual(status, 1, err)
        self.assertIn("wrong: events[0].params.marker: is too long (VALUE_INVALID)", out)
        self.assertIn("wrong: client_id: is missing (VALUE_REQUIRED)", out)
        self.assertTrue(debug.received[0].path.startswith("/debug/mp/collect?"))

    async def test_template_is_tried_when_it_is_added(self):
        path = os.path.join(os.path.abspath(self.home), "lead.json")
        with open(path, "w") as file:
            file.write('{"phone": {{ caller }}, "colour": {{ colour }}}')
        await self.json("project", "add", "Glasses shop")
        err = await self.refused(
            "webhook", "add", "https://a/", "--project", "1", "--format", "template", "--template", path
        )
        self.assertIn("colour is no field", err)
