"""Operations on a project's SIP account and the devices that are logged in to it. Knows the services, no rules."""

from __future__ import annotations

from typing import Any

import msgspec

from calltrack.tracking.accounts import PublishedAccount, published_account
from calltrack.tracking.bindings import PublishedBinding, published_binding
from calltrack.web.api.operations import Asked, Operation, Page
from calltrack.web.api.setup import OfProject


class Password(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A password to set: at least 7 characters, upper- and lower-case letters among them."""

    password: str


async def _account(asked: Asked) -> Any:
    project = asked.project("setup:read", asked.query.project)
    services = asked.services
    return published_account(await services.accounts.account(project), services.listen, services.domain)


async def _set_password(asked: Asked) -> Any:
    project = asked.project("setup:write", asked.query.project)
    services = asked.services
    account = await services.accounts.set_password(project, asked.body.password)
    await services.people.note(asked.who.name, "account.password-set", project)
    return published_account(account, services.listen, services.domain)


async def _disable(asked: Asked) -> Any:
    project = asked.project("setup:write", asked.query.project)
    services = asked.services
    account = await services.accounts.disable(project)
    await services.people.note(asked.who.name, "account.disabled", project)
    return published_account(account, services.listen, services.domain)


async def _registrations(asked: Asked) -> Page[Any]:
    project = asked.project_or_all("setup:read", asked.query.project)
    now = asked.services.wall_ms() / 1000
    found = await asked.services.accounts.registrations(project)
    return Page(items=[published_binding(user, one, now) for user, one in found if one.expires_at > now])


OPERATIONS = (
    Operation("GET", "/account", "getAccount", "The project's SIP account", "account", "setup:read", _account,
              answer=PublishedAccount, query=OfProject),
    Operation("PUT", "/account/password", "setAccountPassword", "Set the account's password; it is active at once",
              "account", "setup:write", _set_password, answer=PublishedAccount, query=OfProject, body=Password),
    Operation("DELETE", "/account/password", "disableAccount", "Clear the password: every device is logged out",
              "account", "setup:write", _disable, answer=PublishedAccount, query=OfProject),
    Operation("GET", "/registrations", "listRegistrations", "Devices that are logged in to the account", "account",
              "setup:read", _registrations, answer=Page[PublishedBinding], query=OfProject),
)  # fmt: skip
