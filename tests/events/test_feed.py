"""Sinks and the journal: each at its own pace, none at another's cost."""

import threading

from twisted.internet import defer, reactor
from twisted.trial.unittest import TestCase

from calltrack.errors import StoreUnavailable
from calltrack.events.feed import LAST_RETRY, LOOK, PAGE, PATIENCE, Feed
from calltrack.events.journal import MOST_WAITING, EventJournal
from calltrack.storage.url import open_stores
from calltrack.timers import Timers
from tests.events.case import EventTestCase, Remembering, trunk_events


class FeedTests(EventTestCase):
    def feed(self, sink, name="sink:a", **options):
        feed = Feed(name, sink, self.events, self.clock, self.timers, **options)
        self.events.observers.append(feed.wake)
        self.addCleanup(lambda: defer.Deferred.fromCoroutine(feed.stop()))
        feed.start()
        return feed

    def test_sink_gets_what_happens_from_its_first_start_on_in_order(self):
        self.append("before")
        sink = Remembering()
        self.feed(sink)
        names = [str(number) for number in range(PAGE + 3)]
        self.append(*names)
        self.run_for(1)
        self.assertEqual(sink.taken, names)
        self.assertEqual(sink.started, 1)

    def test_sink_goes_on_where_it_was_after_a_restart(self):
        first = self.feed(Remembering())
        self.append("a")
        self.run_for(1)
        self.successResultOf(defer.Deferred.fromCoroutine(first.stop()))
        self.append("b", "c")
        sink = Remembering()
        self.feed(sink)
        self.run_for(1)
        self.assertEqual(sink.taken, ["b", "c"])

    def test_what_another_process_adds_is_found(self):
        sink = Remembering()
        self.feed(sink)
        self.run_for(1)
        self.events.observers.clear()
        self.append("a")
        self.run_for(LOOK + 0.2)
        self.assertEqual(sink.taken, ["a"])

    def test_failing_sink_is_given_the_same_again_later_and_later_and_the_others_do_not_notice(self):
        bad = Remembering(*(OSError("no room") for _ in range(40)))
        good = Remembering()
        feed = self.feed(bad, "sink:bad")
        self.feed(good, "sink:good")
        self.append("a", "b")
        self.run_for(0.2)
        self.assertEqual((good.taken, bad.taken), (["a", "b"], []))
        self.assertIn("no room", feed.failing)
        self.run_for(60)
        self.assertIn(bad.asked, range(5, 9))
        self.append("c")
        self.run_for(40 * LAST_RETRY * 1.3, step=5)
        self.assertEqual(bad.taken, ["a", "b", "c"])
        self.assertEqual(feed.failing, "")

    def test_bug_of_a_sink_is_logged_with_its_traceback_and_tried_again(self):
        sink = Remembering(ZeroDivisionError("bug"))
        self.feed(sink)
        self.append("a")
        self.run_for(3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(sink.taken, ["a"])

    def test_sink_that_does_not_answer_is_given_up_for_the_moment(self):
        cancelled = []
        silent = Remembering(defer.Deferred(lambda _: cancelled.append(1)))
        feed = self.feed(silent)
        self.append("a")
        self.run_for(PATIENCE - 1, step=1)
        self.assertEqual((cancelled, silent.asked), ([], 1))
        self.run_for(1.3)
        self.assertEqual(cancelled, [1])
        self.assertIn("did not answer", feed.failing)
        self.run_for(5, step=1)
        self.assertEqual(silent.taken, ["a"])

    def test_sink_chooses_its_events(self):
        sink = Remembering()
        self.feed(sink, types=["trunk.down"])
        self.append("a")
        self.run_for(2)
        self.assertEqual((sink.taken, sink.asked), ([], 0))

    def test_store_that_is_away_is_asked_again(self):
        sink = Remembering()
        read = self.events.read
        self.patch(self.events, "read", lambda *args, **named: defer.fail(StoreUnavailable("locked")))
        self.feed(sink)
        self.append("a")
        self.run_for(2)
        self.patch(self.events, "read", read)
        self.run_for(5)
        self.assertEqual(sink.taken, ["a"])


class ThreadedFeedTests(TestCase):
    """With the real reactor: a sink that blocks its thread."""

    async def test_sink_that_blocks_hurts_nobody_and_gets_its_events_when_it_comes_back(self):
        released, taken, threads = threading.Event(), defer.Deferred(), []

        class Blocking(Remembering):
            threaded = True

            def deliver(self, events):
                threads.append(threading.current_thread())
                released.wait()
                self.taken += [one.event.id for one in events]
                reactor.callFromThread(lambda: taken.called or taken.callback(None))

        self.addCleanup(released.set)
        store = open_stores("memory:", None).events
        feeds, sinks = [], [Blocking(), Remembering()]
        timers = Timers(reactor)
        self.addCleanup(timers.stop)
        for number, sink in enumerate(sinks):
            feed = Feed(f"sink:{number}", sink, store, reactor, timers, patience=0.05)
            store.observers.append(feed.wake)
            self.addCleanup(lambda feed=feed: defer.Deferred.fromCoroutine(feed.stop()))
            feeds.append(feed)
            feed.start()
        good = defer.Deferred()
        sinks[1].deliver = lambda events: good.callback([one.event.id for one in events])
        failing = defer.Deferred()
        failed = feeds[0]._failed
        feeds[0]._failed = lambda failure: (failed(failure), failing.called or failing.callback(None))
        await store.append(trunk_events("a"))
        self.assertEqual(await good, ["a"])
        await failing
        self.assertIn("did not answer", feeds[0].failing)
        released.set()
        await taken
        self.assertEqual(sinks[0].taken[0], "a")
        self.assertIsNot(threads[0], threading.main_thread())


class JournalTests(EventTestCase):
    def setUp(self):
        super().setUp()
        self.journal = EventJournal(self.events, self.timers)

    def ids(self):
        return [one.event.id for one in self.successResultOf(self.events.read(0))[1]]

    def test_published_event_is_in_the_log(self):
        self.journal.publish(trunk_events("a")[0])
        self.assertEqual(self.ids(), ["a"])

    def test_events_wait_for_a_store_that_is_away_and_keep_their_order(self):
        append = self.events.append
        self.patch(self.events, "append", lambda events: defer.fail(StoreUnavailable("locked")))
        for event in trunk_events("a", "b", "c"):
            self.journal.publish(event)
        self.assertEqual(self.ids(), [])
        self.patch(self.events, "append", append)
        self.run_for(1.2)
        self.assertEqual(self.ids(), ["a", "b", "c"])

    def test_events_that_come_while_one_is_written_go_together(self):
        batches, writing = [], defer.Deferred()

        def append(events):
            batches.append([event.id for event in events])
            return writing if len(batches) == 1 else defer.succeed(None)

        self.patch(self.events, "append", append)
        for event in trunk_events("a", "b", "c"):
            self.journal.publish(event)
        stopped = self.journal.stop()
        self.assertNoResult(stopped)
        writing.callback(None)
        self.assertEqual(batches, [["a"], ["b", "c"]])
        self.successResultOf(stopped)

    def test_waiting_events_are_bounded(self):
        self.patch(self.events, "append", lambda events: defer.Deferred())
        for event in trunk_events(*map(str, range(MOST_WAITING + 10))):
            self.journal.publish(event)
        self.assertEqual(len(self.journal._waiting), MOST_WAITING)

    def test_stopping_without_a_store_ends_all_the_same(self):
        self.patch(self.events, "append", lambda events: defer.fail(StoreUnavailable("locked")))
        self.journal.publish(trunk_events("a")[0])
        self.successResultOf(self.journal.stop())
