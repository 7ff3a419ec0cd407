"""Calls that are going on, and those that have just ended, without a reload: server-sent events. Knows the call log and
how long a stream may stay open; one look serves everybody who watches the same project."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from calltrack.errors import StoreUnavailable
from calltrack.tracking.model import CallRecord
from calltrack.tracking.search import CallQuery
from calltrack.web.flow import Flow
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View, templates

log = Logger()

LOOK_EVERY = 1.0  # seconds
STILL = 15  # looks without news, after which a line shows that the stream lives
ENDED = 10  # of the calls that have ended
WATCHERS = 200  # streams at once


async def live(view: View) -> bytes:
    return view.render("live.html", rows=_rows(view, await _look(view)))


async def stream(view: View) -> bytes:
    """The rows again, each time that they have changed, until the browser goes or its session ends."""
    request = view.request
    if _open >= WATCHERS:
        request.setResponseCode(503)
        return b""
    request.setHeader(b"content-type", b"text/event-stream")
    request.setHeader(b"x-accel-buffering", b"no")
    request.write(b"retry: 3000\n\n")
    watching = _Watching(view)
    await watching.until_gone()
    return b""


_open = 0


class _Watching:
    """One browser that watches one project."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._shown = ""
        self._quiet = 0
        self._looking = LoopingCall(self._look)
        self._flow: Flow | None = None

    async def until_gone(self) -> None:
        global _open
        _open += 1
        self._view.request.notifyFinish().addBoth(self._stop)
        self._flow = Flow(self._view.request)
        try:
            await self._looking.start(LOOK_EVERY)
        finally:
            _open -= 1
            self._flow.end()

    def _stop(self, _: Any) -> None:
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tell())

    async def _may_watch(self) -> bool:
        """Whether the session lasts, and its person still has the role that this needs."""
        view, people = self._view, self._view.services.people
        assert view.project is not None
        session = await people.session_by_id(view.session.id) if view.session is not None else None
        person = next((one for one in await people.people() if session is not None and one.id == session.person), None)
        return person is not None and person.principal.may("calls:read", view.project.id)

    async def _tell(self) -> None:
        view = self._view
        assert self._flow is not None
        try:
            if not await self._may_watch():
                self._stop(None)
                return
            if self._flow.full:  # it does not read: what it has to see is shown when it does
                return
            rows = _rows(view, await _look(view))
        except StoreUnavailable:
            return  # the next look may see again; what is shown stays
        if not self._looking.running:
            return
        if rows != self._shown:
            self._shown, self._quiet = rows, 0
            lines = "".join(f"data: {line}\n" for line in rows.split("\n"))
            view.request.write(f"event: calls\n{lines}\n".encode("utf-8", "replace"))
        elif self._quiet >= STILL:
            self._quiet = 0
            view.request.write(b": still here\n\n")
        else:
            self._quiet += 1


async def _look(view: View) -> list[CallRecord]:
    assert view.project is not None
    calls, project = view.services.calls, view.project.id
    active, _ = await calls.page(CallQuery(project=project, statuses=("ACTIVE",), limit=200))
    latest, _ = await calls.page(CallQuery(project=project, limit=ENDED))
    return [*active, *(one for one in latest if one.final)]


def _rows(view: View, calls: list[CallRecord]) -> str:
    return templates.get_template("live_rows.html").render(calls=calls, view=view, words=view.words, _=view.say).strip()


_P = "/projects/<int:project>/live"
ROUTES = (
    Route("GET", _P, "calls:read", live),
    Route("GET", f"{_P}/stream", "calls:read", stream),
)
