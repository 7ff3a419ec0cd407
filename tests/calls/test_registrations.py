"""Our own registrations with trunks (PRODUCT section 5; EDGE-CASES 39; RFC 3261 section 10.2): refreshed before they end,
tried again for ever whatever the registrar says or does not say, taken back at the end; and the calls that come over them.
"""

from ipaddress import ip_network

from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.calls.settings import TrunkSettings
from calltrack.sip.locating import NextHop
from calltrack.sip.message import Request
from calltrack.sip.uri import parse_name_addr, parse_uri
from calltrack.testing.engine import TRUNK, TestEngine, sip_target
from calltrack.testing.network import Link, MemoryNetwork
from calltrack.testing.peers import Peer

REGISTRAR, OTHER, OFFICE = "203.0.113.30", "203.0.113.31", "203.0.113.20"
PROVIDER = TrunkSettings(
    name="provider", outbound=f"sip:{REGISTRAR}", username="u100", password="secret", register=True, country="US"
)
CHALLENGE = b'WWW-Authenticate: Digest realm="provider.example", nonce="%b", algorithm=MD5, qop="auth"'


class RegistrationTestCase(SynchronousTestCase):
    transport = "udp"

    def setUp(self):
        self.network = MemoryNetwork(Clock())
        self.registrar = Peer(self.network, REGISTRAR, transport=self.transport)
        self.events = []
        self.engine = None

    def start(self, *trunks, **options):
        trunks = trunks or (PROVIDER,)
        self.engine = TestEngine(self.network, [sip_target(OFFICE)], trunks=trunks, **options)
        self.engine.standing.observers.append(self.events.append)
        self.engine.registrations.start()
        return self.engine

    def tearDown(self):
        if self.engine is not None:
            self.engine.registrations.stop()
            self.network.run(0.1)
            for request in self.registrar.inbox:
                if isinstance(request, Request) and request.method == b"REGISTER":
                    self.registrar.respond(request, 200)
            self.assertEqual(self.engine.settle(), [])

    def register(self, within=1.0):
        """The next REGISTER."""
        return self.registrar.expect("REGISTER", within=within)

    def grant(self, register, seconds=3600, *lines, contact=None):
        """200 with the contact of the request."""
        value = contact or register.get(b"contact").rpartition(b";expires=")[0] + b";expires=%d" % seconds
        self.registrar.respond(register, 200, b"Contact: " + value, *lines)
        self.network.run(0.01)

    def registered(self, seconds=3600):
        register = self.register()
        self.grant(register, seconds)
        return register

    @property
    def state(self):
        return self.engine.registrations.states()["provider"]

    @property
    def now(self):
        return self.network.clock.seconds()

    def told(self):
        events, self.events[:] = list(self.events), []
        return [event.type for event in events]


class RequestTests(RegistrationTestCase):
    def test_register_says_who_and_where(self):
        """Section 10.2."""
        self.start()
        register = self.register()
        register.validate()
        self.assertEqual(register.uri, f"sip:{REGISTRAR}".encode())
        self.assertEqual(register.to.uri, f"sip:u100@{REGISTRAR}".encode())
        self.assertEqual((register.from_.uri, register.to.tag), (register.to.uri, b""))
        contact = parse_name_addr(register.get(b"contact"))
        uri = parse_uri(contact.uri)
        self.assertEqual((uri.user, uri.host, uri.port), (b"u100", b"192.0.2.1", 5060))
        self.assertEqual((register.get(b"expires"), contact.params[b"expires"]), (b"3600", b"3600"))
        self.assertGreaterEqual(len(uri.params[b"line"]), 20)
        self.assertEqual(register.get(b"user-agent"), b"calltrack")
        self.grant(register)

    def test_address_may_be_another_than_the_user_at_the_server(self):
        self.start(replace(PROVIDER, aor="sip:12025550143@provider.example", register_expires=600))
        register = self.register()
        self.assertEqual((register.uri, register.to.uri), (b"sip:provider.example", b"sip:12025550143@provider.example"))
        self.assertEqual(register.get(b"expires"), b"600")
        self.grant(register)

    def test_contact_is_the_same_in_every_process_and_known_to_nobody_without_the_password(self):
        """So that a new process replaces the contact of one that was killed."""
        lines = []
        for trunk in (PROVIDER, PROVIDER, replace(PROVIDER, password="other"), replace(PROVIDER, name="second")):
            self.setUp()
            self.start(trunk)
            register = self.register()
            lines.append(parse_uri(parse_name_addr(register.get(b"contact")).uri).params[b"line"])
            self.registrar.respond(register, 403)
            self.network.run(0.01)
        self.assertEqual(lines[0], lines[1])
        self.assertEqual(len(set(lines)), 3)

    def test_trunk_that_does_not_register_sends_nothing(self):
        self.start(replace(PROVIDER, register=False))
        self.registrar.expect_nothing(100)
        self.assertEqual(self.engine.registrations.states(), {})


class RefreshTests(RegistrationTestCase):
    def test_it_is_refreshed_before_it_ends_with_one_call_id_and_rising_numbers(self):
        """Sections 10.2 and 10.2.4."""
        self.start()
        first = self.registered(600)
        began = self.now
        self.assertEqual((self.state.registered, round(self.state.until - began)), (True, 600))
        again = self.register(within=600)
        self.assertTrue(600 * 0.8 <= self.now - began <= 600 * 0.96, self.now - began)
        self.assertEqual((again.call_id, again.cseq[0]), (first.call_id, first.cseq[0] + 1))
        self.assertEqual(again.from_.tag, first.from_.tag)
        self.grant(again, 600)
        self.assertEqual(self.told(), ["trunk.up"])

    def test_short_registration_leaves_time_for_an_attempt_that_is_lost(self):
        self.start()
        self.registered(60)
        began = self.now
        self.grant(self.register(within=60), 60)
        self.assertTrue(15 <= self.now - began <= 31, self.now - began)

    def test_time_is_that_of_our_contact_among_all(self):
        """Section 10.2.4: the registrar lists every binding."""
        self.start()
        register = self.register()
        ours = register.get(b"contact").rpartition(b";expires=")[0] + b";expires=120"
        self.grant(register, contact=b"<sip:u100@203.0.113.99>;expires=5, " + ours + b', "x" <sip:y@z>;expires=7')
        self.assertEqual(round(self.state.until - self.now), 120)

    def test_time_may_stand_in_the_expires_header_or_nowhere(self):
        for lines, seconds in (((b"Expires: 90",), 90), ((), 3600), ((b"Expires: soon",), 3600)):
            self.setUp()
            self.start()
            register = self.register()
            self.registrar.respond(register, 200, *lines)
            self.network.run(0.01)
            self.assertEqual(round(self.state.until - self.now), seconds)

    def test_nonce_that_is_known_is_used_again(self):
        """RFC 7616 section 3.4: no challenge for a refresh."""
        self.start()
        self.registrar.respond(self.register(), 401, CHALLENGE % b"n1")
        self.grant(self.register(), 60)
        refresh = self.register(within=60)
        self.assertIn(b"nc=00000002", refresh.get(b"authorization"))
        self.grant(refresh, 60)


class RefusalTests(RegistrationTestCase):
    """EDGE-CASES 39."""

    def refused(self, status, *lines):
        self.registrar.respond(self.register(within=1000), status, *lines)
        self.network.run(0.01)

    def test_401_and_407_are_answered(self):
        for status, line in ((401, CHALLENGE), (407, CHALLENGE.replace(b"WWW-", b"Proxy-"))):
            self.setUp()
            self.start()
            first = self.register()
            self.registrar.respond(first, status, line % b"n1")
            second = self.register()
            self.assertEqual((second.call_id, second.cseq[0]), (first.call_id, first.cseq[0] + 1))
            name = b"authorization" if status == 401 else b"proxy-authorization"
            self.assertIn(b'username="u100"', second.get(name))
            self.grant(second)
            self.assertTrue(self.state.registered)

    def test_stale_nonce_is_answered_once_more(self):
        self.start()
        self.registrar.respond(self.register(), 401, CHALLENGE % b"n1")
        self.registrar.respond(self.register(), 401, CHALLENGE % b"n2" + b", stale=true")
        self.grant(self.register())
        self.assertTrue(self.state.registered)

    def test_wrong_password_is_not_hammered_and_tried_for_ever(self):
        """A provider shuts out who guesses."""
        self.start()
        attempts = []
        for number in range(12):
            self.registrar.respond(self.register(within=1000), 401, CHALLENGE % b"n%d" % number)
            attempts.append(self.now)
            self.refused(401, CHALLENGE % b"n%d" % number)
            self.assertIn("it refuses the user name or password", self.state.why)
        pauses = [later - earlier for earlier, later in zip(attempts, attempts[1:])]
        self.assertTrue(all(30 <= pause <= 901 for pause in pauses), pauses)
        self.assertGreater(min(pauses[5:]), 400)
        self.assertEqual(self.told(), ["trunk.down"])
        self.registrar.respond(self.register(within=1000), 401, CHALLENGE % b"last")
        self.grant(self.register())
        self.assertEqual(self.told(), ["trunk.up"])

    def test_403_backs_off_and_is_tried_for_ever(self):
        self.start()
        for _ in range(20):
            self.refused(403)
        before = self.now
        self.grant(self.register(within=1000))
        self.assertTrue(449 <= self.now - before <= 901, self.now - before)
        self.assertTrue(self.state.registered)

    def test_pauses_are_not_the_same_twice(self):
        pauses = set()
        for _ in range(5):
            self.setUp()
            self.start()
            self.refused(403)
            pauses.add(round(self.state.next_at - self.now, 3))
        self.assertEqual(len(pauses), 5)

    def test_423_is_asked_again_for_as_long_as_the_registrar_wants(self):
        """Section 10.2.8."""
        self.start(replace(PROVIDER, register_expires=60))
        self.refused(423, b"Min-Expires: 1800")
        register = self.register()
        self.assertEqual((register.get(b"expires"), register.get(b"contact")[-12:]), (b"1800", b"expires=1800"))
        self.grant(register, 1800)
        again = self.register(within=1800)
        self.assertEqual(again.get(b"expires"), b"1800")
        self.grant(again)

    def test_423_that_wants_nothing_more_is_a_refusal(self):
        for line in (b"Min-Expires: 3600", b"Min-Expires: 10", b"Min-Expires: 99999999", b"Min-Expires: -1", b"X: y"):
            self.setUp()
            self.start()
            self.refused(423, line)
            self.assertGreaterEqual(self.state.next_at - self.now, 30, line)

    def test_retry_after_is_waited_for_up_to_an_hour(self):
        for value, least in ((b"700", 700), (b"90;duration=5 (busy)", 90), (b"999999", 3600)):
            self.setUp()
            self.start()
            self.refused(503, b"Retry-After: " + value)
            wait = self.state.next_at - self.now
            self.assertTrue(least - 1 <= wait <= 1.2 * least, (value, wait))

    def test_5xx_is_soon_tried_again(self):
        self.start()
        self.refused(500)
        self.assertLessEqual(self.state.next_at - self.now, 2)
        self.grant(self.register(within=2))
        self.assertTrue(self.state.registered)

    def test_redirection_is_not_followed(self):
        """ROBUSTNESS 2.6."""
        other = Peer(self.network, OTHER)
        self.start()
        self.refused(302, b"Contact: <sip:203.0.113.31>")
        other.expect_nothing(20)
        self.assertIn("redirections are not followed", self.state.why)

    def test_words_of_the_registrar_cannot_steer_a_terminal(self):
        self.start()
        self.registrar.respond(self.register(), 403, reason=b"No\x1b[31m \xe2\x80\xae" + b"x" * 300)
        self.network.run(0.01)
        self.assertTrue(self.state.why.isprintable())
        self.assertLess(len(self.state.why), 120)

    def test_refusal_of_a_refresh_is_told_at_once_and_the_old_registration_counts_on_for_calls(self):
        self.start()
        self.registered(600)
        self.told()
        self.refused(403)
        self.assertEqual(self.told(), ["trunk.down"])
        self.assertEqual(self.engine.calls.destinations.down, {"provider"})
        self.assertTrue(self.state.registered)
        self.assertIn("403", self.engine.standing.why("trunk", "provider"))


class SilenceTests(RegistrationTestCase):
    def test_registrar_that_does_not_answer_is_asked_for_ever(self):
        """Section 10.2.7: 64*T1, then again."""
        self.registrar.udp.stopListening()
        self.start()
        self.network.run(3600)
        self.assertFalse(self.state.registered)
        self.assertIn("no answer to REGISTER", self.state.why)
        self.assertEqual(self.told(), ["trunk.down"])
        self.registrar.udp.startListening()
        self.grant(self.register(within=130))
        self.assertEqual(self.told(), ["trunk.up"])

    def test_one_lost_refresh_is_no_news(self):
        self.start()
        self.registered(600)
        self.told()
        self.registrar.expect("REGISTER", within=600)
        self.network.run(33)
        self.registrar.inbox.clear()
        self.grant(self.register(within=40), 600)
        self.assertEqual(self.told(), [])
        self.assertEqual(self.state.why, "")

    def test_registration_that_ends_without_a_refresh_is_down(self):
        self.start()
        self.registered(100)
        self.registrar.udp.stopListening()
        self.network.run(101)
        self.assertFalse(self.state.registered)
        self.assertEqual(self.told(), ["trunk.up", "trunk.down"])

    def test_name_that_dns_does_not_know_is_asked_again_until_it_does(self):
        self.start(replace(PROVIDER, outbound="sip:sip.provider.example"))
        self.network.run(1000)
        self.assertIn("there is no such name", self.state.why)
        self.engine.resolver.names["sip.provider.example"] = [NextHop("udp", REGISTRAR, 5060)]
        self.grant(self.register(within=130))
        self.assertTrue(self.state.registered)

    def test_dns_that_is_gone_does_not_disturb_a_registration(self):
        """A refresh goes to the server that knows us."""
        self.start(replace(PROVIDER, outbound="sip:sip.provider.example"))
        self.engine.resolver.names["sip.provider.example"] = [NextHop("udp", REGISTRAR, 5060)]
        self.grant(self.register(within=5), 600)
        self.engine.resolver.names.clear()
        for _ in range(3):
            self.grant(self.register(within=600), 600)
        self.assertEqual(self.state.why, "")

    def test_server_that_fails_is_followed_by_the_next(self):
        """RFC 3263 section 4.3."""
        other = Peer(self.network, OTHER)
        self.start(replace(PROVIDER, outbound="sip:sip.provider.example"))
        self.engine.resolver.names["sip.provider.example"] = [NextHop("udp", REGISTRAR, 5060), NextHop("udp", OTHER, 5060)]
        self.registrar.respond(self.register(within=5), 503)
        register = other.expect("REGISTER")
        other.respond(register, 200, b"Contact: " + register.get(b"contact"))
        self.network.run(0.01)
        self.assertTrue(self.state.registered)
        self.engine.registrations.stop()
        farewell = other.expect("REGISTER")
        other.respond(farewell, 200)

    def test_bug_does_not_end_it(self):
        self.start()
        resolve = self.engine.resolver.resolve
        self.registrar.respond(self.register(), 503)
        self.engine.resolver.resolve = lambda *arguments: 1 / 0
        self.network.run(3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.engine.resolver.resolve = resolve
        self.grant(self.register(within=10))
        self.assertTrue(self.state.registered)


class ConnectionTests(RegistrationTestCase):
    transport = "tcp"

    def start(self, **options):
        return super().start(replace(PROVIDER, outbound=f"sip:{REGISTRAR};transport=tcp"), **options)

    def close(self):
        self.registrar.connections[-1].transport.loseConnection()
        self.network.run(0.01)

    def test_contact_names_the_transport(self):
        self.start()
        register = self.registered()
        self.assertEqual(parse_uri(parse_name_addr(register.get(b"contact")).uri).transport, b"tcp")

    def test_connection_that_closes_is_made_again_at_once(self):
        """RFC 5626 section 4.2.2."""
        self.start()
        self.registered()
        self.network.run(60)
        self.close()
        self.registered()
        self.assertEqual(self.told(), ["trunk.up"])
        self.assertEqual(len(self.registrar.connections), 1)

    def test_connection_that_closes_each_time_is_not_hammered(self):
        self.start()
        began = self.now
        for _ in range(8):
            self.grant(self.register(within=200))
            self.close()
        self.assertGreater(self.now - began, 60)

    def test_connection_that_closes_before_the_answer_is_a_miss(self):
        self.start()
        self.register()
        self.close()
        self.assertIn("was closed", self.state.why)
        self.grant(self.register(within=3))
        self.assertTrue(self.state.registered)

    def test_refused_connection_is_tried_for_ever(self):
        self.registrar.tcp.stopListening()
        self.start()
        self.network.run(3600)
        self.assertEqual(self.told(), ["trunk.down"])
        self.registrar.tcp.startListening()
        self.grant(self.register(within=130))
        self.assertTrue(self.state.registered)

    def test_connection_that_has_died_silently_is_given_up_when_a_refresh_has_no_answer(self):
        self.start()
        self.registered(600)
        (dead,) = self.registrar.connections
        dead.dataReceived = lambda data: None
        self.network.run(600, lambda: len(self.registrar.connections) > 1 or dead not in self.registrar.connections)
        self.grant(self.register(within=60))
        self.assertNotIn(dead, self.registrar.connections)


class EndTests(RegistrationTestCase):
    def test_clean_stop_takes_the_registration_back(self):
        """Section 10.2.2."""
        self.start()
        self.registered()
        self.engine.registrations.stop()
        farewell = self.register()
        self.assertEqual((farewell.get(b"expires"), farewell.get(b"contact")[-10:]), (b"0", b";expires=0"))
        self.assertEqual(self.engine.agent.layer.unanswered(), 1)
        self.registrar.respond(farewell, 200)
        self.network.run(0.01)
        self.assertEqual((self.engine.agent.layer.unanswered(), self.state.registered), (0, False))
        self.registrar.expect_nothing(4000)

    def test_challenge_to_that_is_answered(self):
        self.start()
        self.registered()
        self.engine.registrations.stop()
        self.registrar.respond(self.register(), 401, CHALLENGE % b"n1")
        farewell = self.register()
        self.assertEqual((farewell.get(b"expires"), b"n1" in farewell.get(b"authorization")), (b"0", True))
        self.registrar.respond(farewell, 200)
        self.registrar.expect_nothing(100)

    def test_attempt_that_is_under_way_ends_first(self):
        """Section 10.2: one at a time."""
        self.start()
        register = self.register()
        self.engine.registrations.stop()
        self.network.run(0.2)
        self.assertEqual(self.registrar.inbox, [])
        self.grant(register)
        self.registrar.respond(self.register(), 200)
        self.registrar.expect_nothing(4000)

    def test_attempt_that_fails_meanwhile_was_the_last(self):
        for status in (403, 503, 423):
            self.setUp()
            self.start()
            register = self.register()
            self.engine.registrations.stop()
            self.registrar.respond(register, status)
            self.registrar.expect_nothing(1000)

    def test_stop_before_a_server_is_found_sends_nothing(self):
        self.registrar = Peer(self.network, OTHER, transport="tcp")
        self.network.link("192.0.2.1", OTHER, Link(delay=0.5))
        self.start(replace(PROVIDER, outbound=f"sip:{OTHER};transport=tcp"))
        self.network.run(0.2)
        self.engine.registrations.stop()
        self.registrar.expect_nothing(100)

    def test_stop_while_waiting_ends_it(self):
        self.start()
        self.registrar.respond(self.register(), 403)
        self.network.run(1)
        self.engine.registrations.stop()
        self.registrar.expect_nothing(2000)
        self.assertEqual(self.state.next_at, 0)


class CallTests(RegistrationTestCase):
    """Calls that come because we have registered."""

    def setUp(self):
        super().setUp()
        self.office = Peer(self.network, OFFICE)

    def contact(self, register):
        return parse_name_addr(register.get(b"contact")).uri

    def refused_by_the_office(self, peer, **options):
        """A call that is let in; its record."""
        peer.invite(**options)
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        peer.ack_failure(peer.expect(486))
        return self.engine.ledger.finals[-1]

    def test_call_to_our_contact_is_the_trunks_wherever_it_comes_from(self):
        self.start()
        register = self.registered()
        gateway = Peer(self.network, "203.0.113.77")
        to = b"<sip:11231234567@provider.example>"
        record = self.refused_by_the_office(gateway, uri=self.contact(register), to=to)
        self.assertEqual((record.trunk, record.callee), ("provider", "11231234567"))

    def test_number_stands_in_p_called_party_id_before_to(self):
        """RFC 7315 section 4.2."""
        self.start()
        register = self.registered()
        line = b"P-Called-Party-ID: <sip:+11231234567@provider.example>"
        record = self.refused_by_the_office(
            self.registrar, uri=self.contact(register), to=b"<sip:12025550199@provider.example>", lines=(line,)
        )
        self.assertEqual(record.callee, "11231234567")

    def test_number_may_be_the_user_that_is_registered(self):
        self.start(replace(PROVIDER, aor="sip:11231234567@provider.example"))
        register = self.registered()
        record = self.refused_by_the_office(self.registrar, uri=self.contact(register), to=b"<sip:office@provider.example>")
        self.assertEqual(record.callee, "11231234567")

    def test_call_of_the_server_that_we_are_registered_at_is_the_trunks(self):
        self.start()
        self.registered()
        record = self.refused_by_the_office(self.registrar)
        self.assertEqual((record.trunk, record.callee), ("provider", "11231234567"))

    def test_accounts_at_one_provider_are_told_apart_by_user_when_the_contact_does_not(self):
        self.start(PROVIDER, replace(PROVIDER, name="second", username="u200"))
        for _ in range(2):
            self.grant(self.register())
        record = self.refused_by_the_office(self.registrar, to=b"<sip:u200@provider.example>")
        self.assertEqual(record.trunk, "second")

    def stranger(self, peer, **options):
        peer.invite(**options)
        peer.ack_failure(peer.expect(403))
        self.assertEqual(self.engine.ledger.finals, [])

    def test_anybody_else_is_a_stranger(self):
        self.start()
        contact = self.contact(self.registered())
        gateway = Peer(self.network, "203.0.113.77")
        self.stranger(gateway)
        self.stranger(gateway, uri=contact[:-1] + (b"0" if contact[-1:] != b"0" else b"1"))
        self.stranger(gateway, uri=b"sip:11231234567@192.0.2.1;line")

    def test_without_a_registration_nobody_is_known(self):
        self.start()
        register = self.register()
        self.stranger(self.registrar, uri=self.contact(register))
        self.grant(register, 60)
        self.registrar.udp.stopListening()
        self.network.run(100)
        self.registrar.udp.startListening()
        self.network.run(0.2)
        self.registrar.inbox.clear()
        self.stranger(self.registrar, uri=self.contact(register))

    def test_sources_of_another_trunk_count_before_the_server(self):
        self.start(PROVIDER, replace(TRUNK, name="by-address", sources=(ip_network(f"{REGISTRAR}/32"),)))
        register = self.registered()
        self.assertEqual(self.refused_by_the_office(self.registrar).trunk, "by-address")
        to = b"<sip:11231234567@provider.example>"
        self.assertEqual(self.refused_by_the_office(self.registrar, uri=self.contact(register), to=to).trunk, "provider")

    def test_call_over_the_registered_connection_is_answered_over_it(self):
        self.registrar = Peer(self.network, OTHER, transport="tcp")
        self.start(replace(PROVIDER, outbound=f"sip:{OTHER};transport=tcp"))
        self.registered()
        (connection,) = self.registrar.connections
        record = self.refused_by_the_office(self.registrar)
        self.assertEqual(record.trunk, "provider")
        self.assertEqual(self.registrar.connections, [connection])
