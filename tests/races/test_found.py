"""What the race explorer has found, each as the script that shows it."""

from twisted.trial.unittest import SynchronousTestCase

from calltrack.sip.message import Request
from tests.races.world import WELL, Setting, Step, World

ANSWERS = WELL | {"answer"}


def _offer(who, what, wait=0.5):
    return Step(who, what, 0, wait)


class FoundTests(SynchronousTestCase):
    def play(self, setting, *script):
        world = World(setting)
        world.play(list(script))
        self.assertEqual(self.flushLoggedErrors(), [])
        return world

    def test_call_whose_targets_all_fail_at_once_is_refused_once(self):
        """The last failure ends the call from within the hunt that the first one went on with."""
        world = self.play(
            Setting(), Step("engine", "unusable", 0), Step("engine", "unusable", 0), _offer("caller", "invite")
        )
        self.assertEqual(world.players["caller"].count(488), 1)
        self.assertEqual(world.engine.record.status, "CHANUNAVAIL")

    def test_change_that_is_proposed_to_a_referrer_that_has_hung_up_meanwhile_is_491(self):
        """The relay was still rewriting the offer: nothing but NOTIFY goes to a dialog that is over."""
        world = self.play(
            Setting(rewriting=0.003, transfers=True),
            _offer("caller", "invite", 1.5),
            _offer("one", "take", 1.5),
            _offer("one", "refer", 0.0),
            _offer("caller", "reinvite", 0.0),
            _offer("one", "bye", 0.0),
        )
        self.assertEqual(world.players["caller"].count(491), 1)
        self.assertEqual(world.players["one"].count("INVITE"), 2)

    def test_repeated_2xx_without_contact_is_acknowledged_after_the_end(self):
        """Its dialog is known: it takes no Contact to find it (RFC 3261 section 13.2.2.4)."""
        world = self.play(
            Setting(),
            _offer("caller", "invite", 1.5),
            Step("one", "take", 24, 1.5),
            _offer("caller", "ack", 0.05),
            Step("one", "take", 27, 0.0),
            Step("engine", "silence", 0, 0.0),
        )
        self.assertEqual(world.players["one"].count("ACK"), 2)

    def test_update_that_is_over_when_its_answer_comes_is_answered_once(self):
        """The engine hung up while the relay rewrote the other side's answer: 487 had been said."""
        world = self.play(
            Setting(rewriting=0.2),
            _offer("caller", "invite", 1.5),
            _offer("one", "take", 1.5),
            _offer("one", "update", 0.3),
            Step("engine", "silence", 0, 0.0),
        )
        one = world.players["one"]
        self.assertEqual((one.count(487), one.count(200)), (1, 0))

    def test_pending_reinvite_is_refused_when_the_engine_hangs_up(self):
        """Section 15.1.2: it gets 487 at once, and the other side, which has its BYE, is not asked any more."""
        world = self.play(
            Setting(manners={"one": ANSWERS}, rewriting=0.2),
            _offer("caller", "invite", 2),
            _offer("caller", "reinvite", 0.1),
            Step("engine", "hang-up"),
        )
        self.assertEqual(world.players["caller"].count(487), 1)
        heard = [message.method for _, message in world.players["one"].heard if isinstance(message, Request)]
        self.assertEqual(heard, [b"INVITE", b"ACK", b"BYE"])
