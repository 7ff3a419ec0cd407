"""What the snippet writes into real pages, in a real Chromium: which numbers, where, and what it leaves alone."""

from tests.web.browser_case import NUMBER, SHOWN, BrowserTestCase, shown, swap

OTHER, OTHER_SHOWN = "11235550100", "8 (112) 355-50-10"


class StaticPageTests(BrowserTestCase):
    async def test_numbers_of_a_page_are_replaced_in_any_formatting(self):
        await self.open("static")
        await self.browser.shows("#plain", f"Call {SHOWN} today")
        for place in ("dashes", "brackets", "national", "bare", "dots", "typeset"):
            self.assertEqual(await self.browser.text("#" + place), SHOWN, place)
        self.assertEqual(await self.browser.text("#twice"), f"{SHOWN} or {SHOWN}")
        self.assertEqual(await self.browser.text("#aside"), f"(call us: {SHOWN})")
        await self.quiet()

    async def test_number_split_among_elements_is_written_where_it_begins(self):
        await self.open("static")
        await self.browser.shows("#split", f"Call {SHOWN}!")
        self.assertEqual(await self.browser.text("#split b"), SHOWN)
        self.assertEqual(await self.browser.text("#split i"), "")

    async def test_other_numbers_and_longer_ones_stay(self):
        await self.open("static")
        await self.browser.shows("#bare", SHOWN)
        self.assertEqual(await self.browser.text("#longer"), "119990000000 and 199900000001")
        self.assertEqual(await self.browser.text("#abroad"), "+44 999 000 00 00")
        self.assertEqual(await self.browser.text("#other"), "+1 888 000 00 00")
        self.assertEqual(await self.browser.value("document.querySelector('#lines').innerText"), "+1 999\n000 00 00")
        self.assertEqual(await self.browser.value("document.title"), "Glasses: call +1 999 000 00 00")

    async def test_inputs_scripts_styles_editors_and_what_is_marked_to_be_ignored_stay(self):
        await self.open("static")
        await self.browser.shows("#bare", SHOWN)
        self.assertEqual(await self.browser.text("#ignored"), "+1 999 000 00 00")
        self.assertEqual(await self.browser.value("document.querySelector('#input').value"), "+1 999 000 00 00")
        self.assertEqual(await self.browser.value("document.querySelector('#area').value"), "+1 999 000 00 00")
        self.assertEqual(await self.browser.text("#editor"), "+1 999 000 00 00")
        self.assertIn("+1 999 000 00 00", await self.browser.text("#code"))
        self.assertIn("+1 999 000 00 00", await self.browser.text("style"))
        self.assertEqual(await self.href("link-ignored"), "tel:+19990000000")

    async def test_links_lead_to_the_number_and_their_names_say_it(self):
        await self.open("static")
        await self.browser.shows("#link", f" {SHOWN}")
        self.assertEqual(await self.href("link"), "tel:+" + NUMBER)
        self.assertEqual(await self.href("link-spelled"), "tel:+" + NUMBER)
        self.assertEqual(await self.href("link-other"), "tel:+18880000000")
        self.assertEqual(await self.browser.text("#link-spelled"), "Call us")
        said = "[...['title', 'aria-label'].map(name => document.querySelector('#link').getAttribute(name))]"
        self.assertEqual(await self.browser.value(said), [f"Call {SHOWN}", f"Call {SHOWN}"])
        self.assertEqual(await self.browser.value("document.querySelectorAll('#link svg').length"), 1)

    async def test_elements_that_a_selector_chooses_show_the_number(self):
        self.visits.answers["arrive"] = shown(swap(replace=(), selectors=("p:invalid(", ".phone")))
        await self.open("static")
        await self.browser.shows("#chosen-empty", SHOWN)
        self.assertEqual(await self.browser.text("#chosen-loading"), SHOWN)
        self.assertEqual(await self.browser.text("#chosen-link"), f" Call {SHOWN} now")
        self.assertEqual(await self.browser.text("#chosen-around"), SHOWN)
        self.assertEqual(await self.browser.text("#chosen-icon"), "")
        for link in ("chosen-link", "chosen-around", "chosen-icon"):
            self.assertEqual(await self.href(link), "tel:+" + NUMBER, link)
        self.assertEqual(await self.browser.text("#plain"), "Call +1 999 000 00 00 today")
        await self.quiet()

    async def test_markup_in_an_answer_is_text(self):
        self.visits.answers["arrive"] = shown(swap(text="<img src=x onerror='window.hurt=1'>"))
        await self.open("static")
        await self.browser.shows("#bare", "<img src=x onerror='window.hurt=1'>")
        self.assertEqual(await self.browser.value("[document.images.length, window.hurt]"), [0, None])

    async def href(self, link: str) -> str:
        return await self.browser.run("return document.getElementById(arguments[0]).getAttribute('href')", link)


class SeveralScenariosTests(BrowserTestCase):
    async def test_each_scenario_has_its_places_and_its_mask(self):
        self.visits.answers["arrive"] = shown(
            swap("74951112233", "8 (495) 111-22-33", replace=("74950000000",)),
            swap("78001112233", "8-800-111-22-33", replace=("88000000000",), scenario=8),
            swap("442079461111", "+44 20 7946 1111", replace=(), selectors=("#office",), scenario=9),
        )
        await self.open("several")
        await self.browser.shows("#sales", "Продажи: 8 (495) 111-22-33")
        self.assertEqual(await self.browser.text("#sales-plus"), "8 (495) 111-22-33")
        self.assertEqual(await self.browser.text("#service"), "Сервис: 8-800-111-22-33, звонок бесплатный")
        self.assertEqual(await self.browser.text("#both"), "8 (495) 111-22-33 / 8-800-111-22-33")
        self.assertEqual(await self.browser.text("#office"), "+44 20 7946 1111")
        links = "['sales-link', 'service-link'].map(id => document.getElementById(id).getAttribute('href'))"
        self.assertEqual(await self.browser.value(links), ["tel:+74951112233", "tel:+78001112233"])
        await self.quiet()


class ApplicationTests(BrowserTestCase):
    async def test_views_that_an_application_builds_later_show_the_number(self):
        await self.open("application")
        await self.browser.shows("#home", f"Call {SHOWN} now")
        await self.browser.run("document.getElementById('to-contacts').click()")
        await self.browser.shows("#contacts", SHOWN)
        self.assertEqual(await self.browser.value("document.querySelector('#contacts-link').href"), "tel:+" + NUMBER)
        self.assertEqual(self.visits.count("arrive"), 1)
        await self.quiet()

    async def test_text_and_links_that_are_written_again_show_the_number_again(self):
        await self.open("application")
        await self.browser.shows("#home", f"Call {SHOWN} now")
        await self.browser.run("go('contacts')")
        await self.browser.shows("#contacts", SHOWN)
        await self.browser.run("document.querySelector('#contacts').firstChild.data = 'new: 1 999 000 00 00'")
        await self.browser.shows("#contacts", f"new: {SHOWN}")
        await self.browser.run("document.querySelector('#contacts-link').href = 'tel:19990000000'")
        await self.browser.until("document.querySelector('#contacts-link').href", "tel:+" + NUMBER)

    async def test_number_that_arrives_in_pieces_is_seen_whole(self):
        await self.open("application")
        await self.browser.shows("#home", f"Call {SHOWN} now")
        await self.browser.run(
            "var made = paragraph('late', ['+1 999 ']); document.body.appendChild(made);"
            "requestAnimationFrame(() => made.appendChild(document.createTextNode('000 00 00')))"
        )
        await self.browser.shows("#late", SHOWN)

    async def test_shadow_trees_show_the_number(self):
        await self.open("application")
        await self.browser.shows("#home", f"Call {SHOWN} now")
        await self.browser.run("card()")
        inner = "document.querySelector('#card').shadowRoot.querySelector('#inner').textContent"
        await self.browser.until(inner, SHOWN)
        await self.browser.run("document.querySelector('#card').shadowRoot.appendChild(paragraph('x', ['19990000000']))")
        await self.browser.until(inner.replace("#inner", "#x"), SHOWN)

    async def test_page_that_insists_on_its_text_has_the_last_word(self):
        await self.open("application")
        await self.browser.shows("#home", f"Call {SHOWN} now")
        await self.browser.run(
            "document.body.insertBefore(paragraph('stubborn', ['+1 999 000 00 00']), document.body.firstChild);"
            "insist('stubborn')"
        )
        await self.browser.until("window.insisted > 5")
        await self.browser.shows("#stubborn", "+1 999 000 00 00")
        self.assertLess(await self.browser.value("window.insisted"), 50)

    async def test_number_that_comes_while_much_changes_is_shown_when_there_is_time(self):
        rows = "".join(f"<tr><td>{row}</td><td><span>price {row}</span></td></tr>" for row in range(5000))
        self.pages.extra["busy"] = f'<script async src="SNIPPET"></script><p id="plain">19990000000</p><table>{rows}</table>'
        await self.open("busy")
        await self.browser.shows("#plain", SHOWN)
        await self.browser.run(
            "var cells = document.querySelectorAll('span'), rounds = 0; (function tick() {"
            "  cells.forEach(cell => { cell.firstChild.data = 'price ' + Math.random(); });"
            "  if (rounds === 5) document.querySelector('#plain').firstChild.data = 'new: 19990000000';"
            "  if (++rounds < 20) setTimeout(tick, 0); else window.over = true;"
            "})()"
        )
        await self.browser.until("window.over")
        await self.browser.shows("#plain", f"new: {SHOWN}")

    async def test_another_advertisement_in_the_address_is_told(self):
        await self.open("application", "?utm_source=one")
        await self.browser.shows("#home", f"Call {SHOWN} now")
        self.visits.answers["arrive"] = shown(swap(OTHER, OTHER_SHOWN), visit="124.aaaa")
        await self.browser.run("go('contacts', '?utm_source=one&page=2')")
        await self.browser.shows("#contacts", SHOWN)
        self.assertEqual(self.visits.count("arrive"), 1)
        await self.browser.run("go('home', '?utm_source=two')")
        await self.browser.shows("#home", f"Call {OTHER_SHOWN} now")
        said = self.visits.last("arrive")
        self.assertEqual(said["page"], f"{self.shop}/application?utm_source=two#home")
        self.assertEqual(said["referrer"], f"{self.shop}/application?utm_source=one&page=2#contacts")
        self.assertEqual(await self.browser.value("calltrack.visit"), 124)
