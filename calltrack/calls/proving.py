"""Trunks that prove who they are by digest, wherever their calls come from (PRODUCT section 2.1; RFC 3261 section 22.2).
Knows their user names and hashes; not what a call is.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable

from calltrack.errors import MalformedMessage
from calltrack.sip.challenger import Challenger
from calltrack.sip.digest import user_hash
from calltrack.sip.flows import Flow
from calltrack.sip.layer import Refusal
from calltrack.sip.message import Request

FORBIDDEN = Refusal(403)


class Proofs:
    """`offered(request, host)`: the algorithms to challenge a request with, the strongest first."""

    def __init__(
        self, trunks: Iterable[Any], challenger: Challenger, offered: Callable[[Request, str], tuple[str, ...]]
    ) -> None:
        self._challenger = challenger
        self._offered = offered
        self._trunks = {trunk.inbound_username: trunk for trunk in trunks if trunk.inbound_username}
        self._hashes = {
            (name, algorithm): user_hash(
                algorithm.encode(), name.encode(), challenger.realm, trunk.inbound_password.encode()
            ).decode("ascii")
            for name, trunk in self._trunks.items()
            for algorithm in ("SHA-256", "MD5")
        }
        # Whether an INVITE from anywhere may turn out to be some trunk's.
        self._anywhere = any(not trunk.sources for trunk in self._trunks.values())

    def judge(self, invite: Request, flow: Flow, known: Any | None) -> Any | Refusal:
        """The trunk that an INVITE proves to come from, or what to answer it. `known`: the trunk whose source it has."""
        if not (self._anywhere if known is None else known.inbound_username):
            return FORBIDDEN if known is None else known
        challenger = self._challenger
        host = flow.remote.host
        if challenger.guard.shut_out(host):
            return Refusal(0)
        try:
            values = challenger.credentials(invite)
            if not values:
                return challenger.challenge(flow, lambda: self._offered(invite, host))
            proved = challenger.judge(invite, flow, values, self._ha1, self._offered(invite, host))
        except MalformedMessage:
            return Refusal(400)
        if isinstance(proved, Refusal):
            return proved
        trunk = self._trunks[proved]
        if trunk is not known and (known is not None or trunk.sources):
            return FORBIDDEN  # the right password, from where that trunk does not stand
        return trunk

    def _ha1(self, username: str, algorithm: str) -> str | None:
        return self._hashes.get((username, algorithm))
