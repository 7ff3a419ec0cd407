"""The page in a real Chromium by the keyboard alone: where Tab leads and that it is seen, menus, forms that were refused."""

from calltrack.access.model import Grant

from tests.web.test_page_browser import NUMBER, PASSWORD, PageBrowserTestCase

KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32}
TEXTS = {"Enter": "\r", "Space": " "}


class KeyboardTestCase(PageBrowserTestCase):
    async def enter(self):
        """A project with a scenario and a number; somebody has logged in."""
        services = self.service.services
        project = await services.catalog.add_project("Glasses shop", ("https://shop.example",))
        self.scenario = await services.catalog.add_scenario("Search ads", project.id, "direct_1", ("office@192.0.2.7",))
        await services.catalog.add_number(NUMBER, project.id, self.scenario.id)
        self.person = await services.people.add("maria", (Grant(project=None, role="owner"),))
        self.home = f"/projects/{project.id}"
        await self.go(f"/enter?token={await services.people.link(self.person.id, 'enter')}")
        await self.press("Enter")

    async def key(self, name, shift=False):
        """Press a key; returns when the page has handled it."""
        press = {"key": " " if name == "Space" else name, "code": name, "windowsVirtualKeyCode": KEYS[name], "modifiers": 8 if shift else 0}
        await self.browser.devtools("Input.dispatchKeyEvent", type="keyDown", **press, **({"text": TEXTS[name]} if name in TEXTS else {}))
        await self.browser.devtools("Input.dispatchKeyEvent", type="keyUp", **press)

    async def focused(self):
        """What has the focus, told by its tag and words or name."""
        return await self.browser.value(
            "((one) => one.tagName.toLowerCase() + ' ' + (one.id || one.textContent.trim()).slice(0, 60))(document.activeElement)"
        )


class WalkTests(KeyboardTestCase):
    timeout = 360

    async def test_tab_reaches_everything_in_the_order_of_the_page_and_is_seen_there(self):
        await self.enter()
        paths = (self.home, f"{self.home}/calls", f"{self.home}/numbers", f"{self.home}/scenarios/{self.scenario.id}",
                 f"{self.home}/scenarios/{self.scenario.id}/forwarding", f"{self.home}/settings", "/people", "/me")  # fmt: skip
        for theme, walked in (("light", paths), ("dark", paths[:1])):
            await self.browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
            for path in walked:
                await self.go(path)
                wanted = await self.browser.value(REACHABLE)
                self.assertGreater(wanted, 8, path)
                reached = []
                for _ in range(wanted + 60):  # fields of dates take several
                    await self.key("Tab")
                    place = await self.browser.value(PLACE)
                    if place is None:  # round once, past the last
                        break
                    if not reached or place[0] != reached[-1]:
                        reached.append(place[0])
                    self.assertTrue(place[1], f"{path} ({theme}): the focus is not seen at {place[2]}")
                self.assertEqual(reached, list(range(wanted)), f"{path} ({theme})")

    async def test_skip_link_leads_to_the_content(self):
        await self.enter()
        await self.go(self.home)
        await self.key("Tab")
        self.assertEqual(await self.focused(), "a Skip to the content")
        await self.key("Enter")
        await self.browser.until("document.activeElement.id", "main")

    async def test_menu_opens_by_enter_closes_by_escape_and_when_it_is_left(self):
        await self.enter()
        await self.go(self.home)
        await self.browser.run("document.querySelector('header .drop.right summary').focus()")
        is_open = "document.querySelector('header .drop.right').open"
        await self.key("Enter")
        await self.browser.until(is_open)
        await self.key("Tab")
        self.assertEqual(await self.focused(), "a My account")
        await self.key("Escape")
        await self.browser.until(is_open, False)
        self.assertEqual(await self.focused(), "summary maria")
        await self.key("Space")
        await self.browser.until(is_open)
        await self.key("Tab", shift=True)
        await self.browser.until(is_open, False)

    async def test_theme_and_language_are_chosen_by_keys(self):
        await self.enter()
        await self.go(f"{self.home}/numbers")
        await self.browser.run("document.getElementById('theme').focus()")
        await self.key("Space")
        await self.browser.until("document.documentElement.dataset.theme", "dark")
        await self.key("Tab")
        await self.key("Enter")
        await self.browser.until("document.documentElement.lang", "ru")
        self.assertEqual(await self.browser.value("location.pathname"), f"{self.home}/numbers")


class RefusalTests(KeyboardTestCase):
    async def test_refused_form_leads_to_the_field_that_is_wrong_and_says_so_in_the_title(self):
        await self.enter()
        forwarding = f"{self.home}/scenarios/{self.scenario.id}/forwarding"
        for path, fields, button, field in (
            (f"{self.home}/settings", {"time_zone": "Moon"}, "Save", "f-time_zone"),
            (f"{self.home}/numbers", {"number": "12"}, "Add", "f-number"),
            (forwarding, {"address": "office@host:70000"}, "Save", "a-1"),
            (forwarding, {"allow": "no such codec"}, "Save", "f-allow"),  # within details, which open
            (f"{self.home}/webhooks", {"url": "https://crm.example/", "format": "ga4"}, "Add", "f-measurement_id"),
        ):
            await self.go(path)
            await self.type(**fields)
            await self.press(button)
            await self.browser.until("document.activeElement.id", field)
            self.assertTrue((await self.browser.value("document.title")).startswith("Error: "), path)
            told = await self.browser.value(DESCRIBED)
            self.assertGreater(len(told), 10, f"{path}: what is wrong is not tied to the field")

    async def test_refused_log_in_is_tied_to_its_fields(self):
        await self.enter()
        await self.browser.devtools("Network.clearBrowserCookies")
        await self.go("/log-in")
        await self.type(name="maria", password=PASSWORD)
        await self.press("Log in")
        await self.browser.until("document.activeElement.id", "f-name")
        self.assertEqual(await self.browser.value(DESCRIBED), "The name or the password is wrong.")

    async def test_value_that_is_judged_as_it_is_typed_is_marked_while_it_is_wrong(self):
        await self.enter()
        await self.go(f"{self.home}/account")
        for password, wrong in (("short", "true"), ("Sesame-open", "false")):
            await self.type(password=password)
            await self.browser.until("document.querySelector('[name=password]').getAttribute('aria-invalid')", wrong)

    async def test_preview_without_a_mask_is_what_visitors_see(self):
        await self.enter()
        await self.go(f"{self.home}/scenarios/{self.scenario.id}")
        before = await self.browser.text(".preview")
        await self.type(mask="8 XXX")
        await self.browser.shows(".preview", "8 567")
        await self.type(mask="")
        await self.browser.shows(".preview", before)
        self.assertEqual(before, "+1 1231234567")


# What Tab should reach: in the order of the document, but for what is not shown.
_ALL = """[...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"], audio[controls]')]
    .filter((one) => one.type !== 'hidden' && !one.disabled && one.tabIndex >= 0 && one.checkVisibility({contentVisibilityAuto: true}))"""
REACHABLE = f"{_ALL}.length"
PLACE = f"""((one) => {{
    if (one === document.body || one === document.documentElement) return null;
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
    return [{_ALL}.indexOf(one), ring && box.width > 0 && box.right > 0 && box.bottom > 0 && box.top < innerHeight && box.left < innerWidth, one.outerHTML.slice(0, 120)];
}})(document.activeElement)"""
DESCRIBED = """(document.activeElement.getAttribute('aria-describedby') || '').trim().split(/ +/)
    .filter((id) => id.startsWith('e-')).map((id) => document.getElementById(id).textContent).join(' ')"""
