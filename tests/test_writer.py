"""The thread that writes: in order, bounded, and never the reason why a process does not end."""

from threading import Event, get_ident

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from calltrack.writer import Writer


class WriterTests(TestCase):
    timeout = 20

    def setUp(self):
        self.writer = Writer(reactor, "a test's writer")

    async def test_work_is_done_in_order_in_one_other_thread(self):
        threads, order = set(), []

        def work(number):
            threads.add(get_ident())
            order.append(number)
            return number * 2

        results = await gatherResults([self.writer.do(work, number) for number in range(50)])
        self.assertEqual((order, results), (list(range(50)), [number * 2 for number in range(50)]))
        self.assertEqual((len(threads), get_ident() in threads), (1, False))
        self.assertTrue(await self.writer.stop())

    async def test_fault_of_one_work_is_its_own(self):
        failing = self.writer.do(lambda: 1 / 0)
        self.assertEqual(await self.writer.do(lambda: "well"), "well")
        self.failureResultOf(failing, ZeroDivisionError)
        await self.writer.stop()

    async def test_it_is_full_while_more_waits_than_it_may(self):
        writer, go = Writer(reactor, "a test's writer", limit=100), Event()
        self.addCleanup(go.set)
        waiting = [writer.do(go.wait, size=60), writer.do(go.wait, size=39)]
        self.assertFalse(writer.full)
        waiting.append(writer.do(go.wait, size=1))
        self.assertTrue(writer.full)
        go.set()
        await gatherResults(waiting)
        self.assertFalse(writer.full)
        await writer.stop()

    async def test_stopping_waits_for_what_was_given_and_not_for_ever(self):
        go, done = Event(), []
        self.addCleanup(go.set)
        self.writer.do(go.wait)
        self.writer.do(done.append, 1)
        self.assertFalse(await self.writer.stop(0.05))
        go.set()
        writer = Writer(reactor, "a test's writer")
        writer.do(done.append, 2)
        self.assertTrue(await writer.stop())
        self.assertIn(2, done)

    async def test_writer_that_never_worked_stops_at_once(self):
        self.assertTrue(await self.writer.stop())
