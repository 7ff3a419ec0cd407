"""One operation of the API as a value: its path, what it takes, what it gives, who may do it.

The site answers by these, and `openapi` describes them: neither can say what the other does not.
"""

from __future__ import annotations

from typing import Annotated, Any, Awaitable, Callable, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Meta
from twisted.web.iweb import IRequest

from calltrack.access.model import Principal
from calltrack.errors import InvalidField, NoSuchObject
from calltrack.web.services import Services

ID = Annotated[int, Meta(ge=1, le=2**53)]
Item = TypeVar("Item")


class NoParameters(msgspec.Struct, frozen=True):
    """Of an operation that takes none."""


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """Some of a list. `next`: the `cursor` of the next page; null on the last."""

    items: list[Item]
    next: str | None = None


class Asked(NamedTuple):
    """What an operation is told: who asks, with which values."""

    who: Principal
    services: Services
    path: Any
    query: Any
    body: Any

    def project(self, scope: str, given: int | None) -> int:
        """The project that an operation is about: the one given, or the only one that `who` has. Raises
        InvalidField, NotAllowed."""
        project = self.project_or_all(scope, given)
        if project is None:
            raise InvalidField("project", "is missing; this key opens every project")
        return project

    def project_or_all(self, scope: str, given: int | None) -> int | None:
        """As `project`; None for somebody who has every project and names none."""
        if given is None and not self.who.everywhere:
            if len(self.who.projects) != 1:
                raise InvalidField("project", "is missing; you have more than one")
            given = self.who.projects[0]
        self.who.require(scope, given)
        return given

    def own(self, scope: str, project: int | None, what: str) -> None:
        """Raises NoSuchObject when `what` is of a project that `who` does not have, as if it did not exist; NotAllowed
        when it is and `scope` is missing."""
        if not self.who.everywhere and project not in self.who.projects:
            raise NoSuchObject(f"{what} does not exist")
        self.who.require(scope, project)


def shown_key(request: IRequest) -> str:
    """The text of the key that a program shows; "" without one."""
    scheme, _, key = (request.getHeader(b"authorization") or b"").partition(b" ")
    return key.strip(b" ").decode("ascii", "replace") if scheme.lower() == b"bearer" else ""


class Operation(NamedTuple):
    """`path` is below /api/v1, its parameters as in ``/numbers/{number}``. `answer`: the type of what `work` returns,
    None for no content. `raw`: `work` is given the request and answers it itself, in this media type."""

    method: str
    path: str
    name: str  # unique: what code generators call it
    summary: str
    tag: str
    scope: str
    work: Callable[[Asked], Awaitable[Any]]
    answer: Any = None
    status: int = 200
    parameters: type = NoParameters
    query: type = NoParameters
    body: Any = None
    raw: str = ""
