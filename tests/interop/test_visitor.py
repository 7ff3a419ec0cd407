"""From a visitor to a number to a call: a real engine, a real browser, a real SIP call to the number that the page shows."""

import re

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.web.client import Agent, readBody

from calltrack.web.connections import BoundedSite
from calltrack.web.site import longest_body
from tests.interop.harness import ENGINE, InteropTestCase
from tests.interop.processes import eventually
from tests.web.browser import HOST, Browser
from tests.web.browser_case import ShopPages, stop

POOL = ("12025550171", "12025550172", "12025550173")
MASK = "8 (XXX) XXX-XX-XX"
QUERY = "?utm_source=direct&utm_medium=search&utm_campaign=1234567&utm_term=buy%20glasses"
OLD_TEXT = "Call +1 999 000 00 00 today"


class VisitorTestCase(InteropTestCase):
    timeout = 180

    async def open_shop(self, *scenario: str) -> None:
        """An engine with a project whose pages show `POOL`, a shop, and its key in the page."""
        self.pages = ShopPages("")
        port = reactor.listenTCP(0, BoundedSite(self.pages, 10.0, longest_body), interface=HOST)
        self.addCleanup(stop, port)
        self.shop = f"http://shop.example:{port.getHost().port}"
        project = await self.cli("project", "add", "Glasses shop", "--site", self.shop)
        self.project = str(project["id"])
        web = self.web.rpartition(":")[2]
        self.pages.snippet = f"http://calltrack.example:{web}/t/{project['key']}.js"
        self.office = await self.target("target", calls=2)
        options = (*("--project", self.project, "--dynamic", "--mask", MASK), *scenario)
        forward = ("--replace", "+1 999 000 00 00", "--forward", self.address_of(self.office))
        added = await self.cli("scenario", "add", "All visitors", *options, *forward)
        for number in POOL:
            await self.cli("number", "add", number, "--project", self.project, "--scenario", str(added["id"]))
        await self.start_engine()

    async def visitor(self, query: str = QUERY) -> Browser:
        """Somebody who opens a page of the shop."""
        browser = await Browser.start(self, {"calltrack.example": ENGINE})
        await browser.open(f"{self.shop}/static{query}")
        return browser

    async def number_of(self, browser: Browser) -> str:
        """The digits of the number that the page shows instead of its own."""
        await browser.until("calltrack.number !== ''")
        text = await browser.text("#plain")
        shown = re.fullmatch(r"Call 8 \((\d{3})\) (\d{3})-(\d{2})-(\d{2}) today", text)
        self.assertIsNotNone(shown, text)
        number = "1" + "".join(shown.groups())
        self.assertEqual(await browser.value("document.querySelector('#link').getAttribute('href')"), "tel:+" + number)
        self.assertIn(number, POOL)
        return number


class VisitorTests(VisitorTestCase):
    async def test_call_to_the_number_on_the_page_carries_the_visit_that_saw_it(self):
        await self.open_shop()
        first = await self.visitor()
        second = await self.visitor("?utm_source=newsletter&utm_campaign=spring")
        numbers = [await self.number_of(browser) for browser in (first, second)]
        self.assertNotEqual(*numbers)
        visits = [await browser.value("calltrack.visit") for browser in (first, second)]
        cookie = await first.value("document.cookie")
        self.assertRegex(cookie, rf"^calltrack_visit={visits[0]}\.[0-9a-f]+$")

        for number in numbers:
            await self.call(number=number).succeeds()
        await self.office.succeeds()
        told = [
            (invite.header("x-roistat-phone"), invite.header("x-roistat"), invite.header("x-roistat-marker"))
            for invite in self.office.received("INVITE")
        ]
        shown = [await self.cli("visit", "show", str(visit), "--project", self.project) for visit in visits]
        markers = [visit["marker"] for visit in shown]
        self.assertEqual(told, list(zip(numbers, map(str, visits), markers)))
        self.assertIn("buy glasses", markers[0])
        self.assertTrue(shown[0]["landing_page"].startswith(self.shop + "/static?utm_source=direct"))
        self.assertNotEqual(*markers)

        records = sorted(await self.records(2), key=lambda record: record["created"])
        self.assertEqual([record["attribution"]["reason"] for record in records], ["exact lease"] * 2)
        self.assertEqual([record["attribution"]["visit"] for record in records], visits)

    async def test_visitor_keeps_the_number_over_pages_and_a_restart_of_the_engine(self):
        await self.open_shop()
        browser = await self.visitor()
        number, visit = await self.number_of(browser), await browser.value("calltrack.visit")
        await browser.open(f"{self.shop}/application")
        await browser.until("calltrack.number", "+" + number)
        self.assertEqual(await browser.value("calltrack.visit"), visit)
        self.engine.signal("TERM")
        await self.engine.end(15)
        await browser.open(f"{self.shop}/static")
        self.assertEqual(await self.number_of(browser), number)  # the page before had it
        await self.start_engine()
        await browser.open(f"{self.shop}/several")
        await browser.until("calltrack.visit", visit)
        self.assertEqual(await browser.value("calltrack.number"), "+" + number)

    async def test_page_that_stays_open_keeps_its_number_when_the_engine_is_killed_and_comes_back(self):
        await self.open_shop()
        browser = await Browser.start(self, {"calltrack.example": ENGINE})
        await browser.open(f"{self.shop}/clock")
        await browser.until("calltrack.number !== ''")
        number, visit = await browser.value("calltrack.number"), await browser.value("calltrack.visit")
        await self.engine.kill()
        await browser.run("elapse(4)")  # nobody answers
        await browser.until("Object.keys(waiting).length", 1)
        await self.start_engine()
        await browser.run("elapse(20); elapse(1)")
        await eventually(lambda: self.metric("calltrack_web_questions_total", "beat"), "the page gives a sign of life")
        await browser.until("calltrack.number", number)
        self.assertEqual(await browser.value("calltrack.visit"), visit)
        free = [await self.metric(f"calltrack_pool_{what}", "1") for what in ("numbers", "free")]
        self.assertEqual(free, [3, 2])
        await self.call(number=number.lstrip("+")).succeeds()
        record = await self.record()
        self.assertEqual((record["attribution"]["visit"], record["attribution"]["reason"]), (visit, "exact lease"))

    async def metric(self, name: str, label: str) -> float:
        """One sample of what the engine counts."""
        response = await Agent(reactor).request(b"GET", f"http://{self.web}/metrics".encode())
        families = text_string_to_metric_families((await readBody(response)).decode())
        samples = (sample for family in families for sample in family.samples)
        return next(s.value for s in samples if s.name == name and label in s.labels.values())

    async def test_without_consent_the_fixed_number_is_shown_and_no_visit_is_stored(self):
        await self.open_shop("--fallback", "12025550199")
        self.pages.extra["asks"] = (
            '<html data-calltrack-consent="denied"><script async src="SNIPPET"></script>'
            '<p id="plain">Call +1 999 000 00 00 today</p>'
        )
        browser = await Browser.start(self, {"calltrack.example": ENGINE})
        await browser.open(f"{self.shop}/asks{QUERY}")
        await browser.shows("#plain", "Call 8 (202) 555-01-99 today")
        self.assertEqual(await browser.value("document.cookie"), "")
        self.assertEqual(await self.cli("visit", "list"), [])
        await browser.run("calltrack.consent(true)")
        await browser.until("calltrack.visit", 1)
        self.assertIn(await self.number_of_plain(browser), POOL)

    async def number_of_plain(self, browser: Browser) -> str:
        await browser.until("calltrack.number !== '+12025550199'")
        return (await browser.value("calltrack.number")).lstrip("+")

    async def test_page_keeps_its_own_number_while_the_engine_is_down(self):
        await self.open_shop()
        self.engine.signal("TERM")
        await self.engine.end(15)
        browser = await self.visitor()
        self.assertEqual(await browser.text("#plain"), OLD_TEXT)
        told = [line for line in await browser.console() if "favicon" not in line]
        self.assertTrue(all("ERR_CONNECTION_REFUSED" in line for line in told), told)
