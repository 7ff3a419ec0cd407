"""Events as they happen, as server-sent events: an operation that answers its request itself. Knows the log of events; no
rules."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from twisted.web.iweb import IRequest

from calltrack.errors import InvalidField, StoreUnavailable, TooManyRequests
from calltrack.events.model import TYPES
from calltrack.web.api.operations import ID, Asked, Operation, shown_key
from calltrack.web.flow import Stream

LOOK_EVERY = 0.5  # seconds
KEY_LOOKS = 10  # looks after which the key is looked at again
STILL = 30  # looks without news, after which a line shows that the stream lives
PAGE = 200
RETRY_AFTER = 10  # seconds
MOST = 200  # streams at once
MOST_OF_ONE = 20  # of one key: nobody takes the others' places


class EventFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which events. `after`: the number of the last one that is known; without it, and without Last-Event-ID, only what
    happens from now on."""

    project: ID | None = None
    type: tuple[str, ...] = ()
    after: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class EventStream(Stream):
    """One program that listens."""

    open = 0  # streams, of this process
    by_key: dict[str, int] = {}

    def __init__(self, asked: Asked, request: IRequest, project: int | None) -> None:
        super().__init__(request)
        self._asked = asked
        self._project = project
        self._quiet = self._looks = 0
        self._seq = 0

    async def run(self) -> None:
        """Until the program hangs up or its key opens nothing any more."""
        name = self._asked.who.name
        EventStream.open += 1
        EventStream.by_key[name] = EventStream.by_key.get(name, 0) + 1
        try:
            await self._listen()
        finally:
            EventStream.open -= 1
            EventStream.by_key[name] -= 1
            if not EventStream.by_key[name]:
                del EventStream.by_key[name]

    async def _listen(self) -> None:
        events, request = self._asked.services.events, self._request
        assert events is not None
        last = request.getHeader(b"last-event-id") or b""
        given = int(last) if last.isdigit() and len(last) < 16 else self._asked.query.after
        self._seq = await events.last() if given is None else given
        request.setHeader(b"content-type", b"text/event-stream")
        request.write(b"retry: 3000\n\n")
        await self.until_gone(LOOK_EVERY)

    async def _may_listen(self) -> bool:
        who = await self._asked.services.keys.principal(shown_key(self._request))
        return who is not None and who.may("calls:read", self._project)

    async def look(self) -> None:
        events, query = self._asked.services.events, self._asked.query
        assert events is not None
        try:
            self._looks += 1
            if self._looks % KEY_LOOKS == 0 and not await self._may_listen():
                self.stop()
                return
            if self._flow.full:  # what it has not read yet waits in the log of events, not here
                return
            self._seq, found = await events.read(self._seq, PAGE, query.type, self._project)
        except StoreUnavailable:
            return  # the next look may see again
        if not self.going:
            return
        for one in found:
            body = msgspec.json.encode(one.event)
            self._request.write(b"id: %d\nevent: %b\ndata: %b\n\n" % (one.seq, one.event.type.encode(), body))
        self._quiet = 0 if found else self._quiet + 1
        if self._quiet >= STILL:
            self._quiet = 0
            self._request.write(b": still here\n\n")


async def _events(asked: Asked, request: IRequest) -> bytes:
    project = asked.project_or_all("calls:read", asked.query.project)
    for name in asked.query.type:
        if name not in TYPES:
            raise InvalidField("type", f"{ascii(name)[:40]} is no event; allowed: {', '.join(sorted(TYPES))}")
    if EventStream.open >= MOST:
        raise StoreUnavailable("too many streams are open; try again later")
    if EventStream.by_key.get(asked.who.name, 0) >= MOST_OF_ONE:
        raise TooManyRequests(f"this key has {MOST_OF_ONE} streams open; close one", RETRY_AFTER)
    await EventStream(asked, request, project).run()
    return b""


OPERATIONS = (
    Operation("GET", "/events", "streamEvents", "Events as they happen, as server-sent events; Last-Event-ID goes on "
              "where a stream broke off", "events", "calls:read", _events, query=EventFilters, raw="text/event-stream"),
)  # fmt: skip
