"""One end of a call whose media an rtpengine node carries: what it says of its streams, and what it is shown.

Knows descriptions (RFC 3264); knows no commands and no sockets.
"""

from __future__ import annotations

from calltrack.errors import UnusableSDP
from calltrack.media.rtpengine_sdp import NOTHING, Told, natted, told_of
from calltrack.media.sdp import Document, Origin

_HELD = ("sendonly", "inactive")


class Party:
    """`says`: its streams as it described them when that last counted; `ports`: the node's (RTP, RTCP) ports towards it, by
    m-line, and `place` the node's address there."""

    __slots__ = ("_family", "host", "origin", "place", "ports", "says", "strict")

    def __init__(self, session_id: int) -> None:
        self.host = ""  # where its signalling goes
        self.origin = Origin(session_id)
        self.place = ""
        self.ports: dict[int, tuple[int, int]] = {}
        self.says: list[Told] = []
        self.strict = True  # its packets come from where it says
        self._family = ""

    @property
    def family(self) -> str:
        """IP4 or IP6: of its media, or of its signalling while it has not described any."""
        return self._family or _family_of(self.host)

    @property
    def held(self) -> bool:
        """Whether it does not want to hear anything now."""
        active = [stream for stream in self.says if stream.port]
        return bool(active) and all(stream.direction in _HELD for stream in active)

    def read(self, sdp: bytes) -> Document:
        """What it says, taken apart; streams of a family that its ports are not of are rejected. Raises UnusableSDP: a party
        may end all the streams that exist, but it cannot begin with none, nor go on with none that can be relayed."""
        document = Document(sdp)
        named = [section.host for section in document.sections if section.port and not section.silenced]
        if not self._family and named:
            alike = any(_family_of(host) == _family_of(self.host) for host in named)
            self._family = _family_of(self.host if alike else named[0])
        for index, section in enumerate(document.sections):
            if section.silenced:
                wrong = not self._said(index).port  # on hold from the beginning: there is no address
            else:
                wrong = _family_of(section.host) != self.family
            if wrong:
                document.reject(index)
        if not document.usable and not (self.says and document.ended):
            raise UnusableSDP("no stream in the session description has an address and a port that can be relayed")
        return document

    def described(self, document: Document) -> list[Told]:
        """The streams that `document`, which it sent, has."""
        hosts = [section.host for section in document.sections if section.port]
        self.strict = not any(natted(host, self.host) for host in hosts)
        return [told_of(section, self.host, self._said(index)) for index, section in enumerate(document.sections)]

    def proposed(self, said: list[Told], known: dict[int, tuple[int, int]]) -> list[Told]:
        """Of an offer that is not answered yet, what a node may be told: streams that it has ports for towards the
        other party (`known`) stay as they are."""
        return [
            before if index in known and (before := self._said(index)).port else stream
            for index, stream in enumerate(said)
        ]

    def show(self, document: Document) -> bytes:
        """`document`, which another party sent, for this one."""
        ports = [self.ports.get(index) if section.port else None for index, section in enumerate(document.sections)]
        return document.render(self.origin, self.place, ports)

    def _said(self, index: int) -> Told:
        return self.says[index] if index < len(self.says) else NOTHING


def _family_of(host: str) -> str:
    return "IP6" if ":" in host else "IP4"
