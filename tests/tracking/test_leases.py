"""Laws of pools, whatever visitors, clocks and crashes do: walked by Hypothesis."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.storage.memory_visits import MemoryVisits
from calltrack.tracking.leases import Pools
from calltrack.tracking.model import Number, Scenario, Visit

HOLD = 150.0
NEVER = float("-inf")
SCENARIO = Scenario(id=3, project=1, name="x", kind="dynamic", hold=HOLD)
NUMBERS = [Number(number=str(100 + position), project=1, scenario=3) for position in range(5)]


def visit(number):
    return Visit(project=1, number=number, secret="", started=0, marker=f"m{number}")


class PoolsMachine(RuleBasedStateMachine):
    """Visitors come, stay and go; the wall clock jumps; the process dies; numbers come and go. A store keeps what it
    was told of, and an independent model says who was seen last on which number."""

    @initialize()
    def begin(self):
        self.clock = Clock()
        self.wall_shift = 1_000_000_000
        self.store = MemoryVisits()
        self.numbers = list(NUMBERS)
        self.visits = 0
        self.holding = {}  # number: Held
        self.seen = {}  # number: when its visit gave the last sign of life, monotonic
        self.idle_since = {}  # number: monotonic instant at which its last lease ended
        self.started()

    def started(self):
        self.pools = Pools(self.clock.seconds, self.wall, self.over)
        self.pools.follow([SCENARIO], self.numbers)

    def wall(self):
        return self.wall_shift + round(self.clock.seconds() * 1000)

    def write(self, begun=(), ended=()):
        refused = []
        self.store.write([], list(begun), list(ended), []).addCallback(refused.extend)
        assert not refused, "the store had an active lease of that number"

    def over(self, held):
        self.write(ended=[held.lease])
        number = held.lease.number
        if self.holding.get(number) is held:
            del self.holding[number]
            self.idle_since[number] = self.clock.seconds() if held.lease.ended == held.lease.begun else held.until

    def sweep(self):
        self.pools.sweep()

    @rule(seconds=st.sampled_from([0.01, 1.0, 3.0, 20.0, 149.0, 151.0, 1000.0]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule(milliseconds=st.integers(-7_200_000, 7_200_000))
    def wall_clock_jumps(self, milliseconds):
        self.wall_shift += milliseconds

    @rule(quick=st.booleans())
    def visitor_arrives(self, quick):
        self.sweep()
        members = {one.number for one in self.numbers}
        free = [number for number in members if number not in self.holding]
        self.visits += 1
        held = self.pools.take(3, visit(self.visits), 10.0 if quick else None)
        if held is None:
            assert not free or (quick and len(free) * 4 < len(members)), "a number was free"
            return
        number = held.lease.number
        assert number in free, "a held number was given away"
        longest = min(self.idle_since.get(other, NEVER) for other in free)
        assert self.idle_since.get(number, NEVER) == longest, "another number had been idle longer"
        self.write(begun=[held.lease])
        self.holding[number] = held
        self.seen[number] = self.clock.seconds()

    @precondition(lambda self: self.holding)
    @rule(data=st.data(), confirmed=st.booleans())
    def sign_of_life(self, data, confirmed):
        self.sweep()
        if not self.holding:
            return
        number = data.draw(st.sampled_from(sorted(self.holding)))
        held = self.holding[number]
        self.pools.renew(held, confirmed)
        if held.confirmed:
            assert held.until >= self.clock.seconds() + HOLD
            self.seen[number] = self.clock.seconds()

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def answer_fails(self, data):
        """The store did not take it: the number was never shown, and is the first to be given again."""
        self.sweep()
        fresh = sorted(n for n, held in self.holding.items() if held.began == self.clock.seconds())
        if not fresh:
            return
        number = data.draw(st.sampled_from(fresh))
        before = self.idle_since.get(number, NEVER)
        self.pools.give_back(self.holding[number])
        self.idle_since[number] = before

    @rule()
    def process_dies(self):
        """What was active is held on; nothing is lost, and nobody else gets those numbers."""
        self.sweep()
        before = {number: held.lease.visit for number, held in self.holding.items()}
        self.idle_since = {}
        histories = {one.number: self.pools.history(one.number)[-1:] for one in NUMBERS}
        self.holding = {}
        self.started()
        leases = []
        self.store.history([one.number for one in NUMBERS], 5).addCallback(leases.extend)
        self.pools.remember(leases)
        for number, holder in before.items():
            held = self.pools.holder(number)
            assert held is not None and held.lease.visit == holder, "a lease was lost"
            self.holding[number] = held
        for number, last in histories.items():
            found = self.pools.history(number)[-1:]
            assert [(one.begun, one.visit) for one in found] == [(one.begun, one.visit) for one in last]
        for lease in leases:  # of what was before, the wall clock is all that is known
            if lease.ended is not None and lease.ended > lease.begun:
                age = max(0, self.wall() - lease.ended) / 1000
                self.idle_since[lease.number] = self.clock.seconds() - age

    @rule(data=st.data())
    def number_goes_or_comes_back(self, data):
        number = data.draw(st.sampled_from(NUMBERS))
        present = number in self.numbers
        self.numbers = [one for one in self.numbers if one != number] if present else [*self.numbers, number]
        self.sweep()
        self.pools.follow([SCENARIO], self.numbers)

    @invariant()
    def active_leases_are_held_for_their_time(self):
        if not hasattr(self, "pools"):
            return
        for number, held in self.holding.items():
            if not held.over and held.confirmed:
                assert held.until >= self.seen.get(number, 0.0) + HOLD - 1e-6

    def teardown(self):
        """No two leases of a number overlap, in all of the history."""
        if not hasattr(self, "pools"):
            return
        leases = []
        self.store.history([one.number for one in NUMBERS], 10_000).addCallback(leases.extend)
        last = {}
        for lease in leases:
            previous = last.get(lease.number)
            assert previous is None or (previous.ended is not None and previous.ended <= lease.begun), (previous, lease)
            last[lease.number] = lease


class PoolLawTests(SynchronousTestCase):
    def test_pools_keep_their_laws(self):
        case = PoolsMachine.TestCase
        case.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
        case("runTest").runTest()


class PoolTests(SynchronousTestCase):
    def setUp(self):
        self.clock, self.ended = Clock(), []
        self.pools = Pools(self.clock.seconds, lambda: round(self.clock.seconds() * 1000), self.ended.append)
        self.pools.follow([SCENARIO], NUMBERS)

    def test_lease_ends_when_its_hold_ran_out_however_late_that_is_noticed(self):
        held = self.pools.take(3, visit(1), None)
        self.clock.advance(5000)
        self.pools.sweep()
        self.assertEqual((held.lease.begun, held.lease.ended), (0, 150_000))

    def test_numbers_never_leased_come_before_all_others(self):
        first = self.pools.take(3, visit(1), None).lease.number
        self.clock.advance(151)
        others = {self.pools.take(3, visit(number), None).lease.number for number in range(2, 6)}
        self.assertNotIn(first, others)
        self.assertEqual(self.pools.take(3, visit(6), None).lease.number, first)

    def test_idleness_outlives_a_restart(self):
        order = []
        for number in range(1, 6):
            order.append(self.pools.take(3, visit(number), None).lease.number)
            self.clock.advance(1)
        self.clock.advance(200)
        self.pools.sweep()
        again = Pools(self.clock.seconds, lambda: round(self.clock.seconds() * 1000), self.ended.append)
        again.follow([SCENARIO], NUMBERS)
        again.remember([held.lease for held in self.ended])
        self.assertEqual([again.take(3, visit(9), None).lease.number for _ in range(5)], order)

    def test_pool_of_a_hundred_thousand_numbers_gives_one_at_once(self):
        many = [Number(number=str(position), project=1, scenario=3) for position in range(10**9, 10**9 + 100_000)]
        self.pools.follow([SCENARIO], many)
        self.assertEqual(self.pools.state(3).free, 100_000)
        self.assertIsNotNone(self.pools.take(3, visit(1), None))

    def test_hold_of_the_scenario_counts_for_the_next_lease(self):
        self.pools.follow([replace(SCENARIO, hold=20.0)], NUMBERS)
        held = self.pools.take(3, visit(1), None)
        self.assertEqual(held.until - self.clock.seconds(), 20.0)
