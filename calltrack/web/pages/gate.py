"""Who stands at the door of the page: cookies, forms that are really ours, and ways in that nobody else can read.

Knows requests and what browsers promise; no page.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Iterable

from twisted.web.iweb import IRequest

from calltrack.access.model import new_secret
from calltrack.web.client import among, peer_address, plain

SESSION, VISITOR, LANGUAGE = "calltrack_session", "calltrack_form", "calltrack_language"
YEAR = 365 * 86400  # seconds

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "media-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def protect(request: IRequest) -> None:
    """The headers that every page has."""
    for name, value in _HEADERS:
        request.setHeader(name.encode(), value.encode())
    request.setHeader(b"cache-control", b"no-store")


def cookie(request: IRequest, name: str) -> str:
    """What the browser has under this name; "" for nothing."""
    value = request.getCookie(name.encode())
    return value.decode("ascii", "replace") if value else ""


def set_cookie(request: IRequest, name: str, value: str, secure: bool, seconds: int | None = None, hidden: bool = True) -> None:
    """Give the browser a cookie for this site alone; `hidden`: from scripts; without `seconds` until it closes."""
    request.addCookie(
        name,
        value,
        path="/",
        max_age=None if seconds is None else str(seconds),
        secure=secure,
        httpOnly=hidden,
        sameSite="lax",
    )


def is_secure(request: IRequest, proxies: Iterable[Network], public_url: str = "") -> bool:
    """Whether the browser's way to us is encrypted, as far as we can know. `public_url`: how others reach us; who asks
    by its name comes so."""
    if request.isSecure():
        return True
    scheme, _, name = public_url.rstrip("/").partition("://")
    if scheme == "https" and (request.getHeader(b"host") or b"").decode("ascii", "replace").lower() == name.lower():
        return True
    forwarded = (request.getHeader(b"x-forwarded-proto") or b"").strip(b" ").lower()
    return forwarded == b"https" and _is_proxy(request, proxies)


def may_be_read(request: IRequest, proxies: Iterable[Network]) -> bool:
    """Whether somebody on the way could read passwords: the request has come over a network, in the clear, and by no
    proxy that the operator has named."""
    host = getattr(request.getHost(), "host", "")
    return not (_is_loopback(host) or request.isSecure() or _is_proxy(request, proxies))


def same_site(request: IRequest) -> bool:
    """Whether a form comes from our own page, as far as the browser says: an Origin of another host is refused."""
    if (request.getHeader(b"sec-fetch-site") or b"same-origin") not in (b"same-origin", b"none"):
        return False
    origin = request.getHeader(b"origin")
    if origin is None:
        return True
    return origin.partition(b"://")[2].lower() == (request.getHeader(b"host") or b"").lower()


def form_token(request: IRequest, secure: bool) -> str:
    """What forms of somebody without a session bring back: the value of a cookie that only our page can read out."""
    known = cookie(request, VISITOR)
    if len(known) >= 20:
        return known
    token = new_secret(24)
    set_cookie(request, VISITOR, token, secure)
    return token


def same_token(kept: str, brought: str) -> bool:
    """Whether a form brought back what it was given."""
    return bool(kept) and hmac.compare_digest(kept.encode(), brought.encode("utf-8", "surrogatepass"))


def _is_proxy(request: IRequest, proxies: Iterable[Network]) -> bool:
    return among(peer_address(request), proxies)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(plain(host)).is_loopback
    except ValueError:
        return host == ""  # a local socket
