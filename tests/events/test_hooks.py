"""What may be entered for a webhook, what a body says, and trying one out."""

import json

from twisted.internet import defer
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import InvalidField, NoSuchObject
from calltrack.events import ga4
from calltrack.events.hooks import Webhooks, sample
from calltrack.events.line import request_of
from calltrack.events.model import TrunkUp
from calltrack.events.payloads import VISIT_FIELDS, body_of, fields_of_visit
from calltrack.events.posting import Answer, PostFailed
from calltrack.events.signing import signature
from calltrack.events.templates import render
from calltrack.events.webhooks import (
    Webhook,
    check_events,
    check_events_of_project,
    check_headers,
    check_url,
    published_webhook,
)
from calltrack.storage.url import open_stores
from calltrack.tracking.model import Project, Visit
from tests.events.case import BEGAN_MS

# The fields of Roistat's notification at the start of a call, as its help describes them.
ROISTAT = {
    "id", "caller", "callee", "visit_id", "marker", "order_id", "date", "google_client_id", "custom_fields",
    "landing_page", "domain", "city", "country", "ip", "first_visit", "referrer", "utm_source", "utm_medium",
    "utm_campaign", "utm_term", "utm_content", "roistat_param_1", "roistat_param_2", "roistat_param_3",
    "roistat_param_4", "roistat_param_5", "source_level_1", "source_level_2",
}  # fmt: skip


def hook(**fields):
    return Webhook(**{"id": 1, "project": 1, "url": "http://a/", **fields})


def body(event, visit={}, link="", **fields):
    return json.loads(body_of(hook(**fields), event, visit, link))


class BodyTests(SynchronousTestCase):
    def test_start_of_a_call_has_every_field_of_roistats(self):
        fields = body(sample("call.started", 1, BEGAN_MS))
        self.assertEqual(ROISTAT - set(fields), set())
        self.assertEqual((fields["visit_id"], fields["callee"]), ("123456", "11231234567"))
        self.assertEqual((fields["source_level_1"], fields["source_level_4"]), ("direct", "buy glasses"))
        self.assertEqual(fields["date"], "2026-11-23 18:03:08")

    def test_end_of_a_call_adds_what_became_of_it(self):
        fields = body(sample("call.ended", 1, BEGAN_MS), link="https://calls.example/r/1.wav")
        self.assertEqual(ROISTAT - set(fields), set())
        for name, value in {
            "status": "ANSWER", "duration": 12, "answer_duration": 7, "waiting_time": 5,
            "link": "https://calls.example/r/1.wav", "date": "2026-11-23 18:03:08",
        }.items():  # fmt: skip
            self.assertEqual(fields[name], value, name)

    def test_visit_tells_what_it_knows_and_null_otherwise(self):
        fields = body(sample("call.ended", 1, BEGAN_MS), {"landing_page": "shop.example/a?b", "ip": "192.0.2.1"})
        self.assertEqual((fields["domain"], fields["ip"], fields["city"]), ("shop.example", "192.0.2.1", None))

    def test_stored_visit_tells_its_own_fields_and_nothing_that_was_blanked(self):
        told = fields_of_visit(
            Visit(
                project=1, number=7, secret="x", started=BEGAN_MS, marker="ad", landing_page="https://shop.example/",
                utm={"utm_source": "ads", "utm_other": "no"}, address="192.0.2.1", referrer="",
            )
        )  # fmt: skip
        self.assertEqual(
            told,
            {"landing_page": "https://shop.example/", "referrer": None, "ip": "192.0.2.1", "first_visit": "7", "utm_source": "ads"},
        )

    def test_event_without_a_call_keeps_its_own_fields(self):
        fields = body(TrunkUp(id="x", at=5, trunk="provider"))
        self.assertEqual((fields["type"], fields["trunk"]), ("trunk.up", "provider"))

    def test_plain_format_is_the_event_itself(self):
        fields = body(sample("call.ended", 1, BEGAN_MS), format="events")
        self.assertEqual((fields["type"], fields["version"], fields["status"]), ("call.ended", 1, "ANSWER"))

    def test_signature_is_that_of_standard_webhooks(self):
        """The example of its specification."""
        signed = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
        )
        self.assertEqual(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")


class TemplateTests(SynchronousTestCase):
    HOSTILE = '"}, {"x": "\r\n<a>&\u2028'

    def test_value_cannot_leave_its_place_in_any_content_type(self):
        fields = {"marker": self.HOSTILE}
        template = '{"a": {{ marker }}}'
        self.assertEqual(json.loads(render(template, "application/json", fields)), {"a": self.HOSTILE})
        form = render("a={{marker}}&b=1", "application/x-www-form-urlencoded", fields)
        self.assertEqual(form.count(b"&"), 1)
        self.assertEqual(render("<m>{{ marker }}</m>", "text/xml", fields).count(b"<"), 2)
        self.assertNotIn(b"\n", render("{{ marker }}", "text/plain", fields))

    def test_field_of_another_event_is_null_or_nothing(self):
        self.assertEqual(render("{{ status }}", "application/json", {}), b"null")
        self.assertEqual(render("a={{ status }}", "application/x-www-form-urlencoded", {}), b"a=")

    def test_fields_within_fields(self):
        self.assertEqual(render("{{ media.verdict }}", "text/plain", {"media": {"verdict": "none"}}), b"none")


class GA4Tests(SynchronousTestCase):
    def measured(self, kind="call.ended", visit={}):
        return json.loads(ga4.measurement(sample(kind, 7, BEGAN_MS), visit))

    def test_call_is_an_event_of_its_visits_client(self):
        [event] = self.measured(visit={"google_client_id": "111.222"})["events"]
        self.assertEqual((event["name"], event["params"]["call_status"]), ("call_ended", "ANSWER"))
        self.assertEqual(self.measured(visit={"google_client_id": "111.222"})["client_id"], "111.222")

    def test_visitor_without_a_client_id_is_the_same_client_each_time(self):
        self.assertEqual(self.measured()["client_id"], "calltrack.7.123456")

    def test_every_field_that_would_be_dropped_is_explained(self):
        wrong = ga4.problems(
            {
                "client_id": "",
                "events": [
                    {"name": "error", "params": {"a": "x" * 101, "ga_x": 1, "b c": 1}},
                    {"name": "1x", "params": {f"p{number}": 1 for number in range(26)}},
                ],
            }
        )
        starts = ("client_id:", "events[0].name: error is reserved", "events[0].params.a: 101", "events[0].params.ga_x",
                  "events[0].params.b c", "events[1].name:", "events[1].params: 26")  # fmt: skip
        for start in starts:
            self.assertTrue(any(one.startswith(start) for one in wrong), start)
        self.assertEqual(len(wrong), len(starts))

    def test_event_that_is_too_old_for_google_is_not_sent(self):
        webhook = hook(format="ga4", measurement_id="G-ABC123", api_secret="s")
        event = sample("call.ended", 1, BEGAN_MS)
        request_of(webhook, event, {}, "", BEGAN_MS + 71 * 3_600_000)
        error = self.assertRaises(InvalidField, request_of, webhook, event, {}, "", BEGAN_MS + 73 * 3_600_000)
        self.assertIn("72 hours", error.message)

    def test_debug_servers_words_are_passed_on_by_field(self):
        answer = b'{"validationMessages": [{"fieldPath": "events[0].name", "description": "bad", "validationCode": "NAME_INVALID"}]}'
        self.assertEqual(ga4.explained(answer), ["events[0].name: bad (NAME_INVALID)"])
        self.assertEqual(ga4.explained(b'{"validationMessages": []}'), [])
        self.assertEqual(ga4.explained(b"oops"), ["the debug server's answer cannot be read"])


class CheckTests(SynchronousTestCase):
    def test_addresses(self):
        for url in ("https://example.com/x?y=1", "http://[2001:db8::1]:8080/"):
            self.assertEqual(check_url(url), url)
        for url in ("ftp://a/", "a.example/x", "https://", "http://u:p@a/", "http://a/#x", "http://a:99999/", "http://a:0/",
                    "http://a/\r\nX: y", "http://a/é", "http://a/" + "x" * 2000, ""):  # fmt: skip
            self.assertEqual(self.assertRaises(InvalidField, check_url, url).field, "url", url)

    def test_events(self):
        self.assertEqual(check_events([]), ("call.started", "call.ended"))
        self.assertEqual(len(check_events(["call.*", "call.ended"])), 5)
        self.assertIn("trunk.down", check_events(["*"]))
        self.assertRaises(InvalidField, check_events, ["call.whistled"])
        self.assertRaises(InvalidField, check_events, ["x*"])

    def test_events_of_trunks_are_no_projects(self):
        error = self.assertRaises(InvalidField, check_events_of_project, ["call.ended", "trunk.down"])
        self.assertIn("[[sink]]", error.message)
        self.assertIn("account.registered", check_events_of_project(["*"]))
        self.assertNotIn("trunk.down", check_events_of_project(["*"]))

    def test_headers_can_neither_inject_nor_replace_ours(self):
        self.assertEqual(check_headers(["X-A: b c", "Authorization:Bearer x"]), (("X-A", "b c"), ("Authorization", "Bearer x")))
        for line in ("no colon", "a b: c", "X: a\r\nY: b", "Host: x", "Content-Length: 1", "webhook-id: x", "X: é"):
            self.assertEqual(self.assertRaises(InvalidField, check_headers, [line]).field, "header", line)


class WebhooksTests(SynchronousTestCase):
    def setUp(self):
        self.stores = open_stores("memory:", None)
        self.successResultOf(self.stores.catalog.add_project(Project(id=0, name="x", key="k")))
        self.hooks = Webhooks(self.stores.webhooks, self.stores.catalog, lambda: BEGAN_MS)

    def do(self, coroutine):
        return self.successResultOf(defer.Deferred.fromCoroutine(coroutine))

    def refused(self, coroutine, kind=InvalidField):
        return self.failureResultOf(defer.Deferred.fromCoroutine(coroutine), kind).value

    def test_added_webhook_has_a_secret_of_its_own_that_is_shown_once(self):
        added = self.do(self.hooks.add(1, "https://a.example/", headers=["X: y"]))
        self.assertTrue(added.secret.startswith("whsec_"))
        shown = published_webhook(self.do(self.hooks.list())[0][0])
        self.assertEqual((shown["secret"], shown["headers"]), ("(hidden)", {"X": "(hidden)"}))
        self.assertEqual(published_webhook(added, secrets_too=True)["secret"], added.secret)

    def test_project_must_exist(self):
        self.refused(self.hooks.add(2, "https://a.example/"), NoSuchObject)

    def test_each_wrong_thing_is_named(self):
        for fields, field in (
            ({"format": "xml"}, "format"),
            ({"secret": "x"}, "secret"),
            ({"format": "ga4"}, "measurement_id"),
            ({"format": "ga4", "measurement_id": "G-ABC123"}, "api_secret"),
            ({"measurement_id": "G-ABC123"}, "measurement_id"),
            ({"template": "x"}, "template"),
            ({"format": "template"}, "template"),
            ({"format": "template", "template": "{{ nothing }}"}, "template"),
            ({"format": "template", "template": '{"a": "{{ caller }}"}'}, "template"),
            ({"format": "template", "template": "x", "content_type": "image/png"}, "content_type"),
        ):
            self.assertEqual(self.refused(self.hooks.add(1, "https://a.example/", **fields)).field, field, fields)

    def test_template_is_told_every_wrong_field_and_the_known_ones(self):
        error = self.refused(
            self.hooks.add(1, "https://a.example/", format="template", template="[{{ colour }}, {{ a b }}, {{ marker }}]")
        )
        self.assertIn("colour is no field", error.message)
        self.assertIn("a b", error.message)
        self.assertIn("marker", error.message.partition("Known: ")[2])

    def test_google_analytics_gets_calls_only(self):
        stream = {"format": "ga4", "measurement_id": "G-ABC123", "api_secret": "s"}
        self.assertEqual(self.do(self.hooks.add(1, "", **stream)).url, ga4.COLLECT)
        self.assertEqual(self.refused(self.hooks.add(1, "", events=["trunk.up"], **stream)).field, "event")

    def test_replay_asks_for_a_choice(self):
        self.do(self.hooks.add(1, "https://a.example/"))
        self.assertEqual(self.refused(self.hooks.replay(1)).field, "replay")
        self.refused(self.hooks.replay(9, dead=True), NoSuchObject)

    def test_trying_posts_one_invented_call_and_tells_the_answer(self):
        self.do(self.hooks.add(1, "https://a.example/"))
        sent = []

        def post(url, headers, body):
            sent.append(json.loads(body))
            return defer.succeed(Answer(500, b"oops"))

        attempt, _ = self.do(self.hooks.test(1, post))
        self.assertEqual((attempt.status, attempt.error, attempt.response), (500, "answered 500", "oops"))
        self.assertEqual((sent[0]["event"], sent[0]["project"]), ("call.ended", 1))
        attempt, _ = self.do(self.hooks.test(1, lambda *a: defer.fail(PostFailed("no route"))))
        self.assertEqual((attempt.status, attempt.error), (0, "no route"))
        self.assertEqual(self.successResultOf(self.hooks.log()), [])

    def test_trying_google_analytics_asks_the_debug_server_field_by_field(self):
        self.do(self.hooks.add(1, "", format="ga4", measurement_id="G-ABC123", api_secret="s"))
        asked = []

        def post(url, headers, body):
            asked.append(url)
            return defer.succeed(Answer(200, b'{"validationMessages": [{"fieldPath": "x", "description": "is bad"}]}'))

        attempt, wrong = self.do(self.hooks.test(1, post))
        self.assertIn("/debug/mp/collect?measurement_id=G-ABC123&api_secret=s", asked[0])
        self.assertEqual(wrong, ["x: is bad (no code)"])
        self.assertTrue(attempt.error)

    def test_visit_fields_are_those_of_roistat(self):
        self.assertEqual(set(VISIT_FIELDS) - ROISTAT, set())
