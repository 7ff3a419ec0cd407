"""One suite of real softphones for every relay: what people do in a call is heard as it should be.

The Twisted relay and rtpengine run on loopback, the kernel's between network namespaces that the test makes (root).
"""

import json
import socket

from twisted.internet import reactor, task
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.protocols.basic import NetstringReceiver
from twisted.web.client import Agent, readBody

from calltrack.testing.namespaces import Network
from tests.interop import audio
from tests.interop.harness import ENGINE, NUMBER, RELAY_PORTS, InteropTestCase, bracketed
from tests.interop.processes import eventually, free_port
from tests.interop.test_baresip import PHONES, Softphone
from tests.interop.test_rtpengine import OnRTPEngine

TALK = 3.0  # seconds of each part of a call


class Control(NetstringReceiver):
    """baresip's control connection: commands in, events out."""

    def __init__(self) -> None:
        self.events: list[dict] = []

    def stringReceived(self, string: bytes) -> None:
        told = json.loads(string)
        if told.get("event"):
            self.events.append(told)

    def do(self, command: str, parameters: str = "") -> None:
        self.sendString(json.dumps({"command": command, "params": parameters, "token": "1"}).encode())


class Phone(Softphone):
    """A softphone that can be told what to do."""

    def __init__(self, test: "MediaSuite", name: str, frequency: float, host: str, **options) -> None:
        self._test, self._control_port = test, free_port(PHONES)
        settings = f"module_app ctrl_tcp.so\nctrl_tcp_listen {bracketed(host)}:{self._control_port}"
        super().__init__(test, name, frequency, host=host, prefix=test.prefix(host), settings=settings, **options)

    async def ready(self) -> "Phone":
        await self.writes("baresip is ready")
        kind = TCP6ClientEndpoint if ":" in self.host else TCP4ClientEndpoint

        async def connected():
            try:
                self.control = await connectProtocol(kind(reactor, self.host, self._control_port), Control())
            except ConnectError:
                return False
            return True

        await eventually(connected, f"{self.name} takes commands")
        self._test.addCleanup(self.control.transport.abortConnection)
        return self

    def seen(self) -> list[str]:
        """What has happened to it, in order."""
        return [event["type"] for event in self.control.events]

    def digits(self) -> str:
        """The keys that the far side has pressed, as they came."""
        return "".join(event["param"] for event in self.control.events if event["type"] == "CALL_DTMF_START")


class MediaSuite(InteropTestCase):
    """Calls of two softphones, `caller` and `office`; where they and the engine are is for each relay to say."""

    engine_host, caller_host, office_host = ENGINE, PHONES, PHONES
    engine_host6, caller_host6, office_host6 = "::1", "::1", "::1"
    far_engine_host = ENGINE  # where the office's media comes from

    def prefix(self, host: str) -> list[str]:
        """What a phone on `host` is started with."""
        return []

    def setUp(self) -> None:
        super().setUp()
        self.configure(trunk_address=self.caller_host, more_addresses=self.more_addresses())

    def more_addresses(self) -> tuple[str, ...]:
        return ()

    async def call(self, answer: str = "auto", ipv6: bool = False) -> tuple[Phone, Phone]:
        """A caller and an office; talking when this returns, unless the office answers by hand."""
        engine, caller_at, office_at = self.engine_host, self.caller_host, self.office_host
        if ipv6:
            engine, caller_at, office_at = self.engine_host6, self.caller_host6, self.office_host6
            self.configure(trunk_address=caller_at, more_addresses=(engine,))
        office = await Phone(self, "office", 880, office_at, account=f";answermode={answer}").ready()
        await self.route(f"sip:office@{bracketed(office_at)}:{office.port}")
        await self.start_engine()
        caller = await Phone(self, "12025550143", 440, caller_at).ready()
        caller.control.do("dial", f"sip:{NUMBER}@{bracketed(engine)}:{self.sip_port}")
        if answer == "auto":
            for phone in (caller, office):
                await phone.writes("Call established")
        return caller, office

    async def talk(self, seconds: float = TALK) -> None:
        await task.deferLater(reactor, seconds)

    async def hang_up(self, caller: Phone, office: Phone) -> dict:
        """The caller hangs up; the call's record."""
        caller.control.do("hangup")
        for phone in (caller, office):
            await phone.writes("terminated")
            phone.signal("TERM")
            await phone.end(15)
        return await self.record()

    async def media_status(self) -> dict:
        """What the running engine tells of its relay."""
        response = await Agent(reactor).request(b"GET", f"http://{self.web}/health".encode())
        return json.loads(await readBody(response))["media"]

    async def carried(self) -> None:
        """The call has come to where the relay carries calls that go on."""

    # What is heard

    async def test_both_hear_each_other_and_rtcp_reports_come_through(self) -> None:
        caller, office = await self.call()
        await self.carried()
        await self.talk(6.0)  # a report comes every five seconds
        record = await self.hang_up(caller, office)
        self.assertGreater(audio.seconds_of_tone(office.heard(), 440), 4.5)
        self.assertGreater(audio.seconds_of_tone(caller.heard(), 880), 4.5)
        self.assertEqual(record["media"]["verdict"], "both-ways")
        for party in ("caller", "target"):
            self.assertGreater(record["media"][party]["packets"], 250)
            self.assertEqual(record["media"][party]["strangers"], 0)
        for phone in (caller, office):
            self.assertIn("CALL_RTCP", phone.seen(), "no RTCP report has come through")

    async def test_hold_and_taking_back_by_either_side(self) -> None:
        caller, office = await self.call()
        await self.carried()
        began = reactor.seconds()
        for phone in (caller, office):
            await self.talk(1.5)
            phone.control.do("hold")
            await self.talk(2.5)
            phone.control.do("resume")
            await self.talk(1.0)
            await self.carried()
            await self.talk(1.5)
        total = reactor.seconds() - began
        record = await self.hang_up(caller, office)
        for party in ("caller", "target"):  # baresip's recordings end with the first hold, so what counts is what was sent
            sent = record["media"][party]["packets"] / 50
            self.assertTrue(total - 7.0 < sent < total - 4.0, f"{party} has sent for {sent} of {total} s")
        self.assertEqual((record["status"], record["media"]["verdict"]), ("ANSWER", "both-ways"))

    async def test_keys_are_heard_as_pressed_in_both_directions(self) -> None:
        caller, office = await self.call()
        await self.carried()
        for phone, other, keys in ((caller, office, "1590#"), (office, caller, "*28")):
            for key in keys:
                phone.control.do("sndcode", key)
                await self.talk(0.3)
            await eventually(lambda: other.digits() == keys, f"{other.name} has heard {keys}, not {other.digits()}")
        await self.hang_up(caller, office)

    async def test_media_before_the_answer_passes(self) -> None:
        caller, office = await self.call(answer="early")  # 183 with a description; baresip only listens then
        await eventually(lambda: "CALL_RTPESTAB" in office.seen(), "the office hears the caller before it answers")
        self.assertNotIn("Call established", caller.output)
        office.control.do("accept")
        await caller.writes("Call established")
        await self.carried()
        await self.talk()
        record = await self.hang_up(caller, office)
        self.assertGreater(audio.seconds_of_tone(caller.heard(), 880), TALK * 0.75)
        self.assertGreater(audio.seconds_of_tone(office.heard(), 440), TALK * 0.75)
        self.assertEqual(record["status"], "ANSWER")

    async def test_ipv6_on_both_sides(self) -> None:
        caller, office = await self.call(ipv6=True)
        await self.carried()
        await self.talk()
        record = await self.hang_up(caller, office)
        self.assertGreater(audio.seconds_of_tone(office.heard(), 440), TALK * 0.75)
        self.assertGreater(audio.seconds_of_tone(caller.heard(), 880), TALK * 0.75)
        self.assertEqual(record["media"]["verdict"], "both-ways")

    async def test_packets_of_strangers_to_every_port_are_heard_by_nobody(self) -> None:
        caller, office = await self.call()
        await self.carried()
        loud = b"\x80\x00\x00\x01\x00\x00\x00\xa0\x00\x00\x02\x9a" + b"\x80\x00" * 80  # as loud as PCMU can be
        with self.stranger() as stranger:
            for _ in range(20):
                for host in {self.engine_host, self.far_engine_host}:
                    for port in range(RELAY_PORTS[0], RELAY_PORTS[1], 2):
                        stranger.sendto(loud, (host, port))
                    for size in (0, 1, 65507):
                        stranger.sendto(b"\x80" * size, (host, RELAY_PORTS[0]))
                await self.talk(0.15)
        record = await self.hang_up(caller, office)
        self.assertGreater(audio.seconds_of_tone(office.heard(), 440), 2.4)
        self.assertGreater(audio.seconds_of_tone(caller.heard(), 880), 2.4)
        self.assertEqual((record["status"], record["media"]["verdict"]), ("ANSWER", "both-ways"))
        self.check_strangers(record["media"])

    def stranger(self) -> socket.socket:
        """A socket of somebody who has no part in the call."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.77", 0))
        sock.setblocking(False)
        return sock

    def check_strangers(self, media: dict) -> None:
        self.assertGreater(media["caller"]["strangers"] + media["target"]["strangers"], 0)


class TwistedRelayTests(MediaSuite):
    """Packets go through the engine's sockets."""


class RTPEngineTests(OnRTPEngine, MediaSuite):
    """Packets go through a real rtpengine, which counts strangers nowhere."""

    def check_strangers(self, media: dict) -> None:
        self.assertEqual(media["verdict"], "both-ways")


class KernelRelayTests(MediaSuite):
    """Packets go through the kernel, once both talk. The two phones are on two interfaces of the engine's."""

    engine_host, caller_host, office_host = "10.88.1.1", "10.88.1.2", "10.88.2.2"
    engine_host6, caller_host6, office_host6 = "fd88:1::1", "fd88:1::2", "fd88:2::2"
    far_engine_host = "10.88.2.1"

    def setUp(self) -> None:
        self.net = net = Network(self)
        net.wire("caller", ("10.88.1.1/24", "fd88:1::1/64"), ("10.88.1.2/24", "10.88.1.77/24", "fd88:1::2/64"))
        net.wire("office", ("10.88.2.1/24", "fd88:2::1/64"), ("10.88.2.2/24", "fd88:2::2/64"))
        for name, gateways in (("caller", ("10.88.1.1", "fd88:1::1")), ("office", ("10.88.2.1", "fd88:2::1"))):
            for gateway in gateways:
                net.route(name, "default", "via", gateway)
        net.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
        super().setUp()

    def prefix(self, host: str) -> list[str]:
        return self.net.prefix("caller" if host in (self.caller_host, self.caller_host6) else "office")

    def more_addresses(self) -> tuple[str, ...]:
        return (self.engine_host,)

    def configure(self, *arguments, **options) -> None:
        """Listen everywhere: the phones are on different networks."""
        super().configure(*arguments, **options)
        with open(self.config) as file:
            lines = file.read().split("\n")
        everywhere = "[::]" if any(":" in host for host in self.addresses) else "0.0.0.0"
        lines[lines.index("[sip]") + 1] = f'listen = ["udp:{everywhere}:{self.sip_port}"]'
        lines[lines.index("[media]") + 1] = 'listen = ["0.0.0.0", "::"]'
        with open(self.config, "w") as file:
            file.write("\n".join(lines))

    def media(self) -> str:
        return 'relay = "kernel"'

    async def carried(self) -> None:
        async def handed_over():
            status = await self.media_status()
            self.assertNotIn("why", status)
            return status["in_kernel"] == 1

        await eventually(handed_over, "the kernel carries the call")

    def stranger(self) -> socket.socket:
        with self.net.inside("caller"):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("10.88.1.77", 0))
        sock.setblocking(False)
        return sock


del MediaSuite, OnRTPEngine, InteropTestCase  # not to be run by themselves
