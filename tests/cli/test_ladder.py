from twisted.trial.unittest import SynchronousTestCase

from calltrack.cli.ladder import draw_ladder
from calltrack.tracking.model import LadderStep

STEPS = [
    LadderStep(0, "caller", False, "INVITE", True),
    LadderStep(1, "caller", True, "100 Trying"),
    LadderStep(12, "target-1", True, "INVITE", True),
    LadderStep(30, "target-2", True, "INVITE", True),
    LadderStep(90, "target-2", False, "200 OK (INVITE)", True),
]


class DrawLadderTests(SynchronousTestCase):
    def test_calltrack_stands_between_the_caller_and_each_target(self):
        self.assertEqual(
            draw_ladder(STEPS),
            [
                "                  caller                  calltrack                target-1                 target-2",
                "      0              |-------INVITE sdp------>|                        |                        |",
                "      1              |<------100 Trying-------|                        |                        |",
                "     12              |                        |-------INVITE sdp------>|                        |",
                "     30              |                        |--------------------INVITE sdp------------------>|",
                "     90              |                        |<--------------200 OK (INVITE) sdp---------------|",
            ],
        )

    def test_every_message_is_one_line_of_one_width(self):
        lines = draw_ladder(STEPS)
        self.assertEqual(len(lines), 1 + len(STEPS))
        self.assertEqual(len({len(line) for line in lines[1:]}), 1)

    def test_call_without_targets_has_two_lanes(self):
        head, line = draw_ladder(STEPS[:1])
        self.assertEqual(head.split(), ["caller", "calltrack"])
        self.assertTrue(line.endswith(">|"))

    def test_no_messages_leave_the_head_alone(self):
        self.assertEqual(len(draw_ladder([])), 1)

    def test_hostile_text_steers_no_terminal_and_breaks_no_line(self):
        lines = draw_ladder(
            [LadderStep(0, "caller", False, "\x1b[2J\r\n\u202e" + "x" * 500), LadderStep(1, "tar\nget", True, "")]
        )
        self.assertTrue(all(line.isprintable() and len(line) < 200 for line in lines))
