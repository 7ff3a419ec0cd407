"""Digest authentication, the client's side: RFC 7616, RFC 8760, RFC 2617 and RFC 2069."""

import hashlib

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MalformedMessage
from calltrack.sip.digest import (
    Challenge,
    Credentials,
    DigestClient,
    digest_response,
    parse_challenges,
    parse_credentials,
    user_hash,
)

URI = b"sip:+74951234567@provider.example"
MD5 = b'Digest realm="provider.example", nonce="n1", algorithm=MD5, qop="auth"'
SHA256 = b'Digest realm="provider.example", nonce="n2", algorithm=SHA-256, qop="auth"'


def md5(text):
    return hashlib.md5(text).hexdigest().encode()


def challenge(nonce=b"n1", realm=b"provider.example", more=b', qop="auth"'):
    return b'Digest realm="%s", nonce="%s"%s' % (realm, nonce, more)


class SumsTests(SynchronousTestCase):
    def test_example_of_rfc_7616_section_3_9_1(self):
        expected = {
            b"MD5": b"8ca523f5e9506fed4657c9700eebdbec",
            b"SHA-256": b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        }
        for algorithm, response in expected.items():
            self.assertEqual(
                digest_response(
                    algorithm,
                    user_hash(algorithm, b"Mufasa", b"http-auth@example.org", b"Circle of Life"),
                    b"GET",
                    b"/dir/index.html",
                    b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                    b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                    b"00000001",
                ),
                response,
            )

    def test_example_of_rfc_2617_section_3_5(self):
        ha1 = user_hash(b"", b"Mufasa", b"testrealm@host.com", b"Circle Of Life")
        nonce = b"dcd98b7102dd2f0e8b11d0f600bfb0c093"
        response = digest_response(b"", ha1, b"GET", b"/dir/index.html", nonce, b"0a4f113b", b"00000001")
        self.assertEqual(response, b"6629fae49393a05397450978507c4ef1")

    def test_without_quality_of_protection_the_form_is_that_of_rfc_2069(self):
        ha1 = user_hash(b"MD5", b"u", b"r", b"p")
        expected = md5(ha1 + b":n:" + md5(b"INVITE:" + URI))
        self.assertEqual(digest_response(b"MD5", ha1, b"INVITE", URI, b"n"), expected)

    def test_session_algorithms_mix_the_nonces_into_the_secret(self):
        ha1 = user_hash(b"MD5-sess", b"u", b"r", b"p")
        session = md5(ha1 + b":n:c")
        expected = md5(session + b":n:00000001:c:auth:" + md5(b"INVITE:" + URI))
        self.assertEqual(digest_response(b"MD5-sess", ha1, b"INVITE", URI, b"n", b"c", b"00000001"), expected)

    def test_sha_512_256_is_not_truncated_sha_512(self):
        expected = hashlib.new("sha512_256", b"u:r:p").hexdigest().encode()
        self.assertEqual(user_hash(b"SHA-512-256", b"u", b"r", b"p"), expected)


class ChallengeTests(SynchronousTestCase):
    def test_parameters_are_read_in_any_order_case_and_spacing(self):
        value = b'dIgEsT\tQOP="auth-int , AUTH",NONCE = "n" ,  Opaque="",algorithm=sha-256,  REALM="r", domain="sip:x"'
        self.assertEqual(parse_challenges([value]), [Challenge(b"r", b"n", b"sha-256", True, b"")])

    def test_quoted_strings_may_hold_commas_quotes_and_backslashes(self):
        value = rb'Digest realm="a, \"b\" = \\c", nonce="n, algorithm=none"'
        self.assertEqual(parse_challenges([value]), [Challenge(b'a, "b" = \\c', b"n, algorithm=none", qop=False)])

    def test_challenges_joined_by_commas_are_parted(self):
        joined = MD5 + b", " + SHA256 + b',Basic realm="x"'
        self.assertEqual(parse_challenges([joined]), parse_challenges([MD5, SHA256]))

    def test_other_schemes_and_unknown_algorithms_are_left_out(self):
        values = [
            b'Basic realm="x"',
            b"Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa+gJDAi==",
            b'Digest realm="r", nonce="n", algorithm=AKAv1-MD5',
            b'Digest realm="r", nonce="n", qop="auth-int"',
            MD5,
        ]
        self.assertEqual(len(parse_challenges(values)), 1)

    def test_first_of_a_repeated_parameter_counts(self):
        self.assertEqual(parse_challenges([MD5 + b', nonce="other"'])[0].nonce, b"n1")

    def test_parameters_without_quotes_or_commas_are_understood(self):
        found = parse_challenges([b'Digest realm="r" nonce=abc/== qop=auth'])
        self.assertEqual(found, [Challenge(b"r", b"abc/==")])

    def test_broken_challenges_are_malformed(self):
        for value in (
            b'Digest realm="r',
            b'Digest realm="r", nonce="n\\"',
            b'Digest realm="r"',
            b'Digest nonce="n"',
            b'Digest realm="r", nonce=""',
            b"Digest",
            b"=",
            b'"Digest"',
            b'Digest realm="r", nonce="n\r\nVia: x"',
            b'Digest realm="r", nonce="n\x00"',
            b'realm="r", nonce="n"',
        ):
            with self.assertRaises(MalformedMessage, msg=value):
                parse_challenges([value])

    def test_challenges_read_from_one_response_are_bounded(self):
        self.assertLessEqual(len(parse_challenges([MD5] * 1000)), 8)

    @given(strategies.binary(max_size=200))
    def test_any_bytes_are_read_or_malformed(self, value):
        for whole in (value, b"Digest " + value, MD5 + value):
            try:
                self.assertIsInstance(parse_challenges([whole]), list)
            except MalformedMessage as refused:
                self.assertEqual(refused.status, 400)

    def test_credentials_are_read_back(self):
        [(_, value)] = client().answer(b"INVITE", URI, 407, [MD5])
        params = parse_credentials(value)
        self.assertEqual((params[b"username"], params[b"uri"], params[b"nc"]), (b"alice", URI, b"00000001"))
        self.assertEqual(parse_credentials(b"Basic YTpi"), {})


def client(username="alice", password="secret", **options):
    return DigestClient(Credentials(username, password, **options), cnonce=lambda: b"c0")


class AnswerTests(SynchronousTestCase):
    def setUp(self):
        self.client = client()

    def answer(self, *challenges, status=407, method=b"INVITE", others=()):
        return self.client.answer(method, URI, status, list(challenges), others)

    def params(self, headers, at=0):
        return parse_credentials(headers[at][1])

    def test_answer_verifies_with_the_password(self):
        params = self.params(self.answer(SHA256))
        expected = digest_response(
            b"SHA-256",
            user_hash(b"SHA-256", b"alice", b"provider.example", b"secret"),
            b"INVITE",
            URI,
            b"n2",
            b"c0",
            b"00000001",
        )
        self.assertEqual(params[b"response"], expected)
        self.assertEqual((params[b"qop"], params[b"algorithm"]), (b"auth", b"SHA-256"))

    def test_status_says_which_header(self):
        self.assertEqual(self.answer(MD5, status=401)[0][0], b"Authorization")
        self.assertEqual(client().answer(b"INVITE", URI, 407, [MD5])[0][0], b"Proxy-Authorization")

    def test_strongest_known_algorithm_is_answered(self):
        self.assertEqual(self.params(self.answer(MD5, SHA256))[b"nonce"], b"n2")
        strong = challenge(b"n3", more=b", algorithm=SHA-512-256, qop=auth")
        self.assertEqual(self.params(client().answer(b"INVITE", URI, 401, [MD5, strong, SHA256]))[b"nonce"], b"n3")

    def test_algorithm_without_a_stored_hash_is_passed_over(self):
        only_md5 = DigestClient(Credentials("alice", ha1={"MD5": "A" * 32}))
        self.assertEqual(self.params(only_md5.answer(b"INVITE", URI, 401, [SHA256, MD5]))[b"nonce"], b"n1")
        self.assertIsNone(DigestClient(Credentials("alice")).answer(b"INVITE", URI, 401, [SHA256]))

    def test_credentials_of_one_realm_answer_no_other(self):
        elsewhere = client(realm="elsewhere.example")
        self.assertIsNone(elsewhere.answer(b"INVITE", URI, 401, [MD5]))

    def test_each_realm_is_answered(self):
        headers = self.answer(challenge(), challenge(b"x", realm=b"second.example"))
        self.assertEqual([parse_credentials(value)[b"realm"] for _, value in headers],
                         [b"provider.example", b"second.example"])  # fmt: skip

    def test_challenges_of_proxy_and_server_in_one_response_are_both_answered(self):
        headers = self.answer(MD5, others=[challenge(b"w")], status=407)
        self.assertEqual([name for name, _ in headers], [b"Proxy-Authorization", b"Authorization"])

    def test_challenge_by_the_server_after_the_proxy_keeps_the_proxy_s_answer(self):
        self.answer(MD5, status=407)
        headers = dict(self.answer(challenge(b"w"), status=401))
        self.assertEqual(parse_credentials(headers[b"Proxy-Authorization"])[b"nc"], b"00000002")
        self.assertEqual(parse_credentials(headers[b"Authorization"])[b"nc"], b"00000001")

    def test_opaque_comes_back_and_texts_are_quoted(self):
        awkward = client(username='al"ice\\').answer(b"INVITE", URI, 401, [challenge(more=rb', opaque="o\"x"')])
        self.assertIn(rb'username="al\"ice\\"', awkward[0][1])
        self.assertIn(rb'opaque="o\"x"', awkward[0][1])

    def test_line_ends_in_a_user_name_never_reach_the_header(self):
        value = client(username="al\r\nVia: x").answer(b"INVITE", URI, 401, [MD5])[0][1]
        self.assertNotIn(b"\r", value)
        self.assertNotIn(b"\n", value)

    def test_old_peers_get_neither_count_nor_client_nonce(self):
        params = self.params(self.answer(challenge(more=b"")))
        self.assertFalse({b"nc", b"cnonce", b"qop", b"algorithm"} & set(params))

    def test_session_algorithm_keeps_its_client_nonce(self):
        cnonces = [b"first", b"second"]
        self.client = DigestClient(Credentials("alice", "secret"), cnonce=lambda: cnonces.pop(0))
        self.answer(challenge(more=b", algorithm=MD5-sess"))
        again = parse_credentials(self.client.begin(b"BYE", URI)[0][1])
        self.assertEqual(again[b"cnonce"], b"first")

    def test_password_is_not_shown(self):
        self.assertNotIn("secret", repr(Credentials("alice", "secret", ha1={"MD5": "secret"})))


class StopTests(SynchronousTestCase):
    def setUp(self):
        self.client = client()

    def answer(self, nonce, more=b"", method=b"INVITE"):
        return self.client.answer(method, URI, 407, [challenge(nonce) + more])

    def test_same_nonce_again_stops(self):
        self.assertIsNotNone(self.answer(b"n1"))
        self.assertIsNone(self.answer(b"n1"))

    def test_same_nonce_called_stale_stops(self):
        self.answer(b"n1")
        self.assertIsNone(self.answer(b"n1", b", stale=true"))

    def test_new_nonce_is_answered_once(self):
        self.answer(b"n1")
        self.assertIsNotNone(self.answer(b"n2", b", stale=true"))
        self.assertIsNone(self.answer(b"n3", b", stale=true"))

    def test_going_back_to_the_first_nonce_stops(self):
        self.answer(b"n1")
        self.answer(b"n2")
        self.assertIsNone(self.answer(b"n1"))

    def test_nothing_that_can_be_answered_stops(self):
        self.assertIsNone(self.client.answer(b"INVITE", URI, 401, []))
        self.assertIsNone(self.client.answer(b"INVITE", URI, 401, [b'Basic realm="x"']))
        self.assertIsNone(self.client.answer(b"INVITE", URI, 401, [b'Digest realm="']))

    def test_known_nonce_counts_up_over_requests(self):
        self.assertEqual(self.client.begin(b"INVITE", URI), [])
        counts = [parse_credentials(self.answer(b"n1")[0][1])[b"nc"]]
        for method in (b"INVITE", b"BYE"):
            counts.append(parse_credentials(self.client.begin(method, URI)[0][1])[b"nc"])
        self.assertEqual(counts, [b"00000001", b"00000002", b"00000003"])

    def test_new_nonce_starts_counting_anew(self):
        self.answer(b"n1")
        self.assertEqual(parse_credentials(self.answer(b"n2")[0][1])[b"nc"], b"00000001")

    def test_nonce_that_never_changes_serves_each_request_once(self):
        self.answer(b"n1")
        headers = self.answer(b"n1", method=b"BYE")
        self.assertEqual(parse_credentials(headers[0][1])[b"nc"], b"00000002")
        self.assertIsNone(self.answer(b"n1", method=b"BYE"))

    def test_begun_request_whose_nonce_went_stale_is_answered_once(self):
        self.answer(b"n1")
        self.client.begin(b"BYE", URI)
        self.assertIsNotNone(self.answer(b"n2", b", stale=true", method=b"BYE"))
        self.assertIsNone(self.answer(b"n3", b", stale=true", method=b"BYE"))

    def test_ever_new_realms_stop(self):
        answers = [self.client.answer(b"INVITE", URI, 401, [challenge(realm=b"r%d" % number)]) for number in range(20)]
        self.assertIsNone(answers[-1])
        self.assertLessEqual(len(self.client.begin(b"BYE", URI)), 8)
