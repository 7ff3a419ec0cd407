"""REGISTER as RFC 3261 section 10.3 wants it: what is added, refreshed, removed, listed, refused."""

from tests.registrar.case import PHONE, RegistrarTestCase


class RegisterTests(RegistrarTestCase):
    def test_device_is_registered_and_every_contact_listed(self):
        self.start()
        first, second = self.phone(), self.phone("203.0.113.10", 5062)
        own = b"sip:%b@203.0.113.9:5060" % self.account.user.encode()
        other = b"sip:%b@203.0.113.10:5062" % self.account.user.encode()
        self.assertEqual(self.listed(self.registered(first)), [(own, 3600)])
        self.network.run(10)
        self.assertEqual(self.listed(self.registered(second)), [(own, 3590), (other, 3600)])
        self.assertEqual(self.held(), [own.decode(), other.decode()])
        self.assertEqual([kind for kind, _, _ in self.told()], ["registered", "registered"])

    def test_refresh_is_granted_the_same_again_and_is_no_event(self):
        self.start()
        phone = self.phone()
        for _ in range(3):
            ((_, seconds),) = self.listed(self.registered(phone, 1800))
            self.assertEqual(seconds, 1800)
            self.network.run(900)
        self.assertEqual(len(self.told()), 1)

    def test_asking_without_a_contact_lists_what_is_there(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        self.network.run(100)
        answer = self.registered(phone, None, contacts=())
        self.assertEqual([seconds for _, seconds in self.listed(answer)], [3500])

    def test_expires_zero_removes_the_contact(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        self.told()
        self.assertEqual(self.listed(self.registered(phone, 0)), [])
        self.assertEqual(self.held(), [])
        self.assertEqual(self.told(), [("unregistered", phone.own_contact.decode().strip("<>"), "logged out")])

    def test_contact_parameter_counts_before_the_header(self):
        self.start()
        phone = self.phone()
        answer = self.registered(phone, 600, contacts=(phone.own_contact + b";expires=120", b"<sip:b@203.0.113.9>"))
        self.assertEqual([seconds for _, seconds in self.listed(answer)], [120, 600])
        answer = self.registered(phone, 600, contacts=(phone.own_contact + b";expires=0",))
        self.assertEqual(self.listed(answer), [(b"sip:b@203.0.113.9", 600)])

    def test_star_removes_every_contact(self):
        self.start()
        phone, other = self.phone(), self.phone("203.0.113.10")
        self.registered(phone)
        self.registered(other)
        self.assertEqual(self.listed(self.registered(phone, 0, contacts=(b"*",))), [])
        self.assertEqual(self.held(), [])

    def test_star_needs_expires_zero_and_stands_alone(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        for expires, contacts in ((3600, (b"*",)), (None, (b"*",)), (0, (b"*", phone.own_contact)), (0, (b"*", b"*"))):
            self.assertEqual(phone.register(expires, contacts=contacts).status, 400)
        self.assertEqual(len(self.held()), 1)

    def test_too_brief_an_interval_is_told_the_least(self):
        self.start(min_expires=120)
        phone = self.phone()
        answer = phone.register(119)
        self.assertEqual((answer.status, answer.get(b"min-expires")), (423, b"120"))
        self.assertEqual(self.held(), [])
        self.assertEqual(self.listed(self.registered(phone, 120))[0][1], 120)

    def test_interval_is_shortened_to_the_longest_and_defaults_where_none_is_asked(self):
        self.start(max_expires=1800, default_expires=900)
        phone = self.phone()
        self.assertEqual(self.listed(self.registered(phone, 7200))[0][1], 1800)
        self.assertEqual(self.listed(self.registered(phone, None))[0][1], 900)

    def test_interval_that_is_no_number_is_an_hour(self):
        self.start(default_expires=900)
        phone = self.phone()
        for nonsense in (b"soon", b"-1", b"1e3", b"+60", b"60.5", b"99999999999", "٣٠٠".encode()):
            self.assertEqual(self.listed(self.registered(phone, nonsense))[0][1], 3600)

    def test_preference_and_device_are_kept_and_listed(self):
        self.start()
        phone = self.phone(instance=b"<urn:uuid:1>")
        answer = self.registered(phone, contacts=(phone.own_contact + b";q=0.7",))
        self.assertIn(b';q=0.700;+sip.instance="<urn:uuid:1>"', answer.get(b"contact"))
        self.assertEqual(self.registrar.locations.of(1)[0].binding.device, "Phone 1.0")

    def test_answer_carries_date_and_what_is_supported(self):
        self.start()
        answer = self.registered(self.phone())
        self.assertEqual(answer.get(b"supported"), b"path, outbound")
        self.assertTrue(answer.get(b"date").endswith(b" GMT"))


class BadRegisterTests(RegistrarTestCase):
    """What is refused changes nothing."""

    def refused(self, status, *arguments, **options):
        phone = self.phone()
        self.assertEqual(phone.register(*arguments, **options).status, status)
        self.assertEqual(self.held(), [])

    def test_contact_that_is_no_sip_uri(self):
        self.start()
        for port, contact in enumerate((b"<tel:+12025550143>", b"<http://example.com>", b"<sip:@>", b"<sip:a@b", b'"a" b', b"<>"), 1):
            self.assertEqual(self.phone(port=port).register(contacts=(contact,)).status, 400, contact)
        self.assertEqual(self.held(), [])

    def test_one_bad_contact_spoils_the_request(self):
        self.start()
        self.refused(400, contacts=(b"<sip:a@203.0.113.9>", b"<mailto:a@b>"))

    def test_preference_outside_its_range(self):
        self.start()
        self.refused(400, contacts=(b"<sip:a@203.0.113.9>;q=1.1",))

    def test_more_contacts_in_a_request_than_are_allowed(self):
        self.start(max_contacts=5)
        self.refused(403, contacts=tuple(b"<sip:a%d@h>" % n for n in range(6)))

    def test_thousand_contacts_in_a_line(self):
        self.start()
        self.refused(403, contacts=(b",".join(b"<sip:%d@h>" % n for n in range(1000)),))

    def test_more_contacts_in_the_account_than_are_allowed(self):
        self.start(max_contacts=2)
        phones = [self.phone(port=5060 + n) for n in range(3)]
        answers = [phone.register() for phone in phones]
        self.assertEqual([answer.status for answer in answers], [200, 200, 403])
        self.assertEqual(len(self.held()), 2)
        self.registered(phones[0])  # who is there stays there

    def test_endless_texts(self):
        self.start()
        self.refused(400, contacts=(b"<sip:%b@h>" % (b"a" * 2000),))

    def test_text_that_is_not_utf8(self):
        self.start()
        self.refused(400, contacts=(b"<sip:\xff\xfe@203.0.113.9>",))

    def test_unknown_requirement_is_named(self):
        self.start()
        answer = self.phone().register(lines=(b"Require: gruu, path",))
        self.assertEqual((answer.status, answer.get(b"unsupported")), (420, b"gruu"))

    def test_another_domain(self):
        self.start()
        phone = self.phone()
        self.assertEqual(phone.register(uri=b"sip:other.example").status, 404)
        self.assertEqual(phone.register(to=b"<sip:%b@other.example>" % phone.user.encode()).status, 404)
        self.assertEqual(self.held(), [])

    def test_domain_may_be_written_in_any_case_or_as_our_address(self):
        self.start(domains=("sip.shop.example",))
        for port, host in enumerate((b"CallTrack.Example", b"192.0.2.1", b"sip.shop.example"), 5060):
            phone = self.phone(port=port)
            to = b"<sip:%b@%b>" % (phone.user.encode(), host)
            self.registered(phone, uri=b"sip:" + host, to=to)

    def test_account_of_somebody_else(self):
        self.start()
        self.assertEqual(self.phone().register(to=b"<sip:somebody@calltrack.example>").status, 403)
        self.assertEqual(self.held(), [])

    def test_private_source_is_refused_with_the_reason_where_that_is_set(self):
        self.start(require_public_source=True)
        answer = self.phone("10.1.2.3").register()
        self.assertEqual(answer.status, 403)
        self.assertIn(b"Private Addresses", answer.reason)
        self.assertIn(b"10.1.2.3", answer.reason)
        self.registered(self.phone("8.8.4.4"))

    def test_private_source_is_served_unless_that_is_set(self):
        self.start()
        self.registered(self.phone("10.1.2.3"))


class OrderTests(RegistrarTestCase):
    def test_older_request_of_a_device_changes_nothing(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        for cseq in (phone.cseq, phone.cseq - 1):
            phone.send_register(0, cseq=cseq)
            self.assertEqual(phone.answer().status, 500)
            phone.send_register(0, contacts=(b"*",), cseq=cseq)
            self.assertEqual(phone.answer().status, 500)
        self.assertEqual(len(self.held()), 1)

    def test_order_is_kept_for_each_call_id(self):
        self.start()
        phone = self.phone()
        phone.cseq = 100
        self.registered(phone)
        phone.cseq = 0
        self.registered(phone, 60, call_id=b"after a restart of the phone")
        self.assertEqual(len(self.held()), 1)

    def test_repeated_request_gets_its_answer_again(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        data = phone.send_register()
        first = phone.answer()
        phone.send(data)
        self.assertEqual((first.status, phone.answer().get(b"cseq")), (200, first.get(b"cseq")))


class SameDeviceTests(RegistrarTestCase):
    """A device that comes again is replaced, not doubled; others stay beside it."""

    def test_instance_names_the_device_whatever_its_address(self):
        self.start()
        self.registered(self.phone(port=5060, instance=b"<urn:uuid:1>"))
        (before,) = self.registrar.locations.of(1)
        identity = before.binding.id
        self.registered(self.phone("198.18.0.9", 40000, instance=b"<urn:uuid:1>"))
        (after,) = self.registrar.locations.of(1)
        self.assertEqual((after.binding.id, after.binding.source), (identity, "198.18.0.9:40000"))
        self.assertEqual(len(self.told()), 1)

    def test_two_instances_are_two_devices(self):
        self.start()
        for number in (b"1", b"2"):
            self.registered(self.phone(port=5060 + int(number), instance=b"<urn:uuid:%b>" % number))
        self.assertEqual(len(self.held()), 2)

    def test_call_id_names_the_device_that_comes_from_another_port(self):
        self.start()
        first, again = self.phone(port=5060), self.phone(port=5070)
        again.call_id, again.cseq = first.call_id, 50
        self.registered(first)
        self.registered(again)
        self.assertEqual(self.held(), [again.own_contact.decode().strip("<>")])
        self.assertEqual(len(self.told()), 1)

    def test_one_device_may_register_contacts_one_by_one(self):
        self.start()
        phone = self.phone()
        self.registered(phone, contacts=(b"<sip:a@203.0.113.9:5071>",))
        self.registered(phone, contacts=(b"<sip:a@203.0.113.9:5072>",))
        self.assertEqual(len(self.held()), 2)

    def test_nat_that_changes_the_port_leaves_one_contact(self):
        self.start()
        home = {"shown": ("192.168.1.5", 5060)}
        first, again = self.phone(port=1024, **home), self.phone(port=1025, **home)
        again.call_id, again.cseq = first.call_id, 50
        self.registered(first)
        self.registered(again)
        (entry,) = self.registrar.locations.of(1)
        self.assertEqual(entry.binding.port, 1025)

    def test_phones_of_two_homes_with_one_inner_address_are_two(self):
        self.start()
        for host in (PHONE, "198.18.0.9"):
            self.registered(self.phone(host, shown=("192.168.1.5", 5060)))
        self.assertEqual(len(self.held()), 2)

    def test_device_started_anew_on_its_address_takes_its_own_place(self):
        self.start()
        phone = self.phone()
        self.registered(phone, contacts=(b"<sip:office-0x1@203.0.113.9:5060>",), call_id=b"first run")
        self.registered(phone, contacts=(b"<sip:office-0x2@203.0.113.9:5060>",), call_id=b"second run")
        self.assertEqual(self.held(), ["sip:office-0x2@203.0.113.9:5060"])

    def test_contacts_of_one_request_never_replace_each_other(self):
        self.start()
        phone = self.phone(instance=b"<urn:uuid:1>")
        both = (b'<sip:a@203.0.113.9>;+sip.instance="<urn:uuid:1>"', b'<sips:a@203.0.113.9>;+sip.instance="<urn:uuid:1>"')
        for _ in range(2):
            self.assertEqual(len(self.listed(self.registered(phone, contacts=both))), 2)
        self.assertEqual(len(self.told()), 2)

    def test_equal_uris_are_one_contact(self):
        self.start()
        phone = self.phone()
        self.registered(phone, contacts=(b"<sip:a@203.0.113.9:5060;ob>",))
        self.registered(phone, contacts=(b"<sip:a@203.0.113.9:5060;Transport=UDP;ob>",), call_id=b"x")
        self.registered(phone, contacts=(b"<sip:%61@203.0.113.9:5060;x=1;transport=udp>",))
        self.assertEqual(len(self.held()), 1)

    def test_same_uri_twice_in_a_request_is_one_contact(self):
        self.start()
        answer = self.registered(self.phone(), contacts=(b"<sip:a@203.0.113.9>", b"<sip:a@203.0.113.9>;expires=60"))
        self.assertEqual(self.listed(answer), [(b"sip:a@203.0.113.9", 60)])
