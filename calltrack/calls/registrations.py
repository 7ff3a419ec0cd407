"""Our registrations with trunks, and the calls that come because of them. Knows which trunk a registration belongs to;
not how one is kept (`registering`).
"""

from __future__ import annotations

from typing import Any, Callable, Iterable

from calltrack.calls.registering import LINE, Registration, RegistrationState
from calltrack.calls.standing import Standing
from calltrack.errors import MalformedMessage
from calltrack.sip.agent import Agent
from calltrack.sip.flows import Flow
from calltrack.sip.message import Request
from calltrack.sip.uri import parse_uri


class Registrations:
    """One for each trunk with `register`. `standing` is told of what becomes of them."""

    def __init__(self, agent: Agent, trunks: Iterable[Any], standing: Standing) -> None:
        self.observers: list[Callable[[str], Any]] = []  # called with a trunk's name when its registration has changed
        self._standing = standing
        self._all = [Registration(agent, trunk, self._changed) for trunk in trunks if trunk.register]
        self._by_line = {registration.line: registration for registration in self._all}

    def start(self) -> None:
        for registration in self._all:
            registration.start()

    def stop(self) -> None:
        """Log out everywhere; the transaction layer's `unanswered` tells when that is done."""
        for registration in self._all:
            registration.stop()

    def states(self) -> dict[str, RegistrationState]:
        """How each stands, by the name of its trunk."""
        return {registration.trunk.name: registration.state for registration in self._all}

    def by_contact(self, invite: Request) -> Any | None:
        """The trunk whose call an INVITE is because it was sent to the contact that we have registered there, which
        nobody else can know."""
        named = self._by_line.get(_line_of(invite))
        return named.trunk if named is not None and named.registered else None

    def by_server(self, invite: Request, flow: Flow) -> Any | None:
        """The trunk that an INVITE comes from because its source is the server that we are registered at."""
        there = [one for one in self._all if one.registered and one.flow is not None and one.flow.remote.host == flow.remote.host]
        if len(there) > 1:  # several accounts at one provider
            users = _users(invite)
            there.sort(key=lambda one: one.user not in users)
        return there[0].trunk if there else None

    def _changed(self, registration: Registration) -> None:
        why = "" if registration.serves else f"no registration: {registration.why or 'it has expired'}"
        self._standing.tell("trunk", registration.trunk.name, "registration", why)
        for observer in self.observers:
            observer(registration.trunk.name)


def _line_of(invite: Request) -> bytes:
    """What says in the Request-URI that it is a contact of ours; b"" when nothing does."""
    try:
        return parse_uri(invite.uri).params.get(LINE) or b""
    except MalformedMessage:
        return b""


def _users(invite: Request) -> set[bytes]:
    """Whom an INVITE names as called."""
    users = set()
    for uri in (invite.uri, invite.to.uri):
        try:
            users.add(parse_uri(uri).user)
        except MalformedMessage:
            continue
    return users
