"""Addresses as browsers really send them -> markers."""

from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import InvalidField
from calltrack.tracking.sources import DEFAULT_RULES, Rules, arrival, check_rules, site_host

SHOP = "https://shop.example"
GOOGLE = "https://www.google.com/"

ARRIVALS = [  # page, referrer, marker, kind
    (f"{SHOP}/", "", "direct", "direct"),
    (f"{SHOP}/frames?page=2#top", f"{SHOP}/", "direct", "internal"),
    (f"{SHOP}/", "https://www.shop.example/old", "direct", "internal"),
    (f"{SHOP}/?utm_source=google&utm_medium=cpc&utm_campaign=frames", GOOGLE, "google_cpc_frames", "ad"),
    (f"{SHOP}/?utm_source=yandex&utm_medium=cpc&utm_term=%D0%BE%D1%87%D0%BA%D0%B8", "", "yandex_cpc_очки", "ad"),
    (f"{SHOP}/?utm_source=yandex&utm_term=%EE%F7%EA%E8", "", "yandex_очки", "ad"),
    (f"{SHOP}/?UTM_Source=Mail&utm_medium=", "", "Mail", "ad"),
    (f"{SHOP}/?utm_source=fb&utm_campaign=spring+sale", "https://l.facebook.com/", "fb_spring sale", "ad"),
    (f"{SHOP}/?utm_source=a&utm_source=b", "", "a", "ad"),
    (f"{SHOP}/?utm_medium=cpc", "", "direct", "direct"),
    (f"{SHOP}/?gclid=EAIaIQobChMI", GOOGLE, "google_ads", "ad"),
    (f"{SHOP}/?yclid=1234567890", "https://yandex.ru/", "yandex_direct", "ad"),
    (f"{SHOP}/?utm_source=google&gclid=EAIa", GOOGLE, "google", "ad"),
    (f"{SHOP}/?roistat=direct_search_1234567_buy%20glasses&utm_source=yandex", "", "direct_search_1234567_buy glasses", "ad"),
    (f"{SHOP}/?rs=flyer_spring", "", "flyer_spring", "ad"),
    (f"{SHOP}/#/catalogue?utm_source=vk&utm_medium=post", "", "vk_post", "ad"),
    (f"{SHOP}/#utm_source=qr", "", "qr", "ad"),
    (f"{SHOP}/?utm_source=%0d%0aX-Evil%3A%201", "", "X-Evil: 1", "ad"),
    (f"{SHOP}/?utm_source=%E2%80%AEevil", "", "evil", "ad"),
    (f"{SHOP}/", GOOGLE, "search_google", "search"),
    (f"{SHOP}/", "https://www.google.co.uk/search?q=glasses", "search_google", "search"),
    (f"{SHOP}/", "android-app://com.google.android.googlequicksearchbox/", "search_google", "search"),
    (f"{SHOP}/", "https://yandex.ru/search/?text=x", "search_yandex", "search"),
    (f"{SHOP}/", "https://ya.ru/", "search_yandex", "search"),
    (f"{SHOP}/", "https://www.bing.com/", "search_bing", "search"),
    (f"{SHOP}/", "https://duckduckgo.com/", "search_duckduckgo", "search"),
    (f"{SHOP}/", "https://go.mail.ru/search?q=x", "search_mail.ru", "search"),
    (f"{SHOP}/", "https://search.yahoo.com/search?p=x", "search_yahoo", "search"),
    (f"{SHOP}/", "https://m.vk.com/away", "social_vk", "social"),
    (f"{SHOP}/", "https://l.instagram.com/?u=x", "social_instagram", "social"),
    (f"{SHOP}/", "https://t.co/abc", "social_x", "social"),
    (f"{SHOP}/", "https://www.youtube.com/watch?v=1", "social_youtube", "social"),
    (f"{SHOP}/", "https://web.telegram.org/", "social_telegram", "social"),
    (f"{SHOP}/", "https://mail.google.com/mail/u/0/", "referral_mail.google.com", "referral"),
    (f"{SHOP}/", "https://e.mail.ru/inbox", "referral_e.mail.ru", "referral"),
    (f"{SHOP}/", "https://google.evil.example/", "referral_google.evil.example", "referral"),
    (f"{SHOP}/", "https://www.Partner.Example:8443/page", "referral_partner.example", "referral"),
    (f"{SHOP}/", "about:blank", "direct", "direct"),
    (f"{SHOP}/", "http://[::1", "direct", "direct"),
    ("http://192.0.2.7:8080/?utm_source=lan", "", "lan", "ad"),
    ("http://[2001:db8::1]/", "", "direct", "direct"),
]


class ArrivalTests(SynchronousTestCase):
    def test_addresses_as_browsers_send_them_get_these_markers(self):
        rules = Rules()
        for page, referrer, marker, kind in ARRIVALS:
            source = rules.source(arrival(page, referrer, [site_host(SHOP)]))
            self.assertEqual((source.marker, source.kind), (marker, kind), (page, referrer))

    def test_no_address_of_a_page_is_refused_by_field(self):
        for page in ("", "shop.example", "javascript:alert(1)", "file:///etc/passwd", "https://", "http://[::1/"):
            self.assertEqual(self.assertRaises(InvalidField, arrival, page, "").field, "page")

    def test_marker_is_cut_and_thousands_of_parameters_are_not_read(self):
        page = f"{SHOP}/?utm_source=" + "x" * 5000
        self.assertEqual(len(Rules().source(arrival(page, "")).marker), 255)
        flood = f"{SHOP}/?" + "&".join(f"a{position}=1" for position in range(300)) + "&utm_source=late"
        self.assertEqual(Rules().source(arrival(flood, "")).marker, "direct")

    def test_utm_and_click_id_are_kept_apart(self):
        source = Rules().source(arrival(f"{SHOP}/?utm_source=a&utm_term=b&gclid=c&other=d", ""))
        self.assertEqual((source.utm, source.click_id), ({"utm_source": "a", "utm_term": "b"}, "c"))


class RuleTests(SynchronousTestCase):
    def marker(self, rules, page, referrer=""):
        return Rules(rules).source(arrival(page, referrer)).marker

    def test_first_rule_that_holds_counts(self):
        rules = ("?utm_source=yandex* => direct_{utm_campaign}_{utm_term}", *DEFAULT_RULES)
        page = f"{SHOP}/?utm_source=Yandex.Direct&utm_campaign=12&utm_term=glasses"
        self.assertEqual(self.marker(rules, page), "direct_12_glasses")
        self.assertEqual(self.marker(rules, f"{SHOP}/?utm_source=google"), "google")

    def test_referrers_host_may_decide(self):
        rules = ("from *.partner.example => partner_{host}",)
        self.assertEqual(self.marker(rules, SHOP + "/", "https://a.partner.example/x"), "partner_a.partner.example")
        self.assertEqual(self.marker(rules, SHOP + "/", "https://evil.example/"), "referral")

    def test_rule_whose_marker_comes_out_empty_is_passed_over(self):
        self.assertEqual(self.marker(("?a => {b}", "direct => none"), f"{SHOP}/?a=1"), "none")

    def test_lines_that_are_no_rules_are_refused_in_words(self):
        for line, words in (
            ("google", "is no rule; write CONDITION => MARKER"),
            ("?a =>", "is no rule"),
            ("=> x", "is no rule"),
            ("?a => {b", "brace that closes no name"),
            ("campaign => x", "is no condition; allowed: ?PARAMETER"),
            ("?a b => x", "is no condition"),
        ):
            error = self.assertRaises(InvalidField, check_rules, [line])
            self.assertEqual(error.field, "marker_rules")
            self.assertIn(words, error.message)
