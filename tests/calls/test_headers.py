"""What our own messages say of us: Server or User-Agent, Allow, Supported, Accept and their like stand in each message
that needs them and in no other (RFC 3261 tables 2 and 3, sections 8.2, 11.2, 20; RFC 3262, 3311, 4028, 6086)."""

from msgspec.structs import replace

from calltrack.calls.settings import CallsSettings
from calltrack.sip.session_timer import SessionSettings
from calltrack.testing.engine import TRUNK, sip_target
from tests.calls.case import ANSWER, OFFER, OFFICE, CallTestCase

ALLOW = b"INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK"
SUPPORTED = b"100rel, timer"
# What may be said of ourselves at all; everything else in a message belongs to its call.
OURS = (
    "server", "user-agent", "allow", "supported", "accept", "accept-encoding", "accept-language", "unsupported", "require",
    "min-se", "session-expires", "retry-after", "rseq", "contact",
)  # fmt: skip
CONTACT = b"<sip:11231234567@192.0.2.1:5060>"
RINGING = {"server": b"calltrack", "allow": ALLOW, "contact": CONTACT}
ANSWERED = {"server": b"calltrack", "allow": ALLOW, "supported": SUPPORTED, "contact": CONTACT}
ABLE = {
    "server": b"calltrack",
    "allow": ALLOW,
    "supported": SUPPORTED,
    "accept": b"application/sdp",
    "accept-encoding": b"identity",
    "accept-language": b"en",
}
PLAIN = {"server": b"calltrack"}
CHALLENGE = b'WWW-Authenticate: Digest realm="pbx", nonce="n"'


def said(message):
    """What a message says of its sender, by header."""
    return {name: b", ".join(message.all(name.encode())) for name in OURS if message.all(name.encode())}


class ResponseTests(CallTestCase):
    """Each case is one response of ours; `self.told` compares what it says."""

    def told(self, response, expected):
        self.assertEqual(said(response), expected, response.summary)
        return response

    def refused(self, status, expected, *lines, **options):
        """An INVITE that is refused at once."""
        self.trunk.invite(lines=lines, **options)
        self.trunk.ack_failure(self.told(self.trunk.expect(status), expected))

    def test_invite_that_is_refused_before_a_call_begins(self):
        self.start(sessions=SessionSettings(least=120))
        self.expected_records = 0
        cases = {
            "an extension that is not spoken": (420, {**PLAIN, "unsupported": b"x, y"}, b"Require: x, 100rel, y"),
            "a session that is too short": (422, {**PLAIN, "min-se": b"120"}, b"Supported: timer", b"Session-Expires: 90"),
            "an encoded body": (
                415, {**PLAIN, "accept": b"application/sdp", "accept-encoding": b"identity"}, b"Content-Encoding: gzip",
            ),
            "an answer that cannot be given": (406, PLAIN, b"Accept: text/plain"),
            "a call to replace": (481, PLAIN, b"Replaces: a;to-tag=b;from-tag=c"),
        }  # fmt: skip
        for status, expected, *lines in cases.values():
            self.refused(status, expected, *lines)
        self.refused(416, PLAIN, uri=b"mailto:a@b")

    def test_call_that_is_refused(self):
        self.start()
        self.expected_records = 2
        self.refused(404, PLAIN, number="19990000000")
        self.trunk.invite()
        self.office.respond(self.office.expect("INVITE"), 486)
        self.office.expect("ACK")
        self.trunk.ack_failure(self.told(self.trunk.expect(486), PLAIN))

    def test_stranger(self):
        self.start()
        self.expected_records = 0
        self.office.invite()
        self.office.ack_failure(self.told(self.office.expect(403), PLAIN))

    def test_full_engine(self):
        self.start(calls=CallsSettings(max_calls=1))
        self.expected_records = 2
        self.talk()
        talking = self.trunk.dialog
        self.trunk.invite()
        refused = self.trunk.expect(503)
        self.trunk.ack_failure(refused)
        self.assertEqual(set(said(refused)), {"server", "retry-after"})
        self.trunk.dialog = talking
        self.hang_up()

    def test_requests_outside_a_dialog(self):
        self.start()
        self.expected_records = 0
        dialog = self.trunk.invite(lines=(b"Require: x",))
        self.trunk.ack_failure(self.trunk.expect(420))
        cases = {
            "OPTIONS": (200, ABLE),
            "MESSAGE": (405, {**PLAIN, "allow": ALLOW}),
            "SUBSCRIBE": (405, {**PLAIN, "allow": ALLOW}),
            "PUBLISH": (405, {**PLAIN, "allow": ALLOW}),
            "REGISTER": (405, {**PLAIN, "allow": ALLOW}),
            "NONSENSE": (405, {**PLAIN, "allow": ALLOW}),
            "BYE": (481, PLAIN),
            "PRACK": (481, PLAIN),
            "UPDATE": (481, PLAIN),
            "REFER": (481, PLAIN),
        }
        for method, (status, expected) in cases.items():
            dialog.remote = b"<sip:11231234567@192.0.2.1>"
            self.trunk.request(method, dialog)
            self.told(self.trunk.expect(status, method), expected)

    def test_call_that_is_answered(self):
        self.start()
        self.trunk.invite()
        self.told(self.trunk.expect(100), {})
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.told(self.trunk.expect(180), RINGING)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.told(self.trunk.expect(200, "INVITE"), ANSWERED)
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_call_with_every_extension(self):
        self.start()
        self.trunk.invite(lines=(b"Require: 100rel", b"Supported: timer", b"Session-Expires: 600"))
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        ringing = self.trunk.expect(180)
        number = ringing.get(b"rseq")
        self.told(ringing, {**RINGING, "require": b"100rel", "rseq": number})
        self.trunk.request("PRACK", None, b"RAck: %b 1 INVITE" % number)
        self.told(self.trunk.expect(200, "PRACK"), PLAIN)
        self.office.respond(invite, 200, sdp=ANSWER)
        self.office.expect("ACK")
        accepted = {**ANSWERED, "require": b"timer", "session-expires": b"600;refresher=uac"}
        self.told(self.trunk.expect(200, "INVITE"), accepted)
        self.trunk.ack()
        self.network.run(0.1)
        self.hang_up()

    def test_requests_within_a_call(self):
        self.start()
        self.talk()
        cases = {
            "OPTIONS": (200, ABLE),
            "UPDATE": (200, ANSWERED),
            "MESSAGE": (405, {**PLAIN, "allow": ALLOW}),
            "SUBSCRIBE": (405, {**PLAIN, "allow": ALLOW}),
            "REFER": (603, PLAIN),
            "PRACK": (481, PLAIN),
        }
        for method, (status, expected) in cases.items():
            self.trunk.request(method)
            self.told(self.trunk.expect(status, method), expected)
        self.trunk.request("UPDATE", None, b"Require: x")
        self.told(self.trunk.expect(420), {**PLAIN, "unsupported": b"x"})
        self.trunk.request("INFO", body=b"x")
        self.office.respond(self.office.expect("INFO"), 200)
        self.told(self.trunk.expect(200, "INFO"), PLAIN)
        self.trunk.bye()
        self.told(self.trunk.expect(200, "BYE"), PLAIN)
        self.office.respond(self.office.expect("BYE"), 200)

    def test_transfer_that_is_allowed(self):
        self.start(transfers=(sip_target(OFFICE),))
        self.talk()
        self.office.request("REFER", None, b"Refer-To: <sip:office@%b>" % OFFICE.encode())
        accepted = self.office.expect(202)
        ours = b"<sip:14155550100@192.0.2.1:5060>"
        self.told(accepted, {**PLAIN, "contact": ours})
        notify = self.office.expect("NOTIFY")
        self.told(notify, {"contact": ours})
        self.assertTrue(notify.get(b"event") and notify.get(b"subscription-state"))
        self.office.respond(notify, 200)
        talking, invite = self.office.dialog, self.office.expect("INVITE")
        self.assertEqual(b", ".join(invite.all(b"allow")), b"REFER, " + ALLOW)
        self.office.respond(invite, 486)
        self.office.expect("ACK")
        self.office.dialog = talking
        self.office.respond(self.office.expect("NOTIFY"), 200)
        self.hang_up()

    def test_challenge_to_a_trunk_that_must_prove_itself(self):
        self.expected_records = 0
        self.start(trunks=(replace(TRUNK, inbound_username="their", inbound_password="word"),))
        self.trunk.invite()
        self.trunk.ack_failure(self.told(self.trunk.expect(401), PLAIN))

    def test_changes_within_a_call(self):
        self.start()
        self.talk()
        for status, expected in ((200, ANSWERED), (488, PLAIN), (401, PLAIN), (422, PLAIN)):
            self.trunk.reinvite(OFFER)
            lines = (CHALLENGE,) if status == 401 else ()
            self.office.respond(self.office.expect("INVITE"), status, *lines, sdp=ANSWER if status == 200 else b"")
            self.office.expect("ACK")
            response = self.trunk.expect(200 if status == 200 else 488)
            self.told(response, expected)
            self.trunk.ack() if status == 200 else self.trunk.ack_failure(response)
            self.network.run(0.1)
        self.hang_up()

    def test_cancelled_call(self):
        self.start()
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        self.office.respond(invite, 180)
        self.trunk.expect(180)
        self.trunk.cancel()
        self.told(self.trunk.expect(200, "CANCEL"), PLAIN)
        self.trunk.ack_failure(self.told(self.trunk.expect(487), PLAIN))
        self.office.respond(self.office.expect("CANCEL"), 200)
        self.office.respond(invite, 487)
        self.office.expect("ACK")


class RequestTests(CallTestCase):
    def test_requests_of_ours_say_what_table_2_asks_for(self):
        self.start()
        contact = b"<sip:14155550100@192.0.2.1:5060>"
        self.trunk.invite()
        invite = self.office.expect("INVITE")
        able = {"user-agent": b"calltrack", "allow": ALLOW, "contact": contact}
        self.assertEqual(said(invite), {**able, "supported": SUPPORTED, "session-expires": b"1800"})
        self.office.respond(invite, 200, sdp=ANSWER)
        self.assertEqual(said(self.office.expect("ACK")), {})
        self.trunk.expect(200)
        self.trunk.ack()
        self.network.run(0.1)
        self.trunk.reinvite(OFFER)
        change = self.office.expect("INVITE")
        self.assertEqual(said(change), {**able, "supported": b"timer"})
        self.office.respond(change, 200, sdp=ANSWER)
        self.office.expect("ACK")
        self.trunk.expect(200)
        self.trunk.ack()
        self.trunk.bye()
        self.trunk.expect(200, "BYE")
        farewell = self.office.expect("BYE")
        self.assertEqual(said(farewell), {})
        self.office.respond(farewell, 200)

