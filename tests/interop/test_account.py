"""Real devices log in to a project's account, and calls to its number ring there."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

from twisted.internet import protocol, reactor, task
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

from calltrack.sip.digest import Credentials, DigestClient
from calltrack.sip.message import Response, parse
from tests.interop import audio
from tests.interop.harness import CALLER, CHECKOUT, CLI, ENGINE, MARKER, NUMBER, OFFICE, InteropTestCase, Sipp
from tests.interop.processes import Child, eventually, free_port, installed, listening
from tests.interop.test_baresip import PHONES, Softphone

PASSWORD = "GoodPass1"
TALK = 3.0  # seconds
MODULES = next(
    (p for p in ("/usr/lib/x86_64-linux-gnu/kamailio/modules", "/usr/lib/kamailio/modules") if os.path.isdir(p)), ""
)


class Typist(Child):
    """A process that is given its standard input."""

    def __init__(self, test, name: str, arguments: list[str], text: str, **options) -> None:
        super().__init__(test, name, arguments, **options)
        self.transport.write(text.encode())
        self.transport.closeStdin()


class Remote(protocol.Protocol):
    """The remote control of a baresip: netstrings of JSON."""

    def command(self, name: str, params: str = "") -> None:
        text = json.dumps({"command": name, "params": params})
        self.transport.write(f"{len(text)}:{text},".encode())


class AccountTestCase(InteropTestCase):
    """A project whose number leads to its account; `self.user` is the account's."""

    async def setUp(self) -> None:
        super().setUp()
        self.tls_port = free_port(ENGINE)
        self.certificate = os.path.join(self.folder, "certificate.pem")
        key = os.path.join(self.folder, "key.pem")
        subprocess.run(
            [installed("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
            + ["-nodes", "-keyout", key, "-out", self.certificate, "-days", "2", "-subj", "/CN=calltrack.example"]
            + ["-addext", f"subjectAltName=IP:{ENGINE},DNS:calltrack.example"],
            check=True,
            capture_output=True,
        )
        more = f'[tls]\ncertificate = "{self.certificate}"\nkey = "{key}"\n[registrar]\nmin_expires = 2\n'
        self.configure(trunk=more)
        with open(self.config) as file:
            text = file.read()
        with open(self.config, "w") as file:
            file.write(text.replace("listen = [", f"listen = ['tls:{ENGINE}:{self.tls_port}', ", 1))
        await self.route("account")
        arguments = [sys.executable, "-c", CLI, "--config", self.config, "account", "password", "--project", "1", "--json"]
        typist = Typist(self, "account password", arguments, PASSWORD + "\n", path=self.folder, env={"PYTHONPATH": CHECKOUT})
        self.assertEqual(await typist.end(), 0, typist.output)
        self.user = json.loads(typist.printed)["user"]

    def phone(self, name: str, frequency: float, transport: str = "udp", interval: int = 600, answer: str = "auto"):
        """A baresip that logs in and answers by itself."""
        port = self.tls_port if transport == "tls" else self.sip_port
        remote = free_port(PHONES)
        phone = Softphone(
            self,
            name,
            frequency,
            "-s",
            registered=True,
            account=f"<sip:{self.user}@calltrack.example;transport={transport}>;auth_pass={PASSWORD};"
            f'outbound="sip:{ENGINE}:{port};transport={transport}";regint={interval};answermode={answer}',
            settings=f"sip_cafile {self.certificate}\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {PHONES}:{remote}",
        )
        phone.remote = remote
        return phone

    async def remote(self, phone: Softphone) -> Remote:
        return await connectProtocol(TCP4ClientEndpoint(reactor, PHONES, phone.remote), Remote())

    async def registrations(self, count: int, condition: Callable = lambda found: True) -> list[dict]:
        """The registrations when there are `count` of them."""

        async def there():
            found = await self.cli("registrations")
            return [found] if len(found) == count and condition(found) else None

        return (await eventually(there, f"{count} registrations", 20))[0]

    def caller(self, *more: str) -> Sipp:
        return self.call("caller-waits", *more)


class SoftphoneAccountTests(AccountTestCase):
    async def talks(self, transport: str) -> None:
        """Log in, be called, talk both ways, hang up, log out."""
        await self.start_engine()
        phone = self.phone("office", 880, transport)
        [entry] = await self.registrations(1)
        self.assertEqual((entry["user"], entry["transport"]), (self.user, transport))
        self.assertTrue(entry["device"].startswith("baresip"), entry)
        caller = self.caller()
        await phone.writes("Call established")
        await task.deferLater(reactor, 1.0)
        (await self.remote(phone)).command("hangup")
        await caller.succeeds()
        record = await self.record()
        self.assertEqual((record["status"], record["target"], record["hangup"]), ("ANSWER", "account", "target"))
        [(host, _)] = phone.media_sources() or [(ENGINE, 0)]
        self.assertEqual(host, ENGINE)
        self.assertIn(f"x-roistat-phone: {NUMBER}", phone.output)
        self.assertIn(f"x-roistat-marker: {MARKER}", phone.output)
        phone.signal("TERM")
        await phone.end()
        await self.registrations(0)

    async def test_udp(self):
        await self.talks("udp")

    async def test_tcp(self):
        await self.talks("tcp")

    async def test_tls(self):
        await self.talks("tls")

    async def test_caller_and_phone_hear_each_other(self):
        self.configure_trunk(PHONES)
        await self.start_engine()
        office = self.phone("office", 880)
        await self.registrations(1)
        caller = Softphone(self, CALLER, 440, "-e", f"/dial sip:{NUMBER}@{ENGINE}:{self.sip_port}")
        for phone in (caller, office):
            await phone.writes("Call established")
        await task.deferLater(reactor, TALK)
        caller.signal("TERM")
        await caller.end()
        await office.writes("terminated")
        office.signal("TERM")
        await office.end()
        self.assertGreater(audio.seconds_of_tone(office.heard(), 440), TALK * 0.7)
        self.assertGreater(audio.seconds_of_tone(caller.heard(), 880), TALK * 0.7)
        self.assertEqual((await self.record())["media"]["verdict"], "both-ways")

    def configure_trunk(self, address: str) -> None:
        with open(self.config) as file:
            text = file.read()
        with open(self.config, "w") as file:
            file.write(re.sub(r"sources = .*", f'sources = ["{address}"]', text))

    async def test_two_phones_ring_and_the_first_to_answer_has_the_call(self):
        await self.start_engine()
        desk, mobile = self.phone("desk", 880, answer="manual"), self.phone("mobile", 660, "tcp", answer="manual")
        await self.registrations(2)
        caller = self.call("caller", "-d", "300")
        for phone in (desk, mobile):
            await phone.writes("INVITE sip:")
        (await self.remote(mobile)).command("accept")
        await mobile.writes("Call established")
        await desk.writes("CANCEL sip:")
        await desk.writes('Reason: SIP;cause=200;text="Call completed elsewhere"')
        await caller.succeeds()
        self.assertEqual((await self.record())["status"], "ANSWER")

    async def test_phone_holds_and_takes_back_and_the_caller_hangs_up(self):
        await self.start_engine()
        phone = self.phone("office", 880)
        await self.registrations(1)
        caller = self.call("caller-held", "-d", "300")
        await phone.writes("Call established")
        remote = await self.remote(phone)
        remote.command("hold")
        await phone.writes("a=sendonly")
        await task.deferLater(reactor, 0.5)
        remote.command("resume")
        await caller.succeeds()
        await phone.writes("BYE sip:")
        self.assertEqual((await self.record())["hangup"], "caller")

    async def test_killed_engine_comes_back_with_its_phones(self):
        await self.start_engine()
        self.phone("office", 880)
        before = await self.registrations(1)
        self.engine.signal("KILL")
        await self.engine.end()
        await self.start_engine()
        self.assertEqual(self.contacts(await self.registrations(1)), self.contacts(before))
        caller = self.call("caller", "-d", "200")
        await caller.succeeds()
        self.assertEqual((await self.record())["status"], "ANSWER")

    async def test_phone_registers_again_with_an_engine_that_was_restarted(self):
        await self.start_engine()
        phone = self.phone("office", 880, interval=4)
        await self.registrations(1)
        self.engine.signal("KILL")
        await self.engine.end()
        await self.start_engine()
        answered = phone.output.count("200 OK")
        await eventually(lambda: phone.output.count("200 OK") > answered, "the phone is registered again", 15)
        await self.registrations(1)
        self.assertNotIn("Interval Too Brief", phone.output)

    async def test_phone_whose_connection_ends_is_gone_at_once(self):
        await self.start_engine()
        phone = self.phone("office", 880, "tcp")
        await self.registrations(1)
        phone.signal("KILL")
        await phone.end()
        await self.registrations(0)
        caller = self.call("caller-refused")
        await caller.succeeds()
        self.assertEqual(len(caller.received("SIP/2.0 480")), 1)

    async def test_account_disabled_by_the_command_line(self):
        await self.start_engine()
        phone = self.phone("office", 880)
        await self.registrations(1)
        caller = self.call("caller-waits")
        await phone.writes("Call established")
        await self.cli("account", "disable", "--project", "1")
        await self.registrations(0)
        await task.deferLater(reactor, 1.0)
        other = self.call("caller-refused")
        await other.succeeds()
        self.assertIsNone(caller.status)  # the call in progress goes on
        (await self.remote(phone)).command("hangup")
        await caller.succeeds()

    def contacts(self, registrations: list[dict]) -> list[tuple]:
        return [(entry["contact"], entry["source"], entry["registered"]) for entry in registrations]


class SippAccountTests(AccountTestCase):
    def device(self, password: str, port: int, scenario: str = "registers", transport: str = "udp", user: str = "") -> Sipp:
        """A sipp that registers `port` at its address."""
        # sipp has no variables within [authentication]: the scenario is written with the names in it
        with open(os.path.join(os.path.dirname(__file__), "sipp", scenario + ".xml")) as file:
            text = file.read().replace("username=[service] password=[password]", f"username={user or self.user} password={password}")
        path = os.path.join(self.folder, f"{scenario}-{port}.xml")
        with open(path, "w") as file:
            file.write(text)
        arguments = [f"{ENGINE}:{self.sip_port}", "-m", "1", "-s", user or self.user, "-key", "contact", str(port)]
        return Sipp(self, path.removesuffix(".xml"), arguments, OFFICE, free_port(OFFICE), transport)

    async def test_right_credentials_register_and_the_contact_is_called(self):
        await self.start_engine()
        office = await self.target("target")
        await self.device(PASSWORD, office.port).succeeds()
        [entry] = await self.registrations(1)
        self.assertEqual(entry["contact"], f"sip:{self.user}@{OFFICE}:{office.port}")
        for party in (self.call(), office):
            await party.succeeds()
        [invite] = office.received("INVITE")
        self.assertEqual(invite.first_line, f"INVITE sip:{self.user}@{OFFICE}:{office.port} SIP/2.0")
        self.assertEqual(invite.header("x-roistat-phone"), NUMBER)
        self.assertRelayed(invite)

    async def test_wrong_password_and_unknown_user_get_one_answer_and_nothing_is_stored(self):
        await self.start_engine()
        wrong = self.device("WrongPass1", 5999, "registers-refused")
        unknown = self.device(PASSWORD, 5998, "registers-refused", user="nobody")
        answers = []
        for device in (wrong, unknown):
            await device.succeeds()
            answers.append([message.first_line for message in device.received("SIP/2.0")])
        self.assertEqual(answers, [["SIP/2.0 401 Unauthorized"] * 2] * 2)
        self.assertEqual(await self.cli("registrations"), [])


class OwnDevice(protocol.DatagramProtocol):
    """A device of our own that understands one algorithm of RFC 8760 and no other."""

    noisy = False

    def __init__(self, user: str, password: str, engine: tuple[str, int], algorithm: bytes) -> None:
        self.user = user
        self.engine = engine
        self.algorithm = algorithm
        self.digest = DigestClient(Credentials(user, password))
        self.cseq = 0
        self.answers: list[Response] = []

    def datagramReceived(self, datagram: bytes, addr) -> None:
        self.answers.append(parse(datagram))

    async def register(self, credentials: list[tuple[bytes, bytes]]) -> Response:
        self.cseq += 1
        here = self.transport.getHost()
        lines = [
            "REGISTER sip:calltrack.example SIP/2.0",
            f"Via: SIP/2.0/UDP {here.host}:{here.port};branch=z9hG4bKown{self.cseq};rport",
            f"From: <sip:{self.user}@calltrack.example>;tag=1",
            f"To: <sip:{self.user}@calltrack.example>",
            "Call-ID: own-device",
            f"CSeq: {self.cseq} REGISTER",
            f"Contact: <sip:{self.user}@{here.host}:{here.port}>;expires=60",
            "Max-Forwards: 70",
            *(f"{name.decode()}: {value.decode()}" for name, value in credentials),
            "Content-Length: 0",
        ]
        expected = len(self.answers) + 1
        self.transport.write("\r\n".join([*lines, "", ""]).encode(), self.engine)
        await eventually(lambda: len(self.answers) >= expected, "an answer to REGISTER")
        return self.answers[-1]

    async def log_in(self) -> Response:
        """Register, answering the challenge for its algorithm alone."""
        challenged = await self.register([])
        offered = challenged.all(b"www-authenticate")
        mine = [value for value in offered if b"algorithm=" + self.algorithm + b"," in value]
        answer = self.digest.answer(b"REGISTER", b"sip:calltrack.example", challenged.status, mine)
        return await self.register(answer or [])


class OwnDeviceTests(AccountTestCase):
    async def device(self, algorithm: bytes, password: str = PASSWORD) -> OwnDevice:
        device = OwnDevice(self.user, password, (ENGINE, self.sip_port), algorithm)
        port = reactor.listenUDP(0, device, interface=OFFICE)
        self.addCleanup(port.stopListening)
        return device

    async def test_sha256_alone_is_enough_and_its_credentials_serve_once(self):
        await self.start_engine()
        device = await self.device(b"SHA-256")
        self.assertEqual((await device.log_in()).status, 200)
        challenge = device.answers[0].all(b"www-authenticate")
        self.assertEqual([b"SHA-256" in value for value in challenge], [True, False])
        used = device.digest.begin(b"REGISTER", b"sip:calltrack.example")
        self.assertEqual((await device.register(used)).status, 200)
        replayed = await device.register(used)
        self.assertEqual(replayed.status, 401)
        self.assertIn(b"stale=true", replayed.get(b"www-authenticate"))

    async def test_wrong_password_and_unknown_algorithm(self):
        await self.start_engine()
        for device in (await self.device(b"SHA-256", "WrongPass1"), await self.device(b"SHA-512-256")):
            self.assertEqual((await device.log_in()).status, 401)
        self.assertEqual(await self.cli("registrations"), [])


class LinphoneTests(AccountTestCase):
    async def test_linphone_registers_with_sha256_and_is_called(self):
        program = installed("linphonec", "linphone-cli")
        await self.start_engine()
        home = os.path.join(self.folder, "linphone")
        os.makedirs(os.path.join(home, ".local/share/linphone"))
        port = free_port(PHONES)
        with open(os.path.join(home, "rc"), "w") as rc:
            rc.write(
                f"[sip]\nsip_port={port}\nsip_tcp_port=-1\nsip_tls_port=-1\nuse_ipv6=0\n"
                "[sound]\nplayback_dev_id=\ncapture_dev_id=\nringer_dev_id=\n"
            )
        log = os.path.join(home, "log")
        arguments = [program, "-a", "-c", os.path.join(home, "rc"), "-d", "6", "-l", log]
        phone = Child(self, "linphonec", arguments, path=home, env={"HOME": home})
        await eventually(lambda: listening("udp", "::", port), "linphonec listens")
        phone.transport.write(
            f"register sip:{self.user}@calltrack.example sip:{ENGINE}:{self.sip_port} {PASSWORD}\n".encode()
        )
        [entry] = await self.registrations(1)
        self.assertTrue(entry["device"].startswith("Linphone"), entry)
        self.assertTrue(entry["instance"].startswith("<urn:uuid:"), entry)
        with open(log, errors="replace") as file:
            self.assertIn("algorithm=SHA-256, username=", file.read())
        await self.call("caller", "-d", "500").succeeds()
        record = await self.record()
        self.assertEqual((record["status"], record["target"]), ("ANSWER", "account"))
        phone.transport.write(b"quit\n")
        await phone.end()
        await self.registrations(0)


class ExchangeTests(AccountTestCase):
    async def test_kamailio_registers_upstream_and_gets_the_calls_of_its_number(self):
        program = installed("kamailio", "kamailio")
        await self.start_engine()
        office = await self.target("target")
        port = free_port(PHONES)
        folder = os.path.join(self.folder, "kamailio")
        tables = os.path.join(folder, "tables")
        os.makedirs(tables)
        columns = (
            "id(int,auto) l_uuid(string) l_username(string) l_domain(string) r_username(string) r_domain(string) "
            "realm(string) auth_username(string) auth_password(string) auth_ha1(string,null) auth_proxy(string) expires(int) "
            "flags(int) reg_delay(int) contact_addr(string) socket(string,null)"
        )
        row = (
            f"1:line1:{NUMBER}:office.example:{self.user}:calltrack.example:calltrack.example:{self.user}:{PASSWORD}::"
            f"sip\\:{ENGINE}\\:{self.sip_port}:60:0:0:{PHONES}\\:{port}:"
        )
        for name, lines in (("uacreg", [columns, row]), ("version", ["table_name(string) table_version(int)", "uacreg:5"])):
            with open(os.path.join(tables, name), "w") as table:
                table.write("\n".join(lines) + "\n")
        config = os.path.join(folder, "kamailio.cfg")
        with open(config, "w") as file:
            file.write(
                f"""#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
disable_tcp=yes
listen=udp:{PHONES}:{port}
mpath="{MODULES}/"
loadmodule "db_text.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "uac.so"
modparam("uac", "reg_db_url", "text://{tables}")
modparam("uac", "reg_contact_addr", "{PHONES}:{port}")
modparam("uac", "reg_timer_interval", 1)
modparam("uac", "reg_retry_interval", 2)
request_route {{
    if (is_method("CANCEL")) {{ t_relay(); exit; }}
    if (has_totag()) {{ loose_route(); t_relay(); exit; }}
    record_route();
    uac_reg_lookup("$rU", "$ru");
    $du = "sip:{OFFICE}:{office.port}";
    t_relay();
}}
"""
            )
        exchange = Child(self, "kamailio", [program, "-f", config, "-DD", "-E", "-w", folder, "-Y", folder], path=folder)

        async def stop():
            exchange.signal("TERM")  # it ends its own children, which a kill would leave
            await exchange.end()

        self.addCleanup(stop)
        try:
            [entry] = await self.registrations(1)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{exchange.output[-4000:]}") from None
        self.assertTrue(entry["device"].lower().startswith("kamailio"), entry)
        self.assertEqual(entry["source"], f"{PHONES}:{port}")
        await self.call().succeeds()
        await office.succeeds()
        [invite] = office.received("INVITE")
        self.assertEqual(invite.header("x-roistat-phone"), NUMBER)
        self.assertEqual((await self.record())["status"], "ANSWER")
