"""What calltrack's own relay promises beyond the contract: addresses, ports, memory of neither."""

from __future__ import annotations

import gc
import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MediaUnavailable, UnusableSDP
from calltrack.media import addresses, ports
from calltrack.media.lanes import Lane
from calltrack.media.relay import TwistedRelay
from calltrack.media.settings import MediaSettings
from calltrack.testing.media_peers import HOST, describe, host_in, ports_in, version_in
from tests.media.test_loop import Reactor
from tests.media.test_relay import free_range


class RelayCase(SynchronousTestCase):
    def relay(self, pairs: int = 20, **settings) -> TwistedRelay:
        self.clock = Clock()
        settings = {"listen": (HOST,), "ports": free_range(pairs), **settings}
        relay = TwistedRelay(Reactor(), MediaSettings(**settings), self.clock)
        relay.start()
        self.addCleanup(relay.stop)
        return relay

    def offer(self, session, target: str = "target-1", sdp: bytes = describe(HOST, 4000), to: str = HOST) -> bytes:
        return self.successResultOf(session.offer("caller", target, sdp, HOST, to))

    def answer(self, session, source: str = "target-1", sdp: bytes = describe(HOST, 5000)) -> bytes:
        return self.successResultOf(session.answer(source, "caller", sdp, HOST, HOST))


class AddressTests(RelayCase):
    def shown(self, to: str = HOST, **settings) -> str:
        return host_in(self.offer(self.relay(**settings).open("a-call", None), to=to))

    def test_wildcard_shows_the_address_that_packets_leave_from(self) -> None:
        self.assertEqual(self.shown(listen=("0.0.0.0", "::")), HOST)
        self.assertEqual(self.shown(listen=("0.0.0.0", "::"), to="::1"), "::1")

    def test_listening_on_one_address_shows_it(self) -> None:
        self.assertEqual(self.shown(listen=("127.0.0.3",)), "127.0.0.3")

    def test_advertised_address_is_shown_to_its_family(self) -> None:
        settings = {"listen": ("127.0.0.3", "::1"), "advertise": ("203.0.113.5",)}
        self.assertEqual(self.shown(**settings), "203.0.113.5")
        self.assertEqual(self.shown(to="::1", **settings), "::1")

    def test_ports_are_bound_to_the_advertised_address_where_it_is_this_machine_s(self) -> None:
        for advertise, bound in ((("127.0.0.4",), "127.0.0.4"), (("203.0.113.5",), "0.0.0.0")):
            chosen = addresses.LocalAddresses(MediaSettings(listen=("0.0.0.0",), advertise=advertise))
            self.assertEqual(chosen.towards(HOST), (advertise[0], bound))

    def test_a_family_that_we_do_not_listen_in_is_unavailable(self) -> None:
        session = self.relay().open("a-call", None)
        self.failureResultOf(session.offer("caller", "target-1", describe(HOST, 4000), HOST, "::1"), MediaUnavailable)

    def test_media_of_a_family_that_we_do_not_listen_in_is_unusable_with_its_warning(self) -> None:
        """RFC 3261 section 20.43: 301, incompatible network address formats."""
        session = self.relay().open("a-call", None)
        offer = session.offer("caller", "target-1", describe("2001:db8::7", 4000), HOST, HOST)
        self.assertEqual(self.failureResultOf(offer, UnusableSDP).value.warning, 301)

    def test_no_codec_that_is_allowed_is_unusable_with_its_warning(self) -> None:
        """305, incompatible media format."""
        session = self.relay().open("a-call", None)
        offer = session.offer("caller", "target-1", describe(HOST, 4000), HOST, HOST, ("G723",))
        self.assertEqual(self.failureResultOf(offer, UnusableSDP).value.warning, 305)

    def test_a_host_that_is_no_literal_is_unavailable_and_not_looked_up(self) -> None:
        def look_up(*arguments):
            self.fail("asked the DNS")

        self.patch(socket, "getaddrinfo", look_up)
        chosen = addresses.LocalAddresses(MediaSettings(listen=("0.0.0.0", "::")))
        for host in ("media.example", "", "::g", "caf\u00e9", "1.2.3.4\x00"):
            self.assertRaises(MediaUnavailable, chosen.towards, host)

    def test_routes_are_remembered_until_they_are_forgotten(self) -> None:
        asked: list[str] = []
        self.patch(addresses, "local_address_towards", lambda host: asked.append(host) or HOST)
        chosen = addresses.LocalAddresses(MediaSettings(listen=("0.0.0.0",)))
        for _ in range(3):
            chosen.towards(HOST)
        chosen.forget()
        chosen.towards(HOST)
        self.assertEqual(asked, [HOST, HOST])

    def test_media_of_another_family_than_signalling_gets_ports_of_its_own_family(self) -> None:
        session = self.relay(listen=(HOST, "::1")).open("a-call", None)
        self.offer(session, sdp=describe("::1", 4000))
        self.assertEqual(host_in(self.answer(session)), "::1")

    def test_a_new_description_in_the_other_family_is_unusable_when_it_is_all(self) -> None:
        session = self.relay(listen=(HOST, "::1")).open("a-call", None)
        self.offer(session)
        other = session.answer("target-1", "caller", describe("::1", 5000), HOST, HOST)
        self.failureResultOf(other, UnusableSDP)


class ExhaustionTests(RelayCase):
    def test_no_port_for_the_caller_fails_the_answer_and_leaves_live_calls_alone(self) -> None:
        relay = self.relay(pairs=3)
        live, late = relay.open("live", None), relay.open("late", None)
        shown = self.offer(live)
        self.answer(live)
        self.offer(late)
        failed = late.answer("target-1", "caller", describe(HOST, 5000), HOST, HOST)
        self.failureResultOf(failed, MediaUnavailable)
        self.assertEqual(self.offer(live), shown)

    def test_calls_are_refused_when_fewer_than_two_pairs_are_left(self) -> None:
        relay = self.relay(pairs=3)
        self.offer(relay.open("live", None))
        self.offer(relay.open("live too", None))
        self.assertRaises(MediaUnavailable, relay.open, "refused", None)

    def test_a_relay_that_does_not_run_opens_nothing(self) -> None:
        relay = self.relay()
        relay.stop()
        self.assertRaises(MediaUnavailable, relay.open, "a-call", None)

    def test_a_closed_session_rewrites_nothing(self) -> None:
        session = self.relay().open("a-call", None)
        session.close()
        self.failureResultOf(session.offer("caller", "target-1", describe(HOST, 1), HOST, HOST), MediaUnavailable)

    def test_ports_of_a_closed_call_are_free_again_after_quarantine(self) -> None:  # edge case 33
        relay = self.relay(pairs=2, quarantine=10)
        session = relay.open("a-call", None)
        port = ports_in(self.offer(session))[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"early", (HOST, port))
        session.close()
        self.assertRaises(MediaUnavailable, relay.open, "too early", None)
        self.clock.pump([0.25] * 41)
        self.assertEqual(relay.open("in time", None).figures().verdict, "none")

    def test_stopping_closes_every_socket(self) -> None:
        opened: list = []
        bind = ports.bind
        self.patch(ports, "bind", lambda *arguments: opened.append(bind(*arguments)) or opened[-1])
        relay = self.relay()
        session = relay.open("a-call", None)
        self.offer(session)
        self.answer(session)
        self.assertEqual(len(opened), 4)
        relay.stop()
        relay.stop()
        self.assertEqual({sock.fileno() for sock in opened}, {-1})
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SessionTests(RelayCase):
    def test_the_caller_s_ports_are_taken_when_first_shown(self) -> None:
        relay = self.relay(pairs=3)
        session = relay.open("a-call", None)
        self.offer(session)
        self.assertTrue(relay.ports.has_room(2))
        self.answer(session)
        self.assertFalse(relay.ports.has_room(2))

    def test_each_party_has_a_session_id_of_its_own_that_stays(self) -> None:  # edge case 31
        session = self.relay().open("a-call", None)

        def session_id(sdp: bytes) -> bytes:
            return sdp.split(b"o=")[1].split(b" ")[1]

        to_target = [session_id(self.offer(session)) for _ in range(2)]
        to_other = session_id(self.offer(session, "target-2"))
        to_caller = session_id(self.answer(session))
        self.assertEqual(to_target[0], to_target[1])
        self.assertEqual(len({to_target[0], to_other, to_caller}), 3)

    def test_an_answer_that_rejects_everything_cannot_begin_a_call_but_may_end_its_streams(self) -> None:
        session = self.relay().open("a-call", None)
        self.offer(session)
        nothing = describe(HOST, 0)
        self.failureResultOf(session.answer("target-1", "caller", nothing, HOST, HOST), UnusableSDP)
        self.answer(session)
        self.offer(session)
        self.assertEqual(ports_in(self.answer(session, sdp=nothing)), [0])

    def test_a_change_without_address_or_m_line_is_unusable_and_the_old_description_counts(self) -> None:  # 21
        session = self.relay().open("a-call", None)
        shown = self.offer(session)
        self.answer(session)
        whole = describe(HOST, 4002)
        nowhere, nothing = whole.replace(b"c=IN IP4 127.0.0.1\r\n", b""), whole[: whole.index(b"m=")]
        for broken in (nowhere, nothing):
            self.failureResultOf(session.offer("caller", "target-1", broken, HOST, HOST), UnusableSDP)
            self.failureResultOf(session.answer("target-1", "caller", broken, HOST, HOST), UnusableSDP)
        self.assertEqual(self.offer(session), shown)

    def test_a_stream_rejected_in_the_offer_stays_rejected_in_the_answer(self) -> None:  # edge case 31
        session = self.relay().open("a-call", None)
        self.offer(session, sdp=describe(HOST, 4000, extra=("m=video 0 RTP/AVP 99",)))
        answer = self.answer(session, sdp=describe(HOST, 5000, extra=("m=video 6000 RTP/AVP 99",)))
        self.assertEqual(ports_in(answer)[1], 0)

    def test_the_caller_s_answer_to_a_late_offer_joins_the_two(self) -> None:  # edge case 23
        session = self.relay().open("a-call", None)
        offered = session.offer("target-1", "caller", describe(HOST, 5000), HOST, HOST)
        self.assertEqual(host_in(self.successResultOf(offered)), HOST)
        session.connect("target-1")
        answered = session.answer("caller", "target-1", describe(HOST, 4000), HOST, HOST)
        self.assertEqual(version_in(self.successResultOf(answered)), 1)

    def test_a_closed_call_is_freed_without_the_garbage_collector(self) -> None:
        relay = self.relay()
        gc.collect()
        before = self.lanes()
        session = relay.open("a-call", None)
        self.offer(session)
        self.answer(session)
        session.connect("target-1")
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.assertEqual(self.lanes(), before + 4)
        session.close()
        self.assertEqual(self.lanes(), before)

    def lanes(self) -> int:
        return sum(isinstance(thing, Lane) for thing in gc.get_objects())
