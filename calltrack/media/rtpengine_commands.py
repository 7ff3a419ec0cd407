"""A call as its rtpengine node is told of it: which node it is, and the commands for it.

Knows the node's words; decides nothing about the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from calltrack.errors import MediaUnavailable
from calltrack.media.ng import NGRefused, NGSilence
from calltrack.media.rtpengine_nodes import Node
from calltrack.media.rtpengine_party import Party
from calltrack.media.rtpengine_sdp import Told, places
from calltrack.media.rtpengine_settings import RTPEngineSettings

if TYPE_CHECKING:
    from calltrack.media.rtpengine import RTPEngineRelay

Place = tuple[str, int, int]  # address, RTP port, RTCP port

_log = Logger()


class NodeCall:
    """One call. `lost`: its node has forgotten it, or says so. Every command raises MediaUnavailable when it is not done."""

    def __init__(self, relay: RTPEngineRelay, call_id: str) -> None:
        self.call_id = call_id
        self.node: Node | None = None  # chosen with the first offer
        self.lost = False
        self._relay = relay

    def __str__(self) -> str:
        return str(self.node)

    @property
    def known(self) -> bool:
        """Whether a node has the call, or had it."""
        return self.node is not None

    def left(self) -> None:
        """The call is over."""
        if self.node is not None:
            self.node.calls -= 1

    async def offer(self, fields: dict[str, Any], streams: list[Told]) -> list[Place | None]:
        """Where the node listens for whoever gets this offer. The first one chooses the node."""
        if self.node is None:
            return await self._begin(fields, streams)
        found = _places(await self.ask("offer", fields), streams)
        self.lost = False
        return found

    async def answer(self, fields: dict[str, Any], streams: list[Told]) -> list[Place | None]:
        """Where the node listens for whoever gets this answer."""
        return _places(await self.ask("answer", fields), streams)

    async def ask(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """A command to the call's node; the reply."""
        assert self.node is not None
        try:
            return await self.node.command(name, {"call-id": self.call_id, **fields})
        except NGRefused as problem:
            self.lost = self.lost or "unknown call-id" in str(problem).lower()
            raise MediaUnavailable(str(problem)) from None
        except NGSilence as problem:
            raise MediaUnavailable(str(problem)) from None

    async def _begin(self, fields: dict[str, Any], streams: list[Told]) -> list[Place | None]:
        """Begin the call at a node that takes it: another one, when one is silent, full or talks nonsense."""
        tried: list[Node] = []
        while True:
            node = self._relay.nodes.take(tried)
            try:
                found = _places(await node.command("offer", {"call-id": self.call_id, **fields}), streams)
            except (NGSilence, NGRefused, MediaUnavailable) as problem:
                tried.append(node)
                last = len(tried) == len(self._relay.nodes.nodes)
                _log.warn(
                    "call {id}: {problem}; {then}",
                    id=self.call_id,
                    problem=problem,
                    then="there is no other node" if last else "trying another node",
                )
                if last:
                    raise MediaUnavailable(str(problem)) from None
                self._relay.counters["failovers"] += 1
            else:
                self.node = node
                node.calls += 1
                return found


def described(settings: RTPEngineSettings, speaker: Party, hearer: Party, from_caller: bool) -> dict[str, Any]:
    """What a node needs to know of a description beside the description: whom to hear, and how to talk to the other."""
    learning = settings.learning
    if learning == "auto":
        learning = "off" if speaker.strict else "heuristic"
    fields: dict[str, Any] = {
        "flags": ["trust-address", "strict-source", "port-latching", f"endpoint-learning-{learning}"],
        "replace": ["origin", "session-connection"],
        "supports": ["load limit"],
        "ICE": "remove",
        "address family": hearer.family,
    }
    if settings.interfaces:
        fields["direction"] = settings.interfaces if from_caller else settings.interfaces[::-1]
    return fields


def _places(reply: dict[str, Any], streams: list[Told]) -> list[Place | None]:
    """As `places`, of the reply to a description with these streams."""
    sdp = reply.get("sdp")
    try:
        found = places(sdp if isinstance(sdp, bytes) else b"", len(streams))
        if any(stream.port and place is None for stream, place in zip(streams, found, strict=True)):
            raise ValueError("it has no port for a stream")
    except ValueError as problem:
        raise MediaUnavailable(f"rtpengine's description cannot be used: {problem}") from None
    return found
