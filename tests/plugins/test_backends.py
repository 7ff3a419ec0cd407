"""What calltrack does with a backend: settings judged by its own type, life in order, and nothing that it does wrong costs a call."""

from __future__ import annotations

from twisted.application.service import IService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from msgspec.structs import replace

from calltrack import config
from calltrack.chosen import choose_relay, choose_source, choose_stores, context_of
from calltrack.config import backends as config_backends
from calltrack.errors import ConfigErrors, InvalidField, StoreUnavailable
from calltrack.interfaces import ICallRecordStore, IHealth, ILocationStore, IMediaRelay, IScenarioSource
from calltrack.plugins import backends
from calltrack.plugins.backends import Backends, Choice
from calltrack.plugins.context import Context
from calltrack.plugins.guard import Guarded
from calltrack.storage.memory_accounts import MemoryLocations
from calltrack.storage.url import open_stores
from calltrack.testing.fakes import FakeRelay
from tests.plugins.sample import Liar, Part, Sample, Settings, Slow


class ConfigurationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sample = Sample(settings=Settings)
        self.patch(config_backends, "find", lambda section, name: self.sample if name == "sample" else None)

    def errors(self, text: str) -> str:
        return "\n".join(self.assertRaises(ConfigErrors, config.load, text).errors)

    def test_settings_are_read_into_the_type_of_the_plugin(self) -> None:
        settings = config.load('[locations]\nstore = "sample"\n[locations.sample]\nurl = "x"\n')
        self.assertEqual(settings.locations, Choice("sample", Settings(url="x")))

    def test_everything_wrong_is_told_like_our_own_errors(self) -> None:
        told = self.errors('[locations]\nstore = "sample"\n[locations.sample]\nsise = 1\nsize = "big"\n')
        self.assertIn("[locations.sample] sise: unknown key; did you mean size?", told)
        self.assertIn("[locations.sample] size: expected int, got str", told)
        self.assertIn("[locations.sample] url: is missing", told)
        told = self.errors('[locations]\nstore = "sample"\n[locations.sample]\nurl = "x"\nsize = 101\n')
        self.assertIn("[locations.sample]: size: more than 100 does not fit", told)
        told = self.errors('[locations]\nstore = "sample"\nsample = 7\n')
        self.assertIn("[locations.sample]: 7 is no section", told)

    def test_settings_of_a_backend_that_is_not_chosen_or_takes_none_are_refused(self) -> None:
        self.assertIn("unknown key", self.errors('[locations]\nstore = "storage"\n[locations.sample]\nurl = "x"\n'))
        self.assertIn("takes no settings", self.errors('[locations]\nstore = "storage"\n[locations.storage]\nurl = "x"\n'))
        self.sample.settings = None
        self.assertIn("takes no settings", self.errors('[locations]\nstore = "sample"\n[locations.sample]\nurl = "x"\n'))

    def test_a_relay_of_a_plugin_has_its_section_within_media(self) -> None:
        settings = config.load('[media]\nrelay = "sample"\ntimeout = 5.0\n[media.sample]\nurl = "x"\n')
        self.assertEqual((settings.media.relay, settings.media.timeout), ("sample", 5.0))
        self.assertEqual(settings.media.options, Settings(url="x"))


class UnknownNameTests(SynchronousTestCase):
    def test_names_that_are_none_list_what_there_is(self) -> None:
        for text, known in (
            ('[locations]\nstore = "reddis"', "storage"),
            ('[media]\nrelay = "asterisk"', "kernel, rtpengine, twisted"),
            ('[scenarios]\nsource = "x\\u001b"', "catalog"),
            ("[records]\nstore = 7", "is no text"),
        ):
            errors = self.assertRaises(ConfigErrors, config.load, text).errors
            self.assertIn(known, errors[0])
            self.assertTrue(errors[0].isprintable())


class MakingTests(SynchronousTestCase):
    def make(self, sample: Sample):
        self.patch(backends, "find", lambda section, name: sample)
        return Backends(Clock()).make("locations", Choice("sample"), None)

    def refusal(self, sample: Sample) -> str:
        return str(self.assertRaises(ConfigErrors, self.make, sample))

    def test_what_is_made_is_verified_and_used_through_its_interface_alone(self) -> None:
        made = self.make(Sample())
        verifyObject(ILocationStore, made)
        self.assertEqual(self.successResultOf(made.list()), [])
        self.assertFalse(hasattr(made, "_bindings"))

    def test_what_cannot_be_made_or_lies_is_a_configuration_error_with_its_name(self) -> None:
        self.assertIn("[locations] store: the plugin sample lies about its interface", self.refusal(Sample(gives=Liar)))
        self.assertIn("lies about its interface", self.refusal(Sample(gives=lambda: 7)))
        self.assertIn("ZeroDivisionError", self.refusal(Sample(gives=lambda: 1 / 0)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

        def refuse():
            raise InvalidField("url", "leads nowhere")

        self.assertEqual(self.refusal(Sample(gives=refuse)), "[locations.sample] url: leads nowhere")


class ChosenTests(SynchronousTestCase):
    """What the service uses in the place of calltrack's own."""

    def test_a_relay_of_a_plugin_is_used_as_it_is_and_knows_the_media_settings(self) -> None:
        known = []
        relay = FakeRelay(Clock())

        class Maker(Sample):
            def make(self, context, settings):
                known.append((context.media.timeout, settings))
                return relay

        self.patch(backends, "find", lambda section, name: Maker(provides=IMediaRelay))
        settings = config.defaults()
        media = replace(settings.media, relay="sample", options="told", timeout=7.0)
        context = Context(Clock(), int, None, None, None)
        chosen = choose_relay(Backends(Clock()), replace(settings, media=media), context)
        self.assertIs(chosen, relay)
        self.assertEqual(known, [(7.0, "told")])

    def test_stores_and_source_are_calltrack_s_own_unless_others_are_named(self) -> None:
        stores, source = open_stores("memory:", None), object()
        own = stores.locations, stores.records
        context = context_of(stores, Clock(), int, source)
        chosen = choose_stores(stores, config.defaults(), context)
        self.assertEqual((stores.locations, stores.records), own)
        self.assertIs(choose_source(chosen, config.defaults(), context), source)
        settings = config.load('[records]\nstore = "json-lines"\n[scenarios]\nsource = "http"\n[scenarios.http]\nurl = "http://x/"')
        chosen = choose_stores(stores, settings, context)
        self.assertIsNot(stores.records, own[1])
        verifyObject(ICallRecordStore, stores.records)
        verifyObject(IScenarioSource, choose_source(chosen, settings, context))


class GuardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.slow = Clock(), Slow()
        self.store = Guarded("sample", ILocationStore, self.slow, self.clock)

    def test_one_that_never_answers_is_unavailable_in_time(self) -> None:
        answer = self.store.write([], [])
        self.clock.advance(9.9)
        self.assertNoResult(answer)
        self.clock.advance(0.2)
        failure = self.failureResultOf(answer, StoreUnavailable)
        self.assertIn("the plugin sample has not answered write within 10 s", str(failure.value))

    def test_one_that_is_slow_is_waited_for(self) -> None:
        answer = self.store.write([], [])
        self.clock.advance(9)
        self.slow.asked[0].callback(None)
        self.assertIsNone(self.successResultOf(answer))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_the_interface_knows_passes_and_a_bug_is_logged_and_unavailable(self) -> None:
        answer = self.store.write([], [])
        self.slow.asked[0].errback(StoreUnavailable("away"))
        self.assertEqual(str(self.failureResultOf(answer, StoreUnavailable).value), "away")
        for ask in (self.store.list, lambda: self.store.forget(1)):
            self.assertIn("failed in", str(self.failureResultOf(ask(), StoreUnavailable).value))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_an_answer_that_is_no_deferred_is_a_bug(self) -> None:
        self.slow.write = lambda saved, removed, events=(): None
        self.failureResultOf(Guarded("x", ILocationStore, self.slow, self.clock).write([], []), StoreUnavailable)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_methods_that_answer_at_once_never_raise(self) -> None:
        class Source:
            def lookup(self, dialled, caller, at):
                return succeed(None)

            def last_known(self, dialled):
                return {}[dialled]

        source = Guarded("x", IScenarioSource, Source(), self.clock, at_once={"last_known": None})
        self.assertIsNone(source.last_known("1"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class LifeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.backends = Backends(self.clock)
        self.life: list[str] = []

    def add(self, name: str, health="", start=None, stop=None):
        part = Part(health)
        part.startService = lambda: self.life.append(f"start {name}") or (start() if start else None)
        part.stopService = lambda: self.life.append(f"stop {name}") or (stop() if stop else None)
        directlyProvides(part, IService, IHealth)
        self.backends._made.append((name, part))

    def deferred(self, coroutine) -> Deferred:
        return Deferred.fromCoroutine(coroutine)

    def test_services_start_in_order_and_stop_in_the_reverse(self) -> None:
        self.add("one")
        self.add("two")
        self.backends._made.append(("three", MemoryLocations()))  # is none
        self.successResultOf(self.deferred(self.backends.start()))
        self.successResultOf(self.deferred(self.backends.stop()))
        self.successResultOf(self.deferred(self.backends.stop()))
        self.assertEqual(self.life, ["start one", "start two", "stop two", "stop one"])

    def test_one_that_cannot_start_or_stop_or_never_does_keeps_nobody_from_it(self) -> None:
        self.add("one", start=lambda: 1 / 0, stop=lambda: fail(StoreUnavailable("gone")))
        self.add("two", start=Deferred, stop=Deferred)
        self.add("three")
        started = self.deferred(self.backends.start())
        self.assertNoResult(started)
        self.clock.advance(31)
        self.successResultOf(started)
        stopped = self.deferred(self.backends.stop())
        self.clock.advance(11)
        self.successResultOf(stopped)
        self.assertEqual(self.life[-3:], ["stop three", "stop two", "stop one"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_health_is_told_by_name_and_silence_is_illness(self) -> None:
        self.add("well")
        self.add("ill", "the disk is full")
        self.add("broken", ValueError("no idea"))
        self.add("mute", Deferred())
        self.add("odd", 7)
        told = self.deferred(self.backends.health())
        self.assertNoResult(told)
        self.clock.advance(2.1)
        self.assertEqual(self.successResultOf(told), {
            "well": "", "ill": "the disk is full", "broken": "ValueError: no idea", "mute": "it did not answer in time",
            "odd": "its answer is no text",
        })  # fmt: skip
