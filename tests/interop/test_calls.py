"""One call through a real engine between two sipps: what arrives, what is relayed, what is recorded."""

import os

from twisted.trial.unittest import SkipTest

from tests.interop.harness import BRANCH, CALLER, ENGINE, MARKER, NUMBER, STRANGER, InteropTestCase


class StaticCallTests(InteropTestCase):
    async def test_static_call_carries_number_and_marker_and_leaves_one_record(self):
        office = await self.target("target")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller", "-d", "300")
        await caller.succeeds()
        await office.succeeds()

        [invite] = office.received("INVITE")
        self.assertEqual(invite.first_line, f"INVITE sip:office@{office.address}:{office.port} SIP/2.0")
        self.assertEqual(invite.header("x-roistat-phone"), NUMBER)
        self.assertEqual(invite.header("x-roistat-marker"), MARKER)
        self.assertEqual(invite.header("x-roistat"), MARKER)
        self.assertIn(f"sip:{CALLER}@{ENGINE}", invite.header("From"))
        self.assertRelayed(invite)
        [answer] = [message for message in caller.received("SIP/2.0 200") if message.body]
        self.assertRelayed(answer)
        self.assertNotIn(office.address, answer.text)
        self.assertNotIn(caller.address, invite.text)

        record = await self.record()
        self.assertEqual(record["status"], "ANSWER")
        self.assertEqual((record["caller"], record["callee"]), (CALLER, NUMBER))
        self.assertEqual(record["target"], self.address_of(office))
        self.assertEqual((record["trunk"], record["hangup"], record["sip_code"]), ("provider", "caller", 200))
        self.assertEqual(record["attribution"]["marker"], MARKER)
        self.assertLess(record["created"], record["answered"])
        self.assertLess(record["answered"], record["ended"])
        self.assertGreaterEqual(record["answer_duration"], 0.3)

    async def test_target_hangs_up_first(self):
        office = await self.target("target-hangs-up", "-d", "200")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller-waits")
        await caller.succeeds()
        await office.succeeds()
        record = await self.record()
        self.assertEqual((record["status"], record["hangup"]), ("ANSWER", "target"))

    async def test_caller_who_gives_up_cancels_the_target_and_is_recorded(self):
        office = await self.target("target-rings")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller-cancels", "-d", "200")
        await caller.succeeds()
        await office.succeeds()
        record = await self.record()
        self.assertEqual((record["status"], record["hangup"]), ("CANCEL", "caller"))
        self.assertIsNone(record["answered"])

    async def test_early_media_reaches_the_caller_before_the_answer(self):
        office = await self.target("target-early-media", "-d", "200")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call()
        await caller.succeeds()
        await office.succeeds()
        [progress] = caller.received("SIP/2.0 183")
        self.assertRelayed(progress)
        self.assertEqual((await self.record())["status"], "ANSWER")

    async def test_late_offer_goes_end_to_end(self):
        office = await self.target("target-late-offer")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller-late-offer")
        await caller.succeeds()
        await office.succeeds()
        self.assertEqual(office.received("INVITE")[0].body, "")
        self.assertRelayed(office.received("ACK")[0])
        self.assertEqual((await self.record())["status"], "ANSWER")


class HoldTests(InteropTestCase):
    async def test_caller_holds_and_takes_back(self):
        office = await self.target("target-held")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller-holds")
        await caller.succeeds()
        await office.succeeds()
        for message in office.received("INVITE"):
            self.assertRelayed(message)
        self.assertEqual(len(await self.records()), 1)

    async def test_target_holds_and_takes_back(self):
        office = await self.target("target-holds")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller-held")
        await caller.succeeds()
        await office.succeeds()
        for message in caller.received("INVITE"):
            self.assertRelayed(message)
        self.assertEqual(len(await self.records()), 1)


class RefusedCallTests(InteropTestCase):
    async def test_unknown_number_is_refused_and_recorded(self):
        await self.start_engine()
        caller = self.call("caller-refused", number="19995550000")
        await caller.succeeds()
        self.assertEqual(len(caller.received("SIP/2.0 404")), 1)
        record = await self.record()
        self.assertEqual((record["status"], record["reason"]), ("CHANUNAVAIL", "unknown-number"))

    async def test_stranger_is_refused_and_leaves_nothing(self):
        office = await self.target("target")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller-refused", address=STRANGER)
        await caller.succeeds()
        self.assertEqual(len(caller.received("SIP/2.0 403")), 1)
        self.assertEqual(await self.cli("call", "list"), [])
        self.assertEqual(office.messages(), [])


class TransportTests(InteropTestCase):
    async def test_udp_and_tcp_meet_in_every_combination(self):
        numbers = {"udp": NUMBER, "tcp": "11231234568"}
        offices = {
            "udp": await self.target("target", calls=2),
            "tcp": await self.target("target", address=BRANCH, transport="tcp", calls=2),
        }
        for transport, number in numbers.items():
            await self.route(self.address_of(offices[transport]), number=number)
        await self.start_engine()
        for inbound in numbers:
            for number in numbers.values():
                await self.call(transport=inbound, number=number).succeeds()
        for transport, office in offices.items():
            await office.succeeds()
            for invite in office.received("INVITE"):
                self.assertIn(f"SIP/2.0/{transport.upper()}", invite.header("Via"))
        self.assertEqual({record["status"] for record in await self.records(4)}, {"ANSWER"})

    async def test_caller_over_ipv4_reaches_a_target_over_ipv6(self):
        if not os.path.exists("/proc/net/if_inet6"):
            raise SkipTest("this machine has no IPv6")
        self.configure(more_addresses=("::1",))
        office = await self.target("target", address="::1")
        await self.route(self.address_of(office))
        await self.start_engine()
        await self.call().succeeds()
        await office.succeeds()
        [invite] = office.received("INVITE")
        self.assertIn("c=IN IP6 ::1\r\n", invite.body)
        self.assertEqual(invite.first_line, f"INVITE sip:office@[::1]:{office.port} SIP/2.0")
        self.assertEqual((await self.record())["status"], "ANSWER")
