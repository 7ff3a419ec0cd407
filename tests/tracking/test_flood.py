"""100,000 visits from 1,000 addresses in a minute, at a tenth of the size: every honest visit still gets a number."""

from twisted.trial.unittest import SynchronousTestCase

from calltrack.testing.flood import flood


class FloodTests(SynchronousTestCase):
    def test_every_honest_visitor_gets_a_number_and_no_call_is_wrong(self):
        found = flood(visits=10_000, addresses=100, seconds=60.0, honest=100, numbers=200)
        self.assertGreater(found.refused, 3000)
        self.assertEqual((found.honest, found.honest_with_number, found.honest_refused), (100, 100, 0))
        self.assertEqual((found.calls, found.calls_right, found.double_leases), (100, 100, 0))

    def test_flood_takes_three_quarters_of_the_pool_at_most_and_only_for_a_moment(self):
        found = flood(visits=2000, addresses=2000, seconds=1.0, honest=0, numbers=40)
        self.assertEqual((found.answered, found.took_numbers), (2000, 31))
