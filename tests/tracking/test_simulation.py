"""Simulated days: calls find their visitors as often as Erlang's formula says, and no number is held twice."""

from twisted.trial.unittest import SynchronousTestCase

from calltrack.testing.simulation import Plan, Simulation, overlaps
from calltrack.testing.visit_contract import AT, lease


class SimulationTests(SynchronousTestCase):
    def test_accuracy_is_what_erlang_predicts_at_three_loads_and_no_number_is_held_twice(self):
        for load in (6.0, 9.0, 13.0):
            found = Simulation(Plan(numbers=10, load=load, days=2.0, hold=60.0, stay=60.0, seed=7)).run()
            self.assertGreater(found.calls, 3000)
            self.assertApproximates(found.accuracy, 1 - found.predicted, 0.01, f"at a load of {load}")
            self.assertEqual((found.double_leases, found.wrong), (0, 0))

    def test_same_seed_gives_the_same_figures(self):
        plan = Plan(numbers=5, load=3.0, days=0.1, seed=3)
        self.assertEqual(Simulation(plan).run(), Simulation(plan).run())

    def test_late_callers_are_found_as_long_as_nobody_else_had_their_number(self):
        found = Simulation(Plan(numbers=60, load=3.0, days=1.0, late=0.5)).run()
        self.assertGreater(found.late_right / found.late, 0.3)
        self.assertEqual(found.late, found.late_right + found.late_wrong)

    def test_overlaps_are_seen(self):
        self.assertEqual(overlaps([lease(begun=AT, ended=AT + 10), lease(begun=AT + 10, ended=AT + 20)]), 0)
        self.assertEqual(overlaps([lease(begun=AT, ended=AT + 11), lease(begun=AT + 10, ended=AT + 20)]), 1)
        self.assertEqual(overlaps([lease(begun=AT), lease(begun=AT + 10)]), 1)
