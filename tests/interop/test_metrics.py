"""What a monitoring system reads of a real engine after real calls."""

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.web.client import Agent, readBody

from tests.interop.harness import InteropTestCase
from tests.interop.processes import eventually, free_port


class MetricsTests(InteropTestCase):
    async def read(self) -> dict[str, float]:
        """Samples by name and label values."""
        response = await Agent(reactor).request(b"GET", f"http://{self.web}/metrics".encode())
        text = (await readBody(response)).decode()
        self.assertEqual(response.code, 200, text)
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {" ".join((sample.name, *sample.labels.values())): sample.value for sample in samples}

    async def test_calls_are_counted_while_they_last_and_when_they_are_over(self):
        office = await self.target("target")
        await self.route(self.address_of(office))
        await self.start_engine()
        before = await self.read()
        self.assertEqual((before["calltrack_calls_active"], before["calltrack_calls_total ANSWER"]), (0, 0))
        refused = self.call("caller-refused", number="19998887766")
        await refused.succeeds()
        caller = self.call("caller", "-d", "1000")
        await eventually(lambda: office.received("ACK"), "the call is up")
        during = await self.read()
        self.assertEqual((during["calltrack_calls_active"], during["calltrack_relay_sessions"]), (1, 1))
        used = [value for name, value in during.items() if "port_pairs" in name and name.endswith("used")]
        self.assertEqual(sum(used), 2)
        for party in (caller, office):
            await party.succeeds()
        await self.records(2)
        after = await self.read()
        self.assertEqual(after["calltrack_calls_active"], 0)
        self.assertEqual((after["calltrack_calls_total ANSWER"], after["calltrack_calls_total CHANUNAVAIL"]), (1, 1))
        self.assertEqual(after["calltrack_answer_seizure_ratio"], 0.5)
        self.assertGreaterEqual(after["calltrack_average_call_seconds"], 1)
        self.assertEqual(after["calltrack_call_setup_seconds_count"], 1)
        self.assertEqual(after["calltrack_sip_parse_errors_total message"], 0)
        self.assertGreater(after["calltrack_event_loop_lag_seconds_count"], 5)
        self.assertGreaterEqual(after["calltrack_invites_total served trunk"], 2)
        lost = [f"calltrack_calls_refused_total {why}" for why in ("overload", "stale", "full")]
        lost += [f"calltrack_invites_total {what} {who}" for who in ("trunk", "stranger") for what in ("refused", "stale", "full")]
        self.assertEqual([after[name] for name in lost], [0] * len(lost))
        self.assertGreater(after["process_resident_memory_bytes"], 10_000_000)

    async def test_age_of_what_a_webhook_has_not_taken_is_told(self):
        with open(self.config, "a") as file:
            file.write(f'[webhooks]\nallow_private = true\n[[sink]]\nname = "log"\nkind = "json-lines"\npath = "{self.folder}/events"\n')
        office = await self.target("target")
        await self.route(self.address_of(office))
        host = self.web.partition(":")[0]
        hook = await self.cli("webhook", "add", f"http://{host}:{free_port(host)}/", "--project", "1")
        await self.start_engine()
        await self.call().succeeds()
        waiting, age = (f"calltrack_outbox_{what} {hook['id']}" for what in ("waiting", "age_seconds"))

        async def grows():
            seen = await self.read()
            return seen[waiting] >= 2 and seen[age] > 0.5 and seen["calltrack_sink_events_total log"] >= 3

        await eventually(grows, "what waits for the webhook gets older")
        seen = await self.read()
        self.assertEqual((seen["calltrack_sink_failing log"], seen["calltrack_sink_lost_total log"]), (0, 0))
        self.assertIn("calltrack_sink_age_seconds log", seen)

    async def test_what_is_no_sip_is_counted(self):
        await self.start_engine()
        port = reactor.listenUDP(0, DatagramProtocol(), interface=self.web.partition(":")[0])
        self.addCleanup(port.stopListening)
        port.write(b"hello\r\n\r\n", (self.web.partition(":")[0], self.sip_port))

        async def counted():
            return (await self.read())["calltrack_sip_parse_errors_total message"] == 1

        await eventually(counted, "the garbage is counted")
