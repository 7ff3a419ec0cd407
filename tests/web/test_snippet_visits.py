"""The life of a visit in a real Chromium: the cookie, consent, signs of life, and what happens when things fail."""

from msgspec import Raw
from msgspec.structs import replace
from twisted.internet.defer import Deferred, succeed

from tests.interop.processes import eventually
from tests.web.browser_case import COOKIE, KEY, NUMBER, SHOWN, STATIC, STATIC_SHOWN, BrowserTestCase, shown, swap

OTHER, OTHER_SHOWN = "11235550100", "8 (112) 355-50-10"
OLD_TEXT = "Call +1 999 000 00 00 today"
NEW_TEXT = f"Call {SHOWN} today"
SCRIPT = '<script async src="SNIPPET"></script>'
PLAIN = '<p id="plain">Call +1 999 000 00 00 today</p>'


class CookieTests(BrowserTestCase):
    async def test_first_page_starts_a_visit_and_keeps_its_cookie_for_two_weeks(self):
        await self.open("static", "?utm_source=direct&utm_term=buy%20glasses")
        await self.browser.shows("#plain", NEW_TEXT)
        said = self.visits.last("arrive")
        self.assertEqual(said["page"], f"{self.shop}/static?utm_source=direct&utm_term=buy%20glasses")
        self.assertEqual((said["referrer"], said["cookie"], said["consent"]), ("", "", True))
        self.assertIn("Chrome/", said["user_agent"])
        self.assertEqual(await self.browser.value("document.cookie"), f"calltrack_visit={COOKIE}")
        cookie = await self.cookie()
        self.assertEqual((cookie["domain"], cookie["path"], cookie["sameSite"]), (".shop.example", "/", "Lax"))
        now = await self.browser.value("Date.now() / 1000")
        self.assertLess(abs(cookie["expires"] - now - 1209600), 60)

    async def test_next_page_belongs_to_the_same_visit_and_shows_its_number_at_once(self):
        await self.open("static")
        await self.browser.shows("#plain", NEW_TEXT)
        await self.stop_tracker()  # the script itself is in the browser's cache
        await self.open("static")
        await self.browser.shows("#plain", NEW_TEXT)
        await self.quiet_but_for("ERR_CONNECTION_REFUSED")

    async def test_the_cookie_is_sent_from_all_hosts_of_the_site(self):
        await self.open("static")
        await self.browser.shows("#plain", NEW_TEXT)
        await self.browser.open(self.shop.replace("//", "//m.") + "/static")
        await self.browser.shows("#plain", NEW_TEXT)
        self.assertEqual(self.visits.last("arrive")["cookie"], COOKIE)
        self.assertEqual(await self.browser.value("document.cookie"), f"calltrack_visit={COOKIE}")

    async def test_new_visit_of_the_server_replaces_the_cookie(self):
        await self.open("static")
        await self.browser.shows("#plain", NEW_TEXT)
        self.visits.answers["arrive"] = shown(swap(OTHER, OTHER_SHOWN), visit="124.abc")
        await self.open("static", "?utm_source=other")
        await self.browser.shows("#plain", f"Call {OTHER_SHOWN} today")
        self.assertEqual(await self.browser.value("document.cookie"), "calltrack_visit=124.abc")

    async def cookie(self) -> dict:
        cookies = (await self.browser.devtools("Network.getAllCookies"))["cookies"]
        (found,) = [cookie for cookie in cookies if cookie["name"] == "calltrack_visit"]
        return found


class InterfaceTests(BrowserTestCase):
    async def test_page_is_told_the_visit_and_the_number(self):
        self.pages.extra["told"] = (
            "<script>var told = []; (window.calltrack = window.calltrack || []).push(function (calltrack) {"
            "  calltrack.onNumber(function (number, swap) { told.push([number, swap.text, swap.scenario]); });"
            "  calltrack.onNumber(function () { throw new Error('of the page'); });"
            "});</script>" + SCRIPT + PLAIN
        )
        await self.open("told")
        await self.browser.until("told", [["+" + NUMBER, SHOWN, 7]])
        self.assertEqual(await self.browser.value("[calltrack.visit, calltrack.number]"), [123, "+" + NUMBER])
        later = "var late; calltrack.onNumber(number => { late = number; }); return late"
        self.assertEqual(await self.browser.run(later), "+" + NUMBER)

    async def test_script_that_stands_twice_in_a_page_runs_once(self):
        self.pages.extra["twice"] = SCRIPT + SCRIPT + PLAIN
        await self.open("twice")
        await self.browser.shows("#plain", NEW_TEXT)
        self.assertEqual(self.visits.count("arrive"), 1)

    async def test_variable_of_that_name_in_the_page_does_no_harm(self):
        self.pages.extra["taken"] = "<div id=calltrack>a page's own</div>" + SCRIPT + PLAIN
        await self.open("taken")
        await self.browser.shows("#plain", NEW_TEXT)
        await self.quiet()


class ConsentTests(BrowserTestCase):
    async def test_denied_by_a_variable_shows_the_static_number_and_keeps_nothing(self):
        self.pages.extra["denied"] = "<script>window.calltrackConsent = false</script>" + SCRIPT + PLAIN
        await self.open("denied", "?utm_source=direct")
        await self.browser.shows("#plain", f"Call {STATIC_SHOWN} today")
        said = self.visits.last("arrive")
        self.assertEqual((said["consent"], said["cookie"]), (False, ""))
        self.assertEqual(await self.browser.value("[document.cookie, sessionStorage.length]"), ["", 0])
        self.assertEqual(await self.browser.value("[calltrack.visit, calltrack.number]"), [None, "+" + STATIC])

    async def test_denied_by_an_attribute_of_the_script_or_the_page(self):
        self.pages.extra["script"] = SCRIPT.replace("async", 'async data-calltrack-consent="denied"') + PLAIN
        self.pages.extra["page"] = '<html data-calltrack-consent="denied">' + SCRIPT + PLAIN
        for page in ("script", "page"):
            await self.open(page)
            await self.browser.shows("#plain", f"Call {STATIC_SHOWN} today")
            self.assertEqual(await self.browser.value("document.cookie"), "", page)
        await self.browser.run("document.documentElement.setAttribute('data-calltrack-consent', 'granted')")
        await self.browser.shows("#plain", NEW_TEXT)

    async def test_given_later_starts_a_visit(self):
        self.pages.extra["denied"] = "<script>window.calltrackConsent = false</script>" + SCRIPT + PLAIN
        await self.open("denied")
        await self.browser.shows("#plain", f"Call {STATIC_SHOWN} today")
        await self.browser.run("calltrack.consent(true)")
        await self.browser.shows("#plain", NEW_TEXT)
        self.assertEqual(await self.browser.value("document.cookie"), f"calltrack_visit={COOKIE}")

    async def test_taken_back_ends_the_visit_and_its_cookie(self):
        await self.open("static")
        await self.browser.shows("#plain", NEW_TEXT)
        await self.browser.run("calltrack.consent(false)")
        await self.browser.shows("#plain", f"Call {STATIC_SHOWN} today")
        await self.asked("leave")
        self.assertEqual(self.visits.last("leave"), {"cookie": COOKIE})
        self.assertEqual(await self.browser.value("[document.cookie, sessionStorage.length]"), ["", 0])

    async def test_taken_back_while_an_answer_is_on_its_way_keeps_nothing_of_it(self):
        answer: Deferred = Deferred()
        self.visits.arrive = lambda key, **said: answer if said["consent"] else succeed(shown(visit=""))
        await self.open("static")
        await self.browser.until("typeof calltrack.consent", "function")
        await self.browser.put_away()
        await self.browser.until("document.hidden")
        await self.browser.run("calltrack.consent(false)")
        answer.callback(shown())
        await self.browser.until("performance.getEntriesByType('resource').some(e => /visit$/.test(e.name))")
        self.assertEqual(await self.browser.value("document.cookie"), "")
        self.assertEqual(await self.browser.text("#plain"), OLD_TEXT)

    async def test_nothing_is_asked_while_the_visitor_has_not_decided(self):
        self.pages.extra["wait"] = '<html data-calltrack-consent="wait">' + SCRIPT + PLAIN
        await self.open("wait")
        await self.browser.until("typeof calltrack.consent", "function")
        self.assertEqual(await self.browser.text("#plain"), OLD_TEXT)
        self.assertEqual(self.visits.asked, [])
        await self.browser.run("calltrack.consent(true)")
        await self.browser.shows("#plain", NEW_TEXT)
        self.assertEqual(self.visits.count("arrive"), 1)


class SignsOfLifeTests(BrowserTestCase):
    """On a page whose clock passes when it is told to."""

    async def begin(self) -> None:
        await self.open("clock")
        await self.browser.shows("#plain", NEW_TEXT)

    async def test_first_sign_asks_what_to_show_and_later_ones_are_beacons(self):
        await self.begin()
        self.visits.answers["beat"] = shown(swap(OTHER, OTHER_SHOWN))
        await self.browser.run("elapse(2.9)")
        self.assertEqual(self.visits.count("beat"), 0)
        await self.browser.run("elapse(0.2)")
        await self.browser.shows("#plain", f"Call {OTHER_SHOWN} today")
        self.assertEqual(self.visits.last("beat")["cookie"], COOKIE)
        await self.browser.run(
            "window.beacons = []; var send = navigator.sendBeacon.bind(navigator);"
            "navigator.sendBeacon = (url, body) => { beacons.push(url); return send(url, body); }; elapse(41)"
        )
        await self.asked("beat", 3)
        self.assertEqual(await self.browser.value("beacons.length"), 2)
        await self.quiet()

    async def test_signs_stop_while_the_page_is_hidden_and_go_on_after(self):
        await self.begin()
        await self.browser.run("elapse(3)")
        await self.asked("beat", 1)
        await self.browser.until("Object.keys(waiting).length", 1)
        await self.browser.put_away()
        await self.browser.until("document.hidden && Object.keys(waiting).length === 0")
        await self.browser.run("elapse(100)")
        self.visits.answers["beat"] = shown(swap(OTHER, OTHER_SHOWN))
        await self.browser.bring_back()
        await self.browser.until("Object.keys(waiting).length", 1)
        self.assertEqual(self.visits.count("beat"), 1)
        await self.browser.run("elapse(0)")
        await self.browser.shows("#plain", f"Call {OTHER_SHOWN} today")
        self.assertEqual(self.visits.count("beat"), 2)

    async def test_visit_that_the_server_has_forgotten_is_started_anew(self):
        await self.begin()
        self.visits.forget_visits()
        self.visits.answers["arrive"] = shown(swap(OTHER, OTHER_SHOWN), visit="124.abc")
        await self.browser.run("elapse(3)")
        await self.browser.shows("#plain", f"Call {OTHER_SHOWN} today")
        self.assertEqual(self.visits.last("arrive")["cookie"], COOKIE)

    async def test_machine_that_slept_asks_what_to_show(self):
        await self.begin()
        await self.browser.run("elapse(3)")
        await self.asked("beat", 1)
        await self.browser.until("Object.keys(waiting).length", 1)
        self.visits.answers["beat"] = shown(swap(OTHER, OTHER_SHOWN))
        await self.browser.run("sleeps(3600); elapse(1)")
        await self.browser.shows("#plain", f"Call {OTHER_SHOWN} today")

    async def test_page_that_comes_back_out_of_the_browsers_memory_asks_what_to_show(self):
        await self.begin()
        await self.browser.run("window.same = true; elapse(3)")
        await self.asked("beat", 1)
        await self.browser.until("Object.keys(waiting).length", 1)
        await self.browser.run("sleeps(60)")
        await self.open("several")
        await self.asked("leave")
        self.visits.answers["beat"] = self.visits.answers["arrive"] = shown(swap(OTHER, OTHER_SHOWN))
        await self.browser.back()
        await self.browser.until("document.readyState", "complete")
        if await self.browser.value("window.same"):  # the browser has kept it
            await self.browser.run("elapse(0)")
        await self.browser.shows("#plain", f"Call {OTHER_SHOWN} today")

    async def test_leaving_is_told(self):
        await self.begin()
        await self.open("static")
        await self.asked("leave")
        self.assertEqual(self.visits.last("leave"), {"cookie": COOKIE})


class FailureTests(BrowserTestCase):
    async def test_page_keeps_its_numbers_while_the_server_is_down_and_shows_another_when_it_is_back(self):
        await self.open("clock")
        await self.browser.shows("#plain", NEW_TEXT)  # now the script is in the browser's cache
        port = self.tracker.getHost().port
        await self.stop_tracker()
        await self.browser.run("document.cookie = 'calltrack_visit=;max-age=0;domain=shop.example'; sessionStorage.clear()")
        await self.open("clock")
        await self.browser.until("Object.keys(waiting).length", 1)
        self.assertEqual(await self.browser.text("#plain"), OLD_TEXT)
        await self.browser.run("elapse(5)")
        await self.browser.until("Object.keys(waiting).length", 1)
        self.start_tracker(port)
        await self.browser.run("elapse(20)")
        await self.browser.shows("#plain", NEW_TEXT)

    async def test_page_is_whole_when_the_script_is_blocked(self):
        self.pages.headers["content-security-policy"] = "script-src 'none'"
        await self.open("static")
        self.assertEqual(await self.browser.text("#plain"), OLD_TEXT)
        self.assertEqual(self.visits.asked, [])

    async def test_page_is_whole_when_the_key_is_nobodys(self):
        self.visits.projects.clear()
        await self.open("static")
        self.assertEqual(await self.browser.text("#plain"), OLD_TEXT)

    async def test_two_directives_are_all_it_needs_of_a_strict_policy(self):
        origin = self.snippet.partition("/t/")[0]
        self.pages.headers["content-security-policy"] = (
            f"default-src 'none'; script-src {origin}; connect-src {origin}; base-uri 'none'; form-action 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )
        self.pages.extra["strict"] = SCRIPT + PLAIN
        await self.open("strict")
        await self.browser.shows("#plain", NEW_TEXT)
        await self.quiet()

    async def test_page_that_forbids_the_questions_keeps_its_numbers(self):
        origin = self.snippet.partition("/t/")[0]
        self.pages.headers["content-security-policy"] = f"script-src {origin}; connect-src 'none'"
        self.pages.extra["forbids"] = SCRIPT + PLAIN
        await self.open("forbids")
        await self.browser.until("typeof calltrack", "object")
        self.assertEqual(await self.browser.text("#plain"), OLD_TEXT)
        await self.quiet_but_for("Content Security Policy")

    async def test_refusal_is_told_on_the_console_in_words(self):
        self.visits.projects[KEY] = replace(self.visits.projects[KEY], sites=("https://other.example",))
        await self.open("static")
        told: list[str] = []

        async def refused() -> bool:
            told.extend(await self.browser.console())
            return any("none of the project's sites" in line and self.shop in line for line in told)

        await eventually(refused, "the console tells of the refusal")
        self.assertEqual(await self.browser.text("#plain"), OLD_TEXT)
        self.assertEqual(self.visits.asked, [])

    async def test_answers_that_make_no_sense_change_nothing(self):
        for answer in ("[]", "null", "<html>log in</html>", '{"swaps": 5, "visit": {}, "beat": "x"}', '{"swaps": [null, {}, {"text": 1}]}'):
            self.visits.answers["arrive"] = Raw(answer.encode())
            await self.open("static")
            await self.asked("arrive")
            await self.browser.until("performance.getEntriesByType('resource').some(e => /visit$/.test(e.name))")
            self.assertEqual(await self.browser.text("#plain"), OLD_TEXT, answer)
            self.assertEqual(await self.browser.value("document.cookie"), "", answer)
