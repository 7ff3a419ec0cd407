"""What this user agent can do, and which of its messages say so (RFC 3261 tables 2 and 3, RFC 3262, 3311, 4028).

Knows methods, option tags and header lines; no transactions and no dialogs.
"""

from __future__ import annotations

from calltrack.sip.message import Request

METHODS = (b"INVITE", b"ACK", b"CANCEL", b"BYE", b"OPTIONS", b"UPDATE", b"INFO", b"PRACK")
RELIABLE, TIMER = b"100rel", b"timer"
EXTENSIONS = (RELIABLE, TIMER)

ALLOW = b"Allow: " + b", ".join(METHODS)
ACCEPT = b"Accept: application/sdp"
SUPPORTED = b"Supported: " + b", ".join(EXTENSIONS)
# Where we could not answer reliable provisional responses: to an INVITE without an offer they would bring the offer,
# which the caller answers only when it has the 2xx (RFC 3262 section 5); within a dialog nobody needs them.
SUPPORTED_BUT_RELIABLE = b"Supported: " + TIMER

_ABLE = (ALLOW, ACCEPT, b"Accept-Encoding: identity", b"Accept-Language: en", SUPPORTED)


def unsupported(request: Request) -> list[bytes]:
    """The option tags that a request requires and we do not have (section 8.2.2.3)."""
    if b"require" not in request.names():
        return []
    return [tag for tag in request.items(b"require") if tag.lower() not in EXTENSIONS]


def requires_reliability(invite: Request) -> bool:
    """Whether provisional responses to an INVITE must be acknowledged (RFC 3262 section 3)."""
    return b"require" in invite.names() and RELIABLE in invite.tokens(b"require")


def told(method: bytes, status: int) -> tuple[bytes, ...]:
    """The header lines by which a response says what we can do."""
    if status == 405:
        return (ALLOW,)
    if status == 415 and method in (b"INVITE", b"UPDATE"):
        return (ACCEPT,)
    if method == b"INVITE" and 100 < status < 200:
        return (ALLOW,)
    if 200 <= status < 300:
        if method == b"OPTIONS":
            return _ABLE
        if method in (b"INVITE", b"UPDATE"):
            return (ALLOW, SUPPORTED)
    return ()
