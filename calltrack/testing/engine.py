"""An engine on an in-memory network in one line, its surroundings fake:

    engine = TestEngine(network, targets=[sip_target("198.51.100.20")])
    trunk = Peer(network, "198.51.100.7")
    trunk.invite(engine.number)

Knows how the parts of an engine are wired; for tests and plugin authors.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any, Iterable

from calltrack.calls.engine import CallEngine
from calltrack.calls.proving import Proofs
from calltrack.calls.registrations import Registrations
from calltrack.calls.settings import CallsSettings, TrunkSettings
from calltrack.calls.standing import Standing
from calltrack.registrar.guard import Guard
from calltrack.registrar.registrar import Registrar
from calltrack.registrar.settings import RegistrarSettings
from calltrack.sip.agent import Agent
from calltrack.sip.authenticator import ALGORITHMS
from calltrack.sip.challenger import Challenger
from calltrack.sip.session_timer import SessionSettings
from calltrack.sip.transactions import Settings
from calltrack.sip.transports import Transports
from calltrack.storage.url import Stores, open_stores
from calltrack.testing.devices import DOMAIN
from calltrack.testing.fakes import FakeLedger, FakeRelay, FixedResolver, FixedScenarios
from calltrack.testing.network import MemoryNetwork
from calltrack.testing.peers import ENGINE
from calltrack.timers import Timers
from calltrack.tracking.model import Attribution, CallRecord, Route, Target

NUMBER = "11231234567"
TRUNK = TrunkSettings(name="provider", sources=(ip_network("198.51.100.0/24"),), country="US")
BEGAN_MS = 1_795_457_000_000  # milliseconds since the Unix epoch: the wall time at second 0 of the clock
STATIC = Attribution(marker="direct_search_1234567_buy glasses", reason="static channel")


def sip_target(host: str, **fields: Any) -> Target:
    """An outside SIP address at an address literal or name."""
    return Target(kind="sip", address=f"sip:office@{host}", **fields)


class TestEngine:
    """An Agent and a CallEngine at 192.0.2.1:5060 (UDP and TCP), with one trunk at 198.51.100.0/24 and one
    substitution number, `number`, that leads to `targets`. More routes: `scenarios.routes`.

    Its `registrations` with trunks begin when they are started. With `registrar` settings it has a `registrar` for
    calltrack.example too, on `stores`."""

    __test__ = False

    def __init__(
        self,
        network: MemoryNetwork,
        targets: Iterable[Target] = (),
        *,
        ring: Any = "in-order",
        trunks: Iterable[TrunkSettings] = (TRUNK,),
        calls: CallsSettings = CallsSettings(),
        listen: tuple[str, ...] = ("udp", "tcp"),
        place: tuple[str, int] = ENGINE,
        registrar: RegistrarSettings | None = None,
        stores: Stores | None = None,
        sessions: SessionSettings = SessionSettings(),
        **route: Any,
    ) -> None:
        trunks = tuple(trunks)
        self.network = network
        self.number = NUMBER
        fields = {"project": 1, "scenario": 1, "attribution": STATIC, "ring": ring, **route}
        self.route = Route(dialled=NUMBER, targets=tuple(targets), **fields)
        self.timers = Timers(network.clock)
        self.sip = Settings()
        self.relay = FakeRelay(network.clock, place[0])
        self.ledger = FakeLedger()
        self.scenarios = FixedScenarios(network.clock, [self.route])
        self.resolver = FixedResolver()
        self.transports = Transports(network.reactor(place[0]), self.timers, [(one, *place) for one in listen])
        self.stores = stores or open_stores("memory:", None)
        self.registrar = self._registrar(registrar) if registrar is not None else None
        self.calls = CallEngine(
            self.timers,
            self._wall_ms,
            calls,
            trunks,
            self.scenarios,
            self.relay,
            self.ledger,
            self.registrar,
        )
        self.agent = Agent(self.timers, self.transports, self.resolver, self.sip, self.calls, sessions=sessions)
        self.calls.connect(self.agent)
        self.standing = Standing(self._wall_ms, self.calls.destinations.down)
        self.registrations = self.calls.registrations = Registrations(self.agent, trunks, self.standing)
        guard = self.registrar.guard if self.registrar is not None else Guard(self.timers.now, self.calls.is_trunk)
        challenger = Challenger(self.timers, DOMAIN, b"secret of a test", guard, self.agent.layer.refuse)
        self.calls.proofs = Proofs(trunks, challenger, lambda invite, host: ALGORITHMS)
        if self.registrar is not None:
            self.registrar.connect(self.agent)
            self.registrar.start()
        self.transports.start()

    def _registrar(self, settings: RegistrarSettings) -> Registrar:
        return Registrar(
            self.timers,
            lambda: self._wall_ms() / 1000,
            settings,
            DOMAIN,
            self.stores.accounts,
            self.stores.locations,
            self.transports,
            b"secret of a test",
            lambda host: self.calls.is_trunk(host),
        )

    def _wall_ms(self) -> int:
        return BEGAN_MS + round(self.network.clock.seconds() * 1000)

    @property
    def record(self) -> CallRecord:
        """The one final record there is."""
        (record,) = self.ledger.finals
        return record

    def settle(self) -> list[str]:
        """Wait until every transaction must be over, and tell what is left, in words: nothing, of a sound engine."""
        self.network.run(2 * self.sip.timeout + self.sip.t4 + 1)
        return self.leftovers()

    def leftovers(self) -> list[str]:
        """What is held at the moment for calls that are not over."""
        layer = self.agent.layer
        left = {
            "calls": self.calls.calls,
            "watched Call-IDs": self.calls._watched,
            "merge keys": self.calls._pending,
            "dialogs": self.agent.dialogs,
            "server transactions": layer.servers,
            "client transactions": layer.clients,
            "connection attempts": self.transports._connecting,
            "limits in use": {name: use.calls for name, use in self.calls.limits._uses.items() if use.calls},
            "timers": self.timers.pending(),
            "media sessions": self.relay.open_sessions,
            "look-ups": self.scenarios.pending,
            "unfinished records": self.ledger.unfinished,
        }
        return [f"{what}: {held}" for what, held in left.items() if held]
