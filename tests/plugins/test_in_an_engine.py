"""Plugins that are slow, silent or broken in an engine: what docs/plugins.md promises is what devices and callers see."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed

from calltrack.interfaces import ILocationStore, IScenarioSource
from calltrack.plugins.guard import Guarded
from calltrack.testing.engine import sip_target
from tests.plugins.sample import Slow
from tests.registrar.case import RegistrarTestCase


class Locations(Slow):
    """Slow to write; empty at the start."""

    def list(self, project: int | None = None) -> Deferred[list]:
        return succeed([])


class LocationTests(RegistrarTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.slow = Locations()
        self.stores.locations = Guarded("slow", ILocationStore, self.slow, self.clock)

    def tearDown(self) -> None:
        self.slow.write = lambda saved, removed, events: succeed(None)
        self.network.run(30)
        super().tearDown()

    def stop(self) -> None:
        stopped = self.registrar.stop()
        self.network.run(30)
        self.successResultOf(stopped)

    def ask(self, phone) -> None:
        """A whole REGISTER, its answer not waited for."""
        phone.send_register()
        phone.send_register(credentials=phone.credentials_for(phone.answer()))

    def test_a_register_that_the_store_takes_late_is_answered_late(self) -> None:
        self.start()
        phone = self.phone()
        self.ask(phone)
        self.network.run(5)
        self.slow.asked[0].callback(None)
        self.assertEqual(phone.answer().status, 200)

    def test_a_register_that_the_store_never_takes_is_answered_503_and_the_device_can_be_called(self) -> None:
        self.start()
        phone = self.phone()
        self.ask(phone)
        self.assertEqual(phone.answer(within=12).status, 503)
        self.assertEqual(len(self.registrar.locations), 1)  # memory is ahead; the store is tried again

    def test_a_store_with_a_bug_costs_the_same_and_its_traceback_is_logged(self) -> None:
        self.slow.write = lambda saved, removed, events: fail(ZeroDivisionError("a bug"))
        self.start()
        phone = self.phone()
        self.ask(phone)
        self.assertEqual(phone.answer().status, 503)
        self.assertGreaterEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class Broken:
    """A scenario source that fails at everything."""

    def lookup(self, dialled: str, caller: str, at: float) -> Deferred:
        raise ZeroDivisionError("a bug")

    def last_known(self, dialled: str):
        raise ZeroDivisionError("another bug")


class ScenarioTests(RegistrarTestCase):
    def test_a_source_that_fails_at_everything_refuses_the_call_and_harms_no_other(self) -> None:
        engine = self.start(sip_target("203.0.113.20"))
        whole = engine.calls.lookup._source
        guarded = Guarded("broken", IScenarioSource, Broken(), self.clock, at_once={"last_known": None})
        engine.calls.lookup._source = guarded
        trunk = self.trunk()
        trunk.invite(engine.number)
        trunk.ack_failure(trunk.expect(404))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        engine.calls.lookup._source = whole
        trunk.invite(engine.number)
        trunk.expect(100)
        trunk.cancel()
        trunk.expect(200, "CANCEL")
        trunk.ack_failure(trunk.expect(487))
