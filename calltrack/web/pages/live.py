"""Calls that are going on, and those that have just ended, without a reload: server-sent events. Knows the call log, and
who may go on watching it."""

from __future__ import annotations

from calltrack.errors import StoreUnavailable
from calltrack.tracking.model import CallRecord
from calltrack.tracking.search import CallQuery
from calltrack.web.flow import Stream
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View, templates

LOOK_EVERY = 1.0  # seconds
STILL = 15  # looks without news, after which a line shows that the stream lives
ENDED = 10  # of the calls that have ended
WATCHERS = 200  # streams at once


async def live(view: View) -> bytes:
    assert view.project is not None
    numbers = await view.services.catalog.numbers(view.project.id)
    return view.render("live.html", rows=_rows(view, await _look(view)), numbers=numbers)


async def stream(view: View) -> bytes:
    """The rows again, each time that they have changed, until the browser goes or its session ends."""
    request = view.request
    if _open >= WATCHERS:
        request.setResponseCode(503)
        return b""
    request.setHeader(b"content-type", b"text/event-stream")
    request.setHeader(b"x-accel-buffering", b"no")
    request.write(b"retry: 3000\n\n")
    await _Watching(view).run()
    return b""


_open = 0


class _Watching(Stream):
    """One browser that watches one project."""

    def __init__(self, view: View) -> None:
        super().__init__(view.request)
        self._view = view
        self._shown = ""
        self._quiet = 0

    async def run(self) -> None:
        """Until the browser goes or its session ends."""
        global _open
        _open += 1
        try:
            await self.until_gone(LOOK_EVERY)
        finally:
            _open -= 1

    async def _may_watch(self) -> bool:
        """Whether the session lasts, and its person still has the role that this needs."""
        view, people = self._view, self._view.services.people
        assert view.project is not None
        session = await people.session_by_id(view.session.id) if view.session is not None else None
        person = next((one for one in await people.people() if session is not None and one.id == session.person), None)
        return person is not None and person.principal.may("calls:read", view.project.id)

    async def look(self) -> None:
        view = self._view
        try:
            if not await self._may_watch():
                self.stop()
                return
            if self._flow.full:  # it does not read: what it has to see is shown when it does
                return
            rows = _rows(view, await _look(view))
        except StoreUnavailable:
            return  # the next look may see again; what is shown stays
        if not self.going:
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
    today = view.words.at(view.services.wall_ms(), "%F")
    shown = templates.get_template("live_rows.html").render(calls=calls, view=view, words=view.words, today=today, _=view.say)
    return shown.strip()


_P = "/projects/<int:project>/live"
ROUTES = (
    Route("GET", _P, "calls:read", live),
    Route("GET", f"{_P}/stream", "calls:read", stream),
)
