"""What becomes of bindings: expiry, restarts, a store that is away, accounts that are disabled, clocks that jump."""

from copy import copy

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail, succeed

from calltrack.errors import StoreUnavailable
from calltrack.events import journal
from tests.registrar.case import RegistrarTestCase


class ExpiryTests(RegistrarTestCase):
    def test_contact_is_gone_when_its_time_is_over_and_not_before(self):
        self.start()
        phone = self.phone()
        self.registered(phone, 60)
        self.told()
        self.network.run(59.9)
        self.assertEqual(len(self.held()), 1)
        self.network.run(2)
        self.assertEqual(self.held(), [])
        self.assertEqual([(kind, reason) for kind, _, reason in self.told()], [("unregistered", "expired")])

    def test_refresh_carries_the_contact_over_its_first_end(self):
        self.start()
        phone = self.phone()
        self.registered(phone, 60)
        self.network.run(50)
        self.registered(phone, 60)
        self.network.run(55)
        self.assertEqual(len(self.held()), 1)
        self.network.run(10)
        self.assertEqual(self.held(), [])

    def test_each_contact_has_its_own_end(self):
        self.start()
        for port, expires in ((5060, 60), (5061, 120), (5062, 180)):
            self.registered(self.phone(port=port), expires)
        self.network.run(2)
        counts = []
        for _ in range(3):
            self.network.run(60.9)
            counts.append(len(self.held()))
        self.assertEqual(counts, [2, 1, 0])

    def test_many_contacts_cost_one_timer(self):
        self.start(max_contacts=100)
        before = self.engine.timers.pending()
        for port in range(5060, 5110):
            phone = self.phone(port=port)
            self.registered(phone, 60 + port % 40)
        self.network.run(40)  # the transactions are over
        self.assertEqual(self.engine.timers.pending(), before + 1)

    def test_step_of_the_wall_clock_drops_nobody(self):
        self.start()
        phone = self.phone()
        self.registered(phone, 600)
        for hours in (1, -2):
            self.registrar._wall = lambda: 1_795_457_000 + self.clock.seconds() + 3600 * hours
            self.network.run(100)
            self.assertEqual(len(self.registrar.locations), 1)
            answer = self.registered(phone, 600)
            self.assertEqual([seconds for _, seconds in self.listed(answer)], [600])


class RestartTests(RegistrarTestCase):
    def test_bindings_survive_a_kill(self):
        self.start()
        phone = self.phone()
        self.registered(phone, 600)
        before = self.registrar.locations.of(1)[0].binding
        self.network.run(100)
        self.restart()
        self.assertEqual(self.registrar.locations.of(1)[0].binding, before)
        answer = self.registered(phone, None, contacts=())
        self.assertEqual([seconds for _, seconds in self.listed(answer)], [500])

    def test_device_that_registers_again_after_a_restart_is_no_news(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        self.restart()
        self.told()
        self.registered(phone)
        self.assertEqual((len(self.held()), self.told()), (1, []))

    def test_order_of_requests_is_kept_over_a_restart(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        self.restart()
        phone.send_register(credentials=[])
        phone.send_register(0, cseq=1, credentials=phone.credentials_for(phone.answer()))
        self.assertEqual(phone.answer().status, 500)

    def test_what_expired_meanwhile_is_gone(self):
        self.start()
        phone = self.phone()
        self.registered(phone, 60)
        self.registrar.directory.stop()
        self.engine.transports.stop()
        bindings = self.now(self.stores.locations.list())
        self.network.run(100)
        self.now(self.stores.locations.write(bindings, []))  # the old process was not there to remove it
        self.start()
        self.assertEqual(self.held(), [])

    def test_connections_end_with_the_process(self):
        self.start()
        phone = self.phone(transport="tcp")
        self.registered(phone)
        bindings = self.now(self.stores.locations.list())
        self.restart()
        self.network.run(1)
        self.now(self.stores.locations.write(bindings, []))  # as a kill leaves it
        self.restart()
        self.network.run(1)
        self.assertEqual(self.held(), [])

    def test_end_of_the_engine_is_no_news_of_its_connections(self):
        self.start()
        phone = self.phone(transport="tcp")
        self.registered(phone)
        self.told()
        self.stop()
        self.engine.transports.stop()
        self.network.run(1)
        self.assertEqual(self.told(), [])
        self.assertEqual(len(self.now(self.stores.locations.list())), 1)

    def test_interval_after_a_clock_that_went_back_is_no_longer_than_allowed(self):
        self.start()
        self.registered(self.phone(), 600)
        (binding,) = self.now(self.stores.locations.list())
        self.now(self.stores.locations.write([replace(binding, expires_at=binding.expires_at + 86400)], []))
        self.restart(max_expires=1800)
        self.network.run(1802)
        self.assertEqual(len(self.registrar.locations), 0)


class AccountTests(RegistrarTestCase):
    def test_disabled_account_loses_its_devices(self):
        self.start()
        self.registered(self.phone())
        self.registered(self.phone(port=5062))
        self.told()
        self.now(self.accounts.disable(1))
        self.network.run(0.3)
        self.assertEqual(self.held(), [])
        self.assertEqual([reason for _, _, reason in self.told()], ["account disabled"] * 2)

    def test_new_password_leaves_devices_where_they_are(self):
        self.start()
        self.registered(self.phone())
        self.now(self.accounts.set_password(1, "BetterPass2"))
        self.network.run(0.3)
        self.assertEqual(len(self.held()), 1)

    def test_account_that_was_disabled_while_the_engine_was_down(self):
        self.start()
        self.registered(self.phone())
        bindings = self.now(self.stores.locations.list())
        self.now(self.accounts.disable(1))
        self.now(self.stores.locations.write(bindings, []))
        self.restart()
        self.network.run(0.1)
        self.assertEqual(self.held(), [])

    def test_event_tells_device_source_and_transport(self):
        self.start()
        self.registered(self.phone(product=b"Zoiper\x01 5\xff"))
        (event,) = self.logged()
        self.assertEqual(
            (event.type, event.project, event.user, event.device, event.source, event.transport),
            ("account.registered", 1, self.account.user, "Zoiper? 5\N{REPLACEMENT CHARACTER}", "203.0.113.9:5060", "udp"),
        )

    def test_each_binding_tells_of_its_coming_and_going_under_its_own_id(self):
        self.start()
        phone = self.phone()
        for _ in range(2):
            self.registered(phone)
            self.registered(phone)
            self.registered(phone, 0)
        first, gone, second, gone_again = [event.id.rpartition(".") for event in self.logged()]
        self.assertEqual((first[0], second[0]), (gone[0], gone_again[0]))
        self.assertNotEqual(first[0], second[0])
        self.assertEqual((first[2], gone[2]), ("registered", "unregistered"))


class Wavering:
    """A location store whose writes wait, fail or pass as a test says."""

    def __init__(self, store):
        self.store = store
        self.failing = False
        self.holding = False
        self.writes = []
        self._held = []

    def write(self, saved, removed, events):
        self.writes.append((saved, removed))
        if self.failing:
            return fail(StoreUnavailable("locked"))
        if not self.holding:
            return self.store.write(saved, removed, events)
        waiting = Deferred()
        self._held.append((waiting, saved, removed, events))
        return waiting

    def release(self):
        self.holding = False
        held, self._held = self._held, []
        for waiting, saved, removed, events in held:
            self.store.write(saved, removed, events)
            waiting.callback(None)

    def list(self, project=None):
        return fail(StoreUnavailable("locked")) if self.failing else self.store.list(project)

    def forget(self, project):
        return succeed(None)


class StoreTests(RegistrarTestCase):
    def setUp(self):
        super().setUp()
        self.locations = Wavering(self.stores.locations)
        self.wavering = copy(self.stores)
        self.wavering.locations = self.locations

    def test_answer_waits_until_the_binding_is_stored(self):
        self.start(stores=self.wavering)
        phone = self.phone()
        self.locations.holding = True
        self.asks(phone)
        phone.expect_nothing(3)
        self.locations.release()
        self.assertEqual(phone.answer().status, 200)

    def test_requests_that_come_during_a_write_share_the_next_one(self):
        self.start(stores=self.wavering, max_contacts=50)
        phones = [self.phone(port=5060 + n) for n in range(20)]
        self.locations.holding = True
        for phone in phones:
            self.asks(phone)
        self.network.run(0.1)
        self.locations.release()
        self.assertEqual([phone.answer().status for phone in phones], [200] * 20)
        self.assertEqual([len(saved) for saved, _ in self.locations.writes], [1, 19])

    def test_device_is_called_but_asked_to_come_again_while_the_store_is_away(self):
        self.start(stores=self.wavering)
        phone = self.phone()
        self.locations.failing = True
        answer = phone.register()
        self.assertEqual(answer.status, 503)
        self.assertIn(int(answer.get(b"retry-after")), range(5, 21))
        self.assertEqual(len(self.registrar.reachable(1)), 1)
        self.locations.failing = False
        self.network.run(2)
        self.assertEqual(len(self.held()), 1)  # written as soon as that was possible
        self.registered(phone)

    def test_device_that_is_written_later_is_told_then_and_once(self):
        self.start(stores=self.wavering)
        phone = self.phone()
        self.locations.failing = True
        self.assertEqual(phone.register().status, 503)
        self.network.run(3)
        self.assertEqual(self.told(), [])
        self.locations.failing = False
        self.network.run(2)
        self.assertEqual([kind for kind, _, _ in self.told()], ["registered"])

    def test_kill_before_a_binding_is_stored_leaves_neither_it_nor_its_event(self):
        self.start(stores=self.wavering)
        phone = self.phone()
        self.locations.holding = True
        self.asks(phone)
        self.network.run(0.1)
        self.restart(stores=self.stores)
        self.assertEqual((self.held(), self.told()), ([], []))
        self.registered(phone)
        self.assertEqual([kind for kind, _, _ in self.told()], ["registered"])

    def test_kill_before_a_removal_is_stored_tells_it_at_the_next_start(self):
        self.start(stores=self.wavering)
        phone = self.phone()
        self.registered(phone, 60)
        self.locations.holding = True
        self.network.run(62)
        self.assertEqual([kind for kind, _, _ in self.told()], ["registered"])
        self.restart(stores=self.stores)
        self.assertEqual([(kind, reason) for kind, _, reason in self.told()], [("unregistered", "expired")])

    def test_events_that_wait_for_a_store_are_bounded_and_the_oldest_go(self):
        self.patch(journal, "MOST_WAITING", 3)
        self.start(stores=self.wavering, max_contacts=50)
        self.locations.failing = True
        for port in range(5060, 5065):
            self.assertEqual(self.phone(port=port).register().status, 503)
        self.locations.failing = False
        self.network.run(2)
        self.assertEqual([contact.rpartition(":")[2] for _, contact, _ in self.told()], ["5062", "5063", "5064"])
        self.assertEqual(len(self.held()), 5)

    def test_removal_that_was_not_stored_is_tried_again(self):
        self.start(stores=self.wavering)
        phone = self.phone()
        self.registered(phone)
        self.locations.failing = True
        self.assertEqual(phone.register(0).status, 503)
        self.locations.failing = False
        self.network.run(2)
        self.assertEqual(self.held(), [])

    def test_device_is_told_to_come_later_until_the_bindings_of_an_earlier_run_are_read(self):
        self.locations.failing = True
        self.start(stores=self.wavering)
        phone = self.phone()
        self.assertEqual(phone.register().status, 503)
        self.locations.failing = False
        self.network.run(2)
        self.registered(phone)

    def test_end_waits_for_what_is_being_written(self):
        self.start(stores=self.wavering)
        phone = self.phone()
        self.locations.holding = True
        self.asks(phone)
        self.network.run(0.1)
        stopping = self.registrar.stop()
        self.assertNoResult(stopping)
        self.locations.release()
        self.successResultOf(stopping)
        phone.answer()

    def test_account_disabled_while_a_registration_is_written_wins(self):
        self.start(stores=self.wavering)
        phone = self.phone()
        self.locations.holding = True
        self.asks(phone)
        self.network.run(0.1)
        self.now(self.accounts.disable(1))
        self.network.run(0.3)
        self.locations.release()
        self.assertEqual(self.listed(phone.answer()), [])
        self.assertEqual(self.held(), [])
        self.assertEqual([kind for kind, _, _ in self.told()], ["registered", "unregistered"])

    def test_two_requests_of_one_device_in_flight_end_with_the_later(self):
        self.start(stores=self.wavering)
        phone = self.phone()
        self.registered(phone)
        self.locations.holding = True
        phone.send_register(600)
        phone.send_register(0)
        self.network.run(0.1)
        self.locations.release()
        self.assertEqual([phone.answer().status for _ in range(2)], [200, 200])
        self.assertEqual(self.held(), [])
