"""The messages of RFC 4475 and RFC 5118, and what becomes of each. Knows bytes and RFCs; nothing of the engine.

`rfc4475/*.dat` are the bytes of RFC 4475 with its notation (section 2: long lines, hexadecimal, repetition) undone;
baddn is without the empty line, as in that RFC's archive. `rfc5118/*.dat` are the messages of RFC 5118, which is
printed with bare LF: as SIP has it, lines end with CRLF, heads with an empty line, and Content-Length (wrong in print
in 4.6, 4.8 and 4.9) is the body's.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

CALL = "call"  # it becomes a call
SILENCE = "silence"  # no answer
CLOSED = "closed"  # no answer, and the connection is closed

Outcome = int | str  # a final status, or one of those above

_HERE = Path(__file__).parent


class Message(NamedTuple):
    """`permitted`: what the RFC's section lets a user agent do; `udp`: what calltrack does with it in a datagram;
    `tcp`: in a stream, which may hold more than one message, and is closed when its framing is lost."""

    rfc: int
    section: str
    name: str
    permitted: tuple[Outcome, ...]
    udp: Outcome
    tcp: tuple[Outcome, ...]

    @property
    def data(self) -> bytes:
        return (_HERE / f"rfc{self.rfc}" / f"{self.name}.dat").read_bytes()


def _rows(rfc: int, *rows: tuple) -> list[Message]:
    return [
        Message(rfc, section, name, permitted, does, tuple(stream) or (does,))
        for section, name, permitted, does, *stream in rows
    ]


# A UAS that is asked for a method or number it does not have may say so: 404, 405 and 501 stand where the RFC only
# says that a message is well formed. REGISTERs are challenged before their Contacts are looked at (RFC 3261 10.3).
MESSAGES = _rows(
    4475,
    # Section, message, what is permitted, what calltrack does, in a stream if that differs
    ("3.1.1.1", "wsinv", (404, 481, CALL), 481),  # To has a tag, of a dialog that is not ours
    ("3.1.1.2", "intmeth", (400, 405, 501), 400),  # well formed; "an endpoint would reject this"; we take no NUL in
    ("3.1.1.3", "esc01", (404, CALL), CALL),
    ("3.1.1.4", "escnull", (401, 403, 404), 401),
    ("3.1.1.5", "esc02", (405, 501), 405),  # RE%47IST%45R is not REGISTER
    ("3.1.1.6", "lwsdisp", (200, 404), 200),
    ("3.1.1.7", "longreq", (404, CALL), CALL),
    ("3.1.1.8", "dblreq", (401, 403, 404), 401, 401, 400, CLOSED),  # in a stream two requests, the second longer than it says
    ("3.1.1.9", "semiuri", (200, 404), 200),
    ("3.1.1.10", "transports", (200, 404), 200),
    ("3.1.1.11", "mpart01", (405, 415, 501), 405),
    ("3.1.1.12", "unreason", (SILENCE,), SILENCE),  # a response to nothing
    ("3.1.1.13", "noreason", (SILENCE,), SILENCE),
    ("3.1.2.1", "badinv01", (400,), 400),
    ("3.1.2.2", "clerr", (400,), 400, CLOSED),  # in a stream: waited for, for a reasonable time
    ("3.1.2.3", "ncl", (400,), 400, CLOSED),
    ("3.1.2.4", "scalar02", (400,), 400),
    ("3.1.2.5", "scalarlg", (SILENCE,), SILENCE),
    ("3.1.2.6", "quotbal", (400,), 400),
    ("3.1.2.7", "ltgtruri", (400, 404, CALL), 400),
    ("3.1.2.8", "lwsruri", (400,), 400),
    ("3.1.2.9", "lwsstart", (400, 404, CALL), 400),
    ("3.1.2.10", "trws", (200, 400), 400),
    ("3.1.2.11", "escruri", (400, 404, CALL), CALL),  # liberal: the escaped header is left out, and never goes on
    ("3.1.2.12", "baddate", (400, 404, CALL), CALL),  # liberal: Date is not read
    ("3.1.2.13", "regbadct", (400, 401, 403), 401),
    ("3.1.2.14", "badaspec", (200, 400), 400),
    ("3.1.2.15", "baddn", (200, 400), 400, CLOSED),  # in a stream its end never comes
    ("3.1.2.16", "badvers", (505,), 505),
    ("3.1.2.17", "mismatch01", (400,), 400),
    ("3.1.2.18", "mismatch02", (400, 405, 501), 400),
    ("3.1.2.19", "bigcode", (SILENCE,), SILENCE),
    ("3.2.1", "badbranch", (200, 400), 200),
    ("3.3.1", "insuf", (400,), 400),
    ("3.3.2", "unkscm", (416,), 416),
    ("3.3.3", "novelsc", (416,), 416),
    ("3.3.4", "unksm2", (400, 401, 403, 404, 416), 401),
    ("3.3.5", "bext01", (420,), 420),
    ("3.3.6", "invut", (415,), 415),
    ("3.3.7", "regaut01", (200, 401), 401),
    ("3.3.8", "multi01", (400,), 400),
    ("3.3.9", "mcl01", (400,), 400, CLOSED),
    ("3.3.10", "bcast", (SILENCE,), SILENCE),
    ("3.3.11", "zeromf", (200, 483), 200),
    ("3.3.12", "cparam01", (200, 401), 401),
    ("3.3.13", "cparam02", (200, 401), 401),
    ("3.3.14", "regescrt", (200, 401), 401),
    ("3.3.15", "sdp01", (406,), 406),
    ("3.4.1", "inv2543", (400, 404, CALL), 400, 400, CLOSED),  # without Contact; in a stream its body has no length
) + _rows(
    5118,
    ("4.1", "ipv6-good", (200, 401), 401),
    ("4.2", "ipv6-bad", (400,), 400),
    ("4.3", "port-ambiguous", (401, 404), 404),  # the address is 2001:db8::10:5070, which is not ours
    ("4.4", "port-unambiguous", (200, 401), 401),
    ("4.5", "via-received-param-with-delim", (481,), 481),
    ("4.5", "via-received-param-no-delim", (200,), 200),
    ("4.6", "ipv6-in-sdp", (404, CALL), CALL),
    ("4.7", "mult-ip-in-header", (481,), 481),
    ("4.8", "mult-ip-in-sdp", (404, CALL), CALL),
    ("4.9", "ipv4-mapped-ipv6", (404, CALL), CALL),
    ("4.10", "ipv6-bug-abnf-3-colons", (200, 400, 404), 200),
    ("4.10", "ipv6-correct-abnf-2-colons", (200, 404), 200),
)
