"""A test call to a target: what the person who pressed the button is told, and that nothing is left of it."""

from calltrack.calls.trial import A_MINUTE, TALK_TIME, TrialCall, TrialCalls
from calltrack.errors import TooManyRequests
from calltrack.testing.engine import NUMBER, sip_target
from calltrack.testing.fakes import FakeMediaSession
from calltrack.tracking.model import MediaFigures, StreamFigures, Target
from calltrack.web.pages.wording import Words
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from tests.calls.case import ANSWER, OFFICE, CallTestCase


class TrialCallTests(CallTestCase):
    expected_records = 0

    def setUp(self):
        super().setUp()
        self.start()

    def trial(self, target=None):
        told = []
        TrialCall(self.engine.calls, 1, target or sip_target(OFFICE), NUMBER).begin().addCallback(told.append)
        self.network.run(0.1)
        return told

    def test_answered_call_is_hung_up_soon_and_said_to_be_right(self):
        told = self.trial()
        invite = self.office.expect("INVITE")
        self.assertIn(b"calltrack test call", invite.get(b"from"))
        self.office.respond(invite, 180)
        self.network.run(1)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.assertEqual(told, [])
        self.network.run(TALK_TIME + 0.1)
        self.office.respond(self.office.expect("BYE"), 200)
        ((ok, words),) = told
        self.assertTrue(ok)
        self.assertIn("It answered after 1.", words)

    def test_figures_that_a_relay_elsewhere_tells_later_are_waited_for(self):
        figures = Deferred()
        self.patch(FakeMediaSession, "figures", lambda session: figures)
        told = self.trial()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.network.run(TALK_TIME + 0.1)
        self.office.respond(self.office.expect("BYE"), 200)
        self.assertEqual(told, [])
        figures.callback(MediaFigures(target=StreamFigures(packets=7)))
        self.assertEqual(told, [(True, "It answered after 0.1 s. 7 packets of sound came.")])
        self.assertEqual(Words("ru").tell(told[0][1]), "Ответили через 0.1 с. Пришло пакетов звука: 7.")

    def test_a_bug_ends_the_call_and_is_told_and_logged_with_its_id(self):
        def fail(session, party):
            raise ZeroDivisionError("a bug")

        self.patch(FakeMediaSession, "connect", fail)
        with capturedLogs() as logged:
            told = self.trial()
            self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
            self.office.expect("ACK")
        self.office.respond(self.office.expect("BYE"), 200)
        self.assertEqual([ok for ok, _ in told], [False])
        self.assertIn("bug", told[0][1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        (event,) = [event for event in logged if "log_failure" in event]
        self.assertTrue(event["call_id"].startswith("test-call-"))

    def test_refusals_are_told_in_words(self):
        for status, words in ((486, "It is busy"), (404, "It cannot be reached"), (480, "Nobody answered")):
            told = self.trial()
            self.office.respond(self.office.expect("INVITE"), status)
            self.office.expect("ACK")
            self.network.run(0.1)
            ((ok, said),) = told
            self.assertFalse(ok)
            self.assertIn(words, said)

    def test_exchange_that_asks_for_a_password_is_told_as_such(self):
        told = self.trial()
        self.office.respond(self.office.expect("INVITE"), 401)
        self.office.expect("ACK")
        self.network.run(0.1)
        self.assertIn("password", told[0][1])

    def test_silence_ends_with_the_ring_time(self):
        told = self.trial(sip_target(OFFICE, ring_time=3.0))
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.network.run(3.1)
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")
        ((ok, words),) = told
        self.assertFalse(ok)
        self.assertIn("Nobody answered. It rang after 0.", words)

    def test_target_that_hangs_up_at_once_is_no_success(self):
        told = self.trial()
        self.office.respond(self.office.expect("INVITE"), 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.office.bye()
        self.office.expect(200, "BYE")
        ((ok, words),) = told
        self.assertEqual((ok, "hung up" in words), (False, True))

    def test_account_without_devices_is_told_as_such(self):
        told = self.trial(Target(kind="account", address=""))
        self.assertIn("nobody is registered", told[0][1])

    def test_project_may_make_a_few_a_minute_and_is_told_when_to_try_again(self):
        calls, told = TrialCalls(self.engine.calls), []

        def call(project):
            calls.call(project, sip_target(OFFICE), NUMBER).addCallback(told.append)
            self.network.run(0.1)
            self.office.respond(self.office.expect("INVITE"), 486)
            self.office.expect("ACK")

        for _ in range(A_MINUTE):
            call(1)
        refused = self.assertRaises(TooManyRequests, calls.call, 1, sip_target(OFFICE), NUMBER)
        self.assertEqual(str(refused), f"a project may make 6 test calls a minute; try again in {refused.retry_after} s")
        self.network.run(0.1)
        self.office.expect_nothing()
        call(2)
        self.network.run(refused.retry_after)
        call(1)
        self.assertEqual(len(told), A_MINUTE + 2)
