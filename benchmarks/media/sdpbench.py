#!/usr/bin/env python3
"""Microseconds to rewrite a session description, as the relay does two to four times a call."""

from __future__ import annotations

import sys
import timeit
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from calltrack.media.sdp import Document, Origin  # noqa: E402

PHONE = b"""v=0
o=alice 2890844526 2890844526 IN IP4 10.1.1.1
s=-
c=IN IP4 10.1.1.1
t=0 0
m=audio 49170 RTP/AVP 0 8 18 96 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=rtcp:49171
a=sendrecv
""".replace(b"\n", b"\r\n")
ICE = b"""a=ice-ufrag:abcd
a=ice-pwd:0123456789abcdef01234567
a=candidate:1 1 UDP 2130706431 10.1.1.1 49170 typ host
a=candidate:2 1 UDP 1694498815 203.0.113.9 49170 typ srflx raddr 10.1.1.1 rport 49170
""".replace(b"\n", b"\r\n")


def rewrite(sdp: bytes, allow: tuple[str, ...]) -> bytes:
    document = Document(sdp)
    if allow:
        document.restrict(allow)
    return document.render(ORIGIN, "192.0.2.1", [(20000, 20001)])


ORIGIN = Origin(1)
CASES = {
    "a desk phone's offer": (PHONE, ()),
    "the same, codecs restricted": (PHONE, ("G729", "PCMU", "PCMA")),
    "with ICE, codecs restricted": (PHONE + ICE, ("G729", "PCMU", "PCMA")),
}

for name, case in CASES.items():
    best = min(timeit.repeat(lambda case=case: rewrite(*case), number=2000, repeat=7)) / 2000
    print(f"{name:30} {len(case[0]):4} bytes  {best * 1e6:5.1f} us")
