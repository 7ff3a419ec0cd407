"""The state two user agents share (RFC 3261 section 12; EDGE-CASES 30, 42)."""

from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import MalformedMessage
from calltrack.sip.dialogs import Dialog, behind_nat
from calltrack.sip.flows import Address, Flow
from calltrack.sip.message import parse
from calltrack.sip.uri import parse_uri


def message(start, *lines, contact=b"<sip:peer@198.51.100.7:5070>"):
    head = [
        start,
        b"Via: SIP/2.0/UDP h;branch=z9hG4bK1",
        b"From: <sip:a@a>;tag=from",
        b"To: <sip:b@b>",
        b"Call-ID: c",
        b"CSeq: 5 INVITE",
    ]
    if contact:
        head.append(b"Contact: " + contact)
    return parse(b"\r\n".join((*head, *lines)) + b"\r\n\r\n")


def invite(*lines, **options):
    return message(b"INVITE sip:b@b SIP/2.0", *lines, **options)


def response(*lines, **options):
    answer = message(b"SIP/2.0 200 OK", *lines, **options)
    answer.replace_first(b"to", b"<sip:b@b>;tag=to")
    return answer


def flow(transport="udp", remote=("198.51.100.7", 5060)):
    return Flow(transport, Address("192.0.2.1", 5060), Address(*remote), lambda data, to: None)


def uas(*lines, **options):
    return Dialog.of_server(invite(*lines, **options), b"ours", flow())


def uac(*lines, **options):
    return Dialog.of_client(response(*lines, **options), b"<sip:a@a>;tag=from", b"from", 5, flow())


class MakingTests(SynchronousTestCase):
    def test_uas_side(self):
        """Section 12.1.1."""
        dialog = uas()
        self.assertEqual(dialog.id, (b"c", b"ours", b"from"))
        self.assertEqual((dialog.local, dialog.remote), (b"<sip:b@b>;tag=ours", b"<sip:a@a>;tag=from"))
        self.assertEqual((dialog.remote_cseq, dialog.remote_target), (5, b"sip:peer@198.51.100.7:5070"))

    def test_uac_side(self):
        """Section 12.1.2."""
        dialog = uac()
        self.assertEqual(dialog.id, (b"c", b"from", b"to"))
        self.assertEqual((dialog.local, dialog.remote), (b"<sip:a@a>;tag=from", b"<sip:b@b>;tag=to"))
        self.assertEqual(dialog.local_cseq, 5)
        self.assertLess(dialog.remote_cseq, 0)

    def test_uas_keeps_the_order_of_record_route_and_uac_turns_it_round(self):
        """Sections 12.1.1, 12.1.2."""
        lines = (b"Record-Route: <sip:p1;lr>,<sip:p2;lr>", b"Record-Route: <sip:p3;lr>")
        self.assertEqual(uas(*lines).route_set, (b"<sip:p1;lr>", b"<sip:p2;lr>", b"<sip:p3;lr>"))
        self.assertEqual(uac(*lines).route_set, (b"<sip:p3;lr>", b"<sip:p2;lr>", b"<sip:p1;lr>"))

    def test_without_a_usable_contact_there_is_no_dialog(self):
        for contact in (b"", b"*", b"<tel:+1>", b"<mailto:a@b>", b"<sip:a@b:0>", b'"open'):
            self.assertRaises(MalformedMessage, uas, contact=contact)
            self.assertRaises(MalformedMessage, uac, contact=contact)

    def test_without_a_usable_route_set_there_is_no_dialog(self):
        for route in (b"rubbish", b"<tel:+1>", b"<sip:a@b:0;lr>", b"<sip:p;lr>, <http://x>"):
            self.assertRaises(MalformedMessage, uas, b"Record-Route: " + route)
            self.assertRaises(MalformedMessage, uac, b"Record-Route: " + route)

    def test_headers_in_a_contact_uri_are_not_taken(self):
        """Nothing from the network may add header fields to a request (section 19.1.5)."""
        self.assertEqual(uas(contact=b"<sip:a@b?Route=%3Csip:evil%3E>").remote_target, b"sip:a@b")


class RequestTests(SynchronousTestCase):
    def test_request_has_the_dialogs_identity_and_the_next_cseq(self):
        """Section 12.2.1.1."""
        dialog = uas()
        uri, lines = dialog.lines(b"BYE")
        self.assertEqual(uri, b"sip:peer@198.51.100.7:5070")
        for line in (b"From: <sip:b@b>;tag=ours", b"To: <sip:a@a>;tag=from", b"Call-ID: c", b"CSeq: 1 BYE", b"Max-Forwards: 70"):
            self.assertIn(line, lines)
        self.assertIn(b"CSeq: 2 INFO", dialog.lines(b"INFO")[1])

    def test_ack_has_the_cseq_of_its_invite(self):
        dialog = uac()
        self.assertIn(b"CSeq: 5 ACK", dialog.lines(b"ACK", 5)[1])
        self.assertIn(b"CSeq: 6 BYE", dialog.lines(b"BYE")[1])

    def test_loose_router_gets_the_target_as_request_uri_and_the_routes(self):
        """Section 12.2.1.1."""
        dialog = uas(b"Record-Route: <sip:p1;lr>, <sip:p2;lr>")
        uri, lines = dialog.lines(b"BYE")
        self.assertEqual(uri, b"sip:peer@198.51.100.7:5070")
        self.assertEqual(lines[:2], [b"Route: <sip:p1;lr>", b"Route: <sip:p2;lr>"])
        self.assertEqual(dialog.next_hop().host, b"p1")

    def test_strict_router_gets_itself_as_request_uri_and_the_target_last(self):
        """Section 12.2.1.1; headers of the route's URI are left out."""
        dialog = uas(b"Record-Route: <sip:p1?x=y>, <sip:p2;lr>")
        uri, lines = dialog.lines(b"BYE")
        self.assertEqual(uri, b"sip:p1")
        self.assertEqual(lines[:2], [b"Route: <sip:p2;lr>", b"Route: <sip:peer@198.51.100.7:5070>"])

    def test_target_refresh_changes_where_requests_go(self):
        """Sections 12.2.1.2, 12.2.2."""
        dialog = uas()
        dialog.refresh(invite(contact=b"<sip:moved@203.0.113.9>"))
        self.assertEqual(dialog.lines(b"BYE")[0], b"sip:moved@203.0.113.9")

    def test_refresh_without_a_usable_contact_keeps_the_old_target(self):
        dialog = uas()
        for contact in (b"", b"*", b"<tel:+1>"):
            dialog.refresh(invite(contact=contact))
            self.assertEqual(dialog.remote_target, b"sip:peer@198.51.100.7:5070")

    def test_refresh_does_not_change_the_route_set(self):
        """Section 12.2: the route set is of the dialog's beginning."""
        dialog = uas(b"Record-Route: <sip:p1;lr>")
        dialog.refresh(invite(b"Record-Route: <sip:evil;lr>"))
        self.assertEqual(dialog.route_set, (b"<sip:p1;lr>",))

    def test_2xx_sets_target_and_route_set_of_an_early_dialog(self):
        """Section 13.2.2.4."""
        dialog = uac(b"Record-Route: <sip:p1;lr>")
        dialog.establish(response(b"Record-Route: <sip:p2;lr>,<sip:p3;lr>", contact=b"<sip:desk@203.0.113.9>"))
        self.assertEqual(dialog.route_set, (b"<sip:p3;lr>", b"<sip:p2;lr>"))
        self.assertEqual(dialog.remote_target, b"sip:desk@203.0.113.9")
        dialog.establish(response(b"Record-Route: rubbish"))
        self.assertEqual(dialog.route_set, (b"<sip:p3;lr>", b"<sip:p2;lr>"))


class FlowTests(SynchronousTestCase):
    """Which way requests within a dialog go."""

    def keeps(self, uri, remote=("198.51.100.7", 5060), transport="udp", route=b""):
        dialog = uas(*((b"Record-Route: " + route,) if route else ()))
        dialog.flow = flow(transport, remote)
        return dialog.keeps_flow(parse_uri(uri))

    def test_flow_that_leads_to_the_target_is_kept(self):
        self.assertTrue(self.keeps(b"sip:a@198.51.100.7:5060"))
        self.assertTrue(self.keeps(b"sip:a@198.51.100.7"))

    def test_another_port_of_a_public_peer_is_taken_at_its_word(self):
        self.assertFalse(self.keeps(b"sip:a@198.51.100.7:5070"))

    def test_another_host_is_taken_at_its_word(self):
        self.assertFalse(self.keeps(b"sip:a@203.0.113.9"))
        self.assertFalse(self.keeps(b"sip:a@pbx.example"))

    def test_private_contact_from_a_public_source_means_a_nat(self):
        """EDGE-CASES 42; the flow is the only way there."""
        self.assertTrue(self.keeps(b"sip:a@10.0.0.9:5070", remote=("8.8.4.4", 31337)))
        self.assertTrue(self.keeps(b"sip:a@192.168.1.2", remote=("8.8.4.4", 31337)))

    def test_route_set_of_a_private_hop_is_followed_all_the_same(self):
        self.assertFalse(self.keeps(b"sip:10.0.0.1;lr", remote=("8.8.4.4", 31337), route=b"<sip:10.0.0.1;lr>"))

    def test_tcp_connection_is_kept_whatever_port_the_peer_listens_on(self):
        self.assertTrue(self.keeps(b"sip:a@198.51.100.7:5060;transport=tcp", remote=("198.51.100.7", 40000), transport="tcp"))

    def test_another_transport_is_taken_at_its_word(self):
        self.assertFalse(self.keeps(b"sip:a@198.51.100.7;transport=tcp"))

    def test_what_is_behind_a_nat(self):
        self.assertTrue(behind_nat("10.0.0.9", "8.8.4.4"))
        for named, source in (
            ("10.0.0.9", "10.0.0.9"), ("10.0.0.9", "10.0.0.8"), ("127.0.0.1", "8.8.4.4"), ("8.8.8.8", "8.8.4.4"),
            ("pbx.example", "8.8.4.4"), ("8.8.8.8", "10.0.0.1"),
        ):  # fmt: skip
            self.assertFalse(behind_nat(named, source), (named, source))
