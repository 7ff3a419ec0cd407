"""Choose the local address that a party is shown, and the one its sockets are bound to.

Knows the `listen` and `advertise` settings and the kernel's routes; knows no ports and no descriptions.
"""

from __future__ import annotations

from calltrack.errors import MediaUnavailable, NoMediaAddress
from calltrack.media.settings import MediaSettings
from calltrack.media.sockets import bind, local_address_towards

_WILDCARDS = ("0.0.0.0", "::")
_LARGEST_CACHE = 4096  # hosts whose route is remembered


class LocalAddresses:
    """The addresses a relay has, by family."""

    def __init__(self, settings: MediaSettings) -> None:
        self._listen = {":" in address: address for address in settings.listen}
        self._advertise = {":" in address: address for address in settings.advertise}
        self._chosen: dict[str, tuple[str, str]] = {}

    def towards(self, host: str) -> tuple[str, str]:
        """What a party at `host` (an address literal) is shown, and what to bind: two literals. A port is bound
        to the very address that is shown where that is this machine's own, because a connected socket hears only
        what is sent to its own address. Raises MediaUnavailable when we do not listen in that family, or have no route.
        """
        chosen = self._chosen.get(host)
        if chosen is None:
            if len(self._chosen) >= _LARGEST_CACHE:
                self._chosen.clear()
            chosen = self._chosen[host] = self._choose(host)
        return chosen

    def forget(self) -> None:
        """Ask the kernel again from now on: routes and addresses change."""
        self._chosen.clear()

    def _choose(self, host: str) -> tuple[str, str]:
        listen = self._listen.get(":" in host)
        if listen is None:
            raise NoMediaAddress(f"no address to listen on for media of the family of {host}")
        shown = self._advertise.get(":" in host)
        if listen not in _WILDCARDS:
            return shown or listen, listen
        if shown:
            return shown, shown if is_own(shown) else listen
        try:
            address = local_address_towards(host)
        except (OSError, ValueError) as error:
            raise MediaUnavailable(f"no route to {host!r} for media") from error
        return address, address


def is_own(address: str) -> bool:
    """Whether an address literal is this machine's."""
    try:
        bind(address, 0).close()
    except OSError:
        return False
    return True
