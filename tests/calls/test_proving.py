"""Trunks that prove who they are by digest (PRODUCT section 2.1): no call before the proof, no proof twice, guesses counted
with those at the registrar (RFC 3261 section 22; ROBUSTNESS 2.14)."""

from ipaddress import ip_network

from msgspec.structs import replace

from calltrack.calls import engine
from calltrack.calls.settings import TrunkSettings
from calltrack.registrar.settings import RegistrarSettings
from calltrack.sip.digest import Credentials, DigestClient
from calltrack.testing.devices import DOMAIN
from calltrack.testing.engine import TRUNK
from calltrack.testing.peers import Peer
from tests.calls.case import CallTestCase

ROAMING = TrunkSettings(name="roaming", inbound_username="their", inbound_password="word", country="US")
ANYWHERE = "203.0.113.77"


class ProofTestCase(CallTestCase):
    expected_records = 0

    def setUp(self):
        super().setUp()
        self.provider = Peer(self.network, ANYWHERE)

    def begin(self, *trunks, **options):
        return self.start(trunks=trunks or (TRUNK, ROAMING), registrar=RegistrarSettings(), **options)

    def tearDown(self):
        self.engine.registrar.stop()
        super().tearDown()

    def answer(self, challenge, username="their", password="word", algorithm=b"SHA-256", method=b"INVITE"):
        """The header line that answers a 401."""
        values = [value for value in challenge.all(b"www-authenticate") if algorithm in value]
        uri = b"sip:11231234567@192.0.2.1:5060"
        ((name, value),) = DigestClient(Credentials(username, password)).answer(method, uri, 401, values)
        return name + b": " + value

    def challenged(self, peer=None, *lines):
        peer = peer or self.provider
        peer.invite(lines=lines)
        challenge = peer.expect(401)
        peer.ack_failure(challenge)
        return challenge

    def rings(self, peer, *lines):
        """An INVITE that becomes a call, which the office refuses; its record."""
        peer.invite(lines=lines)
        self.office.respond(self.office.expect("INVITE"), 486)
        self.office.expect("ACK")
        peer.ack_failure(peer.expect(486))
        self.expected_records += 1
        return self.engine.ledger.finals[-1]


class ProofTests(ProofTestCase):
    def test_invite_is_challenged_and_becomes_a_call_when_it_proves_the_password(self):
        for algorithm in (b"SHA-256", b"MD5"):
            self.setUp()
            self.begin()
            challenge = self.challenged()
            self.assertEqual([b"SHA-256" in v for v in challenge.all(b"www-authenticate")], [True, False])
            self.assertIn(b'realm="%b"' % DOMAIN.encode(), challenge.all(b"www-authenticate")[0])
            self.assertEqual(challenge.get(b"server"), b"calltrack")
            self.assertEqual(self.engine.calls.calls, {})
            self.office.expect_nothing(0.1)
            self.expected_records = 0
            record = self.rings(self.provider, self.answer(challenge, algorithm=algorithm))
            self.assertEqual((record.trunk, record.callee), ("roaming", "11231234567"))

    def test_calls_from_where_one_was_let_in_go_first_in_an_overload(self):
        """Until the trunks are others."""
        self.begin()
        knows = self.engine.transports.arrivals.knows
        line = self.answer(self.challenged())
        self.assertEqual((knows("198.51.100.7"), knows(ANYWHERE)), (True, False))
        self.rings(self.provider, line)
        self.assertTrue(knows(ANYWHERE))
        self.engine.calls.use_trunks((TRUNK, ROAMING))
        self.assertEqual((knows("198.51.100.7"), knows(ANYWHERE)), (True, False))

    def test_addresses_that_are_remembered_are_bounded_and_the_latest_stay(self):
        self.patch(engine, "MOST_CALLED_FROM", 2)
        self.begin()
        hosts = [f"203.0.113.{number}" for number in (81, 82, 83)]
        peers = [Peer(self.network, host) for host in hosts]
        for peer in (peers[0], peers[1], peers[0], peers[2]):
            self.rings(peer, self.answer(self.challenged(peer)))
        self.assertEqual([*map(self.engine.transports.arrivals.knows, hosts)], [True, False, True])

    def test_nothing_is_kept_of_an_invite_that_is_challenged(self):
        self.begin()
        self.challenged()
        layer = self.engine.agent.layer
        self.assertEqual((layer.servers, self.engine.agent.dialogs, self.engine.calls.calls), ({}, {}, {}))

    def test_proof_is_good_once(self):
        """RFC 7616 section 3.4: a replay with another branch and Call-ID gets a new challenge and no call."""
        self.begin()
        line = self.answer(self.challenged())
        self.rings(self.provider, line)
        for peer in (self.provider, Peer(self.network, "203.0.113.78")):
            challenge = self.challenged(peer, line)
            self.assertIn(b"stale=true", challenge.all(b"www-authenticate")[0])

    def test_proof_for_another_method_is_none(self):
        self.begin()
        self.challenged(None, self.answer(self.challenged(), method=b"REGISTER"))

    def test_old_proof_is_none(self):
        self.begin()
        line = self.answer(self.challenged())
        self.network.run(61)
        self.assertIn(b"stale=true", self.challenged(None, line).all(b"www-authenticate")[0])

    def test_wrong_password_and_unknown_user_get_the_same_answer_and_no_call(self):
        self.begin()
        challenge = self.challenged()
        answers = [self.challenged(None, self.answer(challenge, *who)) for who in (("their", "guess"), ("nobody", "word"))]
        self.assertEqual(len({len(b"".join(one.all(b"www-authenticate"))) for one in answers}), 1)

    def test_credentials_that_cannot_be_read_are_400(self):
        self.begin()
        line = b'Authorization: Digest realm="%b", username="a\x01b"' % DOMAIN.encode()
        self.provider.invite(lines=(line,))
        self.provider.ack_failure(self.provider.expect(400))

    def test_who_guesses_is_shut_out_there_and_at_the_registrar(self):
        self.begin()
        challenge = self.challenged()
        for number in range(10):
            self.provider.invite(lines=(self.answer(challenge, "their", f"guess {number}"),))
            self.network.run(1.1)
        self.provider.inbox.clear()
        line = self.answer(challenge)
        self.provider.invite(lines=(line,))
        self.provider.expect_nothing(5)
        self.assertTrue(self.engine.registrar.guard.shut_out(ANYWHERE))
        self.network.run(301)
        self.rings(self.provider, self.answer(self.challenged()))

    def test_guess_is_answered_later_and_later(self):
        self.begin()
        challenge = self.challenged()
        waits = []
        for number in range(6):
            before = self.clock.seconds()
            self.challenged_late = self.provider.invite(lines=(self.answer(challenge, "their", f"guess {number}"),))
            self.provider.ack_failure(self.provider.expect(401, within=2))
            waits.append(self.clock.seconds() - before)
        self.assertEqual(waits, sorted(waits))
        self.assertGreater(waits[-1], 0.9)

    def test_scanner_gets_no_answer(self):
        self.begin()
        self.provider.invite(lines=(b"User-Agent: friendly-scanner",))
        self.provider.expect_nothing(5)

    def test_trunk_known_by_its_address_is_not_challenged(self):
        self.begin()
        self.assertEqual(self.rings(self.trunk).trunk, "provider")

    def test_requests_within_the_call_are_not_challenged(self):
        self.begin()
        self.provider.invite(lines=(self.answer(self.challenged()),))
        self.office.respond(self.office.expect("INVITE"), 200, sdp=b"v=0\r\no=- 1 1 IN IP4 203.0.113.20\r\ns=-\r\nc=IN IP4 203.0.113.20\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n")
        self.office.expect("ACK")
        self.provider.expect(200)
        self.provider.ack()
        self.network.run(0.1)
        self.provider.bye()
        self.provider.expect(200, "BYE")
        self.office.respond(self.office.expect("BYE"), 200)
        self.expected_records = 1


class SourcesTooTests(ProofTestCase):
    """A trunk with sources and a password needs both."""

    both = replace(ROAMING, sources=(ip_network(f"{ANYWHERE}/32"),))

    def test_its_source_alone_is_not_enough(self):
        self.begin(self.both)
        self.assertEqual(self.rings(self.provider, self.answer(self.challenged())).trunk, "roaming")

    def test_its_password_alone_is_not_enough(self):
        self.begin(self.both, replace(ROAMING, name="open", inbound_username="other"))
        elsewhere = Peer(self.network, "203.0.113.78")
        elsewhere.invite(lines=(self.answer(self.challenged(elsewhere)),))
        elsewhere.ack_failure(elsewhere.expect(403))

    def test_strangers_are_not_even_challenged_where_every_such_trunk_has_sources(self):
        self.begin(self.both)
        elsewhere = Peer(self.network, "203.0.113.78")
        elsewhere.invite()
        elsewhere.ack_failure(elsewhere.expect(403))

    def test_password_of_another_trunk_does_not_open_a_source(self):
        self.begin(self.both, replace(ROAMING, name="open", inbound_username="other", inbound_password="door"))
        line = self.answer(self.challenged(), "other", "door")
        self.provider.invite(lines=(line,))
        self.provider.ack_failure(self.provider.expect(403))
