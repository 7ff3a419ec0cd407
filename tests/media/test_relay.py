"""calltrack's own relay keeps the relays' contract, over real sockets on loopback."""

from __future__ import annotations

import socket

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from calltrack.media.relay import TwistedRelay
from calltrack.media.settings import MediaSettings
from calltrack.testing.media_contract import MediaRelayContract
from calltrack.testing.media_tap_contract import TapContract


def free_range(pairs: int) -> tuple[int, int]:
    """A port range that begins where the system has found a port free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        low = min(probe.getsockname()[1], 65534 - 2 * pairs) & ~1
    return low, low + 2 * pairs - 1


class TwistedRelayTests(MediaRelayContract, TapContract, TestCase):
    udp = reactor

    def setUp(self) -> None:
        self.clock = Clock()

    async def make_relay(self, timeout: float, **settings) -> TwistedRelay:
        settings = {"listen": ("127.0.0.1", "::1"), "ports": free_range(200), **settings}
        relay = TwistedRelay(reactor, MediaSettings(timeout=timeout, **settings), self.clock)
        relay.start()
        self.addCleanup(relay.stop)
        return relay

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4) + [0])
