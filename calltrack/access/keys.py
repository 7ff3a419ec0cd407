"""API keys: made, listed, removed, and looked up when a program shows one.

Knows what a key is made of and that it is shown once. No HTTP, no SQL.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Callable, Sequence

from msgspec.structs import replace

from calltrack.access.model import KEY_SCOPES, SCOPES, APIKey, AuditEntry, Principal, hashed, new_secret
from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.access.interfaces import IAccessStore
from calltrack.tracking.targets import quoted

MAX_NAME = 200  # characters
USED_EVERY = 60_000  # milliseconds between two notes of a key's use

_NOBODY = hashed("")


class Keys:
    """The API keys in `store`. `wall_ms`: milliseconds since the Unix epoch.

    Every method is a coroutine and may raise StoreUnavailable.
    """

    def __init__(self, store: IAccessStore, wall_ms: Callable[[], int]) -> None:
        self._store = store
        self._wall_ms = wall_ms

    async def add(
        self, project: int | None, name: str = "", scopes: Sequence[str] = (), who: str = "command line"
    ) -> tuple[APIKey, str]:
        """A new key of a project, or of every one, and the text of it, which nobody can get again. `scopes`: unless
        given, all but access:write. Raises InvalidField, NoSuchObject."""
        name = name.strip(" ")
        if len(name) > MAX_NAME or not name.isprintable():
            raise InvalidField(
                "name",
                Sentence(
                    "{name} is no name; allowed: up to {most} characters on one line", name=quoted(name), most=MAX_NAME
                ),
            )
        for scope in scopes:
            if scope not in SCOPES:
                raise InvalidField(
                    "scopes",
                    Sentence("{scope} is no scope; allowed: {allowed}", scope=quoted(scope), allowed=", ".join(SCOPES)),
                )
        now, secret = self._wall_ms(), new_secret()
        key = APIKey(
            id=0,
            name=name or "key",
            project=project,
            scopes=tuple(dict.fromkeys(scopes)) or KEY_SCOPES,
            public=secrets.token_hex(6),
            secret_sha256=hashed(secret),
            created=now,
        )
        added = await self._store.add_key(key)
        detail = f"{added.id} ({added.name}): {', '.join(added.scopes)}"
        await self._store.note(AuditEntry(at=now, who=who, what="api-key.added", project=project, detail=detail))
        return added, f"ct_{added.public}_{secret}"

    async def keys(self, project: int | None = None) -> list[APIKey]:
        """The keys of a project, or all."""
        return [key for key in await self._store.keys() if project in (None, key.project)]

    async def key(self, key: int) -> APIKey:
        """The key with this id. Raises NoSuchObject."""
        for known in await self._store.keys():
            if known.id == key:
                return known
        raise NoSuchObject(Sentence("API key {key} does not exist", key=key))

    async def remove(self, key: int, who: str = "command line") -> APIKey:
        """Let a key open nothing any more. Raises NoSuchObject."""
        removed = await self.key(key)
        await self._store.remove_key(key)
        entry = AuditEntry(
            at=self._wall_ms(), who=who, what="api-key.removed", project=removed.project, detail=f"{key} ({removed.name})"
        )
        await self._store.note(entry)
        return removed

    async def principal(self, text: str) -> Principal | None:
        """Whoever `text` is the key of; None when it is nobody's."""
        kind, _, rest = text.partition("_")
        public, _, secret = rest.partition("_")
        key = await self._store.key(public) if kind == "ct" and public.isascii() and public.isalnum() else None
        known = key.secret_sha256 if key is not None else _NOBODY
        if not hmac.compare_digest(known, hashed(secret)) or key is None:
            return None
        now = self._wall_ms()
        if key.last_used is None or now - key.last_used >= USED_EVERY:
            await self._store.replace_key(replace(key, last_used=now))
        return key.principal
