"""One run of the race explorer: a caller, two targets and an engine between them, a script that moves them, and what must
hold whatever happened.

Knows the test kit; of the engine only what it says and what it still holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from twisted.internet.task import Clock

from calltrack.errors import UnusableSDP
from calltrack.sip.message import Request, Response, parse
from calltrack.testing.engine import TestEngine, sip_target
from calltrack.testing.network import Link, MemoryNetwork
from calltrack.testing.peers import PeerDialog
from tests.races.laws import Seen, broken, repeated_2xx, unacknowledged
from tests.races.players import MANNERS, Player

HOSTS = {"caller": "198.51.100.7", "one": "203.0.113.20", "two": "203.0.113.21", "engine": "192.0.2.1"}
NAMES = {host: name for name, host in HOSTS.items()}
WELL = frozenset(MANNERS) - {"answer"}
RING_TIME = 20


class Step(NamedTuple):
    """`who` does `what` in its variant number `how`; then `wait` seconds pass."""

    who: str  # "caller", "one", "two", "engine"
    what: str
    how: int = 0
    wait: float = 0.05


@dataclass(frozen=True)
class Setting:
    """What a run happens in."""

    manners: dict[str, frozenset[str]] = field(default_factory=dict)  # by player; WELL where not given
    ring: str = "in-order"
    link: Link = Link()
    seed: int = 0
    lookup: float = 0.0  # seconds that look-ups take
    rewriting: float = 0.0  # seconds that the relay takes
    limit: int = 0  # calls at once at each target
    transfers: bool = False  # whether targets may transfer the caller to each other

    @property
    def lossless(self) -> bool:
        return not self.link.loss


class Broken(AssertionError):
    """A run in which something did not hold: what, and the ladder of the run."""


class World:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.network = MemoryNetwork(Clock(), setting.seed, setting.link)
        self.players = {
            name: Player(self.network, HOSTS[name], manners=setting.manners.get(name, WELL))
            for name in ("caller", "one", "two")
        }
        targets = [sip_target(HOSTS[name], ring_time=RING_TIME, max_calls=setting.limit) for name in ("one", "two")]
        transfers = tuple(targets) if setting.transfers else ()
        self.engine = TestEngine(self.network, targets, ring=setting.ring, transfers=transfers)
        self.engine.scenarios.delay = setting.lookup
        self.engine.relay.delay = setting.rewriting

    def play(self, script: list[Step]) -> None:
        """Go through a script, let everything run out, and check what must hold. Raises Broken."""
        try:
            for step in script:
                if step.who == "engine":
                    self._meddle(step)
                else:
                    self.players[step.who].play(step.what, step.how)
                self.network.run(step.wait)
            problems = [*self._run_out(), *self._problems()]
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"{error!r}\n{self.ladder(script)}") from error
        if problems:
            raise Broken("\n".join([*problems, self.ladder(script)]))

    def _meddle(self, step: Step) -> None:
        """Something happens inside the engine."""
        engine = self.engine
        if step.what == "silence":
            for session in engine.relay.sessions:
                if session.connected and not session.closed:
                    session.time_out()
        elif step.what == "hang-up":
            for call in list(engine.calls.calls.values()):
                call.hang_up("told to")
        elif step.what == "unusable":
            engine.relay.failures[("offer", "answer")[step.how % 2]].append(UnusableSDP("told to"))

    def _run_out(self) -> list[str]:
        """Wait until nobody waits for anything; then the caller hangs up what is left, as it should. Returns what
        should not have been left."""
        engine, network, caller = self.engine, self.network, self.players["caller"]
        network.link(HOSTS["engine"], HOSTS["caller"], Link())
        for name in ("one", "two"):
            network.link(HOSTS["engine"], HOSTS[name], Link())
        for player in self.players.values():
            player.manners = WELL
        network.run(2 * RING_TIME + 3 * engine.sip.timeout)
        problems = unacknowledged(self._seen())
        for dialog in self._dialogs_of_the_caller():
            caller.bye(dialog)
            network.run(0.1)
        network.run(2 * engine.sip.timeout)
        return problems

    def _dialogs_of_the_caller(self) -> list[PeerDialog]:
        """One for every 2xx that the engine has answered its INVITEs with."""
        found = {}
        for _, source, destination, data in self.network.trace:
            if (source[0], destination[0]) == (HOSTS["engine"], HOSTS["caller"]):
                message = parse(data)
                if isinstance(message, Response) and message.cseq[1] == b"INVITE" and 200 <= message.status < 300:
                    local, remote = message.get(b"from"), message.get(b"to")
                    found[local, remote] = PeerDialog(message.call_id, local, remote, message.contact, 1000)
        return list(found.values())

    # What must hold

    def _problems(self) -> list[str]:
        engine = self.engine
        problems = [f"left: {what}" for what in engine.settle()]
        taken = engine.calls.counters["calls"]
        if len(engine.ledger.finals) != taken:
            problems.append(f"{taken} calls and {len(engine.ledger.finals)} final records")
        problems += broken(self._seen())
        if self.setting.lossless:
            problems += self._unanswered()
            problems += self._disagreements()
            problems += repeated_2xx(self._seen())
        return problems

    def _seen(self) -> list[Seen]:
        seen = []
        for at, source, destination, data in self.network.trace:
            outward = source[0] == HOSTS["engine"]
            seen.append(Seen(at, outward, NAMES[(destination if outward else source)[0]], parse(data)))
        return seen

    def _unanswered(self) -> list[str]:
        return [
            f"{name}: {method.decode()} at {at:.3f} was never answered"
            for name, player in self.players.items()
            for branch, method, at in player.asked
            if (branch, method) not in player.answered
        ]

    def _disagreements(self) -> list[str]:
        """Dialogs that a 2xx has made and no BYE has ended, by Call-ID and the tag of whoever answered."""
        made: dict[tuple[bytes, bytes], str] = {}
        given_up: dict[bytes, float] = {}  # by Call-ID: when the engine does not wait for an answer any more
        timeout = self.engine.sip.timeout
        cancelled: set[bytes] = set()
        ended: set[tuple[bytes, bytes]] = set()
        acknowledged: set[tuple[bytes, bytes]] = set()
        for at, source, destination, data in self.network.trace:
            message = parse(data)
            outward = source[0] == HOSTS["engine"]
            tags = (message.call_id, message.to.tag), (message.call_id, message.from_.tag)
            if isinstance(message, Request):
                if message.method == b"BYE":
                    ended.update(tags)
                elif message.method == b"ACK":
                    acknowledged.add(tags[0])
                elif message.method == b"CANCEL" and outward:
                    if message.call_id not in cancelled:
                        given_up[message.call_id] = at + timeout  # section 9.1
                    cancelled.add(message.call_id)
                elif message.method == b"INVITE" and outward:
                    given_up.setdefault(message.call_id, at + timeout)  # Timer B
            elif message.cseq[1] == b"INVITE" and message.status < 200 and not outward:
                if at < given_up.get(message.call_id, 0.0) and message.call_id not in cancelled:
                    given_up[message.call_id] = float("inf")
            elif message.cseq[1] == b"INVITE" and message.status >= 300 and not outward:
                given_up[message.call_id] = 0.0  # that was its final answer
            elif message.cseq[1] == b"INVITE" and 200 <= message.status < 300 and message.contact:
                if outward or at < given_up.get(message.call_id, 0.0) - 0.2:
                    made.setdefault(tags[0], f"{NAMES[source[0]]} -> {NAMES[destination[0]]}")
        problems = [f"a dialog without an end: {who} {key}" for key, who in made.items() if key not in ended]
        problems += [
            f"a 2xx without ACK: {who} {key}"
            for key, who in made.items()
            if key not in acknowledged and not who.startswith("engine")
        ]
        return problems

    def ladder(self, script: list[Step]) -> str:
        """The script, to be played again, and every message of the run."""
        lines = [f"{self.setting}", "["]
        lines += [f"    Step({', '.join(map(repr, step))})," for step in script] + ["]"]
        for at, source, destination, data in self.network.trace:
            message = parse(data)
            number, method = message.cseq
            tags = f"{message.from_.tag[-6:].decode()}>{message.to.tag[-6:].decode()}"
            lines.append(
                f"{at:9.3f} {NAMES[source[0]]:>6} -> {NAMES[destination[0]]:6} {message.summary} {number} {tags}"
                f"{' sdp' if message.body else ''} {message.call_id[-6:].decode()}"
            )
        return "\n".join(lines)
