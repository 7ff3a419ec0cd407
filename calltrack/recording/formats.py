"""What the payload types of a call's audio mean: read out of its session descriptions (RFC 8866, RFC 3551).

Knows audio m-lines and their formats; knows no packets and no relay.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_MOST = 32  # payload types of a description that are looked at

# RFC 3551 table 4: what needs no rtpmap.
_STATIC = {
    0: "PCMU/8000", 3: "GSM/8000", 4: "G723/8000", 5: "DVI4/8000", 6: "DVI4/16000", 7: "LPC/8000", 8: "PCMA/8000",
    9: "G722/8000", 10: "L16/44100/2", 11: "L16/44100", 12: "QCELP/8000", 13: "CN/8000", 14: "MPA/90000",
    15: "G728/8000", 16: "DVI4/11025", 17: "DVI4/22050", 18: "G729/8000", 19: "CN/8000",
}  # fmt: skip
_SILENT = ("CN", "TELEPHONE-EVENT")  # not sound: gaps and digits (RFC 3389, RFC 4733)

_AUDIO = re.compile(rb"^m=audio [0-9/]+ ([!-~]+) ([0-9 ]+)\r?$", re.MULTILINE)
_NEXT = re.compile(rb"^m=", re.MULTILINE)
_ABOUT = re.compile(rb"^a=(rtpmap|fmtp):([0-9]{1,3}) ([ -~]{1,255})\r?$", re.MULTILINE)


class Formats(NamedTuple):
    """The formats that one party has named for what it wants to hear."""

    names: dict[int, str]  # payload type -> encoding as in an rtpmap: "PCMA/8000", "opus/48000/2"
    lines: tuple[bytes, ...] = ()  # a= lines that describe them
    encrypted: bool = False  # SRTP: keys that nobody between the ends has


NONE = Formats({})


def read(sdp: bytes) -> Formats:
    """The formats of the first audio stream in a description; NONE without one."""
    stream = _AUDIO.search(sdp)
    if stream is None:
        return NONE
    kinds = [int(kind) for kind in stream[2].split(b" ") if 0 < len(kind) <= 3][:_MOST]
    names = {kind: _STATIC[kind] for kind in kinds if kind in _STATIC}
    after = _NEXT.search(sdp, stream.end())
    lines = []
    for about in _ABOUT.finditer(sdp, stream.end(), after.start() if after else len(sdp)):
        kind = int(about[2])
        if kind not in kinds:
            continue
        if about[1] == b"rtpmap":
            names[kind] = about[3].decode("ascii").strip(" ")
        lines.append(about[0].rstrip(b"\r"))
    return Formats(names, tuple(lines), b"SAVP" in stream[1].upper())


def meaning(kind: int, *said: Formats) -> str:
    """What payload type `kind` is, by the first of `said` that names it: "PCMU" or "PCMA" for what can be decoded, ""
    for what is no sound or unknown, else the encoding, as "G729/8000". Without any description: by RFC 3551."""
    encoding = next((formats.names[kind] for formats in said if kind in formats.names), "")
    if not encoding and not any(formats.names for formats in said):
        encoding = _STATIC.get(kind, "")
    name, _, rate = encoding.upper().partition("/")
    if name in _SILENT:
        return ""
    return name if name in ("PCMU", "PCMA") and rate in ("8000", "8000/1") else encoding
