"""What an operator does while calls go on: stop, change, lose packets, send calls out over a trunk."""

from collections import Counter

from twisted.internet import reactor, task

from calltrack.sip.digest import digest_response, parse_credentials, user_hash
from tests.interop.harness import BRANCH, OFFICE, InteropTestCase
from tests.interop.processes import eventually, free_port


class StopTests(InteropTestCase):
    async def test_sigterm_ends_a_call_on_both_sides_and_its_record_is_written(self):
        office = await self.target("target")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller-waits")
        await eventually(lambda: office.received("ACK"), "the call is up")
        self.engine.signal("TERM")
        for party in (caller, office):
            await party.succeeds()
        self.assertIn(await self.engine.end(), (0, -15))  # twistd ends by the signal it was sent
        record = await self.record()
        self.assertEqual((record["status"], record["hangup"]), ("ANSWER", "engine"))

    async def test_call_cut_off_by_a_kill_has_one_final_record_after_a_restart(self):
        office = await self.target("target")
        await self.route(self.address_of(office))
        await self.start_engine()
        self.call("caller-waits")
        await eventually(lambda: office.received("ACK"), "the call is up")
        await self.engine.kill()
        await self.start_engine()
        record = await self.record()
        self.assertNotEqual(record["status"], "ACTIVE")
        self.assertEqual(record["reason"], "engine-restart")


class ChangeTests(InteropTestCase):
    async def test_number_added_by_the_command_line_counts_within_a_second(self):
        await self.start_engine()
        office = await self.target("target")
        refused = self.call("caller-refused")
        await refused.succeeds()
        self.assertEqual(len(refused.received("SIP/2.0 404")), 1)
        await self.route(self.address_of(office))
        await task.deferLater(reactor, 1.0)
        await self.call().succeeds()
        await office.succeeds()
        self.assertEqual([r["status"] for r in await self.records(2)], ["ANSWER", "CHANUNAVAIL"])


class TrunkTests(InteropTestCase):
    async def test_phone_target_leaves_through_the_trunk_that_asks_for_a_password(self):
        port = free_port(OFFICE)
        outbound = f'outbound = "sip:{OFFICE}:{port}"\nusername = "glasses"\npassword = "Secret77"'
        self.configure(trunk=outbound)
        provider = await self.target("target-asks-password", port=port)
        await self.route("phone:+74951234567")
        await self.start_engine()
        await self.call().succeeds()
        await provider.succeeds()
        first, second = provider.received("INVITE")
        self.assertIn("sip:", first.first_line)
        self.assertIn("74951234567@", second.first_line)
        self.assertEqual(first.headers("Proxy-Authorization"), [])
        said = parse_credentials(second.header("Proxy-Authorization").encode())
        ha1 = user_hash(b"MD5", b"glasses", b"provider.example", b"Secret77")
        uri = second.first_line.split(" ")[1].encode()
        self.assertEqual((said[b"username"], said[b"uri"], said[b"opaque"]), (b"glasses", uri, b"x1"))
        expected = digest_response(b"MD5", ha1, b"INVITE", uri, said[b"nonce"], said[b"cnonce"], said[b"nc"])
        self.assertEqual(said[b"response"], expected)
        record = await self.record()
        self.assertEqual((record["status"], record["target"]), ("ANSWER", "phone:+74951234567"))


class LossTests(InteropTestCase):
    async def test_one_percent_loss_costs_no_call_and_no_record(self):
        calls = 200
        office = await self.target("target-lossy", "-lost", "1", calls=calls, address=BRANCH)
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller-lossy", "-lost", "1", "-r", "20", "-d", "50", calls=calls)
        await caller.succeeds()
        # Other programs may leave the engine so little of the processor that it sheds calls; those leave no record.
        shed = len({refusal.header("Call-ID") for refusal in caller.received("SIP/2.0 503")})
        self.assertLess(shed, calls // 2)
        records = await self.records(calls - shed)
        self.assertEqual(Counter(record["status"] for record in records), {"ANSWER": calls - shed})
        self.assertEqual(len({invite.header("Call-ID") for invite in office.received("INVITE")}), calls - shed)
