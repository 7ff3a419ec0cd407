"""Several targets behind one number: who rings when, who is told what, what is recorded."""

from tests.interop.harness import BRANCH, InteropTestCase


class InOrderTests(InteropTestCase):
    async def test_target_that_cannot_be_reached_is_followed_by_the_next(self):
        office = await self.target("target-unavailable")
        branch = await self.target("target", address=BRANCH)
        await self.route(self.address_of(office), self.address_of(branch))
        await self.start_engine()
        for party in (self.call(), office, branch):
            await party.succeeds()
        record = await self.record()
        self.assertEqual((record["status"], record["target"]), ("ANSWER", self.address_of(branch)))

    async def test_target_that_does_not_answer_is_cancelled_and_followed_by_the_next(self):
        office = await self.target("target-rings")
        branch = await self.target("target", address=BRANCH)
        await self.route(self.address_of(office), self.address_of(branch), options=("--ring-time", "1"))
        await self.start_engine()
        for party in (self.call(), office, branch):
            await party.succeeds()
        record = await self.record()
        self.assertEqual((record["status"], record["target"]), ("ANSWER", self.address_of(branch)))
        self.assertGreaterEqual(record["waiting_time"], 1.0)

    async def test_busy_target_ends_the_hunt(self):
        office = await self.target("target-busy")
        branch = await self.target("target", address=BRANCH)
        await self.route(self.address_of(office), self.address_of(branch))
        await self.start_engine()
        caller = self.call("caller-refused")
        for party in (caller, office):
            await party.succeeds()
        self.assertEqual(len(caller.received("SIP/2.0 486")), 1)
        record = await self.record()
        self.assertEqual((record["status"], record["sip_code"]), ("BUSY", 486))
        self.assertEqual(branch.messages(), [])

    async def test_nobody_answering_in_ring_time_is_no_answer(self):
        office = await self.target("target-rings")
        await self.route(self.address_of(office), options=("--ring-time", "1"))
        await self.start_engine()
        caller = self.call("caller-refused")
        for party in (caller, office):
            await party.succeeds()
        record = await self.record()
        self.assertEqual(record["status"], "NOANSWER")
        self.assertIsNone(record["answered"])
        self.assertIsNotNone(record["ringing"])


class AllAtOnceTests(InteropTestCase):
    async def test_first_answer_wins_and_the_others_hear_why_they_are_cancelled(self):
        office = await self.target("target-rings")
        branch = await self.target("target", "-d", "300", address=BRANCH)
        await self.route(self.address_of(office), self.address_of(branch), options=("--ring", "all"))
        await self.start_engine()
        for party in (self.call(), office, branch):
            await party.succeeds()
        reason = office.received("CANCEL")[0].header("Reason")
        self.assertEqual(reason, 'SIP;cause=200;text="Call completed elsewhere"')
        record = await self.record()
        self.assertEqual((record["status"], record["target"]), ("ANSWER", self.address_of(branch)))
