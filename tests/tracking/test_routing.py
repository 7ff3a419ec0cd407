from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from calltrack.errors import StoreUnavailable
from calltrack.interfaces import IScenarioSource
from calltrack.tracking.model import Attribution, Number, Project, Scenario, Target
from calltrack.tracking.routing import CachedScenarioSource, RoutingTable

OFFICE = Target(kind="sip", address="sip:office@example.com")
SHOP = Project(id=1, name="Shop", key="k", max_calls=7, max_rate=2.0, target_call_time=45.0)
ADS = Scenario(id=3, project=1, name="Ads", marker="ad_1", targets=(OFFICE,), ring="all")
NUMBER = Number(number="11231234567", project=1, scenario=3)


def changed(value, **fields):
    return type(value)(**{name: getattr(value, name) for name in value.__struct_fields__} | fields)


def route(project=SHOP, scenario=ADS, number=NUMBER, dialled="11231234567"):
    return RoutingTable([project], [scenario], [number]).route(dialled)


class RoutingTableTests(SynchronousTestCase):
    def test_number_of_a_static_scenario_leads_to_its_targets_with_its_marker(self):
        found = route()
        self.assertEqual((found.dialled, found.project, found.scenario), ("11231234567", 1, 3))
        self.assertEqual((found.targets, found.ring), ((OFFICE,), "all"))
        self.assertEqual(found.attribution, Attribution(marker="ad_1", reason="static channel"))
        self.assertEqual((found.project_max_calls, found.project_max_rate, found.target_call_time), (7, 2.0, 45.0))

    def test_calls_of_a_scenario_are_recorded_when_it_says_so_and_others_never(self):
        self.assertFalse(route().record)
        self.assertTrue(route(scenario=changed(ADS, record=True)).record)
        default = changed(SHOP, default_target="desk@example.com")
        self.assertFalse(route(default, changed(ADS, record=True, enabled=False)).record)

    def test_callers_may_be_transferred_to_the_projects_own_targets_where_it_allows_that(self):
        desk, other = Target(kind="phone", address="+74951234567"), Target(kind="account", address="")
        scenarios = [
            ADS,
            changed(ADS, id=4, targets=(desk, OFFICE)),
            changed(ADS, id=5, targets=(other,), enabled=False),
            changed(ADS, id=6, project=2, targets=(other,)),
        ]
        default = Target(kind="sip", address="sip:reception@example.com")
        for allowed, transfers in ((True, (OFFICE, desk, default)), (False, ())):
            shop = changed(SHOP, allow_transfer=allowed, default_target="reception@example.com")
            table = RoutingTable([shop], scenarios, [NUMBER])
            self.assertEqual(table.route("11231234567").transfers, transfers)

    def test_unknown_number_is_nobodys(self):
        self.assertIsNone(route(dialled="4951234567"))

    def test_number_without_scenario_leads_to_the_default_target(self):
        found = route(changed(SHOP, default_target="desk@example.com"), number=changed(NUMBER, scenario=None))
        self.assertEqual([target.address for target in found.targets], ["sip:desk@example.com"])
        self.assertEqual(found.attribution, Attribution(reason="no scenario"))

    def test_number_of_a_disabled_scenario_leads_to_the_default_target(self):
        found = route(changed(SHOP, default_target="desk@example.com"), changed(ADS, enabled=False))
        self.assertEqual([target.address for target in found.targets], ["sip:desk@example.com"])
        self.assertEqual(found.attribution, Attribution(reason="scenario disabled"))

    def test_without_a_default_target_such_a_number_is_known_but_leads_nowhere(self):
        self.assertEqual(route(number=changed(NUMBER, scenario=None)).targets, ())
        self.assertEqual(route(scenario=changed(ADS, enabled=False)).targets, ())

    def test_number_of_a_disabled_project_leads_nowhere(self):
        found = route(changed(SHOP, enabled=False, default_target="desk@example.com"))
        self.assertEqual((found.targets, found.attribution.reason), ((), "project disabled"))

    def test_number_of_a_dynamic_scenario_is_routed_without_attribution(self):
        found = route(scenario=changed(ADS, kind="dynamic"))
        self.assertEqual((found.targets, found.attribution), ((OFFICE,), Attribution(reason="no visit")))

    def test_unreadable_default_target_is_logged_and_leads_nowhere(self):
        with_log(self)
        found = route(changed(SHOP, default_target="x:y:z"), number=changed(NUMBER, scenario=None))
        self.assertEqual(found.targets, ())
        self.assertEqual(len(self.errors), 1)


def with_log(case):
    """Collect what is logged as an error in `case.errors`."""
    case.errors = []

    def observe(event):
        if event["log_level"] >= LogLevel.error:
            case.errors.append(event)

    globalLogPublisher.addObserver(observe)
    case.addCleanup(globalLogPublisher.removeObserver, observe)


class ScriptedCatalog:
    """As much of a catalog store as a scenario source asks; `away` makes it fail."""

    def __init__(self):
        self.at, self.away, self.snapshots = 1, None, 0
        self.scenarios = [ADS]

    def version(self):
        return succeed(self.at) if self.away is None else fail(self.away)

    def snapshot(self):
        self.snapshots += 1
        return succeed((self.at, [SHOP], self.scenarios, [NUMBER])) if self.away is None else fail(self.away)


class ScriptedVisits:
    """Attributes every call to visit 7."""

    def __init__(self):
        self.asked, self.followed = [], []

    def follow(self, *catalog):
        self.followed.append(catalog)

    def attribute(self, number, at, caller):
        self.asked.append((number, at, caller))
        return Attribution(visit=7, marker="m", reason="exact lease")


class CachedScenarioSourceTests(SynchronousTestCase):
    def setUp(self):
        self.clock, self.store = Clock(), ScriptedCatalog()
        self.source = CachedScenarioSource(self.store, self.clock)
        with_log(self)

    def start(self):
        self.successResultOf(self.source.start())
        self.addCleanup(self.source.stop)

    def lookup(self, dialled="11231234567"):
        return self.successResultOf(self.source.lookup(dialled=dialled, caller="74951234567", at=0.0))

    def test_provides_its_interface(self):
        verifyObject(IScenarioSource, self.source)

    def test_answers_from_memory_at_once(self):
        self.start()
        self.assertEqual(self.lookup().attribution.marker, "ad_1")
        self.assertIsNone(self.lookup("4951"))
        self.assertEqual(self.source.numbers, 1)

    def test_last_known_route_has_no_attribution(self):
        self.start()
        found = self.source.last_known(dialled="11231234567")
        self.assertEqual((found.targets, found.attribution), ((OFFICE,), Attribution()))
        self.assertIsNone(self.source.last_known(dialled="4951"))

    def test_change_counts_within_half_a_second(self):
        self.start()
        self.store.at, self.store.scenarios = 2, [changed(ADS, marker="ad_2")]
        self.clock.advance(0.5)
        self.assertEqual(self.lookup().attribution.marker, "ad_2")

    def test_catalog_is_read_again_only_when_its_version_changed(self):
        self.start()
        for _ in range(5):
            self.clock.advance(0.5)
        self.assertEqual(self.store.snapshots, 1)

    def test_header_prefix_is_in_every_route(self):
        self.source = CachedScenarioSource(self.store, self.clock, header_prefix="x-shop")
        self.start()
        self.assertEqual(self.lookup().header_prefix, "x-shop")

    def test_store_that_goes_away_leaves_the_last_table_and_one_log_line(self):
        self.start()
        self.store.away = StoreUnavailable("locked")
        for _ in range(5):
            self.clock.advance(0.5)
        self.assertEqual(self.lookup().attribution.marker, "ad_1")
        self.assertEqual(len(self.errors), 1)

    def test_each_outage_is_logged_and_its_end_brings_the_changes(self):
        self.start()
        for outage in (2, 3):
            self.store.away = StoreUnavailable("locked")
            self.clock.advance(0.5)
            self.store.away, self.store.at, self.store.scenarios = None, outage, [changed(ADS, marker=f"ad_{outage}")]
            self.clock.advance(0.5)
            self.assertEqual(self.lookup().attribution.marker, f"ad_{outage}")
        self.assertEqual(len(self.errors), 2)

    def test_store_that_raises_what_it_must_not_counts_as_away_with_a_traceback(self):
        self.start()
        self.store.away = ZeroDivisionError()
        self.clock.advance(0.5)
        self.assertEqual(self.lookup().attribution.marker, "ad_1")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_lookup_fails_until_the_catalog_has_been_read_once(self):
        self.store.away = StoreUnavailable("locked")
        self.start()
        self.failureResultOf(self.source.lookup(dialled="11231234567", caller="", at=0.0), StoreUnavailable)
        self.assertIsNone(self.source.last_known(dialled="11231234567"))
        self.store.away = None
        self.clock.advance(0.5)
        self.assertEqual(self.lookup().project, 1)

    def test_calls_of_dynamic_scenarios_are_attributed_by_visits(self):
        visits = ScriptedVisits()
        self.store.scenarios = [changed(ADS, kind="dynamic")]
        self.source = CachedScenarioSource(self.store, self.clock, visits=visits)
        self.start()
        self.assertEqual(self.lookup().attribution, Attribution(visit=7, marker="m", reason="exact lease"))
        self.assertEqual(visits.asked, [("11231234567", 0, "74951234567")])
        self.assertEqual(visits.followed, [([SHOP], self.store.scenarios, [NUMBER])])
        self.assertEqual(self.source.last_known("11231234567").attribution, Attribution())

    def test_calls_of_static_scenarios_are_no_matter_of_visits(self):
        visits = ScriptedVisits()
        self.source = CachedScenarioSource(self.store, self.clock, visits=visits)
        self.start()
        self.assertEqual((self.lookup().attribution.marker, visits.asked), ("ad_1", []))

    def test_stopped_source_polls_no_more(self):
        self.successResultOf(self.source.start())
        self.source.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slow_store_is_not_asked_twice_at_once(self):
        self.start()
        waiting = Deferred()
        asked = []
        self.store.version = lambda: asked.append(1) or waiting
        for _ in range(4):
            self.clock.advance(0.5)
        self.assertEqual(len(asked), 1)
        waiting.callback(1)
