"""People who log in to the page: the first one by a link, their roles, passwords and sessions.

The command line and the page come through here, so each rule stands once. No HTTP, no SQL.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Sequence

from msgspec.structs import replace

from calltrack.access.guard import LogInGuard
from calltrack.access.model import ROLES, AuditEntry, Grant, Link, Person, Session, hashed, new_secret
from calltrack.access.passwords import Passwords, check_password
from calltrack.errors import InvalidField, NoSuchObject, NotAllowed, Sentence
from calltrack.access.interfaces import IAccessStore
from calltrack.tracking.targets import quoted
from calltrack.tracking.visit_limits import neighbourhood

IDLE = 12 * 3600_000  # milliseconds without a request that end a session
LONGEST = 14 * 24 * 3600_000  # milliseconds that a session lasts at most
SEEN_EVERY = 300_000  # milliseconds between two notes of a session's use
DAY = 86_400_000  # milliseconds
LINK_LIFE = 72 * 3600_000  # milliseconds that a one-time link works

_NAME = re.compile(r"[a-z0-9][a-z0-9._+@-]{1,99}\Z")


class TooManyTries(NotAllowed):
    """Passwords are being guessed; `wait`: seconds until the next try is looked at."""

    def __init__(self, wait: float) -> None:
        super().__init__(Sentence("too many wrong passwords; try again in {seconds} seconds", seconds=max(1, round(wait))))
        self.wait = wait


class WrongPassword(NotAllowed):
    """The same words for a name that nobody has and a password that is wrong."""


class People:
    """The people in `store`. `wall_ms`: milliseconds since the Unix epoch; `keep`: days that the log of changes is kept, 0 =
    for ever. Every method is a coroutine and may raise StoreUnavailable."""

    def __init__(
        self, store: IAccessStore, wall_ms: Callable[[], int], passwords: Passwords, guard: LogInGuard, keep: float = 0.0
    ) -> None:
        self._store = store
        self._wall_ms = wall_ms
        self._passwords = passwords
        self._guard = guard
        self._keep_ms = round(keep * DAY)

    # The first one

    async def set_up_link(self) -> str | None:
        """The secret of a link by which the first person is made; each one puts an end to the one before. None when
        there is somebody already."""
        if await self._store.people():
            return None
        secret = new_secret(24)
        expires = self._wall_ms() + LINK_LIFE
        await self._store.add_link(Link(id=hashed(secret), purpose="set-up", expires=expires))
        return secret

    async def set_up(self, secret: str, name: str, password: str) -> Person:
        """The first person, owner of everything. The link works once, and only while there is nobody.
        Raises InvalidField, NotAllowed."""
        name = _checked_name(name)
        check_password(password, name)
        link = await self.link_of(secret)
        if link is None or link.purpose != "set-up":  # before anything that costs: anybody may ask
            raise NotAllowed("this set-up link does not work any more; the service prints a new one when it starts")
        kept = await self._passwords.hashed(password)
        everything = (Grant(project=None, role="owner"),)
        person = Person(id=0, name=name, grants=everything, password=kept, created=self._wall_ms())
        added = await self._store.add_person(person, first=True)
        await self._store.take_link(link.id)
        await self.note(added.name, "person.set-up")
        return added

    # People

    async def people(self) -> list[Person]:
        return await self._store.people()

    async def person(self, person: int) -> Person:
        """Raises NoSuchObject."""
        for known in await self._store.people():
            if known.id == person:
                return known
        raise NoSuchObject(Sentence("person {person} does not exist", person=person))

    async def named(self, name: str) -> Person:
        """Raises NoSuchObject."""
        for known in await self._store.people():
            if known.name == name.strip(" ").lower():
                return known
        raise NoSuchObject(Sentence("nobody is called {name}", name=quoted(name)))

    async def add(self, name: str, grants: Sequence[Grant], who: str = "command line") -> Person:
        """Somebody new, who cannot log in before having chosen a password by a link (`password_link`). Raises
        InvalidField."""
        person = Person(id=0, name=_checked_name(name), grants=_checked_grants(grants), created=self._wall_ms())
        added = await self._store.add_person(person)
        await self.note(who, "person.added", detail=f"{added.name}: {in_words(added.grants)}")
        return added

    async def grant(self, person: int, grants: Sequence[Grant], who: str = "command line") -> Person:
        """Give a person these roles instead of those before. Raises NoSuchObject, InvalidField."""
        known = await self.person(person)
        changed = replace(known, grants=_checked_grants(grants))
        await self._keep_an_owner(known, changed)
        await self._store.replace_person(changed)
        await self.note(who, "person.granted", detail=f"{changed.name}: {in_words(changed.grants)}")
        return changed

    async def remove(self, person: int, who: str = "command line") -> Person:
        """Log a person out everywhere and forget them. Raises NoSuchObject, InvalidField."""
        known = await self.person(person)
        await self._keep_an_owner(known, None)
        await self._store.remove_person(person)
        await self.note(who, "person.removed", detail=known.name)
        return known

    async def _keep_an_owner(self, before: Person, after: Person | None) -> None:
        if _owns_everything(before) and not (after is not None and _owns_everything(after)):
            others = [one for one in await self._store.people() if one.id != before.id and _owns_everything(one)]
            if not any(one.password for one in others):
                raise InvalidField(
                    "grants", Sentence("{name} is the only owner of every project; name another one first", name=before.name)
                )

    # Passwords and links

    async def link(self, person: int, purpose: Any = "password", who: str = "command line") -> str:
        """The secret of a link by which a person chooses a password, or with "enter" is logged in; each one puts an
        end to the one before of its kind. Raises NoSuchObject."""
        known = await self.person(person)
        secret = new_secret(24)
        expires = self._wall_ms() + LINK_LIFE
        await self._store.add_link(Link(id=hashed(secret), purpose=purpose, person=person, expires=expires))
        await self.note(who, "link.made", detail=f"{purpose}, for {known.name}")
        return secret

    async def link_of(self, secret: str) -> Link | None:
        """What a link is for, None when it does not work any more."""
        link = await self._store.link(hashed(secret))
        return link if link is not None and link.expires > self._wall_ms() else None

    async def enter(self, secret: str, address: str, browser: str) -> tuple[Session, str]:
        """Log in by an "enter" link. Raises NotAllowed."""
        link = await self.link_of(secret)
        if link is None or link.purpose != "enter" or await self._store.take_link(link.id) is None:
            raise NotAllowed("this link does not work any more; ask for a new one")
        assert link.person is not None
        person = await self.person(link.person)
        await self.note(person.name, "log-in", detail="by a link", address=address)
        return await self.begin(person, address, browser)

    async def choose_password(self, secret: str, password: str) -> Person:
        """Set a password by a "password" link; every session of the person ends. Raises InvalidField, NotAllowed."""
        link = await self.link_of(secret)
        if link is None or link.purpose != "password" or link.person is None:
            raise NotAllowed("this link does not work any more; ask for a new one")
        person = await self.person(link.person)
        check_password(password, person.name)
        kept = await self._passwords.hashed(password)
        if await self._store.take_link(link.id) is None:
            raise NotAllowed("this link does not work any more; ask for a new one")
        return await self._with_password(person, kept)

    async def change_password(self, person: int, old: str, new: str, address: str = "") -> Person:
        """Set another password, knowing the old one; every session of the person ends. Raises InvalidField,
        TooManyTries."""
        known = await self.person(person)
        self._count_try(f"name {known.name}")
        if not await self._passwords.right(known.password, old):
            raise InvalidField("old_password", "is wrong")
        self._guard.succeeded(f"name {known.name}")
        check_password(new, known.name)
        return await self._with_password(known, await self._passwords.hashed(new))

    async def _with_password(self, person: Person, kept: str) -> Person:
        changed = await self._store.replace_person(replace(person, password=kept))
        await self._store.remove_sessions(person=person.id)
        await self._store.remove_links(person=person.id)
        await self.note(person.name, "password.changed")
        return changed

    # Sessions

    async def log_in(self, name: str, password: str, address: str, browser: str) -> tuple[Session, str]:
        """A new session and what its cookie holds. Raises WrongPassword, TooManyTries."""
        name = name.strip(" ").lower()[:100]
        asking = (f"address {neighbourhood(address)}", f"name {name}")
        self._slow_down(*asking)
        person = next((one for one in await self._store.people() if one.name == name), None)
        self._count_try(*asking)
        if not await self._passwords.right(person.password if person is not None else "", password) or person is None:
            await self.note(name if person is not None else "nobody", "log-in.refused", address=address)
            raise WrongPassword("the name or the password is wrong")
        self._guard.succeeded(*asking)
        if self._passwords.stale(person.password):
            person = await self._store.replace_person(replace(person, password=await self._passwords.hashed(password)))
        await self.note(person.name, "log-in", address=address)
        return await self.begin(person, address, browser)

    def _count_try(self, *whoever: str) -> None:
        """Counts as a failure until it has succeeded: those that come meanwhile must not be free."""
        self._slow_down(*whoever)
        self._guard.failed(*whoever)

    def _slow_down(self, *whoever: str) -> None:
        wait = self._guard.wait(*whoever)
        if wait > 0:
            raise TooManyTries(wait)

    async def begin(self, person: Person, address: str, browser: str) -> tuple[Session, str]:
        """A session of somebody who has just shown who they are, and what its cookie holds."""
        now, secret = self._wall_ms(), new_secret()
        await self._store.remove_sessions(before=now)
        session = Session(
            id=hashed(secret),
            person=person.id,
            created=now,
            seen=now,
            expires=now + IDLE,
            csrf=new_secret(24),
            address=address,
            browser="".join(char for char in browser[:200] if char.isprintable()),
        )
        await self._store.put_session(session)
        return session, secret

    async def session(self, secret: str) -> tuple[Session, Person] | None:
        """The session that a cookie names, and whose it is; None when it is over."""
        now = self._wall_ms()
        session = await self._store.session(hashed(secret))
        if session is None or session.expires <= now:
            return None
        person = next((one for one in await self._store.people() if one.id == session.person), None)
        if person is None:
            return None
        if now - session.seen >= SEEN_EVERY:
            session = replace(session, seen=now, expires=min(now + IDLE, session.created + LONGEST))
            if not await self._store.keep_session(session):  # it was ended meanwhile
                return None
        return session, person

    async def session_by_id(self, session: str) -> Session | None:
        """A session that was found before, while it lasts."""
        found = await self._store.session(session)
        return found if found is not None and found.expires > self._wall_ms() else None

    async def sessions(self, person: int) -> list[Session]:
        """Where a person is logged in, newest first."""
        now = self._wall_ms()
        return [session for session in await self._store.sessions(person) if session.expires > now]

    async def log_out(self, session: Session, everywhere: bool = False) -> None:
        """End a session, or all of its person."""
        if everywhere:
            await self._store.remove_sessions(person=session.person)
        else:
            await self._store.remove_sessions(session=session.id)

    # The log of changes

    async def note(self, who: str, what: str, project: int | None = None, detail: str = "", address: str = "") -> None:
        """Append to the log of changes; what is too old to be kept goes with that, a few at a time."""
        now = self._wall_ms()
        entry = AuditEntry(at=now, who=who, what=what, project=project, detail=detail[:500], address=address)
        await self._store.note(entry, now - self._keep_ms if self._keep_ms else 0)

    async def audit(self, project: int | None = None, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """The latest entries of a project, or all, newest first."""
        return await self._store.audit(project=project, limit=limit, before=before)


def in_words(grants: Sequence[Grant]) -> str:
    """``owner of every project, analyst of project 2``."""
    words = [f"{g.role} of {'every project' if g.project is None else f'project {g.project}'}" for g in grants]
    return ", ".join(words) or "no role"


def _owns_everything(person: Person) -> bool:
    return any(grant.project is None and grant.role == "owner" for grant in person.grants)


def _checked_name(name: str) -> str:
    name = name.strip(" ").lower()
    if not _NAME.match(name):
        raise InvalidField(
            "name",
            Sentence(
                "{name} cannot be logged in with; allowed: 2 to 100 letters, digits and . _ + @ -, as in maria@shop.example",
                name=quoted(name),
            ),
        )
    return name


def _checked_grants(grants: Sequence[Grant]) -> tuple[Grant, ...]:
    by_project: dict[int | None, Grant] = {}
    for grant in grants:
        if grant.role not in ROLES:
            raise InvalidField(
                "role", Sentence("{role} is no role; allowed: {allowed}", role=quoted(grant.role), allowed=", ".join(ROLES))
            )
        by_project[grant.project] = grant
    return tuple(by_project.values())
