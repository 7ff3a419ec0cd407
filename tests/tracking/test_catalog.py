from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import InvalidField, NoSuchObject
from calltrack.storage.memory import MemoryCatalog
from calltrack.tracking.catalog import MAX_TARGETS, Catalog, read_targets
from calltrack.tracking.model import Addressing


class CatalogTests(SynchronousTestCase):
    def setUp(self):
        self.catalog = Catalog(MemoryCatalog())

    def do(self, coroutine):
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def refused(self, coroutine, field):
        error = self.failureResultOf(Deferred.fromCoroutine(coroutine), InvalidField).value
        self.assertEqual(error.field, field)
        return error.message

    def missing(self, coroutine):
        self.failureResultOf(Deferred.fromCoroutine(coroutine), NoSuchObject)

    def project(self, **fields):
        return self.do(self.catalog.add_project("Glasses shop", **fields))

    def scenario(self, project=None, **fields):
        project = project or self.project()
        return self.do(self.add_scenario(project.id, **fields))

    def add_scenario(self, project=1, name="Search ads", static="ad_1", forwards=("office@example.com",), **fields):
        return self.catalog.add_scenario(name, project, static, forwards, **fields)


class ProjectTests(CatalogTests):
    def test_added_project_has_an_id_and_a_key_of_its_own(self):
        first, second = self.project(), self.project()
        self.assertEqual((first.id, second.id), (1, 2))
        self.assertRegex(first.key, "^[0-9a-f]{16}$")
        self.assertNotEqual(first.key, second.key)
        self.assertEqual(self.do(self.catalog.projects()), [first, second])

    def test_name_is_one_line_of_1_to_200_characters(self):
        self.assertEqual(self.do(self.catalog.add_project(" Очки ")).name, "Очки")
        for name in ("", "  ", "x" * 201, "a\nb", "a\x00", "a\u2028b"):
            self.assertIn("1 to 200", self.refused(self.catalog.add_project(name), "name"))

    def test_sites_are_http_addresses(self):
        sites = ("https://shop.example", "http://[::1]:8080/x?y=z", "https://shop.example:8443/")
        self.assertEqual(self.project(sites=sites).sites, sites)
        for site in (
            "shop.example",
            "ftp://shop.example",
            "https://",
            "javascript:alert(1)",
            "https://a b",
            "https://a/\n",
        ):
            self.refused(self.catalog.add_project("x", sites=[site]), "site")

    def test_repeated_site_is_kept_once(self):
        self.assertEqual(self.project(sites=["https://a.example"] * 2).sites, ("https://a.example",))

    def test_default_target_is_a_target(self):
        self.assertEqual(self.project(default_target="office@example.com").default_target, "office@example.com")
        self.refused(self.catalog.add_project("x", default_target="office"), "default_target")

    def test_edited_fields_change_and_others_stay(self):
        project = self.project(sites=["https://a.example"])
        changed = self.do(self.catalog.edit_project(project.id, name="Lenses", enabled=False, max_calls=5, allow_transfer=True))
        self.assertEqual((changed.name, changed.enabled, changed.max_calls), ("Lenses", False, 5))
        self.assertEqual((changed.key, changed.sites), (project.key, project.sites))
        self.assertEqual(self.do(self.catalog.project(project.id)), changed)

    def test_edits_are_refused_by_field(self):
        project = self.project()
        for field, value in {
            "key": "x",
            "id": 5,
            "max_calls": -1,
            "max_rate": float("nan"),
            "target_call_time": 1e9,
            "enabled": "yes",
        }.items():
            self.refused(self.catalog.edit_project(project.id, **{field: value}), field)

    def test_project_that_does_not_exist(self):
        self.missing(self.catalog.project(9))
        self.missing(self.catalog.edit_project(9, name="x"))


class ScenarioTests(CatalogTests):
    def test_recording_is_off_until_it_is_asked_for(self):
        scenario = self.scenario()
        self.assertFalse(scenario.record)
        self.assertTrue(self.do(self.catalog.edit_scenario(scenario.id, record=True)).record)
        self.assertTrue(self.scenario(record=True).record)
        self.refused(self.catalog.edit_scenario(scenario.id, record="yes"), "record")

    def test_added_scenario_has_its_targets_in_order(self):
        scenario = self.scenario(
            forwards=["office@example.com", "phone:+74951234567", "account"],
            ring="all",
            ring_time=12.5,
            max_calls=3,
            allow=["G729", "PCMU"],
            addressing=Addressing(request_user="dialled"),
        )
        self.assertEqual(
            [target.label for target in scenario.targets], ["sip:office@example.com", "phone:+74951234567", "account"]
        )
        for target in scenario.targets:
            self.assertEqual((target.ring_time, target.max_calls, target.allow), (12.5, 3, ("G729", "PCMU")))
            self.assertEqual(target.addressing.request_user, "dialled")
        self.assertEqual((scenario.ring, scenario.kind), ("all", "static"))
        self.assertEqual(self.do(self.catalog.scenarios()), [scenario])

    def test_marker_is_cleaned_and_cut_and_not_empty(self):
        self.assertEqual(self.scenario(static="ad\r\nX: 1" + "я" * 200).marker, "adX: 1" + "я" * 124)
        self.refused(self.add_scenario(static="\r\n"), "marker")

    def test_ring_time_is_1_to_300_seconds(self):
        project = self.project()
        for ring_time in (1, 300):
            self.assertEqual(self.scenario(project, ring_time=ring_time).targets[0].ring_time, ring_time)
        for ring_time in (0, 0.5, 301, -1, float("nan"), float("inf"), True, "20"):
            self.assertIn("1 to 300 (seconds)", self.refused(self.add_scenario(ring_time=ring_time), "ring_time"))

    def test_wrong_values_are_refused_by_field(self):
        self.project()
        for field, values in {
            "name": ("", "x" * 201),
            "ring": ("random", ""),
            "allow": (["G 729"], [""], ["PCMU\r\n"]),
            "addressing": (Addressing(request_user="nobody"), Addressing(dialled_in=("from",))),
            "max_calls": (-1, 1.5),
        }.items():
            for value in values:
                self.refused(self.add_scenario(**{field: value}), field)

    def test_targets_are_1_to_20_and_none_twice(self):
        self.project()
        for forwards in (
            (),
            ("office@example.com",) * 2,
            [f"a{i}@example.com" for i in range(MAX_TARGETS + 1)],
            ("x",),
        ):
            self.refused(self.add_scenario(forwards=forwards), "forward")

    def test_project_must_exist(self):
        self.missing(self.add_scenario(project=9))

    def test_edited_fields_change_and_others_stay(self):
        scenario = self.scenario()
        changed = self.do(
            self.catalog.edit_scenario(scenario.id, name="Maps", marker="map\x00s", enabled=False, ring_time=5)
        )
        self.assertEqual((changed.name, changed.marker, changed.enabled), ("Maps", "maps", False))
        self.assertEqual([(t.address, t.ring_time) for t in changed.targets], [("sip:office@example.com", 5)])
        self.assertEqual(self.do(self.catalog.scenario(scenario.id)), changed)

    def test_new_targets_replace_the_old_ones(self):
        scenario = self.scenario()
        targets = read_targets(["desk@example.com"], ring_time=7)
        changed = self.do(self.catalog.edit_scenario(scenario.id, targets=targets, max_calls=2))
        self.assertEqual(
            [(t.address, t.ring_time, t.max_calls) for t in changed.targets], [("sip:desk@example.com", 7, 2)]
        )

    def test_removed_scenario_leaves_its_numbers_without_one(self):
        scenario = self.scenario()
        self.do(self.catalog.add_number("11231234567", scenario.project, scenario.id))
        self.assertEqual(self.do(self.catalog.remove_scenario(scenario.id)), scenario)
        self.assertIsNone(self.do(self.catalog.number("11231234567")).scenario)
        self.missing(self.catalog.remove_scenario(scenario.id))

    def test_scenarios_of_one_project(self):
        first, second = self.project(), self.project()
        self.scenario(first)
        mine = self.scenario(second)
        self.assertEqual(self.do(self.catalog.scenarios(second.id)), [mine])


class NumberTests(CatalogTests):
    def test_number_is_kept_by_its_e164_digits(self):
        project = self.project()
        self.assertEqual(self.do(self.catalog.add_number("+1 123 123 4567", project.id)).number, "11231234567")
        self.assertEqual(
            self.do(self.catalog.add_number("8 495 123-45-67", project.id, country="RU")).number, "74951234567"
        )

    def test_number_is_refused_when_it_is_none_or_somebodys(self):
        project = self.project()
        self.refused(self.catalog.add_number("office", project.id), "number")
        self.do(self.catalog.add_number("11231234567", project.id))
        self.assertIn("project 1 already", self.refused(self.catalog.add_number("+11231234567", project.id), "number"))

    def test_scenario_must_be_of_the_same_project(self):
        scenario, other = self.scenario(), self.project()
        self.missing(self.catalog.add_number("11231234567", other.id, scenario.id))

    def test_number_can_be_assigned_elsewhere(self):
        scenario = self.scenario()
        self.do(self.catalog.add_number("11231234567", scenario.project))
        self.assertEqual(self.do(self.catalog.assign_number("+11231234567", scenario.id)).scenario, scenario.id)
        self.assertIsNone(self.do(self.catalog.assign_number("11231234567", None)).scenario)
        self.missing(self.catalog.assign_number("11231234567", 99))

    def test_removed_number_is_free_again(self):
        project = self.project()
        self.do(self.catalog.add_number("11231234567", project.id))
        self.do(self.catalog.remove_number("11231234567"))
        self.missing(self.catalog.remove_number("11231234567"))
        self.do(self.catalog.add_number("11231234567", self.project().id))

    def test_numbers_of_one_project_in_order(self):
        first, second = self.project(), self.project()
        for number, project in [("222", second), ("111", second), ("333", first)]:
            self.do(self.catalog.add_number(number, project.id))
        self.assertEqual([n.number for n in self.do(self.catalog.numbers(second.id))], ["111", "222"])
        self.assertEqual(len(self.do(self.catalog.numbers())), 3)
