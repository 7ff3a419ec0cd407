"""A real calltrack between real peers: the engine as `twistd` runs it, its own command line, sipp.

Each test has an engine of its own at a loopback address of its own. Its network:

    trunk (sipp, a caller)  ->  engine  ->  office and branch (sipp, targets)
"""

import json
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass

import calltrack
from twisted.internet import reactor
from twisted.internet.error import ConnectError
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, readBody

from tests.interop.processes import Child, eventually, free_port, installed, listening, own_address

SCENARIOS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sipp")
CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(calltrack.__file__)))
NUMBER = "11231234567"
CALLER = "12025550143"
MARKER = "direct_search_1234567_buy glasses"

ENGINE, TRUNK, OFFICE, BRANCH, STRANGER = map(own_address, (1, 2, 3, 4, 5))
RELAY_PORTS = (21000, 21399)
TWISTD = "from twisted.scripts.twistd import run; run()"
CLI = "from calltrack.cli import main; main()"


@dataclass(frozen=True)
class Message:
    """One SIP message that a sipp sent or received."""

    sent: bool
    text: str

    @property
    def first_line(self) -> str:
        return self.text.split("\r\n", 1)[0]

    @property
    def body(self) -> str:
        return self.text.partition("\r\n\r\n")[2]

    def headers(self, name: str) -> list[str]:
        """All values of a header, as they stand."""
        head = self.text.partition("\r\n\r\n")[0]
        pairs = (line.partition(":") for line in head.split("\r\n")[1:])
        return [value.strip(" ") for key, _, value in pairs if key.strip(" ").lower() == name.lower()]

    def header(self, name: str) -> str:
        """The one value of a header; AssertionError when there is none or more than one."""
        values = self.headers(name)
        assert len(values) == 1, f"{len(values)} {name} headers in\n{self.text}"
        return values[0]


class Sipp(Child):
    """One sipp with its message log."""

    def __init__(self, test: TestCase, scenario: str, arguments: list[str], address: str, port: int, transport: str):
        folder = test.mktemp()
        os.makedirs(folder)
        self.address = address
        self.port = port
        self.transport_name = transport
        self._messages = os.path.abspath(os.path.join(folder, "messages.log"))
        self._errors = os.path.abspath(os.path.join(folder, "errors.log"))
        whole = [
            installed("sipp", "sip-tester"),
            *arguments,
            *("-sf", os.path.join(SCENARIOS, scenario + ".xml")),
            *("-i", bracketed(address), "-p", str(port), "-bind_local"),
            *("-mi", bracketed(address), "-mp", str(free_port(address))),
            *("-ci", ENGINE, "-cp", str(free_port(ENGINE)), "-t", transport[0] + "1", "-nostdin"),
            *("-trace_msg", "-message_file", self._messages, "-trace_err", "-error_file", self._errors),
            *("-timeout", test.sipp_patience, "-timeout_error"),
        ]
        super().__init__(test, f"sipp {scenario}", whole, path=folder)
        self._others: list[Sipp] = getattr(test, "sipps", [])  # of the same test, for what is told when it fails
        self._others.append(self)

    def messages(self, sent: bool | None = None) -> list[Message]:
        """What went over the wire up to now, in order."""
        with open(self._messages, newline="", encoding="utf-8", errors="replace") as log:
            pieces = re.split(r"-{20,} [0-9-]+[T ][0-9:.]+\n", log.read())
        found = []
        for piece in pieces[1:]:
            title, _, text = piece.partition("\n\n")
            if " message " in title and " message lost (" not in piece:  # `-lost` drops what it has logged
                found.append(Message(" sent " in title, text.removesuffix("\n")))
        return [message for message in found if sent is None or message.sent == sent]

    def received(self, start: str) -> list[Message]:
        """Received messages whose first line begins with `start`: ``INVITE``, ``SIP/2.0 486``."""
        return [message for message in self.messages(sent=False) if message.first_line.startswith(start)]

    async def succeeds(self) -> None:
        """Wait for the end; AssertionError with what every sipp of the test saw when a call failed."""
        if await self.end() != 0:
            raise AssertionError(f"{self.name} ended with {self.status}\n" + "\n".join(s.story() for s in self._others))

    def story(self) -> str:
        """The last messages, and sipp's own words."""
        told = ""
        if os.path.exists(self._errors):
            with open(self._errors, errors="replace") as errors:
                told = errors.read()[-1500:]
        lines = [f"  {'->' if message.sent else '<-'} {message.first_line}" for message in self.messages()[-30:]]
        return "\n".join([self.name, *lines, told])


def bracketed(host: str) -> str:
    """An address literal as it stands in a URI."""
    return f"[{host}]" if ":" in host else host


class InteropTestCase(TestCase):
    """A test with an engine: first routes by `route`, then `start_engine`, then calls."""

    timeout = 90
    sipp_patience = "40s"  # after which a sipp ends by itself

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.config = os.path.join(self.folder, "calltrack.toml")
        self.sip_port = free_port(ENGINE)
        self.web = f"{ENGINE}:{free_port(ENGINE)}"
        self.sipps: list[Sipp] = []
        self.configure()

    def configure(self, trunk: str = "", trunk_address: str = TRUNK, more_addresses: tuple[str, ...] = ()) -> None:
        """Write the configuration. `trunk`: more lines of TOML for the trunk; `more_addresses`: to listen at too.
        Trunks are not pinged: a sipp that plays one takes the first OPTIONS for its call."""
        low, high = RELAY_PORTS
        self.addresses = addresses = [ENGINE, *more_addresses]
        listen = [f"{name}:{bracketed(host)}:{self.sip_port}" for host in addresses for name in ("udp", "tcp")]
        with open(self.config, "w") as file:
            file.write(
                f"""
[sip]
listen = {listen}
domain = "calltrack.example"
ping = 0
[media]
listen = {addresses}
ports = [{low}, {high}]
{self.media()}
[storage]
url = "sqlite:{self.folder}/calltrack.db"
[web]
listen = "{self.web}"
[[trunk]]
name = "provider"
sources = ["{trunk_address}"]
country = "US"
{trunk}
"""
            )

    def media(self) -> str:
        """More lines of TOML for `[media]`."""
        return ""

    async def start_engine(self) -> None:
        """Start the engine; it listens when this returns."""
        arguments = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "calltrack", "--config", self.config]
        self.engine = Child(self, "calltrack", arguments, path=self.folder, env={"PYTHONPATH": CHECKOUT})
        self.addCleanup(self._stop_engine)
        agent = Agent(reactor)

        async def healthy():
            if self.engine.status is not None:
                raise AssertionError(f"calltrack did not start:\n{self.engine.output[-4000:]}")
            try:
                response = await agent.request(b"GET", f"http://{self.web}/ready".encode())
            except ConnectError:
                return False
            await readBody(response)
            return response.code == 200

        await eventually(healthy, "calltrack answers /ready", 20)

    async def _stop_engine(self) -> None:
        self.engine.signal("TERM")
        await self.engine.end(15)
        with open(os.path.join(self.folder, "calltrack.log"), "w") as log:
            log.write(self.engine.output)
        self.assertNotIn("Traceback", self.engine.output)

    async def cli(self, *arguments: str):
        """Run `calltrack` against the engine's configuration; the parsed JSON that it prints."""
        whole = [sys.executable, "-c", CLI, "--config", self.config, *arguments, "--json"]
        child = Child(self, "calltrack " + arguments[0], whole, path=self.folder, env={"PYTHONPATH": CHECKOUT})
        status = await child.end()
        self.assertEqual(status, 0, child.output)
        return json.loads(child.printed)

    async def route(self, *targets: str, options: tuple[str, ...] = (), number: str = NUMBER) -> None:
        """A project, a static scenario with these targets and a number that leads to it."""
        project = await self.cli("project", "add", "Glasses shop")
        forwards = [part for target in targets for part in ("--forward", target)]
        ids = ("--project", str(project["id"]))
        scenario = await self.cli("scenario", "add", "Search ads", *ids, "--static", MARKER, *forwards, *options)
        await self.cli("number", "add", number, *ids, "--scenario", str(scenario["id"]))

    async def target(
        self, scenario: str, *more: str, address: str = OFFICE, port: int = 0, transport: str = "udp", calls: int = 1
    ) -> Sipp:
        """A sipp that listens at `address` and takes `calls` calls; listening when this returns."""
        port = port or free_port(address)
        sipp = Sipp(self, scenario, ["-m", str(calls), *more], address, port, transport)

        def up():
            self.assertIsNone(sipp.status, sipp.output[-2000:])
            return listening(transport, address, port)

        await eventually(up, f"{sipp.name} listens")
        return sipp

    def call(
        self,
        scenario: str = "caller",
        *more: str,
        number: str = NUMBER,
        address: str = TRUNK,
        transport: str = "udp",
        calls: int = 1,
    ) -> Sipp:
        """A sipp that calls `number` over the trunk."""
        remote = f"{ENGINE}:{self.sip_port}"
        arguments = [remote, "-m", str(calls), "-s", number, "-key", "caller", CALLER, *more]
        return Sipp(self, scenario, arguments, address, free_port(address), transport)

    def address_of(self, target: Sipp) -> str:
        """The target's address as `--forward` takes it."""
        suffix = ";transport=tcp" if target.transport_name == "tcp" else ""
        return f"sip:office@{bracketed(target.address)}:{target.port}{suffix}"

    def assertRelayed(self, message: Message) -> None:
        """The description in `message` leads to a port of the engine's relay and names nobody else."""
        self.assertEqual(re.findall(r"^c=IN IP4 (\S+)\r$", message.body, re.MULTILINE), [ENGINE])
        for port in re.findall(r"^m=audio (\d+) ", message.body, re.MULTILINE):
            self.assertIn(int(port), range(RELAY_PORTS[0], RELAY_PORTS[1] + 1))
        for private in (TRUNK, OFFICE, BRANCH):
            self.assertNotIn(private, message.body)

    async def records(self, count: int = 1) -> list[dict]:
        """The call records, newest first, when there are `count` and all calls have ended."""

        seen: list[dict] = []

        async def written():
            seen[:] = await self.cli("call", "list", "--limit", str(count + 100))
            return len(seen) >= count and all(record["status"] != "ACTIVE" for record in seen)

        try:
            await eventually(written, f"{count} final call records", 10)
        except AssertionError as problem:
            raise AssertionError(f"{problem}; there are {Counter(r['status'] for r in seen)}") from None
        self.assertEqual(len(seen), count)
        return seen

    async def record(self) -> dict:
        """The one call record that there is."""
        return (await self.records(1))[0]
