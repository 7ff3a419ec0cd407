"""The page in a real Chromium, before texts that strangers have chosen: long, turned round, with markup in them."""

from msgspec.structs import replace

from calltrack.access.model import Grant
from calltrack.testing.store_contract import LADDER, call_record
from calltrack.tracking.model import Attribution, Candidate, LadderStep

from tests.web.test_page_browser import NUMBER, PageBrowserTestCase

TURN = "\u202e"  # RIGHT-TO-LEFT OVERRIDE: what follows is shown from its end
MARKUP = "<img src=x onerror=document.title=1>"


class HostileTextTests(PageBrowserTestCase):
    async def set_up_project(self):
        """A project whose every text is as long or as hostile as its rules allow; the paths of its pages."""
        services = self.service.services
        catalog = services.catalog
        project = await catalog.add_project((MARKUP + "W" * 200)[:200], ("https://shop.example",))
        scenario = await catalog.add_scenario("N" * 200, project.id, "m" * 200, ("o" * 60 + "@192.0.2.7",))
        await catalog.add_number(NUMBER, project.id, scenario.id)
        await services.webhooks.add(project.id, "https://crm.example/" + "h" * 200)
        self.person = await services.people.add("p" * 60 + "@shop.example", (Grant(project=None, role="owner"),))
        at = services.wall_ms() - 60_000
        long = "source" + "x" * 2000
        calls = [
            call_record("1" * 32, at, project=project.id, scenario=scenario.id, caller=MARKUP + "9" * 300, target="sip:" + "z" * 300,
                        trunk="t" * 200, reason="r" * 500, ladder=(*LADDER, LadderStep(86_399_999, "caller", False, "BYE")), status="ANSWER", answered=at, ringing=at, ended=at + 9000,
                        attribution=Attribution(marker=long, visit=7, reason="y" * 300, candidates=(Candidate(visit=7, marker=long, reason="y" * 300),))),
            call_record("2" * 32, at, project=project.id, scenario=scenario.id, caller=f"{TURN}12345", target=f"sip:{TURN}office@x", status="BUSY",
                        ended=at, attribution=Attribution(marker=f"{TURN}direct_{MARKUP}", reason=f"{TURN}why")),
        ]  # fmt: skip
        await self.service.stores.records.write([replace(one, callee=NUMBER) for one in calls])
        home = f"/projects/{project.id}"
        parts = ("", "/calls", *(f"/calls/{one.id}" for one in calls), "/live", "/scenarios", f"/scenarios/{scenario.id}",
                 f"/scenarios/{scenario.id}/forwarding", "/numbers", "/webhooks", "/account", "/settings")  # fmt: skip
        return (*(home + part for part in parts), "/people", "/audit", "/me", "/system")

    async def test_no_text_of_strangers_widens_a_page_turns_what_is_read_or_becomes_markup(self):
        paths = await self.set_up_project()
        await self.go(f"/enter?token={await self.service.services.people.link(self.person.id, 'enter')}")
        await self.press("Enter")
        for width in (1280, 390):
            await self.browser.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
            for path in paths:
                await self.go(path)
                await self.browser.run("for (const one of document.querySelectorAll('main details')) one.open = true;")
                told = f"{path} at {width}"
                self.assertLessEqual(await self.browser.value("document.documentElement.scrollWidth - innerWidth"), 0, told)
                self.assertEqual(await self.browser.value(BEYOND), [], told)
                self.assertFalse(await self.browser.value(f"document.body.innerText.includes({TURN!r})"), told)
                self.assertEqual(await self.browser.value("document.querySelectorAll('img[src=x]').length"), 0, told)
        await self.go(paths[2])
        self.assertGreaterEqual(await self.browser.value("Math.min(...[...document.querySelectorAll('svg.ladder text')].map((one) => one.getBBox().x))"), 0)
        await self.go(paths[1])
        self.assertIn("\\u202e12345", await self.browser.text("tbody"))
        self.assertLess(await self.browser.value("document.querySelector('tbody').offsetHeight"), 700)

    async def test_head_of_a_phone_stays_one_line(self):
        paths = await self.set_up_project()
        await self.go(f"/enter?token={await self.service.services.people.link(self.person.id, 'enter')}")
        await self.press("Enter")
        await self.browser.devtools("Emulation.setDeviceMetricsOverride", width=390, height=900, deviceScaleFactor=1, mobile=True)
        await self.go(paths[0])
        self.assertLess(await self.browser.value("document.querySelector('header').offsetHeight"), 70)


# What stands out of its card or of the page to the right, but for what can be scrolled there.
BEYOND = """[...document.querySelectorAll('main *')].filter((one) => {
    if (one.closest('.scroll, pre, svg, .hidden, .u-wrap, option, table.rows thead')) return false;
    const card = one.closest('.card, .rows, main'), box = one.getBoundingClientRect();
    return box.width && card !== one && box.right > card.getBoundingClientRect().right + 1;
}).map((one) => one.outerHTML.slice(0, 120))"""
