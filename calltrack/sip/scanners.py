"""Programs that look for open telephone systems, by the name they give themselves. Knows no transport and no state."""

from __future__ import annotations

from calltrack.sip.message import Request

SCANNERS = (
    b"friendly-scanner", b"sipvicious", b"sipcli", b"sip-scan", b"sundayddr", b"iwar", b"sipsak", b"vaxsipuseragent",
    b"pplsip", b"smap", b"sivus", b"gulp", b"sipptk", b"friendly-request", b"eyebeam-scan",
)  # fmt: skip


def is_scanner(request: Request) -> bool:
    """Whether a request says itself that it comes from a scanner. Such get no answer: any answer says "go on"."""
    product = (request.get(b"user-agent") or b"").lower()
    return any(name in product for name in SCANNERS)
