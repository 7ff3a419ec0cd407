"""Where calls to a project's SIP account go: its registered contacts. Knows targets and what a location service
says; not how anybody registers.
"""

from __future__ import annotations

from typing import Protocol, Sequence

from twisted.internet import defer

from calltrack.calls.forwarding import NoDestination, with_user
from calltrack.calls.destinations import Destination
from calltrack.sip.flows import Flow
from calltrack.sip.message import Request
from calltrack.tracking.model import Route, Target


class Reachable(Protocol):
    """A contact that can be called now."""

    uri: bytes  # Request-URI, as it was registered
    route: tuple[bytes, ...]  # Route values on the way to it (RFC 3327)
    flow: Flow  # that it came by

    def moved(self) -> Flow | None:
        """The flow that it has registered over since then, if another."""


class LocationService(Protocol):
    """Who is registered at the account of a project."""

    def reachable(self, project: int) -> Sequence[Reachable]:
        """Its contacts, the most preferred first; at once, from memory."""

    def speaks_for_account(self, request: Request, flow: Flow) -> bool:
        """Whether a request says that it comes from a device of an account."""


class AccountContacts:
    """For `forwarding.Destinations`: the contacts of an account, which ring all together, each over its own flow. Their
    preference (q-value) only says whose INVITE leaves first: section 16.6 leaves it to us, and a person who takes a
    phone along expects it to ring whatever it says about itself."""

    def __init__(self, service: LocationService) -> None:
        self._service = service

    def __call__(self, target: Target, route: Route) -> defer.Deferred[list[list[Destination]]]:
        """Fires with one round; fails with NoDestination when nobody can be called."""
        contacts = self._service.reachable(route.project)
        if not contacts:
            return defer.fail(NoDestination("nobody is registered at the project's SIP account"))
        return defer.succeed([[self._destination(contact, target, route) for contact in contacts]])

    def _destination(self, contact: Reachable, target: Target, route: Route) -> Destination:
        uri = contact.uri
        if target.addressing.request_user == "dialled":
            uri = with_user(uri, route.dialled)
        return Destination(uri, contact.uri, flow=contact.flow, route=contact.route, moved=contact.moved)
