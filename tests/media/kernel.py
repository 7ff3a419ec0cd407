"""A relay with its kernel path between two wires, in network namespaces: what the tests of it share."""

from __future__ import annotations

import os
import shutil
from time import monotonic
from unittest import SkipTest

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from calltrack.media.kernel import KernelRelay
from calltrack.media.settings import MediaSettings
from calltrack.testing.media_peers import Call, MediaPeer, RelayCase, rtp
from calltrack.testing.namespaces import Network


class KernelCase(RelayCase, TestCase):
    """Phones stand in a namespace of their own, on one wire; `far` is one on another."""

    udp = reactor
    host, stranger_host, host6 = "10.87.1.2", "10.87.1.9", "fd87:1::2"
    relay_host, relay_host6 = "10.87.1.1", "fd87:1::1"
    far_host, far_host6 = "10.87.2.2", "fd87:2::2"
    far_relay_host, far_relay_host6 = "10.87.2.1", "fd87:2::1"
    wherever = ("0.0.0.0", "::")

    def setUp(self) -> None:
        self.clock = Clock()
        self.net = net = Network(self)
        net.wire("phones", ("10.87.1.1/24", "fd87:1::1/64"), ("10.87.1.2/24", "10.87.1.9/24", "fd87:1::2/64"))
        net.wire("far", ("10.87.2.1/24", "fd87:2::1/64"), ("10.87.2.2/24", "fd87:2::2/64"))
        if shutil.which("nft", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            raise SkipTest("nft is not here; install Debian's nftables")
        try:
            net.run("nft", "add table inet try; add chain inet try nat { type nat hook prerouting priority 0; }; delete table inet try")
        except RuntimeError as why:
            raise SkipTest(f"the kernel has no nftables with address translation: {why}") from None
        net.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)

    async def make_relay(self, timeout: float, **settings) -> KernelRelay:
        settings = {"listen": self.wherever, "ports": (20000, 20399), **settings}
        self.relay = KernelRelay(reactor, MediaSettings(timeout=timeout, **settings), self.clock)
        self.addCleanup(self.relay.stop)
        await self.relay.start()
        return self.relay

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            for step in (0, 0.25):
                self.relay.loop.relay(monotonic())  # whatever waits, as the reactor would have between two ticks
                self.clock.advance(step)

    def peer(self, host: str = "", port: int = 0) -> MediaPeer:
        host = host or self.host
        near, far = (self.relay_host, self.far_relay_host), (self.relay_host6, self.far_relay_host6)
        away = host in (self.far_host, self.far_host6)
        space = "relay" if host == self.relay_host else "far" if away else "phones"
        with self.net.inside(space):
            return MediaPeer.listen(self, self.udp, host, port, (far if ":" in host else near)[away])

    def in_kernel(self) -> int:
        """How many streams the kernel carries now."""
        return self.relay.status()["in_kernel"]

    async def talking_call(self, caller: str = "", target: str = "", timeout: float = 60, **settings) -> Call:
        """A connected call that has been handed over, between phones on these hosts."""
        if not hasattr(self, "relay"):
            await self.make_relay(timeout, **settings)
        expired: list[int] = []
        session = self.relay.open("a-call", lambda: expired.append(1))
        call = Call(self, session, self.peer(caller), self.peer(target))
        call.timeouts = expired
        await call.offer()
        await call.answer()
        session.connect("target-1")
        await call.exchange()
        self.relay.hand_over()
        return call

    async def talk(self, call: Call, packets: int = 1) -> None:
        """Packets both ways, each heard, from where the relay is."""
        for sender, port, other in (
            (call.caller, call.to_caller, call.target),
            (call.target, call.to_target, call.caller),
        ):
            begin = len(other.received)
            for number in range(begin, begin + packets):
                sender.send(rtp(number), port)
            await other.hears(begin + packets)
            self.assertEqual(other.packets[begin:], [rtp(number) for number in range(begin, begin + packets)])
        self.assertEqual({source for _, source in call.caller.received}, {(call.caller.relay, call.to_caller)})
        self.assertEqual({source for _, source in call.target.received}, {(call.target.relay, call.to_target)})
