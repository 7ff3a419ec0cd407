"""Who may register: challenges, credentials used once, guesses slowed and shut out, scanners without an answer."""

import ipaddress

from calltrack.calls.settings import TrunkSettings
from calltrack.registrar import guard, offers
from calltrack.sip import challenger
from tests.registrar.case import PASSWORD, PHONE, RegistrarTestCase


def algorithms(answer):
    return [b"SHA-256" if b"SHA-256" in value else b"MD5" for value in answer.all(b"www-authenticate")]


class ChallengeTests(RegistrarTestCase):
    def test_challenge_offers_sha256_first_and_md5(self):
        self.start()
        phone = self.phone()
        phone.send_register()
        answer = phone.answer()
        self.assertEqual((answer.status, algorithms(answer)), (401, [b"SHA-256", b"MD5"]))

    def test_either_algorithm_alone_is_enough(self):
        self.start()
        for port, algorithm in enumerate((b"SHA-256", b"MD5"), 5060):
            self.registered(self.phone(port=port, algorithms=(algorithm,)))

    def test_nothing_is_kept_of_who_has_not_proved_a_password(self):
        self.start()
        for number in range(50):
            phone = self.phone(f"203.0.113.{number}", password="WrongPass1")
            self.assertEqual(phone.register().status, 401)
        self.assertEqual(self.engine.agent.layer.servers, {})
        self.assertEqual(self.held(), [])

    def test_new_count_of_a_nonce_needs_no_challenge(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        phone.send_register()
        self.assertEqual(phone.answer().status, 200)

    def test_credentials_serve_once(self):
        self.start()
        phone = self.phone()
        phone.send_register()
        credentials = phone.credentials_for(phone.answer())
        phone.send_register(credentials=credentials)
        self.assertEqual(phone.answer().status, 200)
        phone.send_register(0, credentials=credentials)
        answer = phone.answer()
        self.assertEqual(answer.status, 401)
        self.assertIn(b"stale=true", answer.get(b"www-authenticate"))
        self.assertEqual(len(self.held()), 1)

    def test_old_nonce_is_stale_and_a_new_one_serves(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        self.network.run(61)
        phone.send_register()
        answer = phone.answer()
        self.assertIn(b"stale=true", answer.get(b"www-authenticate"))
        phone.send_register(credentials=phone.credentials_for(answer))
        self.assertEqual(phone.answer().status, 200)

    def test_unknown_user_and_wrong_password_get_one_answer(self):
        self.start()
        known = self.phone("203.0.113.10", password="WrongPass1").register()
        unknown = self.phone("203.0.113.11", user="nobody", password=PASSWORD).register()
        for answer in (known, unknown):
            self.assertEqual((answer.status, answer.reason), (401, b"Unauthorized"))
        self.assertEqual(
            [name for name in known.names()],
            [name for name in unknown.names()],
        )
        self.assertEqual(algorithms(known), algorithms(unknown))

    def test_credentials_for_another_realm_are_no_guess_and_are_challenged(self):
        self.start()
        phone = self.phone()
        other = b'Digest username="u", realm="other", nonce="n", uri="sip:other", response="%b"' % (b"0" * 32)
        for _ in range(guard.FAILURES + 1):
            phone.send_register(credentials=[(b"Authorization", other)])
            self.assertEqual(phone.answer().status, 401)
        self.registered(phone)

    def test_credentials_that_cannot_be_read(self):
        self.start()
        phone = self.phone()
        for value in (b'Digest realm="calltrack.example", qop=auth, nc=1', b"Digest \x01", b"="):
            phone.send_register(credentials=[(b"Authorization", value)])
            self.assertEqual(phone.answer().status, 400)

    def test_password_that_is_changed_counts_at_once(self):
        self.start()
        self.now(self.accounts.set_password(1, "BetterPass2"))
        self.network.run(0.3)
        self.assertEqual(self.phone().register().status, 401)
        self.registered(self.phone(port=5062, password="BetterPass2"))

    def test_account_without_a_password_lets_nobody_in(self):
        self.start()
        self.now(self.accounts.disable(1))
        self.network.run(0.3)
        self.assertEqual(self.phone().register().status, 401)


class OldDeviceTests(RegistrarTestCase):
    """Devices that give up at a challenge with an algorithm they do not know."""

    def test_device_that_comes_back_without_credentials_is_offered_md5_alone(self):
        self.start()
        phone = self.phone(algorithms=(b"MD5",))
        phone.send_register()
        self.assertEqual(algorithms(phone.answer()), [b"SHA-256", b"MD5"])
        self.network.run(2)
        phone.send_register()
        answer = phone.answer()
        self.assertEqual(algorithms(answer), [b"MD5"])
        phone.send_register(credentials=phone.credentials_for(answer))
        self.assertEqual(phone.answer().status, 200)

    def test_device_that_answered_md5_is_offered_md5_alone_from_then_on(self):
        self.start()
        phone = self.phone(algorithms=(b"MD5",))
        self.registered(phone)
        self.network.run(61)
        phone.send_register()  # with credentials whose nonce is old
        self.assertEqual(algorithms(phone.answer()), [b"MD5"])

    def test_device_that_answered_is_offered_the_same_again(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        self.network.run(2)
        phone.send_register(credentials=[])
        self.assertEqual(algorithms(phone.answer()), [b"SHA-256", b"MD5"])

    def test_device_may_come_back_with_another_port_and_call_id(self):
        self.start()
        offered = []
        for port in (5060, 5061):
            phone = self.phone(port=port)
            phone.send_register(credentials=[])
            offered.append(algorithms(phone.answer()))
            self.network.run(2)
        self.assertEqual(offered, [[b"SHA-256", b"MD5"], [b"MD5"]])

    def test_device_without_md5_gets_both_again_in_turn(self):
        self.start()
        phone = self.phone()
        offered = []
        for _ in range(3):
            phone.send_register(credentials=[])
            offered.append(len(phone.answer().all(b"www-authenticate")))
            self.network.run(2)
        self.assertEqual(offered, [2, 1, 2])

    def test_who_asks_again_at_once_has_not_given_up(self):
        self.start()
        phone = self.phone()
        for _ in range(3):
            phone.send_register(credentials=[])
            self.assertEqual(algorithms(phone.answer()), [b"SHA-256", b"MD5"])

    def test_retransmission_gets_the_same_offer(self):
        self.start()
        phone = self.phone()
        data = phone.send_register()
        phone.send(data)
        self.assertEqual([algorithms(phone.answer()) for _ in range(2)], [[b"SHA-256", b"MD5"]] * 2)

    def test_device_that_is_known_to_need_it_never_fails(self):
        self.start()
        for port, product in enumerate((b"baresip v1.0.0 (x86_64/linux)", b"Asterisk PBX 16.28", b"kamailio (5.6.3)"), 5060):
            phone = self.phone(port=port, algorithms=(b"MD5",), product=product)
            phone.send_register()
            self.assertEqual(algorithms(phone.answer()), [b"MD5"])

    def test_memory_of_devices_is_bounded(self):
        self.start()
        phone = self.phone()
        self.patch(guard, "CHALLENGES", 10**6)
        self.patch(offers, "MAX_DEVICES", 10)
        for number in range(20):
            phone.send_register(to=b"<sip:%d@calltrack.example>" % number)
            phone.answer()
        self.assertEqual(len(self.registrar.offers), 10)


class GuessingTests(RegistrarTestCase):
    def guess(self, phone, within=2.0):
        """One wrong password; the seconds until it was answered, None when it was not."""
        phone.send_register(credentials=[])
        if not self.network.run(1.0, lambda: phone.inbox):
            return None
        credentials = phone.credentials_for(phone.answer())
        began = self.clock.seconds()
        phone.send_register(credentials=credentials)
        if not self.network.run(within, lambda: phone.inbox):
            return None
        phone.answer()
        return round(self.clock.seconds() - began - 0.002, 1)

    def test_guesses_are_answered_later_and_later_then_not_at_all(self):
        self.start()
        phone = self.phone(password="WrongPass1")
        waits = [self.guess(phone) for _ in range(guard.FAILURES)]
        self.assertEqual(waits, [0, 0, 0, 0.3, 0.5, 1.0, 1.0, 1.0, 1.0, 0])
        self.assertIsNone(self.guess(phone))

    def test_source_that_is_shut_out_gets_no_answer_for_its_time_even_with_the_right_password(self):
        self.start()
        guesser, right = self.phone(password="WrongPass1"), self.phone(port=5062)
        for _ in range(guard.FAILURES):
            self.guess(guesser)
        right.send_register()
        right.expect_nothing(guard.SHUT_OUT - 5)
        self.network.run(5)
        self.registered(right)

    def test_other_sources_are_served_meanwhile(self):
        self.start()
        guesser = self.phone(password="WrongPass1")
        for _ in range(guard.FAILURES):
            self.guess(guesser)
        self.registered(self.phone("203.0.113.200"))

    def test_failures_older_than_a_minute_are_forgotten(self):
        self.start()
        phone = self.phone(password="WrongPass1")
        for _ in range(3 * guard.FAILURES):
            self.assertIsNotNone(self.guess(phone))
            self.network.run(guard.WINDOW / (guard.FAILURES - 2))

    def test_retransmission_of_a_guess_is_one_guess(self):
        self.start()
        phone = self.phone(password="WrongPass1")
        for _ in range(guard.FREE):
            self.guess(phone)
        phone.send_register(credentials=[])
        data = phone.send_register(credentials=phone.credentials_for(phone.answer()))
        for _ in range(guard.FAILURES):
            phone.send(data)
        self.network.run(2)
        self.assertEqual(phone.count(401), 2 * guard.FREE + 2)
        phone.inbox.clear()
        self.assertIsNotNone(self.guess(phone))

    def test_trunk_is_never_shut_out(self):
        self.start(options={"trunks": [TrunkSettings(name="p", sources=(ipaddress.ip_network(PHONE),))]})
        phone = self.phone(password="WrongPass1")
        self.assertEqual([self.guess(phone) for _ in range(30)], [0] * 30)

    def test_challenges_without_end_are_left_out(self):
        self.patch(guard, "CHALLENGES", 10)
        self.start()
        phone = self.phone()
        for number in range(100):
            phone.send_register(credentials=[], call_id=b"%d" % number)
        self.network.run(0.1)
        self.assertEqual(len(phone.inbox), 10)
        phone.inbox.clear()
        self.network.run(1)
        self.registered(phone)

    def test_who_answers_challenges_rightly_gets_more_of_them(self):
        self.patch(guard, "CHALLENGES", 5)
        self.start(max_contacts=50)
        for port in range(6000, 6020):
            self.registered(self.phone(port=port))

    def test_late_answers_are_bounded(self):
        self.patch(challenger, "MAX_LATE", 2)
        self.start()
        phones = [self.phone(port=5060 + n, password="WrongPass1") for n in range(9)]
        for phone in phones:
            phone.send_register(credentials=[])
        for phone in phones:
            phone.send_register(credentials=phone.credentials_for(phone.answer()))
        self.network.run(5)
        self.assertEqual(sum(len(phone.inbox) for phone in phones), guard.FREE + 2)


    def test_log_tells_of_a_source_once_a_minute(self):
        self.start()
        watch = self.registrar.guard
        self.assertEqual([watch.worth_telling(PHONE) for _ in range(3)], [True, False, False])
        self.network.run(61)
        self.assertTrue(watch.worth_telling(PHONE))


class ScannerTests(RegistrarTestCase):
    def test_scanner_gets_no_answer(self):
        self.start()
        for number, product in enumerate((b"friendly-scanner", b"sipvicious", b"SIPVicious 0.3")):
            phone = self.phone(port=6000 + number, product=product)
            phone.send_register()
            phone.expect_nothing()

    def test_flood_of_sources_is_forgotten_in_time(self):
        self.patch(guard, "MAX_SOURCES", 50)
        self.start()
        for number in range(200):
            self.registrar.guard.failed(f"10.0.{number // 250}.{number % 250}", number)
            self.registrar.guard.may_ask(f"10.0.{number // 250}.{number % 250}")
        self.assertEqual(len(self.registrar.guard), 100)

    def test_subscriber_with_many_ipv6_addresses_is_one_source(self):
        self.start()
        watch = self.registrar.guard
        for number in range(guard.FAILURES):
            watch.failed(f"2001:db8:1:2::{number:x}", number + 1)
        self.assertTrue(watch.shut_out("2001:db8:1:2:ffff::1"))
        self.assertFalse(watch.shut_out("2001:db8:1:3::1"))
