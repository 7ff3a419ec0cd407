"""Visits from the browser's first word to the call."""

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import InvalidField, NoSuchObject, StoreUnavailable, TooManyRequests
from calltrack.storage.memory_visits import MemoryVisits
from calltrack.tracking.model import Lease, Number, PoolExhausted, Scenario, Visit
from calltrack.tracking.settings import VisitSettings
from tests.tracking.visiting import ADS, BROWSER, SHOP, Shop, number, pool

AD = "https://shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=frames"


class ArrivalTests(SynchronousTestCase):
    def test_a_visit_is_shown_a_number_and_the_call_to_it_is_its_own(self):
        shop = Shop(self)
        shown = shop.arrive(AD)
        [one] = shown.swaps
        self.assertEqual((shown.number, one.tel, one.scenario), (1, "+" + one.number, 3))
        self.assertEqual((one.selectors, one.replace, one.text), ((".phone",), ("19990000000",), "+1 202-555-0100"))
        found = shop.call(one.number)
        self.assertEqual((found.visit, found.marker, found.reason), (1, "google_cpc_frames", "exact lease"))

    def test_answer_is_the_json_of_the_protocol(self):
        shop = Shop(self, scenarios=[replace(ADS, mask="8 (XXX) XXX-XX-XX")], numbers=pool(1))
        shown = msgspec.json.decode(msgspec.json.encode(shop.arrive()))
        self.assertRegex(shown.pop("visit"), r"^1\.[0-9a-f]{16}$")
        self.assertEqual(
            shown,
            {
                "number": 1,
                "beat": 20.0,
                "confirm": 3.0,
                "swaps": [
                    {
                        "scenario": 3,
                        "number": "12025550100",
                        "tel": "+12025550100",
                        "text": "8 (202) 555-01-00",
                        "selectors": [".phone"],
                        "replace": ["19990000000"],
                    }
                ],
            },
        )

    def test_two_visits_never_hold_one_number(self):
        shop = Shop(self)
        shown = [number(shop.arrive(address=f"192.0.2.{host}")) for host in range(4)]
        self.assertEqual(len(set(shown)), 4)

    def test_same_browser_keeps_visit_and_number_from_page_to_page(self):
        shop = Shop(self)
        first = shop.arrive(AD)
        shop.clock.advance(30)
        again = shop.arrive("https://shop.example/frames", "https://shop.example/", first.visit)
        self.assertEqual((again.visit, number(again)), (first.visit, number(first)))

    def test_another_ad_begins_another_visit_that_remembers_the_one_before(self):
        shop = Shop(self)
        first = shop.arrive(AD)
        second = shop.arrive("https://shop.example/?gclid=abc", "", first.visit)
        self.assertEqual(second.number, 2)
        self.assertEqual(self.successResultOf(shop.store.get(1, 2)).previous, 1)

    def test_the_same_ad_or_a_direct_return_goes_on_with_the_visit(self):
        shop = Shop(self)
        first = shop.arrive(AD)
        self.assertEqual(shop.arrive(AD, "", first.visit).number, 1)
        self.assertEqual(shop.arrive("https://shop.example/", "", first.visit).number, 1)

    def test_two_weeks_later_the_same_browser_begins_another_visit(self):
        shop = Shop(self)
        first = shop.arrive(AD)
        shop.clock.advance(14 * 86400 - 1)
        self.assertEqual(shop.arrive("https://shop.example/", "", first.visit).number, 1)
        shop.clock.advance(2)
        self.assertEqual(shop.arrive("https://shop.example/", "", first.visit).number, 2)

    def test_cookie_with_another_secret_is_nobodys(self):
        shop = Shop(self)
        shown = shop.arrive(AD)
        forged = "1." + "0" * 16
        self.failureResultOf(shop.visits.beat("shopkey", forged), NoSuchObject)
        self.assertEqual(shop.arrive(AD, "", forged).number, 2)
        self.assertNotEqual(shown.visit, forged)

    def test_without_consent_nothing_is_stored_and_static_numbers_are_shown(self):
        banner = Scenario(id=5, project=1, name="Ads", marker="google", selectors=(".phone",))
        shop = Shop(self, scenarios=[ADS, banner], numbers=[*pool(2), Number(number="14155550199", project=1, scenario=5)])
        shown = shop.arrive(AD, consent=False)
        self.assertEqual((shown.visit, shown.number, number(shown)), ("", None, "14155550199"))
        self.assertEqual(self.successResultOf(shop.store.list()), [])
        self.assertEqual(shop.published, [])

    def test_robots_are_shown_what_those_are_who_deny_consent(self):
        shop = Shop(self, scenarios=[replace(ADS, fallback="18005550199")])
        for agent in ("", "curl/8.0", "Mozilla/5.0 (compatible; Googlebot/2.1)", "python-requests/2.32"):
            shown = shop.arrive(agent=agent)
            self.assertEqual((shown.visit, number(shown)), ("", "18005550199"))
        self.assertEqual(self.successResultOf(shop.store.list()), [])

    def test_wrong_key_or_page_is_refused_in_words_and_nothing_is_stored(self):
        shop = Shop(self)
        self.failureResultOf(shop.visits.arrive("nokey", AD), NoSuchObject)
        for page in ("", "shop", "javascript:alert(1)", "http://[::1", "file:///etc/passwd"):
            error = self.failureResultOf(shop.asked(page), InvalidField)
            self.assertEqual(error.value.field, "page")
        self.assertEqual(self.successResultOf(shop.store.list()), [])

    def test_disabled_projects_key_is_nobodys(self):
        shop = Shop(self, project=replace(SHOP, enabled=False))
        self.failureResultOf(shop.asked(), NoSuchObject)

    def test_visit_is_kept_with_what_brought_it(self):
        shop = Shop(self)
        shop.arrive(AD + "&utm_term=buy%20glasses", "https://www.google.com/", address="2001:db8::1")
        visit = self.successResultOf(shop.store.get(1, 1))
        self.assertEqual(visit.utm["utm_term"], "buy glasses")
        self.assertEqual((visit.referrer, visit.address), ("https://www.google.com/", "2001:db8::1"))
        self.assertEqual((visit.user_agent, visit.started), (BROWSER, shop.wall()))

    def test_visit_and_lease_are_told_once_they_are_durable(self):
        shop = Shop(self)
        shop.arrive()
        self.assertEqual([type(value) for value in shop.published], [Lease, Visit])


class LateStore(MemoryVisits):
    """Answers a write when the test says so."""

    def __init__(self):
        super().__init__()
        self.late = None

    def write(self, *args):
        if self.late is None:
            return super().write(*args)
        return self.late.addCallback(lambda _: super(LateStore, self).write(*args))


class DurabilityTests(SynchronousTestCase):
    def test_browser_is_answered_once_visit_and_lease_are_durable(self):
        shop = Shop(self, store=LateStore())
        late = shop.store.late = Deferred()
        asked = shop.asked()
        self.assertNoResult(asked)
        self.assertEqual(shop.published, [])
        shop.store.late = None
        late.callback(None)
        self.assertEqual(self.successResultOf(asked).number, 1)

    def test_call_is_attributed_before_the_store_has_answered(self):
        shop = Shop(self, store=LateStore(), numbers=pool(1))
        shop.store.late = Deferred()
        self.assertNoResult(shop.asked())
        self.assertEqual(shop.call("12025550100").visit, 1)

    def test_store_that_is_away_costs_the_answer_and_gives_the_number_back(self):
        shop = Shop(self, store=LateStore(), numbers=pool(1))
        late = shop.store.late = Deferred()
        asked = shop.asked()
        shop.store.late = None
        late.errback(StoreUnavailable("locked"))
        self.failureResultOf(asked, StoreUnavailable)
        self.assertIsNone(shop.call("12025550100").visit)
        self.assertEqual(number(shop.arrive()), "12025550100")

    def test_number_that_the_store_refuses_is_replaced_by_another(self):
        """Another node, on the same database, holds it."""
        shop = Shop(self, numbers=pool(2))
        theirs = Lease(number="12025550100", begun=shop.wall() + 1, project=1, scenario=3, visit=900, marker="x")
        self.successResultOf(shop.store.write([], [theirs], [], []))
        self.assertEqual(number(shop.arrive()), "12025550101")
        self.assertEqual(shop.visits.pool(3).free, 0)
        shop.clock.advance(61)
        self.assertEqual(shop.visits.pool(3).free, 2)

    def test_visits_and_leases_outlive_the_process(self):
        shop = Shop(self)
        first = shop.arrive(AD)
        shop.restart()
        self.assertEqual(shop.call(number(first)).visit, 1)
        again = shop.beat(first.visit)
        self.assertEqual((again.visit, number(again)), (first.visit, number(first)))

    def test_lease_of_a_dead_process_is_held_on_for_its_hold_time(self):
        shop = Shop(self, numbers=pool(1))
        shop.arrive()
        shop.restart()
        shop.clock.advance(149)
        self.assertEqual(shop.visits.pool(3).free, 0)
        shop.clock.advance(2)
        self.assertEqual(shop.visits.pool(3).free, 1)

    def test_visit_numbers_never_come_twice(self):
        shop = Shop(self)
        first = shop.arrive().number
        shop.restart()
        self.assertGreater(shop.arrive(AD).number, first)


    def test_ends_of_leases_are_written_when_the_store_is_back_though_nobody_comes(self):
        shop = Shop(self, store=LateStore(), numbers=pool(1))
        shop.arrive()
        late = shop.store.late = Deferred()
        asked = shop.asked(address="192.0.2.2")
        shop.store.late = None
        late.errback(StoreUnavailable("locked"))
        self.failureResultOf(asked, StoreUnavailable)
        shop.settle(30)
        [lease] = self.successResultOf(shop.store.history(["12025550100"], 5))
        self.assertEqual(lease.ended - lease.begun, 10_000)

    def test_stopping_writes_what_waits(self):
        shop = Shop(self, numbers=pool(1))
        shop.arrive()
        shop.clock.advance(10.1)
        shop.clock.advance(1)
        self.successResultOf(shop.visits.stop())
        [lease] = self.successResultOf(shop.store.history(["12025550100"], 5))
        self.assertIsNotNone(lease.ended)

    def test_visitors_who_have_gone_are_forgotten_and_their_cookies_bring_them_back(self):
        shop = Shop(self)
        shown = shop.arrive()
        shop.stay(shown.visit, 10)
        self.assertEqual(shop.visits.present, 1)
        shop.clock.pump([1.0] * 1000)
        self.assertEqual(shop.visits.present, 0)
        self.assertEqual(shop.beat(shown.visit).number, 1)

    def test_nobody_is_served_before_the_history_has_been_read(self):
        shop = Shop(self)
        shown = shop.arrive()
        late = Deferred()
        read, shop.store.history = shop.store.history, lambda numbers, each: late
        shop.restart()
        for asked in (shop.asked(), shop.visits.beat("shopkey", shown.visit)):
            self.failureResultOf(asked, StoreUnavailable)
        self.assertRaises(StoreUnavailable, shop.visits.project, "shopkey")
        followed = shop.visits.followed()
        self.assertNoResult(followed)
        late.callback(self.successResultOf(read(["12025550100"], 5)))
        self.successResultOf(followed)
        self.assertEqual(shop.beat(shown.visit).number, 1)

    def test_history_is_asked_for_until_the_store_is_there(self):
        shop = Shop(self)
        shop.arrive()
        read = shop.store.history
        for error in (StoreUnavailable("locked"), ZeroDivisionError()):
            shop.store.history = lambda numbers, each: fail(error)
            shop.restart()
            shop.clock.advance(1.1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.failureResultOf(shop.asked(), StoreUnavailable)
        shop.store.history = read
        shop.clock.advance(1.1)
        self.assertEqual(shop.arrive(address="192.0.2.9").swaps[0].number, "12025550101")


class StayingTests(SynchronousTestCase):
    def test_number_is_held_150_seconds_after_the_last_sign_of_life(self):
        shop = Shop(self)
        shown = shop.arrive()
        shop.stay(shown.visit, 60)
        shop.clock.advance(149)
        self.assertEqual(shop.call(number(shown)).reason, "exact lease")
        shop.clock.advance(5)
        found = shop.call(number(shown))
        self.assertEqual((found.visit, found.reason), (1, "lease ended 4 s before"))

    def test_hold_time_is_the_scenarios(self):
        shop = Shop(self, scenarios=[replace(ADS, hold=30.0)])
        shown = shop.arrive()
        shop.stay(shown.visit, 10)
        shop.clock.advance(31)
        self.assertIn("ended 1 s before", shop.call(number(shown)).reason)

    def test_visit_that_does_not_stay_loses_its_number_soon(self):
        shop = Shop(self)
        shown = shop.arrive()
        shop.clock.advance(12)
        self.assertEqual(shop.call(number(shown)).reason, "lease ended 2 s before, its visitor left at once")

    def test_leaving_is_a_sign_of_life(self):
        shop = Shop(self)
        shown = shop.arrive()
        shop.clock.advance(9)
        shop.leave(shown.visit)
        shop.clock.advance(149)
        self.assertEqual(shop.call(number(shown)).reason, "exact lease")

    def test_visitor_who_comes_back_late_gets_the_number_again_that_nobody_had_since(self):
        shop = Shop(self)
        shown = shop.arrive()
        shop.stay(shown.visit, 10)
        shop.clock.advance(200)
        self.assertEqual(number(shop.beat(shown.visit)), number(shown))

    def test_longest_idle_number_is_leased(self):
        shop = Shop(self, numbers=pool(3))
        order = [number(shop.arrive(address=f"192.0.2.{host}")) for host in range(3)]
        shop.clock.advance(11)
        self.assertEqual([number(shop.arrive(address=f"192.0.2.{host}")) for host in range(3)], order)


class FloodTests(SynchronousTestCase):
    def test_when_a_quarter_is_left_only_visits_that_stay_get_a_number(self):
        shop = Shop(self, numbers=pool(8), scenarios=[replace(ADS, fallback="18005550199")])
        shown = [shop.arrive(address=f"192.0.2.{host}") for host in range(9)]
        got = [number(one) for one in shown]
        self.assertEqual(got.count("18005550199"), 2)
        shop.clock.advance(3)
        self.assertNotEqual(number(shop.beat(shown[-1].visit)), "18005550199")

    def test_address_makes_a_bounded_number_of_visits_a_minute(self):
        shop = Shop(self, settings=VisitSettings(per_address=5))
        for _ in range(5):
            shop.arrive()
        error = self.failureResultOf(shop.asked(), TooManyRequests).value
        self.assertEqual((error.status, error.retry_after), (429, 13))
        shop.arrive(address="192.0.2.2")
        shop.clock.advance(13)
        shop.arrive()

    def test_project_makes_a_bounded_number_of_visits_a_minute(self):
        shop = Shop(self, settings=VisitSettings(per_project=2))
        for host in (1, 2):
            shop.arrive(address=f"192.0.2.{host}")
        self.failureResultOf(shop.asked(address="192.0.2.3"), TooManyRequests)

    def test_ipv6_neighbours_count_as_one_address(self):
        shop = Shop(self, settings=VisitSettings(per_address=1))
        shop.arrive(address="2001:db8::1")
        self.failureResultOf(shop.asked(address="2001:db8::2"), TooManyRequests)

    def test_address_holds_a_bounded_number_of_numbers(self):
        shop = Shop(self, numbers=pool(40), settings=VisitSettings(per_address=0, leases_per_address=5))
        cookies = []
        for _ in range(8):
            cookies.append(shop.arrive().visit)
            shop.clock.advance(3)
            shop.beat(cookies[-1])
        self.assertEqual(shop.visits.pool(3).free, 35)
        shop.clock.advance(200)
        self.assertEqual(shop.visits.pool(3).free, 40)
        self.assertTrue(number(shop.arrive(cookie=cookies[0])))

    def test_visits_that_do_not_stay_get_few_numbers_from_one_address(self):
        shop = Shop(self, numbers=pool(40))
        got = [number(shop.arrive()) for _ in range(10)]
        self.assertEqual(len(set(filter(None, got))), 3)


class MissTests(SynchronousTestCase):
    def setUp(self):
        self.shop = Shop(self, numbers=pool(1), scenarios=[replace(ADS, fallback="18005550199")])
        self.first = self.shop.arrive()
        self.second = self.shop.arrive(address="192.0.2.2")
        self.shop.clock.advance(3)
        self.shop.beat(self.first.visit)

    def misses(self):
        self.shop.settle()
        return self.successResultOf(self.shop.store.usage(3, 0))[1]

    def test_fallback_is_shown_and_the_miss_counted_when_none_is_free(self):
        self.assertEqual(self.misses(), [])
        self.assertEqual(number(self.shop.beat(self.second.visit)), "18005550199")
        [miss] = self.misses()
        self.assertEqual((miss.visit, miss.scenario), (2, 3))

    def test_exhausted_pool_is_told_once_until_a_number_is_free(self):
        self.shop.beat(self.second.visit)
        self.shop.beat(self.second.visit)
        told = [value for value in self.shop.published if isinstance(value, PoolExhausted)]
        self.assertEqual([(value.scenario, value.visit, value.numbers) for value in told], [(3, 2, 1)])

    def test_page_that_shows_the_fallback_keeps_it_until_the_next_page(self):
        self.shop.beat(self.second.visit)
        self.shop.clock.advance(200)
        self.assertEqual(number(self.shop.beat(self.second.visit)), "18005550199")
        again = self.shop.arrive("https://shop.example/2", "https://shop.example/", self.second.visit)
        self.assertEqual(number(again), "12025550100")

    def test_call_to_the_fallback_is_shared(self):
        self.assertEqual(self.shop.call("18005550199").reason, "shared")


class ScenarioTests(SynchronousTestCase):
    def test_segments_choose_the_visits(self):
        shop = Shop(self, scenarios=[replace(ADS, segments=("source like google_*",))])
        self.assertTrue(number(shop.arrive(AD)))
        self.assertEqual(shop.arrive().swaps, ())

    def test_scenarios_on_one_page_have_numbers_of_their_own(self):
        header = replace(ADS, id=4, selectors=("header .tel",), replace=())
        shop = Shop(self, scenarios=[ADS, header], numbers=[*pool(2), *pool(2, 4, 13105550100)])
        swaps = shop.arrive().swaps
        self.assertEqual([(one.scenario, one.number) for one in swaps], [(3, "12025550100"), (4, "13105550100")])

    def test_what_two_scenarios_claim_belongs_to_the_first(self):
        other = replace(ADS, id=4, selectors=(".phone", ".fax"), replace=("19990000000",))
        shop = Shop(self, scenarios=[ADS, other], numbers=[*pool(2), *pool(2, 4, 13105550100)])
        first, second = shop.arrive().swaps
        self.assertEqual((first.selectors, second.selectors, second.replace), ((".phone",), (".fax",), ()))

    def test_static_number_is_shown_to_the_visits_of_its_channel(self):
        banner = Scenario(id=5, project=1, name="Ads", marker="google_cpc", selectors=(".phone",))
        shop = Shop(self, scenarios=[banner], numbers=[Number(number="14155550199", project=1, scenario=5)])
        self.assertEqual(number(shop.arrive(AD)), "14155550199")
        self.assertEqual(number(shop.arrive(address="192.0.2.2")), "")

    def test_number_that_leaves_the_pool_is_held_to_the_end_of_its_lease(self):
        shop = Shop(self, numbers=pool(1))
        shown = shop.arrive()
        shop.visits.follow([SHOP], [ADS], [])
        self.assertEqual(shop.call(number(shown)).visit, 1)
        shop.clock.advance(200)
        self.assertEqual(shop.visits.pool(3).numbers, 0)
