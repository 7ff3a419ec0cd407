"""`kill -9` at random instants through 200 calls: records, events and deliveries are complete, and what sipp saw."""

import json
import os
import random
import sqlite3
import time
from collections import Counter, defaultdict
from contextlib import closing

from twisted.internet import reactor, task

from tests.events.servers import HOST, Endpoint, listen
from tests.interop.harness import InteropTestCase
from tests.interop.processes import eventually

CALLS, RATE, TALK, RING = 200, 12, 300, 80  # calls, calls a second, milliseconds, milliseconds
KILLS = 5
SEED = int(os.environ.get("CALLTRACK_KILL_SEED", "6"))
PREFIX = "120255501"  # of the callers' numbers; sipp's number of the call follows


class KillTests(InteropTestCase):
    timeout = 180
    sipp_patience = "120s"

    def rows(self, query, *values):
        with closing(sqlite3.connect(f"{self.folder}/calltrack.db", timeout=5)) as connection:
            return connection.execute(query, values).fetchall()

    async def killed_and_started_again(self):
        self.engine.signal("KILL")
        self.assertEqual(await self.engine.end(), -9)
        died = time.time() * 1000
        await self.start_engine()

        def closed():
            return not self.rows("SELECT id FROM call WHERE status = 'ACTIVE' AND created < ?", died)

        await eventually(closed, "no record of the dead engine is ACTIVE", 5)

    def seen(self, caller):
        """What sipp saw of each call, by the caller's number: which of its requests were answered 200."""
        answered = defaultdict(set)
        for message in caller.messages(sent=False):
            number = message.header("From").partition("<sip:")[2].partition("@")[0]
            answered[number]
            if message.first_line == "SIP/2.0 200 OK":
                answered[number].add(message.header("CSeq").split(" ")[1])
        return answered

    async def test_records_events_and_deliveries_are_complete_after_kills_at_any_instant(self):
        with open(self.config, "a") as file:
            file.write(f'[webhooks]\nallow_private = true\n[[sink]]\nname = "f"\nkind = "json-lines"\npath = "{self.folder}/e"\n')
        office = await self.target("target", "-d", str(RING), calls=100_000)
        await self.route(self.address_of(office), options=("--max-calls", "0"))
        endpoint = Endpoint()
        await self.cli("webhook", "add", f"http://{HOST}:{listen(self, endpoint)}/", "--project", "1", "--event", "call.*")
        await self.start_engine()
        chance = random.Random(SEED)
        caller = self.call("caller-survives", "-d", str(TALK), "-r", str(RATE), "-key", "caller", PREFIX, calls=CALLS)
        lapse = CALLS / RATE / KILLS
        for _ in range(KILLS):
            await task.deferLater(reactor, chance.uniform(0.05, 0.7) * lapse)
            await self.killed_and_started_again()
        await caller.end(100)

        def all_over():
            return not self.rows("SELECT id FROM call WHERE status = 'ACTIVE'")

        await eventually(all_over, "every call has ended", 15)
        records = [json.loads(value) for (value,) in self.rows("SELECT value FROM call")]
        by_caller = defaultdict(list)
        for record in records:
            by_caller[record["caller"]].append(record)
        context = f"seed {SEED}, {Counter(record['status'] + ' ' + record['reason'] for record in records)}"

        # Records: what sipp saw. An INVITE that the old engine had not answered yet may have reached the new one too.
        seen = self.seen(caller)
        self.assertGreater(sum("BYE" in answered for answered in seen.values()), CALLS // 2, context)
        self.assertGreater(sum(record["reason"] == "engine-restart" for record in records), 0, context)
        for number, answered in seen.items():
            mine = by_caller[number]
            talked = [record for record in mine if record["answered"] is not None and record["status"] == "ANSWER"]
            if "INVITE" in answered:
                self.assertEqual(len(talked), 1, f"{number} {answered} {mine} {context}")
            if "INVITE" in answered and "BYE" not in answered:
                self.assertEqual(talked[0]["reason"], "engine-restart", context)
            for record in mine:
                if record["reason"] == "engine-restart":
                    self.assertEqual(record["hangup"], "engine")
            others = [record for record in mine if record["reason"] != "engine-restart"]
            self.assertLessEqual(len(others), 1, f"{number} {answered} {mine} {context}")
        self.assertEqual(set(by_caller) - set(seen) - self.unheard(caller), set())

        # Events: exactly those that the records give rise to, each once.
        expected = set()
        for record in records:
            expected |= {record["id"] + ".started", record["id"] + ".ended"}
            if record["ringing"] is not None:
                expected.add(record["id"] + ".ringing")
            expected.add(record["id"] + (".missed" if record["answered"] is None else ".answered"))
        logged = [event for (event,) in self.rows("SELECT id FROM event WHERE type LIKE 'call.%'")]
        self.assertEqual(Counter(logged), Counter(expected), context)

        # Deliveries: all of them, in order per call, duplicates with the same id and the same body.
        def delivered():
            return expected <= {request.headers["webhook-id"] for request in endpoint.received}

        await eventually(delivered, "every event is delivered", 30)
        bodies, order = defaultdict(set), defaultdict(list)
        for request in endpoint.received:
            event = request.headers["webhook-id"]
            bodies[event].add(request.body)
            fields = json.loads(request.body)
            if event not in order[fields["id"]]:
                order[fields["id"]].append(event)
        self.assertEqual(set(bodies), expected)
        self.assertEqual([event for event, different in bodies.items() if len(different) > 1], [])
        places = {event: place for place, event in enumerate(logged)}
        for events in order.values():
            self.assertEqual(events, sorted(events, key=places.__getitem__))

        def written():
            with open(f"{self.folder}/e") as file:
                return expected <= {json.loads(line)["event"]["id"] for line in file}

        await eventually(written, "every event is in the file", 10)

    def unheard(self, caller):
        """Callers whose INVITE went out and to whom nothing was answered."""
        sent = {message.header("From").partition("<sip:")[2].partition("@")[0] for message in caller.messages(sent=True)}
        return sent - set(self.seen(caller))
