"""A marketer at the page in a real Chromium, before a real engine: from the set-up link to reading a call that a real
SIP call has just made. And axe-core's judgement of every page, in both themes and at a phone's width."""

import os

from twisted.internet import reactor
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from calltrack.access.model import Grant
from calltrack.cli.demo_seed import fill
from calltrack.config import load
from calltrack.service import CalltrackService
from calltrack.testing.softphone import Softphone

from tests.interop.processes import eventually, free_port, own_address
from tests.web.browser import Browser

AXE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "axe", "axe.min.js")
PASSWORD = "a sentence nobody guesses"
NUMBER = "11231234567"

CONFIG = """
[sip]
listen = ["udp:{engine}:{sip}"]
domain = "calltrack.example"
[media]
listen = "{engine}"
ports = [{media}, {last}]
[storage]
url = "sqlite:{folder}/calltrack.db"
[web]
listen = "{engine}:{web}"
public_url = "http://page.example:{web}"
[[trunk]]
name = "provider"
sources = ["{provider}/32"]
country = "US"
"""


class PageBrowserTestCase(TestCase):
    """An engine of its own, `url` its page; a `browser`."""

    timeout = 180

    async def setUp(self):
        self.addCleanup(self.forget_timers)
        self.engine_host, self.provider, self.office_host = own_address(21), own_address(22), own_address(23)
        self.browser = await Browser.start(self, {"page.example": self.engine_host})
        self.sip, web = free_port(self.engine_host), free_port(self.engine_host)
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        media = 40000 + 200 * (os.getpid() % 50)
        text = CONFIG.format(engine=self.engine_host, sip=self.sip, web=web, provider=self.provider, folder=folder, media=media, last=media + 199)
        self.said = []
        globalLogPublisher.addObserver(self.said.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.said.append)
        self.service = CalltrackService(load(text), reactor)
        self.addCleanup(self.service.stopService)
        self.service.startService()
        await self.service.started
        self.url = f"http://page.example:{web}"

    def forget_timers(self):
        """A resolver looks at its configuration, a transaction lingers: for the life of a process, not of a test."""
        for call in reactor.getDelayedCalls():
            call.cancel()

    # What a hand does

    async def go(self, path):
        await self.browser.open(self.url + path)

    async def type(self, **fields):
        """Type into fields by their names; boxes are ticked by True, choices made by their values."""
        for name, value in fields.items():
            done = await self.browser.run(
                """const field = document.querySelector(`main [name="${arguments[0]}"]`);
                if (!field) return false;
                field.focus();
                if (field.type === "checkbox") { if (field.checked !== arguments[1]) field.click(); }
                else { field.value = arguments[1]; field.dispatchEvent(new Event("input", {bubbles: true})); }
                return true;""",
                name, value,
            )  # fmt: skip
            self.assertTrue(done, f"no field {name} on {await self.browser.value('location.href')}")

    async def press(self, words):
        """Press the button or link that says so, and wait for the page that follows."""
        found = await self.browser.run(
            """const all = [...document.querySelectorAll("main button, main a, header a, nav a, header button")];
            const wanted = all.find((one) => one.textContent.trim() === arguments[0]);
            if (!wanted) return all.map((one) => one.textContent.trim());
            document.documentElement.dataset.old = "1"; wanted.click(); return true;""",
            words,
        )  # fmt: skip
        self.assertIs(found, True, f"nothing says {words!r}: {found}")
        await self.browser.until("document.readyState === 'complete' && !document.documentElement.dataset.old")

    async def reads(self, text, seconds=10.0):
        """Wait until the page says something."""
        await self.browser.until(f"document.querySelector('main').innerText.includes({text!r})", True, seconds)


class MarketerTests(PageBrowserTestCase):
    async def test_from_the_set_up_link_to_reading_a_call_that_was_just_made(self):
        office = Softphone(reactor, self.office_host, user="office", on_call=self.office_answers)
        visitor = Softphone(reactor, self.provider, user="12025550143")
        for phone in (office, visitor):
            phone.start()
            self.addCleanup(phone.stop)

        # The link that the service printed at its first start
        (link,) = [event["url"] + "/set-up?token=" + event["secret"] for event in self.said if "secret" in event]
        await self.browser.open(link)
        await self.type(name="maria@shop.example", password=PASSWORD, again=PASSWORD)
        await self.press("Begin")
        await self.type(name="Glasses shop", site="https://shop.example", time_zone="Europe/Moscow")
        await self.press("Add the project")
        await self.reads("Before the first call")

        # Step 1: numbers and their appearance, with a preview of the mask
        await self.press("Add a scenario")
        await self.type(name="Search ads", marker="direct_search_1234567_buy glasses", new_number=NUMBER, selectors=".phone")
        await self.browser.run("document.querySelector('.preview').dataset.digits = '11231234567'")
        await self.type(mask="8 (XXX) XXX-XX-XX")
        await self.browser.shows(".preview", "8 (123) 123-45-67")
        await self.press("On to step 2")

        # Step 2: an address that is judged while it is typed
        await self.browser.run("document.querySelector('[name=kind_of]').value = 'sip'")
        await self.type(address="office@")
        await self.browser.until("document.querySelector('[name=address] ~ .check').className", "check bad")
        self.assertIn("names no host", await self.browser.text("[name=address] ~ .check"))
        await self.type(address=office.uri.removeprefix("sip:"))
        await self.browser.until("document.querySelector('[name=address] ~ .check').className", "check good")
        await self.type(account_password="short")
        await self.browser.until("document.querySelector('#c-account_password').className", "check bad")
        self.assertIn("has no upper-case letter", await self.browser.text("#c-account_password"))
        await self.type(account_password="Sesame-open")
        await self.browser.until("document.querySelector('#c-account_password').className", "check good")
        await self.press("Add the scenario")
        await self.reads("<script async src=")

        # A test call
        await self.press("Step 2. Adjust settings for call forwarding")
        await self.reads("Test calls")
        await self.browser.run("document.querySelector('form[data-run] button').click()")
        await self.reads("It answered after", 20)

        # Live: a real call comes and goes without a reload
        await self.press("Live calls")
        await self.reads("Nobody is calling")
        await eventually(lambda: self.service.scenarios.numbers, "the number is known")
        call = visitor.call(f"sip:{NUMBER}@{self.engine_host}:{self.sip}")
        await call.when_answered()
        await self.reads("talking", 15)
        call.hang_up()
        await self.reads("answered", 15)

        # The call, read, once its last messages have been kept
        records = self.service.stores.records

        async def kept():
            return (await records.get((await records.list(limit=1))[0].id)).ladder

        await eventually(kept, "the ladder is kept", 60)
        await self.browser.run("document.querySelector('tbody a').click()")
        await self.reads("What happened")
        for words in ("+1 202-555-0143 dialled", "The caller hung up.", "direct_search_1234567_buy glasses", "belongs to this channel alone", "180 Ringing"):
            self.assertIn(words, await self.browser.value("document.querySelector('main').textContent"))
        await self.press("Overview")
        await self.browser.until("document.querySelectorAll('canvas').length", 2)
        problems = [line for line in await self.browser.console() if "Content Security Policy" in line or "Uncaught" in line]
        self.assertEqual(problems, [])

    def office_answers(self, call):
        call.ring()
        reactor.callLater(0.2, lambda: call.ended or call.answer())


class AccessibilityTests(PageBrowserTestCase):
    timeout = 360

    async def test_axe_finds_nothing_in_either_theme_or_width(self):
        services = self.service.services
        catalog = services.catalog
        project = await catalog.add_project("Glasses shop", ("https://shop.example",))
        scenario = await catalog.add_scenario("Search ads", project.id, "direct_search_1234567_buy glasses", ("office@192.0.2.7",))
        await catalog.add_number(NUMBER, project.id, scenario.id)
        await fill(self.service.stores, project.id, scenario, NUMBER, services.wall_ms())
        await catalog.add_project("Empty")
        await services.webhooks.add(project.id, "https://crm.example/hook")
        person = await services.people.add("maria", (Grant(project=None, role="owner"),))
        calls = await self.service.stores.records.list(limit=1)
        home = f"/projects/{project.id}"
        inside = (home, f"{home}/calls", f"{home}/calls?from=x", f"{home}/calls/{calls[0].id}", f"{home}/live", f"{home}/scenarios",
                  f"{home}/scenarios/{scenario.id}", f"{home}/scenarios/{scenario.id}/forwarding", f"{home}/scenarios/new",
                  f"{home}/numbers", f"{home}/webhooks", f"{home}/account", f"{home}/settings", "/projects/2", "/projects/2/calls", "/projects/new",
                  "/people", "/audit", "/me", "/system", "/developers")  # fmt: skip
        with open(AXE, encoding="utf-8") as file:
            self.axe = file.read()
        self.found, self.titles = [], {}
        await self.judge("/log-in")
        await self.go(f"/enter?token={await services.people.link(person.id, 'enter')}")
        await self.press("Enter")
        for theme, width in (("light", 1280), ("dark", 390)):
            await self.browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
            await self.browser.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
            for path in inside:
                await self.judge(path, theme)
                wide = await self.browser.value("document.documentElement.scrollWidth > innerWidth + 1")
                self.assertFalse(wide, f"{path} is wider than a screen of {width}")
        self.assertEqual(self.found, [])
        self.assertEqual([paths for paths in self.titles.values() if len(paths) > 1], [])

    async def test_report_is_printed_dark_on_light_whatever_the_theme(self):
        services = self.service.services
        project = await services.catalog.add_project("Glasses shop")
        scenario = await services.catalog.add_scenario("Search ads", project.id, "direct_1", ("office@192.0.2.7",))
        await fill(self.service.stores, project.id, scenario, NUMBER, services.wall_ms())
        person = await services.people.add("maria", (Grant(project=None, role="owner"),))
        await self.go(f"/enter?token={await services.people.link(person.id, 'enter')}")
        await self.press("Enter")
        for by_button in (False, True):
            await self.browser.run("localStorage.setItem('theme', arguments[0])", "dark" if by_button else "")
            for media, ink in (("screen", "rgb(231, 236, 233)"), ("print", "rgb(28, 35, 32)")):
                await self.browser.devtools("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": "dark"}])
                if media == "screen":
                    await self.go(f"/projects/{project.id}")
                await self.browser.until("getComputedStyle(document.querySelector('.figure')).color", ink)
                await self.browser.until("document.querySelectorAll('canvas').length", 2)
            self.assertEqual(await self.browser.value("document.querySelector('.top').checkVisibility()"), False)

    async def judge(self, path, theme="light"):
        """What axe-core finds, and what it does not look for: a title of one's own, one main heading and none left out."""
        await self.go(path)
        await self.browser.run("for (const one of document.querySelectorAll('main details:not(#api *)')) one.open = true;")
        await self.browser.run(self.axe)
        results = await self.browser._ask("POST", "/execute/async", {"args": [], "script": """
            const done = arguments[arguments.length - 1];
            axe.run(document, {resultTypes: ["violations"]}).then((found) => done(found.violations
                .map((one) => one.id + ": " + one.nodes.slice(0, 3).map((node) => node.target.join(" ") + " " + (node.any[0] || {message: ""}).message).join(" | "))), (error) => done([String(error)]));"""})  # fmt: skip
        self.found += [f"{path} ({theme}) {one}" for one in results]
        headings = await self.browser.value("[...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))")
        if headings.count(1) != 1 or any(later > before + 1 for before, later in zip([0, *headings], headings)):
            self.found.append(f"{path}: headings {headings}")
        unnamed = "document.querySelectorAll('[tabindex=\"0\"]:not(pre):not([aria-label]):not([aria-labelledby])').length"
        if await self.browser.value(unnamed):
            self.found.append(f"{path}: something that scrolls has no name")
        self.titles.setdefault(await self.browser.value("document.title"), set()).add(path.partition("?")[0])
