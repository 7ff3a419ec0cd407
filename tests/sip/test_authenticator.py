"""Digest authentication, the server's side, against the project's own client."""

from unittest import mock

from hypothesis import given, strategies
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MalformedMessage
from calltrack.sip import authenticator
from calltrack.sip.authenticator import Authenticator, Outcome
from calltrack.sip.digest import Credentials, DigestClient, parse_challenges, parse_credentials, user_hash

REALM = "calltrack.example"
URI = b"sip:calltrack.example"


def lookup(username, algorithm):
    """The one user there is: alice, with the password Secret77."""
    if username != "alice":
        return None
    return user_hash(algorithm.encode(), b"alice", REALM.encode(), b"Secret77").decode()


class AuthenticatorTestCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.clock.advance(1000)
        self.server = Authenticator(REALM, self.clock.seconds, b"secret")

    def verify(self, value, method=b"REGISTER", server=None):
        return (server or self.server).verify(value, method, lookup)

    def outcome(self, value, method=b"REGISTER", server=None):
        return self.verify(value, method, server).outcome

    def client(self, username="alice", password="Secret77"):
        return DigestClient(Credentials(username, password))

    def value(self, client=None, challenges=None):
        """A first answer to a challenge."""
        challenges = self.server.challenge() if challenges is None else challenges
        return (client or self.client()).answer(b"REGISTER", URI, 401, challenges)[0][1]

    def without_qop(self):
        return self.value(challenges=[self.server.challenge()[1].replace(b', qop="auth"', b"")])


class VerifyTests(AuthenticatorTestCase):
    def test_right_password_is_accepted(self):
        self.assertEqual(self.verify(self.value()), (Outcome.ACCEPTED, "alice"))

    def test_sha_256_is_offered_before_md5_and_both_are_accepted(self):
        sha, md5 = self.server.challenge()
        self.assertEqual([c.algorithm for c in parse_challenges([sha, md5])], [b"SHA-256", b"MD5"])
        for challenge in (sha, md5):
            self.assertIs(self.outcome(self.value(challenges=[challenge])), Outcome.ACCEPTED)

    def test_wrong_password_and_unknown_user_get_the_same_answer(self):
        for client in (self.client(password="Wrong"), self.client(username="bob")):
            self.assertIs(self.outcome(self.value(client)), Outcome.WRONG)

    def test_unknown_user_costs_the_same_sums(self):
        for client in (self.client(), self.client(username="bob")):
            value = self.value(client)
            with mock.patch.object(authenticator, "digest_response", wraps=authenticator.digest_response) as sums:
                self.verify(value)
            self.assertEqual(sums.call_count, 1)

    def test_credentials_of_another_realm_or_algorithm_are_wrong(self):
        value = self.value()
        self.assertIs(self.outcome(value.replace(b"calltrack.example", b"other.example", 1)), Outcome.WRONG)
        self.assertIs(self.outcome(value.replace(b"algorithm=SHA-256", b"algorithm=SHA-512-256")), Outcome.WRONG)
        self.assertIs(self.outcome(b"Basic YWxpY2U6U2VjcmV0Nzc="), Outcome.WRONG)

    def test_credentials_for_one_method_serve_no_other(self):
        self.assertIs(self.outcome(self.value(), method=b"INVITE"), Outcome.WRONG)

    def test_nonce_is_good_for_a_minute(self):
        value = self.value()
        self.clock.advance(60)
        self.assertIs(self.outcome(value), Outcome.ACCEPTED)
        value = self.value()
        self.clock.advance(60.01)
        self.assertIs(self.outcome(value), Outcome.STALE)

    def test_wrong_password_with_an_old_nonce_is_wrong_not_stale(self):
        value = self.value(self.client(password="Wrong"))
        self.clock.advance(61)
        self.assertIs(self.outcome(value), Outcome.WRONG)

    def test_stale_challenge_leads_the_client_to_one_retry(self):
        client = self.client()
        self.value(client)
        again = self.value(client, self.server.challenge(stale=True))
        self.assertIn(b"stale=true", self.server.challenge(stale=True)[0])
        self.assertIs(self.outcome(again), Outcome.ACCEPTED)

    def test_nonce_of_somebody_else_is_stale(self):
        foreign = Authenticator(REALM, self.clock.seconds, b"other secret").challenge()
        self.assertIs(self.outcome(self.value(challenges=foreign)), Outcome.STALE)
        for nonce in (b"", b"x", b"!" * 44, b"A" * 43, b"A" * 44):
            made_up = [b'Digest realm="%s", nonce="%s", qop="auth"' % (REALM.encode(), nonce or b"0")]
            self.assertIs(self.outcome(self.value(challenges=made_up)), Outcome.STALE)

    def test_nodes_that_share_a_secret_accept_each_other_s_nonces(self):
        twin = Authenticator(REALM, self.clock.seconds, b"secret")
        self.assertIs(self.outcome(self.value(), server=twin), Outcome.ACCEPTED)

    def test_nonce_from_the_future_is_stale(self):
        value = self.value()
        early = Authenticator(REALM, lambda: 0.0, b"secret")
        self.assertIs(self.outcome(value, server=early), Outcome.STALE)


class ReplayTests(AuthenticatorTestCase):
    def test_replay_is_refused(self):
        value = self.value()
        self.assertIs(self.outcome(value), Outcome.ACCEPTED)
        self.assertIs(self.outcome(value), Outcome.STALE)

    def test_counting_up_is_accepted(self):
        client = self.client()
        values = [self.value(client)] + [client.begin(b"REGISTER", URI)[0][1] for _ in range(100)]
        self.assertEqual({self.outcome(value) for value in values}, {Outcome.ACCEPTED})

    def test_datagrams_that_overtake_each_other_are_accepted_once_each(self):
        client = self.client()
        values = [self.value(client)] + [client.begin(b"REGISTER", URI)[0][1] for _ in range(20)]
        self.assertEqual({self.outcome(value) for value in reversed(values)}, {Outcome.ACCEPTED})
        self.assertEqual({self.outcome(value) for value in values}, {Outcome.STALE})

    def test_count_far_behind_is_refused(self):
        client = self.client()
        first = self.value(client)
        values = [client.begin(b"REGISTER", URI)[0][1] for _ in range(authenticator.WINDOW)]
        self.assertIs(self.outcome(values[-1]), Outcome.ACCEPTED)
        self.assertIs(self.outcome(first), Outcome.STALE)

    def test_wrong_digest_uses_no_count_up(self):
        value = self.value()
        forged = value.replace(b'response="', b'response="0')
        self.assertIs(self.outcome(forged), Outcome.WRONG)
        self.assertIs(self.outcome(value), Outcome.ACCEPTED)

    def test_old_form_without_count_serves_once(self):
        value = self.without_qop()
        self.assertNotIn(b"nc=", value)
        self.assertEqual([self.outcome(value), self.outcome(value)], [Outcome.ACCEPTED, Outcome.STALE])

    def test_another_spelling_of_a_nonce_is_no_new_nonce(self):
        nonce = parse_challenges(self.server.challenge())[0].nonce
        challenge = b'Digest realm="%s", nonce="%s", qop="auth"'
        for spelling in (nonce + b"=", nonce.replace(b"A", b"A!"), b" " + nonce):
            if spelling != nonce:
                value = self.value(challenges=[challenge % (REALM.encode(), spelling)])
                self.assertIs(self.outcome(value), Outcome.STALE)

    def test_memory_is_bounded_and_what_is_forgotten_is_not_accepted_again(self):
        self.patch(authenticator, "MAX_NONCES", 10)
        values = []
        for _ in range(30):
            self.clock.advance(0.1)
            values.append(self.value())
        self.assertEqual({self.outcome(value) for value in values}, {Outcome.ACCEPTED})
        self.assertLessEqual(len(self.server._used), 10)
        self.assertEqual({self.outcome(value) for value in values}, {Outcome.STALE})

    def test_nonces_past_their_age_are_forgotten(self):
        for _ in range(30):
            self.outcome(self.value())
        self.clock.advance(61)
        self.outcome(self.value())
        self.assertEqual(len(self.server._used), 1)


class BadInputTests(AuthenticatorTestCase):
    def test_broken_counts_are_malformed(self):
        value = self.value()
        for broken in (
            value.replace(b"nc=00000001", b"nc=1"),
            value.replace(b"nc=00000001", b"nc=+0000001"),
            value.replace(b"nc=00000001", b"nc=0000000g"),
            value.replace(b"qop=auth", b"qop=auth-int"),
            value.replace(b"cnonce=", b"x="),
        ):
            with self.assertRaises(MalformedMessage):
                self.verify(broken)

    @given(strategies.binary(max_size=200))
    def test_any_bytes_are_wrong_or_malformed(self, value):
        server = Authenticator(REALM, lambda: 0.0, b"secret")
        head = b'Digest username="alice", realm="calltrack.example", uri="x", '
        for whole in (value, b"Digest " + value, head + value, head + b'response="' + value, head + b"nonce=" + value):
            try:
                self.assertIsNot(server.verify(whole, b"REGISTER", lookup).outcome, Outcome.ACCEPTED)
            except MalformedMessage as refused:
                self.assertEqual(refused.status, 400)

    def test_realm_with_quotes_is_quoted(self):
        server = Authenticator('a"b', self.clock.seconds, b"secret")
        self.assertEqual(parse_challenges(server.challenge())[0].realm, b'a"b')
        self.assertEqual(parse_credentials(self.value(challenges=server.challenge()))[b"realm"], b'a"b')
