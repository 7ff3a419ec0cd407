"""Which relays there are, and what is said when one is asked for that is not."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from calltrack import config
from calltrack.errors import ConfigErrors
from calltrack.interfaces import IMediaRelay
from calltrack.media import relays
from calltrack.media.relay import TwistedRelay
from calltrack.media.settings import RELAYS, MediaSettings
from tests.media.test_loop import Reactor


class FactoryTests(SynchronousTestCase):
    def test_every_name_that_the_configuration_allows_makes_a_relay(self) -> None:
        for name in RELAYS:
            settings = config.load(f'[media]\nrelay = "{name}"').media
            verifyObject(IMediaRelay, relays.make_relay(Reactor(), settings, Clock()))

    def test_the_default_needs_nothing_but_sockets(self) -> None:
        self.assertIsInstance(relays.make_relay(Reactor(), MediaSettings()), TwistedRelay)

    def test_an_unknown_name_is_refused_with_those_that_exist(self) -> None:
        with self.assertRaises(ConfigErrors) as caught:
            config.load('[media]\nrelay = "asterisk"')
        (error,) = caught.exception.errors
        self.assertTrue(error.startswith("[media] relay: 'asterisk' is none of "), error)
        for name in RELAYS:
            self.assertIn(name, error)
        with self.assertRaises(ConfigErrors) as caught:
            relays.make_relay(Reactor(), MediaSettings(relay="asterisk"))
        self.assertEqual(caught.exception.errors, [f"[media] relay: 'asterisk' is none of {', '.join(RELAYS)}"])

    def test_start_and_stop_fire_and_stop_may_come_twice(self) -> None:
        relay = relays.make_relay(Reactor(), MediaSettings(), Clock())
        self.assertIsNone(self.successResultOf(relay.start()))
        for _ in range(2):
            self.assertIsNone(self.successResultOf(relay.stop()))
