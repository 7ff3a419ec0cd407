"""A shop with visitors, in memory and on a clock: what tests of visits begin with."""

from msgspec.structs import replace
from twisted.internet.task import Clock

from calltrack.storage.memory_visits import MemoryVisits
from calltrack.timers import Timers
from calltrack.tracking.model import Number, Project, Scenario
from calltrack.tracking.settings import VisitSettings
from calltrack.tracking.visits import Visits

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
SHOP = Project(id=1, name="Glasses", key="shopkey", sites=("https://shop.example",))
ADS = Scenario(id=3, project=1, name="Everybody", kind="dynamic", selectors=(".phone",), replace=("19990000000",))
WALL = 1_795_457_000_000  # milliseconds since the Unix epoch when the clock says 0


def pool(count, scenario=3, first=12025550100):
    """So many numbers of a scenario."""
    return [Number(number=str(first + position), project=1, scenario=scenario) for position in range(count)]


class Shop:
    """One project's `Visits`. `published` is what it told; `wall_shift` sets the wall clock, in milliseconds."""

    def __init__(self, case, numbers=None, scenarios=(ADS,), project=SHOP, store=None, settings=VisitSettings()):
        self.case = case
        self.clock = Clock()
        self.clock.advance(1000)
        self.timers = Timers(self.clock)
        self.store = store if store is not None else MemoryVisits()
        self.catalog = ([project], list(scenarios), pool(4) if numbers is None else numbers)
        self.settings = settings
        self.published = []
        self.wall_shift = 0
        self.visits = self.make()

    def wall(self):
        return WALL + round(self.clock.seconds() * 1000) + self.wall_shift

    def make(self):
        visits = Visits(self.timers, self.wall, self.store, self.settings, self.published.append)
        visits.start()
        visits.follow(*self.catalog)
        return visits

    def restart(self):
        """Another process on the same store; the one before was killed."""
        self.timers.stop()
        self.visits = self.make()

    def change(self, **changes):
        """Change the first scenario."""
        projects, scenarios, numbers = self.catalog
        self.catalog = (projects, [replace(scenarios[0], **changes), *scenarios[1:]], numbers)
        self.visits.follow(*self.catalog)

    def asked(self, page="https://shop.example/", referrer="", cookie="", consent=True, address="192.0.2.1", agent=BROWSER):
        return self.visits.arrive("shopkey", page, referrer, cookie, consent, address, agent)

    def arrive(self, *args, **kwargs):
        return self.case.successResultOf(self.asked(*args, **kwargs))

    def beat(self, cookie):
        return self.case.successResultOf(self.visits.beat("shopkey", cookie))

    def leave(self, cookie):
        return self.case.successResultOf(self.visits.leave("shopkey", cookie))

    def stay(self, cookie, seconds):
        """The visitor reads the page for so long; returns the last answer."""
        self.clock.advance(3.0)
        shown = self.beat(cookie)
        left = seconds - 3.0
        while left > 0:
            self.clock.advance(min(20.0, left))
            left -= 20.0
            shown = self.beat(cookie)
        return shown

    def settle(self, seconds=1.0):
        """Let what nobody waits for be written."""
        self.clock.pump([0.25] * int(seconds * 4))

    def call(self, number, caller="74951234567"):
        return self.visits.attribute(number, self.wall(), caller)


def number(shown):
    """The number of the first swap, "" without one."""
    return shown.swaps[0].number if shown.swaps else ""
