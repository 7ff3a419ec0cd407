"""One request of the page as its makers see it: who asks, about which project, with which values; and what to answer.

Knows templates, cookies and words; no single page.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import jinja2
import msgspec
from twisted.web.iweb import IRequest

from calltrack import __version__
from calltrack.access.model import Person, Principal, Session
from calltrack.errors import InvalidField
from calltrack.tracking.model import Project
from calltrack.web.pages.wording import LANGUAGES, Words, phone, seen
from calltrack.web.services import Services

templates = jinja2.Environment(
    loader=jinja2.PackageLoader("calltrack.web", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=seen,  # but for what goes back as it was typed, which templates escape by `forceescape`
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters["phone"] = phone
templates.filters["query"] = lambda values: urlencode([(k, v) for k, v in values.items() if v not in ("", None)], doseq=True)


class View:
    """One request. `person` and `session` are None for somebody who is not logged in; `project` is the one that the
    address names."""

    def __init__(self, request: IRequest, services: Services, words: Words, path: dict[str, Any], secure: bool, address: str) -> None:
        self.request = request
        self.services = services
        self.words = words
        self.path = path
        self.secure = secure
        self.address = address  # of the browser
        self.person: Person | None = None
        self.session: Session | None = None
        self.csrf = ""
        self.project: Project | None = None
        self.projects: list[Project] = []  # that the person has something to do with
        self.demonstration = services.demonstration

    @property
    def who(self) -> Principal:
        """Whoever asks; nobody may do nothing."""
        return self.person.principal if self.person is not None else Principal(name="nobody", grants={})

    @property
    def browser(self) -> str:
        return (self.request.getHeader(b"user-agent") or b"").decode("utf-8", "replace")

    @property
    def here(self) -> str:
        """Path and query of the request."""
        return self.request.uri.decode("ascii", "replace")

    @property
    def back(self) -> str:
        """Where to return to from here: a form that was sent is not sent again, and no secret goes into an address."""
        return self.here if self.request.method == b"GET" and self.person is not None else "/"

    def say(self, text: str, **values: Any) -> str:
        return self.words.say(text, **values)

    def may(self, scope: str) -> bool:
        """Whether the person may do something in the project of this page, or without one, in every project."""
        return self.who.may(scope, self.project.id if self.project is not None else None)

    # What was sent

    def given(self, name: str, default: str = "") -> str:
        """A value of the query or form, without outer spaces."""
        return self.raw(name, default).strip(" ")

    def raw(self, name: str, default: str = "") -> str:
        """As it was typed: of passwords."""
        values = (self.request.args or {}).get(name.encode())
        return values[-1].decode("utf-8", "replace") if values else default

    def all_given(self, name: str) -> list[str]:
        """Every value under a name, empty ones left out."""
        values = (self.request.args or {}).get(name.encode(), [])
        return [text for value in values if (text := value.decode("utf-8", "replace").strip(" "))]

    def each_given(self, name: str) -> list[str]:
        """Every value under a name, the empty ones too."""
        return [value.decode("utf-8", "replace").strip(" ") for value in (self.request.args or {}).get(name.encode(), [])]

    def lines(self, name: str) -> tuple[str, ...]:
        """The lines of a text area that hold anything."""
        lines = self.raw(name).replace("\r", "\n").split("\n")
        return tuple(line.strip(" \t") for line in lines if line.strip(" \t"))

    def flag(self, name: str) -> bool:
        """Whether a box is ticked."""
        return self.raw(name) not in ("", "0")

    def whole(self, name: str, label: str = "") -> int | None:
        """A whole number, None when nothing is given. Raises InvalidField."""
        text = self.given(name)
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 15:
            raise InvalidField(name, self.say("is no whole number"))
        return int(text)

    def decimal(self, name: str) -> float | None:
        """A number, None when nothing is given. Raises InvalidField."""
        text = self.given(name).replace(",", ".")
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            raise InvalidField(name, self.say("is no number")) from None

    # What is answered

    def render(self, template: str, status: int = 200, **values: Any) -> bytes:
        """A page."""
        self.request.setResponseCode(status)
        self.request.setHeader(b"content-type", b"text/html; charset=utf-8")
        words = self.words
        if "errors" in values:
            values["errors"] = {field: words.tell(wrong) for field, wrong in values["errors"].items()}
        shown = templates.get_template(template).render(
            view=self,
            services=self.services,
            project=self.project,
            person=self.person,
            words=words,
            _=words.say,
            n=words.count,
            may=self.may,
            languages=LANGUAGES,
            version=__version__,
            done=_DONE.get(self.given("done"), ""),
            **values,
        )
        return shown.encode("utf-8", "replace")

    def json(self, value: Any, status: int = 200) -> bytes:
        """An answer to a script of ours."""
        self.request.setResponseCode(status)
        self.request.setHeader(b"content-type", b"application/json")
        return msgspec.json.encode(value)

    @property
    def base(self) -> str:
        """The beginning of our addresses, as others reach us."""
        if self.services.public_url:
            return self.services.public_url
        host = (self.request.getHeader(b"host") or b"127.0.0.1").decode("ascii", "replace")
        return f"{'https' if self.secure else 'http'}://{host}"

    def redirect(self, path: str, done: str = "") -> bytes:
        """Go to a page of ours; `done`: a key of `_DONE`, told there."""
        if done:
            path += ("&" if "?" in path else "?") + urlencode({"done": done})
        self.request.setResponseCode(303)
        self.request.setHeader(b"location", quote(path, safe="/?&=%:+-_.~#").encode())
        return b""

    def link(self, *parts: Any, **query: Any) -> str:
        """The address of a page of this project."""
        assert self.project is not None
        path = "/".join(("/projects", str(self.project.id), *(quote(str(part), safe="") for part in parts)))
        return path + (f"?{urlencode(query)}" if query else "")

    async def note(self, what: str, detail: str = "") -> None:
        """Into the log of changes, under the name of the person."""
        project = self.project.id if self.project is not None else None
        await self.services.people.note(self.who.name, what, project, detail, self.address)


_DONE = {
    "saved": "Saved. It counts for the next call within a second.",
    "added": "Added.",
    "removed": "Removed.",
    "password": "The password is set.",
    "account": "The password is set: phones can log in now.",
    "disabled": "The password is cleared: nobody can log in any more.",
    "logged-out": "You are logged out.",
    "sent": "It will be sent again.",
}
