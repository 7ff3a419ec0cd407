"""The HTTP side of visits, without a browser: what is answered, what is refused, and that nothing of a refusal is kept."""

import gzip
import json
from ipaddress import ip_network

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

from calltrack.errors import InvalidField, StoreUnavailable, TooManyRequests
from calltrack.tracking.model import Project
from calltrack.web.request_limits import RequestLimits
from calltrack.web.site import put_together
from calltrack.web.snippet import script
from calltrack.web.visits import VisitsResource, origins
from tests.web.browser import AGENT, HOST
from tests.web.browser_case import COOKIE, KEY, NUMBER, SHOWN, ToldVisits, stop
from tests.web.case import _Bytes

SHOP = "https://shop.example"
PAGE = {"v": 1, "page": SHOP + "/?utm_source=direct", "referrer": "", "visit": "", "consent": True}


class VisitsTestCase(TestCase):
    def setUp(self):
        self.visits = ToldVisits({KEY: Project(id=1, name="Glasses shop", key=KEY, sites=(SHOP,))})
        self.clock = Clock()
        self.agent = Agent(reactor, HTTPConnectionPool(reactor, persistent=False))
        self.serve()

    def serve(self, per_address: int = 0, per_project: int = 0, proxies: tuple = ()) -> None:
        limits = RequestLimits(self.clock.seconds, per_address, per_project)
        self.resource = VisitsResource(self.visits, limits, proxies)
        self.port = reactor.listenTCP(0, put_together({b"t": self.resource}), interface=HOST)
        self.addCleanup(stop, self.port)

    async def ask(self, method: str, path: str, body: object = None, **headers: str):
        """`(status, headers, body)`; `body`: bytes, or what becomes JSON."""
        sent = {name.replace("_", "-"): [value] for name, value in headers.items() if value}
        raw = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        url = f"http://{HOST}:{self.port.getHost().port}{path}"
        producer = None if raw is None else _Bytes(raw)
        response = await self.agent.request(method.encode(), url.encode(), Headers(sent), producer)
        answer = await readBody(response)
        known = {name.decode().lower(): values[-1].decode() for name, values in response.headers.getAllRawHeaders()}
        return response.code, known, answer

    async def post(self, what: str, body: object, key: str = KEY, origin: str = SHOP, **headers: str):
        path = f"/t/{key}/{what}"
        return await self.ask("POST", path, body, origin=origin, user_agent=AGENT, content_type="text/plain", **headers)

    async def refused(self, status: int, field: str, what: str, body: object, **more) -> dict:
        """Ask what must be refused with a problem that names `field`; nothing reaches the visits."""
        before = list(self.visits.asked)
        code, headers, answer = await self.post(what, body, **more)
        self.assertEqual((code, headers["content-type"]), (status, "application/problem+json"), answer)
        told = json.loads(answer)
        self.assertEqual((told["status"], told.get("field", "")), (status, field), told)
        self.assertEqual(self.visits.asked, before)
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        return told


class ScriptTests(VisitsTestCase):
    async def test_script_weighs_less_than_six_kilobytes_as_it_is_sent(self):
        code, headers, body = await self.ask("GET", f"/t/{KEY}.js", accept_encoding="gzip, deflate, br")
        self.assertEqual((code, headers["content-encoding"]), (200, "gzip"))
        self.assertLess(len(body), 6000)
        self.assertEqual(gzip.decompress(body), script(KEY).plain)
        self.assertIn(KEY.encode(), script(KEY).plain)

    async def test_script_can_be_read_by_pages_of_any_policy_and_kept_for_an_hour(self):
        code, headers, body = await self.ask("GET", f"/t/{KEY}.js")
        self.assertEqual((code, body), (200, script(KEY).plain))
        self.assertEqual(headers["content-type"], "text/javascript; charset=utf-8")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["cache-control"], "public, max-age=3600")
        self.assertEqual(headers["cross-origin-resource-policy"], "cross-origin")
        self.assertEqual((headers["access-control-allow-origin"], headers["vary"]), ("*", "Accept-Encoding"))

    async def test_script_that_is_known_is_not_sent_again(self):
        for coding in ("gzip", ""):
            _, headers, _ = await self.ask("GET", f"/t/{KEY}.js", accept_encoding=coding)
            again = {"accept_encoding": coding, "if_none_match": headers["etag"]}
            code, _, body = await self.ask("GET", f"/t/{KEY}.js", **again)
            self.assertEqual((code, body), (304, b""), coding)

    async def test_gzip_that_is_refused_is_not_sent(self):
        _, headers, body = await self.ask("GET", f"/t/{KEY}.js", accept_encoding="gzip;q=0, identity")
        self.assertNotIn("content-encoding", headers)
        self.assertEqual(body, script(KEY).plain)

    async def test_head_has_no_body(self):
        code, headers, body = await self.ask("HEAD", f"/t/{KEY}.js")
        self.assertEqual((code, body, int(headers["content-length"])), (200, b"", len(script(KEY).plain)))

    async def test_other_methods_are_told_which_there_are(self):
        code, headers, _ = await self.ask("DELETE", f"/t/{KEY}.js")
        self.assertEqual((code, headers["allow"]), (405, "GET, HEAD"))
        code, headers, _ = await self.ask("GET", f"/t/{KEY}/visit", origin=SHOP)
        self.assertEqual((code, headers["allow"]), (405, "POST, OPTIONS"))

    async def test_unknown_key_has_no_script(self):
        for key in ("0000000000000000", "", "%00", "..%2f..", KEY + "%0d%0aSet-Cookie:%20a=b"):
            code, headers, body = await self.ask("GET", f"/t/{key}.js")
            self.assertEqual((code, headers["content-type"]), (404, "application/problem+json"), key)
            self.assertEqual(json.loads(body)["field"], "key")
            self.assertNotIn("set-cookie", headers)

    async def test_other_paths_are_nothing(self):
        for path in ("/t", "/t/", f"/t/{KEY}", f"/t/{KEY}/", f"/t/{KEY}/visit/x", f"/t/{KEY}/admin", "/t/a/b/c/d.js"):
            code, _, _ = await self.ask("GET", path)
            self.assertEqual(code, 404, path)


class QuestionTests(VisitsTestCase):
    async def test_page_that_is_opened_is_told_what_to_show(self):
        said = {**PAGE, "referrer": "https://search.example/", "visit": COOKIE}
        code, headers, body = await self.post("visit", said)
        self.assertEqual((code, headers["content-type"]), (200, "application/json"))
        self.assertEqual((headers["access-control-allow-origin"], headers["vary"]), (SHOP, "Origin"))
        self.assertEqual(headers["cache-control"], "no-store")
        told = json.loads(body)
        self.assertEqual((told["visit"], told["number"], told["beat"], told["confirm"]), (COOKIE, 123, 20.0, 3.0))
        expected = {"scenario": 7, "number": NUMBER, "tel": "+" + NUMBER, "text": SHOWN, "selectors": []}
        self.assertEqual(told["swaps"], [{**expected, "replace": ["19990000000"]}])
        asked = {"page": said["page"], "referrer": said["referrer"], "cookie": COOKIE, "consent": True}
        self.assertEqual(self.visits.asked, [("arrive", {**asked, "address": HOST, "user_agent": AGENT})])

    async def test_sign_of_life_is_told_what_to_show_now_and_a_leave_nothing(self):
        code, _, body = await self.post("beat", {"visit": COOKIE})
        self.assertEqual((code, json.loads(body)["visit"]), (200, COOKIE))
        code, headers, body = await self.post("leave", {"visit": COOKIE})
        self.assertEqual((code, body), (204, b""))
        self.assertEqual(self.visits.asked, [("beat", {"cookie": COOKIE}), ("leave", {"cookie": COOKIE})])

    async def test_visit_that_is_unknown_is_said_to_be(self):
        self.visits.forget_visits()
        code, _, body = await self.post("beat", {"visit": COOKIE})
        self.assertEqual((code, json.loads(body)["detail"]), (404, "visit 123 is not known"))

    async def test_refusals_of_the_visits_have_their_status(self):
        for error, status, field in (
            (InvalidField("page", "is no address"), 422, "page"),
            (TooManyRequests("too many new visits", 7), 429, ""),
            (StoreUnavailable("locked"), 503, ""),
        ):
            self.visits.answers["arrive"] = error
            code, headers, body = await self.post("visit", PAGE)
            self.assertEqual((code, json.loads(body).get("field", "")), (status, field))
            self.assertEqual(headers["access-control-allow-origin"], SHOP)
            if status == 429:
                self.assertEqual(headers["retry-after"], "7")

    async def test_bug_is_logged_and_answered_without_its_words(self):
        self.visits.answers["arrive"] = RuntimeError("secret words")
        code, _, body = await self.post("visit", PAGE)
        self.assertEqual(code, 500)
        self.assertNotIn(b"secret words", body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class RefusalTests(VisitsTestCase):
    async def test_fields_of_the_wrong_type_are_named(self):
        for field, value in (("page", 5), ("page", None), ("referrer", []), ("visit", {}), ("consent", "yes"), ("v", 2)):
            await self.refused(422, field, "visit", {**PAGE, field: value})
        for what in ("beat", "leave"):
            await self.refused(422, "visit", what, {"visit": 123})

    async def test_fields_that_are_missing_are_named(self):
        told = await self.refused(422, "page", "visit", {"referrer": ""})
        self.assertIn("missing", told["detail"])
        await self.refused(422, "visit", "beat", {})

    async def test_fields_that_are_too_long_are_named(self):
        await self.refused(422, "page", "visit", {**PAGE, "page": SHOP + "/" + "a" * 2048})
        await self.refused(422, "referrer", "visit", {**PAGE, "referrer": "h" * 2049})
        await self.refused(422, "visit", "visit", {**PAGE, "visit": "1." + "a" * 100})
        await self.refused(422, "visit", "beat", {"visit": "9" * 101})

    async def test_bodies_that_are_no_json_are_refused(self):
        for body in (b"", b"{", b"\xff\xfe", b"page=1", b'{"page": "\xc3\x28"}', b"\x00", b'{"page": "a" "b"}'):
            await self.refused(400, "body", "visit", body)
        for body in (b"[]", b"5", b"null", b'"x"', b"[" * 8000):
            await self.refused(422, "body", "visit", body)

    async def test_body_of_more_than_eight_kilobytes_is_not_read(self):
        code, headers, body = await self.post("visit", b" " * 8193)
        self.assertEqual((code, json.loads(body)["field"]), (413, "body"))
        self.assertEqual(self.visits.asked, [])
        code, _, _ = await self.post("visit", json.dumps(PAGE).encode().ljust(8192))
        self.assertEqual(code, 200)

    async def test_key_that_is_nobodys_is_named(self):
        await self.refused(404, "key", "visit", PAGE, key="ffffffffffffffff")

    async def test_page_is_told_to_ask_again_while_no_project_is_known_yet(self):
        self.visits.projects.clear()
        self.visits.ready = False
        for method, path in (("GET", f"/t/{KEY}.js"), ("POST", f"/t/{KEY}/beat")):
            code, headers, _ = await self.ask(method, path, {"visit": COOKIE}, origin=SHOP)
            self.assertEqual(code, 503)
            self.assertIn("retry-after", headers)

    async def test_pages_of_other_sites_are_refused_with_words_for_their_owner(self):
        for origin in ("https://other.example", "http://shop.example", "https://shop.example:444", "null", "https://xshop.example"):
            told = await self.refused(403, "Origin", "visit", PAGE, origin=origin)
            self.assertIn(origin, told["detail"])
        await self.refused(403, "Origin", "visit", PAGE, origin="")

    async def test_pages_of_the_sites_of_a_project_may_ask(self):
        for origin in (SHOP, "https://www.shop.example", "https://SHOP.example"):
            code, headers, _ = await self.post("visit", PAGE, origin=origin)
            self.assertEqual((code, headers["access-control-allow-origin"]), (200, origin))

    async def test_project_without_sites_is_asked_from_anywhere(self):
        self.visits.projects[KEY] = Project(id=1, name="Glasses shop", key=KEY)
        for origin in ("https://other.example", ""):
            code, _, _ = await self.post("visit", PAGE, origin=origin)
            self.assertEqual(code, 200)

    async def test_preflight_is_answered_by_the_sites_of_the_project(self):
        code, headers, body = await self.ask("OPTIONS", f"/t/{KEY}/visit", origin=SHOP)
        self.assertEqual((code, body, headers["access-control-allow-methods"]), (204, b"", "POST"))
        self.assertEqual(headers["access-control-allow-headers"], "content-type")
        code, _, _ = await self.ask("OPTIONS", f"/t/{KEY}/visit", origin="https://other.example")
        self.assertEqual(code, 403)

    def test_origins_of_sites_leave_out_paths_and_usual_ports(self):
        sites = ("https://Shop.example:443/path", "http://www.old.example", "http://[2001:db8::1]:8080/")
        expected = {"https://shop.example", "https://www.shop.example", "http://www.old.example", "http://old.example"}
        self.assertLess(expected, origins(sites))
        self.assertIn("http://[2001:db8::1]:8080", origins(sites))


class LimitTests(VisitsTestCase):
    async def statuses(self, count: int, what: str = "visit", **more) -> list[int]:
        body = PAGE if what == "visit" else {"visit": COOKIE}
        return [(await self.post(what, body, **more))[0] for _ in range(count)]

    async def test_address_that_asks_too_often_is_told_when_to_come_again(self):
        self.serve(per_address=3)
        self.assertEqual(await self.statuses(4), [200, 200, 200, 429])
        code, headers, body = await self.post("visit", PAGE)
        self.assertEqual((code, headers["retry-after"]), (429, "21"))
        self.assertEqual(len(self.visits.asked), 3)
        self.clock.advance(21)
        self.assertEqual(await self.statuses(2), [200, 429])
        self.assertEqual(self.resource.counters["limited"], 3)

    async def test_signs_of_life_have_ten_times_the_room(self):
        self.serve(per_address=1)
        self.assertEqual(await self.statuses(11, "beat"), [200] * 10 + [429])
        self.assertEqual(await self.statuses(1), [200])

    async def test_quiet_address_is_served_while_its_project_is_flooded(self):
        self.serve(per_project=2, proxies=(ip_network("127.0.0.0/8"),))
        flood = await self.statuses(12, x_forwarded_for="192.0.2.1")
        self.assertEqual(flood.count(200), 2 + 6)
        self.assertEqual(await self.statuses(1, x_forwarded_for="192.0.2.2"), [200])
        self.assertEqual(await self.statuses(1, x_forwarded_for="192.0.2.1"), [429])

    async def test_address_behind_a_trusted_proxy_is_the_one_it_saw(self):
        trusted = (ip_network("127.0.0.0/8"), ip_network("198.51.100.0/24"))
        for proxies, said, expected in (
            (trusted, "203.0.113.9, 192.0.2.1, 198.51.100.7", "192.0.2.1"),
            (trusted, "192.0.2.1", "192.0.2.1"),
            (trusted, "2001:db8::5", "2001:db8::5"),
            (trusted, "::ffff:192.0.2.1, ::ffff:198.51.100.7", "192.0.2.1"),
            (trusted, "192.0.2.1:5000, [2001:db8::5]:443, 198.51.100.7:80", "2001:db8::5"),
            (trusted, "192.0.2.1:5000", "192.0.2.1"),
            (trusted, "[192.0.2.1", HOST),
            (trusted, "", HOST),
            (trusted, "nonsense", HOST),
            (trusted, "192.0.2.1, nonsense, 198.51.100.7", "198.51.100.7"),
            ((), "192.0.2.1", HOST),
        ):
            self.serve(proxies=proxies)
            await self.post("visit", PAGE, x_forwarded_for=said)
            self.assertEqual(self.visits.last("arrive")["address"], expected, said)
