"""Numbers that are called by people who were not shown them."""

from twisted.trial.unittest import SynchronousTestCase

from calltrack.tracking.model import NumberAlert
from tests.tracking.visiting import Shop, number, pool

DAY = 86400.0  # seconds


class LeakTests(SynchronousTestCase):
    def setUp(self):
        self.shop = Shop(self, numbers=pool(1))

    def alerts(self):
        told = [value for value in self.shop.published if isinstance(value, NumberAlert)]
        return [(alert.kind, alert.number, alert.scenario, alert.callers) for alert in told]

    def test_number_that_was_never_leased_and_is_called_is_told_once_a_day(self):
        for _ in range(3):
            self.assertEqual(self.shop.call("12025550100").reason, "never leased")
        self.assertEqual(self.alerts(), [("never-leased", "12025550100", 3, 1)])
        self.shop.clock.advance(DAY)
        self.shop.call("12025550100")
        self.assertEqual(len(self.alerts()), 2)

    def test_number_that_several_call_long_after_its_last_lease_has_leaked(self):
        leased = number(self.shop.arrive())
        self.shop.clock.advance(2 * DAY)
        for caller in ("1", "1", "2"):
            self.shop.call(leased, caller)
        self.assertEqual(self.alerts(), [])
        found = self.shop.call(leased, "3")
        self.assertEqual((found.visit, self.alerts()), (1, [("leaked", leased, 3, 3)]))

    def test_callers_of_more_than_a_week_ago_do_not_count(self):
        leased = number(self.shop.arrive())
        for caller in ("1", "2", "3"):
            self.shop.clock.advance(5 * DAY)
            self.shop.call(leased, caller)
        self.assertEqual(self.alerts(), [])

    def test_calls_of_visitors_are_no_leak(self):
        shown = self.shop.arrive()
        for caller in range(10):
            self.shop.call(number(shown), str(caller))
        self.shop.clock.advance(3600)
        for caller in range(10):
            self.shop.call(number(shown), str(caller))
        self.assertEqual(self.alerts(), [])
