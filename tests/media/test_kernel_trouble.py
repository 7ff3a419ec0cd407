"""The kernel relay among strangers, firewalls that know nothing of it, and kernels that refuse: calls go on."""

from __future__ import annotations

import errno
import os
import shutil

from twisted.internet import reactor

from calltrack.media import filter_table, netlink, readiness
from calltrack.media.kernel import KernelRelay
from calltrack.media.netlink import NetlinkError
from calltrack.media.settings import MediaSettings
from calltrack.testing.media_peers import Call, rtp
from tests.media.kernel import KernelCase

TABLE = ("inet", "calltrack_20000")


class StrangerTests(KernelCase):
    async def test_a_flood_to_a_port_in_the_kernel_reaches_nobody_is_counted_and_fills_no_connection_table(self) -> None:
        call = await self.talking_call()
        before = self.connections()
        for _ in range(20):
            stranger = self.peer(self.stranger_host)
            for sequence in range(50):
                stranger.send(rtp(sequence, ssrc=666), call.to_target)
        call.target.send(rtp(2), call.to_target)
        self.assertEqual((await call.caller.hears(2))[1:], [rtp(2)])
        self.assertEqual((self.in_kernel(), self.connections()), (1, before))
        self.assertEqual(call.session.figures().target.strangers, 1000)

    async def test_a_flood_to_a_closed_port_reaches_nobody_and_the_call_goes_on(self) -> None:
        call = await self.talking_call()
        stranger = self.peer(self.stranger_host)
        for sequence in range(200):
            stranger.send(rtp(sequence, ssrc=666), 20398)
            stranger.send(b"\x00" * 65507, 20398)
        await self.talk(call)
        self.assertEqual(stranger.received, [])

    async def test_a_neighbour_on_the_phone_s_own_address_is_not_heard_while_the_phone_talks(self) -> None:
        call = await self.talking_call()
        neighbour = self.peer()
        for _ in range(8):
            neighbour.send(rtp(66, ssrc=666), call.to_target)
            await self.talk(call)
            self.pass_time(0.25)
        self.assertNotIn(rtp(66, ssrc=666), call.caller.packets)
        self.assertEqual(self.in_kernel(), 1)

    async def test_a_phone_that_changes_its_port_is_heard_within_a_second(self) -> None:
        call = await self.talking_call()
        await self.talk(call, 5)
        for _ in range(4):
            self.pass_time(0.25)
        moved = self.peer()
        for step in range(4):
            moved.send(rtp(50 + step), call.to_target)
            self.pass_time(0.25)
        moved.send(rtp(60), call.to_target)
        await call.caller.hears_at_last(rtp(60))
        call.caller.send(rtp(61), call.to_caller)
        await moved.hears_at_last(rtp(61))

    async def test_a_far_end_that_refuses_packets_is_not_told_to_the_other_side(self) -> None:
        call = await self.talking_call()
        refused: list[int] = []
        call.caller.connectionRefused = lambda: refused.append(1)
        await call.target.transport.stopListening()
        call.caller.transport.connect(self.relay_host, call.to_caller)  # only so does a socket hear of ICMP
        for sequence in range(3):
            call.caller.transport.write(rtp(sequence))
        call.target = self.peer(port=int(call.session._parties["target-1"].streams[0].rtp.source[1]))
        call.target.send(rtp(9), call.to_target)
        await call.caller.hears_at_last(rtp(9))
        self.assertEqual(refused, [])

    def connections(self) -> int:
        with open("/proc/sys/net/netfilter/nf_conntrack_count", encoding="ascii") as file:
            return int(file.read())


class OthersTests(KernelCase):
    async def test_the_rules_of_others_stay_as_they_are(self) -> None:
        self.net.run("nft", "table inet theirs { chain in { type filter hook input priority 0; udp dport 5060 counter accept; }; }")
        before = self.net.run("nft", "list", "table", "inet", "theirs")
        await self.talking_call()
        await self.relay.stop()
        self.assertEqual(self.net.run("nft", "list", "ruleset").replace("\n\n", "\n"), before)

    async def test_a_firewall_that_lets_established_connections_through_is_enough(self) -> None:
        self.net.run(
            "nft",
            "table inet theirs { chain forward { type filter hook forward priority 0; policy drop; ct state established accept; }; }",
        )
        call = await self.talking_call("", self.far_host)
        await self.talk(call, 5)
        self.assertEqual(self.in_kernel(), 1)

    async def test_a_firewall_that_drops_what_is_forwarded_costs_half_a_second_and_then_the_sockets_carry_the_call(self) -> None:
        self.net.run("nft", "table inet theirs { chain forward { type filter hook forward priority 0; policy drop; }; }")
        call = await self.talking_call()
        call.caller.send(rtp(500), call.to_caller)  # nobody hears it
        self.pass_time(0.5)
        self.assertEqual(self.in_kernel(), 0)
        for _ in range(8):
            await self.talk(call)
            self.pass_time(0.25)
        status = self.relay.status()
        self.assertEqual((status["in_kernel"], status["undelivered"], status["handed_over"]), (0, 1, 1))
        self.assertNotIn(rtp(500), call.target.packets)

    async def test_streams_that_are_not_delivered_one_after_another_put_the_kernel_out_of_force_for_a_while(self) -> None:
        self.net.run("nft", "table inet theirs { chain forward { type filter hook forward priority 0; policy drop; }; }")
        for _ in range(3):
            call = await self.talking_call()
            self.pass_time(0.5)
            await self.talk(call)
            self.pass_time(0.25)
        status = self.relay.status()
        self.assertEqual((status["undelivered"], status["fallbacks"]), (3, 1))
        self.assertIn("firewall", status["why"])
        await self.talk(call)

    async def test_a_flushed_rule_set_costs_nothing_and_is_put_right(self) -> None:
        call = await self.talking_call()
        self.net.run("nft", "flush", "ruleset")
        await self.talk(call)
        self.pass_time(0.25)
        await self.talk(call)
        self.assertIn("deleted its table", self.relay.status()["why"])
        await self.in_force_again()
        for _ in range(3):
            await self.talk(call)
            self.pass_time(0.25)
        self.assertEqual(self.in_kernel(), 1)
        await self.talk(call)

    async def test_flushed_connections_come_to_the_sockets_and_are_handed_over_again(self) -> None:
        if shutil.which("conntrack", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            self.skipTest("conntrack is not here; install Debian's conntrack")
        call = await self.talking_call()
        await self.talk(call)
        self.pass_time(0.25)
        self.net.run("conntrack", "-F")
        for _ in range(28):
            await self.talk(call)
            self.pass_time(0.25)
        status = self.relay.status()
        self.assertEqual((status["in_kernel"], status["handed_over"]), (1, 2))
        self.assertEqual(call.session.figures().caller.packets, 30)

    async def test_calls_may_end_and_begin_while_everything_is_counted_bit_by_bit(self) -> None:
        calls = []
        for _ in range(3):
            calls.append(await self.talking_call())
            await self.talk(calls[-1])
            self.pass_time(0.25)
        sweeping = self.relay._bypasses.sweep()
        for _ in sweeping:
            calls.pop().session.close()
            calls.append(await self.talking_call())
            await self.talk(calls[-1])
        self.pass_time(6)  # and another one, at one go
        status = self.relay.status()
        self.assertEqual((status["fallbacks"], status["refused"], self.in_kernel()), (0, 0, 3))
        for call in calls:
            await self.talk(call)

    async def in_force_again(self) -> None:
        for _ in range(100):
            self.pass_time(0.25)
            if "why" not in self.relay.status():
                return
            await self.talk_to_reactor()
        self.fail("still not in force: " + self.relay.status()["why"])

    async def talk_to_reactor(self) -> None:
        """Let the reactor run until a program has ended."""
        from twisted.internet.utils import getProcessValue

        await getProcessValue("/bin/true", reactor=reactor)


class RefusalTests(KernelCase):
    async def test_an_nftables_that_refuses_at_the_start_leaves_calls_to_the_sockets(self) -> None:
        self.patch(filter_table, "RULES", "table inet {table} {{ nonsense }}")
        await self.falls_back("nft ended with status 1")

    async def test_a_missing_nft_leaves_calls_to_the_sockets(self) -> None:
        self.patch(filter_table.shutil, "which", lambda *arguments, **options: None)
        await self.falls_back("Debian package nftables")

    async def test_a_machine_that_does_not_forward_is_told_which_setting_lets_it(self) -> None:
        self.net.sysctl(ipv4__ip_forward=0, ipv6__conf__all__forwarding=0)
        await self.falls_back("sysctl net.ipv4.ip_forward = 1 and net.ipv6.conf.all.forwarding = 1")

    async def test_loopback_is_told(self) -> None:
        await self.falls_back("loopback", listen=("127.0.0.1", "::1"), ports=(21000, 21399), talk=False)

    async def test_a_process_without_the_capability_is_told_how_to_get_it(self) -> None:
        self.patch(readiness, "_capable", lambda proc: False)
        await self.falls_back("CAP_NET_ADMIN")

    async def test_a_kernel_that_takes_no_entries_is_told(self) -> None:
        self.patch(readiness.conntrack, "insert", lambda path, seconds: readiness.conntrack.Request(1, 99, 2))
        await self.falls_back("connection tracking entries")

    async def falls_back(self, why: str, talk: bool = True, **settings) -> None:
        relay = await self.make_relay(60, **settings)
        status = relay.status()
        self.assertIn(why, status["why"])
        self.assertEqual((status["relay"], status["fallbacks"]), ("kernel", 1))
        if talk:
            call = await self.talking_call()
            await self.talk(call, 5)
            self.assertEqual(self.in_kernel(), 0)

    async def test_a_refusal_in_the_middle_takes_calls_back_and_is_tried_again_later(self) -> None:
        call = await self.talking_call()
        await self.talk(call)
        self.pass_time(0.25)
        second = await self.second_call()

        def refuse(*arguments):
            raise NetlinkError(errno.EPERM, "a test")

        self.patch(self.relay._bypasses.table, "own", refuse)
        self.relay.hand_over()
        status = self.relay.status()
        self.assertEqual((status["in_kernel"], status["fallbacks"]), (0, 1))
        self.assertIn("Operation not permitted", status["why"])
        await self.talk(call)
        await self.talk(second)

    async def test_one_stream_that_the_kernel_refuses_stays_with_the_sockets_and_others_are_handed_over(self) -> None:
        first = await self.talking_call()
        await self.talk(first)
        self.pass_time(0.25)
        second, third = await self.second_call(), await self.second_call()
        install, refused = self.relay._bypasses._install, second.session._parties["caller"].streams[0].rtp

        def refuse(paths):
            if any(bypass.a is refused for bypass in paths.values()):
                raise NetlinkError(errno.ENOMEM, "a test")
            install(paths)

        self.patch(self.relay._bypasses, "_install", refuse)
        self.relay.hand_over()
        status = self.relay.status()
        self.assertEqual((status["in_kernel"], status["refused"]), (2, 1))
        for call in (first, second, third):
            await self.talk(call)

    async def second_call(self) -> Call:
        session = self.relay.open("another", None)
        call = Call(self, session, self.peer(), self.peer())
        await call.offer()
        await call.answer()
        session.connect("target-1")
        await call.exchange()
        return call


class OverloadTests(KernelCase):
    """More happens than there is time for: ticks come late, sockets are read late, the kernel has much to answer."""

    async def test_a_late_tick_leaves_a_call_the_time_to_be_forwarded(self) -> None:
        call = await self.talking_call()
        self.clock.advance(0.49)
        self.clock.advance(0.01)  # the next tick comes in time
        self.assertEqual(self.in_kernel(), 1)
        await self.talk(call)

    async def test_what_waits_in_the_sockets_long_after_the_switch_is_no_reason_to_take_a_call_back(self) -> None:
        call = await self.talking_call()
        await call.answer()
        await self.talk(call)
        reactor.removeReader(self.relay.loop)  # nothing is read
        for sequence in range(100, 110):
            call.caller.send(rtp(sequence), call.to_caller)
        self.relay.hand_over()
        await self.talk(call)
        for _ in range(4):
            self.clock.advance(0.25)
        reactor.addReader(self.relay.loop)
        await call.target.hears_at_last(rtp(109))
        for _ in range(12):  # past the next sweep
            await self.talk_on(call)
            self.pass_time(0.5)
        self.assertEqual((self.in_kernel(), self.relay.status()["handed_over"]), (1, 2))

    async def test_thousands_of_counters_are_read_at_one_go(self) -> None:
        call = await self.talking_call()
        await self.talk(call)
        bypasses = self.relay._bypasses
        (bypass,) = bypasses.active
        counts = bypasses.table.count(bypass.senders * 6000)
        self.assertEqual((len(counts), {count.packets for count in counts}), (12000, {1}))

    async def test_answers_that_were_lost_are_not_in_the_way_of_the_next(self) -> None:
        call = await self.talking_call()
        await self.talk(call)
        bypasses = self.relay._bypasses
        (bypass,) = bypasses.active
        self.patch(netlink, "_AT_ONCE", 100_000)
        with self.assertRaises(OSError) as caught:
            bypasses.table.count(bypass.senders * 20000)
        self.assertEqual(caught.exception.errno, errno.ENOBUFS)
        self.assertEqual([count.packets for count in bypasses.table.count(bypass.senders)], [1, 1])

    async def talk_on(self, call: Call) -> None:
        for sender, port, other in ((call.caller, call.to_caller, call.target), (call.target, call.to_target, call.caller)):
            heard = len(other.received)
            sender.send(rtp(heard), port)
            await other.hears(heard + 1)


class RestartTests(KernelCase):
    async def test_calls_of_a_process_that_was_killed_go_on_and_are_cleaned_up_when_they_end(self) -> None:
        call = await self.talking_call()
        self.kill()
        call.caller.send(rtp(100), call.to_caller)
        await call.target.hears_at_last(rtp(100))
        heir = KernelRelay(reactor, MediaSettings(listen=self.wherever, ports=(20000, 20399)), self.clock)
        self.addCleanup(heir.stop)
        await heir.start()
        self.assertEqual(heir.status()["left_behind"], 1)
        self.assertEqual(heir.ports.reserved, {call.to_caller, call.to_target})
        for sequence in range(101, 111):
            call.target.send(rtp(sequence), call.to_target)
            await call.caller.hears_at_last(rtp(sequence))
            self.clock.pump([0.25] * 24)
        self.assertEqual(heir.status()["left_behind"], 1)
        self.clock.pump([0.25] * 160)
        self.assertEqual((heir.status()["left_behind"], heir.ports.reserved), (0, set()))
        self.assertNotIn("elements", self.net.run("nft", "list", "table", *TABLE))

    async def test_stopping_takes_out_what_was_left_behind(self) -> None:
        await self.talking_call()
        self.kill()
        heir = KernelRelay(reactor, MediaSettings(listen=self.wherever, ports=(20000, 20399)), self.clock)
        await heir.start()
        await heir.stop()
        self.assertEqual(self.net.run("nft", "list", "tables"), "")

    def kill(self) -> None:
        """What remains of a relay whose process is gone: nothing of it but what is in the kernel."""
        relay = self.relay
        relay._checking.stop()
        relay.loop.stop()
        for session in relay._sessions:
            for party in session._parties.values():
                for stream in party.streams.values():
                    stream.pair.close()
                    if stream.rtp._door is not None:
                        stream.rtp._door.close()
                    stream.rtp._door = None
                    stream.rtp.bypass = None
        relay._sessions.clear()
        relay._watched.clear()
        relay._bypasses.close()
        relay._bypasses = None
