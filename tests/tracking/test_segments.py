"""Which visits a scenario is for, and how numbers are written on pages."""

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import InvalidField
from calltrack.tracking.display import check_mask, is_for, written
from calltrack.tracking.model import Scenario, Visit
from calltrack.tracking.segments import check_segment, segment

VISIT = Visit(
    project=1,
    number=1,
    secret="",
    started=0,
    marker="direct_search_1234567_buy glasses",
    utm={"utm_medium": "cpc", "utm_term": "Buy and sell"},
    landing_page="https://shop.example/sale",
)


class SegmentTests(SynchronousTestCase):
    def test_conditions_hold_or_not(self):
        for text, holds in (
            ("source like direct_*", True),
            ("source like google_*", False),
            ("SOURCE LIKE DIRECT_*", True),
            ("source = direct_search_1234567_buy glasses", True),
            ("source like direct", False),
            ("source not like google_*", True),
            ("utm_medium = cpc", True),
            ("utm_medium=CPC", True),
            ("utm_medium != cpc", False),
            ("utm_campaign = ''", True),
            ("landing_page like *://shop.example/sale*", True),
            ("referrer like *google*", False),
            ("source like direct_* and utm_medium = cpc", True),
            ("source like direct_* and utm_medium = cpm", False),
            ("utm_term = buy and sell", True),
            ("utm_term = 'buy and sell' and utm_medium = cpc", True),
            ("source like *[glasses]", False),
        ):
            self.assertEqual(segment(check_segment(text))(VISIT), holds, text)

    def test_what_is_no_segment_is_refused_in_words(self):
        for text in ("", "direct_*", "colour = red", "source ~ x", "source like x\n", "source", "x" * 501):
            self.assertEqual(self.assertRaises(InvalidField, check_segment, text).field, "segment")

    def test_one_of_several_segments_must_hold(self):
        scenario = Scenario(id=1, project=1, name="x", kind="dynamic", segments=("source = a", "utm_medium = cpc"))
        self.assertTrue(is_for(scenario, VISIT))
        self.assertFalse(is_for(replace(scenario, segments=("source = a", "source = b")), VISIT))

    def test_static_scenario_is_for_its_channel_and_what_is_below_it(self):
        scenario = Scenario(id=1, project=1, name="x", marker="direct_search")
        self.assertTrue(is_for(scenario, VISIT))
        self.assertTrue(is_for(scenario, replace(VISIT, marker="direct_search")))
        self.assertFalse(is_for(scenario, replace(VISIT, marker="direct_searching")))


class MaskTests(SynchronousTestCase):
    def test_numbers_are_written_by_mask_from_the_end(self):
        for number, mask, text in (
            ("74951234567", "8 (XXX) XXX-XX-XX", "8 (495) 123-45-67"),
            ("74951234567", "+X XXX XXX XX XX", "+7 495 123 45 67"),
            ("11231234567", "XXX-XXXX", "123-4567"),
            ("74951234567", "", "+7 495 123-45-67"),
            ("12025550100", "", "+1 202-555-0100"),
            ("999", "", "+999"),
            ("123", "XXXXX", "  123"),
        ):
            self.assertEqual(written(number, mask), text)

    def test_mask_has_places_for_digits(self):
        for mask in ("phone", "X" * 16, "X\n"):
            self.assertRaises(InvalidField, check_mask, mask)
        self.assertEqual(check_mask(""), "")
