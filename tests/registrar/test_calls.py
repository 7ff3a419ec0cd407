"""Calls to the account: which contacts ring, over which flow, in which order, and what a device may not do."""

from calltrack.calls.outbound import ELSEWHERE
from calltrack.testing.engine import sip_target
from calltrack.testing.peers import Peer, sdp
from calltrack.tracking.model import Addressing, Target
from tests.registrar.case import ACCOUNT, PHONE, SECOND, RegistrarTestCase

ANSWER = sdp(PHONE, 6000)


class AccountCallTestCase(RegistrarTestCase):
    def hang_up(self, trunk, phone):
        trunk.bye()
        trunk.expect(200, "BYE")
        phone.respond(phone.expect("BYE"), 200)

    def talk(self, trunk, phone, **options):
        """A call that the phone has answered; its INVITE."""
        trunk.invite()
        invite = phone.expect("INVITE")
        phone.respond(invite, 200, sdp=ANSWER, **options)
        phone.expect("ACK")
        trunk.expect(200)
        trunk.ack()
        self.network.run(0.1)
        return invite


class RingTests(AccountCallTestCase):
    def test_call_rings_the_device_with_its_contact_as_the_request_uri(self):
        self.start()
        phone, trunk = self.phone(), self.trunk()
        self.registered(phone, contacts=(b"<sip:line1@203.0.113.9:5060;ob>;q=0.5",))
        invite = self.talk(trunk, phone)
        self.assertEqual(invite.uri, b"sip:line1@203.0.113.9:5060;ob")
        self.assertEqual(invite.get(b"x-roistat-phone"), b"11231234567")
        self.hang_up(trunk, phone)
        self.assertEqual((self.engine.record.status, self.engine.record.target), ("ANSWER", "account"))

    def test_every_contact_rings_and_the_first_answer_cancels_the_others(self):
        self.start()
        phones = [self.phone(host) for host in (PHONE, SECOND, "203.0.113.11")]
        for phone in phones:
            self.registered(phone)
        trunk = self.trunk()
        trunk.invite()
        invites = [phone.expect("INVITE") for phone in phones]
        for phone, invite in zip(phones, invites):
            phone.respond(invite, 180)
        trunk.expect(180)
        self.network.run(0.1)
        trunk.inbox.clear()
        phones[1].respond(invites[1], 200, sdp=sdp(SECOND, 6000))
        phones[1].expect("ACK")
        trunk.expect(200)
        trunk.ack()
        for phone, invite in ((phones[0], invites[0]), (phones[2], invites[2])):
            cancel = phone.expect("CANCEL")
            self.assertEqual(b"Reason: " + cancel.get(b"reason"), ELSEWHERE)
            phone.respond(cancel, 200)
            phone.respond(invite, 487)
            phone.expect("ACK")
        self.hang_up(trunk, phones[1])
        self.assertEqual(self.engine.record.status, "ANSWER")

    def test_preference_says_whose_invite_leaves_first_and_all_ring(self):
        self.start()
        desk, mobile = self.phone(PHONE), self.phone(SECOND)
        self.registered(mobile, contacts=(mobile.own_contact + b";q=0.3",))
        self.registered(desk)
        self.assertEqual([contact.flow.remote.host for contact in self.registrar.reachable(1)], [PHONE, SECOND])
        trunk = self.trunk()
        trunk.invite()
        declined, invite = desk.expect("INVITE"), mobile.expect("INVITE")
        desk.respond(declined, 480)
        desk.expect("ACK")
        mobile.respond(invite, 200, sdp=ANSWER)
        mobile.expect("ACK")
        trunk.expect(200)
        trunk.ack()
        self.hang_up(trunk, mobile)

    def test_busy_device_leaves_the_others_ringing(self):
        self.start()
        phones = [self.phone(host) for host in (PHONE, SECOND)]
        for phone in phones:
            self.registered(phone)
        trunk = self.trunk()
        trunk.invite()
        busy, free = (phone.expect("INVITE") for phone in phones)
        phones[0].respond(busy, 486)
        phones[0].expect("ACK")
        phones[1].respond(free, 200, sdp=ANSWER)
        phones[1].expect("ACK")
        trunk.expect(200)
        trunk.ack()
        self.hang_up(trunk, phones[1])

    def test_nobody_registered_is_the_next_target_at_once(self):
        self.start(ACCOUNT, sip_target("203.0.113.20"))
        office, trunk = Peer(self.network, "203.0.113.20"), self.trunk()
        trunk.invite()
        invite = office.expect("INVITE", within=0.1)
        office.respond(invite, 486)
        office.expect("ACK")
        trunk.ack_failure(trunk.expect(486))

    def test_nobody_registered_and_no_other_target_is_told_in_words(self):
        self.start()
        trunk = self.trunk()
        trunk.invite()
        trunk.ack_failure(trunk.expect(480))
        self.assertEqual(self.engine.record.reason, "nobody is registered at the project's SIP account")

    def test_devices_of_another_project_do_not_ring(self):
        self.start(options={"project": 2})
        phone, trunk = self.phone(), self.trunk()
        self.registered(phone)
        trunk.invite()
        trunk.ack_failure(trunk.expect(480))
        self.assertEqual(phone.inbox, [])

    def test_exchange_may_be_called_at_the_dialled_number(self):
        self.start(Target(kind="account", address="", addressing=Addressing(request_user="dialled")))
        exchange, trunk = self.phone(), self.trunk()
        self.registered(exchange, contacts=(b"<sip:s@203.0.113.9:5060>",))
        invite = self.talk(trunk, exchange)
        self.assertEqual(invite.uri, b"sip:11231234567@203.0.113.9:5060")
        self.hang_up(trunk, exchange)

    def test_call_in_progress_outlives_the_account(self):
        self.start()
        phone, trunk = self.phone(), self.trunk()
        self.registered(phone)
        self.talk(trunk, phone)
        self.now(self.accounts.disable(1))
        self.network.run(30)
        self.assertEqual(phone.inbox, [])
        self.hang_up(trunk, phone)

    def test_disabled_account_is_passed_over_by_the_next_call(self):
        self.start(ACCOUNT, sip_target("203.0.113.20"))
        office, phone, trunk = Peer(self.network, "203.0.113.20"), self.phone(), self.trunk()
        self.registered(phone)
        self.now(self.accounts.disable(1))
        self.network.run(0.3)
        trunk.invite()
        office.respond(office.expect("INVITE"), 486)
        office.expect("ACK")
        trunk.ack_failure(trunk.expect(486))
        self.assertEqual(phone.inbox, [])

    def test_one_call_on_many_devices_counts_once_under_the_targets_limit(self):
        self.start(Target(kind="account", address="", max_calls=1))
        phones = [self.phone(host) for host in (PHONE, SECOND)]
        for phone in phones:
            self.registered(phone)
        trunk, other = self.trunk(), Peer(self.network, "198.51.100.8")
        trunk.invite()
        invites = [phone.expect("INVITE") for phone in phones]
        other.invite()
        other.ack_failure(other.expect(486))
        trunk.cancel()
        trunk.expect(200, "CANCEL")
        trunk.ack_failure(trunk.expect(487))
        for phone, invite in zip(phones, invites):
            phone.respond(invite, 180)
            phone.respond(phone.expect("CANCEL"), 200)
            phone.respond(invite, 487)
            phone.expect("ACK")


class FlowTests(AccountCallTestCase):
    """A call goes down the flow that the contact came by."""

    def test_phone_behind_a_nat_is_called_where_its_register_came_from(self):
        self.start()
        phone, trunk = self.phone(port=40123, shown=("192.168.1.5", 5060)), self.trunk()
        self.registered(phone)
        invite = self.talk(trunk, phone)
        self.assertEqual(invite.uri, b"sip:%b@192.168.1.5:5060" % phone.user.encode())
        self.hang_up(trunk, phone)

    def test_device_that_promises_no_symmetry_is_called_where_its_contact_says(self):
        self.start()
        sender, phone, trunk = self.phone(port=6000), Peer(self.network, PHONE, 5080), self.trunk()
        self.registered(sender, contacts=(b"<sip:a@203.0.113.9:5080>",), rport=False)
        self.talk(trunk, phone)
        self.hang_up(trunk, phone)

    def test_contact_at_another_host_is_still_called_where_its_register_came_from(self):
        self.start()
        phone, victim, trunk = self.phone(), Peer(self.network, "198.18.7.7"), self.trunk()
        self.registered(phone, contacts=(b"<sip:a@198.18.7.7:5060>",), rport=False)
        self.talk(trunk, phone)
        self.hang_up(trunk, phone)
        self.assertEqual(victim.heard, [])

    def test_call_goes_over_the_connection_of_the_device(self):
        self.start()
        phone, trunk = self.phone(port=5099, transport="tcp", shown=("192.168.1.5", 5060)), self.trunk()
        self.registered(phone)
        (connection,) = phone.connections
        invite = self.talk(trunk, phone)
        self.assertIn(b"SIP/2.0/TCP", invite.get(b"via"))
        self.hang_up(trunk, phone)
        self.assertEqual(phone.connections, [connection])

    def test_closed_connection_makes_the_contact_unreachable_at_once(self):
        self.start()
        phone, trunk = self.phone(transport="tcp"), self.trunk()
        self.registered(phone)
        self.told()
        phone.connections[0].transport.abortConnection()
        self.network.run(0.01)
        self.assertEqual(self.held(), [])
        self.assertEqual([reason for _, _, reason in self.told()], ["connection closed"])
        trunk.invite()
        trunk.ack_failure(trunk.expect(480, within=0.1))

    def test_new_connection_takes_over_before_the_old_one_closes(self):
        self.start()
        phone, trunk = self.phone(transport="tcp", instance=b"<urn:uuid:1>"), self.trunk()
        self.registered(phone)
        old = phone.connections[0]
        phone.connect()
        self.network.run(0.1)
        self.registered(phone)
        old.transport.abortConnection()
        self.network.run(0.1)
        self.assertEqual(len(self.held()), 1)
        self.talk(trunk, phone)
        self.hang_up(trunk, phone)

    def test_hang_up_by_us_finds_a_phone_behind_a_nat(self):
        self.start()
        phone, trunk = self.phone(port=40123, shown=("192.168.1.5", 5060)), self.trunk()
        self.registered(phone)
        self.talk(trunk, phone)
        trunk.reinvite(sdp("198.51.100.7", direction="sendonly"))
        hold = phone.expect("INVITE")
        phone.respond(hold, 200, sdp=sdp(PHONE, 6000, "recvonly"))
        trunk.expect(200)
        trunk.ack()
        phone.expect("ACK")
        self.hang_up(trunk, phone)

    def test_phone_that_reconnected_may_hold_and_hang_up_over_its_new_connection(self):
        self.start()
        phone, trunk = self.phone(transport="tcp", instance=b"<urn:uuid:1>"), self.trunk()
        self.registered(phone)
        self.talk(trunk, phone)
        phone.connections[0].transport.abortConnection()
        self.network.run(0.1)
        phone.connect()
        self.network.run(0.1)
        self.registered(phone)
        phone.dialog.cseq = 1
        phone.reinvite(sdp(PHONE, 6000, "sendonly"))
        hold = trunk.expect("INVITE")
        trunk.respond(hold, 200, sdp=sdp("198.51.100.7", direction="recvonly"))
        trunk.expect("ACK")
        phone.expect(200)
        phone.ack()
        phone.bye()
        phone.expect(200, "BYE")
        trunk.respond(trunk.expect("BYE"), 200)

    def test_bye_of_the_caller_reaches_a_phone_over_its_new_connection(self):
        self.start()
        phone, trunk = self.phone(transport="tcp", instance=b"<urn:uuid:1>", shown=("192.168.1.5", 5060)), self.trunk()
        self.registered(phone)
        self.talk(trunk, phone)
        phone.connections[0].transport.abortConnection()
        self.network.run(0.1)
        phone.connect()
        self.network.run(0.1)
        self.registered(phone)
        self.hang_up(trunk, phone)

    def test_path_is_the_route_to_the_device(self):
        self.start()
        proxy, trunk = self.phone(), self.trunk()
        path = (b"Path: <sip:203.0.113.9;lr;ob>, <sip:edge.example;lr>", b"Supported: path")
        answer = self.registered(proxy, contacts=(b"<sip:a@10.0.0.7:5060>",), lines=path)
        self.assertEqual(answer.items(b"path"), [b"<sip:203.0.113.9;lr;ob>", b"<sip:edge.example;lr>"])
        invite = self.talk(trunk, proxy)
        self.assertEqual(invite.uri, b"sip:a@10.0.0.7:5060")
        self.assertEqual(invite.items(b"route"), [b"<sip:203.0.113.9;lr;ob>", b"<sip:edge.example;lr>"])
        self.hang_up(trunk, proxy)

    def test_flows_of_one_device_stand_beside_each_other(self):
        self.start()
        supported = (b"Supported: path, outbound",)
        for number, host in ((1, PHONE), (2, SECOND)):
            flow = self.phone(host, instance=b"<urn:uuid:1>")
            contact = flow.own_contact + b";reg-id=%d" % number
            answer = self.registered(flow, contacts=(contact,), lines=supported)
            self.assertEqual((answer.get(b"require"), answer.get(b"flow-timer")), (b"outbound", b"120"))
        self.assertIn(b"reg-id=2", answer.all(b"contact")[1])
        self.registered(self.phone("203.0.113.77", instance=b"<urn:uuid:1>"), contacts=(contact,), lines=supported)
        self.assertEqual([entry.binding.host for entry in self.registrar.locations.of(1)], [PHONE, "203.0.113.77"])

    def test_flow_through_a_proxy_that_keeps_none_is_not_promised(self):
        self.start()
        phone = self.phone(instance=b"<urn:uuid:1>")
        lines = (b"Supported: outbound, path", b"Path: <sip:edge.example;lr>")
        answer = self.registered(phone, contacts=(phone.own_contact + b";reg-id=1",), lines=lines)
        self.assertIsNone(answer.get(b"require"))


class PhoneCallsTests(AccountCallTestCase):
    def invite(self, phone, domain=b"calltrack.example"):
        aor = b"<sip:%b@%b>" % (phone.user.encode(), domain)
        phone.invite("112", from_=aor)
        answer = phone.expect(403)
        phone.ack_failure(answer)
        return answer

    def test_registered_device_can_only_be_called_and_is_told(self):
        self.start()
        phone = self.phone()
        self.registered(phone)
        self.assertIn(b"Only Be Called", self.invite(phone).reason)
        self.assertIn(b"Only Be Called", self.invite(phone, b"192.0.2.1").reason)
        self.assertEqual(self.engine.ledger.finals, [])

    def test_registered_device_is_no_trunk_though_its_address_is_one(self):
        self.start()
        phone = self.phone("198.51.100.99")
        self.registered(phone)
        self.invite(phone)
