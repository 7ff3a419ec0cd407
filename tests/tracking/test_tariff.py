"""What calls cost."""

from twisted.trial.unittest import SynchronousTestCase

from calltrack.tracking.tariff import Tariff


class TariffTests(SynchronousTestCase):
    def setUp(self):
        self.tariff = Tariff({"7": 0.05, "7495": 0.02, "74951": 0.01}, "USD")

    def test_longest_prefix_counts(self):
        for number, price in (("+74951234567", 0.01), ("74952234567", 0.02), ("+78121234567", 0.05), ("+12025550143", None)):
            self.assertEqual(self.tariff.price(number), price, number)

    def test_empty_prefix_is_the_price_of_the_rest(self):
        self.assertEqual(Tariff({"": 0.5, "7": 0.05}).price("+12025550143"), 0.5)

    def test_each_started_minute_counts(self):
        for seconds, cost in ((0, 0), (0.1, 0.02), (60, 0.02), (60.1, 0.04), (3600, 1.2)):
            self.assertEqual(self.tariff.cost("74952", seconds), cost, seconds)

    def test_sums_have_no_dust(self):
        self.assertEqual(Tariff({"": 0.1}).cost("1", 180), 0.3)

    def test_number_without_a_price_has_no_cost(self):
        self.assertIsNone(self.tariff.cost("12025550143", 60))

    def test_no_prices_is_no_tariff(self):
        self.assertFalse(Tariff())
        self.assertTrue(self.tariff)
