"""The values of access: API keys, people, sessions, one-time links, the log of changes; what each may do.

Knows scopes and roles, and that only hashes of secrets are kept. No HTTP, no SQL, no clock.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Literal

import msgspec

from calltrack.errors import NotAllowed, Sentence
from calltrack.tracking.published import iso_time

Scope = Literal["calls:read", "recordings:read", "setup:read", "setup:write", "access:write"]
Role = Literal["analyst", "operator", "owner"]

SCOPES: dict[str, str] = {
    "calls:read": "see calls, visits, events and reports",
    "recordings:read": "listen to recordings",
    "setup:read": "see projects, numbers, scenarios, the SIP account, webhooks and trunks",
    "setup:write": "change them",
    "access:write": "add and remove people and API keys",
}
KEY_SCOPES: tuple[Scope, ...] = ("calls:read", "recordings:read", "setup:read", "setup:write")  # unless fewer are asked for
ROLES: dict[str, tuple[Scope, ...]] = {
    "analyst": ("calls:read", "recordings:read", "setup:read"),
    "operator": ("calls:read", "recordings:read", "setup:read", "setup:write"),
    "owner": ("calls:read", "recordings:read", "setup:read", "setup:write", "access:write"),
}


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever asks: a person or a key. `grants`: scopes by project; those of project None hold for every project."""

    name: str  # for the log of changes
    grants: dict[int | None, tuple[str, ...]]

    def may(self, scope: str, project: int | None) -> bool:
        """Whether `scope` is granted for a project; for None: for all of them."""
        return scope in self.grants.get(None, ()) or (project is not None and scope in self.grants.get(project, ()))

    def require(self, scope: str, project: int | None) -> None:
        """Raises NotAllowed, in words."""
        if not self.may(scope, project):
            where = Sentence("every project") if project is None else Sentence("project {project}", project=project)
            raise NotAllowed(
                Sentence(
                    "{name} may not {do} of {where}; that needs {scope}",
                    name=self.name,
                    do=Sentence(SCOPES[scope]),
                    where=where,
                    scope=scope,
                )
            )

    @property
    def everywhere(self) -> bool:
        """Whether something is granted for every project."""
        return bool(self.grants.get(None))

    @property
    def projects(self) -> list[int]:
        """The single projects that something is granted for."""
        return sorted(project for project in self.grants if project is not None)


class APIKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a program. The key itself is ``ct_PUBLIC_SECRET``; only a hash of its secret is kept."""

    id: int
    name: str
    project: int | None  # None: every project
    scopes: tuple[Scope, ...]
    public: str
    secret_sha256: str
    created: int  # milliseconds since the Unix epoch
    last_used: int | None = None  # the same, to the minute

    @property
    def principal(self) -> Principal:
        return Principal(name=f"API key {self.id} ({self.name})", grants={self.project: self.scopes})

    def __repr__(self) -> str:
        return f"<API key {self.id} of {'every project' if self.project is None else f'project {self.project}'}>"


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A role in one project, or with project None in every one."""

    project: int | None
    role: Role


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who logs in to the page. Without `password` (an argon2id hash) nobody can as this person."""

    id: int
    name: str  # what the person logs in with, in lower case
    grants: tuple[Grant, ...] = ()
    password: str = ""
    created: int = 0  # milliseconds since the Unix epoch

    @property
    def principal(self) -> Principal:
        scopes: dict[int | None, tuple[str, ...]] = {}
        for grant in self.grants:
            scopes[grant.project] = tuple(dict.fromkeys((*scopes.get(grant.project, ()), *ROLES[grant.role])))
        return Principal(name=self.name, grants=scopes)

    def __repr__(self) -> str:
        return f"<person {self.name}>"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A person's being logged in, in one browser."""

    id: str  # hash of what the cookie holds
    person: int
    created: int  # milliseconds since the Unix epoch
    seen: int  # the same, to a few minutes
    expires: int  # the same
    csrf: str  # what each form of this session brings back
    address: str = ""  # it was begun from
    browser: str = ""  # that it was begun with


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link that works once. "set-up": makes the first person; "password": lets a person choose a password;
    "enter": logs a person in."""

    id: str  # hash of the secret in the link
    purpose: Literal["set-up", "password", "enter"]
    person: int | None = None
    expires: int  # milliseconds since the Unix epoch


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, when."""

    id: int = 0
    at: int  # milliseconds since the Unix epoch
    who: str
    what: str  # "scenario.changed", "log-in" ...
    project: int | None = None
    detail: str = ""
    address: str = ""


def new_secret(length: int = 32) -> str:
    """Text that nobody guesses: `length` bytes of randomness, fit for addresses and cookies."""
    return secrets.token_urlsafe(length)


def hashed(secret: str) -> str:
    """What is kept of a secret that was made by `new_secret`: it has no need of a slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def published_key(key: APIKey) -> dict[str, Any]:
    """A key as the command line, the page and the API show it: without what is kept of the secret."""
    return {
        "id": key.id,
        "name": key.name,
        "project": key.project,
        "scopes": list(key.scopes),
        "begins": f"ct_{key.public}_",
        "created": iso_time(key.created),
        "last_used": None if key.last_used is None else iso_time(key.last_used),
    }


def published_person(person: Person) -> dict[str, Any]:
    """A person as the command line, the page and the API show them."""
    return {
        "id": person.id,
        "name": person.name,
        "grants": msgspec.to_builtins(person.grants),
        "active": bool(person.password),
        "created": iso_time(person.created),
    }
