"""Types of events, and what records give rise to."""

import json

import msgspec
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from calltrack.calls.standing import PeerEvent
from calltrack.events.derived import of_binding, of_call, of_peer, of_pool
from calltrack.events.model import TYPES, UnknownEvent, decode, encode
from calltrack.testing.account_contract import binding
from calltrack.testing.store_contract import call_record
from calltrack.tracking.model import Attribution, MediaFigures, NumberAlert, PoolExhausted, StreamFigures

ANSWERED = call_record(
    "a",
    scenario=3,
    caller="74951234567",
    trunk="provider",
    target="sip:office@example.com",
    ringing=1_795_457_000_200,
    answered=1_795_457_001_000,
    ended=1_795_457_009_999,
    duration=9.876,
    waiting_time=0.877,
    answer_duration=8.999,
    status="ANSWER",
    hangup="target",
    sip_code=200,
    q850=16,
    attribution=Attribution(visit=17, marker="ad_1", reason="exact lease"),
    target_call=True,
    new_caller=True,
    cost=0.02,
    currency="USD",
    media=MediaFigures(caller=StreamFigures(packets=5), verdict="target-silent"),
)


class ModelTests(SynchronousTestCase):
    def test_every_event_of_a_call_survives_json(self):
        for event in of_call(ANSWERED):
            self.assertEqual(decode(encode(event)), event)
            fields = json.loads(encode(event))
            self.assertEqual((fields["type"], fields["version"], fields["call"]), (event.type, 1, "a"))

    def test_types_are_known_by_their_names(self):
        for name, kind in TYPES.items():
            self.assertEqual(kind.__struct_config__.tag, name)
        for name in ("call.started", "call.ended", "account.registered", "visit.started", "number.leased",
                     "pool.exhausted", "trunk.up", "trunk.down"):  # fmt: skip
            self.assertIn(name, TYPES)

    def test_events_cannot_be_changed(self):
        event = of_call(ANSWERED)[0]
        self.assertRaises(AttributeError, setattr, event, "caller", "x")

    def test_field_of_a_newer_version_is_passed_over(self):
        fields = json.loads(encode(of_call(ANSWERED)[0])) | {"colour": "green"}
        self.assertEqual(decode(json.dumps(fields)), of_call(ANSWERED)[0])

    def test_unknown_type_is_told_from_a_bug(self):
        self.assertRaises(UnknownEvent, decode, b'{"type": "call.whistled", "id": "a", "at": 1}')


class DerivedTests(SynchronousTestCase):
    def test_news_of_pools(self):
        empty = of_pool(PoolExhausted(project=1, scenario=2, visit=3, at=4, numbers=5), "x")
        self.assertEqual((empty.type, empty.project, empty.scenario, empty.numbers), ("pool.exhausted", 1, 2, 5))
        alert = of_pool(NumberAlert(kind="leaked", number="1", project=1, scenario=2, at=4, callers=7), "y")
        self.assertEqual((alert.type, alert.kind, alert.callers), ("number.alert", "leaked", 7))
        self.assertIsNone(of_pool(call_record("a"), "z"))

    def test_each_record_of_a_call_tells_what_the_earlier_ones_told(self):
        stages = [
            replace(ANSWERED, status="ACTIVE", ringing=None, answered=None, ended=None),
            replace(ANSWERED, status="ACTIVE", answered=None, ended=None),
            replace(ANSWERED, status="ACTIVE", ended=None),
            ANSWERED,
        ]
        told = [[event.id for event in of_call(record)] for record in stages]
        self.assertEqual(told[-1], ["a.started", "a.ringing", "a.answered", "a.ended"])
        for number, names in enumerate(told, 1):
            self.assertEqual(names, told[-1][:number])

    def test_call_that_nobody_took_is_missed(self):
        for status in ("BUSY", "NOANSWER", "CANCEL", "CONGESTION", "CHANUNAVAIL"):
            *_, ended, missed = of_call(replace(ANSWERED, status=status, answered=None))
            self.assertEqual((ended.type, missed.type, missed.status), ("call.ended", "call.missed", status))

    def test_end_of_a_call_tells_all_that_its_record_does(self):
        ended = of_call(ANSWERED)[-1]
        left_out = {"id", "attribution", "ended", "ladder"}  # told as: call; visit, marker, attributed; at; not told
        for name in set(ANSWERED.__struct_fields__) - left_out:
            self.assertEqual(getattr(ended, name, "missing"), getattr(ANSWERED, name), name)
        self.assertEqual((ended.call, ended.at), ("a", ANSWERED.ended))
        self.assertEqual((ended.visit, ended.marker, ended.attributed), (17, "ad_1", "exact lease"))

    def test_events_of_a_call_stay_in_order_for_its_id(self):
        self.assertEqual({event.subject for event in of_call(ANSWERED)}, {"a"})

    def test_device_that_comes_and_goes(self):
        device = binding(1, 7, device="Phone", host="2001:db8::7", port=5)
        event = of_binding(device, "u", 5)
        self.assertEqual((event.type, event.id, event.at), ("account.registered", "binding:1:7.registered", 5))
        self.assertEqual((event.project, event.user, event.contact), (1, "u", device.contact))
        self.assertEqual((event.device, event.source, event.transport), ("Phone", "[2001:db8::7]:5", "udp"))
        gone = of_binding(device, "u", 6, "expired")
        self.assertEqual((gone.type, gone.id, gone.reason), ("account.unregistered", "binding:1:7.unregistered", "expired"))
        self.assertEqual(gone.subject, event.subject)

    def test_trunk_and_target_that_come_and_go(self):
        up = of_peer(PeerEvent(type="trunk.up", at=5, name="provider"), "x")
        down = of_peer(PeerEvent(type="trunk.down", at=6, name="provider", reason="silent"), "y")
        self.assertEqual((up.type, up.trunk, down.type, down.reason), ("trunk.up", "provider", "trunk.down", "silent"))
        target = of_peer(PeerEvent(type="target.down", at=6, name="sip:a@b", reason="503"), "z")
        self.assertEqual(msgspec.to_builtins(target)["target"], "sip:a@b")
