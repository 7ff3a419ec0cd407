"""Tables keep what people copy out of them."""

import io

import rich.console
from calltrack.cli import output
from twisted.trial.unittest import SynchronousTestCase

CALL = "01a209c5233673628dd7e6379d0fc5b4"
COLUMNS = ("call", "created", "caller", "callee", "target", "status", "talked", "marker", "reason")
ROW = (
    CALL, "2026-11-23T18:57:24.100Z", "12025550143", "11231234567", "sip:office@192.0.2.7:5070", "CHANUNAVAIL", "3.0 s",
    "direct_search_1234567_buy glasses", "401: the exchange asks for a password",
)  # fmt: skip


class TableTests(SynchronousTestCase):
    def printed(self, width, rows=(ROW,), nothing="nothing"):
        """The lines of a table, on a terminal of `width` columns, or in a pipe (0)."""
        written = io.StringIO()
        real = rich.console.Console
        self.patch(
            rich.console,
            "Console",
            lambda **options: real(**{**options, "file": written, **({"width": width} if width else {})}),
        )
        output.print_table(COLUMNS, rows, nothing)
        return written.getvalue().split("\n")

    def test_row_in_a_pipe_is_one_line(self):
        (line,) = [line for line in self.printed(0) if CALL in line]
        for cell in ROW:
            self.assertIn(cell, line)

    def test_first_column_stays_whole_on_a_narrow_terminal(self):
        self.assertTrue(any(CALL in line for line in self.printed(100)))

    def test_words_in_brackets_are_shown(self):
        self.assertEqual(self.printed(100, (), "No [[trunk]] :bell:")[0], "No [[trunk]] :bell:")

    def test_nothing_is_cut_on_a_narrow_terminal(self):
        shown = "".join(self.printed(100))
        self.assertNotIn("\u2026", shown)
