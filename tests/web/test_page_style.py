"""Colours of the page: what is read can be read, in both themes (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import calltrack.web

CSS = (Path(calltrack.web.__file__).parent / "static" / "page.css").read_text("utf-8")
SURFACES = ("back", "card", "accent-soft")  # the page, a card, a row under the pointer
TEXTS = ("ink", "dim", "accent", "good", "bad", "warn")
OTHERS = (("on-accent", "accent"), ("bad", "bad-soft"), ("warn", "warn-soft"))
SHAPES = ("accent", *(f"s{number}" for number in range(8)))  # focus, bars: 3:1 beside what surrounds them


def themes():
    """Variables of the light theme, and of the two places that have the dark one."""
    blocks = re.findall(r":root[^{]*\{([^}]*--back[^}]*)\}", CSS)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def luminance(color):
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


class ContrastTests(SynchronousTestCase):
    def test_contrast_is_computed_as_wcag_has_it(self):
        self.assertAlmostEqual(contrast("#000000", "#ffffff"), 21.0)
        self.assertAlmostEqual(contrast("#777777", "#ffffff"), 4.48, 2)

    def test_dark_is_the_same_by_the_system_and_by_the_button(self):
        light, by_system, by_button = themes()
        self.assertEqual(by_system, by_button)
        self.assertEqual(light.keys(), by_button.keys())

    def test_every_text_has_a_contrast_of_four_and_a_half(self):
        for theme in themes():
            pairs = [(text, surface) for text in TEXTS for surface in SURFACES] + list(OTHERS)
            found = {pair: round(contrast(theme[pair[0]], theme[pair[1]]), 2) for pair in pairs}
            self.assertEqual({pair: ratio for pair, ratio in found.items() if ratio < 4.5}, {}, theme["back"])

    def test_every_shape_that_says_something_has_a_contrast_of_three(self):
        for theme in themes():
            found = {(shape, surface): round(contrast(theme[shape], theme[surface]), 2) for shape in SHAPES for surface in ("back", "card")}
            found["border", "card"] = round(contrast(re.search(r"border: 1px solid (#[0-9a-f]{6})", CSS)[1], theme["card"]), 2)
            self.assertEqual({pair: ratio for pair, ratio in found.items() if ratio < 3}, {}, theme["back"])

    def test_placeholders_have_a_colour_of_ours(self):
        self.assertIn("::placeholder { color: var(--dim); opacity: 1; }", CSS)
