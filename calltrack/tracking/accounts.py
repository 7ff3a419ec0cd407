"""The SIP account of a project, and what people do with it: look at it, set its password, take it away.

The command line, the page and the API all come through here, so a password is judged in one place. Knows what is
kept of a password; must not know how that is stored (`IAccountStore`), nor what a registration looks like on the wire.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Sequence

import msgspec

from calltrack.errors import InvalidField, Sentence
from calltrack.interfaces import IAccountStore, ILocationStore
from calltrack.tracking.bindings import Binding

MIN_PASSWORD = 7  # characters
MAX_PASSWORD = 128

_USER_LENGTH = 10
_FIRST = "abcdefghjkmnpqrstuvwxyz"  # a user name begins with a letter: nobody takes it for a phone number
_REST = _FIRST + "23456789"  # nothing that is misread: no i, l, o, 0, 1


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The one SIP account of a project. Hashes are HA1 in hex (RFC 7616 section 3.4.2), of user name, realm and
    password; without them nobody can log in."""

    project: int
    user: str
    realm: str = ""  # that the hashes were made for
    ha1_md5: str = ""
    ha1_sha256: str = ""

    @property
    def enabled(self) -> bool:
        """Whether it has a password, so that somebody can log in."""
        return bool(self.ha1_sha256)

    def ha1(self, algorithm: str, realm: str) -> str | None:
        """The hash for ``MD5`` or ``SHA-256``; None when there is none, or it was made for another realm."""
        if self.realm != realm or not self.enabled:
            return None
        return {"MD5": self.ha1_md5, "SHA-256": self.ha1_sha256}.get(algorithm)

    def __repr__(self) -> str:  # what opens the account stays out of logs and tracebacks
        return f"<account {self.user} of project {self.project}, {'enabled' if self.enabled else 'disabled'}>"


class PublishedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What a softphone or an exchange needs to log in."""

    project: int
    user: str
    domain: str
    port: int  # of UDP, or of the first place where SIP listens
    ports: dict[str, int]  # by transport
    transports: tuple[str, ...]
    enabled: bool  # it has a password
    usable: bool  # the password was set for this domain


class Accounts:
    """The accounts in `accounts`, and the devices in `locations` that are logged in to them. `realm`: the SIP domain.

    Every method is a coroutine. Each raises NoSuchObject when the project does not exist, StoreUnavailable when a
    store does not answer.
    """

    def __init__(self, accounts: IAccountStore, locations: ILocationStore, realm: str) -> None:
        self._accounts = accounts
        self._locations = locations
        self._realm = realm

    async def account(self, project: int) -> Account:
        """The account of a project, made with a user name of its own when it is asked for first."""
        return await self._accounts.add(Account(project=project, user=new_user()))

    async def set_password(self, project: int, password: str) -> Account:
        """Let devices log in with `password` from now on. Raises InvalidField with every rule that it breaks."""
        check_password(password)
        account = await self.account(project)
        return await self._accounts.replace(with_password(account, self._realm, password))

    async def disable(self, project: int) -> Account:
        """Clear the password: nobody can log in, and whoever is logged in is not called any more."""
        account = await self.account(project)
        disabled = await self._accounts.replace(Account(project=account.project, user=account.user))
        await self._locations.forget(project)
        return disabled

    async def registrations(self, project: int | None = None) -> list[tuple[str, Binding]]:
        """The contacts of a project, or all, each with the user name it is registered under."""
        _, accounts = await self._accounts.snapshot()
        users = {account.project: account.user for account in accounts}
        return [(users.get(binding.project, ""), binding) for binding in await self._locations.list(project)]


def check_password(password: str) -> None:
    """Raises InvalidField that names every rule `password` breaks."""
    broken = broken_rules(password)
    if broken:
        raise InvalidField("password", Sentence("{broken}; allowed: at least {least} characters, upper- and lower-case letters among them", broken=[Sentence(rule) for rule in broken], least=MIN_PASSWORD))  # fmt: skip


def broken_rules(password: str) -> list[str]:
    """What is wrong with a password, in words; nothing when it may be used."""
    rules = (
        (len(password) >= MIN_PASSWORD, f"has fewer than {MIN_PASSWORD} characters"),
        (len(password) <= MAX_PASSWORD, f"has more than {MAX_PASSWORD} characters"),
        (any(char.isupper() for char in password), "has no upper-case letter"),
        (any(char.islower() for char in password), "has no lower-case letter"),
        (password.isprintable(), "has a control character or line break"),
    )
    return [words for kept, words in rules if not kept]


def with_password(account: Account, realm: str, password: str) -> Account:
    """`account` with the hashes of a password that has been checked."""
    secret = f"{account.user}:{realm}:{password}".encode()
    return msgspec.structs.replace(
        account,
        realm=realm,
        ha1_md5=hashlib.md5(secret, usedforsecurity=False).hexdigest(),
        ha1_sha256=hashlib.sha256(secret).hexdigest(),
    )


def new_user() -> str:
    """A user name that nobody guesses and nobody has."""
    return secrets.choice(_FIRST) + "".join(secrets.choice(_REST) for _ in range(_USER_LENGTH - 1))


def published_account(account: Account, listen: Sequence[tuple[str, str, int]], domain: str) -> dict[str, Any]:
    """An account as the command line, the page and the API show it. `listen`: transport, address and port of
    each place where SIP listens; `port` is that of UDP, or of the first of them."""
    ports = {transport: port for transport, _, port in reversed(listen)}
    return {
        "project": account.project,
        "user": account.user,
        "domain": domain,
        "port": ports.get("udp") or next(port for _, _, port in listen),
        "ports": {transport: ports[transport] for transport in ("udp", "tcp", "tls") if transport in ports},
        "transports": [transport for transport in ("udp", "tcp", "tls") if transport in ports],
        "enabled": account.enabled,
        "usable": account.enabled and account.realm == domain,
    }
