"""What visits say about people goes when its time is over."""

from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import StoreUnavailable
from calltrack.storage.memory_visits import MemoryVisits
from calltrack.testing.visit_contract import AT, visit
from calltrack.timers import Timers
from calltrack.tracking.retention import DAY, Retention
from calltrack.tracking.settings import PrivacySettings


class RetentionTests(SynchronousTestCase):
    def setUp(self):
        self.clock, self.store = Clock(), MemoryVisits()
        self.timers = Timers(self.clock)
        old = AT - 31 * DAY
        personal = {"address": "192.0.2.1", "user_agent": "Mozilla/5.0"}
        self.successResultOf(self.store.write([visit(1, old, **personal), visit(2, AT, **personal)], [], [], []))

    def retain(self, **settings):
        wall = lambda: AT + round(self.clock.seconds() * 1000)  # noqa: E731
        retention = Retention(self.timers, wall, self.store, PrivacySettings(**settings))
        retention.start()
        return retention

    def addresses(self):
        return [one.address for one in self.successResultOf(self.store.list())]

    def test_field_goes_after_its_days_and_the_others_stay(self):
        self.retain()
        self.clock.advance(61)
        self.assertEqual(self.addresses(), ["192.0.2.1", ""])
        self.assertEqual(self.successResultOf(self.store.get(1, 1)).user_agent, "Mozilla/5.0")

    def test_it_is_looked_at_every_hour(self):
        self.retain()
        self.clock.advance(61)
        self.clock.pump([3600.0] * 24 * 31)
        self.assertEqual(self.addresses(), ["", ""])

    def test_zero_days_keep_a_field_as_long_as_the_visit_and_visits_for_ever(self):
        self.retain(address=0, user_agent=0, click_id=0)
        self.clock.pump([3600.0] * 24 * 100)
        self.assertEqual(self.addresses(), ["192.0.2.1", "192.0.2.1"])

    def test_whole_visits_go(self):
        self.retain(visits=7)
        self.clock.advance(61)
        self.assertEqual([one.number for one in self.successResultOf(self.store.list())], [2])

    def test_pages_go_one_after_another(self):
        asked = []

        def expire(field, since, before, limit):
            asked.append((field, since))
            return succeed(since + 10 if field == "address" and since < 30 else None)

        self.store.expire = expire
        self.retain(user_agent=0, click_id=0)
        self.clock.pump([61.0, 0.6, 0.6, 0.6, 0.6])
        self.assertEqual(asked, [("address", at) for at in (0, 10, 20, 30)])

    def test_store_that_is_away_is_asked_again(self):
        expire, self.store.expire = self.store.expire, lambda *args: fail(StoreUnavailable("locked"))
        self.retain()
        self.clock.advance(61)
        self.store.expire = expire
        self.clock.advance(3600)
        self.assertEqual(self.addresses(), ["192.0.2.1", ""])

    def test_stopped_it_looks_no_more(self):
        self.retain().stop()
        self.clock.pump([61.0, 3600.0])
        self.assertEqual(self.addresses(), ["192.0.2.1", "192.0.2.1"])
