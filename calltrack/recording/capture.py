"""A capture of a call's RTP that Wireshark plays: each packet with made-up IP and UDP headers, and in front of it as much
SIP as tells Wireshark which ports and formats there are.

Knows the pcap format and session descriptions; the addresses are those of documentation (RFC 5737), nobody's.
"""

from __future__ import annotations

from calltrack import pcap
from calltrack.recording.files import Growing
from calltrack.recording.formats import Formats

_PLACES = {"caller": ("192.0.2.1", 4000), "target": ("192.0.2.2", 4000)}
_SIP = 5060


class Capture(Growing):
    """`describe` says what the formats are from now on, `add` keeps a packet, `flush` writes. Raises OSError."""

    def __init__(self, directory: str, name: str, call: str) -> None:
        super().__init__(directory, name)
        self._call = call.encode("ascii", "replace")
        self._descriptions = 0
        self._waiting = [pcap.header()]
        self._packets = 0

    @property
    def empty(self) -> bool:
        return not self._packets

    def describe(self, at_us: int, caller: Formats, target: Formats) -> None:
        self._descriptions += 1
        number = self._descriptions
        self._message(at_us, "caller", b"INVITE sip:target@192.0.2.2 SIP/2.0", caller, number)
        self._message(at_us, "target", b"SIP/2.0 200 OK", target, number)

    def add(self, at_us: int, party: str, data: bytes) -> None:
        self._packets += 1
        self._waiting.append(pcap.packet(at_us, pcap.udp(_PLACES[party], _PLACES[_other(party)], data)))

    def flush(self) -> None:
        if self._waiting:
            content = b"".join(self._waiting)
            self._waiting.clear()
            self.append(content)

    def complete(self) -> None:
        self.flush()
        super().complete()

    def _message(self, at_us: int, party: str, start: bytes, said: Formats, number: int) -> None:
        host, port = _PLACES[party]
        kinds = b" ".join(b"%d" % kind for kind in said.names) or b"0"
        lines = (
            *(b"v=0", b"o=- 1 %d IN IP4 %b" % (number, host.encode()), b"s=recording"),
            *(b"c=IN IP4 " + host.encode(), b"t=0 0", b"m=audio %d RTP/AVP %b" % (port, kinds), *said.lines, b""),
        )
        body = b"\r\n".join(lines)
        head = (
            start,
            b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK%b-%d" % (self._call, number),
            b"From: <sip:caller@192.0.2.1>;tag=caller",
            b"To: <sip:target@192.0.2.2>;tag=target",
            b"Call-ID: " + self._call,
            b"CSeq: %d INVITE" % number,
            b"Contact: <sip:%b@%b>" % (party.encode(), host.encode()),
            b"Content-Type: application/sdp",
            b"Content-Length: %d" % len(body),
        )
        message = b"\r\n".join((*head, b"", body))
        target = _PLACES[_other(party)][0]
        self._waiting.append(pcap.packet(at_us, pcap.udp((host, _SIP), (target, _SIP), message)))


def _other(party: str) -> str:
    return "target" if party == "caller" else "caller"
