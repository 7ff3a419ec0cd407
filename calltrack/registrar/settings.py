"""What can be configured of the registrar. Knows no TOML; values are checked before they get here."""

from __future__ import annotations

import msgspec


class RegistrarSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[registrar]``: how devices log in to the SIP accounts of projects."""

    domains: tuple[str, ...] = ()  # names that devices may register at beside `[sip] domain` and our own addresses
    min_expires: int = 60  # seconds; shorter registrations are refused with 423
    max_expires: int = 3600  # seconds; longer ones are shortened
    default_expires: int = 3600  # seconds, where a device asks for nothing
    max_contacts: int = 20  # devices at once in one account
    nat_keepalive: float = 25.0  # seconds between two empty lines to a device behind a NAT, which keep its way open
    require_public_source: bool = False  # refuse devices whose address is private
