"""API keys, people, sessions, links and the log of changes in memory. Knows no files."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.internet.defer import Deferred, execute, succeed
from zope.interface import implementer

from calltrack.access.interfaces import IAccessStore
from calltrack.access.model import APIKey, AuditEntry, Link, Person, Session
from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.interfaces import ICatalogStore


@implementer(IAccessStore)
class MemoryAccess:
    """Access in dicts, to the projects in `catalog`."""

    def __init__(self, catalog: ICatalogStore) -> None:
        self._catalog = catalog
        self._last = 0  # id that was given; never again
        self._keys: dict[int, APIKey] = {}
        self._people: dict[int, Person] = {}
        self._sessions: dict[str, Session] = {}
        self._links: dict[str, Link] = {}
        self._audit: list[AuditEntry] = []
        self._last_entry = 0  # its id

    def add_key(self, key: APIKey) -> Deferred[APIKey]:
        return self._catalog.snapshot().addCallback(self._add_key, key)

    def keys(self) -> Deferred[list[APIKey]]:
        return succeed(list(self._keys.values()))

    def key(self, public: str) -> Deferred[APIKey | None]:
        return succeed(next((key for key in self._keys.values() if key.public == public), None))

    def replace_key(self, key: APIKey) -> Deferred[None]:
        if key.id in self._keys:
            self._keys[key.id] = key
        return succeed(None)

    def remove_key(self, key: int) -> Deferred[None]:
        self._keys.pop(key, None)
        return succeed(None)

    def add_person(self, person: Person, first: bool = False) -> Deferred[Person]:
        return execute(self._add_person, person, first)

    def replace_person(self, person: Person) -> Deferred[Person]:
        return execute(self._replace_person, person)

    def remove_person(self, person: int) -> Deferred[None]:
        self._people.pop(person, None)
        return self.remove_sessions(person=person)

    def people(self) -> Deferred[list[Person]]:
        return succeed(list(self._people.values()))

    def put_session(self, session: Session) -> Deferred[None]:
        return execute(self._put_session, session)

    def keep_session(self, session: Session) -> Deferred[bool]:
        if session.id not in self._sessions:
            return succeed(False)
        self._sessions[session.id] = session
        return succeed(True)

    def session(self, session: str) -> Deferred[Session | None]:
        return succeed(self._sessions.get(session))

    def sessions(self, person: int) -> Deferred[list[Session]]:
        found = [session for session in self._sessions.values() if session.person == person]
        return succeed(sorted(found, key=lambda one: (-one.created, one.id)))

    def remove_sessions(
        self, person: int | None = None, session: str | None = None, before: int | None = None
    ) -> Deferred[None]:
        self._sessions = {
            key: one
            for key, one in self._sessions.items()
            if one.person != person and key != session and (before is None or one.expires >= before)
        }
        return succeed(None)

    def add_link(self, link: Link) -> Deferred[None]:
        same = (link.purpose, link.person)
        self._links = {key: one for key, one in self._links.items() if (one.purpose, one.person) != same}
        self._links[link.id] = link
        return succeed(None)

    def link(self, link: str) -> Deferred[Link | None]:
        return succeed(self._links.get(link))

    def take_link(self, link: str) -> Deferred[Link | None]:
        return succeed(self._links.pop(link, None))

    def remove_links(self, person: int) -> Deferred[None]:
        self._links = {key: one for key, one in self._links.items() if one.person != person}
        return succeed(None)

    def note(self, entry: AuditEntry, since: int = 0) -> Deferred[None]:
        self._last_entry += 1
        self._audit = [known for known in self._audit if known.at >= since]
        self._audit.append(replace(entry, id=self._last_entry))
        return succeed(None)

    def audit(self, project: int | None = None, limit: int = 100, before: int | None = None) -> Deferred[list[AuditEntry]]:
        found = [
            entry
            for entry in reversed(self._audit)
            if project in (None, entry.project) and (before is None or entry.id < before)
        ]
        return succeed(found[:limit])

    def _add_key(self, catalog: tuple, key: APIKey) -> APIKey:
        if key.project is not None and not any(project.id == key.project for project in catalog[1]):
            raise NoSuchObject(Sentence("project {project} does not exist", project=key.project))
        self._last += 1
        self._keys[self._last] = replace(key, id=self._last)
        return self._keys[self._last]

    def _add_person(self, person: Person, first: bool) -> Person:
        if first and self._people:
            raise InvalidField("name", "somebody has set this up already; ask them for an account")
        self._check_name(person)
        self._last += 1
        self._people[self._last] = replace(person, id=self._last)
        return self._people[self._last]

    def _replace_person(self, person: Person) -> Person:
        self._check_name(person)
        if person.id not in self._people:
            raise NoSuchObject(Sentence("person {person} does not exist", person=person.id))
        self._people[person.id] = person
        return person

    def _check_name(self, person: Person) -> None:
        if any(one.name == person.name and one.id != person.id for one in self._people.values()):
            raise InvalidField("name", Sentence("somebody is called {name} already", name=person.name))

    def _put_session(self, session: Session) -> None:
        if session.person not in self._people:
            raise NoSuchObject(Sentence("person {person} does not exist", person=session.person))
        self._sessions[session.id] = session
