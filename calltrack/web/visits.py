"""What browsers of visitors ask: the snippet, and the questions it asks itself (docs/architecture.md section 9).

    GET  /t/KEY.js
    POST /t/KEY/visit, /t/KEY/beat, /t/KEY/leave

Knows HTTP, and what a browser may say and how often. What follows from that, `tracking.visits` decides. A plain resource,
not a klein app: it is asked for every page of every visitor.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, Callable, Iterable

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from calltrack.errors import InvalidField, NoSuchObject, StoreUnavailable, TooManyRequests
from calltrack.tracking.model import Project, Shown
from calltrack.web.client import Network, client_address, household
from calltrack.web.snippet import script
from calltrack.web.visits_limits import VisitLimits

log = Logger()

LONGEST_URL = 2048  # characters
LONGEST_AGENT = 512  # characters
SCRIPT_AGE = 3600  # seconds that a browser keeps the script without asking
SIGN_COST = 0.1  # of a sign of life, beside a new visit's 1
RETRY = 5  # seconds after which to ask again when the store is away

URL = Annotated[str, msgspec.Meta(max_length=LONGEST_URL)]
Cookie = Annotated[str, msgspec.Meta(max_length=100)]


class Arrival(msgspec.Struct, frozen=True):
    """The body of `/visit`: a page has been opened."""

    page: URL
    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    referrer: URL = ""
    visit: Cookie = ""  # the cookie's value, "" without one
    consent: bool = True


class Sign(msgspec.Struct, frozen=True):
    """The body of `/beat` and `/leave`."""

    visit: Cookie


_ARRIVAL = msgspec.json.Decoder(Arrival)
_SIGN = msgspec.json.Decoder(Sign)
_PLACE = re.compile(r" - at `\$\.?(\w*)[^`]*`\Z")
_FIELD = re.compile(r"required field `(\w+)`")
_NO_PLACE = ("", "")
_SITE = re.compile(r"(https?)://(\[[^]]*\]|[^/?#:]*)(:[0-9]+)?")
_WEB_PAGE = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)


@lru_cache(maxsize=1000)
def origins(sites: tuple[str, ...]) -> frozenset[str]:
    """The origins (RFC 6454) of pages at the addresses `sites`, and of the same hosts with or without www."""
    found = set()
    for site in sites:
        scheme, host, port = (part or "" for part in _SITE.match(site.lower()).groups())
        port = "" if (scheme, port) in (("http", ":80"), ("https", ":443")) else port
        twin = host.removeprefix("www.") if host.startswith("www.") else "www." + host
        found.update(f"{scheme}://{name}{port}" for name in (host, twin))
    return frozenset(found)


class Refused(Exception):
    """A question that is answered with a status and words; `field` names what is wrong."""

    def __init__(self, status: int, message: str, field: str = "", retry_after: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        self.retry_after = retry_after  # seconds; 0 = not said


class VisitsResource(Resource):
    """`/t/...`, over `visits`:

    - `project(key)`: the enabled `Project` with that key, or None.
    - `start(project, page, referrer, cookie, consent, address, user_agent)`: a Deferred that fires with `Shown`.
    - `beat(project, cookie, address)`: the same; fails with NoSuchObject when that visit is unknown or over.
    - `leave(project, cookie)`: a Deferred.

    Each may fail with InvalidField, TooManyRequests or StoreUnavailable.
    """

    isLeaf = True

    def __init__(self, visits: Any, limits: VisitLimits, proxies: Iterable[Network], now: Callable[[], float]) -> None:
        """`proxies`: whose X-Forwarded-For counts; `now()`: monotonic seconds."""
        super().__init__()
        self._visits = visits
        self._limits = limits
        self._proxies = tuple(proxies)
        self._now = now
        self.counters = {"scripts": 0, "visits": 0, "beats": 0, "leaves": 0, "refused": 0, "limited": 0}

    def render(self, request: IRequest) -> Any:
        path = request.postpath[1:]
        request.setHeader(b"x-content-type-options", b"nosniff")
        try:
            if len(path) == 1 and path[0].endswith(b".js"):
                return self._script(request, path[0][:-3])
            if len(path) == 2 and path[1] in _QUESTIONS:
                return self._question(request, path[0], path[1])
            raise Refused(404, "there is no such page")
        except Refused as refused:
            return self._refuse(request, refused)

    def _project(self, key: bytes) -> Project:
        project = self._visits.project(key.decode("ascii", "replace"))
        if project is None:
            raise Refused(404, "no enabled project has this key", "key")
        return project

    # The script

    def _script(self, request: IRequest, key: bytes) -> Any:
        if request.method not in (b"GET", b"HEAD"):
            raise _other_method(request, b"GET, HEAD")
        text = script(self._project(key).key)
        packed = _accepts_gzip(request)
        tag = text.compressed_tag if packed else text.tag
        self.counters["scripts"] += 1
        request.setHeader(b"content-type", b"text/javascript; charset=utf-8")
        request.setHeader(b"cache-control", b"public, max-age=%d" % SCRIPT_AGE)
        request.setHeader(b"cross-origin-resource-policy", b"cross-origin")  # for pages that isolate themselves
        request.setHeader(b"access-control-allow-origin", b"*")  # for <script crossorigin>
        request.setHeader(b"vary", b"Accept-Encoding")
        if packed:
            request.setHeader(b"content-encoding", b"gzip")
        if request.setETag(tag):
            return b""
        body = text.compressed if packed else text.plain
        request.setHeader(b"content-length", b"%d" % len(body))
        return b"" if request.method == b"HEAD" else body

    # Questions

    def _question(self, request: IRequest, key: bytes, what: bytes) -> Any:
        project = self._project(key)
        origin = request.getHeader(b"origin") or b""
        request.setHeader(b"vary", b"Origin")
        request.setHeader(b"cache-control", b"no-store")
        if origin:  # also with a refusal, so that the console of a page can tell its owner what is wrong
            request.setHeader(b"access-control-allow-origin", origin)
        _check_origin(project, origin)
        if request.method == b"OPTIONS":
            request.setHeader(b"access-control-allow-methods", b"POST")
            request.setHeader(b"access-control-allow-headers", b"content-type")
            request.setHeader(b"access-control-max-age", b"86400")
            request.setResponseCode(204)
            return b""
        if request.method != b"POST":
            raise _other_method(request, b"POST, OPTIONS")
        address = client_address(request, self._proxies)
        cost = 1.0 if what == b"visit" else SIGN_COST
        wait = self._limits.refusal(project.key, household(address), cost, self._now())
        if wait:
            self.counters["limited"] += 1
            raise Refused(429, "too many requests", retry_after=wait)
        answer = getattr(self, _QUESTIONS[what])(request, project, address)
        answer.addCallbacks(self._answer, self._fail, callbackArgs=(request,), errbackArgs=(request,))
        answer.addErrback(self._broken, request)
        return NOT_DONE_YET

    def _visit(self, request: IRequest, project: Project, address: str) -> Deferred[Shown]:
        arrival = _read(request, _ARRIVAL)
        if not _WEB_PAGE.match(arrival.page):
            raise Refused(400, "page: is no http or https address", "page")
        self.counters["visits"] += 1
        agent = (request.getHeader(b"user-agent") or b"").decode("utf-8", "replace")
        return self._visits.start(
            project,
            page=arrival.page,
            referrer=arrival.referrer,
            cookie=arrival.visit,
            consent=arrival.consent,
            address=address,
            user_agent=agent[:LONGEST_AGENT],
        )

    def _beat(self, request: IRequest, project: Project, address: str) -> Deferred[Shown]:
        sign = _read(request, _SIGN)
        self.counters["beats"] += 1
        return self._visits.beat(project, sign.visit, address)

    def _leave(self, request: IRequest, project: Project, address: str) -> Deferred[None]:
        sign = _read(request, _SIGN)
        self.counters["leaves"] += 1
        return self._visits.leave(project, sign.visit)

    # Answers

    def _answer(self, shown: Shown | None, request: IRequest) -> None:
        if request._disconnected:
            return
        if shown is None:
            request.setResponseCode(204)
        else:
            body = msgspec.json.encode(shown)
            request.setHeader(b"content-type", b"application/json")
            request.setHeader(b"content-length", b"%d" % len(body))
            request.write(body)
        request.finish()

    def _fail(self, failure: Failure, request: IRequest) -> None:
        problem = failure.value
        if isinstance(problem, InvalidField):
            refused = Refused(400, str(problem), problem.field)
        elif isinstance(problem, NoSuchObject):
            refused = Refused(404, str(problem), "visit")
        elif isinstance(problem, TooManyRequests):
            refused = Refused(429, str(problem), retry_after=problem.retry_after)
        elif isinstance(problem, StoreUnavailable):
            refused = Refused(503, "visits cannot be kept at the moment", retry_after=RETRY)
        else:
            log.failure("a visitor's browser could not be answered", failure=failure)
            refused = Refused(500, "an error of the server")
        if not request._disconnected:
            request.write(self._refuse(request, refused))
            request.finish()

    def _broken(self, failure: Failure, request: IRequest) -> None:
        log.failure("an answer to a visitor's browser could not be sent", failure=failure)

    def _refuse(self, request: IRequest, refused: Refused) -> bytes:
        self.counters["refused"] += 1
        request.setResponseCode(refused.status)
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"cache-control", b"no-store")
        if refused.retry_after:
            request.setHeader(b"retry-after", b"%d" % refused.retry_after)
        said = {"error": str(refused), **({"field": refused.field} if refused.field else {})}
        body = msgspec.json.encode(said)
        request.setHeader(b"content-length", b"%d" % len(body))
        return b"" if request.method == b"HEAD" else body


_QUESTIONS = {b"visit": "_visit", b"beat": "_beat", b"leave": "_leave"}


def _other_method(request: IRequest, allowed: bytes) -> Refused:
    request.setHeader(b"allow", allowed)
    return Refused(405, f"the method is none of {allowed.decode()}")


def _accepts_gzip(request: IRequest) -> bool:
    """Whether gzip is among what the client takes (RFC 9110 section 12.5.3)."""
    for part in (request.getHeader(b"accept-encoding") or b"").lower().split(b","):
        coding, _, weight = part.replace(b" ", b"").partition(b";")
        if coding in (b"gzip", b"*"):
            return not re.fullmatch(rb"q=0(\.0*)?", weight)
    return False


def _check_origin(project: Project, origin: bytes) -> None:
    """A project that lists its sites is asked from their pages only; one that lists none, from anywhere."""
    asking = origin.decode("ascii", "replace")
    if not project.sites or asking.lower() in origins(project.sites):
        return
    if not origin:
        raise Refused(403, "Origin: is missing; browsers send it with every question", "Origin")
    raise Refused(403, f"Origin: {asking[:200]} is none of the project's sites", "Origin")


def _read(request: IRequest, decoder: msgspec.json.Decoder) -> Any:
    """The body of a request. Raises Refused, which names the field that is wrong."""
    try:
        return decoder.decode(request.content.read())
    except msgspec.ValidationError as problem:
        said = str(problem)
        field = (_FIELD.search(said) or _PLACE.search(said) or _NO_PLACE)[1] or "body"
        if _FIELD.search(said):
            raise Refused(400, f"{field}: is missing", field) from None
        raise Refused(400, f"{field}: {_PLACE.sub('', said)}", field) from None
    except msgspec.DecodeError as problem:
        raise Refused(400, f"body: is no JSON ({problem})", "body") from None
