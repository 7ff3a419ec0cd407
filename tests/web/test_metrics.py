"""What is counted, and for whom: figures of calls with a clock of the test, the page over HTTP."""

from ipaddress import ip_network
from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from calltrack.tracking.model import CallRecord, MediaFigures, StreamFigures
from calltrack.web.metrics import Metrics, MetricsPage, counter, gauge, histogram
from calltrack.web.metrics_calls import MINUTES, SAMPLE, CallFigures, Histogram, Lateness


def record(status="ANSWER", ringing=200, answered=3000, talk=60.0, media=MediaFigures()) -> CallRecord:
    """A call that began at 1,000,000 ms; `ringing` and `answered` are milliseconds after that."""
    began = 1_000_000
    return CallRecord(
        id="a",
        created=began,
        ringing=None if ringing is None else began + ringing,
        answered=None if answered is None else began + answered,
        ended=began + 70_000,
        status=status,
        answer_duration=talk if answered is not None else 0.0,
        media=media,
    )


class SinkTests(SynchronousTestCase):
    def test_sink_that_is_behind_shows_the_age_of_its_oldest_event_and_what_it_lost(self):
        behind = SimpleNamespace(name="sink:a", delivered=5, failing="no room", oldest=1_000_000, lost=7)
        up_to_date = SimpleNamespace(name="sink:b", delivered=9, failing="", oldest=None, lost=0)
        parts = SimpleNamespace(
            reactor=Clock(),
            ledger=SimpleNamespace(waiting=0, lost=0),
            events=SimpleNamespace(feeds=[behind, up_to_date], outbox=SimpleNamespace(lines={})),
        )
        families = {family.name: family for family in Metrics(parts, "1", lambda: 1_090_000)._of_stores()}

        def told(name):
            return {sample.labels["sink"]: sample.value for sample in families[name].samples}

        self.assertEqual(told("calltrack_sink_age_seconds"), {"a": 90.0, "b": 0.0})
        self.assertEqual(told("calltrack_sink_lost"), {"a": 7, "b": 0})


class CallFiguresTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.clock.advance(10_000)
        self.figures = CallFigures(self.clock.seconds)

    def test_calls_are_counted_by_status_and_media_by_party(self):
        media = MediaFigures(
            caller=StreamFigures(packets=100, lost=2), target=StreamFigures(packets=90), verdict="both-ways"
        )
        self.figures.ended(record(media=media))
        self.figures.ended(record("BUSY", answered=None))
        self.assertEqual(self.figures.statuses, {"ANSWER": 1, "BUSY": 1})
        self.assertEqual((self.figures.packets, self.figures.lost), ({"caller": 100, "target": 90}, {"caller": 2, "target": 0}))
        self.assertEqual(self.figures.verdicts, {"both-ways": 1})
        self.assertEqual(self.figures.talked, 60.0)

    def test_set_up_is_over_when_it_rings_or_is_answered_without_ringing(self):
        self.figures.ended(record(ringing=200, answered=3000))
        self.figures.ended(record(ringing=None, answered=700))
        self.figures.ended(record("CHANUNAVAIL", ringing=None, answered=None))
        setup = dict(self.figures.setup.cumulative())
        self.assertEqual((setup["0.1"], setup["0.25"], setup["0.5"], setup["1.0"], setup["+Inf"]), (0, 1, 1, 2, 2))
        self.assertAlmostEqual(self.figures.setup.sum, 0.9)
        self.assertEqual(dict(self.figures.answer.cumulative())["+Inf"], 2)

    def test_ratios_are_of_the_last_fifteen_minutes(self):
        self.assertEqual(self.figures.lately(), (None, None))
        self.figures.ended(record("NOANSWER", answered=None))
        self.assertEqual(self.figures.lately(), (0.0, None))
        self.clock.advance(60)
        for talk in (30.0, 90.0):
            self.figures.ended(record(talk=talk))
        self.assertEqual(self.figures.lately(), (2 / 3, 60.0))
        self.clock.advance((MINUTES - 1) * 60)
        self.assertEqual(self.figures.lately(), (1.0, 60.0))
        self.clock.advance(60)
        self.assertEqual(self.figures.lately(), (None, None))

    def test_memory_of_ratios_is_bounded(self):
        for _ in range(100):
            self.figures.ended(record())
            self.clock.advance(60)
        self.assertEqual(len(self.figures._lately), MINUTES)


class LatenessTests(SynchronousTestCase):
    def test_lateness_of_the_reactor_is_what_passed_beyond_the_time_asked_for(self):
        clock = Clock()
        lateness = Lateness(clock)
        lateness.start()
        clock.advance(SAMPLE)
        clock.advance(SAMPLE + 0.3)
        seen = dict(lateness.seen.cumulative())
        self.assertEqual((seen["0.001"], seen["0.25"], seen["0.5"], seen["+Inf"]), (1, 1, 2, 2))
        lateness.stop()
        self.assertEqual(clock.getDelayedCalls(), [])


class PageTests(SynchronousTestCase):
    def page(self, *metrics) -> MetricsPage:
        return MetricsPage(lambda: metrics, (ip_network("127.0.0.0/8"),), (ip_network("127.0.0.1/32"),))

    def ask(self, page: MetricsPage, forwarded: str = "", accept: str = "") -> tuple[DummyRequest, str]:
        request = DummyRequest([b"metrics"])
        request.getClientAddress = lambda: type("Address", (), {"host": "127.0.0.1"})
        for name, value in (("x-forwarded-for", forwarded), ("accept", accept)):
            if value:
                request.requestHeaders.setRawHeaders(name, [value])
        request.getHeader = lambda name: (request.requestHeaders.getRawHeaders(name) or [None])[0]
        return request, page.render_GET(request).decode()

    def test_page_is_what_prometheus_reads(self):
        times = Histogram((0.5, 1.0))
        for value in (0.2, 0.7, 5.0):
            times.add(value)
        page = self.page(
            gauge("a", "A gauge", 5),
            gauge("nothing", "Without a value", None),
            counter("b", "A counter", [(("x\ny\"z\\",), 2)], ("label",)),
            histogram("c", "A histogram", times),
        )
        request, text = self.ask(page)
        self.assertTrue(request.responseHeaders.getRawHeaders("content-type")[0].startswith("text/plain"))
        read = {family.name: family for family in text_string_to_metric_families(text)}
        self.assertEqual(read["a"].samples[0].value, 5)
        self.assertEqual(read["nothing"].samples, [])
        [sample] = read["b"].samples
        self.assertEqual((sample.name, sample.labels, sample.value), ("b_total", {"label": "x\ny\"z\\"}, 2))
        buckets = {sample.labels["le"]: sample.value for sample in read["c"].samples if sample.name == "c_bucket"}
        self.assertEqual(buckets, {"0.5": 1, "1.0": 2, "+Inf": 3})
        self.assertIn("process_resident_memory_bytes", read)

    def test_openmetrics_is_spoken_to_who_asks_for_it(self):
        _, text = self.ask(self.page(gauge("a", "A gauge", 5)), accept="application/openmetrics-text; version=1.0.0")
        self.assertTrue(text.endswith("# EOF\n"))

    def test_proxy_that_nobody_has_named_does_not_make_everybody_local(self):
        page = MetricsPage(lambda: (gauge("a", "A gauge", 5),), (ip_network("127.0.0.0/8"),), ())
        request, text = self.ask(page, forwarded="203.0.113.5")
        self.assertEqual(request.responseCode, 403)
        self.assertIn("[web] proxies", text)
        self.assertNotIn("A gauge", text)

    def test_metrics_are_not_for_everybody(self):
        request, text = self.ask(self.page(gauge("a", "A gauge", 5)), forwarded="203.0.113.5")
        self.assertEqual(request.responseCode, 403)
        self.assertIn("[web] metrics_from", text)
        self.assertNotIn("A gauge", text)
