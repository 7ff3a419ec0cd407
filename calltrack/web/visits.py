"""What browsers of visitors ask: the snippet, and the questions it asks itself (docs/architecture.md section 9).

    GET  /t/KEY.js
    POST /t/KEY/visit, /t/KEY/beat, /t/KEY/leave

Knows HTTP, and what a browser may say and how often. What follows from it, `tracking.visits` decides. A plain resource,
not a klein app: it is asked for every page of every visitor.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, Iterable

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from calltrack.errors import CalltrackError, NoSuchObject, StoreUnavailable
from calltrack.tracking.model import Project, Shown
from calltrack.tracking.visits import Visits
from calltrack.web.api.problems import MEDIA_TYPE, Problem, not_json, of_error, of_value, problem
from calltrack.web.client import Network, client_address
from calltrack.web.request_limits import RequestLimits
from calltrack.web.snippet import script

log = Logger()

LONGEST_URL = 2048  # characters
LONGEST_AGENT = 512  # characters
LONGEST_COOKIE = 100  # characters
SCRIPT_AGE = 3600  # seconds that a browser keeps the script without asking

URL = Annotated[str, msgspec.Meta(max_length=LONGEST_URL)]
Cookie = Annotated[str, msgspec.Meta(max_length=LONGEST_COOKIE)]


class Arrival(msgspec.Struct, frozen=True):
    """The body of `/visit`: a page has been opened."""

    page: URL
    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1  # of this protocol
    referrer: URL = ""
    visit: Cookie = ""  # the cookie's value; "" without one
    consent: bool = True


class Sign(msgspec.Struct, frozen=True):
    """The body of `/beat` and `/leave`."""

    visit: Cookie


_ARRIVAL = msgspec.json.Decoder(Arrival)
_SIGN = msgspec.json.Decoder(Sign)
_SITE = re.compile(r"(https?)://(\[[^]]*\]|[^/?#:]*)(:[0-9]+)?")


class Refused(Exception):
    """A question that is answered with a problem."""

    def __init__(self, why: Problem) -> None:
        super().__init__(why.detail)
        self.problem = why


class VisitsResource(Resource):
    """`/t/...`."""

    isLeaf = True

    def __init__(self, visits: Visits, limits: RequestLimits, proxies: Iterable[Network] = ()) -> None:
        """`proxies`: whose X-Forwarded-For counts."""
        super().__init__()
        self._visits = visits
        self._limits = limits
        self._proxies = tuple(proxies)
        self.counters = {"script": 0, "visit": 0, "beat": 0, "leave": 0, "refused": 0, "limited": 0}

    def render(self, request: IRequest) -> Any:
        path = request.postpath[1:]
        request.setHeader(b"x-content-type-options", b"nosniff")
        try:
            if len(path) == 1 and path[0].endswith(b".js"):
                return self._script(request, path[0][:-3])
            if len(path) == 2 and path[1] in _QUESTIONS:
                return self._question(request, path[0], path[1].decode())
            raise Refused(problem(404, "not-found", "there is no such page"))
        except Refused as refused:
            return self._refuse(request, refused.problem)
        except CalltrackError as error:
            return self._refuse(request, of_error(error))

    # The script

    def _script(self, request: IRequest, key: bytes) -> bytes:
        if request.method not in (b"GET", b"HEAD"):
            raise _other_method(request, b"GET, HEAD")
        text = script(self._project(key).key)
        packed = _accepts_gzip(request)
        self.counters["script"] += 1
        request.setHeader(b"content-type", b"text/javascript; charset=utf-8")
        request.setHeader(b"cache-control", b"public, max-age=%d" % SCRIPT_AGE)
        request.setHeader(b"cross-origin-resource-policy", b"cross-origin")  # for pages that isolate themselves
        request.setHeader(b"access-control-allow-origin", b"*")  # for <script crossorigin>
        request.setHeader(b"vary", b"Accept-Encoding")
        if packed:
            request.setHeader(b"content-encoding", b"gzip")
        if request.setETag(text.packed_tag if packed else text.tag):
            return b""
        body = text.packed if packed else text.plain
        request.setHeader(b"content-length", b"%d" % len(body))
        return b"" if request.method == b"HEAD" else body

    def _project(self, key: bytes) -> Project:
        """The enabled project with this key. Raises Refused, StoreUnavailable."""
        try:
            return self._visits.project(key.decode("ascii", "replace"))
        except NoSuchObject as error:
            if not self._visits.ready:  # nobody is known yet: pages that are open must not give up
                raise StoreUnavailable("visits are not served yet") from None
            raise Refused(problem(404, "not-found", str(error), "key")) from None

    # Questions

    def _question(self, request: IRequest, key: bytes, what: str) -> Any:
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
        wait = self._limits.refusal(project.id, address, arrives=what == "visit")
        if wait:
            self.counters["limited"] += 1
            raise Refused(_too_many(wait))
        self.counters[what] += 1
        answer = self._ask(request, project.key, what, address)
        answer.addCallbacks(self._answer, self._fail, callbackArgs=(request,), errbackArgs=(request,))
        answer.addErrback(lambda bug: log.failure("an answer to a visitor's browser was not sent", failure=bug))
        return NOT_DONE_YET

    def _ask(self, request: IRequest, key: str, what: str, address: str) -> Deferred[Shown] | Deferred[None]:
        if what != "visit":
            sign = _read(request, _SIGN)
            return self._visits.beat(key, sign.visit) if what == "beat" else self._visits.leave(key, sign.visit)
        arrival = _read(request, _ARRIVAL)
        agent = (request.getHeader(b"user-agent") or b"")[:LONGEST_AGENT].decode("utf-8", "replace")
        return self._visits.arrive(
            key,
            page=arrival.page,
            referrer=arrival.referrer,
            cookie=arrival.visit,
            consent=arrival.consent,
            address=address,
            user_agent=agent,
        )

    # Answers

    def _answer(self, shown: Shown | None, request: IRequest) -> None:
        if shown is None:
            request.setResponseCode(204)
            _send(request, b"")
        else:
            request.setHeader(b"content-type", b"application/json")
            _send(request, msgspec.json.encode(shown))

    def _fail(self, failure: Failure, request: IRequest) -> None:
        if not failure.check(CalltrackError):
            log.failure("a visitor's browser could not be answered", failure=failure)
        _send(request, self._refuse(request, of_error(failure.value)))

    def _refuse(self, request: IRequest, why: Problem) -> bytes:
        self.counters["refused"] += 1
        request.setResponseCode(why.status)
        request.setHeader(b"content-type", MEDIA_TYPE.encode())
        request.setHeader(b"cache-control", b"no-store")
        for name, value in why.headers.items():
            request.setHeader(name, value)
        return b"" if request.method == b"HEAD" else why.body()


_QUESTIONS = frozenset({b"visit", b"beat", b"leave"})


def _send(request: IRequest, body: bytes) -> None:
    """Answer, unless the browser has gone meanwhile."""
    if request.channel is None or request._disconnected:
        return
    if body:
        request.setHeader(b"content-length", b"%d" % len(body))
        request.write(body)
    request.finish()


def _other_method(request: IRequest, allowed: bytes) -> Refused:
    request.setHeader(b"allow", allowed)
    return Refused(problem(405, "method-not-allowed", f"allowed here: {allowed.decode()}"))


def _too_many(wait: int) -> Problem:
    headers = {"Retry-After": str(wait)}
    return problem(429, "too-many-requests", f"too many requests; try again in {wait} s", headers=headers)


def _accepts_gzip(request: IRequest) -> bool:
    """Whether the client takes gzip (RFC 9110 section 12.5.3)."""
    for part in (request.getHeader(b"accept-encoding") or b"").lower().split(b","):
        coding, _, weight = part.replace(b" ", b"").partition(b";")
        if coding in (b"gzip", b"*"):
            return not re.fullmatch(rb"q=0(\.0*)?", weight)
    return False


def _check_origin(project: Project, origin: bytes) -> None:
    """A project that lists its sites is asked from their pages only; one that lists none, from anywhere. Raises
    Refused."""
    asking = origin.decode("ascii", "replace")
    if not project.sites or asking.lower() in origins(project.sites):
        return
    said = f"{asking[:200]} is none of the project's sites" if asking else "is missing; browsers send it"
    raise Refused(problem(403, "not-allowed", f"Origin: {said}", "Origin"))


@lru_cache(maxsize=1000)
def origins(sites: tuple[str, ...]) -> frozenset[str]:
    """The origins (RFC 6454) of pages at the addresses `sites`, and of the same hosts with or without www."""
    found = set()
    for site in sites:
        parts = _SITE.match(site.lower())
        if parts is None:
            continue
        scheme, host, port = parts[1], parts[2], parts[3] or ""
        if (scheme, port) in (("http", ":80"), ("https", ":443")):
            port = ""
        twin = host.removeprefix("www.") if host.startswith("www.") else "www." + host
        found.update((f"{scheme}://{host}{port}", f"{scheme}://{twin}{port}"))
    return frozenset(found)


def _read(request: IRequest, decoder: msgspec.json.Decoder) -> Any:
    """The body of a request. Raises InvalidField, or Refused when it is no JSON."""
    try:
        return decoder.decode(request.content.read())
    except msgspec.ValidationError as error:
        raise of_value(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(not_json(error)) from None
