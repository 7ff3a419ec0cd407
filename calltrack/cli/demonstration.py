"""One call through an engine that exists for nothing else: set up, placed, measured and taken down.

Knows the service, the catalog and softphones. Must not know how its story is told (`calltrack.cli.demo`).
"""

from __future__ import annotations

import errno
import json
import socket
from pathlib import Path
from typing import Any, Callable, NamedTuple, Protocol

from twisted.internet.defer import Deferred, DeferredList, TimeoutError, succeed
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.web.client import Agent, readBody

from msgspec.structs import replace

from calltrack import config
from calltrack.access.model import Grant
from calltrack.cli.demo_seed import WEEKS, fill
from calltrack.errors import CalltrackError
from calltrack.service import CalltrackService
from calltrack.testing.softphone import PhoneCall, Softphone
from calltrack.testing.tones import Heard, write_wav
from calltrack.tracking.catalog import Catalog
from calltrack.tracking.model import CallRecord

PROJECT, SITE = "Glasses shop", "https://shop.example"
SCENARIO, MARKER = "Search ads", "direct_search_1234567_buy glasses"
PERSON = "demo"  # who looks at the page
NUMBER, VISITOR = "11231234567", "12025550143"
VISITOR_TONE, OFFICE_TONE = 440, 880  # Hz

RING_TIME = 1.0  # seconds until somebody in the office picks up
TALK_TIME = 3.0  # seconds
PATIENCE = 10.0  # seconds that any step may take
HEARD_SHARE = 0.8  # of the conversation that each side must have heard the other's tone

_CONFIG = """\
# The engine of `calltrack demo`.
[sip]
listen = ["udp:{engine}:{sip}", "tcp:{engine}:{sip}"]
domain = "calltrack.example"
[media]
listen = "{engine}"
ports = [30000, 30199]
[storage]
url = "sqlite:{directory}/calltrack.db"
[web]
listen = "{engine}:{web}"
[control]
socket = "{control}"
[[trunk]]
name = "provider"
sources = ["{provider}/32"]
country = "US"
"""


class DemoFailed(CalltrackError):
    """The call did not come about; says what was waited for."""


class Audio(NamedTuple):
    """What one side of the call heard."""

    played: int  # Hz, by the other side
    heard: Heard
    packets: int
    lost: int

    @property
    def right(self) -> bool:
        return self.heard.frequency == self.played and self.heard.seconds >= HEARD_SHARE * TALK_TIME


class Outcome(NamedTuple):
    """Everything the demonstration shows, as it was on the wire and in the database."""

    request_uri: str  # of the INVITE that arrived at the office
    headers: dict[str, str]  # x-... of that INVITE
    marker: str  # of the scenario when the call was placed
    record: CallRecord
    at_office: Audio
    at_visitor: Audio
    health: dict[str, Any]  # what /health answered after the call
    complaints: tuple[str, ...]  # what the engine logged as errors

    @property
    def problems(self) -> list[str]:
        """What was not as it should be, in words; empty when all was right."""
        expected = {"x-roistat-phone": NUMBER, "x-roistat-marker": self.marker, "x-roistat": self.marker}
        wrong = []
        if self.headers != expected:
            wrong.append(f"the headers that arrived are {self.headers} and should be {expected}")
        for side, audio in (("the office", self.at_office), ("the visitor", self.at_visitor)):
            if not audio.right:
                wrong.append(f"{side} heard {audio.heard.frequency} Hz for {audio.heard.seconds:.1f} s, "
                             f"the other side played {audio.played} Hz for {TALK_TIME:.1f} s")  # fmt: skip
        if self.record.status != "ANSWER":
            wrong.append(f"the call record says {self.record.status}")
        if self.record.media.verdict != "both-ways":
            wrong.append(f"the relay saw media {self.record.media.verdict}")
        if self.health.get("status") != "ok":
            wrong.append("/health does not say ok")
        return wrong + [f"the engine logged: {complaint}" for complaint in self.complaints]


class Audience(Protocol):
    """Who is told what happens."""

    def step(self, words: str) -> None:
        """Something has happened."""

    def talking(self, share: float, at_office: int, at_visitor: int) -> None:
        """The conversation goes on: its share that is over, and the audio packets that have arrived."""


class Demonstration:
    """An engine with one project, a visitor's phone at its provider, and a phone in the office.

    `directory` keeps its configuration, its database and what each side heard; it is the caller's to remove.
    """

    def __init__(self, reactor: Any, directory: str, audience: Audience) -> None:
        self.directory = Path(directory)
        self.config_path = str(self.directory / "calltrack.toml")
        self._reactor = reactor
        self._audience = audience
        self._engine_host, provider, office = loopback_addresses(3)
        self.sip_port, web_port = free_port(self._engine_host), free_port(self._engine_host)
        text = _CONFIG.format(
            engine=self._engine_host,
            sip=self.sip_port,
            web=web_port,
            directory=directory,
            provider=provider,
            control=control_path(self.directory),
        )
        Path(self.config_path).write_text(text, "utf-8")
        self.health_url = f"http://{self._engine_host}:{web_port}/health"
        self._incoming: Deferred[PhoneCall] = Deferred()
        self.visitor = Softphone(reactor, provider, user=VISITOR)
        self.office = Softphone(reactor, office, user="office", on_call=self._office_rings)
        self._complaints: list[str] = []
        self._service: CalltrackService | None = None
        self._scenario = 0  # id of the one that the call goes by
        self.page_url = ""  # logs in, once

    @property
    def sip_address(self) -> str:
        return f"{self._engine_host}:{self.sip_port}"

    @property
    def database_path(self) -> str:
        return str(self.directory / "calltrack.db")

    def wav_path(self, side: str) -> str:
        """Where what "office" or "visitor" heard in the last call can be listened to."""
        return str(self.directory / f"{side}-heard.wav")

    async def start(self) -> None:
        """Start engine and phones, and set up the project. Raises CannotListenError, CalltrackError."""
        globalLogPublisher.addObserver(self._watch_log)
        tell = self._audience.step
        settings = config.load(Path(self.config_path).read_text("utf-8"), self.config_path)
        service = self._service = CalltrackService(settings, self._reactor)
        service.services = replace(service.services, demonstration=True)
        service.startService()
        await self._within(service.started, "the engine to start")
        tell(f"An engine is up: SIP on {self.sip_address} (UDP and TCP), database {self.database_path}")
        self.visitor.start()
        self.office.start()
        tell(f"A phone listens in the office, at {self.office.uri}")
        catalog = self._catalog = Catalog(service.stores.catalog)
        project = await catalog.add_project(PROJECT, (SITE,))
        scenario = await catalog.add_scenario(SCENARIO, project.id, MARKER, (self.office.uri,))
        self._scenario = scenario.id
        await catalog.add_number(NUMBER, project.id, scenario.id)
        changed = self._reactor.seconds()
        await self._until(lambda: succeed(service.scenarios.numbers or None), "the number to be known to the engine")
        took = self._reactor.seconds() - changed
        tell(f'Project "{PROJECT}": number {NUMBER} stands for "{MARKER}" and leads to the office')
        tell(f"The running engine knew of it after {took:.1f} s")
        visits, calls = await fill(service.stores, project.id, scenario, NUMBER, service.services.wall_ms())
        tell(f"{calls} made-up calls of the last {WEEKS} weeks are in the database, {visits} of them with a visit")
        people = service.services.people
        visitor = await people.add(PERSON, (Grant(project=None, role="owner"),))
        self.page_url = f"{service.page_url}/enter?token={await people.link(visitor.id, 'enter')}"

    async def call(self) -> Outcome:
        """Place the call and measure it. Raises DemoFailed."""
        assert self._service is not None
        tell, began = self._audience.step, self._reactor.seconds()
        self._incoming = Deferred()
        scenario = await self._catalog.scenario(self._scenario)

        def at() -> str:
            passed = self._reactor.seconds() - began
            return f"{passed:.2f} s" if passed >= 1 else f"{1000 * passed:.0f} ms"

        tell(f"The visitor, {VISITOR}, dials {NUMBER}: INVITE from {self.visitor.address} to {self.sip_address}")
        call = self.visitor.call(f"sip:{NUMBER}@{self.sip_address}")
        taken = await self._within(self._incoming, "the call to reach the office", call)
        assert taken.invite is not None
        tell(f"The office rings after {at()}")
        await self._within(call.when_answered(), "the call to be answered", call)
        tell(f"The office has answered after {at()}; both talk for {TALK_TIME:.0f} s")
        await self._talk(call, taken)
        call.hang_up()
        tell(f"The visitor hangs up after {at()}")
        await self._within(taken.when_ended(), "the office to be told that the visitor has hung up")
        request = taken.invite
        write_wav(self.wav_path("office"), taken.audio.samples)
        write_wav(self.wav_path("visitor"), call.audio.samples)
        return Outcome(
            request_uri=request.uri.decode("utf-8", "replace"),
            headers={name.decode(): _text(request.get(name)) for name in request.names() if name.startswith(b"x-")},
            marker=scenario.marker,
            record=await self._until(self._final_record, "the call record to be in the database"),
            at_office=Audio(VISITOR_TONE, taken.audio.listened(), taken.audio.received, taken.audio.lost),
            at_visitor=Audio(OFFICE_TONE, call.audio.listened(), call.audio.received, call.audio.lost),
            health=await self._within(self._ask_health(), "/health to answer"),
            complaints=tuple(self._complaints),
        )

    async def stop(self) -> None:
        """Take everything down, in bounded time."""
        await DeferredList([self.visitor.stop(), self.office.stop()])
        if self._service is not None:
            await self._service.stopService()
        globalLogPublisher.removeObserver(self._watch_log)

    def _office_rings(self, call: PhoneCall) -> None:
        call.ring()
        self._reactor.callLater(RING_TIME, self._office_answers, call)
        if not self._incoming.called:
            self._incoming.callback(call)

    def _office_answers(self, call: PhoneCall) -> None:
        if not call.ended:
            call.answer()
            call.audio.play(OFFICE_TONE)

    async def _talk(self, visitor: PhoneCall, office: PhoneCall) -> None:
        visitor.audio.play(VISITOR_TONE)
        began = self._reactor.seconds()
        while (talked := self._reactor.seconds() - began) < TALK_TIME:
            if visitor.ended or office.ended:
                raise DemoFailed(f"the call ended after {talked:.1f} s of conversation")
            self._audience.talking(talked / TALK_TIME, office.audio.received, visitor.audio.received)
            await deferLater(self._reactor, min(0.1, TALK_TIME - talked))

    async def _final_record(self) -> CallRecord | None:
        """The newest record as the database has it, once it is final and has its ladder."""
        assert self._service is not None
        records = self._service.stores.records
        newest = await records.list(limit=1)
        if not newest or not newest[0].final:
            return None
        record = await records.get(newest[0].id)
        return record if record.ladder else None

    def _ask_health(self) -> Deferred[dict[str, Any]]:
        asked = Agent(self._reactor).request(b"GET", self.health_url.encode())
        return asked.addCallback(readBody).addCallback(json.loads)

    async def _until(self, look: Callable[[], Any], what: str) -> Any:
        """The first result of `look()` that is not None. Raises DemoFailed."""
        deadline = self._reactor.seconds() + PATIENCE
        while (found := await look()) is None:
            if self._reactor.seconds() > deadline:
                raise self._waited(what)
            await deferLater(self._reactor, 0.02)
        return found

    async def _within(self, waiting: Deferred, what: str, call: PhoneCall | None = None) -> Any:
        """The result of `waiting`. Raises DemoFailed when it takes too long, or when `call` comes to nothing."""
        if call is not None:
            failing: Deferred = call.when_answered()
            failing.addCallbacks(lambda _: None, lambda failure: waiting.called or waiting.errback(failure))
        try:
            return await waiting.addTimeout(PATIENCE, self._reactor)
        except TimeoutError:
            raise self._waited(what) from None
        except CalltrackError as problem:
            raise DemoFailed(f"waited for {what}, but: {problem}") from problem

    def _waited(self, what: str) -> DemoFailed:
        return DemoFailed(f"waited {PATIENCE:.0f} s in vain for {what}")

    def _watch_log(self, event: dict[str, Any]) -> None:
        """What the engine logs as an error is a problem of the call."""
        if event["log_level"] >= LogLevel.error:
            self._complaints.append(formatEvent(event) or event["log_failure"].getErrorMessage())


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def control_path(directory: Path) -> str:
    """Where the engine is controlled: in its directory, unless that is longer than a socket's name may be."""
    path = str(directory / "control")
    return path if len(path.encode()) < 100 else f"/tmp/{directory.name}.control"


def loopback_addresses(count: int) -> list[str]:
    """So many addresses of this machine for itself: 127.0.0.1, 127.0.0.2 ... where it has them, as Linux does, else
    the first one each time."""
    wanted = [f"127.0.0.{number}" for number in range(1, count + 1)]
    try:
        for host in wanted:
            free_port(host)
    except OSError:
        return wanted[:1] * count
    return wanted


def free_port(host: str) -> int:
    """A port of `host` that nobody has, for UDP nor TCP. Raises OSError when the address is not ours."""
    while True:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind((host, 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind((host, port))
            except OSError as problem:
                if problem.errno != errno.EADDRINUSE:
                    raise
                continue
            return port
