"""Laws of visits from end to end, with a store that fails before or after it has written, and a process that dies."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import NoSuchObject, StoreUnavailable
from calltrack.storage.memory_visits import MemoryVisits
from calltrack.testing.simulation import overlaps, result
from calltrack.timers import Timers
from calltrack.tracking.settings import PrivacySettings, VisitSettings
from calltrack.tracking.visits import Visits
from tests.tracking.visiting import ADS, BROWSER, SHOP, WALL, pool

NUMBERS = pool(4)


class UnreliableStore(MemoryVisits):
    """As `mood` says: works, is away, or writes and then loses the answer."""

    mood = "works"

    def write(self, *args):
        if self.mood == "away":
            return fail(StoreUnavailable("away"))
        written = super().write(*args)
        return fail(StoreUnavailable("lost")) if self.mood == "loses answers" else written


class VisitsMachine(RuleBasedStateMachine):
    """Browsers only know what they were answered; that must hold, whatever happens behind."""

    @initialize()
    def begin(self):
        self.clock = Clock()
        self.clock.advance(1000)
        self.store = UnreliableStore()
        self.browsers = []  # the last answer of each
        self.hosts = 0
        self.started()

    def started(self):
        self.timers = Timers(self.clock)
        self.visits = Visits(
            self.timers, self.wall, self.store, VisitSettings(per_address=0), privacy=PrivacySettings(address=0)
        )
        self.visits.start()
        self.visits.follow([SHOP], [ADS], NUMBERS)

    def wall(self):
        return WALL + round(self.clock.seconds() * 1000)

    def answered(self, asked, position=None):
        try:
            shown = result(asked)
        except StoreUnavailable:
            return
        except NoSuchObject:
            raise AssertionError("a visit that was answered is unknown") from None
        number = shown.swaps[0].number if shown.swaps else ""
        if number:
            found = self.visits.attribute(number, self.wall())
            assert found.visit == shown.number, "a number that was shown belongs to somebody else"
            leases = result(self.store.leases_of(1, shown.number))
            assert any(one.number == number and one.ended is None for one in leases), "shown before it was stored"
        result(self.store.get(1, shown.number))
        if position is None:
            self.browsers.append(shown)
        else:
            self.browsers[position] = shown

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 12.0, 100.0, 200.0]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule(mood=st.sampled_from(["works", "works", "away", "loses answers"]))
    def store_changes(self, mood):
        self.store.mood = mood

    @rule()
    def browser_arrives(self):
        self.hosts += 1
        address = f"192.0.2.{self.hosts % 250}"
        self.answered(self.visits.arrive("shopkey", "https://shop.example/", address=address, user_agent=BROWSER))

    @precondition(lambda self: self.browsers)
    @rule(data=st.data(), page=st.booleans())
    def browser_comes_back(self, data, page):
        position = data.draw(st.integers(0, len(self.browsers) - 1))
        cookie = self.browsers[position].visit
        if page:
            asked = self.visits.arrive("shopkey", "https://shop.example/b", "", cookie, True, "192.0.2.1", BROWSER)
        else:
            asked = self.visits.beat("shopkey", cookie)
        self.answered(asked, position)

    @rule()
    def process_dies(self):
        """What was active in the store is held on by the next process."""
        active = {
            one.number: one.visit
            for one in result(self.store.history([one.number for one in NUMBERS], 1))
            if one.ended is None
        }
        self.timers.stop()
        self.started()
        for number, visit in active.items():
            assert self.visits.attribute(number, self.wall()).visit == visit, "a lease was lost"

    def teardown(self):
        if not hasattr(self, "visits"):
            return
        self.store.mood = "works"
        self.clock.pump([1.0] * 400)
        leases = result(self.store.history([one.number for one in NUMBERS], 10_000))
        assert overlaps(leases) == 0, "two visits held one number"
        assert all(one.ended is not None for one in leases), "a lease never ended"
        self.timers.stop()


class VisitLawTests(SynchronousTestCase):
    def test_visits_keep_their_laws_whatever_the_store_does(self):
        case = VisitsMachine.TestCase
        case.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
        case("runTest").runTest()
        self.flushLoggedErrors()
