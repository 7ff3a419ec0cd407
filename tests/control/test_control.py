"""What an operator asks of an engine, and what comes of it."""

import json
import os
import socket
import stat

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from calltrack.calls.settings import TrunkSettings
from calltrack.config import defaults
from calltrack.control import reload as reloading
from calltrack.control.commands import Commands
from calltrack.control.reload import changes
from calltrack.control.server import ControlSocket, Conversation
from calltrack.control.systemd import Notifier
from calltrack.control.wiring import Control
from calltrack.errors import CalltrackError, ConfigErrors
from calltrack.testing.engine import TRUNK
from calltrack.timers import Timers
from calltrack.tracing.settings import TraceSettings
from calltrack.tracing.tracer import Tracer
from tests.calls.case import CallTestCase
from tests.recording.case import PatientWriter
from twisted.internet.task import Clock


class CommandCase(CallTestCase):
    def start(self, *targets, **options):
        engine = super().start(*targets, **options)
        tracer = Tracer(engine.timers, engine._wall_ms, TraceSettings(), self.mktemp(), PatientWriter())
        self.left = []
        self.commands = Commands(engine.calls, tracer, lambda: {"version": "1"}, lambda: {"applied": []}, lambda: self.left.append(1))
        return engine

    def do(self, name, **request):
        return self.commands.do({"do": name, **request})

    def refused(self, name, **request):
        return str(self.assertRaises(CalltrackError, self.do, name, **request))


class CommandTests(CommandCase):
    def test_calls_are_told_with_who_talks_to_whom_and_for_how_long(self):
        self.start()
        self.talk()
        self.network.run(5)
        [call] = self.do("calls")
        self.assertEqual((call["state"], call["callee"], call["trunk"], call["recorded"]), ("talking", "11231234567", "provider", False))
        self.assertEqual((round(call["seconds"]), round(call["talked"]), call["project"]), (5, 5, 1))
        self.assertIn(call["id"], self.engine.calls.calls)
        self.hang_up()

    def test_call_is_hung_up_on_both_sides_and_its_record_says_who_did(self):
        self.start()
        self.talk()
        [call] = self.do("calls")
        self.assertEqual(self.do("hangup", call=call["id"]), {"hung_up": [call["id"]]})
        self.office.respond(self.office.expect("BYE"), 200)
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.network.run(1)
        self.assertEqual((self.record.hangup, self.record.reason), ("engine", "operator"))

    def test_all_calls_are_hung_up_at_once_when_that_is_asked_for(self):
        self.start()
        self.talk()
        self.assertEqual(len(self.do("hangup", all=True)["hung_up"]), 1)
        self.office.respond(self.office.expect("BYE"), 200)
        self.trunk.respond(self.trunk.expect("BYE"), 200)
        self.assertEqual(self.do("hangup", all=True), {"hung_up": []})

    def test_draining_engine_refuses_new_calls_answers_options_with_503_and_goes_on_with_the_rest(self):
        self.start()
        self.talk()
        dialog = self.trunk.dialog
        self.assertEqual(self.do("drain"), {"draining": True, "stops": False, "calls": 1})
        self.trunk.invite(body=b"")
        self.trunk.ack_failure(self.trunk.expect(503))
        self.trunk.send(
            b"OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKopt\r\nMax-Forwards: 70\r\n"
            b"From: <sip:a@198.51.100.7>;tag=o\r\nTo: <sip:192.0.2.1>\r\nCall-ID: opt\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        self.trunk.expect(503)
        self.trunk.dialog = dialog
        self.hang_up()
        self.assertEqual(self.do("drain", on=False)["draining"], False)
        self.assertEqual(self.do("status"), {"version": "1", "draining": False, "tracing": True})

    def test_engine_stops_after_the_last_call_only_when_that_is_asked_for(self):
        self.expected_records = 0
        self.start()
        self.do("drain")
        self.assertEqual(self.left, [])
        self.assertTrue(self.do("drain", stop=True)["stops"])
        self.assertEqual(self.left, [1])

    def test_trace_is_turned_on_and_off(self):
        self.expected_records = 0
        self.start()
        self.assertEqual([self.do("trace", **how)["tracing"] for how in ({}, {"on": False}, {}, {"on": True})], [True, False, False, True])

    def test_what_cannot_be_done_is_said_in_words(self):
        self.expected_records = 0
        self.start()
        self.assertIn("none of status, calls, hangup", self.refused("dance"))
        self.assertIn("hangup takes call, all", self.refused("hangup", number=3))
        self.assertIn("trace takes on", self.refused("trace", on="yes"))
        self.assertIn("name one call, or all", self.refused("hangup"))
        self.assertIn("name one call, or all", self.refused("hangup", call="x", all=True))
        self.assertIn("call x is not in progress", self.refused("hangup", call="x"))
        self.assertIn("does not stop", self.refused("drain", on=False, stop=True))


class ReloadTests(SynchronousTestCase):
    def setUp(self):
        self.old = defaults()

    def test_every_key_that_differs_is_told(self):
        new = replace(self.old, calls=replace(self.old.calls, max_calls=5), trunks=(TRUNK,))
        self.assertEqual(sorted(map(str, changes(self.old, new))), ["[[trunk]]", "[calls] max_calls"])
        self.assertEqual(list(changes(self.old, self.old)), [])

    def test_what_can_be_applied_counts_and_the_rest_stays_as_it_was(self):
        new = replace(self.old, calls=replace(self.old.calls, max_calls=5, header_prefix="x-shop"), trunks=(TRUNK,))
        seen = []
        table = {("calls", "max_calls"): lambda new: seen.append(new.calls.max_calls), ("trunks", ""): lambda new: False}
        outcome = reloading.reload(self.old, new, table)
        self.assertEqual((seen, list(map(str, outcome.applied))), ([5], ["[calls] max_calls"]))
        self.assertEqual(sorted(map(str, outcome.waiting)), ["[[trunk]]", "[calls] header_prefix"])
        self.assertEqual(outcome.settings, replace(self.old, calls=replace(self.old.calls, max_calls=5)))
        again = reloading.reload(outcome.settings, new, table)
        self.assertEqual((list(again.applied), len(again.waiting)), ([], 2))


class FakeService:
    """As much of the service as its control asks."""

    def __init__(self, engine, settings, path):
        self.engine, self.timers, self.settings, self.reactor = engine.calls, engine.timers, settings, self
        self.tracer = Tracer(engine.timers, engine._wall_ms, settings.trace, path, PatientWriter())
        self.stores, self.facts, self.stopped = engine.stores, dict, 0
        self.pings = self.recordings = self
        self.told = []

    def use_trunks(self, trunks):
        self.told.append(tuple(trunks))

    def use_settings(self, settings):
        self.told.append(settings)

    def stop(self):
        self.stopped += 1


class ControlTests(CallTestCase):
    def start(self, *targets, **options):
        engine = super().start(*targets, **options)
        self.service = FakeService(engine, replace(defaults(), trunks=(TRUNK,)), self.mktemp())
        self.read = self.service.settings
        self.control = Control(self.service, lambda: self.read)
        return engine

    def test_new_trunk_delivers_calls_at_once_and_a_removed_one_none(self):
        self.start()
        self.read = replace(self.read, trunks=(TrunkSettings(name="other", sources=TRUNK.sources),))
        self.assertEqual(self.control.reload(), {"applied": ["[[trunk]]"], "waiting": []})
        self.talk()
        self.hang_up()
        self.network.run(1)
        self.assertEqual(self.record.trunk, "other")
        self.read = replace(self.read, trunks=())
        self.control.reload()
        self.trunk.invite(body=b"")
        self.trunk.ack_failure(self.trunk.expect(403))
        self.assertEqual(self.service.told[-1], ())

    def test_trunk_with_a_registration_waits_for_the_next_start(self):
        self.expected_records = 0
        self.start()
        self.read = replace(self.read, trunks=(replace(TRUNK, register=True, outbound="sip:198.51.100.7"),))
        self.assertEqual(self.control.reload(), {"applied": [], "waiting": ["[[trunk]]"]})
        self.assertEqual(self.service.told, [])

    def test_limits_traces_and_recordings_follow(self):
        self.expected_records = 0
        self.start()
        calls = replace(self.read.calls, max_calls=1, lookup_budget=0.1)
        self.read = replace(self.read, calls=calls, trace=TraceSettings(keep=0), recording=replace(self.read.recording, keep=1))
        self.assertEqual(len(self.control.reload()["applied"]), 4)
        self.assertEqual((self.engine.calls.settings.max_calls, self.engine.calls.lookup.budget), (1, 0.1))
        self.assertEqual((self.service.tracer.kept, self.service.told), (False, [self.read.recording]))
        self.assertEqual(self.control.reload(), {"applied": [], "waiting": []})

    def test_configuration_that_is_wrong_changes_nothing(self):
        self.expected_records = 0
        self.start()
        before = self.service.settings

        def wrong():
            raise ConfigErrors(["[sip] t1: 0 is outside 0.01 to 5 (seconds)"])

        self.control._read = wrong
        self.assertRaises(ConfigErrors, self.control.reload)
        self.control._hung_up()
        self.assertIs(self.service.settings, before)

    def test_draining_engine_leaves_after_its_last_call(self):
        self.start()
        self.talk()
        self.engine.calls.drain(True)
        self.control.leave()
        self.network.run(10)
        self.assertEqual(self.service.stopped, 0)
        self.hang_up()
        self.network.run(5)
        self.assertEqual(self.service.stopped, 1)

    def test_engine_that_takes_calls_again_stays(self):
        self.start()
        self.talk()
        self.engine.calls.drain(True)
        self.control.leave()
        self.engine.calls.drain(False)
        self.network.run(1)
        self.hang_up()
        self.network.run(10)
        self.assertEqual(self.service.stopped, 0)


class ConversationTests(SynchronousTestCase):
    def said(self, *lines, do=lambda request: request):
        conversation, transport = Conversation(do), StringTransport()
        conversation.makeConnection(transport)
        conversation.dataReceived(b"".join(line + b"\n" for line in lines))
        return [json.loads(line) for line in transport.value().splitlines()]

    def test_each_request_has_its_answer(self):
        self.assertEqual(self.said(b'{"do": 1}', b'{"do": 2}'), [{"result": {"do": 1}}, {"result": {"do": 2}}])

    def test_what_is_no_request_is_told_so(self):
        for line in (b"", b"hello", b"[1]", b'{"do"', b"\xff\xfe"):
            [answer] = self.said(line)
            self.assertIn("JSON object on a line", answer["error"])

    def test_bug_is_not_told_but_logged(self):
        self.assertEqual(self.said(b"{}", do=lambda request: 1 / 0), [{"error": "a bug, see the engine's log"}])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class SocketTests(TestCase):
    def setUp(self):
        self.path = os.path.join(os.path.abspath(self.mktemp())[-60:].replace("/", "_"))
        self.addCleanup(lambda: os.path.exists(self.path) and os.unlink(self.path))

    def control(self, path=None):
        control = ControlSocket(reactor, path or self.path, lambda request: request)
        self.addCleanup(control.stop)
        return control

    async def test_only_its_owner_may_open_it_and_it_goes_with_the_engine(self):
        control = self.control()
        control.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        await control.stop()
        self.assertFalse(os.path.exists(self.path))

    async def test_socket_that_a_dead_engine_left_is_taken_over(self):
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(self.path)
        dead.close()
        self.control().start()
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(self.path)

    async def test_socket_of_a_living_engine_and_other_files_are_left_alone(self):
        with socket.socket(socket.AF_UNIX) as living:
            living.bind(self.path)
            living.listen()
            self.control().start()
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(self.path)
        os.unlink(self.path)
        with open(self.path, "w") as file:
            file.write("mine")
        self.control().start()
        self.assertEqual(os.path.getsize(self.path), 4)

    async def test_path_that_is_too_long_or_nowhere_is_logged_and_the_engine_goes_on(self):
        for path in ("x" * 200, "/nowhere/at/all"):
            self.control(path).start()


class SystemdTests(SynchronousTestCase):
    def setUp(self):
        self.path = os.path.join("/tmp", f"ct-{os.getpid()}-{self.id()[-20:]}")
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.systemd.bind(self.path)
        self.addCleanup(os.unlink, self.path)
        self.addCleanup(self.systemd.close)
        self.clock = Clock()

    def heard(self):
        told = []
        while True:
            try:
                told.append(self.systemd.recv(4096).decode())
            except BlockingIOError:
                return told

    def test_systemd_hears_of_the_start_the_life_and_the_end(self):
        notifier = Notifier(Timers(self.clock), {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "20000000"})
        notifier.started(lambda: "3 calls")
        self.assertEqual(self.heard(), ["READY=1\nSTATUS=3 calls", "WATCHDOG=1\nSTATUS=3 calls"])
        for _ in range(5):
            self.clock.advance(5.1)
        self.assertEqual(len(self.heard()), 2)  # one each 10 s
        notifier.stopping()
        self.assertEqual(self.heard(), ["STOPPING=1"])
        self.clock.pump([5] * 10)
        self.assertEqual(self.heard(), [])

    def test_nobody_is_told_where_nobody_asked(self):
        notifier = Notifier(Timers(self.clock), {})
        notifier.started(lambda: "")
        notifier.stopping()
        self.assertEqual((self.heard(), self.clock.getDelayedCalls()), ([], []))

    def test_systemd_that_is_gone_does_not_matter(self):
        notifier = Notifier(Timers(self.clock), {"NOTIFY_SOCKET": "/nowhere/notify"})
        notifier.started(lambda: "")
