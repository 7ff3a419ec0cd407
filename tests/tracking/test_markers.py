from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.tracking.markers import clean_marker


class CleanMarkerTests(SynchronousTestCase):
    def test_ordinary_markers_pass_unchanged(self):
        for marker in ("direct_search_1234567_buy glasses", "очки \"'<>&;", "👓", "👨‍👩‍👧", "é", "שלום"):
            self.assertEqual(clean_marker(marker), marker)

    def test_controls_and_line_separators_go(self):
        self.assertEqual(clean_marker("a\r\nX-Evil: 1\x00\t\x1b[31m\x85\u2028\u2029b\x7f"), "aX-Evil: 1[31mb")

    def test_bidirectional_marks_go(self):
        self.assertEqual(clean_marker("a\u202eb\u2066c\u2069d\u200ee\u200ff\u061cg"), "abcdefg")

    def test_cut_at_255_bytes_between_characters(self):
        self.assertEqual(clean_marker("x" * 10_000), "x" * 255)
        self.assertEqual(clean_marker("я" * 200), "я" * 127)
        self.assertEqual(clean_marker("x" + "👓" * 100), "x" + "👓" * 63)

    def test_outer_spaces_go_also_where_it_was_cut(self):
        self.assertEqual(clean_marker("  a b  "), "a b")
        self.assertEqual(clean_marker("x" * 254 + " y"), "x" * 254)

    @given(st.text(alphabet=st.characters(), max_size=400))
    def test_any_text_becomes_safe_and_stays_so(self, text):
        marker = clean_marker(text)
        self.assertLessEqual(len(marker.encode()), 255)
        self.assertFalse(any(ord(char) < 32 or char in "\x7f\u2028\u2029\u202e" for char in marker))
        self.assertEqual(clean_marker(marker), marker)
