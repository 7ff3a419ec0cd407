"""The media of one call: parties, the streams towards each, and who hears whom.

Knows offers and answers (RFC 3264) and the media timeout; knows no SIP, and sockets only through lanes and ports.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from calltrack.errors import MediaUnavailable, NoMediaAddress, UnusableSDP
from calltrack.interfaces import IMediaSession, IMediaTap
from calltrack.media.lanes import Lane
from calltrack.media.ports import PortPair
from calltrack.media.sdp import Document, Origin, Section
from calltrack.tracking.model import MediaFigures, StreamFigures

if TYPE_CHECKING:
    from calltrack.media.relay import TwistedRelay

CALLER = "caller"

_log = Logger()


class Stream:
    """One m-line towards one party: a port pair, its two lanes, and what the party last said about it."""

    __slots__ = ("active", "audio", "held", "mux", "pair", "rtcp", "rtp")

    def __init__(self, pair: PortPair, relay: TwistedRelay, latched: Callable[[], None]) -> None:
        """`latched` is called when our side and the other have found out whom they hear."""
        self.pair = pair
        self.rtp = Lane(pair.rtp, relay.loop, latched=latched)
        self.rtcp = Lane(pair.rtcp, relay.loop, leader=self.rtp)
        self.active = False
        self.audio = False
        self.held = False
        self.mux = False

    @property
    def ports(self) -> tuple[int, int]:
        return self.pair.port, self.pair.port + 1

    def describe(self, section: Section, rate: int, signalling: str) -> None:
        """Take over what the party's description says."""
        self.active = section.port != 0
        self.held = section.held
        self.mux = section.mux
        self.audio = section.rtp and section.fields[0] == b"audio"
        if not self.active or section.silenced:
            return
        if self.rtp.describe((section.host, section.port), signalling, section.rtp, rate):
            self.rtcp.reopen()
        if section.rtp and section.rtcp is not None:
            self.rtcp.describe(section.rtcp, signalling, False, rate)

    def join(self, other: Stream) -> None:
        """Relay between the two streams, as far as both parties want them."""
        if not (self.active and other.active):
            self.part()
            return
        self.rtp.join(other.rtp)
        if self.rtp.rtp and not (self.mux and other.mux):
            self.rtcp.join(other.rtcp)
        else:
            self.rtcp.part()

    def part(self) -> None:
        self.rtp.part()
        self.rtcp.part()

    def check(self) -> None:
        if self.rtp.check():
            self.rtcp.reopen()  # it has moved with its stream

    def close(self) -> bool:
        """Stop both lanes. Whether anything was ever received."""
        self.rtp.close()
        self.rtcp.close()
        return bool(self.rtp.packets or self.rtcp.packets)


class Party:
    """One end of the call as the relay sees it: our streams towards it, and what we say to it."""

    __slots__ = ("_described", "_latched", "_local", "_relay", "host", "origin", "streams")

    def __init__(self, relay: TwistedRelay, latched: Callable[[], None]) -> None:
        self._relay = relay
        self._latched = latched
        self.host = ""  # where its signalling goes
        self._local: tuple[str, str] | None = None  # what it is shown, and what is bound: chosen once
        self.streams: dict[int, Stream] = {}  # by index of the m-line
        self.origin = Origin(relay.next_session_id())
        self._described = False

    def read(self, sdp: bytes) -> Document:
        """What the party says, taken apart; streams of a family that its ports are not of are rejected. Raises
        UnusableSDP: a party may end all the streams that exist, but it cannot begin with none, nor go on with
        none that can be relayed."""
        document = Document(sdp)
        hosts = [section.host for section in document.sections if section.port and not section.silenced]
        if self._local is None and hosts:
            # Media may be of another family than signalling: then the route to media counts.
            alike = any((":" in host) == (":" in self.host) for host in hosts)
            try:
                self._local = self._relay.addresses.towards(self.host if alike else hosts[0])
            except NoMediaAddress as problem:
                raise UnusableSDP(str(problem), 301) from None
        for index, section in enumerate(document.sections):
            if self._local and not section.silenced and (":" in section.host) != (":" in self._local[1]):
                document.reject(index)
        if not document.usable and not (self._described and document.ended):
            raise UnusableSDP("no stream in the session description has an address and a port that can be relayed")
        return document

    def show(self, document: Document, rejected: Collection[int] = ()) -> bytes:
        """`document` for this party, taking ports for streams it has none for. Raises MediaUnavailable."""
        if self._local is None:
            self._local = self._relay.addresses.towards(self.host)
        shown, bound = self._local
        ports = []
        for index, section in enumerate(document.sections):
            if index in rejected:
                document.reject(index)
            if section.port and index not in self.streams:
                self.streams[index] = Stream(self._relay.ports.take(bound), self._relay, self._latched)
            ports.append(self.streams[index].ports if section.port else None)
        return document.render(self.origin, shown, ports)

    def describe(self, document: Document, rate_from: Document) -> None:
        """`document` is what the party says of its own side; streams it does not name are off. Clock rates are
        those of `rate_from`, the answer."""
        self._described = True
        for index, stream in self.streams.items():
            if index < len(document.sections):
                rates = rate_from.sections[index : index + 1]
                rate = rates[0].clock_rate if rates else 8000
                stream.describe(document.sections[index], rate, self.host)
            else:
                stream.active = False

    @property
    def held(self) -> bool:
        """Whether the party does not want to hear anything now."""
        active = [stream.held for stream in self.streams.values() if stream.active]
        return bool(active) and all(active)

    def figures(self) -> StreamFigures:
        lanes = [stream.rtp for stream in self.streams.values()]
        for lane in lanes:
            if lane.bypass is not None:
                lane.bypass.look()
        if not lanes:
            return StreamFigures()
        busiest = max(lanes, key=lambda lane: lane.packets)
        return StreamFigures(
            packets=sum(lane.packets for lane in lanes),
            bytes=sum(lane.bytes for lane in lanes),
            lost=sum(lane.lost for lane in lanes),
            jitter_ms=round(busiest.jitter * 1000 / busiest.rate, 3),
            strangers=sum(lane.count_strangers() for lane in lanes),
        )

    def part(self) -> None:
        for stream in self.streams.values():
            stream.part()

    def take_back(self) -> None:
        for stream in self.streams.values():
            stream.rtp.take_back()

    def observe(self, tap: Callable[[bytes, float], None] | None) -> None:
        """Tell `tap` of the RTP of what is audio now."""
        for stream in self.streams.values():
            stream.rtp.observe(tap if stream.audio else None)

    def close(self, now: float) -> None:
        for stream in self.streams.values():
            self._relay.ports.give_back(stream.pair, stream.close(), now)
        self.streams.clear()


@implementer(IMediaSession)
class Session:
    """See IMediaSession."""

    __slots__ = (
        "_heard",
        "_offers",
        "_on_timeout",
        "_parties",
        "_quiet_since",
        "_relay",
        "_seen",
        "_tap",
        "call_id",
        "connected",
        "final",
    )

    def __init__(self, relay: TwistedRelay, call_id: str, on_timeout: Callable[[], object] | None) -> None:
        self._relay = relay
        self.call_id = call_id
        self._on_timeout = on_timeout
        self._parties: dict[str, Party] = {}
        self._offers: dict[tuple[str, str], Document] = {}  # by (source, target), until they are answered
        self._heard = ""  # the party that the caller hears now
        self.connected = ""  # the party that has answered the call
        self.final: MediaFigures | None = None
        self._seen = -1
        self._quiet_since = 0.0
        self._tap: IMediaTap | None = None

    # IMediaSession

    def offer(
        self, source: str, target: str, sdp: bytes, source_host: str, target_host: str, allow: tuple[str, ...] = ()
    ) -> Deferred[bytes]:
        return self._outcome(self._offer, source, target, sdp, source_host, target_host, allow)

    def answer(self, source: str, target: str, sdp: bytes, source_host: str, target_host: str) -> Deferred[bytes]:
        return self._outcome(self._answer, source, target, sdp, source_host, target_host)

    def connect(self, party: str) -> None:
        if self.connected or self.final is not None:
            return
        self.connected = party
        for name in [name for name in self._parties if name not in (CALLER, party)]:
            self._forget(name)
        self._hear(party)
        self._quiet_since = self._relay.clock.seconds()
        self._latched()  # perhaps they have, with early media

    def drop(self, party: str) -> None:
        if party in self._parties:
            self._forget(party)

    def tap(self, observer: IMediaTap | None) -> None:
        if self.final is None:
            self._tap = observer
            self._observe()

    def figures(self) -> MediaFigures:
        if self.final is not None:
            return self.final
        caller, target = (
            self._parties[name].figures() if name in self._parties else StreamFigures()
            for name in (CALLER, self.connected or self._heard)
        )
        return MediaFigures(caller=caller, target=target, verdict=verdict_of(caller.packets, target.packets))

    def close(self) -> MediaFigures:
        if self.final is None:
            self.final = self.figures()
            self._tap = None
            for name in list(self._parties):
                self._forget(name)
            self._relay.forget(self)
        return self.final

    # For the relay

    def check(self, now: float, timeout: float) -> None:
        """Called a few times a second: heal lanes, and see whether the call has gone silent."""
        if self.final is not None:
            return
        packets = 0
        for party in self._parties.values():
            for stream in party.streams.values():
                packets += stream.rtp.packets + stream.rtcp.packets
                if stream.rtp.source is not None:
                    stream.check()
        if packets != self._seen:
            self._seen = packets
            self._quiet_since = now
        elif self.connected and self._on_timeout is not None and timeout and now - self._quiet_since >= timeout:
            if any(party.held for party in self._parties.values()):
                self._quiet_since = now
            else:
                self._relay.clock.callLater(0, self._on_timeout)
                self._on_timeout = None

    def pairs(self) -> list[tuple[Lane, Lane]]:
        """The RTP lanes of caller and target that have both latched, whose packets need nothing but to be passed on,
        and come to them."""
        caller, target = self._parties.get(CALLER), self._parties.get(self.connected)
        if self._tap is not None or caller is None or target is None or caller.held or target.held:
            return []
        found = []
        for index, stream in caller.streams.items():
            lane = stream.rtp
            peer = lane.peer
            if peer is None or not lane.rtp or index not in target.streams or peer is not target.streams[index].rtp:
                continue
            if lane.source and peer.source and lane.bypass is None and not (lane.barred or peer.barred):
                found.append((lane, peer))
        return found

    def steady(self, ticks: int) -> bool:
        """Called once a tick: whether in any of `pairs` packets have flowed both ways for so many `ticks`."""
        return any([min(lane.steady(), peer.steady()) >= ticks for lane, peer in self.pairs()])

    @property
    def passed_by(self) -> bool:
        """Whether no RTP comes through its lanes."""
        lanes = [stream.rtp for party in self._parties.values() for stream in party.streams.values()]
        return all(lane.bypass is not None for lane in lanes if lane.peer is not None)

    # Inside

    def _latched(self) -> None:
        self._relay.latched(self)

    def _outcome(self, rewrite: Callable[..., bytes], *arguments) -> Deferred[bytes]:
        if self.final is not None:
            return fail(MediaUnavailable("the call's media is closed"))
        try:
            return succeed(rewrite(*arguments))
        except (UnusableSDP, MediaUnavailable) as error:
            return fail(error)

    def _offer(self, source, target, sdp, source_host, target_host, allow) -> bytes:
        speaker, hearer = self._party(source, source_host), self._party(target, target_host)
        document = speaker.read(sdp)
        if allow and document.usable:
            document.restrict(allow)
        text = hearer.show(document)
        self._offers[source, target] = document  # counts once it is answered: a refused offer changes nothing
        return text

    def _answer(self, source, target, sdp, source_host, target_host) -> bytes:
        speaker, hearer = self._party(source, source_host), self._party(target, target_host)
        document = speaker.read(sdp)
        offered = self._offers.pop((target, source), None)
        rejected = () if offered is None else [n for n, section in enumerate(offered.sections) if not section.port]
        text = hearer.show(document, rejected)
        speaker.take_back()
        hearer.take_back()
        if offered is not None:
            hearer.describe(offered, rate_from=document)
        speaker.describe(document, rate_from=document)
        self._quiet_since = self._relay.clock.seconds()  # whoever comes back from hold gets the whole time
        other = target if source == CALLER else source
        if not self.connected or self.connected == other:
            self._hear(other)
        return text

    def _party(self, name: str, host: str) -> Party:
        party = self._parties.get(name)
        if party is None:
            party = self._parties[name] = Party(self._relay, self._latched)
        party.host = host
        return party

    def _hear(self, name: str) -> None:
        """Let the caller and this party hear each other, and nobody else."""
        if self._heard != name and self._heard in self._parties:
            self._parties[self._heard].part()
        self._heard = name
        if CALLER in self._parties and name in self._parties:
            others = self._parties[name].streams
            for index, stream in self._parties[CALLER].streams.items():
                if index in others:
                    stream.join(others[index])
        if self._tap is not None:
            self._observe()

    def _observe(self) -> None:
        """Let the tap hear the two parties that hear each other; of the others nothing is relayed."""
        for name, said in ((CALLER, CALLER), (self._heard, "target")):
            if name in self._parties:
                self._parties[name].observe(partial(self._tell, said) if self._tap is not None else None)

    def _tell(self, party: str, packet: bytes, at: float) -> None:
        try:
            self._tap.packet(party, packet, at)
        except Exception:
            _log.failure("what listens to call {call} failed and hears no more of it; the call goes on", call=self.call_id)
            self.tap(None)

    def _forget(self, name: str) -> None:
        self._parties.pop(name).close(self._relay.clock.seconds())
        for parties in [parties for parties in self._offers if name in parties]:
            del self._offers[parties]


def verdict_of(caller: int, target: int) -> str:
    if caller and target:
        return "both-ways"
    if caller:
        return "target-silent"
    return "caller-silent" if target else "none"
