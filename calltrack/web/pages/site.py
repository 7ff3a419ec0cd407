"""The page over HTTP: a request -> whoever asks, checked -> the function that answers.

Knows klein, sessions and refusals; no page.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Awaitable, Callable, Iterable, NamedTuple

from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from calltrack.errors import CalltrackError, InvalidField, NoSuchObject, NotAllowed, Sentence, StoreUnavailable
from calltrack.web.pages import gate
from calltrack.web.pages.view import View
from calltrack.web.pages.wording import Words, preferred
from calltrack.web.services import Services

log = Logger()

SEGMENTS = (b"", b"static", b"set-up", b"log-in", b"log-out", b"password", b"enter", b"language", b"projects", b"people", b"me", b"audit", b"system", b"developers")  # fmt: skip

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "LICENSE": "text/plain"}


class Route(NamedTuple):
    """`scope`: what the person must be allowed, in the project of the address or, without one, everywhere; "" for
    whoever is logged in; None for anybody."""

    method: str
    path: str
    scope: str | None
    work: Callable[[View], Awaitable[Any]]  # bytes, or a resource that answers


class Pages:
    """`routes` by `services`, and the static files."""

    def __init__(self, services: Services, routes: Iterable[Route]) -> None:
        self._services = services
        app = self.app = Klein()
        for route in routes:
            app.route(route.path, methods=[route.method])(self._answering(route))
        app.route("/static/<path:name>", methods=["GET"])(self._static)
        app.handle_errors(HTTPException)(self._not_routed)
        self._files: dict[str, bytes] = {}

    def _answering(self, route: Route) -> Callable[..., Awaitable[Any]]:
        async def answer(request: IRequest, **path: Any) -> Any:
            gate.protect(request)
            view = self._view(request, path)
            try:
                return await self._answer(route, view)
            except CancelledError:  # the browser has hung up
                raise
            except CalltrackError as error:
                return _refuse(view, error)
            except Exception:
                log.failure("{method} {path} failed on a bug", method=route.method, path=route.path)
                return view.render("refused.html", 500, title=view.say("That did not work"), words_of_it=view.say(
                    "calltrack failed on a bug of its own; its log says where."))  # fmt: skip

        answer.__name__ = f"{route.method} {route.path}"
        return answer

    def _view(self, request: IRequest, path: dict[str, Any]) -> View:
        proxies = self._services.proxies
        spoken = (request.getHeader(b"accept-language") or b"").decode("ascii", "replace")
        language = gate.cookie(request, gate.LANGUAGE) or preferred(spoken)
        secure = gate.is_secure(request, proxies, self._services.public_url)
        return View(request, self._services, Words(language), path, secure, self._services.client(request))

    async def _answer(self, route: Route, view: View) -> Any:
        if gate.may_be_read(view.request, self._services.proxies):
            return view.render("insecure.html", 403)
        found = await self._services.people.session(gate.cookie(view.request, gate.SESSION) or "-")
        if found is not None:
            view.session, view.person = found
            view.csrf = view.session.csrf
        else:
            view.csrf = gate.form_token(view.request, view.secure)
        if route.method == "POST" and not _is_ours(view):
            raise NotAllowed(view.say("This form was not sent from this page, or too long ago. Open the page again."))
        if route.scope is not None:
            if view.person is None:
                return view.redirect(f"/log-in?to={view.here}" if route.method == "GET" and view.here != "/" else "/log-in")
            await self._find_project(view)
            if route.scope:
                view.who.require(route.scope, view.project.id if view.project is not None else None)
        return await route.work(view)

    async def _find_project(self, view: View) -> None:
        who = view.who
        projects = await self._services.catalog.projects()
        view.projects = [one for one in projects if who.everywhere or one.id in who.projects]
        if "project" in view.path:
            wanted = view.path["project"]
            found = [one for one in view.projects if one.id == wanted]
            if not found:
                raise NoSuchObject(Sentence("project {project} does not exist", project=wanted))
            view.project = found[0]
            view.words = Words(view.words.language, found[0].time_zone)

    def _static(self, request: IRequest, name: str) -> bytes:
        request.setHeader(b"x-content-type-options", b"nosniff")
        if name not in self._files:
            folder = resources.files("calltrack.web").joinpath("static")
            parts = name.split("/")
            file = folder.joinpath(*parts)
            if any(part in ("", ".", "..") for part in parts) or not file.is_file():
                request.setResponseCode(404)
                return b"there is no such file\n"
            self._files[name] = file.read_bytes()
        kind = _TYPES.get(name.rpartition(".")[2].rpartition("/")[2], "application/octet-stream")
        request.setHeader(b"content-type", f"{kind}; charset=utf-8".encode())
        request.setHeader(b"cache-control", b"public, max-age=3600")
        return self._files[name]

    def _not_routed(self, request: IRequest, failure: Any) -> bytes:
        gate.protect(request)
        view = self._view(request, {})
        error = failure.value
        if getattr(error, "new_url", None):  # werkzeug: with a slash more or less
            return view.redirect(error.new_url)
        return _refuse(view, NoSuchObject(view.say("There is no such page.")), getattr(error, "code", 404) or 404)


def _is_ours(view: View) -> bool:
    brought = view.raw("csrf") or (view.request.getHeader(b"x-csrf-token") or b"").decode("ascii", "replace")
    return gate.same_site(view.request) and gate.same_token(view.csrf, brought)


def _refuse(view: View, error: CalltrackError, status: int = 0) -> bytes:
    """What could not be done, in words."""
    if isinstance(error, StoreUnavailable):
        log.error("{path} could not be shown: {problem}", path=view.request.path.decode("ascii", "replace"), problem=error)
    known = {NoSuchObject: 404, NotAllowed: 403, InvalidField: 422, StoreUnavailable: 503}
    status = status or next((code for kind, code in known.items() if isinstance(error, kind)), 500)
    titles = {404: "Not found", 403: "Not allowed", 422: "Refused", 503: "The database does not answer"}
    title = view.say(titles.get(status, "That did not work"))
    return view.render("refused.html", status, title=title, words_of_it=view.words.refusal(error))
