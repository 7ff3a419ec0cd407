"""Whatever browsers, or what calls itself so, say to the real visits: an answer, no traceback, nothing unsafe is kept."""

import json
import random
import re

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from calltrack.tracking.settings import VisitSettings
from calltrack.web.connections import BoundedSite
from calltrack.web.request_limits import RequestLimits
from calltrack.web.site import longest_body, put_together
from calltrack.web.visits import VisitsResource
from tests.tracking.visiting import BROWSER, Shop

PAGE = {"v": 1, "page": "https://shop.example/?utm_source=ad", "referrer": "", "visit": "", "consent": True}
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
NASTY = (
    *("", " ", "\x00", "\r\nSet-Cookie: a=b", "\u2028\u2029\u202e\u2066", "\ud83d\ude00" * 400, "' OR 1=1 --", "<script>alert(1)</script>"),
    *("=cmd|' /C calc'!A0", "../../etc/passwd", "https://", "https://[", "https://[::1", "https://a:b:c/", "javascript:alert(1)"),
    *("https://shop.example/?utm_source=%00%0d%0aX", "https://shop.example/?utm_source=%E2%80%AE%ff%fe", "data:text/html,x"),
    *("https://shop.example/?" + "utm_source=a&" * 150, "https://shop.example/?utm_source=" + "%" * 1500, "http://\u0130\u0131.example/"),
    *("https://shop.example/?utm_source=\x85\x1b[31m", "1.", ".", "1.a" * 20, "0.00000000", "99999999999999999999.deadbeefdeadbeef"),
    *("https://user:pass@shop.example:99999/", "https://shop.example/\\..\\", "HTTPS://SHOP.EXAMPLE/?UTM_SOURCE=X", "//shop.example"),
    *("https://shop.example/?gclid=\ufeff&rs=" + "x" * 1900, "https://shop.example/#" + "?utm_source=b"),
)


class HostileTests(SynchronousTestCase):
    def setUp(self):
        self.shop = Shop(self, settings=VisitSettings(per_address=0))
        limits = RequestLimits(self.shop.clock.seconds, 0, 0)
        root = put_together({b"t": VisitsResource(self.shop.visits, limits)}).resource
        self.site = BoundedSite(root, 10.0, longest_body)
        self.site.reactor = self.shop.clock
        self.site.log = lambda request: None

    def ask(self, what: str, body: bytes, origin: bytes = b"https://shop.example", agent: bytes = BROWSER.encode()):
        """`(status, body)` of one question; its visits are stored when it returns."""
        channel, wire = self.site.buildProtocol(None), StringTransport()
        channel.makeConnection(wire)
        head = b"POST /t/shopkey/%b HTTP/1.0\r\nOrigin: %b\r\nUser-Agent: %b\r\nContent-Length: %d\r\n\r\n"
        channel.dataReceived(head % (what.encode(), origin, agent, len(body)) + body)
        self.shop.settle(0.5)
        answer = wire.value()
        self.assertTrue(answer.startswith(b"HTTP/1."), answer[:100])
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertNotIn(b"set-cookie", head.lower())
        return int(head[9:12]), body

    def kept(self):
        """Every visit in the store."""
        return self.successResultOf(self.shop.store.list(limit=100_000))

    def check(self, what: str, body: bytes) -> int:
        before = len(self.kept())
        status, answer = self.ask(what, body)
        self.assertIn(status, (200, 204, 400, 404, 413, 422, 429, 503), body[:200])
        if status >= 400:
            told = json.loads(answer)
            self.assertEqual(len(self.kept()), before, body[:200])
            self.assertTrue(told["detail"])
        self.assertEqual(self.flushLoggedErrors(), [], body[:200])
        return status

    def assertSafe(self):
        for visit in self.kept():
            texts = [visit.marker, visit.landing_page, visit.referrer, visit.click_id, visit.user_agent, *visit.utm, *visit.utm.values()]
            for text in texts:
                self.assertIsNone(UNSAFE.search(text), ascii(text))
                self.assertLessEqual(len(text), 2048)
                text.encode()  # no half of a pair

    def test_nasty_text_in_every_field(self):
        for text in NASTY:
            for field in ("page", "referrer", "visit"):
                self.check("visit", json.dumps({**PAGE, field: text}).encode())
                self.check("visit", json.dumps({**PAGE, field: text}, ensure_ascii=False).encode("utf-8", "surrogatepass"))
            for what in ("beat", "leave"):
                self.check(what, json.dumps({"visit": text}).encode())
        self.assertSafe()

    def test_halves_of_surrogate_pairs(self):
        for field in ("page", "referrer", "visit"):
            text = '"https://shop.example/?utm_source=\\ud800"'
            self.check("visit", json.dumps({**PAGE, field: "@"}).replace('"@"', text).encode())
        self.assertSafe()

    def test_values_of_any_kind_in_every_field(self):
        values = (None, True, 0, -1, 1.5, 1e400, 10**400, [], [[]], {}, {"a": 1}, "x", ["x"] * 1000)
        for value in values:
            for field in PAGE:
                self.check("visit", json.dumps({**PAGE, field: value}).encode())
            self.check("beat", json.dumps({"visit": value}).encode())
            self.check("leave", json.dumps(value).encode())

    def test_bodies_that_were_mutated(self):
        chance = random.Random(20261125)
        whole = json.dumps({**PAGE, "referrer": "https://search.example/", "visit": "1.0123456789abcdef"}).encode()
        seen = set()
        for _ in range(1500):
            body = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                at = chance.randrange(len(body) + 1)
                match chance.randrange(4):
                    case 0:
                        body[at:at] = bytes(chance.choices(range(256), k=chance.randint(1, 5)))
                    case 1:
                        del body[at : at + chance.randint(1, 20)]
                    case 2:
                        body[at : at + 1] = bytes((chance.randrange(256),))
                    case 3:
                        body[at:at] = body[chance.randrange(len(body) + 1) :][:30]
            seen.add(self.check(chance.choice(("visit", "visit", "beat", "leave")), bytes(body)))
        self.assertLessEqual({200, 400, 422}, seen)
        self.assertGreater(len(self.kept()), 20)
        self.assertSafe()

    def test_user_agents_and_origins_of_any_kind(self):
        for value in (b"", b"\xff\xfe", b"Mozilla/5.0 \xe2\x80\xae" + b"x" * 3000, b"Mozilla/5.0 \x1b[31m", b"curl/8", b"a" * 10000):
            status, _ = self.ask("visit", json.dumps(PAGE).encode(), agent=value)
            self.assertEqual(status, 200, value[:50])
            status, _ = self.ask("visit", json.dumps(PAGE).encode(), origin=value)
            self.assertEqual(status, 403, value[:50])
        self.assertSafe()
        self.assertEqual(self.flushLoggedErrors(), [])
