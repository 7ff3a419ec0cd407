"""The media of one call on an rtpengine node.

Parties are the node's tags. Commands go out one after the other, so that the node sees the call change in the order in which
it did. Knows offers and answers (RFC 3264) and the node's commands; knows no SIP.

An offer that only changes what its sender says of streams that exist is not told to the node before it has been answered: a
node takes a new address over at once, and an offer that is refused must change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from calltrack.errors import CalltrackError, MediaUnavailable
from calltrack.interfaces import IMediaSession
from calltrack.media.rtpengine_commands import NodeCall, described
from calltrack.media.rtpengine_figures import figures_in, packets_in
from calltrack.media.rtpengine_party import Party
from calltrack.media.rtpengine_sdp import NOTHING, Told, description
from calltrack.media.sdp import Document
from calltrack.tracking.model import MediaFigures

if TYPE_CHECKING:
    from calltrack.media.rtpengine import RTPEngineRelay

CALLER = "caller"

_log = Logger()


class Dialogue(NamedTuple):
    """What the node knows of the caller and one target. `answer` None: it knows the offer alone."""

    offerer: str
    answerer: str
    offer: list[Told]
    answer: list[Told] | None


@implementer(IMediaSession)
class RTPEngineSession:
    """See IMediaSession. `figures` and `close` answer with Deferreds, which never fail."""

    def __init__(self, relay: RTPEngineRelay, call_id: str, on_timeout: Callable[[], object] | None) -> None:
        self.call_id = call_id
        self.connected = ""  # the party that has answered the call
        self.final: MediaFigures | None = None
        self.recording = ""  # where the recording is, once the node has begun one
        self._wanted = self._recording = False
        self._relay = relay
        self._on_timeout = on_timeout
        self._turn = DeferredLock()
        self._parties: dict[str, Party] = {}
        self._offers: dict[tuple[str, str], Document] = {}  # by (source, target), until they are answered
        self._dialogues: dict[str, Dialogue] = {}  # by target
        self._heard = ""  # the party that the caller hears now
        self._stale = ""  # a target that was dropped while it was the node's only one
        self._blocked = False  # the node passes nothing on
        self._muted: set[str] = set()  # targets that it passes nothing on of
        self.node = NodeCall(relay, call_id)
        self._last = MediaFigures()
        self._closing: list[Deferred[MediaFigures]] | None = None
        self._packets = -1
        self._quiet_since = 0.0
        self._polled = 0.0
        self._polling = False

    # IMediaSession

    def offer(
        self, source: str, target: str, sdp: bytes, source_host: str, target_host: str, allow: tuple[str, ...] = ()
    ) -> Deferred[bytes]:
        return self._in_turn(self._offer, source, target, sdp, source_host, target_host, allow)

    def answer(self, source: str, target: str, sdp: bytes, source_host: str, target_host: str) -> Deferred[bytes]:
        return self._in_turn(self._answer, source, target, sdp, source_host, target_host)

    def connect(self, party: str) -> None:
        if not self.connected and self._closing is None:
            self.connected = party
            self._quiet_since = self._polled = self._relay.clock.seconds()
            self._in_turn(self._connect, party).addErrback(self._undone, "connecting")

    def drop(self, party: str) -> None:
        if party != CALLER and party in self._parties and self._closing is None:
            self._in_turn(self._drop, party).addErrback(self._undone, "dropping a target")

    def tap(self, observer: Any) -> None:
        """Whoever wants to hear the call gets it recorded on the node, from the moment in which it is answered."""
        self._wanted = observer is not None
        if self.connected and self._closing is None:
            self._in_turn(self._record).addErrback(self._undone, "recording")
        if observer is not None:
            raise MediaUnavailable("its packets do not pass through calltrack: rtpengine records it")

    def figures(self) -> Deferred[MediaFigures]:
        if self.final is not None:
            return succeed(self.final)
        return self._in_turn(self._query).addErrback(self._undone, "asking for figures").addCallback(lambda _: self._last)

    def close(self) -> Deferred[MediaFigures]:
        if self.final is not None:
            return succeed(self.final)
        closed: Deferred[MediaFigures] = Deferred()
        if self._closing is not None:
            self._closing.append(closed)
            return closed
        self._closing = [closed]
        self._on_timeout = None
        self._turn.run(lambda: Deferred.fromCoroutine(self._delete())).addErrback(self._undone, "closing").addBoth(
            self._ended
        )
        return closed

    # For the relay

    def check(self, now: float, timeout: float, interval: float) -> None:
        """Called a few times a second: ask the node, every `interval` seconds, whether packets still come; after `timeout`
        seconds without any (0 = never) the call is told."""
        if not self.connected or self._closing is not None or self._polling or now - self._polled < interval:
            return
        self._polling = True
        self._in_turn(self._look, timeout).addErrback(self._undone, "looking after a call")

    def turn(self) -> Deferred[None]:
        """Fires when everything that was asked of the node up to now has been done."""
        return self._turn.run(lambda: None)

    # In turn

    def _in_turn(self, act: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        async def go() -> Any:
            if self._closing is not None:
                raise MediaUnavailable("the call's media is closed")
            return await act(*arguments)

        return self._turn.run(lambda: Deferred.fromCoroutine(go()))

    async def _offer(self, source, target, sdp, source_host, target_host, allow) -> bytes:
        speaker, hearer = self._party(source, source_host), self._party(target, target_host)
        document = speaker.read(sdp)
        if allow and document.usable:
            document.restrict(allow)
        said = speaker.described(document)
        if self.node.lost or any(stream.port and index not in hearer.ports for index, stream in enumerate(said)):
            streams = said if self.node.lost else speaker.proposed(said, hearer.ports)
            await self._tell_offer(source, target, streams)
            other = target if source == CALLER else source
            if self._stale:
                await self._forget(self._stale)
                self._stale = ""
            if self._heard not in ("", other):
                await self._join(self._heard)  # the node has turned to the new one
        self._offers[source, target] = document  # counts once it is answered
        return hearer.show(document)

    async def _answer(self, source, target, sdp, source_host, target_host) -> bytes:
        speaker, hearer = self._party(source, source_host), self._party(target, target_host)
        document = speaker.read(sdp)
        offered = self._offers.pop((target, source), None)
        other = target if source == CALLER else source
        known = self._dialogues.get(other)
        if offered is not None:
            for index, section in enumerate(offered.sections[: len(document.sections)]):
                if not section.port:
                    document.reject(index)
            hearer.says = hearer.described(offered)
        speaker.says = speaker.described(document)
        if offered is not None or known is None:
            wanted = Dialogue(target, source, hearer.says, speaker.says)
        elif known.answerer == source:
            wanted = known._replace(answer=speaker.says)
        else:
            wanted = known._replace(offer=speaker.says)
        heard = not self.connected or self.connected == other
        if self.node.lost or known != wanted or self._heard != other:
            if self.node.lost or known is None or known[:3] != wanted[:3]:
                await self._tell_offer(wanted.offerer, wanted.answerer, wanted.offer)
            await self._tell_answer(wanted, aloud=heard)
            if heard:
                await self._hear(other)
            elif self._heard:
                await self._join(self._heard)
        self._quiet_since = self._relay.clock.seconds()  # whoever comes back from hold gets the whole time
        return hearer.show(document)

    async def _connect(self, party: str) -> None:
        for name in [name for name in self._parties if name not in (CALLER, party)]:
            await self._drop(name)
        if self._heard != party:
            await self._join(party)
        await self._record()

    async def _record(self) -> None:
        """Have the node begin or stop recording, as it is wanted."""
        if not self.node.known or self._wanted == self._recording:
            return
        await self.node.ask("start recording" if self._wanted else "stop recording", {})
        self._recording = self._wanted
        self.recording = f"rtpengine:{self.node}/{self.call_id}"

    async def _drop(self, name: str) -> None:
        if self._parties.pop(name, None) is None:
            return
        for pair in [pair for pair in self._offers if name in pair]:
            del self._offers[pair]
        if self._dialogues.pop(name, None) is None:
            return
        if self._heard == name:
            self._heard = ""
        self._muted.discard(name)
        if self._dialogues:
            await self._forget(name)
        else:  # a call without a target is no call to the node, and the caller's ports would go
            self._stale = name
            self._blocked = True
            await self.node.ask("block media", {"flags": ["all"]})

    async def _query(self) -> None:
        if self.node.known:
            self._count(await self.node.ask("query", {}))

    async def _look(self, timeout: float) -> None:
        try:
            await self._query()
        except MediaUnavailable:
            if not self.node.lost:
                raise  # the node is silent, which says nothing of the media
        finally:
            self._polling = False
            now = self._polled = self._relay.clock.seconds()
        if not timeout or now - self._quiet_since < timeout or self._on_timeout is None:
            return
        if any(party.held for party in self._parties.values()):
            self._quiet_since = now
        else:
            self._relay.clock.callLater(0, self._on_timeout)
            self._on_timeout = None

    async def _delete(self) -> None:
        if self.node.known:
            self._count(await self.node.ask("delete", {"from-tag": CALLER, "delete delay": 0}))

    def _ended(self, _: Any) -> None:
        self.final = self._last
        self.node.left()
        self._relay.forget(self)
        waiting, self._closing = self._closing, []
        self._parties.clear()
        for closed in waiting:
            closed.callback(self.final)

    # What the node is told

    async def _join(self, name: str) -> None:
        """Let the caller and this target hear each other, and nobody else."""
        dialogue = self._dialogues.get(name)
        if dialogue is not None and dialogue.answer is not None:
            await self._tell_offer(dialogue.offerer, dialogue.answerer, dialogue.offer)
            await self._tell_answer(dialogue)
            await self._hear(name)

    async def _hear(self, name: str) -> None:
        """The node has turned the caller to this target; the one before would still be passed on."""
        before, self._heard = self._heard, name
        if before not in ("", name):
            self._muted.add(before)
            await self.node.ask("block media", {"from-tag": before})
        if name in self._muted:
            self._muted.discard(name)
            await self.node.ask("unblock media", {"from-tag": name})

    async def _tell_offer(self, source: str, target: str, streams: list[Told]) -> None:
        fields = self._fields(source, target, source, streams)
        if not self._heard:
            fields["drop-traffic"] = "start"  # until somebody has answered
        self._show(self._parties[target], await self.node.offer(fields, streams))
        other = target if source == CALLER else source
        self._dialogues[other] = Dialogue(source, target, streams, None)

    async def _tell_answer(self, dialogue: Dialogue, aloud: bool = True) -> None:
        answer = list(dialogue.answer or ())
        answer = (answer + [NOTHING] * len(dialogue.offer))[: len(dialogue.offer)]
        fields = self._fields(dialogue.offerer, dialogue.answerer, dialogue.answerer, answer)
        if aloud:
            fields["drop-traffic"] = "stop"
        self._show(self._parties[dialogue.offerer], await self.node.answer(fields, answer))
        other = dialogue.answerer if dialogue.offerer == CALLER else dialogue.offerer
        self._dialogues[other] = dialogue
        if aloud and self._blocked:
            self._blocked = False
            await self.node.ask("unblock media", {"flags": ["all"]})

    async def _forget(self, name: str) -> None:
        await self.node.ask("delete", {"from-tag": CALLER, "to-tag": name, "delete delay": 0})

    def _fields(self, offerer: str, answerer: str, speaker: str, streams: list[Told]) -> dict[str, Any]:
        hearer = answerer if speaker == offerer else offerer
        fields = described(self._relay.settings, self._parties[speaker], self._parties[hearer], speaker == CALLER)
        return {"from-tag": offerer, "to-tag": answerer, "sdp": description(streams), **fields}

    # Inside

    def _party(self, name: str, host: str) -> Party:
        party = self._parties.get(name)
        if party is None:
            party = self._parties[name] = Party(self._relay.next_session_id())
        party.host = host
        return party

    def _show(self, party: Party, found: list[tuple[str, int, int] | None]) -> None:
        """Take over where the node listens for a party."""
        for index, place in enumerate(found):
            if place is not None:
                party.place, *ports = place
                party.ports[index] = ports[0], ports[1]

    def _count(self, reply: dict[str, Any]) -> None:
        """Take over what the node has counted."""
        if not reply.get("tags"):
            return
        target = self.connected or self._heard
        self._last = figures_in(reply, CALLER, target)
        packets = packets_in(reply)
        if packets != self._packets:
            self._packets = packets
            self._quiet_since = self._relay.clock.seconds()

    def _undone(self, failure: Failure, what: str) -> None:
        """Something that nobody waits for did not work."""
        if failure.check(CalltrackError):
            self._relay.counters["undone"] += 1
            _log.warn("call {id}: {what}: {error}", id=self.call_id, what=what, error=failure.value)
        else:
            _log.failure("call {id}: {what} failed on a bug", failure, id=self.call_id, what=what)
