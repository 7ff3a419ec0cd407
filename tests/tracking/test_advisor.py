"""How many numbers a pool needs: the formula against tables, the replay against pencil and paper, both together."""

import random

from twisted.trial.unittest import SynchronousTestCase

from calltrack.tracking.advisor import Ask, advise, asks_of, replay
from calltrack.tracking.erlang import erlang_b
from calltrack.tracking.model import Lease, Miss


def lease(begun, ended, confirmed=True):
    return Lease(number="1", begun=begun, ended=ended, project=1, scenario=3, visit=1, marker="m", confirmed=confirmed)


class ErlangTests(SynchronousTestCase):
    def test_formula_agrees_with_published_tables(self):
        """Traffic offered for a loss of 1 %, as Erlang B tables print it."""
        for numbers, load in ((1, 0.0101), (5, 1.36), (10, 4.46), (20, 12.0), (50, 37.9), (100, 84.1)):
            self.assertApproximates(erlang_b(numbers, load), 0.01, 0.0003)

    def test_edges(self):
        self.assertEqual((erlang_b(0, 5.0), erlang_b(3, 0.0), erlang_b(0, 0.0)), (1.0, 0.0, 1.0))
        self.assertApproximates(erlang_b(1000, 900.0), 0.0, 0.001)


class ReplayTests(SynchronousTestCase):
    def test_replay_counts_who_finds_no_number(self):
        asks = [Ask(0, 50.0, True, False), Ask(10_000, 50.0, True, True), Ask(61_000, 0.0, True, False)]
        self.assertEqual(replay(asks, 1, 10.0), 1 / 3)
        self.assertEqual(replay(asks, 2, 10.0), 0.0)
        self.assertEqual(replay(asks, 1, 100.0), 2 / 3)

    def test_who_leaves_at_once_takes_a_number_only_where_there_is_room(self):
        asks = [Ask(at, 10.0, False, False) for at in range(4)] + [Ask(5, 0.0, True, False)]
        self.assertEqual(replay(asks, 4, 100.0), 1.0)
        self.assertEqual(replay(asks, 5, 100.0), 0.0)

    def test_stay_is_what_a_lease_lasted_without_the_hold_time(self):
        leases = [lease(0, 200_000), lease(1000, 11_000, False), lease(2000, None, False)]
        asks = asks_of(leases, [Miss(project=1, scenario=3, visit=2, at=500)], 150.0, 302_000)
        self.assertEqual([ask.stayed for ask in asks], [50.0, 100.0, 10.0, 150.0])
        self.assertEqual([ask.missed for ask in asks], [False, True, False, False])
        self.assertEqual([ask.confirmed for ask in asks], [True, True, False, True])


class AdviceTests(SynchronousTestCase):
    def history(self, per_hour, hours=200, seed=1):
        """Independent visitors, so many an hour on average, who stay a while."""
        chance, at, asks = random.Random(seed), 0.0, []
        while at < hours * 3600:
            at += chance.expovariate(per_hour / 3600)
            asks.append(Ask(int(at * 1000), chance.expovariate(1 / 120), True, False))
        return asks

    def test_prediction_and_replay_agree_on_independent_visitors(self):
        advice = advise(self.history(120), numbers=10, hold=150.0)
        for row in advice.rows:
            self.assertApproximates(row.predicted, row.replayed, 0.01)

    def test_advised_numbers_keep_misses_under_what_is_wanted(self):
        advice = advise(self.history(120), numbers=10, hold=150.0, wanted=0.01)
        by_size = {row.numbers: row for row in advice.rows}
        self.assertLess(by_size[advice.advised].predicted, 0.01)
        self.assertGreater(by_size[advice.advised - 1].predicted, 0.01)
        self.assertEqual((advice.numbers, 10 in by_size), (10, True))

    def test_shorter_hold_needs_fewer_numbers(self):
        asks = self.history(120)
        self.assertLess(advise(asks, 10, 60.0).advised, advise(asks, 10, 150.0).advised)

    def test_busy_hours_count_more_than_the_average_of_the_day(self):
        even = self.history(60, hours=240)
        rush = [ask for ask in self.history(360, hours=240) if (ask.at // 3_600_000) % 6 == 0]
        self.assertApproximates(len(rush) / len(even), 1.0, 0.1)
        self.assertGreater(advise(rush, 10, 150.0).advised, 2 * advise(even, 10, 150.0).advised)

    def test_no_history_gives_no_advice(self):
        advice = advise([], numbers=4, hold=150.0)
        self.assertEqual((advice.advised, advice.visitors, advice.observed), (0, 0, 0.0))
